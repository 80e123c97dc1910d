"""The outbox's rows: queued once by a unique key, claimed by a lease, sent in stages that a crash cannot blur."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, insert, literal, or_, select, update

from supportd.core.model import EventKind, Letter
from supportd.db.engine import alone
from supportd.db.schema import event, letter, notice, ticket
from supportd.db.schema import setting as setting_table

# What the breaker holds back at its first step: automatic mail, but for acknowledgements and for a person's own words.
AUTOMATIC_KINDS = (
    "alert", "alerts", "closing", "confirmation", "correction", "digest", "escalation", "health", "heartbeat", "help",
    "mistake", "notice", "reminder", "report",
)  # fmt: skip


class LetterState(StrEnum):
    """Where a letter stands; SENT, FAILED, UNCERTAIN, SUPPRESSED and DROPPED are ends."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"  # the server said no for good, or five days of trying have passed
    UNCERTAIN = "uncertain"  # in doubt more often than we resend
    SUPPRESSED = "suppressed"  # a cap stopped it; reply says which
    DROPPED = "dropped"  # a person took it out


class Stage(StrEnum):
    """How far the sending of a claimed letter has come: before DATA nothing can have been accepted."""

    NONE = ""
    CONNECT = "connect"
    DATA = "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A letter that this daemon alone may send until its lease ends."""

    id: int
    ticket_id: int | None
    mailbox_id: int
    kind: str
    recipient: str
    envelope_from: str
    message_id: str
    data: bytes
    attempts: int
    doubts: int
    queued_at: datetime


# Asked for by every letter: built once, since building a statement costs more than running it.
# Written out, so that the index of these rows alone is seen to fit.
_FAILED = literal(EventKind.FAILED.value, literal_execute=True)
_QUEUE = insert(letter)
_HAS_KEY = select(letter.c.id).where(letter.c.key == bindparam("key"))
_FIRST_MESSAGE_ID = (
    select(letter.c.message_id)
    .where(letter.c.ticket_id == bindparam("ticket_id"), letter.c.recipient == bindparam("recipient"))
    .order_by(letter.c.id)
    .limit(1)
)
_QUEUED_AT = select(letter.c.queued_at).where(
    letter.c.recipient == bindparam("recipient"),
    letter.c.queued_at >= bindparam("since"),
    letter.c.state != LetterState.SUPPRESSED,
    letter.c.kind.in_(bindparam("kinds", expanding=True)),
)


def queue(
    connection: Connection,
    one: Letter,
    *,
    uuid: str,
    mailbox_id: int,
    ticket_id: int | None,
    now: datetime,
    not_before: datetime | None = None,
    state: LetterState = LetterState.PENDING,
    reply: str | None = None,
    deliver_to: str | None = None,
) -> None:
    """Queue the frozen letter; its key is unique, so the caller asks `has_key` before he composes.

    *deliver_to* replaces the envelope's recipient and nothing else (shadow mode).
    """
    connection.execute(
        _QUEUE,
        {
            "uuid": uuid,
            "key": one.key,
            "mailbox_id": mailbox_id,
            "ticket_id": ticket_id,
            "kind": one.kind,
            "recipient": deliver_to or one.recipient,
            "envelope_from": one.envelope_from,
            "message_id": one.message_id,
            "data": one.data,
            "priority": one.priority,
            "state": state,
            "queued_at": now,
            "not_before": not_before or now,
            "reply": reply,
        },
    )


def has_key(connection: Connection, key: str) -> bool:
    """Return whether a letter with this key was ever queued."""
    return connection.execute(_HAS_KEY, {"key": key}).scalar() is not None


