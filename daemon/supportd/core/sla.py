"""The promises: by when a ticket is answered and mended, counted on the service clock.

1. ``immediate`` is the next open instant and a few minutes of service time;
2. minutes and hours are service time;
3. business days are counted as :meth:`supportd.core.hours.Hours.add_business_days` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from supportd.core.hours import CalendarEnds, Hours
from supportd.core.model import Deadlines


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
