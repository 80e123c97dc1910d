"""Tickets: append-only events and the row that projects them, written in the same transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    bindparam,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    update,
)

from supportd.core.attainment import Outcome, Stopped
from supportd.core.model import (
    Address,
    Attachment,
    AttachmentKind,
    Deadlines,
    Event,
    EventKind,
    Evidence,
    Rating,
    Status,
    Ticket,
)
from supportd.core.sla import Clock, History, Kind, history
from supportd.db.schema import (
    attachment,
    blob,
    clock,
    counter,
    event,
    incident,
    mailbox,
    participant,
    security_event,
    slot,
    ticket,
)

# The states in which a clock may still run.
LIVE = (Status.NEW, Status.OPEN, Status.WAITING)


# Asked for many times by every mail: built once, since building a statement costs more than running it.
_APPEND = insert(event).returning(event.c.id)
_ONE = (
    select(ticket, mailbox.c.name.label("mailbox"))
    .join_from(ticket, mailbox, mailbox.c.id == ticket.c.mailbox_id)
    .where(ticket.c.id == bindparam("ticket_id"))
)
# Written out, so that the index of these rows alone is seen to fit.
_BOUNCED = literal(EventKind.BOUNCED.value, literal_execute=True)
_ITS_PEOPLE = select(participant.c.address).where(participant.c.ticket_id == bindparam("ticket_id"))
_ITS_FILES = select(attachment).where(attachment.c.ticket_id == bindparam("ticket_id")).order_by(attachment.c.id)


def next_reference(connection: Connection, prefix: str) -> str:
    """Return the next reference of *prefix*, such as AS-124; numbers are never used twice, also after a deletion."""
    name = f"reference:{prefix}"
    value = connection.execute(
        update(counter).where(counter.c.name == name).values(value=counter.c.value + 1).returning(counter.c.value)
    ).scalar()
    if value is None:
        value = 1
        connection.execute(insert(counter).values(name=name, value=value))
    return f"{prefix}-{value}"


def skip_numbers(connection: Connection, prefix: str, count: int) -> None:
    """Never give out the next *count* references of *prefix* and ids of tickets: they may have been before a restore.

    The ids as well, since the proof in our Message-IDs is bound to them.
    """
    name = f"reference:{prefix}"
    skip = update(counter).where(counter.c.name == name).values(value=counter.c.value + count)
    if not connection.execute(skip).rowcount:
        connection.execute(insert(counter).values(name=name, value=count))
    if connection.dialect.name == "postgresql":
        sequence = "pg_get_serial_sequence('ticket', 'id')"
        connection.execute(
            text(f"SELECT setval({sequence}, nextval({sequence}) + :count)"),
            {"count": count},
        )
        return
    # SQLite's own book of the highest id ever given out in each table.
    if not connection.execute(
        text("UPDATE sqlite_sequence SET seq = seq + :count WHERE name = 'ticket'"), {"count": count}
    ).rowcount:
        connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES ('ticket', :count)"), {"count": count})


def open_ticket(
    connection: Connection,
    *,
    mailbox_id: int,
    reference: str,
    subject: str,
    requester: Address,
    text: str,
    rating: Rating,
    deadlines: Deadlines,
    received_at: datetime,
    next_check_at: datetime | None,
    automatic: bool,
    verified: bool,
    restricted: bool,
    participants: Iterable[str],
    origin_message_id: str | None,
    origin_references: Sequence[str],
    incident_id: int | None = None,
) -> int:
    """Return the id of a new ticket; the caller appends its events in the same transaction."""
    number = connection.execute(
        insert(ticket)
        .values(
            mailbox_id=mailbox_id,
            reference=reference,
            subject=subject,
            requester=requester.address,
            requester_name=requester.name,
            level=rating.level,
            status=Status.NEW,
            received_at=received_at,
            text=text,
            evidence=[[one.words, one.field, one.facet] for one in rating.evidence],
            row=rating.row,
            service=rating.service,
            automatic=automatic,
            verified=verified,
            restricted=restricted,
            assignee="",
            response_due=deadlines.response_due,
            resolution_due=deadlines.resolution_due,
            due_reason=deadlines.reason,
            next_check_at=next_check_at,
            incident_id=incident_id,
            origin_message_id=origin_message_id,
            origin_references=list(origin_references),
        )
        .returning(ticket.c.id)
    ).scalar_one()
    people = [{"ticket_id": number, "address": address} for address in dict.fromkeys(participants) if address]
    if people:
        connection.execute(insert(participant), people)
    return int(number)


def add_participants(connection: Connection, ticket_id: int, addresses: Iterable[str]) -> None:
    """Let *addresses* take part in the ticket; who does already stays."""
    known = set(
        connection.execute(select(participant.c.address).where(participant.c.ticket_id == ticket_id)).scalars()
    )
    for address in dict.fromkeys(addresses):
        if address and address not in known:
            connection.execute(insert(participant).values(ticket_id=ticket_id, address=address))


def append(connection: Connection, ticket_id: int, one: Event, *, message_id: int | None = None) -> int:
    """Append one event to the ticket and return its number."""
    values = {
        "ticket_id": ticket_id,
        "kind": one.kind,
        "at": one.at,
        "by": one.by,
        "way": one.way,
        "text": one.text,
        "details": dict(one.details),
        "message_id": message_id,
    }
    return int(connection.execute(_APPEND, values).scalar_one())


def attach(connection: Connection, ticket_id: int, event_id: int, attachments: Iterable[Attachment]) -> None:
    """Keep *attachments* with the event, their content once by its hash."""
    for one in attachments:
        held = connection.execute(select(blob.c.sha256).where(blob.c.sha256 == one.sha256)).scalar()
        if held is None:
            connection.execute(insert(blob).values(sha256=one.sha256, data=one.content))
        connection.execute(
            insert(attachment).values(
                ticket_id=ticket_id,
                event_id=event_id,
                name=one.name,
                type=one.type[:255],
                kind=one.kind,
                size=one.size,
                sha256=one.sha256,
            )
        )


def change(connection: Connection, ticket_id: int, **values: Any) -> None:
    """Write *values* into the ticket's projection."""
    connection.execute(update(ticket).where(ticket.c.id == ticket_id).values(**values))


