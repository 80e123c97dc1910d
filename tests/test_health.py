"""Known to be alive: the health file, /healthz and /metrics, letters past the mailbox, the watchdog, and reloads."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from servers import HOST, free_ports, wait_until
from servers.dovecot import Dovecot
from servers.house import SUPPORT, House
from servers.postfix import Postfix
from supportd import config
from supportd.health import Health, serve

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Day:
    """A day that passes as told, the letters that health wrote on it, and the health itself."""

    def __init__(self, folder: Path, ping_url: str | None = None) -> None:
        self.now = NOON
        self.letters: list[tuple[str, tuple[str, ...]]] = []
        self.file = folder / "health.json"
        self.health = Health(
            clock=lambda: self.now,
            file=self.file,
            tell=lambda title, lines: self.letters.append((title, lines)),
            ping_url=ping_url,
        )

    def pass_minutes(self, minutes: int) -> None:
        """Let time pass, with a tick each minute."""
        for _ in range(minutes):
            self.now += MINUTE
            self.health.tick()


@pytest.fixture
def day(tmp_path: Path) -> Day:
    return Day(tmp_path)


def test_a_trouble_that_lasts_is_told_once_and_once_when_it_is_over(day: Day) -> None:
    day.health.trouble("capture support", "imap mail.example:993: timed out")
    day.pass_minutes(4)
    early = list(day.letters)
    for _ in range(60):
        day.health.trouble("capture support", "imap mail.example:993: timed out")
        day.pass_minutes(1)
    broken = list(day.letters)
    day.health.well("capture support")
    day.pass_minutes(60)

    assert early == []
    assert [title for title, _ in broken] == ["capture support does not work"]
    assert "since 2026-11-24 12:00 UTC: imap mail.example:993: timed out" in broken[0][1][0]
    assert [title for title, _ in day.letters[1:]] == ["capture support works again"]


def test_a_trouble_that_passes_by_itself_is_not_told(day: Day) -> None:
    for _ in range(50):
        day.health.trouble("send support", "smtp: 421 try later")
        day.pass_minutes(3)
        day.health.well("send support")
        day.pass_minutes(3)

    assert day.letters == []


def test_what_waiting_does_not_mend_is_told_at_once(day: Day) -> None:
    day.health.trouble("capture support", "oauth: the secret is expired", will_pass=False)

    day.health.tick()

    assert [title for title, _ in day.letters] == ["capture support does not work"]


def test_what_breaks_and_recovers_together_is_one_letter_each(day: Day) -> None:
    for what in ("capture support", "send support"):
        day.health.trouble(what, "oauth: the secret is expired", will_pass=False)
    day.health.tick()
    for what in ("capture support", "send support"):
        day.health.well(what)
    day.health.tick()

    assert [title for title, _ in day.letters] == [
        "capture support and send support do not work",
        "capture support and send support work again",
    ]
    assert len(day.letters[0][1]) == 2


def test_a_reload_neither_tells_again_nor_forgets_the_end(day: Day, tmp_path: Path) -> None:
    day.health.trouble("capture support", "oauth: the secret is expired", will_pass=False)
    day.health.tick()
    after = Day(tmp_path)
    after.now = day.now

    after.health.take_over(day.health)
    after.health.trouble("capture support", "oauth: the secret is expired", will_pass=False)
    after.pass_minutes(10)
    again = list(after.letters)
    after.health.well("capture support")
    after.health.tick()

    assert again == []
    assert [title for title, _ in after.letters] == ["capture support works again"]


def test_a_trouble_that_comes_and_goes_is_no_stream(day: Day) -> None:
    for _ in range(60):
        day.health.trouble("send support", "smtp: refused", will_pass=False)
        day.pass_minutes(1)
        day.health.well("send support")
        day.pass_minutes(1)

    # Two hours, a telling every half hour at most, each with its end.
    assert 2 <= len(day.letters) <= 2 * 4


def test_a_letter_that_cannot_be_sent_stops_nothing(tmp_path: Path) -> None:
    def fail(title: str, lines: tuple[str, ...]) -> None:
        raise OSError("no route")

    health = Health(clock=lambda: NOON, file=tmp_path / "health.json", tell=fail)
    health.trouble("send support", "smtp: refused", will_pass=False)

    health.tick()

    assert not json.loads((tmp_path / "health.json").read_text())["ok"]


def test_the_health_file_says_what_is_wrong_and_since_when(day: Day) -> None:
    day.health.well("send support")
    day.health.trouble("capture support", "imap: timed out")

    day.pass_minutes(1)

    written = json.loads(day.file.read_text())
    assert written["ok"] is False
    assert written["troubles"] == [{"what": "capture support", "words": "imap: timed out", "since": NOON.isoformat()}]
    assert written["progress"] == {"send support": NOON.isoformat()}
    assert written["at"] == (NOON + MINUTE).isoformat()


def test_healthz_and_metrics_answer_on_loopback(day: Day) -> None:
    [port] = free_ports(1)
    server = serve(day.health, lambda: {"tickets_live": 3, "letters_waiting": 2}, HOST, port)
    try:
        well = get(f"http://{HOST}:{port}/healthz")
        day.health.trouble("send support", "smtp: refused")
        ill = get(f"http://{HOST}:{port}/healthz")
        metrics = get(f"http://{HOST}:{port}/metrics")
        other = get(f"http://{HOST}:{port}/")
    finally:
        server.shutdown()
        server.server_close()

    assert (well[0], json.loads(well[1])["ok"]) == (200, True)
    assert (ill[0], json.loads(ill[1])["troubles"][0]["words"]) == (503, "smtp: refused")
    assert metrics[0] == 200
    assert "supportd_up 0.0" in metrics[1]
    assert "supportd_tickets_live 3.0" in metrics[1]
    assert "# HELP supportd_letters_waiting letters that wait to be sent" in metrics[1]
    assert other[0] == 404


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_dead_mans_switch_is_pinged_while_all_is_well_and_not_otherwise(tmp_path: Path) -> None:
    pings: list[str] = []

    class Switch(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            pings.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    [port] = free_ports(1)
    server = ThreadingHTTPServer((HOST, port), Switch)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    day = Day(tmp_path, ping_url=f"http://{HOST}:{port}/ping/1")
    try:
        day.health.tick()
        day.health.trouble("send support", "smtp: refused")
        day.health.tick()
        day.health.well("send support")
        day.health.tick()
    finally:
        server.shutdown()
        server.server_close()
    # Nobody listens any more: that is logged, and stops nothing.
    day.health.tick()

    assert pings == ["/ping/1"] * 2


# The daemon under systemd


# Three quarters of it are longer than the longest pause between two signs of life, the clock's 15 seconds.
WATCHDOG_SECONDS = 24
PLACES = {"capture": "capture.listed", "decide": "decide.read", "clock": "remind.tick", "nobody": "no.such.place"}


class Systemd:
    """Listens as systemd does behind $NOTIFY_SOCKET, and knows when it heard what."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self.heard: list[tuple[float, str]] = []
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._channel.bind(self.address)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                text = self._channel.recv(4096).decode()
            except OSError:
                return
            self.heard.append((time.monotonic(), text))

    def count(self, text: str) -> int:
        return sum(one.startswith(text) for _, one in self.heard)

    def silence_seconds(self) -> float:
        """Return how long ago the last sign of life was heard."""
        now = time.monotonic()
        return now - max((at for at, text in self.heard if text in ("READY=1", "WATCHDOG=1")), default=now)

    def is_silent(self) -> bool:
        """Return whether two signs of life in a row are missing: one is due every quarter of the watchdog's time."""
        return self.silence_seconds() > 2 * WATCHDOG_SECONDS / 4

    def close(self) -> None:
        self._channel.close()


