"""How the promises were kept: outcomes of clocks -> figures a level at a time, nothing hidden in an average.

An outcome counts in the period in which its ticket was received.  A clock that still runs and is late counts as missed;
one that still runs and is not late yet counts as neither.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from supportd.core.sla import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One clock of one ticket as it ended, or as it stands: *late* is service time past *due*, negative when early."""

    ticket_id: int
    reference: str
    kind: Kind
    level: int
    received_at: datetime
    due: datetime | None
    met_at: datetime | None
    late: timedelta | None
    paused: timedelta
    is_missed: bool
    is_out_of_hours: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One target of one level: how often it was met, missed and is still open, and by how much it was missed."""

    met: int = 0
    missed: int = 0
    running: int = 0
    median_late: timedelta | None = None
    ninetieth_late: timedelta | None = None

    @property
    def share_met(self) -> float | None:
        """Return the share of decided outcomes that were met, between 0 and 1; None when none is decided."""
        decided = self.met + self.missed
        return self.met / decided if decided else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelFigures:
    """One level: its tickets, those that arrived out of hours among them, and both targets."""

    level: int
    name: str
    tickets: int
    out_of_hours: int
    response: Target
    resolution: Target
    paused: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Attainment:
    """The figures between two local dates, both included; *misses* are the outcomes that were missed, worst first."""

    first: date
    last: date
    levels: tuple[LevelFigures, ...]
    misses: tuple[Outcome, ...]

    @property
    def tickets(self) -> int:
        """Return how many tickets were received in the period."""
        return sum(level.tickets for level in self.levels)


def attainment(
    outcomes: Iterable[Outcome],
    received: Sequence[tuple[int, bool]],
    names: dict[int, str],
    *,
    first: date,
    last: date,
) -> Attainment:
    """Return the figures of *outcomes*; *received* are (level, out of hours) of every ticket of the period."""
    by_target: dict[tuple[int, Kind], list[Outcome]] = {}
    for outcome in outcomes:
        by_target.setdefault((outcome.level, outcome.kind), []).append(outcome)
    levels = []
    for level, name in names.items():
        responses = by_target.get((level, Kind.RESPONSE), [])
        resolutions = by_target.get((level, Kind.RESOLUTION), [])
        levels.append(
            LevelFigures(
                level=level,
                name=name,
                tickets=sum(1 for found, _ in received if found == level),
                out_of_hours=sum(1 for found, closed in received if found == level and closed),
                response=_target(responses),
                resolution=_target(resolutions),
                paused=sum((one.paused for one in resolutions), timedelta()),
            )
        )
    missed = (one for group in by_target.values() for one in group if one.is_missed)
    worst = sorted(missed, key=lambda one: (-(one.late or timedelta()), one.level, one.ticket_id))
    return Attainment(first=first, last=last, levels=tuple(levels), misses=tuple(worst))


def _target(outcomes: Sequence[Outcome]) -> Target:
    late = sorted(one.late for one in outcomes if one.is_missed and one.late is not None)
    return Target(
        met=sum(1 for one in outcomes if one.met_at is not None and not one.is_missed),
        missed=sum(1 for one in outcomes if one.is_missed),
        running=sum(1 for one in outcomes if one.met_at is None and not one.is_missed),
        median_late=percentile(late, 50),
        ninetieth_late=percentile(late, 90),
    )


def percentile(ordered: Sequence[timedelta], percent: int) -> timedelta | None:
    """Return the nearest-rank percentile of *ordered* values: one of them, never a mean; None when there is none."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
