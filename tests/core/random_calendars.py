"""Random school calendars and instants, unkind ones: odd windows, clock changes inside them, covers over closures."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from oracle import PlainCalendar, Readings

from supportd.core.hours import BankHoliday, Closure, Cover, Hours, Span, Term, Window

# Half of all calendars are British; Kathmandu is 5:45 ahead, Lord Howe changes by half an hour, Chatham is 12:45 ahead
# and changes, Havana changes at midnight, St John's changed at one minute past midnight until 2011.
ZONES = ("Europe/London",) * 6 + (
    "Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe", "Pacific/Chatham", "America/Havana",
    "America/St_Johns",
)  # fmt: skip
# A term begins some weeks before or after one of these: both clock changes of several years, and quiet weeks.
ANCHORS = (date(2026, 10, 25), date(2027, 3, 28), date(2026, 11, 1), date(2027, 3, 14), date(2027, 4, 4),
           date(2026, 9, 27), date(2027, 1, 4), date(2010, 11, 7), date(2010, 3, 14))  # fmt: skip


def plain_calendar(chance: random.Random) -> PlainCalendar:
    """Return a calendar of one to three terms in one of ZONES."""
    terms = []
    first = chance.choice(ANCHORS) - timedelta(days=chance.randrange(0, 25))
    begin = first
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        last = first + timedelta(days=chance.randrange(0, 35))
        half = None
        if chance.random() < 0.5:
            half_first = first + timedelta(days=chance.randrange((last - first).days + 1))
            half = (half_first, min(last, half_first + timedelta(days=chance.randrange(7))))
        terms.append((first, last, half))
        first = last + timedelta(days=chance.choice((1, 3, 10, 20, 42)))
    length = (terms[-1][1] - begin).days + 1

    def dates() -> tuple[date, date]:
        start = begin + timedelta(days=chance.randrange(-3, length + 4))
        return start, start + timedelta(days=chance.choice((0, 0, 0, 1, 2, 4)))

    kind = chance.random()
    if kind < 0.35:
        weekly: dict[int, Readings] = dict.fromkeys(range(5), readings(chance))
    elif kind < 0.45:
        weekly = dict.fromkeys(range(7), ((0, 1440),))
    else:
        weekly = {day: readings(chance) for day in range(7) if chance.random() < 0.8}
    return PlainCalendar(
        zone=chance.choice(ZONES),
        weekly=weekly,
        terms=terms,
        bank_holidays={dates()[0] for _ in range(chance.randrange(4))},
        closures=[
            (*dates(), readings(chance) if chance.random() < 0.5 else None, chance.random() < 0.4)
            for _ in range(chance.choice((0, 1, 1, 3)))
        ],
        cover=[(*dates(), readings(chance)) for _ in range(chance.choice((0, 1, 2, 4)))],
    )


def readings(chance: random.Random) -> Readings:
    """Return one to three windows of a day: a school's, split ones, nights across a clock change, whole days."""
    kind = chance.random()
    if kind < 0.25:
        return ((480, 960),)
    if kind < 0.4:
        return ((480, 720), (780, 960))
    if kind < 0.5:
        return ((0, 1440),)
    windows = []
    for _ in range(chance.choice((1, 2, 3))):
        # Around 01:00 to 03:00, where clocks change, as often as anywhere else.
        start = chance.randrange(0, 200) if chance.random() < 0.5 else chance.randrange(0, 1439)
        if chance.random() < 0.5:
            start -= start % 15
        windows.append((start, min(1440, start + chance.choice((1, 15, 30, 60, 95, 240, 480, 1440)))))
    return tuple(windows)


def hours_of(plain: PlainCalendar) -> Hours:
    """Return the same calendar as the product knows it."""

    def windows(readings: Readings) -> tuple[Window, ...]:
        return tuple(Window(start=start, end=end) for start, end in readings)

    return Hours(
        zone=ZoneInfo(plain.zone),
        weekly=tuple(windows(plain.weekly.get(day, ())) for day in range(7)),
        terms=tuple(
            Term(name=f"Term {number}", span=Span(first=first, last=last),
                 half_term=Span(first=half[0], last=half[1]) if half else None)
            for number, (first, last, half) in enumerate(plain.terms, start=1)
        ),
        bank_holidays=tuple(BankHoliday(on=day, name="holiday") for day in sorted(plain.bank_holidays)),
        closures=tuple(
            Closure(span=Span(first=first, last=last), reason="closed", hours=windows(hours or ()), closes_cover=both)
            for first, last, hours, both in plain.closures
        ),
        cover=tuple(
            Cover(span=Span(first=first, last=last), hours=windows(hours)) for first, last, hours in plain.cover
        ),
    )  # fmt: skip


def instant(chance: random.Random, plain: PlainCalendar) -> datetime:
    """Return an instant in or near the calendar, in whole seconds: anywhere, or within a second of a window's edge."""
    first, last = plain.terms[0][0], plain.terms[-1][1]
    day = first + timedelta(days=chance.randrange(-3, (last - first).days + 4))
    changes = [anchor for anchor in ANCHORS if first <= anchor <= last]
    if changes and chance.random() < 0.3:
        # A reading that the clock change of a few days later skips or shows twice.
        local = datetime.combine(chance.choice(changes) - timedelta(days=chance.randrange(4)), datetime.min.time())
        local += timedelta(minutes=chance.randrange(0, 200), seconds=chance.choice((0, 0, 1, 59)))
        return local.replace(tzinfo=ZoneInfo(plain.zone), fold=chance.randrange(2)).astimezone(UTC)
    midnight = datetime.combine(day, datetime.min.time(), UTC)
    if chance.random() < 0.4:
        return midnight + timedelta(seconds=chance.randrange(86400))
    if chance.random() < 0.2:
        return midnight + timedelta(minutes=chance.randrange(0, 200), seconds=chance.choice((0, 0, 1, 30, 59)))
    # Edges of any day of the week, of cover and of closures: what closes one day may be open or doubled on another.
    windows = [*plain.weekly.values(), *(hours for _, _, hours in plain.cover), ((480, 960),)]
    windows += [hours for _, _, hours, _ in plain.closures if hours]
    reading = chance.choice([edge for window in chance.choice(windows) or ((480, 960),) for edge in window])
    local = datetime.combine(day, datetime.min.time(), ZoneInfo(plain.zone)) + timedelta(minutes=reading)
    return local.replace(fold=chance.randrange(2)).astimezone(UTC) + timedelta(seconds=chance.choice((-1, 0, 0, 1, 17)))
