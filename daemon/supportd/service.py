"""The composition root: wires every room, runs the threads, reads the clock, ends cleanly.

Threads: one capturing per mailbox (it holds the IDLE connection), one deciding, one sending per mailbox, and the clock
(reminders, digest, housekeeping).  APScheduler only ticks: each tick wakes a thread, what is due is a query, so a
restart or a week's sleep needs no special case.  A server that hangs holds up nobody but its own thread.
"""

from __future__ import annotations

import email.policy
import email.utils
import os
import random
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from supportd import failpoint, log, privacy
from supportd.accounts import server_account
from supportd.capture import Inbox
from supportd.config import Config, changes
from supportd.core.model import Mail, Unparseable
from supportd.db import keys as key_store
from supportd.db import ledger, letters, tickets
from supportd.db.engine import Database
from supportd.db.migrate import upgrade
from supportd.decide import MOST_ATTEMPTS
from supportd.errors import Overtaken, Refused, Unavailable, UserError
from supportd.health import Health, serve
from supportd.lease import RENEW_SECONDS
from supportd.outbox import Drained
from supportd.parsing import Reader, WorkerDied
from supportd.privacy import Ages
from supportd.smtp import SmtpSession
from supportd.station import Station

_log = log.get("service")

# After a lost connection: 1 s, doubled up to 30 s, so that service is back within a minute of the server's return.
_BACKOFF_SECONDS = (1, 2, 4, 8, 15, 30)
# A refused sign-in is tried seldom: more would lock the account.
_REFUSED_SECONDS = 60
# No thread waits longer than this without a sign of life, and the watchdog looks this often.
_LONGEST_WAIT_SECONDS = 50
_WATCH_SECONDS = 10
# Old data goes at this hour, local time: after midnight's backup, before anybody works.
_NIGHT_HOUR = 3
# Decided together: parsed on the second core while the first decides.
_DECIDE_AHEAD = 4
_DECIDE_BATCH = 200


def clock() -> datetime:
    """Return the time now, aware, in UTC: the only place but the command line where it is read."""
    return datetime.now(UTC)  # noqa: TID251 - this is the one reader of the clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What one pass did, by the names of interfaces.md."""

    fetched: int = 0
    tickets: int = 0
    replies: int = 0
    screened: int = 0
    duplicates: int = 0
    quarantined: int = 0
    sent: int = 0
    failed: int = 0


