"""What supportd costs while little happens, and how soon it answers: figures of one machine, not ratios.

PYTHONPATH=tests python bench/costs.py [--only NAME ...] [--mails 1000] [--idle-seconds 60] [--deliveries 40] [--record]

* ``start``    the help, and one pass over an empty mailbox: first start with its migrations, and any other
* ``fetch``    the mail server's processor time and ours for listing, fetching and capturing, and for an empty poll
* ``idle``     an hour of the waiting daemon, from a minute
* ``latency``  from delivery (LMTP) to the committed ticket, and to the acknowledgement at the server
* ``large``    the memory for one mail of 50 MB, known by its headers and read whole
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import shutil
import smtplib
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from contenders import BENCH, Command, Site, Supportd, settings
from corpus import SUPPORT, mails
from post_office import PostOffice
from recorded import note
from servers import HOST, PASSWORD, wait_until
from sink import Sink
from supportd.capture import FirstStart, Folders, Inbox
from supportd.db import ledger
from supportd.db.engine import Database
from supportd.db.migrate import upgrade
from supportd.imap import ImapAccount, ImapSession
from supportd.lease import Lease

_TICKS = os.sysconf("SC_CLK_TCK")


class Bench:
    """The servers, a folder for each measurement, and the figures found so far."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        self.chosen = chosen
        self.office, self.sink = PostOffice(), Sink()
        self.site = Site(imap_port=self.office.dovecot.imap_port, smtp_port=self.sink.port)
        self._root = Path(tempfile.mkdtemp(prefix="bench-costs-"))

    def folder(self, name: str) -> Path:
        """Return a new folder."""
        folder = self._root / name
        folder.mkdir()
        return folder

    def tell(self, what: str, figure: str) -> None:
        """Print a figure, and write it down when that was asked for."""
        print(f"{what}: {figure}", flush=True)
        if self.chosen.record:
            note(what, f"{figure}; load {os.getloadavg()[0]:.1f}", "PYTHONPATH=tests python bench/costs.py")

    def close(self) -> None:
        """Stop the servers and delete everything."""
        self.sink.close()
        self.office.close()
        shutil.rmtree(self._root, ignore_errors=True)


def metered(command: Command, folder: Path) -> dict[str, float]:
    """Return what *command* costs from start to end, as bench/meter.py has it; what it says goes into output.log."""
    meter = [sys.executable, str(BENCH / "meter.py"), str(folder / "cost.json")]
    with (folder / "output.log").open("ab") as log:
        environment = {**os.environ, **command.environment}
        done = subprocess.run([*meter, *command.arguments], env=environment, stdout=log, stderr=log, check=False)
    if done.returncode:
        raise SystemExit(f"{command.arguments[1:]}: {(folder / 'output.log').read_text()[-1000:]}")
    found: dict[str, float] = json.loads((folder / "cost.json").read_text())
    return found


