"""Letters -> SMTP: each tried, retried and given up on its own (reliability.md 3.2, T1 to T4).

1. T1  claim: state ``sending``, one attempt more, stage ``connect``, committed.
2. T2  a failure up to the server's 354 is "certainly not sent": back to pending, later.
3. T3  stage ``data`` is committed, then the bytes go out.
4. T4  250: sent.  4yz: later.  5yz: failed, noted on its ticket.  No reply: in doubt; the same bytes again after
   a while, twice at most, then ``uncertain`` and a person is told.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from supportd import failpoint, log
from supportd.core.model import Event, EventKind
from supportd.db import letters, tickets
from supportd.db.engine import Connection, Database
from supportd.db.letters import Claimed, LetterState
from supportd.errors import Doubtful, Refused, Unavailable
from supportd.lease import is_dead, owner_name

if TYPE_CHECKING:
    from supportd.smtp import SmtpSession

_log = log.get("outbox")

# Minutes until the next attempt; the last repeats until five days have passed (SM01).
_BACKOFF_MINUTES = (1, 2, 5, 15, 30, 60)
_GIVE_UP_AFTER = timedelta(days=5)
# After a connection that broke before the letter was handed over; the server is asked again as soon as it is back.
_LOST_WAIT = timedelta(seconds=5)
# A doubtful letter is sent again at most this often: three copies at the very most (I6).
_MOST_DOUBTS = 2
# A claimed letter that is not being handed over yet is another daemon's after this long, should we be dead or slow.
_CLAIM_LEASE = timedelta(seconds=30)
# One that is being handed over: longer than the ten minutes that we wait for the reply to the final dot.
_DATA_LEASE = timedelta(minutes=15)
# Claimed at once: enough to group the commit, few enough that a slow server holds up no urgent letter for long.
_CLAIM = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """What one pass did: letters sent, and letters given up."""

    sent: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerLimits:
    """When the circuit breaker stops automatic mail: letters sent within ten minutes (behaviour.md "Caps")."""

    automatic: int
    everything: int


class Outbox:
    """The outbox of one mailbox.  *connect* opens a signed-in SMTP session, *clock* reads the time."""

    def __init__(
        self,
        database: Database,
        *,
        mailbox_id: int,
        connect: Callable[[], SmtpSession],
        clock: Callable[[], datetime],
        per_minute: int,
        doubt_wait: timedelta,
        breaker: BreakerLimits,
    ) -> None:
        self._database = database
        self._mailbox_id = mailbox_id
        self._connect = connect
        self._clock = clock
        self._interval = timedelta(minutes=1) / per_minute
        self._per_minute = per_minute
        self._next_at: datetime | None = None
        self._doubt_wait = doubt_wait
        self._breaker = breaker
        self._session: SmtpSession | None = None
        # Whether the last pass ended because the provider's rate allows no letter yet.
        self.is_paced = False
        self.owner = owner_name()
        # What the server has accepted and the database could not be told yet: (letter, reply).
        self._accepted: list[tuple[int, str]] = []
        self._is_interrupted = False

    def recover(self) -> None:
        """Take over letters whose sender on this host is dead, and those of a pass of ours that was cut short.

        Raises:
            Unavailable: the database cannot be reached.
        """
        now = self._clock()
        with self._database.write() as connection:
            for owner in letters.owners(connection, self._mailbox_id):
                if is_dead(owner) or owner == self.owner:
                    letters.release(connection, owner, now)

    def drain(self, is_stopping: Callable[[], bool]) -> Drained:
        """Send every letter that is due and return what was done.

        Raises:
            Unavailable: the server or the database cannot be reached; nothing is lost.
            Refused: the server does not accept our sign-in.
        """
        self.is_paced = False
        # Between 250 and its record the database may fail and we live: then nobody need doubt.
        self._record_accepted()
        if self._is_interrupted:
            self.recover()
        self._is_interrupted = True
        drained = self._drain(is_stopping)
        self._is_interrupted = False
        return drained

    def _drain(self, is_stopping: Callable[[], bool]) -> Drained:
        sent = failed = 0
        self._settle_doubts()
        while not is_stopping():
            batch = self._claim()
            if not batch:
                break
            while batch:
                if is_stopping() or not self._may_send():
                    self.is_paced = not is_stopping()
                    self._give_back(batch)
                    return Drained(sent=sent, failed=failed)
                one = batch.pop(0)
                try:
                    session = self._live_session()
                except (Unavailable, Refused):
                    self._give_back([one, *batch])
                    raise
                try:
                    outcome = self._send(session, one)
                except Unavailable:
                    self._give_back(batch)
                    raise
                sent += outcome is LetterState.SENT
                failed += outcome is LetterState.FAILED
        return Drained(sent=sent, failed=failed)

    def close(self) -> None:
        """Close the connection and end our leases, so that what was under way is settled soon; never raises."""
        self._drop_session()
        try:
            self._record_accepted()
            with self._database.write() as connection:
                letters.release(connection, self.owner, self._clock())
        except Unavailable as error:
            _log.warning("leases end by themselves", reason=str(error))

    def _claim(self) -> list[Claimed]:
        now = self._clock()
        with self._database.read() as connection:
            if letters.next_due(connection, self._mailbox_id, now) is None:
                return []
        with self._database.write() as connection:
            held = self._held_kinds(connection, now)
            if held is None:
                return []
            claimed = letters.claim(
                connection, self._mailbox_id, self.owner, now, limit=_CLAIM, lease=_CLAIM_LEASE, except_kinds=held
            )
            failpoint.hit("outbox.claiming")
        failpoint.hit("outbox.claimed")
        return claimed

    def _held_kinds(self, connection: Connection, now: datetime) -> tuple[str, ...] | None:
        """Return the kinds that the breaker holds back, or None when it holds back everything."""
        state = letters.breaker(connection)
        if state != "all":
            since = max(now - timedelta(minutes=10), letters.breaker_reset_at(connection))
            count = letters.sent_since(connection, since)
            wanted = ""
            if count >= self._breaker.automatic:
                wanted = "all" if count >= self._breaker.everything else "automatic"
            if wanted and wanted != state:
                letters.trip_breaker(connection, wanted)
                _log.error("breaker", holds=wanted, sent_in_10_minutes=count, cure="supportd outbox resume")
                state = wanted
        if state == "all":
            return None
        return letters.AUTOMATIC_KINDS if state == "automatic" else ()

    def _send(self, session: SmtpSession, one: Claimed) -> LetterState:
        fields = {"letter": one.id, "kind": one.kind, "ticket_id": one.ticket_id, "attempt": one.attempts}

        def entering_data() -> None:
            failpoint.hit("outbox.accepted-recipient")
            with self._database.write() as connection:
                if not letters.enter_data(connection, one.id, self.owner, self._clock() + _DATA_LEASE):
                    raise Unavailable("another daemon has this letter")
            failpoint.hit("outbox.entered-data")

        failpoint.hit("outbox.sending")
        try:
            reply = session.send(one.envelope_from, one.recipient, one.data, entering_data=entering_data)
        except Refused as error:
            self._end(one, LetterState.FAILED, str(error))
            _log.warning("letter", outcome="failed", reply=str(error), **fields)
            return LetterState.FAILED
        except Doubtful as error:
            self._drop_session()
            self._doubt(one.id, self.owner, one.doubts, one.ticket_id, str(error))
            _log.warning("letter", outcome="in doubt", reply=str(error), **fields)
            return LetterState.UNCERTAIN
        except Unavailable as error:
            return self._later(one, str(error), fields)
        # From the server's 250 to this commit lies the one window in which a death makes a second copy (R6).
        failpoint.hit("outbox.accepted")
        self._accepted.append((one.id, reply))
        self._record_accepted()
        failpoint.hit("outbox.recorded")
        _log.info("letter", outcome="sent", reply=reply, **fields)
        return LetterState.SENT

    def _record_accepted(self) -> None:
        if self._accepted:
            with self._database.write() as connection:
                for number, reply in self._accepted:
                    letters.sent(connection, number, reply, self._clock())
                failpoint.hit("outbox.recording")
            self._accepted.clear()

    def _later(self, one: Claimed, words: str, fields: dict[str, object]) -> LetterState:
        now = self._clock()
        if now - one.queued_at > _GIVE_UP_AFTER:
            self._end(one, LetterState.FAILED, f"given up after five days: {words}")
            _log.warning("letter", outcome="failed", reply=words, **fields)
            return LetterState.FAILED
        is_lost = self._session is not None and not self._session.is_alive()
        if is_lost:
            self._drop_session()
        minutes = _BACKOFF_MINUTES[min(one.attempts, len(_BACKOFF_MINUTES)) - 1]
        # Jitter, so that a hundred letters refused together do not come back together.
        wait = timedelta(minutes=minutes * random.uniform(0.8, 1.2))  # noqa: S311 - not a secret
        if is_lost and one.attempts == 1:
            # A broken connection says something of the letter only when it breaks again.
            wait = _LOST_WAIT
        with self._database.write() as connection:
            letters.again(connection, one.id, self.owner, words, now + wait)
            failpoint.hit("outbox.postponing")
        _log.info("letter", outcome="later", reply=words, wait_seconds=round(wait.total_seconds()), **fields)
        return LetterState.PENDING

    def _end(self, one: Claimed, state: LetterState, words: str) -> None:
        with self._database.write() as connection:
            if letters.end(connection, one.id, self.owner, state, words):
                self._note_failure(connection, one.ticket_id, one.kind, one.recipient, words)
            failpoint.hit("outbox.giving-up")

    def _note_failure(
        self, connection: Connection, ticket_id: int | None, kind: str, recipient: str, words: str
    ) -> None:
        if ticket_id is not None:
            details = (("kind", kind), ("recipient", recipient), ("reply", words))
            failed = Event(kind=EventKind.FAILED, at=self._clock(), by="supportd", way="daemon", details=details)
            tickets.append(connection, ticket_id, failed)

    def _settle_doubts(self) -> None:
        """Decide what to do with letters whose sender died between DATA and its record."""
        with self._database.read() as connection:
            owners = letters.owners(connection, self._mailbox_id)
        if any(is_dead(owner) for owner in owners):
            self.recover()
        with self._database.read() as connection:
            dead = letters.died_in_data(connection, self._mailbox_id, self._clock())
        for one in dead:
            self._doubt(one.id, one.owner, one.doubts, one.ticket_id, "the daemon died while it handed the letter over")

    def _doubt(self, number: int, owner: str, doubts: int, ticket_id: int | None, words: str) -> None:
        """Put a letter of *owner* off that may have been accepted, or give it up; another daemon may be faster."""
        with self._database.write() as connection:
            if doubts < _MOST_DOUBTS:
                letters.doubt(connection, number, owner, words, self._clock() + self._doubt_wait)
            elif letters.end(connection, number, owner, LetterState.UNCERTAIN, words):
                self._note_failure(connection, ticket_id, "letter", "", f"may or may not have arrived: {words}")
            failpoint.hit("outbox.doubting")

    def _give_back(self, batch: list[Claimed]) -> None:
        if batch:
            with self._database.write() as connection:
                letters.unclaim(connection, [one.id for one in batch], self.owner)

    def _may_send(self) -> bool:
        """Return whether the provider's rate allows a letter now: a burst of a minute's worth, then evenly."""
        now = self._clock()
        earliest = now - timedelta(minutes=1)
        start = max(self._next_at or earliest, earliest)
        if start > now:
            return False
        self._next_at = start + self._interval
        return True

    def _live_session(self) -> SmtpSession:
        if self._session is None:
            self._session = self._connect()
        return self._session

    def _drop_session(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