def load(connection: Connection, ticket_id: int, level_names: Mapping[int, str]) -> Ticket:
    """Return the ticket *ticket_id* as it stands, with its participants and attachments (without their content).

    Raises:
        KeyError: there is no such ticket.
    """
    row = connection.execute(_ONE, {"ticket_id": ticket_id}).one_or_none()
    if row is None:
        raise KeyError(ticket_id)
    people = tuple(connection.execute(_ITS_PEOPLE, {"ticket_id": ticket_id}).scalars())
    files = tuple(_attachment(one) for one in connection.execute(_ITS_FILES, {"ticket_id": ticket_id}))
    return _ticket(row, level_names, people, files)


def by_ids(connection: Connection, ticket_ids: Sequence[int], level_names: Mapping[int, str]) -> list[Ticket]:
    """Return the tickets *ticket_ids*, in the order of their ids."""
    return find(connection, level_names, ticket.c.id.in_(ticket_ids))


def id_of(connection: Connection, reference: str) -> int | None:
    """Return the id of the ticket that people call *reference* (any case), or None."""
    found = connection.execute(select(ticket.c.id).where(ticket.c.reference == reference.strip().upper())).scalar()
    return None if found is None else int(found)


def ids_of(connection: Connection, mailbox_id: int, references: Sequence[str]) -> set[int]:
    """Return the ids of the tickets that *references* name, whatever their case and punctuation ("as123", "AS-123")."""
    wanted = {spelling for one in references for spelling in _spellings(one)}
    if not wanted:
        return set()
    rows = connection.execute(
        select(ticket.c.id).where(ticket.c.mailbox_id == mailbox_id, ticket.c.reference.in_(sorted(wanted)))
    )
    return set(rows.scalars())