class Daemon:
    """``supportd run`` on a fresh database."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        command = Supportd().prepare(folder, bench.site)
        self.log = folder / "daemon.log"
        self.database = folder / "supportd.db"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command.arguments[:-1], "run"], env={**os.environ, **command.environment}, stdout=log, stderr=log
            )
        wait_until(lambda: b'"event": "started"' in self.log.read_bytes(), "the daemon has started")

    def cpu_seconds(self) -> float:
        """Return the processor time of the daemon and of every process below it so far."""
        return sum(self._seconds(pid) for pid in self._tree(self.process.pid))

    def _tree(self, pid: int) -> list[int]:
        found = [pid]
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += self._tree(int(child))
        return found

    @staticmethod
    def _seconds(pid: int) -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / _TICKS

    def stop(self) -> None:
        """End it as systemd would."""
        self.process.terminate()
        self.process.wait(timeout=20)


def start(bench: Bench) -> None:
    """Measure the help and the start."""
    folder = bench.folder("start")
    command = Supportd().prepare(folder, bench.site)
    bench.office.fill(0)
    helping = Command(arguments=(command.arguments[0], "--help"))
    found = statistics.median(metered(helping, folder)["cpu_seconds"] for _ in range(5))
    bench.tell("supportd --help", f"{found:.2f} s CPU")
    (folder / "supportd.db").unlink()
    found = metered(command, folder)["cpu_seconds"]
    bench.tell("first start, migrations and one empty poll", f"{found:.2f} s CPU")
    found = statistics.median(metered(command, folder)["cpu_seconds"] for _ in range(5))
    bench.tell("start, one empty poll and end", f"{found:.2f} s CPU")


def fetch(bench: Bench) -> None:
    """Measure listing, fetching and capturing, and the empty poll."""
    count, folder = bench.chosen.mails, bench.folder("fetch")
    bench.office.store(mails(count))
    bench.office.fill(count)
    database = Database(f"sqlite:///{folder}/supportd.db")
    upgrade(database)
    now = datetime.now(UTC)
    with database.write() as connection:
        mailbox_id = ledger.ensure_mailbox(connection, "support")
    lease = Lease(database, mailbox_id)
    lease.take(now)
    account = ImapAccount(host=HOST, port=bench.site.imap_port, tls="none", user=SUPPORT, password=PASSWORD)
    session = ImapSession(account)
    inbox = Inbox(
        session,
        database,
        mailbox_id=mailbox_id,
        folders=Folders(inbox="INBOX", processed="Processed", screened="Screened", quarantine="Quarantine"),
        first_start=FirstStart(answers_within=timedelta(hours=1)),
        message_limit_bytes=15_000_000,
        lease=lease,
    )
    inbox.open(now)
    # The index of a mailbox that Dovecot has never seen is made by whoever comes first, and is not for our fetching.
    session.listing()
    server, ours = bench.office.cpu_seconds(), time.process_time()
    captured = inbox.capture(now)
    ours, server = time.process_time() - ours, bench.office.cpu_seconds() - server
    assert captured == count, f"{captured} of {count} captured"
    bench.tell("the mail server, for our listing and fetching", f"{1000 * server / count:.2f} ms CPU a mail")
    bench.tell("ours, for listing, fetching and capturing", f"{1000 * ours / count:.2f} ms CPU a mail")
    session.close()
    bench.office.fill(0)
    session = ImapSession(account)
    empty = Inbox(
        session, database, mailbox_id=mailbox_id, folders=inbox._folders, first_start=inbox._first_start,
        message_limit_bytes=15_000_000, lease=lease,
    )  # fmt: skip
    empty.open(now)
    polls = 200
    ours = time.process_time()
    for _ in range(polls):
        empty.capture(now)
        empty.file(now)
    ours = time.process_time() - ours
    session.close()
    database.close()
    bench.tell("polling an empty mailbox", f"{1000 * ours / polls:.2f} ms CPU")


def idle(bench: Bench) -> None:
    """Measure the waiting daemon, which has had a mail and so has its workers."""
    bench.office.fill(0)
    daemon = Daemon(bench, bench.folder("idle"))
    bench.sink.clear()
    try:
        _deliver(bench, next(mails(1)))
        wait_until(lambda: bench.sink.letters, "acknowledged", 60)
        time.sleep(10)
        before = daemon.cpu_seconds()
        time.sleep(bench.chosen.idle_seconds)
        spent = daemon.cpu_seconds() - before
    finally:
        daemon.stop()
    hours = 3600 / bench.chosen.idle_seconds
    bench.tell("an idle hour", f"{spent * hours:.1f} s CPU, from {spent:.2f} s in {bench.chosen.idle_seconds} s")


def latency(bench: Bench) -> None:
    """Measure from delivery to the ticket and to the letter."""
    count = bench.chosen.deliveries
    bench.office.fill(0)
    daemon = Daemon(bench, bench.folder("latency"))
    chance = random.Random(7)
    to_ticket, to_letter = [], []
    try:
        time.sleep(3)
        bench.sink.clear()
        for number, raw in enumerate(mails(count + 1)):
            writer = raw.partition(b"From: ")[2].partition(b"<")[2].partition(b">")[0].decode()
            at: list[float] = []
            watcher = threading.Thread(target=_watch, args=(daemon.database, number + 1, at))
            watcher.start()
            letters = bench.sink.count({writer})
            delivered_at = _deliver(bench, raw)
            watcher.join()
            wait_until(partial(_is_told, bench.sink, writer, letters), "acknowledged", 30)
            to_ticket.append(at[0] - delivered_at)
            to_letter.append(
                next(when for when, who in reversed(bench.sink.arrived_at) if who == writer) - delivered_at
            )
            time.sleep(chance.uniform(0.6, 1.6))
    finally:
        daemon.stop()
    bench.tell("the first mail after the start, delivery to acknowledgement", f"{1000 * to_letter.pop(0):.0f} ms")
    del to_ticket[0]
    bench.tell(f"with IDLE, delivery to committed ticket ({count} mails)", _spread(to_ticket))
    bench.tell(f"with IDLE, delivery to acknowledgement handed over ({count} mails)", _spread(to_letter))
    between = [letter - ticket for ticket, letter in zip(to_ticket, to_letter, strict=True)]
    bench.tell(f"committed ticket to acknowledgement handed over ({count} mails)", _spread(between))


def _is_told(sink: Sink, writer: str, before: int) -> bool:
    return sink.count({writer}) > before


def _watch(database: Path, wanted: int, at: list[float]) -> None:
    """Append the instant at which there are *wanted* tickets to *at*."""
    connection = sqlite3.connect(database)
    give_up_at = time.monotonic() + 30
    while time.monotonic() < give_up_at:
        if connection.execute("SELECT count(*) FROM ticket").fetchone()[0] >= wanted:
            at.append(time.monotonic())
            break
        time.sleep(0.002)
    connection.close()


def _deliver(bench: Bench, raw: bytes) -> float:
    """Deliver by LMTP and return the instant at which the server had it."""
    with smtplib.LMTP(str(bench.office.dovecot.lmtp_socket), port=0) as server:
        server.sendmail("bench@allsaints.example", [SUPPORT], raw.replace(b"\n", b"\r\n"))
        return time.monotonic()


def _spread(seconds: Sequence[float]) -> str:
    late = statistics.quantiles(seconds, n=20)[18]
    return f"median {1000 * statistics.median(seconds):.0f} ms, 95th percentile {1000 * late:.0f} ms"


def large(bench: Bench) -> None:
    """Measure one mail of 50 MB."""
    head, _, rest = next(mails(1)).partition(b"MIME-Version: 1.0\n")
    del rest
    file = base64.encodebytes(random.Random(50).randbytes(36_500_000))
    raw = head + b'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"\n\n--b\n\nSee the film.\n--b\n'
    raw += b'Content-Type: video/mp4; name="film.mp4"\nContent-Transfer-Encoding: base64\n\n' + file + b"--b--\n"
    office = PostOffice()
    try:
        office.store([raw])
        site = Site(imap_port=office.dovecot.imap_port, smtp_port=bench.sink.port)
        for megabytes in (15, 50):
            folder = bench.folder(f"large {megabytes}")
            command = Supportd().prepare(folder, site)
            told = settings(site)
            told["limits"]["message_megabytes"] = megabytes
            (folder / "config.yaml").write_text(json.dumps(told))
            office.fill(0)
            without = metered(command, folder)
            office.fill(1)
            found = metered(command, folder)
            tickets = Supportd().tickets(folder)
            bench.tell(
                f"one mail of {len(raw) // 1_000_000} MB, limit {megabytes} MB",
                f"{found['main_megabytes']:.0f} MB in the daemon ({without['main_megabytes']:.0f} MB without it), "
                f"{found['largest_megabytes']:.0f} MB in the largest process, {tickets} ticket, "
                f"{found['cpu_seconds']:.1f} s CPU",
            )
    finally:
        office.close()


_PARTS: dict[str, Callable[[Bench], None]] = {
    "start": start, "fetch": fetch, "idle": idle, "latency": latency, "large": large,
}  # fmt: skip


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description="what supportd costs while little happens")
    parser.add_argument("--only", nargs="+", choices=list(_PARTS), default=list(_PARTS))
    parser.add_argument("--mails", type=int, default=1000)
    parser.add_argument("--idle-seconds", type=int, default=60)
    parser.add_argument("--deliveries", type=int, default=40)
    parser.add_argument("--record", action="store_true", help="write rows of docs/figures.md")
    bench = Bench(parser.parse_args())
    try:
        for name in bench.chosen.only:
            _PARTS[name](bench)
    finally:
        bench.close()


if __name__ == "__main__":
    main()
