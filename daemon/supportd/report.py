"""The outcomes in the database -> how well the promises of a period were kept."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from supportd.compose import Miss, Report, ReportRow
from supportd.config import Desk
from supportd.core import attainment, sla
from supportd.core.attainment import NAMED_MISSES, Attainment, Received
from supportd.db import tickets
from supportd.db.engine import Connection


def last_week(desk: Desk, now: datetime) -> tuple[date, date]:
    """Return the first and the last date of the week before that of *now*, Monday to Sunday."""
    today = desk.hours.local(now).date()
    monday = today - timedelta(days=today.weekday() + 7)
    return monday, monday + timedelta(days=6)


def figures(connection: Connection, desk: Desk, mailbox_id: int, first: date, last: date, now: datetime) -> Attainment:
    """Return the attainment of tickets received from *first* to *last*, local dates, both included.

    What has stopped is on record; what still runs or waits is counted from its events, as it stands at *now*.
    """
    zone = desk.hours.zone
    since = datetime.combine(first, time(), zone)
    until = datetime.combine(last + timedelta(days=1), time(), zone)
    period = (connection, mailbox_id, since, until)
    running = (
        (ticket_id, clock)
        for ticket_id, past in tickets.histories_between(*period)
        for clock in sla.clocks(past, desk.policy, desk.hours, now).all
        if clock.met_at is None
    )
    return attainment.attainment(
        tickets.stopped_between(*period),
        running,
        tickets.worst_between(*period, limit=NAMED_MISSES),
        _received(*period, desk=desk),
        desk.level_names,
        first=first,
        last=last,
    )


def unreported(desk: Desk, now: datetime, last_digest_on: date | None) -> tuple[date, date] | None:
    """Return the whole weeks that no digest has carried yet, or None when this week's first digest did.

    The week of the last digest is the first of them: what was asked in the last week of a term is reported in the
    first of the next.
    """
    first, last = last_week(desk, now)
    if last_digest_on is None:
        return first, last
    monday = last_digest_on - timedelta(days=last_digest_on.weekday())
    return (monday, last) if monday <= last else None


def between(connection: Connection, desk: Desk, mailbox_id: int, first: date, last: date, now: datetime) -> Report:
    """Return the report of the tickets received from *first* to *last*, local dates, both included."""
    return as_letter(connection, desk, mailbox_id, figures(connection, desk, mailbox_id, first, last, now))


def as_letter(connection: Connection, desk: Desk, mailbox_id: int, found: Attainment) -> Report:
    """Return *found* as letters and pages show it."""
    ids = list({miss.ticket_id for miss in found.misses})
    by_id = {one.id: one for one in tickets.by_ids(connection, ids, desk.level_names)}
    return Report(
        first=found.first,
        last=found.last,
        rows=tuple(
            ReportRow(
                level=level.level,
                name=level.name,
                tickets=level.tickets,
                response_met=level.response.met,
                response_missed=level.response.missed,
                resolution_met=level.resolution.met,
                resolution_missed=level.resolution.missed,
            )
            for level in found.levels
        ),
        misses=tuple(Miss(ticket=by_id[miss.ticket_id], clock=str(miss.kind), late=miss.late) for miss in found.misses),
        open_tickets=tickets.count_live(connection, mailbox_id),
    )


def _received(
    connection: Connection, mailbox_id: int, since: datetime, until: datetime, *, desk: Desk
) -> dict[int, Received]:
    counts: dict[int, list[int]] = {}
    for level, received_at in tickets.received_between(connection, mailbox_id, since, until):
        counted = counts.setdefault(level, [0, 0])
        counted[0] += 1
        counted[1] += not desk.hours.is_open(received_at)
    return {level: Received(tickets=every, out_of_hours=closed) for level, (every, closed) in counts.items()}
