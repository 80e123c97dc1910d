"""What is stored about people, by age and by person: found, counted, taken out; statistics stay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    String,
    and_,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from supportd.core.model import Status, Verdict
from supportd.db.letters import LetterState
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
# Taken out in one transaction: enough to be quick, few enough that nobody waits for the database.
BATCH = 500
# A letter without its words is never sent: what waits is dropped, what is under way is nobody's any more.
_UNSENT = case(
    (letter.c.state.in_([LetterState.PENDING, LetterState.SENDING]), LetterState.DROPPED), else_=letter.c.state
)
_EMPTY = {
    "data": b"",
    "recipient": GONE,
    "reply": None,
    "state": _UNSENT,
    "key": literal(f"{GONE}:").concat(cast(letter.c.id, String)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Where a person is found: tickets of hers, tickets that she took part in, messages that she sent."""

    own: tuple[int, ...]
    shared: tuple[int, ...]
    messages: tuple[int, ...]
    letters: int


def find(connection: Connection, address: str) -> Person:
    """Return where *address* is found, whatever the mailbox."""
    hers = select(ticket.c.id).where(ticket.c.requester == address)
    own = list(connection.execute(hers).scalars())
    took_part = select(participant.c.ticket_id).where(participant.c.address == address)
    wrote = select(event.c.ticket_id).where(event.c.by == address)
    shared = set(connection.execute(took_part).scalars()) | set(connection.execute(wrote).scalars())
    sent = select(message.c.id).where(or_(message.c.sender == address, message.c.ticket_id.in_(hers)))
    letters = connection.execute(
        select(func.count()).select_from(letter).where(or_(letter.c.recipient == address, letter.c.ticket_id.in_(hers)))
    ).scalar_one()
    return Person(
        own=tuple(own),
        shared=tuple(sorted(shared - set(own))),
        messages=tuple(connection.execute(sent).scalars()),
        letters=int(letters),
    )


def erase(connection: Connection, address: str, found: Person) -> None:
    """Take out everything of *address* that *found* names; ticket numbers, dates and levels stay."""
    for chunk in _chunks(found.own):
        _empty_tickets(connection, chunk)
    # Her words on other people's tickets, and the letters that carried them on.
    written = connection.execute(
        select(event.c.id, event.c.ticket_id, ticket.c.reference)
        .join_from(event, ticket, ticket.c.id == event.c.ticket_id)
        .where(event.c.by == address)
    ).all()
    for number, ticket_id, reference in written:
        carried = letter.c.key.contains(f":{reference}:{number}:", autoescape=True)
        connection.execute(
            update(letter).where(letter.c.ticket_id == ticket_id, carried).values(data=b"", state=_UNSENT)
        )
        hers = attachment.c.event_id == number
        contents = list(connection.execute(select(attachment.c.sha256).where(hers)).scalars())
        connection.execute(delete(attachment).where(hers))
        _drop_unused_blobs(connection, contents)
        connection.execute(update(event).where(event.c.id == number).values(text="", details={}))
    connection.execute(update(event).where(event.c.by == address).values(by=GONE))
    connection.execute(update(ticket).where(ticket.c.assignee == address).values(assignee=""))
    connection.execute(delete(participant).where(participant.c.address == address))
    connection.execute(delete(notice).where(notice.c.recipient == address))
    connection.execute(update(security_event).where(security_event.c.address == address).values(address=GONE, text=""))
    connection.execute(update(letter).where(letter.c.recipient == address).values(_EMPTY))
    for chunk in _chunks(found.messages):
        connection.execute(delete(raw).where(raw.c.message_id.in_(chunk)))
        connection.execute(
            update(message).where(message.c.id.in_(chunk)).values(sender=GONE, message_id=None, reason=GONE)
        )


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