def find(
    connection: Connection,
    level_names: Mapping[int, str],
    *conditions: ColumnElement[bool],
    limit: int | None = None,
    newest_first: bool = False,
) -> list[Ticket]:
    """Return the tickets for which all *conditions* hold, oldest first unless told."""
    query = select(ticket, mailbox.c.name.label("mailbox")).join_from(
        ticket, mailbox, mailbox.c.id == ticket.c.mailbox_id
    )
    query = query.where(*conditions).order_by(ticket.c.id.desc() if newest_first else ticket.c.id).limit(limit)
    rows = connection.execute(query).all()
    if not rows:
        return []
    ids = [row.id for row in rows]
    takes_part: dict[int, list[str]] = {}
    carries: dict[int, list[Attachment]] = {}
    for start in range(0, len(ids), 500):
        chunk = ids[start : start + 500]
        for one in connection.execute(select(participant).where(participant.c.ticket_id.in_(chunk))):
            takes_part.setdefault(one.ticket_id, []).append(one.address)
        for one in connection.execute(
            select(attachment).where(attachment.c.ticket_id.in_(chunk)).order_by(attachment.c.id)
        ):
            carries.setdefault(one.ticket_id, []).append(_attachment(one))
    return [
        _ticket(row, level_names, tuple(takes_part.get(row.id, ())), tuple(carries.get(row.id, ()))) for row in rows
    ]


def listing(
    connection: Connection,
    mailbox_id: int,
    level_names: Mapping[int, str],
    *,
    statuses: Sequence[Status] | None,
    level: int | None,
    limit: int,
) -> list[Ticket]:
    """Return the newest *limit* tickets in one of *statuses* (None: any) and of *level* (None: any), oldest first."""
    conditions: list[ColumnElement[bool]] = [ticket.c.mailbox_id == mailbox_id]
    if statuses is not None:
        conditions.append(ticket.c.status.in_(list(statuses)))
    if level is not None:
        conditions.append(ticket.c.level == level)
    return find(connection, level_names, *conditions, limit=limit, newest_first=True)[::-1]


def reference_of(connection: Connection, ticket_id: int) -> str:
    """Return what people call the ticket."""
    return str(connection.execute(select(ticket.c.reference).where(ticket.c.id == ticket_id)).scalar_one())


def mailbox_name(connection: Connection, ticket_id: int) -> str:
    """Return the name of the mailbox that the ticket belongs to."""
    query = select(mailbox.c.name).join_from(ticket, mailbox, mailbox.c.id == ticket.c.mailbox_id)
    return str(connection.execute(query.where(ticket.c.id == ticket_id)).scalar_one())


def count_live(connection: Connection, mailbox_id: int) -> int:
    """Return how many tickets of the mailbox are new, open or waiting."""
    query = select(func.count()).select_from(ticket).where(ticket.c.mailbox_id == mailbox_id, ticket.c.status.in_(LIVE))
    return int(connection.execute(query).scalar_one())


def live(connection: Connection, mailbox_id: int, level_names: Mapping[int, str]) -> list[Ticket]:
    """Return the tickets of one mailbox that are new, open or waiting, oldest first."""
    return find(connection, level_names, ticket.c.mailbox_id == mailbox_id, ticket.c.status.in_(LIVE))


def due_for_check(connection: Connection, mailbox_id: int, now: datetime) -> list[int]:
    """Return the ids of tickets whose next reminder, repeat or closing may be due at *now*."""
    return list(
        connection.execute(
            select(ticket.c.id)
            .where(ticket.c.mailbox_id == mailbox_id, ticket.c.next_check_at <= now)
            .order_by(ticket.c.next_check_at)
            .limit(1000)
        ).scalars()
    )


