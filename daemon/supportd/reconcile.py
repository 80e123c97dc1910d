"""The folders of filed mail -> the ledger: what lies there and is not in it comes back, in silence (S9).

A commit that a lying disk lost, a database restored from yesterday, a mail that somebody filed by hand: each leaves a
mail in Processed that no row stands for.

1. A copy is known when the ledger holds as many messages of its size and INTERNALDATE as the folders do.
2. Else its bytes decide: known when their SHA-256 is in the ledger.
3. Before anything unknown is captured, numbers jump: those given out after the backup are never given out again.
4. It is captured as silent: it becomes what it was, and every letter that it would cause is recorded as suppressed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from supportd import failpoint, log
from supportd.capture import Folders
from supportd.db import ledger, tickets
from supportd.db.engine import Database
from supportd.db.ledger import Captured, Listed

if TYPE_CHECKING:
    from supportd.imap import ImapSession

_log = log.get("reconcile")

# The daily sweep looks back this far, at start too: a backup is rarely older, and for one that is there is the command.
WINDOW = timedelta(days=7)
SWEEP_EVERY = timedelta(days=1)
# Numbers skipped for each mail that was lost: some of its time came from the shell, or were for mail gone since.
_NUMBERS_PER_MAIL = 10


class Reconciler:
    """Sweeps the folders of one mailbox."""

    def __init__(
        self, database: Database, *, mailbox_id: int, folders: Folders, prefix: str, message_limit_bytes: int
    ) -> None:
        self._database = database
        self._mailbox_id = mailbox_id
        self._folders = folders
        self._prefix = prefix
        self._message_limit_bytes = message_limit_bytes

    def sweep(self, session: ImapSession, since: datetime, now: datetime) -> int:
        """Capture what arrived since *since*, was filed and is unknown; return how many.  Another folder is selected.

        Raises:
            Unavailable: the connection or the database is unusable; what was captured before stays.
        """
        missing = session.missing_folders(self._folders.targets)
        lying: dict[str, list[Listed]] = {}
        lives: dict[str, int] = {}
        for folder in self._folders.targets:
            if folder not in missing:
                lives[folder] = session.select(folder, readonly=True)
                # The server counts days in a zone of its own.
                listing = session.listing(since=since - timedelta(days=1))
                lying[folder] = [
                    Listed(uid=one.uid, size=one.size, received_at=one.received_at)
                    for one in listing
                    if one.received_at >= since
                ]
        with self._database.read() as connection:
            known = ledger.identities(connection, self._mailbox_id, since)
        present = Counter((one.size, one.received_at) for found in lying.values() for one in found)
        surplus = {identity for identity, count in present.items() if count > known[identity]}
        count = 0
        for folder, found in lying.items():
            suspects = [one for one in found if (one.size, one.received_at) in surplus]
            if suspects:
                session.select(folder, readonly=True)
                count += self._take(session, folder, lives[folder], suspects, now)
        if count:
            _log.warning("reconciled", mailbox_id=self._mailbox_id, messages=count)
        return count

    def _take(
        self, session: ImapSession, folder: str, uidvalidity: int, suspects: Sequence[Listed], now: datetime
    ) -> int:
        unknown: list[Captured] = []
        for one in suspects:
            captured = self._fetch(session, one)
            if captured is not None:
                with self._database.read() as connection:
                    if not ledger.holds(connection, self._mailbox_id, captured.data):
                        unknown.append(captured)
        if not unknown:
            return 0
        with self._database.write() as connection:
            epoch_id = ledger.ensure_epoch(connection, self._mailbox_id, folder, uidvalidity)
            # A sweep of another process may have been here meanwhile.
            new = ledger.unknown(connection, epoch_id, [one.listed for one in unknown])
            unknown = [one for one in unknown if one.listed in new]
            tickets.skip_numbers(connection, self._prefix, _NUMBERS_PER_MAIL * len(unknown))
            ledger.capture(connection, self._mailbox_id, epoch_id, unknown, now, silent=True, is_filed=True)
            failpoint.hit("reconcile.committing")
        failpoint.hit("reconcile.committed")
        return len(unknown)

    def _fetch(self, session: ImapSession, one: Listed) -> Captured | None:
        is_oversize = one.size > self._message_limit_bytes
        data = session.fetch_header(one.uid) if is_oversize else session.fetch_large(one.uid)
        return None if data is None else Captured(listed=one, data=data, oversize=is_oversize)
