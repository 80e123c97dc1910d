"""The promises: by when a ticket is answered and mended, whether they were kept, and who is reminded when.

All of it is counted on the service clock (:mod:`supportd.core.hours`):

1. ``immediate`` is the next open instant and a few minutes; minutes and hours run; business days are counted;
2. the response clock stops at the first answer and never pauses;
3. the resolution clock stops when the ticket is resolved; what the requester was waited for moves its deadline;
4. a change of severity re-counts the clocks that still run, from the receipt or the last reopening;
5. a reopened ticket gets a fresh resolution target (without one at its level: a fresh response target); what is on
   record stays;
6. reminders climb a ladder, and of the steps that were missed only the latest is still true.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from supportd.core.hours import CalendarEnds, Hours
from supportd.core.model import Deadlines, Event, EventKind

# Behaviour.md "What it sends": so long before and after a deadline the second and fourth reminders go out.
SOON = timedelta(minutes=15)
OVERDUE = timedelta(hours=1)
# A severity 1 alert outside service hours is repeated to on_call so often, in real time.
ON_CALL_EVERY = timedelta(minutes=30)
ON_CALL_TIMES = 3
# Term dates must be configured so long before the last known ones end.
CALENDAR_NOTICE_DAYS = 60
# With at least three hours on every business day, the published targets fall due in the order of the severities.
ORDERED_MINUTES = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class Immediate:
    """At the next open instant, and *within* so much service time of it."""

    within: timedelta = timedelta(minutes=5)

    def __str__(self) -> str:
        return "immediate"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTime:
    """So much time on the service clock."""

    amount: timedelta

    def __str__(self) -> str:
        minutes = int(self.amount.total_seconds()) // 60
        return counted(minutes // 60, "hour") if minutes % 60 == 0 else counted(minutes, "minute")


@dataclass(frozen=True, slots=True, kw_only=True)
class BusinessDays:
    """So many business days."""

    count: int

    def __str__(self) -> str:
        return counted(self.count, "business day")


# None stands for "no target".
Target = Immediate | ServiceTime | BusinessDays


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One row of the published table: its targets, and the words in which they are published."""

    level: int
    name: str
    response: Target | None
    resolution: Target | None
    response_label: str = ""
    resolution_label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The table of targets, in the order of its levels."""

    levels: tuple[Level, ...]

    def level(self, number: int) -> Level:
        """Return the row of level *number*.

        Raises:
            KeyError: there is no such level.
        """
        for row in self.levels:
            if row.level == number:
                return row
        raise KeyError(number)


def counted(count: int, noun: str) -> str:
    """Return *count* and *noun* as people write them: ``1 hour``, ``2 hours``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def due(target: Target, start: datetime, hours: Hours) -> datetime:
    """Return when *target*, counted from *start*, is due, in UTC.

    Raises:
        CalendarEnds: the calendar ends first.
    """
    if isinstance(target, ServiceTime):
        return hours.add(start, target.amount)
    if isinstance(target, BusinessDays):
        return hours.add_business_days(start, target.count)
    opened = hours.next_open(start)
    if opened is None:
        raise CalendarEnds(hours.known_until)
    return hours.add(opened, target.within)


def deadlines(policy: Policy, level: int, received_at: datetime, hours: Hours) -> Deadlines:
    """Return both deadlines of a ticket of *level* received at *received_at*; None and the reason where none is known.

    Raises:
        KeyError: *policy* has no such level.
        ValueError: *received_at* is naive.
    """
    row = policy.level(level)
    found: list[datetime | None] = []
    reason = None
    for target in (row.response, row.resolution):
        try:
            found.append(due(target, received_at, hours) if target else None)
        except CalendarEnds as end:
            found.append(None)
            reason = str(end)
    return Deadlines(response_due=found[0], resolution_due=found[1], reason=reason)


# What happened to a ticket, as far as its clocks are concerned.


class Kind(StrEnum):
    """The two clocks of a ticket."""

    RESPONSE = "response"
    RESOLUTION = "resolution"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A stretch in which the ticket waited on its requester; *end_at* is None while it still does."""

    start_at: datetime
    end_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """From *at* the ticket has severity *level*."""

    at: datetime
    level: int


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What starts, stops and moves the clocks of one ticket, each tuple in time order."""

    received_at: datetime
    level: int
    corrections: tuple[Correction, ...] = ()
    pauses: tuple[Pause, ...] = ()
    responded_at: tuple[datetime, ...] = ()
    resolved_at: tuple[datetime, ...] = ()
    reopened_at: tuple[datetime, ...] = ()


