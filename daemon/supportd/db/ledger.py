"""The ledger: every message the daemon ever saw, its raw bytes, and the one verdict it ended in (reliability.md I2)."""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, func, insert, literal, or_, select, update

from supportd.core.model import Verdict
from supportd.db.engine import alone
from supportd.db.schema import epoch, mailbox, message, message_id_index, raw, sent_item, setting

# Level 1 halves a usual mail at a third of the CPU of the default 6; attachments are compressed already.
_COMPRESSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One message as the IMAP server lists it: its identity within an epoch (reliability.md 3.2, S2)."""

    uid: int
    size: int
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """One message to be committed: what the server listed, and its bytes (headers alone when *oversize*)."""

    listed: Listed
    data: bytes
    oversize: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One captured message that waits for its decision."""

    id: int
    received_at: datetime
    size: int
    attempts: int
    silent: bool
    oversize: bool
    passed: bool
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfiled:
    """One decided message whose copy on the server still lies in the watched folder."""

    id: int
    uid: int
    folder: str


# Asked for by every mail: built once, since building a statement costs more than running it.
_DECIDE = update(message).where(message.c.id == bindparam("number"))
# Written out, so that the index of these rows alone is seen to fit.
_QUARANTINED = literal(Verdict.QUARANTINED.value, literal_execute=True)
_IS_UNDECIDED = select(message.c.id).where(message.c.id == bindparam("number"), message.c.verdict.is_(None))


def normal_message_id(message_id: str) -> str:
    """Return the SHA-256 of *message_id* in its normal form: without space around, in lower case."""
    return hashlib.sha256(message_id.strip().casefold().encode("utf-8", "surrogatepass")).hexdigest()


def ensure_mailbox(connection: Connection, name: str) -> int:
    """Return the id of the mailbox *name*, entered on first sight."""
    found = mailbox_id(connection, name)
    if not found:
        alone(connection)
        found = mailbox_id(connection, name)
    if not found:
        found = connection.execute(insert(mailbox).values(name=name).returning(mailbox.c.id)).scalar_one()
    return int(found)


def mailbox_id(connection: Connection, name: str) -> int:
    """Return the id of the mailbox *name*, or 0 when the daemon never served it."""
    return int(connection.execute(select(mailbox.c.id).where(mailbox.c.name == name)).scalar() or 0)


def first_start(connection: Connection, mailbox_id: int, now: datetime) -> datetime:
    """Return when this mailbox was first served: *now*, kept, if it never was."""
    started = connection.execute(select(mailbox.c.started_at).where(mailbox.c.id == mailbox_id)).scalar()
    if started is None:
        connection.execute(update(mailbox).where(mailbox.c.id == mailbox_id).values(started_at=now))
        return now
    assert isinstance(started, datetime)
    return started


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseHolder:
    """Who serves a mailbox until when; *fence* counts the take-overs."""

    owner: str | None
    until: datetime | None
    fence: int


def lease_holder(connection: Connection, mailbox_id: int) -> LeaseHolder:
    """Return who holds the mailbox's lease; on PostgreSQL its row is locked until the transaction ends."""
    row = connection.execute(
        select(mailbox.c.lease_owner, mailbox.c.lease_until, mailbox.c.fence)
        .where(mailbox.c.id == mailbox_id)
        .with_for_update()
    ).one()
    return LeaseHolder(owner=row.lease_owner, until=row.lease_until, fence=row.fence)


def lease_holders(connection: Connection) -> list[LeaseHolder]:
    """Return who holds the lease of each mailbox, if anybody does; nothing is locked."""
    rows = connection.execute(select(mailbox.c.lease_owner, mailbox.c.lease_until, mailbox.c.fence))
    return [LeaseHolder(owner=row.lease_owner, until=row.lease_until, fence=row.fence) for row in rows]


def set_lease(
    connection: Connection, mailbox_id: int, owner: str | None, until: datetime | None, fence: int
) -> None:
    """Record who serves the mailbox until when."""
    connection.execute(
        update(mailbox)
        .where(mailbox.c.id == mailbox_id)
        .values(lease_owner=owner, lease_until=until, fence=fence)
    )