class Service:
    """The daemon: :meth:`run` until a signal, or :meth:`once` for one pass."""

    def __init__(self, config: Config, *, import_since: datetime | None = None) -> None:
        """Open the database, bring its schema up to date, and wire every mailbox.

        Raises:
            UserError: no mailbox is configured, or a secret cannot be found.
            Unavailable: the database cannot be reached.
        """
        if not config.mailboxes:
            raise UserError("mailboxes: none is configured; add one to the configuration file")
        self.config = config
        password = config.database.password
        self.database = Database(
            config.database_url, password.reveal("database password", config.folder) if password else None
        )
        try:
            upgrade(self.database)
            self.database.require_durability()
        except BaseException:
            self.database.close()
            raise
        with self.database.write() as connection:
            self.keys = key_store.load(connection, clock(), secrets.token_bytes)
            first_key = key_store.first(connection)
        # An older backup may have brought back whom a person asked to be erased.
        privacy.erase_again(self.database, first_key, clock())
        self.stations = [
            Station(
                config,
                desk,
                self.database,
                self.keys,
                clock=clock,
                read_header=self.read_header,
                import_since=import_since,
            )
            for desk in config.desks
        ]
        self._reader: Reader | None = None
        self._reader_lock = threading.Lock()
        self._reload: Config | None = None
        self._stop = threading.Event()
        self._work = threading.Event()  # something was captured
        self._letters = threading.Event()  # something was queued
        self._decided = threading.Event()
        self._tick = threading.Event()
        self._failure: BaseException | None = None
        self._beats: dict[str, float] = {}
        section = config.health
        self.health = Health(
            clock=clock,
            file=config.beside(section.file),
            tell=self._tell_another_way if section.alert_to else None,
            ping_url=section.ping_url,
        )

    # -- one pass ---------------------------------------------------------------------------------------------------

    def once(self) -> Summary:
        """Capture and decide until every folder is drained, remind, digest if due, drain the outbox.

        Raises:
            Unavailable: a server cannot be reached; what was done before stays.
            Refused: a server does not accept the sign-in.
        """
        with self.database.read() as connection:
            before = ledger.newest(connection)
        fetched = 0
        for station in self.stations:
            if not station.lease.take(clock()):
                raise UserError(
                    f"another daemon serves the mailbox {station.desk.name}; stop it first, or let it do the work"
                )
            station.outbox.recover()
            inbox = station.open_inbox()
            try:
                fetched += station.sweep(inbox, clock())
                while True:
                    captured = inbox.capture(clock())
                    fetched += captured
                    self._decide_all()
                    moved = inbox.file(clock())
                    if not captured and not moved:
                        break
                station.look_into_sent(inbox, clock())
            finally:
                station.close_inbox()
        sent = failed = 0
        for station in self.stations:
            station.reminder.recount_if_changed(clock())
            station.reminder.tick(clock())
            drained = self._drain_patiently(station)
            sent += drained.sent
            failed += drained.failed
        with self.database.read() as connection:
            verdicts = ledger.verdict_counts(connection, [one.mailbox_id for one in self.stations], before)
        return Summary(
            fetched=fetched,
            tickets=verdicts.get("ticket", 0),
            replies=verdicts.get("reply", 0) + verdicts.get("command", 0),
            screened=verdicts.get("screened", 0),
            duplicates=verdicts.get("duplicate", 0),
            quarantined=verdicts.get("quarantined", 0),
            sent=sent,
            failed=failed,
        )

    def close(self) -> None:
        """Close connections, workers and the database; never raises."""
        for station in self.stations:
            station.close_inbox()
            station.outbox.close()
            station.lease.release()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self.database.close()

    def _drain_patiently(self, station: Station) -> Drained:
        """Drain the outbox; the provider's rate makes one pass wait for its turn, a refused letter does not."""
        sent = failed = 0
        while True:
            drained = station.outbox.drain(self._stop.is_set)
            sent += drained.sent
            failed += drained.failed
            if not station.outbox.is_paced or self._stop.wait(0.2):
                return Drained(sent=sent, failed=failed)

    # -- the daemon -------------------------------------------------------------------------------------------------

    def run(self, read_config: Callable[[], Config]) -> Config | None:
        """Serve until SIGTERM or SIGINT, and return None within ten seconds of it.

        At SIGHUP *read_config* is called: a configuration with problems is logged and the good one stays in force; a
        good one ends this service, whole, and is returned for the next.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        signal.signal(signal.SIGHUP, lambda *_: self._reread(read_config))
        for station in self.stations:
            station.outbox.recover()
            station.reminder.recount_if_changed(clock())
        scheduler = self._scheduler()
        loops: list[tuple[str, Callable[[], None]]] = [("decide", self._decide_loop), ("clock", self._clock_loop)]
        for station in self.stations:
            loops.append((f"capture {station.desk.name}", self._guarded(self._capture_loop, station)))
            loops.append((f"send {station.desk.name}", self._guarded(self._send_loop, station)))
        threads = [threading.Thread(target=self._watched(loop), name=name, daemon=True) for name, loop in loops]
        names = [name for name, _ in loops]
        for name in names:
            self._beat(name)
        self._work.set()
        for thread in threads:
            thread.start()
        scheduler.start()
        _log.info("started", mailboxes=len(self.stations), pid=os.getpid())
        notify("READY=1")
        listener = None
        if self.config.health.listen is not None:
            host, _, port = self.config.health.listen.rpartition(":")
            listener = serve(self.health, self._figures, host, int(port))
        self._watch(names)
        if listener is not None:
            listener.shutdown()
            listener.server_close()
        if self._reload is None:
            notify("STOPPING=1")
        scheduler.shutdown(wait=False)
        for event in (self._work, self._letters, self._decided, self._tick):
            event.set()
        for station in self.stations:
            station.interrupt()
        deadline = time.monotonic() + 8
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.close()
        _log.info("stopped")
        if self._failure is not None:
            raise self._failure
        return self._reload

    def _reread(self, read_config: Callable[[], Config]) -> None:
        try:
            self._reload = read_config()
        except UserError as error:
            _log.error("configuration refused", problems=error.problems)
            return
        changed = changes(self.config, self._reload)
        notify("RELOADING=1\nMONOTONIC_USEC=" + str(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000))
        _log.info("configuration reloaded", changed=changed)
        self._stop.set()

    def _tell_another_way(self, title: str, lines: tuple[str, ...]) -> None:
        """Mail a trouble of the service past the mailbox that may be the trouble."""
        section = self.config.health
        assert section.alert_smtp is not None
        assert section.alert_to is not None
        assert section.alert_from is not None
        message = EmailMessage(policy=email.policy.SMTP)
        message["From"], message["To"] = section.alert_from, section.alert_to
        message["Subject"] = f"supportd: {title}"
        message["Date"] = email.utils.format_datetime(clock())
        domain = section.alert_from.rpartition("@")[2]
        message["Message-ID"] = email.utils.make_msgid(domain=domain)
        message["Auto-Submitted"] = "auto-generated"
        message.set_content("\n".join((*lines, "", "What to do: supportd check")) + "\n")
        session = SmtpSession(server_account(self.config, section.alert_smtp, domain))
        try:
            session.send(section.alert_from, section.alert_to, bytes(message))
        finally:
            session.close()

    def _figures(self) -> dict[str, float]:
        """Return the figures that ``/metrics`` shows."""
        with self.database.read() as connection:
            states = letters.counts(connection)
            found = {
                "letters_waiting": states.get("pending", 0) + states.get("sending", 0),
                "letters_failed": states.get("failed", 0) + states.get("uncertain", 0),
                "mails_undecided": 0.0,
                "mails_quarantined": 0.0,
                "tickets_live": 0.0,
            }
            for station in self.stations:
                found["tickets_live"] += tickets.count_live(connection, station.mailbox_id)
                found["mails_undecided"] += len(ledger.undecided(connection, station.mailbox_id, limit=100_000))
                found["mails_quarantined"] += len(ledger.quarantined(connection, station.mailbox_id))
        return found

    def _watch(self, names: Sequence[str]) -> None:
        """Feed systemd's watchdog while every thread makes progress; a wedged one is left to it (OP10)."""
        watchdog = watchdog_seconds()
        while not self._stop.wait(min(_WATCH_SECONDS, watchdog / 4)):
            now = time.monotonic()
            wedged = [name for name in names if now - self._beats[name] > _patience(name, watchdog)]
            if not wedged:
                notify("WATCHDOG=1")
                self.health.well("threads")
            else:
                self.health.trouble("threads", f"no progress: {', '.join(wedged)}")
                _log.error("wedged", threads=wedged)
            self._look_at_breaker()
            self.health.tick()

    def _look_at_breaker(self) -> None:
        """Record whether the breaker holds letters back: it may not say so by mail."""
        try:
            with self.database.read() as connection:
                held = letters.breaker(connection)
        except Unavailable as error:
            self.health.trouble("database", str(error))
            return
        self.health.well("database")
        if held:
            words = f"the breaker holds back {held} mail; find out why, then: supportd outbox resume"
            self.health.trouble("outbox", words, will_pass=False)
        else:
            self.health.well("outbox")

    def _beat(self, name: str) -> None:
        """Record that the thread *name* makes progress."""
        self._beats[name] = time.monotonic()

    def _renew_leases(self) -> None:
        for station in self.stations:
            if station.lease.is_held:
                try:
                    if not station.lease.take(clock()):
                        _log.warning("lease lost", mailbox=station.desk.name)
                        station.interrupt()
                except Unavailable as error:
                    _log.warning("unavailable", reason=str(error))

    def _scheduler(self) -> BackgroundScheduler:
        scheduler = BackgroundScheduler(
            timezone="UTC",
            executors={"default": ThreadPoolExecutor(3)},
            # A tick that was missed is no reason for two: the query finds all that is due.
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        for name, seconds, wake in (
            ("decide", 5, self._work),
            ("outbox", 5, self._letters),
            ("clock", 15, self._tick),
        ):
            scheduler.add_job(wake.set, IntervalTrigger(seconds=seconds, timezone="UTC"), id=name)
        scheduler.add_job(self._renew_leases, IntervalTrigger(seconds=RENEW_SECONDS, timezone="UTC"), id="lease")
        return scheduler

    def _watched(self, loop: Callable[[], None]) -> Callable[[], None]:
        """Return *loop* so that a defect in it stops the daemon, for systemd to start it anew."""

        def body() -> None:
            try:
                loop()
            except BaseException as error:  # noqa: BLE001 - whatever it is, a silent thread would be worse
                _log.exception("thread died", thread=threading.current_thread().name)
                self._failure = error
                self._stop.set()

        return body

    def _guarded(self, loop: Callable[[Station], None], station: Station) -> Callable[[], None]:
        """Return *loop* for *station*, begun again after every lost connection, ever more slowly."""

        def body() -> None:
            failures = 0
            while not self._stop.is_set():
                started = time.monotonic()
                try:
                    loop(station)
                except Unavailable as error:
                    if self._stop.is_set():
                        return
                    self._beat(threading.current_thread().name)
                    self.health.trouble(threading.current_thread().name, str(error))
                    # A connection that served for a while starts the back-off anew.
                    failures = 0 if time.monotonic() - started > 60 else failures
                    longest = _BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)]
                    wait = longest * random.uniform(0.8, 1.0)  # noqa: S311 - not a secret
                    failures += 1
                    where = station.desk.name
                    _log.warning("unavailable", mailbox=where, reason=str(error), wait_seconds=round(wait, 1))
                    self._stop.wait(wait)
                except (Refused, UserError) as error:
                    self._beat(threading.current_thread().name)
                    self.health.trouble(threading.current_thread().name, str(error), will_pass=False)
                    _log.error("refused", mailbox=station.desk.name, reason=str(error), wait_seconds=_REFUSED_SECONDS)
                    self._stop.wait(_REFUSED_SECONDS)

        return body

    def _capture_loop(self, station: Station) -> None:
        while not station.lease.take(clock()):
            self._beat(f"capture {station.desk.name}")
            if self._stop.wait(RENEW_SECONDS / 2):
                return
        inbox = station.open_inbox()
        ends_at = station.session_ends_at(clock())
        try:
            while not self._stop.is_set() and clock() < ends_at and station.lease.is_held:
                self._beat(f"capture {station.desk.name}")
                if station.sweep(inbox, clock()) + inbox.capture(clock()):
                    self._work.set()
                self._file(station, inbox)
                self.health.well(f"capture {station.desk.name}")
                station.look_into_sent(inbox, clock())
                if self._stop.is_set():
                    return
                # A look at least this often, and often enough for the watchdog.
                seconds = min(self.config.poll_seconds, _LONGEST_WAIT_SECONDS)
                if station.can_idle():
                    inbox.wait(seconds)
                else:
                    self._stop.wait(seconds)
        finally:
            station.close_inbox()

    def _file(self, station: Station, inbox: Inbox) -> None:
        """File what was decided; while decisions are under way, wait for them rather than for new mail."""
        while not self._stop.is_set():
            self._beat(f"capture {station.desk.name}")
            self._decided.clear()
            inbox.file(clock())
            with self.database.read() as connection:
                is_drained = not ledger.undecided(connection, station.mailbox_id, limit=1)
            if is_drained:
                inbox.file(clock())
                self._tell_of_filing(station, inbox)
                return
            self._decided.wait(1)
            if inbox.capture(clock()):
                self._work.set()

    def _tell_of_filing(self, station: Station, inbox: Inbox) -> None:
        what = f"filing {station.desk.name}"
        if inbox.declined:
            self.health.trouble(what, inbox.declined)
        else:
            self.health.well(what)

    def _decide_loop(self) -> None:
        while not self._stop.is_set():
            self._work.wait()
            self._work.clear()
            self._beat("decide")
            try:
                self._decide_all()
            except Unavailable as error:
                _log.warning("unavailable", reason=str(error))
                self._stop.wait(2)
                self._work.set()

    def _send_loop(self, station: Station) -> None:
        try:
            while not self._stop.is_set():
                self._beat(f"send {station.desk.name}")
                station.outbox.drain(self._stop.is_set)
                self.health.well(f"send {station.desk.name}")
                self._letters.wait(0.2 if station.outbox.is_paced else 5)
                self._letters.clear()
        finally:
            station.outbox.close()

    def _clock_loop(self) -> None:
        while not self._stop.is_set():
            self._tick.wait()
            self._tick.clear()
            self._beat("clock")
            for station in self.stations:
                if self._stop.is_set():
                    return
                try:
                    # One daemon alone reminds; unique keys only guard the moment of a take-over.
                    if station.lease.is_held and station.reminder.tick(clock()):
                        self._letters.set()
                    if station.lease.is_held:
                        self._clean_up(station)
                except Unavailable as error:
                    _log.warning("unavailable", reason=str(error))

    def _clean_up(self, station: Station) -> None:
        """Take out what is older than its age, once a night, when nobody waits for the database."""
        now = clock()
        local = station.desk.hours.local(now)
        if local.hour != _NIGHT_HOUR:
            return
        with self.database.write() as connection:
            day = local.date().isoformat()
            if not tickets.reserve_slot(connection, station.mailbox_id, "retention", day, now, "done"):
                return
        privacy.apply(self.database, ages(self.config), self.config.retention.legal_hold, now)

    # -- deciding ---------------------------------------------------------------------------------------------------

    def _decide_all(self) -> None:
        """Decide every captured message, oldest first; a few are parsed ahead while one is decided."""
        for station in self.stations:
            while not self._stop.is_set() and station.lease.is_held and station.lease.take(clock()):
                with self.database.read() as connection:
                    numbers = ledger.undecided(connection, station.mailbox_id, limit=_DECIDE_BATCH)
                if not numbers:
                    break
                self._decide_batch(station, numbers)

    def _decide_batch(self, station: Station, numbers: list[int]) -> None:
        with self.database.write() as connection:
            station.lease.confirm(connection)
            ledger.count_attempt(connection, numbers)
            failpoint.hit("decide.counting")
        failpoint.hit("decide.counted")
        ahead: list[tuple[ledger.Row, Future[Mail | Unparseable]]] = []
        waiting = list(numbers)
        while (waiting or ahead) and not self._stop.is_set():
            while waiting and len(ahead) < _DECIDE_AHEAD:
                number = waiting.pop(0)
                with self.database.read() as connection:
                    row = ledger.load(connection, number)
                if row is not None:
                    ahead.append((row, self._submit(row)))
            if ahead:
                self._beat("decide")
                self._decide_one(station, *ahead.pop(0))
            self._decided.set()
            self._letters.set()

    def read_header(self, header: bytes, size: int) -> Mail | Unparseable:
        """Return the Mail that the header block *header* of a message of *size* bytes gives."""
        try:
            return self._workers().submit_envelope(header, size).result()
        except WorkerDied as error:
            return Unparseable(reason=str(error))

    def _submit(self, row: ledger.Row) -> Future[Mail | Unparseable]:
        reader = self._workers()
        return reader.submit_envelope(row.data, row.size) if row.oversize else reader.submit(row.data)

    def _workers(self) -> Reader:
        """Return the worker processes, started when the first mail wants reading."""
        with self._reader_lock:
            if self._reader is None:
                self._reader = Reader(message_bytes=self.config.limits.message_megabytes * 1_000_000)
            return self._reader

    def _decide_one(self, station: Station, row: ledger.Row, future: Future[Mail | Unparseable]) -> None:
        try:
            reading = future.result()
        except WorkerDied as error:
            # Workers that we ended ourselves say nothing of the mail.
            if row.attempts >= MOST_ATTEMPTS and not self._stop.is_set():
                station.decider.quarantine(row, f"its reader died {row.attempts} times: {error}", clock())
            return
        try:
            station.decider.decide(row, reading, clock())
        except Exception as error:
            # Another daemon may be faster once; a row that never fits is this mail's own fault.
            if isinstance(error, Unavailable) and not isinstance(error, Overtaken):
                raise
            # One message fails alone: it is tried three times and then kept for a person (I9).
            _log.exception("decision failed", ledger=row.id, attempt=row.attempts)
            if row.attempts >= MOST_ATTEMPTS:
                station.decider.quarantine(row, f"could not be handled: {type(error).__name__}", clock())


def ages(config: Config) -> Ages:
    """Return the ages of the configuration, for `privacy.apply`."""
    section = config.retention
    return Ages(
        raw=section.raw,
        screened=section.screened,
        attachments=section.attachments,
        text=section.text,
        security=section.security,
    )


def _patience(name: str, watchdog: float) -> float:
    """Return after how many seconds without progress the thread *name* is wedged."""
    # A sender may wait ten minutes for the reply to a final dot (RFC 5321 4.5.3.2.6); for the others systemd, which
    # waits for *watchdog* seconds more, makes it less than twice what it was told.
    return 660 if name.startswith("send ") else 0.75 * watchdog


def watchdog_seconds() -> float:
    """Return how long systemd waits for a sign of life (sd_watchdog_enabled(3)); 120 where nobody waits."""
    try:
        return int(os.environ.get("WATCHDOG_USEC", "")) / 1_000_000
    except ValueError:
        return 120.0


def notify(state: str) -> None:
    """Tell systemd *state* (sd_notify(3)); nothing happens where nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.sendall(state.encode())
