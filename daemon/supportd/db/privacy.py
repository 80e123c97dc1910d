"""What is stored about people, by age and by person: found, counted, taken out; statistics stay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, insert, or_, select, update

from supportd.core.model import Status, Verdict
from supportd.db.schema import (
    attachment,
    blob,
    event,
    letter,
    message,
    notice,
    participant,
    raw,
    security_event,
    ticket,
    tombstone,
)

# What stands where a person's words or address stood.
GONE = "(erased)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Where a person is found: tickets of hers, tickets that she took part in, messages that she sent."""

    own: tuple[int, ...]
    shared: tuple[int, ...]
    messages: tuple[int, ...]
    letters: int


def find(connection: Connection, address: str) -> Person:
    """Return where *address* is found, whatever the mailbox."""
    own = list(connection.execute(select(ticket.c.id).where(ticket.c.requester == address)).scalars())
    took_part = select(participant.c.ticket_id).where(participant.c.address == address)
    wrote = select(event.c.ticket_id).where(event.c.by == address)
    shared = set(connection.execute(took_part).scalars()) | set(connection.execute(wrote).scalars())
    sent = select(message.c.id).where(or_(message.c.sender == address, message.c.ticket_id.in_(own)))
    letters = connection.execute(
        select(func.count()).select_from(letter).where(or_(letter.c.recipient == address, letter.c.ticket_id.in_(own)))
    ).scalar_one()
    return Person(
        own=tuple(own),
        shared=tuple(sorted(shared - set(own))),
        messages=tuple(connection.execute(sent).scalars()),
        letters=int(letters),
    )


def erase(connection: Connection, address: str, found: Person) -> None:
    """Take out everything of *address* that *found* names; ticket numbers, dates and levels stay."""
    _empty_tickets(connection, found.own)
    # Her words on other people's tickets, and the letters that carried them on.
    numbers = list(
        connection.execute(
            select(event.c.id).where(event.c.ticket_id.in_(found.shared), event.c.by == address)
        ).scalars()
    )
    for number in numbers:
        connection.execute(update(letter).where(letter.c.key.like(f"%:{number}:%")).values(data=b""))
    connection.execute(delete(attachment).where(attachment.c.event_id.in_(numbers)))
    connection.execute(update(event).where(event.c.id.in_(numbers)).values(text="", details={}))
    connection.execute(update(event).where(event.c.by == address).values(by=GONE))
    connection.execute(update(ticket).where(ticket.c.assignee == address).values(assignee=""))
    connection.execute(delete(participant).where(participant.c.address == address))
    connection.execute(delete(notice).where(notice.c.recipient == address))
    connection.execute(update(security_event).where(security_event.c.address == address).values(address=GONE, text=""))
    rows = connection.execute(select(letter.c.id).where(letter.c.recipient == address)).scalars()
    for number in list(rows):
        connection.execute(
            update(letter)
            .where(letter.c.id == number)
            .values(recipient=GONE, data=b"", key=f"{GONE}:{number}", reply=None)
        )
    connection.execute(delete(raw).where(raw.c.message_id.in_(found.messages)))
    connection.execute(
        update(message).where(message.c.id.in_(found.messages)).values(sender=GONE, message_id=None, reason=GONE)
    )
    _drop_unused_blobs(connection)


def bury(connection: Connection, keyed_hash: str, now: datetime) -> None:
    """Leave the tombstone of an erased address: a keyed hash, so that nothing restored brings it back unseen."""
    if connection.execute(select(tombstone.c.hash).where(tombstone.c.hash == keyed_hash)).scalar() is None:
        connection.execute(insert(tombstone).values(hash=keyed_hash, erased_at=now))


def tombstones(connection: Connection) -> set[str]:
    """Return the keyed hashes of all erased addresses."""
    return set(connection.execute(select(tombstone.c.hash)).scalars())


def addresses(connection: Connection) -> Iterator[str]:
    """Yield every address that the database holds, each once."""
    seen: set[str] = set()
    queries: Sequence[Select[Any]] = (
        select(ticket.c.requester).distinct(),
        select(participant.c.address).distinct(),
        select(message.c.sender).where(message.c.sender.is_not(None)).distinct(),
        select(letter.c.recipient).distinct(),
        select(event.c.by).distinct(),
    )
    for query in queries:
        for address in connection.execute(query).scalars():
            if address not in seen and address != GONE:
                seen.add(address)
                yield address


