"""Everything that serves one mailbox, wired together: what captures, decides, reminds and sends for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from supportd import reconcile
from supportd.accounts import access_tokens, current_token, imap_account, smtp_account
from supportd.capture import FirstStart, Folders, Inbox
from supportd.config import Config, Desk
from supportd.core.model import Mail, Unparseable
from supportd.core.tokens import Keys
from supportd.db import ledger
from supportd.db.engine import Database
from supportd.decide import Decider
from supportd.errors import Refused
from supportd.imap import ImapSession
from supportd.lease import Lease
from supportd.outbox import BreakerLimits, Outbox
from supportd.post import composer_of
from supportd.reconcile import Reconciler
from supportd.remind import Reminder
from supportd.sent import Sent
from supportd.smtp import SmtpSession

# The Sent folder is looked at this often; a response counts at its INTERNALDATE, so nothing is lost by waiting.
_SENT_EVERY = timedelta(minutes=1)
# Exchange drops long sessions and Gmail ends them with their token: a fresh one every 45 minutes costs nothing, and one
# minute before the token's end is early enough.  No token makes sessions shorter than five seconds.
_SESSION_LIFE = timedelta(minutes=45)
_BEFORE_TOKEN_ENDS = timedelta(minutes=1)
_SHORTEST_SESSION = timedelta(seconds=5)

_Session = TypeVar("_Session", ImapSession, SmtpSession)


def folders_of(desk: Desk) -> Folders:
    """Return the folders of the desk's mailbox."""
    folders = desk.mailbox.folders
    return Folders(
        inbox=folders.inbox,
        processed=folders.processed,
        screened=folders.screened,
        quarantine=folders.quarantine,
    )


def message_limit_bytes(desk: Desk) -> int:
    """Return from which size on a mail is known by its headers alone."""
    return desk.limits.message_megabytes * 1_000_000


class Station:
    """Everything that serves one mailbox, wired together."""

    def __init__(
        self,
        config: Config,
        desk: Desk,
        database: Database,
        keys: Keys,
        *,
        clock: Callable[[], datetime],
        read_header: Callable[[bytes, int], Mail | Unparseable],
        import_since: datetime | None,
    ) -> None:
        """Wire the rooms for *desk*.

        Raises:
            UserError: a secret cannot be found, or a library for the sign-in is not installed.
            Unavailable: the database cannot be reached.
        """
        self.desk = desk
        self._config = config
        self._database = database
        self._clock = clock
        with database.write() as connection:
            self.mailbox_id = ledger.ensure_mailbox(connection, desk.name)
        self.lease = Lease(database, self.mailbox_id)
        composer = composer_of(desk)
        self.decider = Decider(database, desk, composer, keys, self.mailbox_id, self.lease)
        self.reminder = Reminder(database, desk, composer, keys, self.mailbox_id)
        self.outbox = Outbox(
            database,
            mailbox_id=self.mailbox_id,
            connect=self._connect_smtp,
            clock=clock,
            per_minute=desk.mailbox.smtp.per_minute,
            doubt_wait=timedelta(seconds=config.doubt_wait_seconds),
            breaker=BreakerLimits(
                automatic=desk.limits.breaker_10_minutes, everything=desk.limits.breaker_hard_10_minutes
            ),
        )
        self._first_start = FirstStart(
            answers_within=timedelta(minutes=config.first_start_answers), import_since=import_since
        )
        self._tokens = access_tokens(config, desk)
        self._token = current_token(self._tokens, clock)
        self._session: ImapSession | None = None
        self.sent = Sent(database, desk, composer, keys, self.mailbox_id, read_header)
        self._sent_at: datetime | None = None
        self.reconciler = Reconciler(
            database,
            mailbox_id=self.mailbox_id,
            folders=folders_of(desk),
            prefix=desk.mailbox.reference,
            message_limit_bytes=message_limit_bytes(desk),
        )
        self._swept_at: datetime | None = None

    def look_into_sent(self, inbox: Inbox, now: datetime) -> None:
        """Look for answers past us, once a minute: the folder has no IDLE of its own.

        Raises:
            Unavailable: the connection is unusable.
        """
        if self._session is None or (self._sent_at is not None and now - self._sent_at < _SENT_EVERY):
            return
        self._sent_at = now
        self.sent.look(self._session, now)
        inbox.open(now)

    def open_inbox(self) -> Inbox:
        """Connect to the mailbox and select the watched folder.

        Raises:
            Unavailable: the server cannot be reached.
            Refused: it does not accept the sign-in.
        """
        session = self._signed_in(lambda: ImapSession(imap_account(self._config, self.desk, self._token)))
        self._session = session
        inbox = Inbox(
            session,
            self._database,
            mailbox_id=self.mailbox_id,
            folders=folders_of(self.desk),
            first_start=self._first_start,
            message_limit_bytes=message_limit_bytes(self.desk),
            lease=self.lease,
        )
        inbox.open(self._clock())
        return inbox

    def sweep(self, inbox: Inbox, now: datetime) -> int:
        """Capture filed mail of the last days that the ledger does not know, at start and once a day; return how many.

        Raises:
            Unavailable: the connection or the database is unusable.
        """
        if self._session is None or (self._swept_at is not None and now - self._swept_at < reconcile.SWEEP_EVERY):
            return 0
        count = self.reconciler.sweep(self._session, now - reconcile.WINDOW, now)
        self._swept_at = now
        inbox.open(now)
        return count

    def close_inbox(self) -> None:
        """Sign out of the mailbox; never raises."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def interrupt(self) -> None:
        """End what the capturing thread waits for, so that it sees that the service is stopping."""
        session = self._session
        if session is not None:
            session.interrupt()

    def can_idle(self) -> bool:
        """Return whether the server tells of new mail by itself."""
        return self._config.idle and self._session is not None and self._session.can_idle

    def session_ends_at(self, now: datetime) -> datetime:
        """Return when a session begun *now* is to be replaced by a fresh one: before the server ends it."""
        token_ends_at = self._tokens.ends_at() if self._tokens else None
        if token_ends_at is None:
            return now + _SESSION_LIFE
        return max(now + _SHORTEST_SESSION, min(now + _SESSION_LIFE, token_ends_at - _BEFORE_TOKEN_ENDS))

    def _connect_smtp(self) -> SmtpSession:
        return self._signed_in(lambda: SmtpSession(smtp_account(self._config, self.desk, self._token)))

    def _signed_in(self, connect: Callable[[], _Session]) -> _Session:
        """Return what *connect* opens; a token that the server refuses is forgotten once, and fetched anew."""
        try:
            return connect()
        except Refused:
            if self._tokens is None:
                raise
            self._tokens.forget()
            return connect()
