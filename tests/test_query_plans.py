"""What the daemon asks every few seconds, or for every mail, is found by an index, however many tickets there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from supportd import privacy
from supportd.core.model import Address, Deadlines, Event, EventKind, Rating
from supportd.db import ledger, letters, tickets
from supportd.db.engine import Connection, Database
from supportd.db.migrate import upgrade
from supportd.db.schema import ticket

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
SCHOOL = "allsaints.example"

# Each with the index that must answer it.
QUERIES: dict[str, tuple[Callable[[Connection], object], str]] = {
    "next_due": (lambda to: letters.next_due(to, 1, NOW), "ix_letter_state"),
    "claim": (
        lambda to: letters.claim(to, 1, "owner", NOW, limit=20, lease=timedelta(minutes=15)),
        "ix_letter_state",
    ),
    "owners": (lambda to: letters.owners(to, 1), "ix_letter_state"),
    "died_in_data": (lambda to: letters.died_in_data(to, 1, NOW), "ix_letter_state"),
    "release": (lambda to: letters.release(to, "owner", NOW), "ix_letter_state"),
    "last_queued_at": (lambda to: letters.last_queued_at(to, 1, ("digest", "heartbeat")), "ix_letter_kind"),
    "given_up_since": (lambda to: letters.given_up_since(to, 1, NOW), "ix_event_failed"),
    "due_notices": (lambda to: letters.due_notices(to, 1, NOW), "ix_notice_due"),
    "due_for_check": (lambda to: tickets.due_for_check(to, 1, NOW), "ix_ticket_check"),
    "ids_of": (lambda to: tickets.ids_of(to, 1, ["AS-12"]), "reference=?"),
    "has_bounced": (lambda to: tickets.has_bounced(to, 1, f"jane@{SCHOOL}"), "ix_event_bounced"),
    "resolved_since": (lambda to: tickets.resolved_since(to, 1, NOW, {}), "ix_ticket_resolved"),
    "undecided": (lambda to: ledger.undecided(to, 1, limit=20), "ix_message_undecided"),
    "unfiled": (lambda to: ledger.unfiled(to, 1, limit=20), "ix_message_unfiled"),
    "quarantined": (lambda to: ledger.quarantined(to, 1), "ix_message_quarantined"),
    "outsiders of a domain": (
        lambda to: ledger.outsiders_since(to, 1, NOW, staff_domains=[SCHOOL], domain="shop.example"),
        "decided_at>?",
    ),
    "outsiders": (lambda to: ledger.outsiders_since(to, 1, NOW, staff_domains=[SCHOOL]), "decided_at>?"),
}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'supportd.db'}")
    upgrade(database)
    yield database
    database.close()


@pytest.mark.parametrize("name", QUERIES)
def test_a_frequent_query_is_answered_by_its_index(database: Database, name: str) -> None:
    ask, index = QUERIES[name]
    asked: list[tuple[str, Any]] = []
    event.listen(database.engine, "before_cursor_execute", lambda _c, _k, *given: asked.append((given[0], given[1])))

    with database.write() as connection:
        ask(connection)
        statement, values = next(one for one in asked if one[0].startswith(("SELECT", "UPDATE")))
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]

    assert index in " ".join(plan), plan
    assert not any(line in ("SCAN letter", "SCAN message", "SCAN ticket", "SCAN event", "SCAN notice") for line in plan)


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Yield an empty database of each kind."""
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'supportd.db'}" if is_sqlite else request.getfixturevalue("postgresql_url")
    database = Database(url)
    upgrade(database)
    yield database
    database.close()


@pytest.mark.parametrize("written", ["AS-12", "as12", "[AS 12]", "As-12"])
def test_a_reference_is_found_however_it_is_written(either: Database, written: str) -> None:
    with either.write() as connection:
        mailbox_id = ledger.ensure_mailbox(connection, "support")
        numbers = [_open(connection, mailbox_id, reference) for reference in ("AS-12", "A-512", "AS1-2")]

        found = tickets.ids_of(connection, mailbox_id, [written])

    # "as12" may be ticket 12 of AS, or ticket 2 of a desk that is called AS1.
    assert found == {numbers[0], numbers[2]}


def test_a_bounce_of_a_technicians_letter_silences_nobody_else(either: Database) -> None:
    with either.write() as connection:
        mailbox_id = ledger.ensure_mailbox(connection, "support")
        number = _open(connection, mailbox_id, "AS-1")
        details = (("recipient", f"sam@{SCHOOL}"), ("status", "5.2.2"), ("action", "failed"))
        tickets.append(connection, number, Event(kind=EventKind.BOUNCED, at=NOW, details=details))

        assert tickets.has_bounced(connection, mailbox_id, f"sam@{SCHOOL}")
        assert not tickets.has_bounced(connection, mailbox_id, f"jane@{SCHOOL}")
        assert not tickets.has_bounced(connection, mailbox_id + 1, f"sam@{SCHOOL}")


def test_letters_given_up_are_told_by_the_desk_that_wrote_them(either: Database) -> None:
    with either.write() as connection:
        mailbox_id = ledger.ensure_mailbox(connection, "support")
        number = _open(connection, mailbox_id, "AS-1")
        details = (("kind", "alert"), ("recipient", f"sam@{SCHOOL}"), ("reply", "550 no such user"))
        tickets.append(connection, number, Event(kind=EventKind.FAILED, at=NOW, details=details))

        [told] = letters.given_up_since(connection, mailbox_id, NOW)

        assert (told.reference, told.recipient) == ("AS-1", f"sam@{SCHOOL}")
        assert letters.given_up_since(connection, mailbox_id, NOW + timedelta(seconds=1)) == []
        assert letters.given_up_since(connection, mailbox_id + 1, NOW) == []


def test_ages_and_erasure_find_nothing_in_an_empty_desk(either: Database) -> None:
    ages = privacy.Ages(raw=1, screened=1, attachments=1, text=1, security=1)
    with either.write() as connection:
        _open(connection, ledger.ensure_mailbox(connection, "support"), "AS-1")

    gone = privacy.apply(either, ages, (f"held@{SCHOOL}",), NOW)
    found = privacy.erase(either, f"jane@{SCHOOL}", b"k" * 32, (), NOW)

    assert [one.count for one in gone] == [0] * 5
    assert len(found.own) == 1


def _open(connection: Connection, mailbox_id: int, reference: str) -> int:
    number = tickets.open_ticket(
        connection,
        mailbox_id=mailbox_id,
        reference=reference,
        subject="Board",
        requester=Address(address=f"jane@{SCHOOL}"),
        text="",
        rating=Rating(level=4, name="medium"),
        deadlines=Deadlines(),
        received_at=NOW,
        next_check_at=None,
        automatic=False,
        verified=True,
        restricted=False,
        participants=(),
        origin_message_id=None,
        origin_references=(),
    )
    assert connection.execute(ticket.select().where(ticket.c.id == number)).one().reference == reference
    return number
