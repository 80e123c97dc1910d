"""Why a deadline is what it is, in lines that a person can follow with a finger on the calendar.

Every line names local dates and readings of the calendar's zone, with the real length of each open window, so that
adding up the lines gives the deadline.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

from supportd.core.hours import Day, Hours
from supportd.core.sla import BusinessDays, Clock, Clocks, Immediate, Policy, ServiceTime, counted

# Enough to follow with a finger; a longer list is counted instead of shown.
SHOWN_WINDOWS = 12


def explain(clocks: Clocks, policy: Policy, hours: Hours, now: datetime) -> tuple[str, ...]:
    """Return the explanation of every clock of a ticket as it stands at *now*, line by line."""
    lines: list[str] = []
    for clock in clocks.all:
        lines += _clock_lines(clock, policy, hours, now)
    return tuple(lines)


def span_text(amount: timedelta) -> str:
    """Return *amount* in hours, minutes and seconds: ``7 h 20 min``."""
    seconds = int(abs(amount).total_seconds())
    parts = [f"{seconds // 3600} h", f"{seconds // 60 % 60} min", f"{seconds % 60} s"]
    return " ".join(part for part in parts if not part.startswith("0 ")) or "0 min"


def date_text(on: date) -> str:
    """Return *on* as ``Fri 27 Nov 2026``."""
    return f"{on:%a} {on.day} {on:%b %Y}"


def instant_text(at: datetime, hours: Hours) -> str:
    """Return *at* as the clock on the wall shows it: ``Fri 27 Nov 2026 15:30``, seconds only when there are some."""
    local = hours.local(at)
    return f"{date_text(local.date())} {_reading(local)}"


def _short(on: date) -> str:
    return f"{on:%a} {on.day} {on:%b}"


def _reading(local: datetime) -> str:
    return f"{local:%H:%M:%S}" if local.second else f"{local:%H:%M}"


def _clock_lines(clock: Clock, policy: Policy, hours: Hours, now: datetime) -> Iterator[str]:
    level = policy.level(clock.level)
    label = level.response_label if clock.kind == "response" else level.resolution_label
    rule = _rule_text(clock)
    words = f'"{label}", which is {rule}' if label and label != str(clock.target) else rule
    began = "received" if clock.round == 0 else "reopened"
    yield f"{clock.kind.capitalize()}, severity {level.level} ({level.name}): {words}, counted from when it was {began}"
    yield f"  {began} {instant_text(clock.start_at, hours)}, {_open_text(clock.start_at, hours)}"
    if clock.level_since:
        yield f"  severity {clock.level} since {instant_text(clock.level_since, hours)}, so counted again"
    if clock.counted_due is None:
        yield from _last_lines(clock, hours)
        yield f"  {clock.reason}"
        return
    if isinstance(clock.target, BusinessDays):
        yield from _business_day_lines(clock, clock.target, clock.counted_due, hours)
    else:
        yield from _window_lines(clock.start_at, clock.counted_due, hours)
    if clock.paused:
        yield f"  due {instant_text(clock.counted_due, hours)}, if nobody had been waited for"
        yield from _pause_lines(clock, hours, now)
    if clock.due is None:
        yield f"  {clock.reason}"
        return
    if clock.paused:
        yield f"  the deadline moves by {span_text(clock.paused)} of service time:"
        yield from _window_lines(clock.counted_due, clock.due, hours)
    yield f"  due {instant_text(clock.due, hours)}"
    yield f"  {_outcome_text(clock, clock.due, hours)}"


def _rule_text(clock: Clock) -> str:
    if isinstance(clock.target, Immediate):
        return f"immediate, within {span_text(clock.target.within)} of the next opening"
    if isinstance(clock.target, ServiceTime):
        return f"{clock.target} of service time"
    return str(clock.target)


def _open_text(at: datetime, hours: Hours) -> str:
    if hours.is_open(at):
        return "while the service was open"
    opened = hours.next_open(at)
    day = hours.day(hours.local(at).date())
    because = "" if day.windows else f" ({day.closed_by})"
    return f"while it was closed{because}" + (f"; it opens {instant_text(opened, hours)}" if opened else "")


def _window_lines(start: datetime, end: datetime, hours: Hours) -> Iterator[str]:
    """Yield the open windows between *start* and *end* with their lengths, and the closed dates between them."""
    windows = hours.open_windows(start, end)
    shown: Sequence[tuple[datetime, datetime]] = windows
    if len(windows) > SHOWN_WINDOWS:
        shown = (*windows[: SHOWN_WINDOWS // 2], *windows[-SHOWN_WINDOWS // 2 :])
    before = hours.local(start).date()
    for number, (opens, closes) in enumerate(shown):
        day = hours.local(opens).date()
        if len(windows) > len(shown) and number == SHOWN_WINDOWS // 2:
            left_out = windows[number : len(windows) - SHOWN_WINDOWS // 2]
            total = sum((end - begin for begin, end in left_out), timedelta())
            yield f"  {counted(len(left_out), 'more window')}, together {span_text(total)} counted"
        else:
            yield from _closed_lines(before, day, hours)
        yield f"  {_window_text(opens, closes, hours)}: {span_text(closes - opens)} counted{_change_text(day, hours)}"
        before = day


def _window_text(opens: datetime, closes: datetime, hours: Hours) -> str:
    begin, end = hours.local(opens), hours.local(closes)
    # A window that ends at midnight ends on its own date, as people see it.
    ends = "24:00" if end.date() > begin.date() else _reading(end)
    return f"{_short(begin.date())} {_reading(begin)}-{ends}"


def _change_text(day: date, hours: Hours) -> str:
    """Return a remark when the clocks change on the local date *day*."""
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=hours.zone)
    before, after = (noon - timedelta(days=1)).utcoffset(), noon.utcoffset()
    if before is None or after is None or before == after:
        return ""
    return f" (clocks go {'forward' if after > before else 'back'} {span_text(after - before)} that day)"


def _closed_lines(before: date, after: date, hours: Hours) -> Iterator[str]:
    """Yield the dates without service strictly between two local dates, those closed by the same thing together."""
    runs: list[tuple[Day, Day]] = []
    for ordinal in range(before.toordinal() + 1, after.toordinal()):
        day = hours.day(date.fromordinal(ordinal))
        if day.windows:
            continue
        if runs and _why(runs[-1][1]) == _why(day) and (day.on - runs[-1][1].on).days == 1:
            runs[-1] = (runs[-1][0], day)
        else:
            runs.append((day, day))
    for first, last in runs:
        named = _short(first.on) if first is last else f"{_short(first.on)} to {_short(last.on)}"
        yield f"  {named}: closed ({_why(first)})"


def _why(day: Day) -> str:
    """Return what closes *day*, said so that neighbours closed by the same thing say the same."""
    if not day.in_term:
        return "outside term"
    return "weekend" if day.closed_by in ("Saturday", "Sunday") else day.closed_by


def _business_day_lines(clock: Clock, target: BusinessDays, counted_due: datetime, hours: Hours) -> Iterator[str]:
    opened = hours.next_open(clock.start_at)
    assert opened is not None  # The deadline is known, so the service opens before it.
    first = hours.local(opened).date()
    last = hours.local(counted_due).date()
    if opened == hours.opening_of(first):
        day = first if target.count == 1 else hours.next_business_day(first, target.count - 1)
        yield f"  it begins with the opening of {_short(first)}, so that day counts whole: business day 1"
        yield from _numbered_days(first, day, 2, hours)
        yield f"  business day {target.count} ends at its last closing"
    else:
        day = hours.next_business_day(first, target.count)
        reading = _reading(hours.local(opened))
        yield f"  it begins on {_short(first)} at {reading}, within the day, so the days after it count:"
        yield from _numbered_days(first, day, 1, hours)
        stays = last == day and _reading(hours.local(counted_due)) == reading
        moved = "" if stays else _moved_text(day, counted_due, hours)
        yield f"  at the same reading, {reading}, of business day {target.count}{moved}"


def _last_lines(clock: Clock, hours: Hours) -> Iterator[str]:
    """Yield what is left of a calendar that ends before the deadline."""
    known_until = hours.known_until
    if known_until is None:
        return
    first = hours.local(clock.start_at).date()
    days = hours.business_days(first, date.max)
    if not isinstance(clock.target, BusinessDays):
        end = hours.last_closing_of(days[-1]) if days else None
        if end is not None and end > clock.start_at:
            yield from _window_lines(clock.start_at, end, hours)
    elif days:
        yield f"  {counted(len(days), 'business day')} left in the calendar, the last {_short(days[-1])}"


def _numbered_days(after: date, last: date, number: int, hours: Hours) -> Iterator[str]:
    """Yield the business days after *after* up to *last*, counted from *number*, and the closed dates between them."""
    before = after
    for day in hours.business_days(after + timedelta(days=1), last):
        yield from _closed_lines(before, day, hours)
        yield f"  business day {number}: {_short(day)} {', '.join(map(str, hours.day(day).windows))}"
        before, number = day, number + 1


def _moved_text(day: date, due: datetime, hours: Hours) -> str:
    if due == hours.last_closing_of(day):
        return ", which is after its last closing: moved back to that"
    return f", which is closed or does not exist that day: moved forward to {_reading(hours.local(due))}"


def _pause_lines(clock: Clock, hours: Hours, now: datetime) -> Iterator[str]:
    for pause in clock.pauses:
        end = pause.end_at or clock.met_at or now
        until = f"to {instant_text(end, hours)}" if pause.end_at or clock.met_at else "until now"
        amount = span_text(hours.elapsed(pause.start_at, end))
        yield f"  waited on the requester {instant_text(pause.start_at, hours)} {until}: {amount} of service time"


def _outcome_text(clock: Clock, due: datetime, hours: Hours) -> str:
    margin = span_text(clock.margin or timedelta())
    if clock.met_at is not None:
        verb = "answered" if clock.kind == "response" else "resolved"
        late = f"missed, {margin} of service time late" if clock.missed else f"kept, {margin} of service time to spare"
        return f"{verb} {instant_text(clock.met_at, hours)}: {late}"
    if clock.is_waiting:
        return f"the clock stands still, {margin} of service time {'late' if clock.missed else 'left'}"
    return f"{margin} of service time {'overdue' if clock.missed else 'left'}"