def history(received_at: datetime, level: int, events: Iterable[Event]) -> History:
    """Return the history of a ticket received at *received_at* and rated *level* at first, from its *events* in order.

    An answer and ``#ack`` are responses; a ticket that is closed without having been resolved counts as resolved.
    """
    corrections: list[Correction] = []
    pauses: list[Pause] = []
    responded, resolved, reopened = [], [], []
    waiting_since: datetime | None = None
    is_resolved = False
    for event in events:
        if (
            event.kind in (EventKind.RESUMED, EventKind.RESOLVED, EventKind.CLOSED, EventKind.REOPENED)
            and waiting_since
        ):
            pauses.append(Pause(start_at=waiting_since, end_at=event.at))
            waiting_since = None
        if event.kind is EventKind.WAITING:
            waiting_since = waiting_since or event.at
        elif event.kind in (EventKind.ANSWERED, EventKind.TAKEN):
            responded.append(event.at)
        elif event.kind is EventKind.CORRECTED:
            corrections.append(Correction(at=event.at, level=int(event.detail("level"))))
        elif event.kind in (EventKind.RESOLVED, EventKind.CLOSED) and not is_resolved:
            resolved.append(event.at)
            is_resolved = True
        elif event.kind is EventKind.REOPENED and is_resolved:
            reopened.append(event.at)
            is_resolved = False
    if waiting_since:
        pauses.append(Pause(start_at=waiting_since))
    return History(
        received_at=received_at,
        level=level,
        corrections=tuple(corrections),
        pauses=tuple(pauses),
        responded_at=tuple(responded),
        resolved_at=tuple(resolved),
        reopened_at=tuple(reopened),
    )