def ensure_epoch(connection: Connection, mailbox_id: int, folder: str, uidvalidity: int) -> int:
    """Return the id of this life of *folder*; a new UIDVALIDITY is a new row and nothing old is deleted (S1)."""
    found = connection.execute(
        select(epoch.c.id).where(
            epoch.c.mailbox_id == mailbox_id, epoch.c.folder == folder, epoch.c.uidvalidity == uidvalidity
        )
    ).scalar()
    if found is None:
        found = connection.execute(
            insert(epoch)
            .values(mailbox_id=mailbox_id, folder=folder, uidvalidity=uidvalidity)
            .returning(epoch.c.id)
        ).scalar_one()
    return int(found)


def unknown(connection: Connection, epoch_id: int, listed: Sequence[Listed]) -> list[Listed]:
    """Return those of *listed* that the ledger does not hold: a set difference, never a high-water mark."""
    return compare(connection, epoch_id, listed)[0]


def compare(connection: Connection, epoch_id: int, listed: Sequence[Listed]) -> tuple[list[Listed], list[int]]:
    """Return those of *listed* that the ledger does not hold, and the ids of those that it takes for filed already."""
    known: set[tuple[int, int, datetime]] = set()
    filed_already: list[int] = []
    by_uid = {one.uid: (one.uid, one.size, one.received_at) for one in listed}
    uids = list(by_uid)
    # 500 at a time: SQLite took at most 999 bound values in one statement before 3.32.
    for start in range(0, len(uids), 500):
        rows = connection.execute(
            select(message.c.id, message.c.uid, message.c.size, message.c.received_at, message.c.filed_at).where(
                message.c.epoch_id == epoch_id, message.c.uid.in_(uids[start : start + 500])
            )
        )
        for row in rows:
            identity = (row.uid, row.size, row.received_at)
            known.add(identity)
            # A server that gives a UID a second time (IM07) lists another message by it than the one that was filed.
            if row.filed_at is not None and by_uid[row.uid] == identity:
                filed_already.append(row.id)
    return [one for one in listed if (one.uid, one.size, one.received_at) not in known], filed_already


def unread(connection: Connection, epoch_id: int) -> dict[tuple[int, int], int]:
    """Return how often each message (UID, size) of this epoch was asked for alone and not given out."""
    rows = connection.execute(select(setting).where(setting.c.name.startswith(f"unread:{epoch_id}:")))
    found = {}
    for row in rows:
        _, _, uid, size = row.name.split(":")
        found[int(uid), int(size)] = int(row.value)
    return found


def change_unread(connection: Connection, epoch_id: int, one: Listed, tries: int | None) -> None:
    """Remember that *one* was asked for alone *tries* times and not given out; None: forget it."""
    name = f"unread:{epoch_id}:{one.uid}:{one.size}"
    connection.execute(delete(setting).where(setting.c.name == name))
    if tries is not None:
        connection.execute(insert(setting).values(name=name, value=str(tries)))


def capture(
    connection: Connection,
    mailbox_id: int,
    epoch_id: int,
    captured: Iterable[Captured],
    now: datetime,
    *,
    silent: bool = False,
    is_filed: bool = False,
) -> int:
    """Enter *captured* with their raw bytes and return how many: from the commit on they cannot be lost (C2).

    *is_filed*: their copies lie where filed mail lies already.
    """
    count = 0
    for one in captured:
        number = connection.execute(
            insert(message)
            .values(
                mailbox_id=mailbox_id,
                epoch_id=epoch_id,
                uid=one.listed.uid,
                size=one.listed.size,
                received_at=one.listed.received_at,
                captured_at=now,
                sha256=hashlib.sha256(one.data).hexdigest(),
                silent=silent,
                oversize=one.oversize,
                filed_at=now if is_filed else None,
            )
            .returning(message.c.id)
        ).scalar_one()
        connection.execute(insert(raw).values(message_id=number, data=zlib.compress(one.data, _COMPRESSION)))
        count += 1
    return count