def old_raw(held: Sequence[str], decided_before: datetime, *, screened: bool) -> ColumnElement[bool]:
    """Return which messages' raw bytes go: decided before then; quarantined mail waits for a person."""
    verdict = message.c.verdict == Verdict.SCREENED
    return and_(
        message.c.decided_at < decided_before,
        verdict if screened else and_(message.c.verdict.is_not(None), ~verdict),
        message.c.verdict != Verdict.QUARANTINED,
        or_(message.c.sender.is_(None), message.c.sender.not_in(list(held))),
    )


def count_raw(connection: Connection, which: ColumnElement[bool]) -> int:
    """Return how many raw messages *which* names."""
    query = select(func.count()).select_from(raw).join(message, message.c.id == raw.c.message_id).where(which)
    return int(connection.execute(query).scalar_one())


def drop_raw(connection: Connection, which: ColumnElement[bool]) -> None:
    """Delete the raw bytes of the messages that *which* names; their ledger rows stay."""
    connection.execute(delete(raw).where(raw.c.message_id.in_(select(message.c.id).where(which))))


def old_tickets(connection: Connection, held: Sequence[str], closed_before: datetime) -> list[int]:
    """Return the tickets closed before then, but for restricted ones and those of people under a legal hold."""
    return list(
        connection.execute(
            select(ticket.c.id).where(
                ticket.c.status == Status.CLOSED,
                ticket.c.closed_at < closed_before,
                ticket.c.restricted.is_(False),
                ticket.c.requester.not_in([*held, GONE]),
            )
        ).scalars()
    )


def count_attachments(connection: Connection, ticket_ids: Sequence[int]) -> int:
    """Return how many attachments the tickets hold."""
    query = select(func.count()).select_from(attachment).where(attachment.c.ticket_id.in_(ticket_ids))
    return int(connection.execute(query).scalar_one())


def drop_attachments(connection: Connection, ticket_ids: Sequence[int]) -> None:
    """Delete the attachments of the tickets, and content that nobody refers to any more."""
    connection.execute(delete(attachment).where(attachment.c.ticket_id.in_(ticket_ids)))
    _drop_unused_blobs(connection)


def empty_tickets(connection: Connection, ticket_ids: Sequence[int]) -> None:
    """Take the words and people out of the tickets; what the report counts stays."""
    _empty_tickets(connection, ticket_ids)
    named = message.c.ticket_id.in_(ticket_ids)
    connection.execute(delete(raw).where(raw.c.message_id.in_(select(message.c.id).where(named))))
    connection.execute(update(message).where(named).values(sender=GONE, message_id=None))
    _drop_unused_blobs(connection)


def drop_security_events(connection: Connection, before: datetime) -> int:
    """Delete security events before then and return how many."""
    return int(connection.execute(delete(security_event).where(security_event.c.at < before)).rowcount)


def count_security_events(connection: Connection, before: datetime) -> int:
    """Return how many security events are older."""
    query = select(func.count()).select_from(security_event).where(security_event.c.at < before)
    return int(connection.execute(query).scalar_one())


def _empty_tickets(connection: Connection, ticket_ids: Sequence[int]) -> None:
    connection.execute(delete(attachment).where(attachment.c.ticket_id.in_(ticket_ids)))
    connection.execute(delete(participant).where(participant.c.ticket_id.in_(ticket_ids)))
    connection.execute(update(letter).where(letter.c.ticket_id.in_(ticket_ids)).values(data=b"", recipient=GONE))
    numbers = list(connection.execute(select(letter.c.id).where(letter.c.ticket_id.in_(ticket_ids))).scalars())
    for number in numbers:
        connection.execute(update(letter).where(letter.c.id == number).values(key=f"{GONE}:{number}", reply=None))
    for number, details in list(
        connection.execute(select(event.c.id, event.c.details).where(event.c.ticket_id.in_(ticket_ids)))
    ):
        # Levels and dues are what the report counts from; addresses and evidence are not.
        kept = {name: details[name] for name in ("level", "was", "response_due", "resolution_due") if name in details}
        connection.execute(update(event).where(event.c.id == number).values(text="", by=GONE, details=kept))
    connection.execute(
        update(ticket)
        .where(ticket.c.id.in_(ticket_ids))
        .values(
            subject=GONE,
            text="",
            requester=GONE,
            requester_name="",
            evidence=[],
            assignee="",
            origin_message_id=None,
            origin_references=[],
        )
    )


def _drop_unused_blobs(connection: Connection) -> None:
    connection.execute(delete(blob).where(blob.c.sha256.not_in(select(attachment.c.sha256))))
