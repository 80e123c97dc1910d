"""Is every message accounted for?  The mailbox's folders against the ledger, the ledger against its own rules (I2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime

from supportd.accounts import access_tokens, current_token, imap_account
from supportd.config import Config, Desk
from supportd.db import ledger
from supportd.db.engine import Database
from supportd.db.ledger import Listed
from supportd.imap import ImapSession


def findings(database: Database, config: Config, clock: Callable[[], datetime]) -> tuple[str, ...]:
    """Return what is not accounted for, a sentence each; empty when all is well.

    Raises:
        Unavailable: a server or the database cannot be reached.
        Refused: the mail server does not accept the sign-in.
    """
    found: list[str] = []
    for desk in config.desks:
        with database.read() as connection:
            number = ledger.mailbox_id(connection, desk.name)
            found += [f"{desk.name}: {problem}" for problem in ledger.inconsistencies(connection, number)]
        session = ImapSession(imap_account(config, desk, current_token(access_tokens(config, desk), clock)))
        try:
            found += [f"{desk.name}: {problem}" for problem in _folders(database, desk, session, number)]
        finally:
            session.close()
    return tuple(found)


def _folders(database: Database, desk: Desk, session: ImapSession, mailbox_id: int) -> Iterator[str]:
    """Yield each message of the watched folder that the ledger does not know, and each verdict missing its copy."""
    names = desk.mailbox.folders
    uidvalidity = session.select(names.inbox, readonly=True)
    with database.read() as connection:
        # A message without a date counts as one of the first start, here as at its capture.
        started_at = ledger.started_at(connection, mailbox_id)
    listing = session.listing() if started_at is None else session.listing(started_at)
    listed = [Listed(uid=one.uid, size=one.size, received_at=one.received_at) for one in listing]
    with database.read() as connection:
        epoch_id = ledger.find_epoch(connection, mailbox_id, names.inbox, uidvalidity)
        unknown = listed if epoch_id is None else ledger.unknown(connection, epoch_id, listed)
        filed = ledger.filed_sizes(connection, mailbox_id)
    for one in unknown:
        yield f"{names.inbox}: the message with UID {one.uid} is not in the ledger"
    folders = (names.processed, names.screened, names.quarantine)
    missing = session.missing_folders(folders)
    present: Counter[int] = Counter()
    for folder in folders:
        if folder not in missing:
            session.select(folder, readonly=True)
            present.update(one.size for one in session.listing())
    # Which folder does not matter: people sort mail too, and what was taken out of quarantine stays where it lies.
    if gone := (filed - present).total():
        yield f"{', '.join(folders)}: {gone} messages that were filed lie in none of these folders"
