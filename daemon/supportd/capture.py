"""Mailbox -> ledger, before anything else is done with a message; decided mail is filed afterwards.

The one ordering that matters (reliability.md 3.3): raw bytes are committed before the mailbox is touched.

1. S1  a new UIDVALIDITY is a new epoch; nothing old is deleted.
2. S2  work is what the server lists and the ledger does not hold; flags are never asked.
3. S3  BODY.PEEK[] in batches by size, large ones in pieces, oversize ones by their headers alone; what the server did
   not give out is asked for alone, after all others, and after three times kept as a row without bytes for a person.
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
from supportd.errors import Declined, Unavailable, UserError
from supportd.lease import Lease

if TYPE_CHECKING:
    from supportd.imap import ImapSession

_log = log.get("capture")

# A batch holds this many bytes of mail at most, so that memory stays flat whatever arrives ...
_BATCH_BYTES = 4 << 20
# ... and this many messages, so that one commit never holds up the deciding thread for long.
_BATCH_MESSAGES = 100
# Larger messages are fetched in pieces: a literal is held twice while imaplib reads it.
_LARGE_BYTES = 1 << 20
# A message that the server lists and does not give out is asked for this often (reliability.md IM10).
_MOST_TRIES = 3


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
        self._has_fetched = False
        # Why decided mail stays in the watched folder: what the server said, or nothing.
        self.declined = ""

    def open(self, now: datetime) -> None:
        """Create missing folders and select the watched one.

        Raises:
            UserError: nothing was ever captured, and yet filed mail lies there: the database is not the one (DB07).
            Unavailable: the connection is unusable.
        """
        with self._database.read() as connection:
            is_new = ledger.started_at(connection, self._mailbox_id) is None
        if is_new:
            self._refuse_a_lost_database()
        try:
            self._session.ensure_folders(self._folders.targets)
        except Declined as error:
            # Nothing can be filed without them, and all can be captured.
            _log.warning("folders", reason=str(error))
        uidvalidity = self._session.select(self._folders.inbox)
        with self._database.write() as connection:
            self._lease.confirm(connection)
            self._epoch_id = ledger.ensure_epoch(connection, self._mailbox_id, self._folders.inbox, uidvalidity)
            self._started_at = ledger.first_start(connection, self._mailbox_id, now)

    def _refuse_a_lost_database(self) -> None:
        missing = self._session.missing_folders(self._folders.targets)
        for folder in self._folders.targets:
            if folder in missing:
                continue
            self._session.select(folder, readonly=True)
            if count := len(self._session.listing()):
                raise UserError(
                    f"the database is new, and {count} messages lie in the folder {folder}: is it the right one?  "
                    "Restore it: supportd db restore FILE; or take their mail over: "
                    "supportd reconcile --since YYYY-MM-DD; or rename the folder"
                )

    def capture(self, now: datetime) -> int:
        """Commit every message that the ledger does not hold yet and return how many.

        Raises:
            Unavailable: the connection or the database is unusable; what was committed before stays.
        """
        listed = [
            Listed(uid=one.uid, size=one.size, received_at=one.received_at)
            for one in self._session.listing(undated_at=self._started_at)
        ]
        if not listed:
            return 0
        with self._database.read() as connection:
            new, filed_already = ledger.compare(connection, self._epoch_id, listed)
            tries = ledger.unread(connection, self._epoch_id)
        failpoint.hit("capture.listed")
        if filed_already:
            with self._database.write() as connection:
                ledger.seen_again(connection, filed_already)
                failpoint.hit("capture.seeing-again")
        fresh, imported, old = self._sort(new)
        if old:
            with self._database.write() as connection:
                self._lease.confirm(connection)
                ledger.adopt(connection, self._mailbox_id, self._epoch_id, old, now)
                failpoint.hit("capture.adopting")
        count = 0
        for silent, wanted in ((False, fresh), (True, imported)):
            for batch in _batches([one for one in wanted if (one.uid, one.size) not in tries]):
                count += self._take(batch, now, silent=silent)
        reluctant = [(tries[one.uid, one.size], one) for one in new if (one.uid, one.size) in tries and one not in old]
        for tried, one in sorted(reluctant, key=lambda pair: (pair[0], pair[1].uid)):
            count += self._take_alone(one, tried, now, silent=one in imported)
        if count or old:
            _log.info("captured", mailbox_id=self._mailbox_id, messages=count, preexisting=len(old))
        return count

    def _take(self, batch: Sequence[Listed], now: datetime, *, silent: bool) -> int:
        """Fetch and commit *batch* and return how many; what the server did not give out is noted, to be asked alone.

        Raises:
            Unavailable: the connection or the database is unusable.
        """
        try:
            captured = self._fetch(batch)
        except Unavailable as error:
            # One message may be the cause: whichever it is, it shall not break the next batch as well.
            self._note(batch, 0, str(error))
            if isinstance(error, Declined):
                return 0
            raise
        self._commit(captured, now, silent=silent)
        given = {one.listed.uid for one in captured}
        if missing := [one for one in batch if one.uid not in given]:
            self._note(missing, 0, "not given out")
        return len(captured)

    def _take_alone(self, one: Listed, tries: int, now: datetime, *, silent: bool) -> int:
        """Fetch and commit *one* that was not given out before; after the last try a row without bytes stands for it.

        Raises:
            Unavailable: the connection or the database is unusable.
        """
        if tries >= _MOST_TRIES:
            captured = [Captured(listed=one, data=b"")]
        else:
            try:
                captured = self._fetch([one])
            except Declined:
                captured = []
            except Unavailable as error:
                # A connection that has given out nothing at all says nothing of this message.
                if self._has_fetched:
                    self._note([one], tries + 1, str(error))
                raise
            if not captured:
                self._note([one], tries + 1, "not given out")
                return 0
        self._commit(captured, now, silent=silent)
        with self._database.write() as connection:
            ledger.change_unread(connection, self._epoch_id, one, None)
        return len(captured)

    def _note(self, listed: Sequence[Listed], tries: int, words: str) -> None:
        _log.warning("not given out", mailbox_id=self._mailbox_id, uids=[one.uid for one in listed], reason=words)
        with self._database.write() as connection:
            for one in listed:
                ledger.change_unread(connection, self._epoch_id, one, tries)

    def _commit(self, captured: Sequence[Captured], now: datetime, *, silent: bool) -> None:
        failpoint.hit("capture.fetched")
        with self._database.write() as connection:
            self._lease.confirm(connection)
            ledger.capture(connection, self._mailbox_id, self._epoch_id, captured, now, silent=silent)
            failpoint.hit("capture.committing")
        failpoint.hit("capture.committed")

    def file(self, now: datetime) -> int:
        """Move decided messages to where they belong and return how many; a repeat is harmless.

        A folder that takes no mail (missing, full, not ours to write) keeps its own waiting, and nothing else (IM16).

        Raises:
            Unavailable: the connection is unusable; the next listing shows what is still to be moved.
        """
        count = 0
        declined: dict[str, str] = {}
        while True:
            with self._database.read() as connection:
                waiting = ledger.unfiled(connection, self._epoch_id, limit=200, except_folders=declined)
            if not waiting:
                break
            for folder in dict.fromkeys(one.folder for one in waiting):
                failpoint.hit("file.moving")
                try:
                    self._session.move([one.uid for one in waiting if one.folder == folder], folder)
                except Declined as error:
                    declined[folder] = str(error)
                failpoint.hit("file.moved")
            moved = [one.id for one in waiting if one.folder not in declined]
            with self._database.write() as connection:
                ledger.filed(connection, moved, now)
                failpoint.hit("file.recording")
            failpoint.hit("file.recorded")
            count += len(moved)
        words = "; ".join(declined.values())
        if words and words != self.declined:
            _log.warning("not filed", mailbox_id=self._mailbox_id, reason=words)
        self.declined = words
        return count

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
        self._has_fetched = self._has_fetched or bool(bodies)
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
