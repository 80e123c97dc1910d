"""The disk is full at the k-th page that the database wants: nothing lost or doubled, and it goes on unaided (G10).

SQLite's own limit of pages gives the same SQLITE_FULL as a disk does, at every place where one is written.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest
from sqlalchemy import event, select, text

import figures
from servers import HOST, PASSWORD
from servers.dovecot import Dovecot
from servers.faulty_smtp import FaultySmtp
from servers.house import SUPPORT, House
from servers.postfix import Postfix
from supportd import config
from supportd.db.engine import Database
from supportd.db.schema import letter, ticket
from supportd.errors import Unavailable
from supportd.parsing import Reader
from supportd.service import Service

_NO_LIMIT = 1 << 30
MAILS = 6
# A long word in each mail, so that a pass wants some hundred pages.
WORDS = "The board in the hall is dark and nobody knows why. " * 100


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """Let every pass of this test read mail in the same workers: they know nothing of any disk."""
    with Reader() as reader:
        monkeypatch.setattr(Service, "_workers", lambda _: reader)
        monkeypatch.setenv("SUPPORTD_TEST_PASSWORD", PASSWORD)
        yield reader


class Disk:
    """The room that a database has."""

    def __init__(self, database: Database) -> None:
        self.pages = _NO_LIMIT
        event.listen(database.engine, "checkout", self._limit)

    def _limit(self, connection: object, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count={self.pages}")  # type: ignore[attr-defined]


def fill(dovecot: Dovecot, user: str, number: int) -> list[str]:
    """Put the mails of one run into the mailbox *user* and return who sent them."""
    senders = []
    for one in range(MAILS):
        sender = f"teacher-{number}-{one}@allsaints.example"
        message = EmailMessage(policy=SMTP)
        message["From"], message["To"], message["Subject"] = sender, SUPPORT, f"Hall {one}"
        message["Date"], message["Message-ID"] = "Tue, 24 Nov 2026 09:00:00 +0000", f"<hall.{sender}>"
        message.set_content(WORDS)
        dovecot.append(user, bytes(message), received_at=datetime.now(UTC) - timedelta(minutes=5))
        senders.append(sender)
    return senders


def run(folder: Path, dovecot: Dovecot, postfix: Postfix, smtp: FaultySmtp, number: int, free_pages: int) -> bool:
    """Return whether the disk was full at all with *free_pages* left; fail when a mail or a letter is lost or twice."""
    house = House(folder / str(number), dovecot, postfix)
    house.folder.mkdir()
    user = f"support-{number}@allsaints.example"
    house.settings["mailboxes"][0]["imap"] |= {"user": user}
    house.settings["mailboxes"][0]["smtp"] = {"host": HOST, "port": smtp.port, "tls": "none", "per_minute": 100_000}
    senders = fill(dovecot, user, number)
    service = Service(config.load(house._written()))
    disk = Disk(service.database)
    was_full = False
    try:
        with service.database.read() as connection:
            disk.pages = int(connection.execute(text("PRAGMA page_count")).scalar_one()) + free_pages
        with contextlib.suppress(Unavailable):
            was_full = True
            service.once()
            was_full = False
        disk.pages = _NO_LIMIT
        for _ in range(2):
            service.once()
        with service.database.read() as connection:
            opened = Counter(connection.execute(select(ticket.c.origin_message_id)).scalars())
            states = set(connection.execute(select(letter.c.state)).scalars())
    finally:
        service.close()
    assert opened == Counter(f"<hall.{sender}>" for sender in senders)
    assert states == {"sent"}
    assert [len(smtp.accepted_by(sender)) for sender in senders] == [1] * MAILS
    assert dovecot.count(user) == 0
    return was_full


def test_a_full_disk_delays_and_loses_nothing(
    tmp_path: Path, dovecot: Dovecot, postfix: Postfix, faulty_smtp: FaultySmtp, reader: Reader
) -> None:
    results = [
        run(tmp_path, dovecot, postfix, faulty_smtp, number, free_pages)
        for number, free_pages in enumerate((0, 1, 2, 3, 5, 8, 13, 21, 34, 400))
    ]

    assert results[0]
    assert not results[-1]


@pytest.mark.release
@pytest.mark.timeout(7200)
def test_a_disk_that_is_full_at_every_page_loses_nothing(
    tmp_path: Path, dovecot: Dovecot, postfix: Postfix, faulty_smtp: FaultySmtp, reader: Reader
) -> None:
    free_pages = 0
    while run(tmp_path, dovecot, postfix, faulty_smtp, free_pages, free_pages):
        free_pages += 1

    counts = {"full at a page": free_pages, "lost": 0, "doubled": 0, "letters twice": 0}
    figures.add("Full disk", "SQLite", counts, "make release-test PART=disk_full")
