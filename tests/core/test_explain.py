"""Explanations beside the ten of docs/deadlines.md: what happens seldom, line by line."""

from __future__ import annotations

from datetime import timedelta

import pytest
from school import POLICY, at, school, span, windows

from supportd.core.explain import explain, instant_text, span_text
from supportd.core.hours import Cover, Hours
from supportd.core.sla import History, Level, Pause, Policy, ServiceTime, clocks


def said(past: History, now: str, *, hours: Hours | None = None, policy: Policy = POLICY) -> list[str]:
    hours = hours or school()
    return list(explain(clocks(past, policy, hours, at(now)), policy, hours, at(now)))


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (timedelta(hours=7, minutes=20), "7 h 20 min"),
        (timedelta(hours=40), "40 h"),
        (timedelta(minutes=-5), "5 min"),
        (timedelta(minutes=1, seconds=1), "1 min 1 s"),
        (timedelta(milliseconds=20), "0 min"),
    ],
)
def test_a_length_of_time_reads_in_hours_minutes_and_seconds(amount: timedelta, text: str) -> None:
    assert span_text(amount) == text


def test_an_instant_is_shown_on_the_schools_own_clock() -> None:
    assert instant_text(at("2026-07-01 08:00:05"), school()) == "Wed 1 Jul 2026 08:00:05"


def test_immediate_outside_service_hours_names_the_next_opening() -> None:
    lines = said(History(received_at=at("2026-11-28 03:00"), level=1), "2026-11-28 03:00")

    assert lines[:5] == [
        "Response, severity 1 (outage): immediate, within 5 min of the next opening, counted from when it was received",
        "  received Sat 28 Nov 2026 03:00, while it was closed (Saturday); it opens Mon 30 Nov 2026 08:00",
        "  Sun 29 Nov: closed (weekend)",
        "  Mon 30 Nov 08:00-08:05: 5 min counted",
        "  due Mon 30 Nov 2026 08:05",
    ]


def test_a_reading_before_the_opening_of_a_late_day_is_moved_forward() -> None:
    late = school(cover=[Cover(span=span("2026-10-28"), hours=windows("09:00-12:00"))])

    lines = said(History(received_at=at("2026-10-23 08:30"), level=4), "2026-10-23 08:30", hours=late)

    assert lines[-3:] == [
        "  at the same reading, 08:30, of business day 1, which is closed or does not exist that day: "
        "moved forward to 09:00",
        "  due Wed 28 Oct 2026 09:00",
        "  7 h 30 min of service time left",
    ]


def test_many_windows_are_counted_instead_of_listed() -> None:
    week = ServiceTime(amount=timedelta(hours=160))
    policy = Policy(levels=(Level(level=1, name="long", response=week, resolution=None),))

    lines = said(History(received_at=at("2026-11-02 08:00"), level=1), "2026-11-02 08:00", policy=policy)

    assert len([line for line in lines if "counted" in line and "08:00-16:00" in line]) == 12
    assert "  8 more windows, together 64 h counted" in lines
    assert lines[-2] == "  due Mon 30 Nov 2026 16:00"


def test_a_wait_that_lasts_is_told_until_now() -> None:
    past = History(received_at=at("2026-11-26 09:00"), level=3, pauses=(Pause(start_at=at("2026-11-26 10:00")),))

    lines = said(past, "2026-11-26 12:00")

    assert lines[-6:] == [
        "  due Thu 26 Nov 2026 11:00, if nobody had been waited for",
        "  waited on the requester Thu 26 Nov 2026 10:00 until now: 2 h of service time",
        "  the deadline moves by 2 h of service time:",
        "  Thu 26 Nov 11:00-13:00: 2 h counted",
        "  due Thu 26 Nov 2026 13:00",
        "  the clock stands still, 1 h of service time left",
    ]


def test_an_unknown_business_day_tells_how_many_are_left() -> None:
    lines = said(History(received_at=at("2027-07-19 09:00"), level=5), "2027-07-19 09:00")

    assert lines[-2:] == [
        "  3 business days left in the calendar, the last Wed 21 Jul",
        "  not known until term dates after 2027-07-21 are configured",
    ]


def test_an_empty_calendar_is_explained_too() -> None:
    lines = said(
        History(received_at=at("2027-07-19 09:00"), level=3), "2027-07-19 09:00", hours=school(terms=(), cover=())
    )

    assert lines[1:3] == [
        "  received Mon 19 Jul 2027 09:00, while it was closed (outside term)",
        "  not known until term dates are configured",
    ]
