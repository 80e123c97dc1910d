"""The service clock once more, by brute force: every minute of a calendar is asked, one by one, whether it is open.

Written from the sentences of behaviour.md "The service clock", which stand above the lines that follow them.  It shares
no code and no representation with ``supportd.core.hours``: calendars are plain values, dates are bitmaps of minutes,
and time is walked along instead of being added up.  All offsets and windows are whole minutes, so a minute is open or
closed as a whole; seconds are kept apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

Readings = tuple[tuple[int, int], ...]  # (from, to) in minutes after midnight


@dataclass
class PlainCalendar:
    """A calendar as plain values; dates are (first, last), both included."""

    zone: str
    weekly: dict[int, Readings]  # by weekday, Monday is 0
    terms: list[tuple[date, date, tuple[date, date] | None]] = field(default_factory=list)
    bank_holidays: set[date] = field(default_factory=set)
    closures: list[tuple[date, date, Readings | None, bool]] = field(default_factory=list)
    cover: list[tuple[date, date, Readings]] = field(default_factory=list)


class Oracle:
    """Answers for one calendar; instants are whole seconds."""

    def __init__(self, plain: PlainCalendar) -> None:
        self.plain = plain
        zone = ZoneInfo(plain.zone)
        dates = [day for first, last, _ in plain.terms for day in (first, last)]
        dates += [day for first, last, _ in plain.cover for day in (first, last)]
        self.origin = datetime.combine(min(dates) - timedelta(days=2), datetime.min.time(), UTC)
        self.minutes = ((max(dates) - min(dates)).days + 5) * 1440
        self.local: list[tuple[date, int]] = []
        bitmaps: dict[date, bytearray] = {}
        self.open = bytearray(self.minutes)
        self.minutes_of: dict[date, list[int]] = {}
        at, one_minute = self.origin, timedelta(minutes=1)
        today, bitmap, its_minutes = None, bytearray(), []
        for minute in range(self.minutes):
            wall = at.astimezone(zone)
            at += one_minute
            day, reading = wall.date(), wall.hour * 60 + wall.minute
            if day != today:
                today, bitmap = day, bitmaps.setdefault(day, self.bitmap(day))
                its_minutes = self.minutes_of.setdefault(day, [])
            self.local.append((day, reading))
            its_minutes.append(minute)
            # "An instant is open if and only if its local date is served and its local clock reading lies in a window."
            self.open[minute] = bitmap[reading]
        # "A business day is a local date with any open time."
        self.business_days = sorted(day for day, its in self.minutes_of.items() if any(self.open[m] for m in its))

    def bitmap(self, day: date) -> bytearray:
        # "A date is served if it lies inside a term and outside its half term and is neither a bank holiday nor a
        # closure; its windows are the weekly hours."
        in_term = any(first <= day <= last and not (half and half[0] <= day <= half[1])
                      for first, last, half in self.plain.terms)  # fmt: skip
        weekly = bytearray(1440)
        if in_term and day not in self.plain.bank_holidays:
            for start, end in self.plain.weekly.get(day.weekday(), ()):
                weekly[start:end] = b"\1" * (end - start)
        # "Cover windows open the service on any date, also where it would be closed."
        cover = bytearray(1440)
        for first, last, windows in self.plain.cover:
            if first <= day <= last:
                for start, end in windows:
                    cover[start:end] = b"\1" * (end - start)
        # "may carry hours (closed in these only), cover: true (closes cover too)"
        for first, last, hours, closes_cover in self.plain.closures:
            if first <= day <= last:
                for start, end in ((0, 1440),) if hours is None else hours:
                    weekly[start:end] = bytes(end - start)
                    if closes_cover:
                        cover[start:end] = bytes(end - start)
        return bytearray(one | other for one, other in zip(weekly, cover, strict=True))

    def split(self, at: datetime) -> tuple[int, int]:
        """Return the minute of *at* in this calendar, and the seconds into it."""
        return divmod(int((at - self.origin).total_seconds()), 60)

    def instant(self, minute: int, seconds: int = 0) -> datetime:
        return self.origin + timedelta(minutes=minute, seconds=seconds)

    def is_open(self, at: datetime) -> bool:
        minute, _ = self.split(at)
        return 0 <= minute < self.minutes and self.open[minute] == 1

    def next_open(self, at: datetime) -> datetime | None:
        minute, seconds = self.split(at)
        if minute < 0:
            minute, seconds = 0, 0
        while minute < self.minutes:
            if self.open[minute]:
                return self.instant(minute, seconds)
            minute, seconds = minute + 1, 0
        return None

    def add_seconds(self, start: datetime, wanted: int) -> datetime | None:
        # "the earliest instant T >= received by which the clock has run that long"
        minute, seconds = self.split(start)
        if wanted == 0:
            return start
        if minute < 0:
            minute, seconds = 0, 0
        while minute < self.minutes:
            if self.open[minute]:
                if wanted <= 60 - seconds:
                    return self.instant(minute, seconds + wanted)
                wanted -= 60 - seconds
            minute, seconds = minute + 1, 0
        return None

    def immediate(self, start: datetime, within: int) -> datetime | None:
        # "the next open instant at or after received, plus immediate_within of service time"
        opened = self.next_open(start)
        return None if opened is None else self.add_seconds(opened, within)

    def elapsed_seconds(self, start: datetime, end: datetime) -> int:
        total, at = 0, start
        while at < end:
            minute, seconds = self.split(at)
            step = min(60 - seconds, int((end - at).total_seconds()))
            total += step if 0 <= minute < self.minutes and self.open[minute] else 0
            at += timedelta(seconds=step)
        return total

    def opening(self, day: date) -> datetime:
        return self.instant(min(m for m in self.minutes_of[day] if self.open[m]))

    def last_closing(self, day: date) -> datetime:
        # "its last closing is the end of its last window (24:00 is the next midnight), also where the next date goes
        # straight on"
        return self.instant(max(m for m in self.minutes_of[day] if self.open[m]) + 1)

    def add_business_days(self, start: datetime, count: int) -> datetime | None:
        # "Let s be the first open instant at or after received, on business day D."
        s = self.next_open(start)
        if s is None:
            return None
        minute, seconds = self.split(s)
        day, reading = self.local[minute]
        place = self.business_days.index(day)
        if s == self.opening(day):
            # "If s is the moment D opens, the target is the last closing of the (N-1)th business day after D"
            if place + count - 1 >= len(self.business_days):
                return None
            return self.last_closing(self.business_days[place + count - 1])
        # "else it is the local clock reading of s on the Nth business day after D"
        if place + count >= len(self.business_days):
            return None
        target = self.business_days[place + count]
        shown = [m for m in self.minutes_of[target] if self.local[m][1] == reading]
        if shown:
            minute = shown[0]  # "one that exists twice is the first"
        else:
            # "one that does not exist that day becomes the moment of the jump"
            minute, seconds = next(m for m in range(self.minutes) if self.local[m] > (target, reading)), 0
        # "moved into that day's open time: forward to the next opening that day, or else back to its last closing"
        if self.local[minute][0] == target and self.open[minute]:
            return self.instant(minute, seconds)
        later = [m for m in self.minutes_of[target] if m > minute and self.open[m]]
        return self.instant(later[0]) if later else self.last_closing(target)
