"""Mailbox -> ledger, before anything else is done with a message; decided mail is filed afterwards.

The one ordering that matters (reliability.md 3.3): raw bytes are committed before the mailbox is touched.

1. S1  a new UIDVALIDITY is a new epoch; nothing old is deleted.
2. S2  work is what the server lists and the ledger does not hold; flags are never asked.
3. S3  BODY.PEEK[] in batches by size, large ones in pieces, oversize ones by their headers alone.
4. S4  raw bytes and ledger rows in one commit (C2): from here a message cannot be lost.
5. S8  decided messages are moved, last of all; what the next listing still shows is moved again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from supportd import failpoint, log
from supportd.db import ledger
from supportd.db.engine import Database
from supportd.db.ledger import Captured, Listed

if TYPE_CHECKING:
    from supportd.imap import ImapSession
from supportd.lease import Lease

_log = log.get("capture")

# A batch holds this many bytes of mail at most, so that memory stays flat whatever arrives ...
_BATCH_BYTES = 4 << 20
# ... and this many messages, so that one commit never holds up the deciding thread for long.
_BATCH_MESSAGES = 100
# Larger messages are fetched in pieces: a literal is held twice while imaplib reads it.
_LARGE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """The folders of one mailbox by their names on the server."""

    inbox: str
    processed: str
    screened: str
    quarantine: str

    @property
    def targets(self) -> tuple[str, ...]:
        """Return the folders that decided mail is moved to."""
        return (self.processed, self.screened, self.quarantine)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstStart:
    """What to do with mail that was there before us.

    Mail younger than *answers_within* at the first start is ordinary.  Older mail is left alone, unless it arrived at
    or after *import_since*: then it becomes a ticket without an acknowledgement.
    """

    answers_within: timedelta
    import_since: datetime | None = None


class Inbox:
    """The watched folder of one mailbox over one IMAP connection."""

    def __init__(
        self,
        session: ImapSession,
        database: Database,
        *,
        mailbox_id: int,
        folders: Folders,
        first_start: FirstStart,
        message_limit_bytes: int,
        lease: Lease,
    ) -> None:
        self._session = session
        self._database = database
        self._mailbox_id = mailbox_id
        self._folders = folders
        self._first_start = first_start
        self._message_limit_bytes = message_limit_bytes
        self._lease = lease
        self._epoch_id = 0

    def open(self, now: datetime) -> None:
        """Create missing folders and select the watched one.

        Raises:
            Unavailable: the connection is unusable.
        """
        self._session.ensure_folders(self._folders.targets)
        uidvalidity = self._session.select(self._folders.inbox)
        with self._database.write() as connection:
            self._lease.confirm(connection)
            self._epoch_id = ledger.ensure_epoch(connection, self._mailbox_id, self._folders.inbox, uidvalidity)
            self._started_at = ledger.first_start(connection, self._mailbox_id, now)

    def capture(self, now: datetime) -> int:
        """Commit every message that the ledger does not hold yet and return how many.

        Raises:
            Unavailable: the connection or the database is unusable; what was committed before stays.
        """
        listed = [Listed(uid=one.uid, size=one.size, received_at=one.received_at) for one in self._session.listing()]
        if not listed:
            return 0
        with self._database.read() as connection:
            new = ledger.unknown(connection, self._epoch_id, listed)
        failpoint.hit("capture.listed")
        new_uids = {one.uid for one in new}
        known_uids = [one.uid for one in listed if one.uid not in new_uids]
        if known_uids:
            with self._database.write() as connection:
                ledger.seen_again(connection, self._epoch_id, known_uids)
                failpoint.hit("capture.seeing-again")
        fresh, imported, old = self._sort(new)
        if old:
            with self._database.write() as connection:
                self._lease.confirm(connection)
                ledger.adopt(connection, self._mailbox_id, self._epoch_id, old, now)
                failpoint.hit("capture.adopting")
        count = 0
        for silent, wanted in ((False, fresh), (True, imported)):
            for batch in _batches(wanted):
                captured = self._fetch(batch)
                failpoint.hit("capture.fetched")
                with self._database.write() as connection:
                    self._lease.confirm(connection)
                    count += ledger.capture(
                        connection, self._mailbox_id, self._epoch_id, captured, now, silent=silent
                    )
                    failpoint.hit("capture.committing")
                failpoint.hit("capture.committed")
        if count or old:
            _log.info("captured", mailbox_id=self._mailbox_id, messages=count, preexisting=len(old))
        return count

    def file(self, now: datetime) -> int:
        """Move decided messages to where they belong and return how many; a repeat is harmless.

        Raises:
            Unavailable: the connection is unusable; the next listing shows what is still to be moved.
        """
        count = 0
        while True:
            with self._database.read() as connection:
                waiting = ledger.unfiled(connection, self._epoch_id, limit=200)
            if not waiting:
                return count
            for folder in dict.fromkeys(one.folder for one in waiting):
                failpoint.hit("file.moving")
                self._session.move([one.uid for one in waiting if one.folder == folder], folder)
                failpoint.hit("file.moved")
            with self._database.write() as connection:
                ledger.filed(connection, [one.id for one in waiting], now)
                failpoint.hit("file.recording")
            failpoint.hit("file.recorded")
            count += len(waiting)

    def wait(self, seconds: float) -> None:
        """Wait up to *seconds* for the server to announce something."""
        self._session.idle(seconds)

    def _sort(self, new: Sequence[Listed]) -> tuple[list[Listed], list[Listed], list[Listed]]:
        """Return *new* as ordinary mail, mail to import in silence, and mail that was there before the first start."""
        ordinary_from = self._started_at - self._first_start.answers_within
        since = self._first_start.import_since
        fresh = [one for one in new if one.received_at >= ordinary_from]
        old = [one for one in new if one.received_at < ordinary_from]
        imported = [one for one in old if since is not None and one.received_at >= since]
        return fresh, imported, [one for one in old if one not in imported]

    def _fetch(self, batch: Sequence[Listed]) -> list[Captured]:
        small = [one for one in batch if one.size <= _LARGE_BYTES]
        bodies = self._session.fetch([one.uid for one in small])
        captured = [Captured(listed=one, data=bodies[one.uid]) for one in small if one.uid in bodies]
        for one in batch:
            if one.size <= _LARGE_BYTES:
                continue
            oversize = one.size > self._message_limit_bytes
            data = self._session.fetch_header(one.uid) if oversize else self._session.fetch_large(one.uid)
            if data is not None:
                captured.append(Captured(listed=one, data=data, oversize=oversize))
        return sorted(captured, key=lambda one: one.listed.uid)


def _batches(wanted: Sequence[Listed]) -> Iterator[list[Listed]]:
    batch: list[Listed] = []
    size = 0
    for one in wanted:
        if batch and (size + one.size > _BATCH_BYTES or len(batch) >= _BATCH_MESSAGES):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += one.size
    if batch:
        yield batch
