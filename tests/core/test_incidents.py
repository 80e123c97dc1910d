"""When several reports are one thing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from supportd.core import incidents
from supportd.core.incidents import Gathering
from supportd.core.model import Address, Status, Ticket

NINE = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def ticket(number: int, minutes: float = 0, **over: object) -> Ticket:
    values: dict[str, object] = {
        "id": number,
        "reference": f"AS-{number}",
        "mailbox": "support@allsaints.example",
        "subject": "Internet down",
        "requester": Address(address=f"teacher{number}@allsaints.example"),
        "level": 1,
        "level_name": "outage",
        "status": Status.NEW,
        "received_at": NINE + timedelta(minutes=minutes),
        "service": "internet",
    }
    return Ticket(**(values | over))  # type: ignore[arg-type]


def test_a_second_person_with_the_same_service_opens_an_incident() -> None:
    assert incidents.gathers(ticket(2, 4), [ticket(1)]) == Gathering(
        incident=None, tickets=(1,), reports=2, reason="2 people report internet within fifteen minutes"
    )


def test_a_third_joins_the_incident_that_is_there() -> None:
    found = incidents.gathers(ticket(3, 5), [ticket(2, 4, incident=1), ticket(1, incident=1)])

    assert found is not None
    assert (found.incident, found.tickets, found.reports) == (1, (1, 2), 3)


def test_ten_teachers_within_five_minutes_are_one_incident() -> None:
    gathered: list[Ticket] = []
    joins = []
    for number in range(1, 11):
        report = ticket(number, number / 2, level=1 + number % 3)
        found = incidents.gathers(report, gathered)
        joins.append(found)
        if found is not None:
            gathered = [ticket(other.id, other.id / 2, incident=1) for other in gathered]
            report = ticket(number, number / 2, incident=1)
        gathered.append(report)

    assert joins[0] is None
    assert [found.reports for found in joins[1:] if found] == list(range(2, 11))
    assert [found.incident for found in joins[1:] if found] == [None] + [1] * 8


def test_reports_that_follow_on_each_other_stay_one_incident_beyond_a_quarter_of_an_hour() -> None:
    found = incidents.gathers(ticket(3, 24), [ticket(1, incident=1), ticket(2, 12, incident=1)])

    assert found is not None
    assert (found.incident, found.reports) == (1, 3)


@pytest.mark.parametrize(("minutes", "is_near"), [(15, True), (15.1, False), (-15, True), (-15.1, False)])
def test_a_quarter_of_an_hour_is_near(minutes: float, is_near: bool) -> None:
    assert (incidents.gathers(ticket(2, minutes), [ticket(1)]) is not None) is is_near


@pytest.mark.parametrize(
    "other",
    [
        {"requester": Address(address="teacher2@allsaints.example")},
        {"service": "account"},
        {"verified": False},
        {"service": ""},
        {"level": 4},
        {"level": 6},
        {"status": Status.RESOLVED},
        {"status": Status.CLOSED},
        {"merged_into": 5},
        {"automatic": True},
    ],
)
def test_what_is_not_the_same_thing_stays_apart(other: dict[str, object]) -> None:
    assert incidents.gathers(ticket(2, 1), [ticket(1, **other)]) is None


@pytest.mark.parametrize(
    "over", [{"level": 4}, {"service": ""}, {"service": "account"}, {"automatic": True}, {"incident": 9}]
)
def test_a_question_about_the_wifi_password_stays_apart(over: dict[str, object]) -> None:
    assert incidents.gathers(ticket(2, 1, **over), [ticket(1)]) is None


def test_who_cannot_get_online_reports_the_same_whether_he_calls_it_network_or_internet() -> None:
    found = incidents.gathers(ticket(2, 1, service="network"), [ticket(1)])

    assert found is not None


def test_one_person_who_writes_twice_is_one_report() -> None:
    twice = Address(address="teacher1@allsaints.example")

    found = incidents.gathers(ticket(3, 2), [ticket(1), ticket(2, 1, requester=twice)])

    assert found is not None
    assert found.reports == 2


def test_a_ticket_is_not_gathered_with_itself() -> None:
    assert incidents.gathers(ticket(1), [ticket(1)]) is None