def identities(connection: Connection, mailbox_id: int, since: datetime) -> Counter[tuple[int, datetime]]:
    """Return how many messages of each size and INTERNALDATE the ledger holds that arrived since *since*."""
    rows = connection.execute(
        select(message.c.size, message.c.received_at).where(
            message.c.mailbox_id == mailbox_id, message.c.received_at >= since
        )
    )
    return Counter((row.size, row.received_at) for row in rows)


def holds(connection: Connection, mailbox_id: int, data: bytes) -> bool:
    """Return whether the ledger holds a message of just these bytes."""
    query = select(message.c.id).where(
        message.c.mailbox_id == mailbox_id, message.c.sha256 == hashlib.sha256(data).hexdigest()
    )
    return connection.execute(query.limit(1)).scalar() is not None


def adopt(connection: Connection, mailbox_id: int, epoch_id: int, listed: Iterable[Listed], now: datetime) -> int:
    """Enter *listed* as ``preexisting`` without fetching them and return how many: they were there before us."""
    count = 0
    for one in listed:
        connection.execute(
            insert(message).values(
                mailbox_id=mailbox_id,
                epoch_id=epoch_id,
                uid=one.uid,
                size=one.size,
                received_at=one.received_at,
                captured_at=now,
                sha256="",
                verdict=Verdict.PREEXISTING,
                reason="was there before the first start",
                decided_at=now,
            )
        )
        count += 1
    return count


def undecided(connection: Connection, mailbox_id: int, *, limit: int) -> list[int]:
    """Return the ids of captured messages that wait for a decision, oldest first."""
    return list(
        connection.execute(
            select(message.c.id)
            .where(message.c.mailbox_id == mailbox_id, message.c.verdict.is_(None))
            .order_by(message.c.id)
            .limit(limit)
        ).scalars()
    )


def count_attempt(connection: Connection, numbers: Sequence[int]) -> None:
    """Add one attempt to each message of *numbers*; committed before parsing, so that poison counts itself (C3)."""
    connection.execute(update(message).where(message.c.id.in_(numbers)).values(attempts=message.c.attempts + 1))


def load(connection: Connection, number: int) -> Row | None:
    """Return the undecided message *number* with its raw bytes, or None when it has been decided meanwhile."""
    found = connection.execute(
        select(
            message.c.id,
            message.c.received_at,
            message.c.size,
            message.c.attempts,
            message.c.silent,
            message.c.oversize,
            message.c.passed,
            raw.c.data,
        )
        .join_from(message, raw, raw.c.message_id == message.c.id)
        .where(message.c.id == number, message.c.verdict.is_(None))
    ).one_or_none()
    if found is None:
        return None
    values = found._asdict()
    return Row(**{**values, "data": zlib.decompress(values["data"])})


def is_undecided(connection: Connection, number: int) -> bool:
    """Return whether message *number* still waits for its decision; asked inside the deciding transaction."""
    return connection.execute(_IS_UNDECIDED, {"number": number}).scalar() is not None


def raw_bytes(connection: Connection, number: int) -> bytes | None:
    """Return the raw bytes of message *number*, or None when retention has taken them."""
    data = connection.execute(select(raw.c.data).where(raw.c.message_id == number)).scalar()
    return None if data is None else zlib.decompress(data)