def events(connection: Connection, ticket_id: int) -> list[Event]:
    """Return the events of the ticket, oldest first."""
    rows = connection.execute(select(event).where(event.c.ticket_id == ticket_id).order_by(event.c.id))
    return [
        Event(
            kind=EventKind(row.kind),
            at=row.at,
            by=row.by,
            way=row.way,
            text=row.text,
            details=tuple(row.details.items()),
            number=row.id,
        )
        for row in rows
    ]


def write_clocks(connection: Connection, ticket_id: int, clocks: Iterable[Clock], *, is_new: bool = False) -> None:
    """Replace the clocks of the ticket by *clocks*; a new ticket has none to be taken away."""
    if not is_new:
        connection.execute(delete(clock).where(clock.c.ticket_id == ticket_id))
    rows = [
        {
            "ticket_id": ticket_id,
            "kind": one.kind,
            "round": one.round,
            "level": one.level,
            "due": one.due,
            "met_at": one.met_at,
            "late_seconds": None if one.margin is None else round(-one.margin.total_seconds()),
            "paused_seconds": round(one.paused.total_seconds()),
            "is_missed": one.missed,
            "is_waiting": one.is_waiting,
        }
        for one in clocks
    ]
    if rows:
        connection.execute(insert(clock), rows)


def stopped_between(connection: Connection, mailbox_id: int, since: datetime, until: datetime) -> list[Stopped]:
    """Return the clocks that have stopped of tickets received in [*since*, *until*), summed by kind and level.

    The database counts: of a hundred thousand clocks only the seconds of the missed ones come here.
    """
    conditions = (clock.c.met_at.is_not(None), *_reported(mailbox_id, since, until))
    late: dict[tuple[str, int], list[int]] = {}
    for kind, level, seconds in connection.execute(
        select(clock.c.kind, clock.c.level, clock.c.late_seconds)
        .join_from(clock, ticket, clock.c.ticket_id == ticket.c.id)
        .where(*conditions, clock.c.is_missed)
    ):
        late.setdefault((kind, level), []).append(seconds)
    sums = connection.execute(
        select(
            clock.c.kind,
            clock.c.level,
            func.count().filter(clock.c.is_missed.is_(False)).label("met"),
            func.sum(clock.c.paused_seconds).label("paused"),
        )
        .join_from(clock, ticket, clock.c.ticket_id == ticket.c.id)
        .where(*conditions)
        .group_by(clock.c.kind, clock.c.level)
    )
    return [
        Stopped(
            kind=Kind(row.kind),
            level=row.level,
            met=row.met,
            late_seconds=late.get((row.kind, row.level), ()),
            paused=timedelta(seconds=int(row.paused)),
        )
        for row in sums
    ]


def worst_between(
    connection: Connection, mailbox_id: int, since: datetime, until: datetime, *, limit: int
) -> list[Outcome]:
    """Return the *limit* worst misses among the clocks that have stopped, worst first."""
    rows = connection.execute(
        select(clock)
        .join_from(clock, ticket, clock.c.ticket_id == ticket.c.id)
        .where(clock.c.met_at.is_not(None), clock.c.is_missed, *_reported(mailbox_id, since, until))
        .order_by(clock.c.late_seconds.desc(), clock.c.level, clock.c.ticket_id, clock.c.kind)
        .limit(limit)
    )
    return [
        Outcome(
            ticket_id=row.ticket_id,
            kind=Kind(row.kind),
            level=row.level,
            late=timedelta(seconds=row.late_seconds),
        )
        for row in rows
    ]


