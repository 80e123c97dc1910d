"""Known to be alive: what is wrong and since when, told by file, by HTTP on loopback and past the mailbox.

A trouble is told once when it has lasted for a while, at once when waiting will not mend it, and once when it is over.
What begins or ends together is one letter, and a trouble that comes and goes is told again only after half an hour:
never a stream (behaviour.md "Beyond the card").
"""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import prometheus_client
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from supportd import log

_log = log.get("health")

# A server that restarts is back sooner; what lasts longer wants a person.
TOLD_AFTER = timedelta(minutes=5)
# What was told is not told again within this time, however often it comes and goes.
_QUIET_AFTER = timedelta(minutes=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that is wrong: *what* names the part, *words* say how, *since* when, and from when on it is told."""

    what: str
    words: str
    since: datetime
    told_from: datetime


class Health:
    """What is wrong now.  *tell* mails a title and its lines by another way; *clock* reads the time."""

    def __init__(
        self,
        *,
        clock: Callable[[], datetime],
        file: Path | None = None,
        tell: Callable[[str, tuple[str, ...]], None] | None = None,
        ping_url: str | None = None,
    ) -> None:
        self._clock = clock
        self._file = file
        self._tell = tell
        self._ping_url = ping_url
        self._lock = threading.Lock()
        self._troubles: dict[str, Trouble] = {}
        self._told: set[str] = set()
        self._told_at: dict[str, datetime] = {}
        self._over: list[Trouble] = []
        self.progress: dict[str, datetime] = {}

    def trouble(self, what: str, words: str, *, will_pass: bool = True) -> None:
        """Record that *what* does not work; the first of a row keeps its time.

        It is told when it has lasted five minutes, and at the next tick where only a person can mend it.
        """
        with self._lock:
            now = self._clock()
            known = self._troubles.get(what)
            since = known.since if known else now
            told_from = since + TOLD_AFTER if will_pass else now
            if known is not None:
                told_from = min(told_from, known.told_from)
            self._troubles[what] = Trouble(what=what, words=words, since=since, told_from=told_from)

    def well(self, what: str) -> None:
        """Record that *what* works."""
        with self._lock:
            self.progress[what] = self._clock()
            trouble = self._troubles.pop(what, None)
            if trouble is not None and what in self._told:
                self._told.discard(what)
                self._over.append(trouble)

    def take_over(self, other: Health) -> None:
        """Go on from *other*, whose daemon was reloaded: what was told is not told again, and its end is."""
        with other._lock, self._lock:
            self._troubles |= other._troubles
            self._told |= other._told
            self._told_at |= other._told_at
            self._over += other._over

    def state(self) -> dict[str, Any]:
        """Return what the health file and ``/healthz`` show."""
        with self._lock:
            troubles = [
                {"what": one.what, "words": one.words, "since": one.since.isoformat()}
                for one in self._troubles.values()
            ]
            progress = {what: at.isoformat() for what, at in self.progress.items()}
        return {"ok": not troubles, "at": self._clock().isoformat(), "troubles": troubles, "progress": progress}

    def tick(self) -> None:
        """Write the health file, tell of troubles that last, and ping the dead man's switch while all is well."""
        state = self.state()
        if self._file is not None:
            partial = self._file.with_name(self._file.name + ".partial")
            try:
                partial.write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
                partial.replace(self._file)
            except OSError as error:
                _log.warning("health file", reason=str(error))
        self._tell_news()
        if self._ping_url is not None and state["ok"]:
            try:
                with urllib.request.urlopen(self._ping_url, timeout=10):  # noqa: S310 - https alone by configuration
                    pass
            except OSError as error:
                _log.warning("ping", reason=str(error))

    def _tell_news(self) -> None:
        """Tell, in one letter each, what is newly wrong and what is over."""
        with self._lock:
            now = self._clock()
            over, self._over = self._over, []
            new = [
                one
                for one in self._troubles.values()
                if one.told_from <= now
                and one.what not in self._told
                and now - self._told_at.get(one.what, datetime.min.replace(tzinfo=now.tzinfo)) >= _QUIET_AFTER
            ]
            self._told |= {one.what for one in new}
            self._told_at |= {one.what: now for one in new}
        if new:
            lines = tuple(f"{one.what}: since {one.since:%Y-%m-%d %H:%M} UTC: {one.words}" for one in new)
            self._say(f"{_listed(new)} {'does' if len(new) == 1 else 'do'} not work", lines)
        if over:
            lines = tuple(f"{one.what}: it did not since {one.since:%Y-%m-%d %H:%M} UTC: {one.words}" for one in over)
            self._say(f"{_listed(over)} {'works' if len(over) == 1 else 'work'} again", lines)

    def _say(self, title: str, lines: tuple[str, ...]) -> None:
        _log.error("health", title=title, lines=lines)
        if self._tell is None:
            return
        try:
            self._tell(title, lines)
        except Exception as error:  # noqa: BLE001 - the other way may be broken in any way; the journal has it all
            _log.error("health letter", reason=str(error))


def _listed(troubles: Sequence[Trouble]) -> str:
    return " and ".join(sorted(one.what for one in troubles))


class _Figures(Collector):
    """The figures for Prometheus, asked for when they are scraped."""

    def __init__(self, health: Health, count: Callable[[], Mapping[str, float]]) -> None:
        self._health = health
        self._count = count

    def collect(self) -> list[GaugeMetricFamily]:
        """Return every figure as a gauge."""
        found = []
        state = self._health.state()
        for name, value in {"up": float(state["ok"]), **self._count()}.items():
            gauge = GaugeMetricFamily(f"supportd_{name}", _MEANINGS.get(name, name.replace("_", " ")))
            gauge.add_metric([], value)
            found.append(gauge)
        return found


_MEANINGS = {
    "up": "1 while nothing is wrong",
    "tickets_live": "tickets that are new, open or waiting",
    "mails_undecided": "captured mails that wait for a decision",
    "mails_quarantined": "mails that wait for a person",
    "letters_waiting": "letters that wait to be sent",
    "letters_failed": "letters given up",
}


def serve(health: Health, count: Callable[[], Mapping[str, float]], host: str, port: int) -> ThreadingHTTPServer:
    """Return a server, already running, that answers ``/healthz`` and ``/metrics`` on loopback."""
    registry = CollectorRegistry()
    registry.register(_Figures(health, count))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/healthz":
                state = health.state()
                self._answer(200 if state["ok"] else 503, "application/json", json.dumps(state).encode())
            elif self.path == "/metrics":
                self._answer(200, prometheus_client.CONTENT_TYPE_LATEST, prometheus_client.generate_latest(registry))
            else:
                self._answer(404, "text/plain", b"/healthz or /metrics\n")

        def _answer(self, code: int, kind: str, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing: a scrape every few seconds is no news."""

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server
