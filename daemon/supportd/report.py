"""The outcomes in the database -> the weekly report, as a letter, a page, a table or lines for scripts."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from supportd.compose import Miss, Report, ReportRow
from supportd.config import Desk
from supportd.core import attainment
from supportd.core.attainment import Attainment, Outcome
from supportd.core.sla import Kind
from supportd.db import tickets
from supportd.db.engine import Connection

# More misses than this are a table of their own, not a letter.
_SHOWN_MISSES = 20


def figures(connection: Connection, desk: Desk, mailbox_id: int, first: date, last: date, now: datetime) -> Attainment:
    """Return the attainment of tickets received from *first* to *last*, local dates, both included."""
    zone = desk.hours.zone
    since = datetime.combine(first, time(), zone)
    until = datetime.combine(last + timedelta(days=1), time(), zone)
    received = [
        (one.level, not desk.hours.is_open(one.received_at))
        for one in tickets.received_between(connection, mailbox_id, since, until)
    ]
    outcomes = [
        _outcome(row, desk, now) for row in tickets.clocks_between(connection, mailbox_id, since, until)
    ]
    return attainment.attainment(outcomes, received, desk.level_names, first=first, last=last)


def of_last_week(connection: Connection, desk: Desk, mailbox_id: int, now: datetime) -> Report:
    """Return the report of the week before that of *now*, Monday to Sunday, for the week's first digest."""
    today = desk.hours.local(now).date()
    monday = today - timedelta(days=today.weekday() + 7)
    found = figures(connection, desk, mailbox_id, monday, monday + timedelta(days=6), now)
    return as_letter(connection, desk, mailbox_id, found)


def as_letter(connection: Connection, desk: Desk, mailbox_id: int, found: Attainment) -> Report:
    """Return *found* as the letter shows it."""
    shown = found.misses[:_SHOWN_MISSES]
    by_id = {
        one.id: one for one in tickets.by_ids(connection, [miss.ticket_id for miss in shown], desk.level_names)
    }
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
        misses=tuple(
            Miss(ticket=by_id[miss.ticket_id], clock=str(miss.kind), late=miss.late or timedelta()) for miss in shown
        ),
        open_tickets=len(tickets.live(connection, mailbox_id, desk.level_names)),
    )


def _outcome(row: tickets.ClockRow, desk: Desk, now: datetime) -> Outcome:
    late = row.late
    is_missed = row.is_missed
    if row.met_at is None and row.due is not None and not row.is_waiting:
        # It still runs: how late it is, is a matter of now.
        late = desk.hours.elapsed(row.due, now) if row.due < now else None
        is_missed = row.due < now
    return Outcome(
        ticket_id=row.ticket_id,
        reference=row.reference,
        kind=Kind(row.kind),
        level=row.level,
        received_at=row.received_at,
        due=row.due,
        met_at=row.met_at,
        late=late,
        paused=row.paused,
        is_missed=is_missed,
        is_out_of_hours=not desk.hours.is_open(row.received_at),
    )
