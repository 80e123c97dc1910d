"""A second look at a ticket stops no other, shows nothing that became restricted, promises nothing unsent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from supportd.core.model import EventKind
from supportd.db import tickets
from supportd.remind import Reminder
from test_privacy import NOW, OTHER, Office, mail


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.database.close()


def letters(office: Office, kind: str) -> list[bytes]:
    with office.database.read() as connection:
        query = "SELECT data FROM letter WHERE kind = ? ORDER BY id"
        return list(connection.exec_driver_sql(query, (kind,)).scalars())


def test_a_reply_that_tells_of_harm_restricts_the_ticket_and_travels_no_further(office: Office) -> None:
    office.receive(mail(OTHER, "Chat", "The chat on the Chromebooks will not open."))
    reply = "She showed me why: he is asking for photos of her."
    office.receive(mail(OTHER, "Re Chat", reply, reply_to="<Chat@allsaints.example>"))

    with office.database.read() as connection:
        assert tickets.load(connection, 1, office.desk.level_names).restricted
    [relay] = letters(office, "relay")
    assert b"asking for photos" not in relay.replace(b"=\r\n", b"")


def test_a_ticket_that_cannot_be_counted_holds_up_no_other(office: Office) -> None:
    for number in range(2):
        office.receive(mail(OTHER, f"Board {number}", "The board is dead."))
    with office.database.write() as connection:
        # A level that the policy does not have: what a hand in the database can do.
        tickets.change(connection, 1, level=9)
        broken = """UPDATE event SET details = '{"level": "9"}' WHERE ticket_id = 1 AND kind = 'rated'"""
        connection.exec_driver_sql(broken)
    reminder = Reminder(office.database, office.desk, office.composer, office.keys, office.mailbox_id)

    reminder.tick(NOW + timedelta(hours=1))

    with office.database.read() as connection:
        due = tickets.due_for_check(connection, office.mailbox_id, NOW + timedelta(hours=1))
        later = tickets.due_for_check(connection, office.mailbox_id, NOW + timedelta(hours=2))
    assert due == []
    assert 1 in later


def test_a_suppressed_acknowledgement_promises_nothing(office: Office) -> None:
    for number in range(4):
        office.receive(mail(OTHER, f"Board {number}", "The board is dead."))

    with office.database.read() as connection:
        told = [
            any(event.kind is EventKind.PROMISED for event in tickets.events(connection, number))
            for number in range(1, 5)
        ]
    assert told == [True, True, True, False]