# Both clocks of a ticket, at one instant.


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """One promise of one ticket as it stands.

    *counted_due* is the target counted from *start_at*; *due* is that moved by *paused*, the service time that the
    ticket waited on its requester; both None, with *reason*, where the calendar ends first.  *level_since* is when the
    severity was corrected to *level*, None when it is the first.  *round* is 0 from the
    receipt, 1 from the first reopening, and so on.  *margin* is the service time to spare when the clock stopped, or
    now while it runs: negative when it is late, None without a deadline.
    """

    kind: Kind
    level: int
    level_since: datetime | None
    target: Target
    round: int
    start_at: datetime
    counted_due: datetime | None
    due: datetime | None
    reason: str | None
    pauses: tuple[Pause, ...]
    paused: timedelta
    met_at: datetime | None
    margin: timedelta | None
    missed: bool

    @property
    def is_waiting(self) -> bool:
        """Return whether the clock stands still, because the requester is waited for."""
        return self.met_at is None and bool(self.pauses) and self.pauses[-1].end_at is None

    @property
    def key(self) -> str:
        """Return what tells this clock from every other of its ticket, for the unique keys of reminders."""
        return f"{self.kind}:{self.round}:{self.level}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """All clocks that a ticket ever had, in the order in which they started; a level without a target has none."""

    all: tuple[Clock, ...]

    @property
    def response(self) -> Clock | None:
        """Return the response clock in force: the latest."""
        return next((clock for clock in reversed(self.all) if clock.kind is Kind.RESPONSE), None)

    @property
    def resolution(self) -> Clock | None:
        """Return the resolution clock in force: the latest."""
        return next((clock for clock in reversed(self.all) if clock.kind is Kind.RESOLUTION), None)

    @property
    def deadlines(self) -> Deadlines:
        """Return both deadlines in force."""
        response, resolution = self.response, self.resolution
        return Deadlines(
            response_due=response.due if response else None,
            resolution_due=resolution.due if resolution else None,
            reason=next((clock.reason for clock in (response, resolution) if clock and clock.reason), None),
        )


def clocks(past: History, policy: Policy, hours: Hours, now: datetime) -> Clocks:
    """Return both clocks of a ticket with the history *past*, as they stand at *now*.

    Raises:
        KeyError: the ticket has a level that *policy* has not.
    """
    found: list[Clock] = []
    responses = sorted((*past.responded_at, *past.resolved_at))
    for number, start_at in enumerate((past.received_at, *past.reopened_at)):
        answered, resolved = _first_from(responses, start_at), _first_from(past.resolved_at, start_at)
        # What is on record was promised by the level in force when the clock stopped.
        response_level, resolution_level = _level_for(past, answered, now), _level_for(past, resolved, now)
        response = policy.level(response_level.level).response
        resolution = policy.level(resolution_level.level).resolution
        if response and (number == 0 or resolution is None):
            found.append(_clock(Kind.RESPONSE, number, response_level, response, start_at, answered, (), hours, now))
        if resolution:
            kind = Kind.RESOLUTION
            found.append(
                _clock(kind, number, resolution_level, resolution, start_at, resolved, past.pauses, hours, now)
            )
    return Clocks(all=tuple(found))


def _clock(
    kind: Kind,
    number: int,
    level: Correction,
    target: Target,
    start_at: datetime,
    met_at: datetime | None,
    pauses: Sequence[Pause],
    hours: Hours,
    now: datetime,
) -> Clock:
    stop = met_at or now
    # A pause belongs to the clock that ran when it began; one before a reopening moved the earlier promise.
    own = tuple(pause for pause in pauses if start_at <= pause.start_at and _is_before(pause.start_at, met_at, now))
    paused = sum((hours.elapsed(pause.start_at, min(pause.end_at or stop, stop)) for pause in own), timedelta())
    counted_due = moved_due = reason = None
    try:
        counted_due = due(target, start_at, hours)
        moved_due = hours.add(counted_due, paused)
    except CalendarEnds as end:
        reason = str(end)
    return Clock(
        kind=kind,
        level=level.level,
        level_since=level.at if level.at > start_at else None,
        target=target,
        round=number,
        start_at=start_at,
        counted_due=counted_due,
        due=moved_due,
        reason=reason,
        pauses=own,
        paused=paused,
        met_at=met_at,
        margin=None if moved_due is None else hours.elapsed(stop, moved_due),
        missed=moved_due is not None and stop > moved_due,
    )


def _is_before(at: datetime, met_at: datetime | None, now: datetime) -> bool:
    """Return whether *at* is in time to touch a clock: by *now* while it runs, else before the instant it stopped."""
    return at <= now if met_at is None else at < met_at


def _first_from(instants: Sequence[datetime], start_at: datetime) -> datetime | None:
    return next((at for at in instants if at >= start_at), None)


def _level_for(past: History, met_at: datetime | None, now: datetime) -> Correction:
    """Return the level that a clock is counted by: at *now* while it runs, else the one in force just before *met_at*.

    What is corrected by the very mail that answers comes too late for the promise that it keeps.
    """
    first = Correction(at=past.received_at, level=past.level)
    in_time = (change for change in reversed(past.corrections) if _is_before(change.at, met_at, now))
    return next(in_time, first)


# Reminders.


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the ladder: *rung* counts from 1 (from the third the IT lead is told too), *at* is always open time.

    *name* is unique on the ladder: ``half``, ``soon``, ``due``, ``hour-after``, then ``day-2026-12-01`` and so on.
    """

    name: str
    rung: int
    at: datetime


def ladder(clock: Clock, hours: Hours, now: datetime) -> tuple[Step, ...]:
    """Return the reminders of *clock* in time order, the daily ones up to the first after *now*.

    Steps before the clock started drop; a step while the service is closed goes out at the next opening; of steps at
    the same instant the higher rung stays, since it says more.  A clock that has stopped, stands still or has no
    deadline has no steps.
    """
    if clock.due is None or clock.counted_due is None or clock.met_at is not None or clock.is_waiting:
        return ()
    wanted = [
        ("half", half_at(clock, hours)),
        ("soon", hours.subtract(clock.due, SOON)),
        ("due", clock.due),
    ]
    after = clock.due
    with suppress(CalendarEnds):
        after = hours.add(clock.due, OVERDUE)
        wanted.append(("hour-after", after))
    wanted += [(f"day-{opening:%Y-%m-%d}", opening) for opening in _openings(hours, after, now)]
    by_instant: dict[datetime, Step] = {}
    for rung, (name, at) in enumerate(wanted, start=1):
        goes_out = hours.next_open(at) if at and at >= clock.start_at else None
        if goes_out is not None:
            by_instant[goes_out] = Step(name=name, rung=rung, at=goes_out)
    return tuple(by_instant[at] for at in sorted(by_instant))


def half_at(clock: Clock, hours: Hours) -> datetime | None:
    """Return when half of the target's service time is used up, the pauses left out; None where no due is known."""
    if clock.due is None or clock.counted_due is None:
        return None
    half = hours.add(clock.start_at, hours.elapsed(clock.start_at, clock.counted_due) / 2)
    for pause in clock.pauses:
        if pause.end_at is not None and pause.start_at < half:
            half = hours.add(half, hours.elapsed(pause.start_at, pause.end_at))
    return half


