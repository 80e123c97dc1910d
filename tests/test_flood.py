"""The caps on mail from outside: they hold back a flood, never what a person has looked at, or what came before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rooms import Rooms, config
from supportd.core.model import Verdict
from supportd.core.parse import parse
from supportd.db import ledger
from supportd.decide import Decider, Decision

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
STRANGER = "sales@shop.example"


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[Rooms]:
    rooms = Rooms(tmp_path, NOW, config({"outsider_address_hour: 5": "outsider_address_hour: 1"}))
    yield rooms
    rooms.database.close()


def offer(rooms: Rooms, subject: str) -> Decision:
    return rooms.receive(subject, "We sell toner.", sender=STRANGER, received_at=NOW)


def decide_again(rooms: Rooms, number: int) -> Decision | None:
    with rooms.database.read() as connection:
        row = ledger.load(connection, number)
    assert row is not None
    decider = Decider(rooms.database, rooms.desk, rooms.composer, rooms.keys, rooms.mailbox_id, rooms.lease)
    return decider.decide(row, parse(row.data), NOW + timedelta(minutes=5))


@pytest.mark.parametrize(("as_ticket", "verdict"), [(True, Verdict.TICKET), (False, Verdict.SCREENED)])
def test_a_person_lets_pass_what_the_rate_held_back(rooms: Rooms, as_ticket: bool, verdict: Verdict) -> None:
    offer(rooms, "One")
    assert offer(rooms, "Two").rule == "outsider-rate"

    with rooms.database.write() as connection:
        assert ledger.retry(connection, 2, None, as_ticket=as_ticket)
    decision = decide_again(rooms, 2)

    assert decision is not None
    assert decision.verdict is verdict


def test_mail_from_before_is_no_flood_of_this_hour(rooms: Rooms) -> None:
    offer(rooms, "One")
    offer(rooms, "Two")

    with rooms.database.write() as connection:
        assert ledger.retry(connection, 2, None, as_ticket=False)
        connection.exec_driver_sql("UPDATE message SET silent = 1 WHERE id = 2")
    decision = decide_again(rooms, 2)

    assert decision is not None
    assert decision.verdict is Verdict.TICKET