def claim(
    connection: Connection,
    mailbox_id: int,
    owner: str,
    now: datetime,
    *,
    limit: int,
    lease: timedelta,
    except_kinds: Sequence[str] = (),
) -> list[Claimed]:
    """Claim due letters for *owner* (C6): stage ``connect``, one attempt more; the most urgent first, then the oldest.

    A letter whose lease ran out in stage ``connect`` was certainly not sent and is claimed again.  One that died in
    stage ``data`` is found by :func:`died_in_data`.
    """
    due = (
        select(letter.c.id)
        .where(
            letter.c.mailbox_id == mailbox_id,
            letter.c.not_before <= now,
            letter.c.kind.not_in(list(except_kinds)),
            or_(
                letter.c.state == LetterState.PENDING,
                and_(
                    letter.c.state == LetterState.SENDING,
                    letter.c.stage == Stage.CONNECT,
                    letter.c.lease_until < now,
                ),
            ),
        )
        .order_by(letter.c.priority, letter.c.not_before, letter.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    numbers = list(connection.execute(due).scalars())
    if not numbers:
        return []
    connection.execute(
        update(letter)
        .where(letter.c.id.in_(numbers))
        .values(
            state=LetterState.SENDING,
            stage=Stage.CONNECT,
            attempts=letter.c.attempts + 1,
            lease_owner=owner,
            lease_until=now + lease,
        )
    )
    rows = connection.execute(
        select(letter).where(letter.c.id.in_(numbers)).order_by(letter.c.priority, letter.c.not_before, letter.c.id)
    )
    return [
        Claimed(
            id=row.id,
            ticket_id=row.ticket_id,
            mailbox_id=row.mailbox_id,
            kind=row.kind,
            recipient=row.recipient,
            envelope_from=row.envelope_from,
            message_id=row.message_id,
            data=row.data,
            attempts=row.attempts,
            doubts=row.doubts,
            queued_at=row.queued_at,
        )
        for row in rows
    ]


def enter_data(connection: Connection, number: int, owner: str, until: datetime) -> bool:
    """Record that the letter's bytes are about to be handed over (C6b); False when the lease is not ours any more."""
    return (
        connection.execute(
            update(letter)
            .where(letter.c.id == number, letter.c.state == LetterState.SENDING, letter.c.lease_owner == owner)
            .values(stage=Stage.DATA, lease_until=until)
        ).rowcount
        == 1
    )


def sent(connection: Connection, number: int, reply: str, now: datetime) -> None:
    """Record the server's acceptance (C7)."""
    connection.execute(
        update(letter)
        .where(letter.c.id == number)
        .values(state=LetterState.SENT, stage=Stage.NONE, reply=reply, sent_at=now, lease_owner=None, lease_until=None)
    )


def _held(owner: str) -> ColumnElement[bool]:
    """Return the condition that the letter is still *owner*'s: one who slept through his lease changes nothing."""
    return and_(letter.c.state == LetterState.SENDING, letter.c.lease_owner == owner)


def again(connection: Connection, number: int, owner: str, reply: str, not_before: datetime) -> bool:
    """Put the letter back: certainly not sent, to be tried again from *not_before* on; False when it is not ours."""
    changed = connection.execute(
        update(letter)
        .where(letter.c.id == number, _held(owner))
        .values(
            state=LetterState.PENDING,
            stage=Stage.NONE,
            reply=reply,
            not_before=not_before,
            lease_owner=None,
            lease_until=None,
        )
    )
    return changed.rowcount == 1


def unclaim(connection: Connection, numbers: Sequence[int], owner: str) -> None:
    """Give back letters that were claimed and not tried: the attempt does not count."""
    connection.execute(
        update(letter)
        .where(letter.c.id.in_(numbers), letter.c.stage == Stage.CONNECT, _held(owner))
        .values(
            state=LetterState.PENDING,
            stage=Stage.NONE,
            attempts=letter.c.attempts - 1,
            lease_owner=None,
            lease_until=None,
        )
    )


def end(connection: Connection, number: int, owner: str, state: LetterState, reply: str) -> bool:
    """Give the letter up as *state*, with the reason in *reply*; False when it is not ours."""
    changed = connection.execute(
        update(letter)
        .where(letter.c.id == number, _held(owner))
        .values(state=state, stage=Stage.NONE, reply=reply, lease_owner=None, lease_until=None)
    )
    return changed.rowcount == 1


def doubt(connection: Connection, number: int, owner: str, reply: str, not_before: datetime) -> bool:
    """Record that the letter may or may not have been accepted: resend the same bytes from *not_before* on.

    Return False when it is not *owner*'s.
    """
    changed = connection.execute(
        update(letter)
        .where(letter.c.id == number, _held(owner))
        .values(
            state=LetterState.PENDING,
            stage=Stage.NONE,
            doubts=letter.c.doubts + 1,
            reply=reply,
            not_before=not_before,
            lease_owner=None,
            lease_until=None,
        )
    )
    return changed.rowcount == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubted:
    """A letter whose sender died between DATA and its record, and who that was."""

    id: int
    owner: str
    doubts: int
    ticket_id: int | None


def died_in_data(connection: Connection, mailbox_id: int, now: datetime) -> list[Doubted]:
    """Return the letters whose sender died between DATA and its record, their lease over."""
    rows = connection.execute(
        select(letter.c.id, letter.c.lease_owner, letter.c.doubts, letter.c.ticket_id).where(
            letter.c.mailbox_id == mailbox_id,
            letter.c.state == LetterState.SENDING,
            letter.c.stage == Stage.DATA,
            letter.c.lease_until < now,
        )
    )
    return [
        Doubted(id=row.id, owner=row.lease_owner, doubts=row.doubts, ticket_id=row.ticket_id) for row in rows
    ]


def owners(connection: Connection, mailbox_id: int) -> list[str]:
    """Return who holds a lease on a letter of the mailbox."""
    rows = connection.execute(
        select(letter.c.lease_owner)
        .where(
            letter.c.mailbox_id == mailbox_id,
            letter.c.state == LetterState.SENDING,
            letter.c.lease_owner.is_not(None),
        )
        .distinct()
    )
    return [row.lease_owner for row in rows]


def release(connection: Connection, owner: str, now: datetime) -> None:
    """End the leases of *owner* at *now*: called at start for the owner that this process was before it died."""
    connection.execute(
        update(letter)
        .where(letter.c.state == LetterState.SENDING, letter.c.lease_owner == owner)
        .values(lease_until=now - timedelta(seconds=1))
    )


def first_message_id(connection: Connection, ticket_id: int, recipient: str) -> str | None:
    """Return the Message-ID of the first letter about the ticket to *recipient*: the root of that person's thread."""
    return connection.execute(_FIRST_MESSAGE_ID, {"ticket_id": ticket_id, "recipient": recipient}).scalar()


def first_queued_at(connection: Connection, ticket_id: int, kind: str) -> datetime | None:
    """Return when the first letter of *kind* about the ticket was queued, or None."""
    return connection.execute(
        select(func.min(letter.c.queued_at)).where(letter.c.ticket_id == ticket_id, letter.c.kind == kind)
    ).scalar()


def last_queued_at(connection: Connection, mailbox_id: int, kinds: Sequence[str]) -> datetime | None:
    """Return when the newest letter of *kinds* was queued by the clock of then, or None."""
    return connection.execute(
        select(letter.c.queued_at)
        .where(letter.c.mailbox_id == mailbox_id, letter.c.kind.in_(list(kinds)))
        .order_by(letter.c.id.desc())
        .limit(1)
    ).scalar()


def has_reason(connection: Connection, ticket_id: int, key: str) -> bool:
    """Return whether a letter about the ticket was queued for the reason *key*, whoever got it."""
    query = select(letter.c.id).where(letter.c.ticket_id == ticket_id, letter.c.key.startswith(key, autoescape=True))
    return connection.execute(query.limit(1)).scalar() is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """A letter that nobody will get by itself: what it was, for whom, and what the server said."""

    kind: str
    recipient: str
    reply: str
    reference: str


def given_up_since(connection: Connection, mailbox_id: int, since: datetime) -> list[GivenUp]:
    """Return the letters that were given up, or may not have arrived, since *since*; those about tickets first.

    A letter is tried for five days, so when it ended is told by the event on its ticket, not by when it was queued.
    """
    # Failures are few and tickets are many, so the query must begin with the failures.
    reference = select(ticket.c.reference).where(ticket.c.id == event.c.ticket_id, ticket.c.mailbox_id == mailbox_id)
    noted = connection.execute(
        select(event.c.details, reference.scalar_subquery())
        .where(event.c.kind == _FAILED, event.c.at >= since)
        .order_by(event.c.id)
    )
    alone = connection.execute(
        select(letter.c.kind, letter.c.recipient, letter.c.reply)
        .where(
            letter.c.mailbox_id == mailbox_id,
            letter.c.ticket_id.is_(None),
            letter.c.queued_at >= since,
            letter.c.state.in_([LetterState.FAILED, LetterState.UNCERTAIN]),
        )
        .order_by(letter.c.id)
    )
    return [
        *(
            GivenUp(
                kind=str(details.get("kind", "")),
                recipient=str(details.get("recipient", "")),
                reply=str(details.get("reply", "")),
                reference=named,
            )
            for details, named in noted
            if named is not None
        ),
        *(
            GivenUp(kind=row.kind, recipient=row.recipient, reply=row.reply or "", reference="") for row in alone
        ),
    ]


def queued_since(
    connection: Connection, since: datetime, *, recipient: str | None = None, kinds: Sequence[str] = ()
) -> int:
    """Return how many letters were queued since *since* and not suppressed, to *recipient* and of *kinds* if given."""
    query = (
        select(func.count())
        .select_from(letter)
        .where(letter.c.queued_at >= since, letter.c.state != LetterState.SUPPRESSED)
    )
    if recipient is not None:
        query = query.where(letter.c.recipient == recipient)
    if kinds:
        query = query.where(letter.c.kind.in_(kinds))
    return int(connection.execute(query).scalar_one())


def queued_at(connection: Connection, since: datetime, *, recipient: str, kinds: Sequence[str]) -> list[datetime]:
    """Return when letters of *kinds* to *recipient* were queued since *since*, but for suppressed ones."""
    found = connection.execute(_QUEUED_AT, {"recipient": recipient, "since": since, "kinds": list(kinds)})
    return list(found.scalars())


def counts(connection: Connection, since_id: int = 0) -> dict[str, int]:
    """Return how many letters with an id above *since_id* stand in each state."""
    rows = connection.execute(
        select(letter.c.state, func.count()).where(letter.c.id > since_id).group_by(letter.c.state)
    )
    return {str(state): int(count) for state, count in rows}


def listing(connection: Connection, states: Sequence[LetterState], *, limit: int = 1000) -> list[dict[str, Any]]:
    """Return letters in *states* without their bytes, oldest first."""
    columns = [column for column in letter.c if column.name != "data"]
    rows = connection.execute(
        select(*columns).where(letter.c.state.in_(list(states))).order_by(letter.c.id).limit(limit)
    )
    return [dict(row._mapping) for row in rows]


def about(connection: Connection, ticket_id: int) -> list[dict[str, Any]]:
    """Return the letters about the ticket without their bytes, oldest first."""
    columns = [column for column in letter.c if column.name != "data"]
    rows = connection.execute(select(*columns).where(letter.c.ticket_id == ticket_id).order_by(letter.c.id))
    return [dict(row._mapping) for row in rows]


def retry(connection: Connection, number: int, now: datetime) -> bool:
    """Queue a letter again that ended without being sent and return True; the same bytes, the same Message-ID.

    One whose bytes were erased has nothing left to send.
    """
    ended = [LetterState.FAILED, LetterState.UNCERTAIN, LetterState.SUPPRESSED, LetterState.DROPPED]
    changed = connection.execute(
        update(letter)
        .where(letter.c.id == number, letter.c.state.in_(ended), letter.c.data != b"")
        .values(state=LetterState.PENDING, attempts=0, doubts=0, queued_at=now, not_before=now)
    )
    return changed.rowcount == 1


def drop(connection: Connection, number: int) -> bool:
    """Take a letter that waits out of the outbox and return True, or False when it does not wait."""
    changed = connection.execute(
        update(letter)
        .where(letter.c.id == number, letter.c.state == LetterState.PENDING)
        .values(state=LetterState.DROPPED, reply="dropped by a person")
    )
    return changed.rowcount == 1


def next_due(connection: Connection, mailbox_id: int, now: datetime) -> int | None:
    """Return the id of a letter that is due at *now*, or None: a look that takes no write lock."""
    return connection.execute(
        select(letter.c.id)
        .where(
            letter.c.mailbox_id == mailbox_id,
            letter.c.not_before <= now,
            letter.c.state.in_([LetterState.PENDING, LetterState.SENDING]),
        )
        .limit(1)
    ).scalar()


def sent_since(connection: Connection, since: datetime) -> int:
    """Return how many letters were sent since *since*, whatever the mailbox."""
    return int(
        connection.execute(select(func.count()).select_from(letter).where(letter.c.sent_at >= since)).scalar_one()
    )


def breaker(connection: Connection) -> str:
    """Return what the circuit breaker holds back: nothing (empty), ``automatic`` or ``all``."""
    return connection.execute(select(setting_table.c.value).where(setting_table.c.name == "breaker")).scalar() or ""


def breaker_reset_at(connection: Connection) -> datetime:
    """Return when a person last told the breaker to go on; letters sent before do not count."""
    value = connection.execute(select(setting_table.c.value).where(setting_table.c.name == "breaker-reset")).scalar()
    return datetime.fromisoformat(value) if value else datetime(1970, 1, 1, tzinfo=UTC)


def trip_breaker(connection: Connection, holds: str) -> None:
    """Let the breaker hold back *holds* until a person resumes."""
    change_setting(connection, "breaker", holds)


def resume(connection: Connection, now: datetime) -> None:
    """Release the breaker and count anew from *now*."""
    change_setting(connection, "breaker", "")
    change_setting(connection, "breaker-reset", now.isoformat())


def border_proof(connection: Connection, mailbox_id: int) -> str:
    """Return the border of which a test has shown that its word cannot be forged (`Trust.border`), or an empty text."""
    return setting(connection, f"border:{mailbox_id}")


def keep_border_proof(connection: Connection, mailbox_id: int, border: str) -> None:
    """Keep that *border* was proved; an empty text takes a proof back."""
    change_setting(connection, f"border:{mailbox_id}", border)


def setting(connection: Connection, name: str) -> str:
    """Return the daemon's own note called *name*, or an empty text."""
    return connection.execute(select(setting_table.c.value).where(setting_table.c.name == name)).scalar() or ""


def change_setting(connection: Connection, name: str, value: str) -> None:
    """Write the daemon's own note called *name*."""
    write = update(setting_table).where(setting_table.c.name == name).values(value=value)
    if connection.execute(write).rowcount:
        return
    alone(connection)
    if not connection.execute(write).rowcount:
        connection.execute(insert(setting_table).values(name=name, value=value))


def note(
    connection: Connection, *, key: str, mailbox_id: int, kind: str, ticket_id: int, recipient: str, due_at: datetime
) -> None:
    """Remember to tell *recipient* of the ticket at *due_at*; composed then, so that many can fold into one."""
    if connection.execute(select(notice.c.id).where(notice.c.key == key)).scalar() is None:
        connection.execute(
            insert(notice).values(
                key=key, mailbox_id=mailbox_id, kind=kind, ticket_id=ticket_id, recipient=recipient, due_at=due_at
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something to tell *recipient* about a ticket, now that it is due."""

    id: int
    recipient: str
    kind: str
    ticket_id: int


def due_notices(connection: Connection, mailbox_id: int, now: datetime) -> list[Notice]:
    """Return the notices due at *now*, oldest first."""
    rows = connection.execute(
        select(notice.c.id, notice.c.recipient, notice.c.kind, notice.c.ticket_id)
        .where(notice.c.mailbox_id == mailbox_id, notice.c.due_at <= now, notice.c.done_at.is_(None))
        .order_by(notice.c.id)
    )
    return [Notice(id=row.id, recipient=row.recipient, kind=row.kind, ticket_id=row.ticket_id) for row in rows]


def bring_forward(connection: Connection, mailbox_id: int, at: datetime) -> None:
    """Let alerts that are held until after *at* be told at *at*: the service opens earlier than was known."""
    connection.execute(
        update(notice)
        .where(
            notice.c.mailbox_id == mailbox_id,
            notice.c.kind == "alert",
            notice.c.done_at.is_(None),
            notice.c.due_at > at,
        )
        .values(due_at=at)
    )


def notices_done(connection: Connection, numbers: Sequence[int], now: datetime) -> None:
    """Record that the notices were told."""
    connection.execute(update(notice).where(notice.c.id.in_(numbers)).values(done_at=now))