def _openings(hours: Hours, after: datetime, now: datetime) -> list[datetime]:
    """Return the openings of the business days after *after*, up to the first after *now*."""
    last = hours.local(max(after, now)).date()
    days = list(hours.business_days(hours.local(after).date(), last))
    with suppress(CalendarEnds):
        days.append(hours.next_business_day(last))
    openings = (hours.opening_of(day) for day in days)
    return [opening for opening in openings if opening is not None and opening > after]


def on_call_repeats(alerted_at: datetime, hours: Hours) -> tuple[Step, ...]:
    """Return the repeats of a severity 1 alert of *alerted_at* to on_call, in real time, while the service is closed.

    They hold until the ticket has its response; an alert while the service is open has none.
    """
    steps = []
    for number in range(1, ON_CALL_TIMES + 1):
        at = alerted_at + number * ON_CALL_EVERY
        if hours.is_open(at) or hours.elapsed(alerted_at, at):
            break
        steps.append(Step(name=f"on-call-{number}", rung=number, at=at))
    return tuple(steps)


def step_due(steps: Sequence[Step], sent: Collection[str], now: datetime) -> Step | None:
    """Return the step of *steps* to take at *now*: of those that were missed only the latest, and none twice."""
    latest = next((step for step in reversed(steps) if step.at <= now), None)
    return None if latest is None or latest.name in sent else latest


def next_step_at(steps: Sequence[Step], now: datetime) -> datetime | None:
    """Return when the first of *steps* after *now* is, or None."""
    return next((step.at for step in steps if step.at > now), None)


# What a change moves, and what a calendar lacks.


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One deadline that a new calendar or policy moves; None where there is none or none is known."""

    reference: str
    kind: Kind
    before: datetime | None
    after: datetime | None

    @property
    def is_later(self) -> bool:
        """Return whether the requester was promised an earlier instant than now holds, so that he gets a correction."""
        return self.before is not None and (self.after is None or self.after > self.before)


def moves(before: Mapping[str, Clocks], after: Mapping[str, Clocks]) -> tuple[Move, ...]:
    """Return the deadlines of running clocks that differ between *before* and *after*, both by ticket reference."""
    found = []
    for reference, old in before.items():
        new = after[reference]
        for kind, was, becomes in (
            (Kind.RESPONSE, old.response, new.response),
            (Kind.RESOLUTION, old.resolution, new.resolution),
        ):
            if any(clock is not None and clock.met_at is not None for clock in (was, becomes)):
                continue
            old_due, new_due = (was.due if was else None), (becomes.due if becomes else None)
            if old_due != new_due:
                found.append(Move(reference=reference, kind=kind, before=old_due, after=new_due))
    return tuple(found)


def warnings(hours: Hours, now: datetime) -> tuple[str, ...]:
    """Return what a person should know of the calendar at *now*, a sentence each: its end, and days unlike the others.

    Days that are shorter or differ are named because on them a more serious ticket can be due after a less serious one.
    """
    today = hours.local(now).date()
    known_until = hours.known_until
    found = []
    if known_until is None:
        found.append("no term dates are configured: no deadline can be counted")
    elif known_until < today:
        found.append(f"term dates after {known_until} are not configured: no deadline can be counted")
    elif (known_until - today).days <= CALENDAR_NOTICE_DAYS:
        left = counted((known_until - today).days, "day")
        found.append(f"term dates after {known_until} are not configured; the calendar ends in {left}")
    if known_until is not None:
        found += _unlike(hours, hours.business_days(today, date.max))
    return tuple(found)


def _unlike(hours: Hours, days: Sequence[date]) -> list[str]:
    by_windows: dict[str, list[date]] = {}
    for day in days:
        by_windows.setdefault(", ".join(map(str, hours.day(day).windows)), []).append(day)
    if not by_windows:
        return []
    usual = max(by_windows, key=lambda windows: len(by_windows[windows]))
    found = []
    if hours.day(by_windows[usual][0]).open_minutes < ORDERED_MINUTES:
        found.append(f"business days are open {usual}, less than three hours: severities may fall due out of order")
    for windows, those in by_windows.items():
        if windows != usual:
            named = ", ".join(f"{day:%a} {day}" for day in those[:5]) + (" ..." if len(those) > 5 else "")
            found.append(f"{counted(len(those), 'business day')} open {windows} instead of {usual}: {named}")
    return found
