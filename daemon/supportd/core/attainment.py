"""How the promises were kept: outcomes of clocks -> figures a level at a time, nothing hidden in an average.

1. An outcome counts in the period in which its ticket was received, at the level by which its clock was counted.
2. A clock that still runs and is late counts as missed; one that is not late yet counts as neither met nor missed.
3. Time paused stands apart, and so do the tickets that arrived out of hours.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from supportd.core.sla import Clock, Kind

# The worst misses are named one by one; behind so many of them the figures say more.
NAMED_MISSES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One missed clock of one ticket: *late* is the service time past its deadline, until it stopped or until now."""

    ticket_id: int
    kind: Kind
    level: int
    late: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The clocks of one kind and level that have stopped: how many in time, and how late each of the others.

    *late_seconds* is service time past the deadline, one entry a missed clock, in any order.
    """

    kind: Kind
    level: int
    met: int
    late_seconds: Sequence[int]
    paused: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """How many tickets of one level were received, and how many of them while the service was closed."""

    tickets: int = 0
    out_of_hours: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One target of one level: how often it was met, missed and is still open, and by how much it was missed."""

    met: int = 0
    missed: int = 0
    running: int = 0
    median_late: timedelta | None = None
    ninetieth_late: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelFigures:
    """One level: its tickets, those that arrived out of hours among them, both targets, and the time paused."""

    level: int
    name: str
    tickets: int
    out_of_hours: int
    response: Target
    resolution: Target
    paused: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Attainment:
    """The figures between two local dates, both included; *misses* are the worst of what was missed, worst first."""

    first: date
    last: date
    levels: tuple[LevelFigures, ...]
    misses: tuple[Outcome, ...]

    @property
    def tickets(self) -> int:
        """Return how many tickets were received in the period."""
        return sum(level.tickets for level in self.levels)


def attainment(
    stopped: Iterable[Stopped],
    running: Iterable[tuple[int, Clock]],
    worst: Iterable[Outcome],
    received: Mapping[int, Received],
    names: Mapping[int, str],
    *,
    first: date,
    last: date,
) -> Attainment:
    """Return the figures of a period.

    *running* are (ticket id, clock) of what still runs or waits, as it stands now; *worst* are the worst misses among
    the stopped clocks, at least NAMED_MISSES where there are so many.
    """
    ended = {(one.level, one.kind): one for one in stopped}
    alive: dict[tuple[int, Kind], list[Clock]] = {}
    late: list[Outcome] = list(worst)
    for ticket_id, clock in running:
        alive.setdefault((clock.level, clock.kind), []).append(clock)
        if clock.missed:
            late.append(Outcome(ticket_id=ticket_id, kind=clock.kind, level=clock.level, late=_late(clock)))
    levels = []
    for level, name in names.items():
        targets = {kind: _target(ended.get((level, kind)), alive.get((level, kind), ())) for kind in Kind}
        pauses = [one.paused for one in alive.get((level, Kind.RESOLUTION), ())]
        if (level, Kind.RESOLUTION) in ended:
            pauses.append(ended[level, Kind.RESOLUTION].paused)
        counted = received.get(level, Received())
        levels.append(
            LevelFigures(
                level=level,
                name=name,
                tickets=counted.tickets,
                out_of_hours=counted.out_of_hours,
                response=targets[Kind.RESPONSE],
                resolution=targets[Kind.RESOLUTION],
                paused=sum(pauses, timedelta()),
            )
        )
    misses = heapq.nsmallest(NAMED_MISSES, late, key=lambda one: (-one.late, one.level, one.ticket_id, one.kind))
    return Attainment(first=first, last=last, levels=tuple(levels), misses=tuple(misses))


def _late(clock: Clock) -> timedelta:
    assert clock.margin is not None
    return max(-clock.margin, timedelta())


def _target(stopped: Stopped | None, running: Sequence[Clock]) -> Target:
    late = sorted(
        (
            *(stopped.late_seconds if stopped else ()),
            *(round(_late(one).total_seconds()) for one in running if one.missed),
        )
    )
    return Target(
        met=stopped.met if stopped else 0,
        missed=len(late),
        running=sum(1 for one in running if not one.missed),
        median_late=percentile(late, 50),
        ninetieth_late=percentile(late, 90),
    )


def percentile(ordered_seconds: Sequence[int], percent: int) -> timedelta | None:
    """Return the nearest-rank percentile of *ordered_seconds*: one of them, never a mean; None when there is none."""
    if not ordered_seconds:
        return None
    return timedelta(seconds=ordered_seconds[max(0, math.ceil(len(ordered_seconds) * percent / 100) - 1)])