def histories_between(
    connection: Connection, mailbox_id: int, since: datetime, until: datetime
) -> Iterator[tuple[int, History]]:
    """Yield (id, history) of the tickets received in [*since*, *until*) with a clock that still runs or waits."""
    rows = connection.execute(
        select(ticket.c.id, ticket.c.received_at, ticket.c.level)
        .distinct()
        .join_from(ticket, clock, clock.c.ticket_id == ticket.c.id)
        .where(clock.c.met_at.is_(None), *_reported(mailbox_id, since, until))
        .order_by(ticket.c.id)
    ).all()
    for start in range(0, len(rows), 500):
        chunk = rows[start : start + 500]
        told: dict[int, list[Event]] = {row.id: [] for row in chunk}
        found = connection.execute(
            select(event.c.ticket_id, event.c.kind, event.c.at, event.c.details)
            .where(event.c.ticket_id.in_(list(told)))
            .order_by(event.c.id)
        )
        for one in found:
            told[one.ticket_id].append(
                Event(kind=EventKind(one.kind), at=one.at, details=tuple(one.details.items()))
            )
        for row in chunk:
            yield row.id, history_of(row.received_at, row.level, told[row.id])


def history_of(received_at: datetime, level: int, events: Sequence[Event]) -> History:
    """Return what moves the clocks of a ticket: rated as its events say, at *level* where none does."""
    rated = next((one for one in events if one.kind is EventKind.RATED), None)
    return history(received_at, int(rated.detail("level")) if rated else level, events)


def received_between(
    connection: Connection, mailbox_id: int, since: datetime, until: datetime
) -> Iterator[tuple[int, datetime]]:
    """Yield (level, received at) of the tickets received in [*since*, *until*), but of spam and merged ones."""
    rows = connection.execute(select(ticket.c.level, ticket.c.received_at).where(*_reported(mailbox_id, since, until)))
    for row in rows:
        yield row.level, row.received_at


def _reported(mailbox_id: int, since: datetime, until: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        ticket.c.mailbox_id == mailbox_id,
        ticket.c.received_at >= since,
        ticket.c.received_at < until,
        ticket.c.spam.is_(False),
        ticket.c.merged_into.is_(None),
    )


def contents(connection: Connection, event_id: int) -> list[Attachment]:
    """Return the attachments of one event, with their content."""
    rows = connection.execute(
        select(attachment, blob.c.data)
        .join_from(attachment, blob, blob.c.sha256 == attachment.c.sha256)
        .where(attachment.c.event_id == event_id)
        .order_by(attachment.c.id)
    )
    return [_attachment(row, row.data) for row in rows]


def first_contents(connection: Connection, ticket_id: int) -> list[Attachment]:
    """Return the attachments of the mail that opened the ticket, with their content."""
    first = connection.execute(select(func.min(event.c.id)).where(event.c.ticket_id == ticket_id)).scalar()
    return [] if first is None else contents(connection, first)


def resolved_since(connection: Connection, mailbox_id: int, since: datetime,
                   level_names: Mapping[int, str]) -> list[Ticket]:
    """Return the tickets resolved since *since*, oldest first."""
    return find(connection, level_names, ticket.c.mailbox_id == mailbox_id, ticket.c.resolved_at >= since,
                ticket.c.spam.is_(False), ticket.c.merged_into.is_(None))


def has_bounced(connection: Connection, mailbox_id: int, address: str) -> bool:
    """Return whether a letter of ours to *address* came back for good: nothing automatic goes there any more."""
    # Bounces are few and tickets are many, so the query must begin with the bounces.
    is_ours = select(ticket.c.id).where(ticket.c.id == event.c.ticket_id, ticket.c.mailbox_id == mailbox_id).exists()
    query = (
        select(event.c.id)
        .where(
            event.c.kind == _BOUNCED,
            event.c.details["recipient"].as_string() == address,
            # RFC 3464 2.3.3: failed is final; delayed, relayed and delivered say nothing of the sort.
            event.c.details["action"].as_string() == "failed",
            is_ours,
        )
        .limit(1)
    )
    return connection.execute(query).scalar() is not None


