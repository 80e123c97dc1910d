"""Promises worked out by hand: both clocks through pauses, reopenings and corrections, and the ladder of reminders."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from school import BOILER, POLICY, at, school, span, windows

from supportd.core.hours import Closure
from supportd.core.model import Deadlines, Event, EventKind
from supportd.core.sla import (
    BusinessDays,
    Clock,
    Correction,
    History,
    Immediate,
    Kind,
    Pause,
    ServiceTime,
    clocks,
    deadlines,
    due,
    history,
    ladder,
    moves,
    next_step_at,
    on_call_repeats,
    step_due,
    warnings,
)

HOURS = school()


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def pause(start: str, end: str | None = None) -> Pause:
    return Pause(start_at=at(start), end_at=at(end) if end else None)


def response(now: str, past: History) -> Clock:
    clock = clocks(past, POLICY, HOURS, at(now)).response
    assert clock is not None
    return clock


def resolution(now: str, past: History) -> Clock:
    clock = clocks(past, POLICY, HOURS, at(now)).resolution
    assert clock is not None
    return clock


# Targets.


@pytest.mark.parametrize(
    ("level", "answered_by", "mended_by"),
    [
        (1, "2026-11-27 15:35", "2026-11-27 16:00"),
        (2, "2026-11-27 16:00", "2026-11-30 08:30"),
        (3, "2026-11-30 08:30", "2026-11-30 09:30"),
        (4, "2026-11-30 10:30", "2026-11-30 15:30"),
        (5, "2026-11-30 15:30", "2026-12-04 15:30"),
        (6, "2026-12-01 15:30", None),
    ],
)
def test_each_severity_has_the_deadlines_of_the_published_table(
    level: int, answered_by: str, mended_by: str | None
) -> None:
    found = deadlines(POLICY, level, at("2026-11-27 15:30"), HOURS)

    assert found == Deadlines(response_due=at(answered_by), resolution_due=at(mended_by) if mended_by else None)


def test_immediate_outside_service_hours_is_some_minutes_after_the_next_opening() -> None:
    assert due(Immediate(), at("2026-11-28 03:00"), HOURS) == at("2026-11-30 08:05")
    assert due(Immediate(within=timedelta()), at("2026-11-28 03:00"), HOURS) == at("2026-11-30 08:00")
    assert due(Immediate(), at("2026-11-27 15:57"), HOURS) == at("2026-11-30 08:02")


def test_what_the_calendar_does_not_reach_is_none_with_the_reason_and_the_rest_is_known() -> None:
    found = deadlines(POLICY, 3, at("2027-07-21 14:30"), HOURS)

    assert found.response_due == at("2027-07-21 15:30")
    assert found.resolution_due is None
    assert found.reason == "not known until term dates after 2027-07-21 are configured"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Immediate(), "immediate"),
        (ServiceTime(amount=minutes(30)), "30 minutes"),
        (ServiceTime(amount=minutes(60)), "1 hour"),
        (ServiceTime(amount=minutes(90)), "90 minutes"),
        (BusinessDays(count=1), "1 business day"),
        (BusinessDays(count=5), "5 business days"),
    ],
)
def test_a_target_reads_as_it_is_written_in_the_configuration(target: object, words: str) -> None:
    assert str(target) == words


# Clocks.


def test_the_response_is_met_by_the_first_answer_and_the_resolution_runs_on() -> None:
    past = History(
        received_at=at("2026-11-26 09:00"), level=3, responded_at=(at("2026-11-26 09:40"), at("2026-11-26 10:30"))
    )

    answered, mended = response("2026-11-26 10:30", past), resolution("2026-11-26 10:30", past)

    assert (answered.met_at, answered.margin, answered.missed) == (at("2026-11-26 09:40"), minutes(20), False)
    assert (mended.met_at, mended.margin, mended.missed) == (None, minutes(30), False)


def test_resolving_meets_both_clocks() -> None:
    past = History(received_at=at("2026-11-26 09:00"), level=3, resolved_at=(at("2026-11-26 10:15"),))

    answered, mended = response("2026-11-27 09:00", past), resolution("2026-11-27 09:00", past)

    assert (answered.missed, answered.margin) == (True, minutes(-15))
    assert (mended.missed, mended.margin) == (False, minutes(45))


def test_a_deadline_is_kept_at_its_very_instant_and_missed_after_it_even_while_closed() -> None:
    received_at = at("2026-11-27 15:00")
    on_time = History(received_at=received_at, level=3, responded_at=(at("2026-11-27 16:00"),))
    on_saturday = History(received_at=received_at, level=3, responded_at=(at("2026-11-28 11:00"),))

    assert not response("2026-11-30 09:00", on_time).missed
    assert response("2026-11-30 09:00", on_saturday).missed
    assert response("2026-11-30 09:00", on_saturday).margin == minutes(0)


def test_waiting_moves_the_resolution_by_the_service_time_that_passed_and_never_the_response() -> None:
    past = History(received_at=at("2026-11-26 15:00"), level=3, pauses=(pause("2026-11-26 15:30", "2026-11-27 09:00"),))

    answered, mended = response("2026-11-27 09:00", past), resolution("2026-11-27 09:00", past)

    assert answered.due == at("2026-11-26 16:00")
    assert (mended.counted_due, mended.paused, mended.due) == (
        at("2026-11-27 09:00"),
        minutes(90),
        at("2026-11-27 10:30"),
    )


def test_waiting_over_a_weekend_moves_nothing() -> None:
    past = History(received_at=at("2026-11-27 15:30"), level=3, pauses=(pause("2026-11-27 16:00", "2026-11-30 08:00"),))

    assert resolution("2026-11-30 08:00", past).due == at("2026-11-30 09:30")


def test_while_it_waits_the_resolution_clock_stands_still() -> None:
    past = History(received_at=at("2026-11-26 09:00"), level=3, pauses=(pause("2026-11-26 09:30"),))

    early, late = resolution("2026-11-26 09:30", past), resolution("2026-11-27 12:00", past)

    assert early.is_waiting
    assert late.is_waiting
    assert early.margin == late.margin == minutes(90)


def test_what_was_late_before_the_wait_is_as_late_after_it() -> None:
    past = History(received_at=at("2026-11-26 09:00"), level=3, pauses=(pause("2026-11-26 12:00", "2026-11-26 15:00"),))

    assert resolution("2026-11-26 12:00", past).margin == minutes(-60)
    assert resolution("2026-11-26 15:00", past).margin == minutes(-60)
    assert resolution("2026-11-26 15:10", past).margin == minutes(-70)


def test_business_days_move_by_the_service_time_of_a_wait_too() -> None:
    past = History(received_at=at("2026-11-26 10:00"), level=4, pauses=(pause("2026-11-26 12:00", "2026-11-26 14:00"),))

    assert resolution("2026-11-26 14:00", past).due == at("2026-11-27 12:00")


def test_resolving_ends_a_wait() -> None:
    past = History(
        received_at=at("2026-11-26 09:00"),
        level=3,
        pauses=(pause("2026-11-26 10:00"),),
        resolved_at=(at("2026-11-26 12:00"),),
    )

    mended = resolution("2026-11-30 12:00", past)

    assert (mended.paused, mended.due, mended.margin) == (minutes(120), at("2026-11-26 13:00"), minutes(60))


def test_a_change_of_severity_recounts_running_clocks_from_the_receipt() -> None:
    past = History(
        received_at=at("2026-11-26 09:00"),
        level=4,
        corrections=(Correction(at=at("2026-11-26 11:00"), level=2),),
        pauses=(pause("2026-11-26 10:00", "2026-11-26 10:20"),),
    )

    answered, mended = response("2026-11-26 11:00", past), resolution("2026-11-26 11:00", past)

    assert (answered.level, answered.due) == (2, at("2026-11-26 09:30"))
    assert (mended.level, mended.due) == (2, at("2026-11-26 10:20"))


def test_an_outcome_on_record_stays_when_the_severity_changes() -> None:
    past = History(
        received_at=at("2026-11-26 09:00"),
        level=4,
        corrections=(Correction(at=at("2026-11-26 11:00"), level=2),),
        responded_at=(at("2026-11-26 10:00"),),
    )

    answered = response("2026-11-26 12:00", past)

    assert (answered.level, answered.due, answered.missed) == (4, at("2026-11-26 12:00"), False)
    assert resolution("2026-11-26 12:00", past).level == 2


def test_the_mail_that_answers_and_corrects_is_judged_by_the_level_before_it() -> None:
    instant = at("2026-11-26 11:00")
    past = History(
        received_at=at("2026-11-26 09:00"),
        level=4,
        corrections=(Correction(at=instant, level=2),),
        responded_at=(instant,),
    )

    assert response("2026-11-26 12:00", past).level == 4


def test_a_reopened_ticket_gets_a_fresh_resolution_target_and_its_record_stays() -> None:
    past = History(
        received_at=at("2026-11-26 09:00"),
        level=3,
        pauses=(pause("2026-11-26 09:30", "2026-11-26 10:00"),),
        responded_at=(at("2026-11-26 09:30"),),
        resolved_at=(at("2026-11-26 12:00"),),
        reopened_at=(at("2026-11-27 10:00"),),
    )

    found = clocks(past, POLICY, HOURS, at("2026-11-27 11:00")).all

    assert [(clock.kind, clock.round, clock.met_at is None, clock.missed) for clock in found] == [
        (Kind.RESPONSE, 0, False, False),
        (Kind.RESOLUTION, 0, False, True),
        (Kind.RESOLUTION, 1, True, False),
    ]
    assert found[2].due == at("2026-11-27 12:00")
    assert found[2].paused == timedelta()


def test_a_change_of_severity_after_reopening_recounts_the_resolution_from_there() -> None:
    past = History(
        received_at=at("2026-11-26 09:00"),
        level=3,
        corrections=(Correction(at=at("2026-11-27 10:10"), level=2),),
        responded_at=(at("2026-11-26 09:30"),),
        resolved_at=(at("2026-11-26 10:00"),),
        reopened_at=(at("2026-11-27 10:00"),),
    )

    assert resolution("2026-11-27 10:30", past).due == at("2026-11-27 11:00")


def test_a_reopened_ticket_without_a_resolution_target_gets_a_fresh_response_target() -> None:
    past = History(
        received_at=at("2026-11-26 09:00"),
        level=6,
        resolved_at=(at("2026-11-26 12:00"),),
        reopened_at=(at("2026-12-03 10:00"),),
    )

    found = clocks(past, POLICY, HOURS, at("2026-12-03 11:00"))

    assert [(clock.kind, clock.round) for clock in found.all] == [(Kind.RESPONSE, 0), (Kind.RESPONSE, 1)]
    assert found.deadlines == Deadlines(response_due=at("2026-12-07 10:00"), resolution_due=None)


def test_the_history_of_a_ticket_is_read_from_its_events() -> None:
    def event(kind: EventKind, when: str, **details: str) -> Event:
        return Event(kind=kind, at=at(when), details=tuple(details.items()))

    events = [
        event(EventKind.RECEIVED, "2026-11-26 09:00"),
        event(EventKind.RATED, "2026-11-26 09:00", level="4"),
        event(EventKind.TAKEN, "2026-11-26 09:10"),
        event(EventKind.WAITING, "2026-11-26 09:20"),
        event(EventKind.WAITING, "2026-11-26 09:25"),
        event(EventKind.RESUMED, "2026-11-26 09:50"),
        event(EventKind.CORRECTED, "2026-11-26 10:00", level="3", was="4"),
        event(EventKind.WAITING, "2026-11-26 10:10"),
        event(EventKind.ANSWERED, "2026-11-26 10:20"),
        event(EventKind.RESOLVED, "2026-11-26 10:30"),
        event(EventKind.REOPENED, "2026-11-26 11:00"),
        event(EventKind.CLOSED, "2026-11-27 11:00"),
    ]

    assert history(at("2026-11-26 09:00"), 4, events) == History(
        received_at=at("2026-11-26 09:00"),
        level=4,
        corrections=(Correction(at=at("2026-11-26 10:00"), level=3),),
        pauses=(pause("2026-11-26 09:20", "2026-11-26 09:50"), pause("2026-11-26 10:10", "2026-11-26 10:30")),
        responded_at=(at("2026-11-26 09:10"), at("2026-11-26 10:20")),
        resolved_at=(at("2026-11-26 10:30"), at("2026-11-27 11:00")),
        reopened_at=(at("2026-11-26 11:00"),),
    )


def test_closing_a_resolved_ticket_adds_no_second_outcome() -> None:
    events = [
        Event(kind=EventKind.RESOLVED, at=at("2026-11-26 10:00")),
        Event(kind=EventKind.CLOSED, at=at("2026-12-03 10:00")),
    ]

    assert history(at("2026-11-26 09:00"), 4, events).resolved_at == (at("2026-11-26 10:00"),)


# Reminders.


def running(received: str, level: int, kind: Kind = Kind.RESOLUTION, now: str | None = None) -> Clock:
    past = History(received_at=at(received), level=level)
    return response(now or received, past) if kind is Kind.RESPONSE else resolution(now or received, past)


def climbed(clock: Clock, now: str) -> list[tuple[str, int, datetime]]:
    return [(step.name, step.rung, step.at) for step in ladder(clock, HOURS, at(now))]


def test_the_ladder_climbs_from_half_way_to_each_morning() -> None:
    clock = running("2026-11-26 09:00", 3)

    assert climbed(clock, "2026-11-30 09:00") == [
        ("half", 1, at("2026-11-26 10:00")),
        ("soon", 2, at("2026-11-26 10:45")),
        ("due", 3, at("2026-11-26 11:00")),
        ("hour-after", 4, at("2026-11-26 12:00")),
        ("day-2026-11-27", 5, at("2026-11-27 08:00")),
        ("day-2026-11-30", 6, at("2026-11-30 08:00")),
        ("day-2026-12-01", 7, at("2026-12-01 08:00")),
    ]


def test_a_step_while_closed_goes_out_at_the_next_opening() -> None:
    clock = running("2026-11-27 14:00", 3)

    assert climbed(clock, "2026-11-27 14:00") == [
        ("half", 1, at("2026-11-27 15:00")),
        ("soon", 2, at("2026-11-27 15:45")),
        ("due", 3, at("2026-11-30 08:00")),
        ("hour-after", 4, at("2026-11-30 09:00")),
        ("day-2026-12-01", 5, at("2026-12-01 08:00")),
    ]


def test_a_step_before_the_receipt_drops() -> None:
    clock = running("2026-11-26 09:00", 1, Kind.RESPONSE)

    assert [name for name, _, _ in climbed(clock, "2026-11-26 09:00")] == [
        "half",
        "due",
        "hour-after",
        "day-2026-11-27",
    ]


def test_of_two_steps_at_the_same_instant_the_one_that_says_more_stays() -> None:
    half_an_hour = running("2026-11-26 09:00", 1)
    hour_before_closing = running("2026-11-26 13:00", 3)

    assert [name for name, _, _ in climbed(half_an_hour, "2026-11-26 09:00")][:2] == ["soon", "due"]
    # One service hour after 15:00 is closing time, and so is told at the opening that is a step of its own.
    assert climbed(hour_before_closing, "2026-11-26 13:00")[-2:] == [
        ("due", 3, at("2026-11-26 15:00")),
        ("day-2026-11-27", 5, at("2026-11-27 08:00")),
    ]


def test_half_way_leaves_out_the_time_that_the_requester_was_waited_for() -> None:
    past = History(received_at=at("2026-11-26 09:00"), level=3, pauses=(pause("2026-11-26 09:30", "2026-11-26 11:30"),))

    steps = ladder(resolution("2026-11-26 11:30", past), HOURS, at("2026-11-26 11:30"))

    assert [(step.name, step.at) for step in steps[:3]] == [
        ("half", at("2026-11-26 12:00")),
        ("soon", at("2026-11-26 12:45")),
        ("due", at("2026-11-26 13:00")),
    ]


def test_half_way_stays_where_it_was_when_the_wait_began_after_it() -> None:
    past = History(received_at=at("2026-11-26 09:00"), level=3, pauses=(pause("2026-11-26 10:30", "2026-11-26 11:30"),))

    steps = ladder(resolution("2026-11-26 11:30", past), HOURS, at("2026-11-26 11:30"))

    assert [(step.name, step.at) for step in steps[:2]] == [
        ("half", at("2026-11-26 10:00")),
        ("soon", at("2026-11-26 11:45")),
    ]


def test_a_clock_that_waits_has_stopped_or_has_no_deadline_reminds_nobody() -> None:
    now = "2026-11-26 12:00"
    waiting = History(received_at=at("2026-11-26 09:00"), level=3, pauses=(pause("2026-11-26 09:30"),))
    answered = History(received_at=at("2026-11-26 09:00"), level=3, responded_at=(at("2026-11-26 10:00"),))

    assert climbed(resolution(now, waiting), now) == []
    assert climbed(response(now, answered), now) == []
    assert climbed(running("2027-07-21 15:59", 3), "2027-07-21 15:59") == []


def test_of_several_missed_steps_only_the_latest_is_due_and_none_twice() -> None:
    steps = ladder(running("2026-11-26 09:00", 3), HOURS, at("2026-11-26 11:30"))

    assert step_due(steps, (), at("2026-11-26 09:59")) is None
    assert step_due(steps, (), at("2026-11-26 11:30")) == steps[2]
    assert step_due(steps, ("due",), at("2026-11-26 11:30")) is None
    assert step_due(steps, ("due",), at("2026-11-26 12:00")) == steps[3]
    assert next_step_at(steps, at("2026-11-26 11:30")) == at("2026-11-26 12:00")


def test_a_ladder_near_the_end_of_the_calendar_stops_with_it() -> None:
    clock = running("2027-07-21 13:30", 3)

    assert [name for name, _, _ in climbed(clock, "2027-07-21 13:30")] == ["half", "soon", "due"]


def test_an_alert_of_severity_1_repeats_to_on_call_three_times_in_real_time_while_closed() -> None:
    repeats = on_call_repeats(at("2026-11-28 03:00"), HOURS)

    assert [(step.name, step.at) for step in repeats] == [
        ("on-call-1", at("2026-11-28 03:30")),
        ("on-call-2", at("2026-11-28 04:00")),
        ("on-call-3", at("2026-11-28 04:30")),
    ]


def test_the_repeats_to_on_call_end_when_the_service_opens_and_do_not_begin_while_it_is_open() -> None:
    assert [step.at for step in on_call_repeats(at("2026-11-30 07:10"), HOURS)] == [at("2026-11-30 07:40")]
    assert on_call_repeats(at("2026-11-27 15:45"), HOURS) == ()
    assert len(on_call_repeats(at("2027-08-01 12:00"), HOURS)) == 3


@settings(deadline=None)
@given(
    st.datetimes(datetime(2026, 9, 1), datetime(2027, 7, 1)),
    st.integers(1, 6),
    st.sampled_from(Kind),
    st.timedeltas(timedelta(), timedelta(days=30)),
)
def test_reminders_rise_in_open_time_and_never_share_an_instant_or_a_name(
    received: datetime, level: int, kind: Kind, later: timedelta
) -> None:
    received_at = at(received.isoformat())
    now = received_at + later
    found = [
        clock
        for clock in clocks(History(received_at=received_at, level=level), POLICY, HOURS, now).all
        if clock.kind is kind
    ]

    for clock in found:
        steps = ladder(clock, HOURS, now)

        assert all(HOURS.is_open(step.at) and step.at >= received_at for step in steps)
        assert sorted({step.at for step in steps}) == [step.at for step in steps]
        assert len({step.name for step in steps}) == len(steps)
        assert (
            clock.due is None
            or clock.reason
            or next_step_at(steps, now)
            or HOURS.elapsed(now, at("2027-07-21 16:00")) < timedelta(hours=9)
        )


# Changes and warnings.


def test_a_closure_moves_the_deadlines_of_running_clocks_only() -> None:
    snow = school(closures=[BOILER, Closure(span=span("2026-11-27"), reason="Snow")])
    now = at("2026-11-26 15:30")
    pasts = {
        "AS-1": History(received_at=at("2026-11-26 15:00"), level=3, responded_at=(at("2026-11-26 15:10"),)),
        "AS-2": History(received_at=at("2026-11-26 15:20"), level=3, resolved_at=(at("2026-11-26 15:25"),)),
    }

    found = moves(
        {reference: clocks(past, POLICY, HOURS, now) for reference, past in pasts.items()},
        {reference: clocks(past, POLICY, snow, now) for reference, past in pasts.items()},
    )

    assert [(move.reference, move.kind, move.before, move.after, move.is_later) for move in found] == [
        ("AS-1", Kind.RESOLUTION, at("2026-11-27 09:00"), at("2026-11-30 09:00"), True)
    ]


@pytest.mark.parametrize(
    ("today", "said"),
    [
        ("2027-05-21", []),
        ("2027-05-22", ["term dates after 2027-07-21 are not configured; the calendar ends in 60 days"]),
        ("2027-07-20", ["term dates after 2027-07-21 are not configured; the calendar ends in 1 day"]),
        ("2027-07-22", ["term dates after 2027-07-21 are not configured: no deadline can be counted"]),
    ],
)
def test_the_end_of_the_calendar_is_announced_sixty_days_ahead(today: str, said: list[str]) -> None:
    assert list(warnings(HOURS, at(f"{today} 09:00"))) == said


def test_days_that_are_shorter_or_differ_are_named() -> None:
    fridays = [
        Closure(span=span(day), reason="Inset", hours=windows("12:00-24:00")) for day in ("2026-11-20", "2026-12-18")
    ]

    said = warnings(school(closures=[BOILER, *fridays]), at("2026-09-01 09:00"))

    assert said == (
        "1 business day open 09:00-12:00 instead of 08:00-16:00: Wed 2026-10-28",
        "2 business days open 08:00-12:00 instead of 08:00-16:00: Fri 2026-11-20, Fri 2026-12-18",
    )


def test_an_empty_calendar_and_short_days_are_warned_of() -> None:
    assert warnings(school(terms=(), cover=()), at("2026-09-01 09:00")) == (
        "no term dates are configured: no deadline can be counted",
    )
    assert warnings(school(week=windows("08:00-10:00"), cover=()), at("2026-09-01 09:00")) == (
        "business days are open 08:00-10:00, less than three hours: severities may fall due out of order",
    )