def same_submission(
    connection: Connection,
    mailbox_id: int,
    number: int,
    *,
    message_id: str | None,
    trace_free_sha256: str,
    content_sha256: str,
    has_date: bool,
) -> tuple[int | None, bool]:
    """Return the earlier message that *number* is a copy of (or None), and whether its Message-ID was used before.

    Duplicate if the Message-ID is the same and the raw bytes without trace fields, or the content, are the same;
    without a Message-ID if those bytes are the same and a Date is present (reliability.md 3).
    """
    if message_id is None:
        if not has_date:
            return None, False
        found = connection.execute(
            select(func.min(message.c.id)).where(
                message.c.mailbox_id == mailbox_id,
                message.c.trace_free_sha256 == trace_free_sha256,
                message.c.message_id.is_(None),
                message.c.id != number,
                message.c.verdict.is_not(None),
                message.c.duplicate_of.is_(None),
            )
        ).scalar()
        return found, False
    rows = connection.execute(
        select(message.c.id, message.c.trace_free_sha256, message.c.content_sha256)
        .join_from(message_id_index, message, message.c.id == message_id_index.c.message_id)
        .where(
            message_id_index.c.mailbox_id == mailbox_id,
            message_id_index.c.hash == normal_message_id(message_id),
            message.c.id != number,
            message.c.duplicate_of.is_(None),
        )
        .order_by(message.c.id)
    ).all()
    for row in rows:
        same_content = bool(content_sha256) and row.content_sha256 == content_sha256
        if row.trace_free_sha256 == trace_free_sha256 or same_content:
            return row.id, False
    return None, bool(rows)


def decide(
    connection: Connection,
    mailbox_id: int,
    number: int,
    *,
    verdict: Verdict,
    rule: str | None,
    reason: str,
    folder: str | None,
    now: datetime,
    message_id: str | None = None,
    sender: str | None = None,
    trace_free_sha256: str | None = None,
    content_sha256: str | None = None,
    dedup_key: str | None = None,
    duplicate_of: int | None = None,
    ticket_id: int | None = None,
) -> None:
    """Write the one verdict of message *number*, and remember its Message-ID for threading and for copies."""
    connection.execute(
        _DECIDE,
        {
            "number": number,
            "verdict": verdict,
            "rule": rule,
            "reason": reason,
            "folder": folder,
            "decided_at": now,
            "message_id": message_id,
            "sender": sender,
            "trace_free_sha256": trace_free_sha256,
            "content_sha256": content_sha256,
            "dedup_key": dedup_key,
            "duplicate_of": duplicate_of,
            "ticket_id": ticket_id,
        },
    )
    if message_id is not None:
        connection.execute(
            insert(message_id_index).values(
                mailbox_id=mailbox_id, hash=normal_message_id(message_id), message_id=number
            )
        )


def unfiled(
    connection: Connection, epoch_id: int, *, limit: int, except_folders: Iterable[str] = ()
) -> list[Unfiled]:
    """Return decided messages of this epoch whose copy still has to be moved, oldest first."""
    rows = connection.execute(
        select(message.c.id, message.c.uid, message.c.folder)
        .where(
            message.c.epoch_id == epoch_id,
            message.c.verdict.is_not(None),
            message.c.folder.is_not(None),
            message.c.folder.not_in(list(except_folders)),
            message.c.filed_at.is_(None),
        )
        .order_by(message.c.id)
        .limit(limit)
    )
    return [Unfiled(id=row.id, uid=row.uid, folder=row.folder) for row in rows]


def filed(connection: Connection, numbers: Sequence[int], now: datetime) -> None:
    """Record that the copies of the messages *numbers* were moved (C5, bookkeeping)."""
    connection.execute(update(message).where(message.c.id.in_(numbers)).values(filed_at=now))


def seen_again(connection: Connection, numbers: Sequence[int]) -> None:
    """Take back that the messages *numbers* were filed: the server still lists them, and its list is the truth."""
    for start in range(0, len(numbers), 500):
        connection.execute(
            update(message).where(message.c.id.in_(numbers[start : start + 500])).values(filed_at=None)
        )


def outsiders_since(
    connection: Connection,
    mailbox_id: int,
    since: datetime,
    *,
    staff_domains: Iterable[str],
    address: str = "",
    domain: str = "",
) -> int:
    """Return how many messages from outside opened a ticket since *since*: of *address*, of *domain*, or of anyone."""
    query = select(func.count()).select_from(message).where(
        message.c.mailbox_id == mailbox_id,
        message.c.decided_at >= since,
        message.c.verdict == Verdict.TICKET,
    )
    if address:
        query = query.where(message.c.sender == address)
    if domain:
        query = query.where(message.c.sender.like(f"%@{domain}"))
    for staff_domain in staff_domains:
        query = query.where(message.c.sender.not_like(f"%@{staff_domain}"))
    return int(connection.execute(query).scalar_one())