def has_said_before(connection: Connection, one: Ticket, since: datetime) -> bool:
    """Return whether the requester of *one* opened another ticket since *since* with the same subject and words."""
    query = (
        select(ticket.c.id)
        .join_from(ticket, mailbox, mailbox.c.id == ticket.c.mailbox_id)
        .where(
            mailbox.c.name == one.mailbox,
            ticket.c.requester == one.requester.address,
            ticket.c.received_at >= since,
            ticket.c.id < one.id,
            ticket.c.subject == one.subject,
            ticket.c.text == one.text,
        )
        .limit(1)
    )
    return connection.execute(query).scalar() is not None


def record_security_event(
    connection: Connection, mailbox_id: int, *, at: datetime, kind: str, address: str, message_id: int, text: str
) -> None:
    """Note something that a security-minded person wants to read: a claim without proof, a wrong token."""
    connection.execute(
        insert(security_event).values(
            mailbox_id=mailbox_id, at=at, kind=kind, address=address, message_id=message_id, text=text
        )
    )


def security_events_since(connection: Connection, mailbox_id: int, since: datetime) -> list[tuple[datetime, str, str]]:
    """Return (at, address, text) of the security events since *since*, oldest first."""
    rows = connection.execute(
        select(security_event.c.at, security_event.c.address, security_event.c.text)
        .where(security_event.c.mailbox_id == mailbox_id, security_event.c.at >= since)
        .order_by(security_event.c.id)
    )
    return [(row.at, row.address, row.text) for row in rows]


def gathering(
    connection: Connection,
    mailbox_id: int,
    since: datetime,
    services: Sequence[str],
    level_names: Mapping[int, str],
) -> list[Ticket]:
    """Return live tickets on *services* received since *since* or in an open incident: whom a new report may join."""
    open_incidents = select(incident.c.id).where(incident.c.mailbox_id == mailbox_id, incident.c.closed_at.is_(None))
    return find(
        connection,
        level_names,
        ticket.c.mailbox_id == mailbox_id,
        ticket.c.status.in_(LIVE),
        ticket.c.service.in_(services),
        or_(ticket.c.received_at >= since, ticket.c.incident_id.in_(open_incidents)),
    )


