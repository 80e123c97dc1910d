"""The service clock: when the service is open, and where a given stretch of service time or business days ends.

An instant is open if and only if its local date has a window and its local clock reading lies in it.  In this order:

1. a date inside a term, outside that term's half term, and no bank holiday has the weekly windows;
2. a closure takes them away (one with hours takes away only these);
3. a cover window opens the service on any date, unless a closure says that it closes cover too.

Everything is worked out once, when a calendar is built, into sorted rows of open intervals with the service time before
each; every question is then two binary searches.  Readings are turned into instants by the zone's own offsets, so a
window across a clock change has its real length, and a reading that comes twice is open twice.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)
_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_DAY = 24 * 60 * _MINUTE

# Integer microseconds since 1970 in UTC: exact, and cheap to search by the thousand.
Instant = int
Interval = tuple[Instant, Instant]


class CalendarEnds(Exception):
    """The calendar ends before the answer: it is not known until further term dates are configured."""

    def __init__(self, known_until: date | None) -> None:
        after = f" after {known_until.isoformat()}" if known_until else ""
        super().__init__(f"not known until term dates{after} are configured")
        self.known_until = known_until


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Window:
    """Clock readings [start, end) of one local date, in minutes after midnight; 1440 is the next midnight."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end <= 24 * 60:
            raise ValueError("a window ends after it starts, within 00:00 and 24:00")

    def __str__(self) -> str:
        return f"{self.start // 60:02}:{self.start % 60:02}-{self.end // 60:02}:{self.end % 60:02}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The local dates from *first* to *last*, both included."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError("a span of dates ends on or after its first date")

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last

    def __iter__(self) -> Iterator[date]:
        return map(date.fromordinal, range(self.first.toordinal(), self.last.toordinal() + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A term and the half term inside it, when there is one."""

    name: str
    span: Span
    half_term: Span | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BankHoliday:
    """A public holiday on one local date."""

    on: date
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """Dates without service; with *hours* only these readings are closed, with *closes_cover* cover is closed too."""

    span: Span
    reason: str
    hours: tuple[Window, ...] = ()
    closes_cover: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """Windows that are open on each date of *span*, whatever the rest of the calendar says of that date."""

    span: Span
    hours: tuple[Window, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What the calendar says of one local date.

    *windows* are the open readings, overlaps joined; *cover* those of them that only cover opens.  *closed_by* names
    what takes away the weekly hours of the date (a holiday, a closure, a weekend), empty when nothing does.
    """

    on: date
    windows: tuple[Window, ...]
    cover: tuple[Window, ...] = ()
    in_term: bool = True
    closed_by: str = ""
    cover_reason: str = ""

    @property
    def open_minutes(self) -> int:
        """Return how many minutes of the clock face are open; a clock change can make them longer or shorter."""
        return sum(window.end - window.start for window in self.windows)


@dataclass(frozen=True, slots=True)
class _Timeline:
    """The open intervals of a calendar in time order, and its business days in date order."""

    starts: list[Instant]
    ends: list[Instant]
    before: list[int]  # service time before interval i, in microseconds
    until: list[int]  # service time until the end of interval i
    day_of: list[int]  # the business day that interval i belongs to
    days: list[int]  # ordinals of the business days
    intervals: list[list[Interval]]  # the open intervals of each business day
    offset_from: list[Instant]  # from when each offset of the zone holds
    offsets: list[int]  # what to add to UTC to get the local reading, in microseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """A service calendar: immutable, and the only thing that knows when the service is open.

    *weekly* has seven entries, Monday first.  All instants that come in must be aware; all that go out are UTC.
    """

    zone: ZoneInfo
    weekly: tuple[tuple[Window, ...], ...]
    terms: tuple[Term, ...] = ()
    bank_holidays: tuple[BankHoliday, ...] = ()
    closures: tuple[Closure, ...] = ()
    cover: tuple[Cover, ...] = ()
    _line: _Timeline = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.weekly) != 7:
            raise ValueError("weekly hours have seven entries, Monday first")
        object.__setattr__(self, "_line", _timeline(self))

    @property
    def known_until(self) -> date | None:
        """Return the last date of the last term (without terms: of the last cover), or None for an empty calendar."""
        spans = [term.span for term in self.terms] or [cover.span for cover in self.cover]
        return max((span.last for span in spans), default=None)

    def day(self, on: date) -> Day:
        """Return what the calendar says of the local date *on*, by the rules of the module in their order."""
        return _day(self, on)

    def local(self, at: datetime) -> datetime:
        """Return *at* as the clock on the wall shows it, in the calendar's zone."""
        _instant(at)
        return at.astimezone(self.zone)

    # Open or closed.

    def is_open(self, at: datetime) -> bool:
        """Return whether the service is open at *at*; at the very moment of closing it is closed."""
        instant = _instant(at)
        place = bisect_right(self._line.starts, instant) - 1
        return place >= 0 and instant < self._line.ends[place]

    def next_open(self, at: datetime) -> datetime | None:
        """Return the first open instant at or after *at*, or None when the calendar ends first."""
        instant = _instant(at)
        place = bisect_right(self._line.ends, instant)
        return _moment(max(instant, self._line.starts[place])) if place < len(self._line.starts) else None

    def closing(self, at: datetime) -> datetime | None:
        """Return when the service that is open at *at* closes; None when it is closed at *at*."""
        instant = _instant(at)
        line = self._line
        place = bisect_right(line.starts, instant) - 1
        if place < 0 or instant >= line.ends[place]:
            return None
        while place + 1 < len(line.starts) and line.starts[place + 1] == line.ends[place]:
            place += 1  # Open past midnight: the next date goes straight on.
        return _moment(line.ends[place])

    def open_windows(self, start: datetime, end: datetime) -> tuple[tuple[datetime, datetime], ...]:
        """Return the open intervals between *start* and *end*, cut at both, one or more a date, in time order."""
        first, last = _instant(start), _instant(end)
        line = self._line
        return tuple(
            (_moment(max(first, line.starts[place])), _moment(min(last, line.ends[place])))
            for place in range(bisect_right(line.ends, first), bisect_left(line.starts, last))
        )

    # Service time.

    def elapsed(self, start: datetime, end: datetime) -> timedelta:
        """Return the service time from *start* to *end*; negative when *end* is the earlier."""
        return timedelta(microseconds=self._served(_instant(end)) - self._served(_instant(start)))

    def add(self, start: datetime, amount: timedelta) -> datetime:
        """Return the earliest instant, not before *start*, by which the clock has run *amount* since *start*.

        What ends exactly at closing time ends at closing time, not at the next opening.

        Raises:
            CalendarEnds: there is not that much service time left in the calendar.
            ValueError: *amount* is negative or *start* is naive.
        """
        instant, wanted = _instant(start), amount // _MICROSECOND
        if wanted <= 0:
            if wanted < 0:
                raise ValueError("service time to add must not be negative; use subtract")
            return _moment(instant)
        line = self._line
        total = self._served(instant) + wanted
        place = bisect_left(line.until, total)
        if place == len(line.until):
            raise CalendarEnds(self.known_until)
        return _moment(line.starts[place] + total - line.before[place])

    def subtract(self, end: datetime, amount: timedelta) -> datetime | None:
        """Return the latest instant from which the clock runs *amount* until *end*; None before the calendar begins."""
        instant, wanted = _instant(end), amount // _MICROSECOND
        if wanted <= 0:
            if wanted < 0:
                raise ValueError("service time to subtract must not be negative; use add")
            return _moment(instant)
        line = self._line
        total = self._served(instant) - wanted
        if total < 0:
            return None
        place = bisect_right(line.before, total) - 1
        return _moment(line.starts[place] + total - line.before[place])

    # Business days.

    def opening_of(self, on: date) -> datetime | None:
        """Return the first open instant of the local date *on*, or None when it has no open time."""
        place = self._place_of(on)
        return None if place is None else _moment(self._line.intervals[place][0][0])

    def last_closing_of(self, on: date) -> datetime | None:
        """Return the end of the last window of the local date *on*, also where the next date goes straight on."""
        place = self._place_of(on)
        return None if place is None else _moment(self._line.intervals[place][-1][1])

    def next_business_day(self, after: date, count: int = 1) -> date:
        """Return the *count*-th business day after the local date *after*.

        Raises:
            CalendarEnds: the calendar has not that many.
        """
        place = bisect_right(self._line.days, after.toordinal()) + count - 1
        if place >= len(self._line.days):
            raise CalendarEnds(self.known_until)
        return date.fromordinal(self._line.days[place])

    def business_days(self, first: date, last: date) -> tuple[date, ...]:
        """Return the business days from *first* to *last*, both included."""
        days = self._line.days
        places = range(bisect_left(days, first.toordinal()), bisect_right(days, last.toordinal()))
        return tuple(date.fromordinal(days[place]) for place in places)

    def add_business_days(self, start: datetime, count: int) -> datetime:
        """Return when *count* business days from *start* are over.

        Let s be the first open instant at or after *start*, on business day D.  If s is the moment D opens, that is
        the last closing of the (count-1)-th business day after D; else the local reading of s on the count-th after D,
        moved into that day's open time: forward to its next opening, or else back to its last closing.

        Raises:
            CalendarEnds: the calendar has not that many.
            ValueError: *count* is less than one or *start* is naive.
        """
        if count < 1:
            raise ValueError("at least one business day must be added")
        instant = _instant(start)
        line = self._line
        place = bisect_right(line.ends, instant)
        if place == len(line.starts):
            raise CalendarEnds(self.known_until)
        opened, day = max(instant, line.starts[place]), line.day_of[place]
        at_opening = opened == line.intervals[day][0][0]
        target = day + count - (1 if at_opening else 0)
        if target >= len(line.days):
            raise CalendarEnds(self.known_until)
        intervals = line.intervals[target]
        if at_opening:
            return _moment(intervals[-1][1])
        reading = (opened + line.offsets[bisect_right(line.offset_from, opened) - 1]) % _DAY
        wished = self._first_reading(line.days[target], reading)
        # Forward to the next opening that day (a reading that equals a closing is closed), or back to its last closing.
        return _moment(next((max(wished, begin) for begin, end in intervals if wished < end), intervals[-1][1]))

    # The rows underneath.

    def _served(self, instant: Instant) -> int:
        """Return the service time from the beginning of the calendar until *instant*, in microseconds."""
        line = self._line
        place = bisect_right(line.starts, instant) - 1
        if place < 0:
            return 0
        return line.before[place] + min(instant, line.ends[place]) - line.starts[place]

    def _place_of(self, on: date) -> int | None:
        place = bisect_left(self._line.days, on.toordinal())
        return place if place < len(self._line.days) and self._line.days[place] == on.toordinal() else None

    def _first_reading(self, ordinal: int, reading: int) -> Instant:
        """Return when the clock of the date shows *reading* (microseconds): the first time, or the jump across it."""
        line = self._line
        wall = (ordinal - _EPOCH_ORDINAL) * _DAY + reading
        # No zone is a whole day away from UTC, so the instant is less than a day from the same reading in UTC.
        first = max(0, bisect_right(line.offset_from, wall - _DAY) - 1)
        last = bisect_right(line.offset_from, wall + _DAY)
        for place in range(first, last):
            instant = wall - line.offsets[place]
            if place + 1 == len(line.offset_from) or instant < line.offset_from[place + 1]:
                return max(instant, line.offset_from[place])
        raise AssertionError("the last offset of a calendar holds for ever")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A local date on which two calendars differ."""

    before: Day
    after: Day


def changes(before: Hours, after: Hours) -> tuple[Change, ...]:
    """Return the local dates on which *after* is open at other readings than *before*, in their order."""
    days = {*before.business_days(date.min, date.max), *after.business_days(date.min, date.max)}
    pairs = (Change(before=before.day(on), after=after.day(on)) for on in sorted(days))
    return tuple(pair for pair in pairs if pair.before.windows != pair.after.windows)


def _instant(at: datetime) -> Instant:
    if at.tzinfo is None:
        raise ValueError("an instant needs its zone; this one is naive")
    return (at - _EPOCH) // _MICROSECOND


def _moment(instant: Instant) -> datetime:
    return _EPOCH + timedelta(microseconds=instant)


def _day(hours: Hours, on: date) -> Day:
    served = hours.weekly[on.weekday()]
    closed_by = "" if served else on.strftime("%A")
    terms = [term for term in hours.terms if on in term.span]
    if not any(term.half_term is None or on not in term.half_term for term in terms):
        served, closed_by = (), f"half term of {terms[0].name}" if terms else "outside term"
    for holiday in hours.bank_holidays:
        if holiday.on == on:
            served, closed_by = (), holiday.name
    cover = [window for item in hours.cover if on in item.span for window in item.hours]
    cover_reason = next((item.reason for item in hours.cover if on in item.span), "")
    for closure in hours.closures:
        if on not in closure.span:
            continue
        if served or not closed_by:
            closed_by = closure.reason
        served = _without(served, closure.hours) if closure.hours else ()
        if closure.closes_cover:
            cover = list(_without(cover, closure.hours)) if closure.hours else []
    return Day(
        on=on,
        windows=_joined((*served, *cover)),
        cover=_without(_joined(cover), _joined(served)),
        in_term=bool(terms),
        closed_by=closed_by,
        cover_reason=cover_reason if cover else "",
    )


def _joined(windows: Iterable[Window]) -> tuple[Window, ...]:
    """Return *windows* in order, those that overlap or touch made one."""
    joined: list[Window] = []
    for window in sorted(windows):
        if joined and window.start <= joined[-1].end:
            joined[-1] = Window(start=joined[-1].start, end=max(joined[-1].end, window.end))
        else:
            joined.append(window)
    return tuple(joined)


def _without(windows: Iterable[Window], taken: Iterable[Window]) -> tuple[Window, ...]:
    """Return what *windows* leave open when the readings of *taken* are closed."""
    left = tuple(windows)
    for hole in taken:
        parts = [((w.start, min(w.end, hole.start)), (max(w.start, hole.end), w.end)) for w in left]
        left = tuple(Window(start=start, end=end) for pair in parts for start, end in pair if start < end)
    return left


def _timeline(hours: Hours) -> _Timeline:
    spans = [*(term.span for term in hours.terms), *(cover.span for cover in hours.cover)]
    dates = sorted({ordinal for span in spans for ordinal in range(span.first.toordinal(), span.last.toordinal() + 1)})
    offset_from, offsets = _offsets(hours.zone, dates[0], dates[-1]) if dates else ([], [])
    plain = tuple(_joined(windows) for windows in hours.weekly)
    special = _special_dates(hours)
    rows: list[tuple[Instant, Instant, int]] = []
    days: list[int] = []
    intervals: list[list[Interval]] = []
    for ordinal in dates:
        windows = _day(hours, date.fromordinal(ordinal)).windows if ordinal in special else plain[(ordinal + 6) % 7]
        found = _runs(_on_the_clock(ordinal, windows, offset_from, offsets))
        if found:
            rows.extend((start, end, len(days)) for start, end in found)
            days.append(ordinal)
            intervals.append(found)
    # Where clocks go back across midnight, the intervals of two dates lie between each other.
    rows.sort()
    before, until, total = [], [], 0
    for start, end, _ in rows:
        before.append(total)
        total += end - start
        until.append(total)
    return _Timeline(
        [row[0] for row in rows], [row[1] for row in rows], before, until, [row[2] for row in rows],
        days, intervals, offset_from, offsets,
    )  # fmt: skip


def _special_dates(hours: Hours) -> set[int]:
    """Return the ordinals of the dates on which more than the weekly hours of a term decides."""
    special = {holiday.on.toordinal() for holiday in hours.bank_holidays}
    spans = [term.half_term for term in hours.terms if term.half_term]
    spans += [closure.span for closure in hours.closures]
    spans += [cover.span for cover in hours.cover]
    for span in spans:
        special.update(range(span.first.toordinal(), span.last.toordinal() + 1))
    return special


def _on_the_clock(
    ordinal: int, windows: tuple[Window, ...], offset_from: list[Instant], offsets: list[int]
) -> Iterator[Interval]:
    """Yield the UTC intervals in which the clock of the date shows a reading of *windows*."""
    if not windows:
        return
    midnight = (ordinal - _EPOCH_ORDINAL) * _DAY
    first = max(0, bisect_right(offset_from, midnight - _DAY) - 1)
    last = bisect_right(offset_from, midnight + 2 * _DAY)
    for place in range(first, last):
        begin = offset_from[place]
        end = offset_from[place + 1] if place + 1 < len(offset_from) else midnight + 3 * _DAY
        for window in windows:
            opens = max(begin, midnight + window.start * _MINUTE - offsets[place])
            closes = min(end, midnight + window.end * _MINUTE - offsets[place])
            if opens < closes:
                yield opens, closes


def _runs(intervals: Iterable[Interval]) -> list[Interval]:
    """Return *intervals* of one date in time order, those that touch made one (a clock change cuts a window in two)."""
    runs: list[Interval] = []
    for start, end in sorted(intervals):
        if runs and runs[-1][1] == start:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs


def _offsets(zone: ZoneInfo, first: int, last: int) -> tuple[list[Instant], list[int]]:
    """Return from when which offset from UTC holds, for the dates of the ordinals *first* to *last*.

    The zone is asked once a day, and a day with a change is halved down to the second: zones change their offset on
    whole seconds, and none does so there and back within one day.
    """

    def offset(instant: Instant) -> int:
        shift = _moment(instant).astimezone(zone).utcoffset()
        assert shift is not None
        return shift // _MICROSECOND

    asked = [(ordinal - _EPOCH_ORDINAL) * _DAY for ordinal in range(first - 2, last + 4)]
    offset_from, offsets = [asked[0]], [offset(asked[0])]
    for low, high in pairwise(asked):
        if offset(high) == offsets[-1]:
            continue
        while high - low > _SECOND:
            middle = (low + high) // 2 // _SECOND * _SECOND
            low, high = (middle, high) if offset(middle) == offsets[-1] else (low, middle)
        offset_from.append(high)
        offsets.append(offset(high))
    return offset_from, offsets