def by_message_id(connection: Connection, message_id: str) -> list[dict[str, Any]]:
    """Return the ledger rows of every message with this Message-ID, oldest first, without their bytes."""
    rows = connection.execute(
        select(message)
        .join_from(message_id_index, message, message.c.id == message_id_index.c.message_id)
        .where(message_id_index.c.hash == normal_message_id(message_id))
        .order_by(message.c.id)
    )
    return [dict(row._mapping) for row in rows]


def tickets_of_message_ids(connection: Connection, mailbox_id: int, message_ids: Sequence[str]) -> dict[str, int]:
    """Return which of the incoming *message_ids* belong to which ticket, so that a reply-all joins its thread."""
    if not message_ids:
        return {}
    wanted = {normal_message_id(one): one for one in message_ids}
    rows = connection.execute(
        select(message_id_index.c.hash, message.c.ticket_id)
        .join_from(message_id_index, message, message.c.id == message_id_index.c.message_id)
        .where(
            message_id_index.c.mailbox_id == mailbox_id,
            message_id_index.c.hash.in_(list(wanted)),
            message.c.ticket_id.is_not(None),
        )
    )
    return {wanted[row.hash]: row.ticket_id for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """One message that opened no ticket: screened or quarantined, with the reason."""

    id: int
    sender: str
    rule: str
    reason: str
    at: datetime


def screened_since(connection: Connection, mailbox_id: int, since: datetime) -> list[SetAside]:
    """Return what was screened since *since*, newest first, 200 at most."""
    return _set_aside(
        connection,
        select(message)
        .where(
            message.c.mailbox_id == mailbox_id,
            message.c.verdict == Verdict.SCREENED,
            message.c.decided_at >= since,
        )
        .order_by(message.c.id.desc())
        .limit(200),
    )


def quarantined(connection: Connection, mailbox_id: int) -> list[SetAside]:
    """Return what waits in quarantine for a person, oldest first."""
    return _set_aside(
        connection,
        select(message)
        .where(message.c.mailbox_id == mailbox_id, message.c.verdict == _QUARANTINED)
        .order_by(message.c.id),
    )


def _set_aside(connection: Connection, query: Select[Any]) -> list[SetAside]:
    return [
        SetAside(id=row.id, sender=row.sender or "", rule=row.rule or "", reason=row.reason or "", at=row.received_at)
        for row in connection.execute(query)
    ]


def newest(connection: Connection) -> int:
    """Return the highest id in the ledger, 0 when it is empty."""
    return int(connection.execute(select(func.max(message.c.id))).scalar() or 0)


def started_at(connection: Connection, mailbox_id: int) -> datetime | None:
    """Return when the mailbox was first served, or None before that."""
    return connection.execute(select(mailbox.c.started_at).where(mailbox.c.id == mailbox_id)).scalar()


def unseen_sent(connection: Connection, epoch_id: int, listed: Sequence[Listed]) -> list[Listed]:
    """Return those of *listed* in the Sent folder that were not looked at yet."""
    known = {
        (row.uid, row.size, row.received_at)
        for row in connection.execute(select(sent_item).where(sent_item.c.epoch_id == epoch_id))
    }
    return [one for one in listed if (one.uid, one.size, one.received_at) not in known]


def sent_seen(connection: Connection, epoch_id: int, listed: Iterable[Listed]) -> None:
    """Record that *listed* in the Sent folder were looked at."""
    for one in listed:
        connection.execute(
            insert(sent_item).values(epoch_id=epoch_id, uid=one.uid, size=one.size, received_at=one.received_at)
        )


def find_epoch(connection: Connection, mailbox_id: int, folder: str, uidvalidity: int) -> int | None:
    """Return the id of this life of *folder*, or None when the daemon never saw it."""
    return connection.execute(
        select(epoch.c.id).where(
            epoch.c.mailbox_id == mailbox_id, epoch.c.folder == folder, epoch.c.uidvalidity == uidvalidity
        )
    ).scalar()


def filed_sizes(connection: Connection, mailbox_id: int) -> Counter[int]:
    """Return how many messages of each size were filed, wherever."""
    rows = connection.execute(
        select(message.c.size, func.count())
        .where(message.c.mailbox_id == mailbox_id, message.c.filed_at.is_not(None), message.c.folder.is_not(None))
        .group_by(message.c.size)
    )
    return Counter({int(size): int(count) for size, count in rows})


def inconsistencies(connection: Connection, mailbox_id: int) -> list[str]:
    """Return the ledger rows that break a rule of their own, a sentence each."""
    found = []
    undecided_long = connection.execute(
        select(message.c.id).where(
            message.c.mailbox_id == mailbox_id, message.c.verdict.is_(None), message.c.attempts >= 3
        )
    ).scalars()
    found += [f"message {number} was tried three times and has no verdict" for number in undecided_long]
    without_ticket = connection.execute(
        select(message.c.id).where(
            message.c.mailbox_id == mailbox_id,
            message.c.verdict.in_([Verdict.TICKET, Verdict.REPLY, Verdict.COMMAND]),
            message.c.ticket_id.is_(None),
        )
    ).scalars()
    found += [f"message {number} belongs to a ticket and names none" for number in without_ticket]
    without_bytes = connection.execute(
        select(message.c.id)
        .join_from(message, raw, raw.c.message_id == message.c.id, isouter=True)
        .where(
            message.c.mailbox_id == mailbox_id,
            or_(message.c.verdict.is_(None), message.c.verdict == Verdict.QUARANTINED),
            raw.c.message_id.is_(None),
        )
    ).scalars()
    found += [f"message {number} waits for somebody and its raw bytes are gone" for number in without_bytes]
    return found


def retry(connection: Connection, number: int, data: bytes | None, *, as_ticket: bool) -> bool:
    """Let a quarantined or screened message be decided again and return True, or False when it is neither.

    *data* replaces its raw bytes; *as_ticket* lets it pass screening.  One whose raw bytes are gone cannot be decided.
    """
    changed = connection.execute(
        update(message)
        .where(
            message.c.id == number,
            message.c.verdict.in_([Verdict.QUARANTINED, Verdict.SCREENED]),
            select(raw.c.message_id).where(raw.c.message_id == number).exists(),
        )
        .values(
            verdict=None,
            rule=None,
            reason=None,
            attempts=0,
            decided_at=None,
            dedup_key=None,
            filed_at=None,
            passed=as_ticket,
        )
    ).rowcount
    if not changed:
        return False
    connection.execute(delete(message_id_index).where(message_id_index.c.message_id == number))
    if data is not None:
        connection.execute(
            update(raw).where(raw.c.message_id == number).values(data=zlib.compress(data, _COMPRESSION))
        )
        connection.execute(
            update(message).where(message.c.id == number).values(sha256=hashlib.sha256(data).hexdigest())
        )
    return True


def discard(connection: Connection, number: int) -> bool:
    """Delete the raw bytes of a quarantined message and return True, or False when it is not in quarantine."""
    changed = connection.execute(
        update(message)
        .where(message.c.id == number, message.c.verdict == Verdict.QUARANTINED)
        .values(verdict=Verdict.SCREENED, rule="discarded", reason="discarded by a person")
    ).rowcount
    if changed:
        connection.execute(delete(raw).where(raw.c.message_id == number))
    return bool(changed)


def verdict_counts(connection: Connection, mailbox_ids: Sequence[int], since_id: int = 0) -> dict[str, int]:
    """Return how many messages with an id above *since_id* ended in each verdict."""
    rows = connection.execute(
        select(message.c.verdict, func.count())
        .where(message.c.mailbox_id.in_(mailbox_ids), message.c.id > since_id, message.c.verdict.is_not(None))
        .group_by(message.c.verdict)
    )
    return {str(verdict): int(count) for verdict, count in rows}
