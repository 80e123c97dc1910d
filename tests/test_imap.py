"""The wire to the mailbox, against a real Dovecot."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from servers import HOST, PASSWORD
from servers.dovecot import Dovecot
from supportd.imap import ImapAccount, ImapSession

SUPPORT = "support@allsaints.example"
MAIL = b"From: a@allsaints.example\r\nSubject: help\r\n\r\nhelp\r\n"


@pytest.fixture(params=["implicit", "starttls", "none"])
def session(request: pytest.FixtureRequest, dovecot: Dovecot) -> Iterator[ImapSession]:
    """Yield a session with the INBOX selected, over each kind of connection."""
    port = dovecot.imaps_port if request.param == "implicit" else dovecot.imap_port
    authority = dovecot.certificates.authority
    account = ImapAccount(
        host=HOST, port=port, tls=request.param, user=SUPPORT, password=PASSWORD, ca_file=authority
    )  # fmt: skip
    session = ImapSession(account)
    session.select("INBOX")
    yield session
    session.close()


def test_a_listing_has_every_mail_with_its_size_and_its_instant(session: ImapSession, dovecot: Dovecot) -> None:
    assert session.listing() == []
    for _ in range(3):
        dovecot.append(SUPPORT, MAIL)
    session.select("INBOX")

    listing = session.listing()

    assert [one.size for one in listing] == [len(MAIL)] * 3
    assert sorted({one.uid for one in listing}) == [one.uid for one in listing]
    assert all(one.received_at.utcoffset() is not None for one in listing)


def test_a_mail_that_comes_just_before_the_wait_begins_ends_it_at_once(session: ImapSession, dovecot: Dovecot) -> None:
    session.listing()
    dovecot.append(SUPPORT, MAIL)
    started_at = time.monotonic()

    said = session.idle(10)

    assert said
    assert time.monotonic() - started_at < 1


def test_a_wait_in_which_nothing_comes_takes_its_time(session: ImapSession) -> None:
    started_at = time.monotonic()

    said = session.idle(0.5)

    assert not said
    assert time.monotonic() - started_at >= 0.5
