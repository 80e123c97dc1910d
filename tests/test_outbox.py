"""Letters under leases: whoever sleeps, dies or is overtaken, a letter goes out once, or visibly in doubt."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path

import pytest
from sqlalchemy import event

from servers import HOST
from servers.faulty_smtp import FaultySmtp
from supportd.core.model import Letter
from supportd.db import ledger, letters
from supportd.db.engine import Database
from supportd.db.letters import LetterState
from supportd.db.migrate import upgrade
from supportd.errors import Unavailable
from supportd.lease import is_dead, owner_name
from supportd.outbox import BreakerLimits, Outbox
from supportd.smtp import SmtpAccount, SmtpSession

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
LEASE = timedelta(minutes=15)
TEACHER = "l.winn@allsaints.example"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Yield a database with one mailbox and one letter that waits."""
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'supportd.db'}" if is_sqlite else request.getfixturevalue("postgresql_url")
    database = Database(url)
    upgrade(database)
    with database.write() as connection:
        mailbox_id = ledger.ensure_mailbox(connection, "support")
        one = Letter(
            kind="acknowledgement",
            key="support:acknowledgement:AS-1",
            message_id="<one@allsaints.example>",
            recipient=TEACHER,
            envelope_from="support@allsaints.example",
            data=b"From: support@allsaints.example\r\nMessage-ID: <one@allsaints.example>\r\n\r\nWe have it.\r\n",
            priority=1,
        )
        letters.queue(connection, one, uuid="1" * 32, mailbox_id=mailbox_id, ticket_id=None, now=NOW)
    yield database
    database.close()


def claim(database: Database, owner: str, now: datetime) -> list[letters.Claimed]:
    with database.write() as connection:
        return letters.claim(connection, 1, owner, now, limit=20, lease=LEASE)


def only_row(database: Database) -> dict[str, object]:
    with database.read() as connection:
        [row] = letters.listing(connection, list(LetterState))
    return row


def test_who_slept_through_his_lease_changes_nothing_of_a_letter_that_another_has_sent(database: Database) -> None:
    claim(database, "sleeper", NOW)
    late = NOW + LEASE + timedelta(seconds=1)
    [taken] = claim(database, "other", late)

    with database.write() as connection:
        assert not letters.enter_data(connection, taken.id, "sleeper", late + LEASE)
        assert letters.enter_data(connection, taken.id, "other", late + LEASE)
        assert not letters.again(connection, taken.id, "sleeper", "too late", late)
        assert not letters.doubt(connection, taken.id, "sleeper", "too late", late)
        assert not letters.end(connection, taken.id, "sleeper", LetterState.FAILED, "too late")
        letters.unclaim(connection, [taken.id], "sleeper")
        letters.sent(connection, taken.id, "250 kept", late)

    assert only_row(database)["state"] == LetterState.SENT
    assert claim(database, "third", late + LEASE) == []


def test_two_daemons_that_find_the_same_doubt_count_it_once(database: Database) -> None:
    [claimed] = claim(database, "dead", NOW)
    with database.write() as connection:
        letters.enter_data(connection, claimed.id, "dead", NOW + LEASE)
    late = NOW + LEASE + timedelta(seconds=1)
    with database.read() as connection:
        [seen_by_one] = letters.died_in_data(connection, 1, late)
        [seen_by_other] = letters.died_in_data(connection, 1, late)

    with database.write() as connection:
        first = letters.doubt(connection, seen_by_one.id, seen_by_one.owner, "in doubt", late)
    with database.write() as connection:
        second = letters.doubt(connection, seen_by_other.id, seen_by_other.owner, "in doubt", late)

    assert (first, second) == (True, False)
    assert only_row(database)["doubts"] == 1


class Locking(SmtpSession):
    """A session after whose 250 the database is locked by somebody else, until *release*."""

    holder: sqlite3.Connection
    path: Path

    def send(self, *arguments: object, **named: object) -> str:
        reply = super().send(*arguments, **named)  # type: ignore[arg-type]
        Locking.holder = sqlite3.connect(Locking.path, isolation_level=None)
        Locking.holder.execute("BEGIN IMMEDIATE")
        return reply


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_acceptance_that_the_database_could_not_be_told_is_recorded_later_and_not_sent_again(
    database: Database, faulty_smtp: FaultySmtp
) -> None:
    account = SmtpAccount(
        host=HOST, port=faulty_smtp.port, tls="none", user=None, password=None, local_hostname="allsaints.example"
    )
    assert database.path is not None
    Locking.path = database.path
    event.listen(database.engine, "checkout", lambda one, *_: one.execute("PRAGMA busy_timeout=50"))
    outbox = Outbox(
        database,
        mailbox_id=1,
        connect=lambda: Locking(account),
        clock=lambda: NOW,
        per_minute=1000,
        doubt_wait=timedelta(0),
        breaker=BreakerLimits(automatic=100, everything=100),
    )
    with pytest.raises(Unavailable):
        outbox.drain(lambda: False)
    Locking.holder.close()

    outbox.drain(lambda: False)
    outbox.close()

    assert only_row(database)["state"] == LetterState.SENT
    assert len(faulty_smtp.accepted_by(TEACHER)) == 1


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_letters_of_a_pass_that_broke_off_wait_for_no_lease(database: Database, faulty_smtp: FaultySmtp) -> None:
    account = SmtpAccount(
        host=HOST, port=faulty_smtp.port, tls="none", user=None, password=None, local_hostname="allsaints.example"
    )
    attempts = iter([RuntimeError("anything at all"), None])

    def connect() -> SmtpSession:
        problem = next(attempts)
        if problem is not None:
            raise problem
        return SmtpSession(account)

    outbox = Outbox(
        database,
        mailbox_id=1,
        connect=connect,
        clock=lambda: NOW,
        per_minute=1000,
        doubt_wait=timedelta(0),
        breaker=BreakerLimits(automatic=100, everything=100),
    )
    with pytest.raises(RuntimeError):
        outbox.drain(lambda: False)

    outbox.drain(lambda: False)
    outbox.close()

    assert len(faulty_smtp.accepted_by(TEACHER)) == 1


def test_an_owner_is_dead_when_his_process_is_and_never_on_another_machine() -> None:
    me = owner_name()
    host, pid, ticks = me.rsplit(":", 2)

    assert not is_dead(me)
    assert is_dead(f"{host}:{pid}:{int(ticks) - 1}")
    assert is_dead(f"{host}:4194304:1")
    # The same name on another machine, as cloned hosts have it.
    assert not is_dead(f"{host.partition('/')[0]}/00000000:{pid}:1")
    assert len(me) <= 100


def test_the_breaker_knows_every_kind_of_letter() -> None:
    texts = resources.files("supportd.templates").iterdir()
    kinds = {name.removesuffix(".txt") for file in texts if (name := file.name).endswith(".txt") and name[0] != "_"}

    # Who called for help hears that we have it, and what a person wrote goes out until the breaker holds everything.
    passes = {"acknowledgement", "answer", "news", "relay", "resolution"}
    assert kinds - {"layout"} == {*letters.AUTOMATIC_KINDS, *passes}