def open_incident(connection: Connection, mailbox_id: int, *, service: str, now: datetime, news_due: datetime) -> int:
    """Return the id of a new incident: several people report *service*; news are promised for *news_due*."""
    return int(
        connection.execute(
            insert(incident)
            .values(mailbox_id=mailbox_id, service=service, opened_at=now, news_due=news_due)
            .returning(incident.c.id)
        ).scalar_one()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRow:
    """One incident: what is hit, since when, what was said in public, when there is news next, how many reported."""

    id: int
    service: str
    opened_at: datetime
    news: str
    news_due: datetime | None
    reports: int
    closed_at: datetime | None = None


def load_incident(connection: Connection, number: int) -> IncidentRow:
    """Return the incident *number* with the count of people who reported it."""
    row = connection.execute(select(incident).where(incident.c.id == number)).one()
    reports = connection.execute(
        select(func.count(func.distinct(ticket.c.requester))).where(ticket.c.incident_id == number)
    ).scalar_one()
    return IncidentRow(
        id=row.id,
        service=row.service,
        opened_at=row.opened_at,
        news=row.status_text,
        news_due=row.news_due,
        reports=int(reports),
    )


def of_incident(connection: Connection, number: int, level_names: Mapping[int, str]) -> list[Ticket]:
    """Return the tickets that are gathered under the incident *number*, oldest first."""
    return find(connection, level_names, ticket.c.incident_id == number)


def news_due(connection: Connection, mailbox_id: int, now: datetime) -> list[int]:
    """Return the ids of open incidents whose promised news are due at *now*."""
    return list(
        connection.execute(
            select(incident.c.id).where(
                incident.c.mailbox_id == mailbox_id, incident.c.closed_at.is_(None), incident.c.news_due <= now
            )
        ).scalars()
    )


def public_incidents(connection: Connection, mailbox_id: int, since: datetime) -> list[IncidentRow]:
    """Return the incidents declared by ``#status`` that were open at or after *since*, newest first."""
    rows = connection.execute(
        select(incident)
        .where(
            incident.c.mailbox_id == mailbox_id,
            incident.c.status_text != "",
            or_(incident.c.closed_at.is_(None), incident.c.closed_at >= since),
        )
        .order_by(incident.c.id.desc())
    )
    return [
        IncidentRow(
            id=row.id,
            service=row.service,
            opened_at=row.opened_at,
            news=row.status_text,
            news_due=row.news_due,
            reports=0,
            closed_at=row.closed_at,
        )
        for row in rows
    ]


def change_incident(connection: Connection, number: int, **values: Any) -> None:
    """Write *values* into the incident's row."""
    connection.execute(update(incident).where(incident.c.id == number).values(**values))


def reserve_slot(connection: Connection, mailbox_id: int, job: str, day: str, now: datetime, outcome: str) -> bool:
    """Return whether this call decides the slot (job, local date): each is decided exactly once (I12)."""
    taken = connection.execute(
        select(slot.c.job).where(slot.c.mailbox_id == mailbox_id, slot.c.job == job, slot.c.day == day)
    ).scalar()
    if taken is not None:
        return False
    connection.execute(
        insert(slot).values(mailbox_id=mailbox_id, job=job, day=day, decided_at=now, outcome=outcome)
    )
    return True


def is_decided(connection: Connection, mailbox_id: int, job: str, day: str) -> bool:
    """Return whether the slot (job, local date) was decided."""
    query = select(slot.c.day).where(slot.c.mailbox_id == mailbox_id, slot.c.job == job, slot.c.day == day)
    return connection.execute(query).scalar() is not None


def last_slot(connection: Connection, mailbox_id: int, job: str, before: str) -> str | None:
    """Return the latest local date before *before* whose slot of *job* was decided, or None."""
    return connection.execute(
        select(func.max(slot.c.day)).where(
            slot.c.mailbox_id == mailbox_id, slot.c.job == job, slot.c.day < before
        )
    ).scalar()


def _spellings(reference: str) -> Iterator[str]:
    """Yield what *reference* may stand for as we write references: a prefix may end in digits, so "A12" has two."""
    plain = "".join(char for char in reference.upper() if char.isascii() and char.isalnum())
    prefix = plain.rstrip("0123456789")
    for at in range(max(1, len(prefix)), len(plain)):
        yield f"{plain[:at]}-{plain[at:]}"


def _attachment(row: Row[Any], data: bytes = b"") -> Attachment:
    return Attachment(
        name=row.name,
        type=row.type,
        size=row.size,
        sha256=row.sha256,
        kind=AttachmentKind(row.kind),
        content=data,
    )


def _ticket(
    row: Row[Any], level_names: Mapping[int, str], participants: tuple[str, ...], attachments: tuple[Attachment, ...]
) -> Ticket:
    return Ticket(
        id=row.id,
        reference=row.reference,
        mailbox=row.mailbox,
        subject=row.subject,
        requester=Address(address=row.requester, name=row.requester_name),
        level=row.level,
        level_name=level_names.get(row.level, str(row.level)),
        status=Status(row.status),
        received_at=row.received_at,
        text=row.text,
        evidence=tuple(Evidence(words=words, field=field, facet=facet) for words, field, facet in row.evidence),
        row=row.row,
        service=row.service,
        automatic=row.automatic,
        verified=row.verified,
        restricted=row.restricted,
        assignee=row.assignee,
        participants=participants,
        response_due=row.response_due,
        resolution_due=row.resolution_due,
        due_reason=row.due_reason,
        responded_at=row.responded_at,
        resolved_at=row.resolved_at,
        closed_at=row.closed_at,
        waiting_since=row.waiting_since,
        incident=row.incident_id,
        merged_into=row.merged_into,
        attachments=attachments,
        origin_message_id=row.origin_message_id,
        origin_references=tuple(row.origin_references),
    )