@pytest.fixture
def houses(tmp_path: Path, dovecot: Dovecot, postfix: Postfix) -> Iterator[list[House]]:
    """Yield four houses, each with a mailbox of its own."""
    found = []
    for number in range(4):
        (tmp_path / str(number)).mkdir()
        house = House(tmp_path / str(number), dovecot, postfix)
        mailbox = house.settings["mailboxes"][0]
        for section in (mailbox["imap"], mailbox["smtp"]):
            section["user"] = f"desk{number}@allsaints.example"
        mailbox["address"] = f"desk{number}@allsaints.example"
        house.settings["poll_seconds"] = 1
        found.append(house)
    yield found
    for house in found:
        house.kill()


def call_for_help(recipient: str) -> bytes:
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"], message["Subject"] = "l.winn@allsaints.example", recipient, "The board is dead"
    message["Message-ID"] = f"<board.{recipient}>"
    message.set_content("The board in 4W is dead.\n")
    return bytes(message)


@pytest.mark.timeout(300)
def test_a_wedged_thread_silences_the_watchdog_and_the_next_start_finishes_its_work(
    houses: list[House], dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisors = []
    for number, (house, place) in enumerate(zip(houses, PLACES.values(), strict=True)):
        supervisor = Systemd(house.folder / "notify")
        supervisors.append(supervisor)
        monkeypatch.setenv("NOTIFY_SOCKET", supervisor.address)
        monkeypatch.setenv("WATCHDOG_USEC", str(WATCHDOG_SECONDS * 1_000_000))
        monkeypatch.setenv("SUPPORTD_FAILPOINT", f"{place}=hang")
        dovecot.append(f"desk{number}@allsaints.example", call_for_help(f"desk{number}@allsaints.example"))
        house.start()
    *wedged, well = supervisors

    for supervisor in wedged:
        wait_until(supervisor.is_silent, "the watchdog is silent", timeout_seconds=100)
    well_silence = well.silence_seconds()
    # What systemd does then: it kills, and starts anew.
    monkeypatch.delenv("SUPPORTD_FAILPOINT")
    monkeypatch.delenv("NOTIFY_SOCKET")
    logs = []
    for house in houses[:3]:
        logs.append([entry["threads"] for entry in house.log() if entry.get("event") == "wedged"][-1])
        house.kill()
        house.start()
    for number in range(4):
        filed = partial(dovecot.count, f"desk{number}@allsaints.example", "Processed")
        wait_until(filed, "the mail is decided and filed", timeout_seconds=60)

    assert [one.count("READY=1") for one in supervisors] == [1, 1, 1, 1]
    assert well_silence < WATCHDOG_SECONDS / 2
    assert well.count("WATCHDOG=1") > 3
    assert [threads[0].split()[0] for threads in logs] == ["capture", "decide", "clock"]
    for supervisor in supervisors:
        supervisor.close()


@pytest.mark.release
@pytest.mark.timeout(1200)
def test_a_wedged_sender_silences_the_watchdog_too(
    houses: list[House], dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A sender may wait ten minutes for the reply to a last dot; after eleven it is wedged.
    house = houses[0]
    supervisor = Systemd(house.folder / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", supervisor.address)
    monkeypatch.setenv("SUPPORTD_FAILPOINT", "outbox.sending=hang")
    dovecot.append("desk0@allsaints.example", call_for_help("desk0@allsaints.example"))
    house.start()

    wait_until(lambda: supervisor.silence_seconds() > 120, "the watchdog is silent", timeout_seconds=1000)

    assert [entry for entry in house.log() if entry.get("threads") == ["send support"]]
    supervisor.close()


# Reload


def test_a_reload_takes_the_whole_of_a_good_file_or_nothing_of_a_bad_one(
    tmp_path: Path, dovecot: Dovecot, postfix: Postfix
) -> None:
    house = House(tmp_path, dovecot, postfix)
    house.settings["poll_seconds"] = 1
    house.start()
    try:
        bad = json.dumps(house.settings | {"school": "Oak", "poll_seconds": "often"}, indent=1)
        missing_secret = json.loads(json.dumps(house.settings | {"school": "Oak"}))
        missing_secret["mailboxes"][0]["oauth"] = {
            "provider": "endpoint", "url": "https://nowhere.invalid/", "client_id": "x", "secret": {"file": "nowhere"}
        }  # fmt: skip
        good = json.loads(json.dumps(house.settings | {"school": "Oak"}))
        good["mailboxes"][0]["smtp"]["per_minute"] = 500

        reload(house, bad)
        wait_until(lambda: len(events(house, "configuration refused")) == 1, "the bad file is refused")
        reload(house, json.dumps(missing_secret))
        wait_until(lambda: len(events(house, "configuration refused")) == 2, "a missing secret is refused too", 30)
        wait_until(lambda: len(events(house, "started")) == 2, "the old configuration goes on", 30)
        reload(house, json.dumps(good))
        wait_until(lambda: len(events(house, "started")) == 3, "the good file is in force", 30)
        postfix.deliver(call_for_help(SUPPORT), SUPPORT, sender="l.winn@allsaints.example")
        wait_until(lambda: dovecot.count("l.winn@allsaints.example") == 1, "the acknowledgement", 30)
        house.stop()
    finally:
        house.kill()

    refused = events(house, "configuration refused")
    assert "poll_seconds" in str(refused[0]["problems"])
    assert "nowhere" in str(refused[1]["problems"])
    assert events(house, "configuration reloaded")[-1]["changed"] == ["school", "mailboxes[1].smtp.per_minute"]
    [letter] = dovecot.messages("l.winn@allsaints.example")
    assert b"Oak" in letter


def reload(house: House, text: str) -> None:
    house.file.write_text(text)
    assert house.process is not None
    house.process.send_signal(signal.SIGHUP)


def events(house: House, event: str) -> list[dict[str, object]]:
    return [entry for entry in house.log() if entry.get("event") == event]


def test_what_changed_is_named_by_key_and_never_by_value() -> None:
    example = Path(__file__).parents[1] / "config.example.yaml"
    before = config.load(example)
    tree = YAML(typ="safe").load(example)
    tree["calendar"]["closures"] = [{"from": "2026-11-13", "to": "2026-11-13", "reason": "canary"}]
    tree["mailboxes"][0]["imap"]["user"] = "canary@allsaints.example"
    tree["on_call"] = ["canary@allsaints.example"]
    after = config.document.parse(config.Config, json.dumps(tree, default=str), name="x", context={"folder": Path()})

    changed = config.changes(before, after)

    assert changed == ("mailboxes[1].imap.user", "on_call", "calendar.closures")
    assert not re.search("canary", " ".join(changed))
    assert config.changes(before, before) == ()