def drop_raw(connection: Connection, which: ColumnElement[bool]) -> int:
    """Delete the raw bytes of a BATCH of the messages that *which* names and return how many; ledger rows stay."""
    oldest = select(raw.c.message_id).join(message, message.c.id == raw.c.message_id).where(which).limit(BATCH)
    return int(connection.execute(delete(raw).where(raw.c.message_id.in_(oldest))).rowcount)


def old_tickets(held: Sequence[str], closed_before: datetime) -> Select[Any]:
    """Return which tickets were closed before then, but for restricted ones and those of people under a legal hold."""
    return select(ticket.c.id).where(
        ticket.c.status == Status.CLOSED,
        ticket.c.closed_at < closed_before,
        ticket.c.restricted.is_(False),
        ticket.c.requester.not_in(held),
    )


def count_tickets(connection: Connection, which: Select[Any]) -> int:
    """Return how many of the tickets that *which* names still hold words and people."""
    found = which.where(ticket.c.requester != GONE).subquery()
    return int(connection.execute(select(func.count()).select_from(found)).scalar_one())


def count_attachments(connection: Connection, which: Select[Any]) -> int:
    """Return how many attachments the tickets hold that *which* names."""
    query = select(func.count()).select_from(attachment).where(attachment.c.ticket_id.in_(which))
    return int(connection.execute(query).scalar_one())


def drop_attachments(connection: Connection, which: Select[Any]) -> int:
    """Delete a BATCH of the attachments of the tickets that *which* names, with content that nobody refers to any more.

    Return how many.
    """
    rows = connection.execute(
        select(attachment.c.id, attachment.c.sha256).where(attachment.c.ticket_id.in_(which)).limit(BATCH)
    ).all()
    connection.execute(delete(attachment).where(attachment.c.id.in_([row.id for row in rows])))
    _drop_unused_blobs(connection, [row.sha256 for row in rows])
    return len(rows)


def empty_tickets(connection: Connection, which: Select[Any]) -> int:
    """Take the words and people out of a BATCH of the tickets that *which* names; what the report counts stays.

    Return how many.
    """
    numbers = list(connection.execute(which.where(ticket.c.requester != GONE).limit(BATCH)).scalars())
    _empty_tickets(connection, numbers)
    named = message.c.ticket_id.in_(numbers)
    connection.execute(delete(raw).where(raw.c.message_id.in_(select(message.c.id).where(named))))
    connection.execute(update(message).where(named).values(sender=GONE, message_id=None))
    return len(numbers)


def drop_security_events(connection: Connection, before: datetime) -> int:
    """Delete a BATCH of the security events before then and return how many."""
    old = select(security_event.c.id).where(security_event.c.at < before).limit(BATCH)
    return int(connection.execute(delete(security_event).where(security_event.c.id.in_(old))).rowcount)


def count_security_events(connection: Connection, before: datetime) -> int:
    """Return how many security events are older."""
    query = select(func.count()).select_from(security_event).where(security_event.c.at < before)
    return int(connection.execute(query).scalar_one())


def _empty_tickets(connection: Connection, ticket_ids: Sequence[int]) -> None:
    """Take the words and people out of the tickets, a BATCH at most."""
    named = attachment.c.ticket_id.in_(ticket_ids)
    contents = list(connection.execute(select(attachment.c.sha256).where(named)).scalars())
    connection.execute(delete(attachment).where(named))
    _drop_unused_blobs(connection, contents)
    connection.execute(delete(participant).where(participant.c.ticket_id.in_(ticket_ids)))
    connection.execute(update(letter).where(letter.c.ticket_id.in_(ticket_ids)).values(_EMPTY))
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


def _drop_unused_blobs(connection: Connection, contents: Sequence[str]) -> None:
    """Delete those of *contents* (SHA-256) that no attachment refers to any more."""
    used = select(attachment.c.id).where(attachment.c.sha256 == blob.c.sha256).exists()
    for chunk in _chunks(contents):
        connection.execute(delete(blob).where(blob.c.sha256.in_(chunk), ~used))


def _chunks(numbers: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(numbers), BATCH):
        yield numbers[start : start + BATCH]
