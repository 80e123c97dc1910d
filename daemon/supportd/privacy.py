"""People's data: what goes by its age, what is told to a person, and what is taken out at her request.

Ages, export and erasure share one rule: numbers, dates and levels stay, words and addresses go (reliability.md 4.3).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from html import escape
from pathlib import Path

from supportd import log
from supportd.core.model import Ticket
from supportd.db import ledger, privacy, tickets
from supportd.db.engine import Connection, Database
from supportd.db.privacy import Person
from supportd.errors import UserError

_log = log.get("privacy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ages:
    """After how many days each kind of data goes; None keeps it for ever."""

    raw: int | None = 30
    screened: int | None = 30
    attachments: int | None = 365
    text: int | None = 730
    security: int | None = 730


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """One kind of data: its age in days, and how much of it is older now."""

    what: str
    days: int | None
    count: int


def plan(connection: Connection, ages: Ages, held: Sequence[str], now: datetime) -> tuple[Due, ...]:
    """Return what is older than its age at *now*; *held* are the addresses under a legal hold."""

    def before(days: int | None) -> datetime | None:
        return None if days is None else now - timedelta(days=days)

    raw_before, screened_before = before(ages.raw), before(ages.screened)
    files_before, text_before, security_before = before(ages.attachments), before(ages.text), before(ages.security)
    raw = privacy.count_raw(connection, privacy.old_raw(held, raw_before, screened=False)) if raw_before else 0
    screened = (
        privacy.count_raw(connection, privacy.old_raw(held, screened_before, screened=True)) if screened_before else 0
    )
    files = privacy.count_attachments(connection, privacy.old_tickets(held, files_before)) if files_before else 0
    texts = privacy.count_tickets(connection, privacy.old_tickets(held, text_before)) if text_before else 0
    events = privacy.count_security_events(connection, security_before) if security_before else 0
    return (
        Due(what="raw mail, after its decision", days=ages.raw, count=raw),
        Due(what="raw screened mail", days=ages.screened, count=screened),
        Due(what="attachments, after the ticket closed", days=ages.attachments, count=files),
        Due(what="ticket text and people, after the ticket closed", days=ages.text, count=texts),
        Due(what="security events", days=ages.security, count=events),
    )


def apply(database: Database, ages: Ages, held: Sequence[str], now: datetime) -> tuple[Due, ...]:
    """Take out what is older than its age and return how much went; the log has the counts, never the words.

    A batch is a transaction, so that mail that comes meanwhile waits for none of it.

    Raises:
        Unavailable: the database cannot be reached; what went before is gone, and the next time takes the rest.
    """
    with database.read() as connection:
        gone = plan(connection, ages, held, now)
    for take_out in _steps(ages, held, now):
        count = privacy.BATCH
        while count == privacy.BATCH:
            with database.write() as connection:
                count = take_out(connection)
    if any(one.count for one in gone):
        database.truncate_log()
        _log.info("retention", **{one.what: one.count for one in gone})
    return gone


def _steps(ages: Ages, held: Sequence[str], now: datetime) -> Iterator[Callable[[Connection], int]]:
    """Yield what takes out one batch of each kind of data that has an age, and says how much that was."""

    def before(days: int) -> datetime:
        return now - timedelta(days=days)

    if ages.raw is not None:
        yield partial(privacy.drop_raw, which=privacy.old_raw(held, before(ages.raw), screened=False))
    if ages.screened is not None:
        yield partial(privacy.drop_raw, which=privacy.old_raw(held, before(ages.screened), screened=True))
    if ages.attachments is not None:
        yield partial(privacy.drop_attachments, which=privacy.old_tickets(held, before(ages.attachments)))
    if ages.text is not None:
        yield partial(privacy.empty_tickets, which=privacy.old_tickets(held, before(ages.text)))
    if ages.security is not None:
        yield partial(privacy.drop_security_events, before=before(ages.security))


def export(database: Database, address: str, folder: Path, names: Mapping[int, str]) -> int:
    """Write everything about *address* into *folder*, readable, and return how many tickets and messages it holds.

    An ``index.html`` for people, a ``data.json`` for machines, each raw mail as ``mail-N.eml``.  What other people
    wrote on her tickets is marked, for a person to look through before it is handed over.

    Raises:
        UserError: nothing is stored about her, or the folder cannot be written.
    """
    with database.read() as connection:
        found = privacy.find(connection, address)
        stored = tickets.by_ids(connection, (*found.own, *found.shared), names)
        told = [_told(connection, one, address) for one in stored]
        mails = {number: ledger.raw_bytes(connection, number) for number in found.messages}
    if not told and not mails:
        raise UserError(f"nothing is stored about {address}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, data in mails.items():
            if data is not None:
                (folder / f"mail-{number}.eml").write_bytes(data)
        (folder / "data.json").write_text(json.dumps({"address": address, "tickets": told}, indent=1), "utf-8")
        (folder / "index.html").write_text(_index(address, told, mails), "utf-8")
    except OSError as error:
        raise UserError(f"export: {folder} cannot be written ({error.strerror}); choose another folder") from error
    return len(told) + len(mails)


def erase(database: Database, address: str, key: bytes, held: Sequence[str], now: datetime) -> Person:
    """Take out everything of *address*, leave a keyed tombstone, and return what was found.

    Raises:
        UserError: she is under a legal hold.
        Unavailable: the database cannot be reached; nothing was taken out.
    """
    if address in held:
        raise UserError(f"{address} is under a legal hold (retention: legal_hold:); nothing was erased")
    with database.write() as connection:
        found = privacy.find(connection, address)
        privacy.erase(connection, address, found)
        privacy.bury(connection, keyed_hash(key, address), now)
    # Pages that were only half emptied still hold what was deleted, until the file is written anew.
    database.shrink()
    if database.path is not None:
        _remember(tombstone_file(database.path), keyed_hash(key, address))
    _log.info("erased", tickets=len(found.own), messages=len(found.messages))
    return found


def erase_again(database: Database, key: bytes, now: datetime) -> int:
    """Erase whom an older backup has brought back, by the tombstones beside the database, and return how many."""
    if database.path is None or not tombstone_file(database.path).exists():
        return 0
    wanted = set(tombstone_file(database.path).read_text(encoding="ascii").split())
    with database.read() as connection:
        missing = wanted - privacy.tombstones(connection)
        back = [one for one in privacy.addresses(connection) if keyed_hash(key, one) in missing] if missing else []
    for address in back:
        erase(database, address, key, (), now)
    with database.write() as connection:
        for keyed in missing:
            privacy.bury(connection, keyed, now)
    return len(back)


def keyed_hash(key: bytes, address: str) -> str:
    """Return the keyed digest that stands for an erased *address*: nobody reads it back without the key."""
    return hmac.new(key, b"erased:" + address.strip().lower().encode(), hashlib.sha256).hexdigest()


def tombstone_file(database: Path) -> Path:
    """Return where tombstones are kept beside the database, so that an older backup cannot take them away."""
    return database.with_name(database.name + ".erased")


def _remember(file: Path, keyed: str) -> None:
    known = file.read_text(encoding="ascii").split() if file.exists() else []
    if keyed not in known:
        partial = file.with_name(file.name + ".partial")
        partial.write_text("\n".join((*known, keyed)) + "\n", encoding="ascii")
        partial.chmod(0o600)
        partial.replace(file)


def _told(connection: Connection, one: Ticket, address: str) -> dict[str, object]:
    """Return the ticket as its export shows it; other people's words are marked."""
    is_own = one.requester.address == address
    return {
        "reference": one.reference,
        "subject": one.subject if is_own else "(another person's ticket)",
        "received_at": one.received_at.isoformat(),
        "status": str(one.status),
        "level": one.level,
        "text": one.text if is_own else "",
        "events": [
            {
                "kind": str(happened.kind),
                "at": happened.at.isoformat(),
                "by": happened.by if happened.by == address else "another person",
                "text": happened.text if is_own or happened.by == address else "",
                "check_before_handing_over": happened.by != address and bool(happened.text),
            }
            for happened in tickets.events(connection, one.id)
        ],
        "attachments": [part.name for part in one.attachments] if is_own else [],
    }


def _index(address: str, told: Sequence[Mapping[str, object]], mails: Mapping[int, bytes | None]) -> str:
    items = "\n".join(
        f"<h2>{escape(str(one['reference']))}: {escape(str(one['subject']))}</h2>"
        f"<p>{escape(str(one['received_at']))}, {escape(str(one['status']))}</p>"
        f"<pre>{escape(str(one['text']))}</pre>"
        for one in told
    )
    links = "\n".join(
        f'<li><a href="mail-{number}.eml">mail {number}</a></li>' for number, data in mails.items() if data is not None
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>What is stored about {escape(address)}</title>"
        "<style>body{font:16px/1.5 sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}"
        "pre{white-space:pre-wrap;overflow-wrap:anywhere}</style></head><body>"
        f"<h1>What is stored about {escape(address)}</h1>{items}<h2>Messages</h2><ul>{links}</ul></body></html>\n"
    )
