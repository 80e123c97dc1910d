"""How supportd's costs grow with the tickets in the database and with the mail in the mailbox's folders.

PYTHONPATH=tests python bench/scale.py [--tickets 0 2000 20000] [--filed 10 1000] [--mails 100] [--postgresql]

The figures that matter are those of --tickets 0 20000 1000000 --filed 10 1000 100000 --mails 250; the defaults are for
a quick look.  Old tickets are laid into the tables in bulk: five thousand people wrote them within five years, five
thousand of them are open, each has the events, clocks, mail and letter that it would have.  The cost of a mail is that
of a pass over so many mails less that of a pass over none.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Table, func, insert, select, text

from contenders import Command, Site, Supportd, settings
from corpus import mails, staff
from costs import metered
from post_office import PostOffice
from recorded import note
from servers.postgresql import PostgreSQL
from sink import Sink
from supportd import config, report
from supportd.db import ledger, schema
from supportd.db.engine import Database
from supportd.service import Service, clock

PEOPLE = 5000
OPEN = 5000
_CHUNK = 20_000


class Desk:
    """One database that only grows, and a mailbox that is filled and drained."""

    def __init__(self, folder: Path, office: PostOffice, sink: Sink, url: str) -> None:
        self.folder, self.office, self.sink = folder, office, sink
        site = Site(imap_port=office.dovecot.imap_port, smtp_port=sink.port)
        self.command: Command = Supportd().prepare(folder, site)
        told = settings(site)
        told["database"] = {"url": url}
        (folder / "config.yaml").write_text(json.dumps(told))
        self._seed = 0

    def cost(self, command: str, *more: str) -> dict[str, float]:
        """Return what the supportd *command* costs, as bench/meter.py has it."""
        arguments = (*self.command.arguments[:-1], command, *more)
        return metered(Command(arguments=arguments, environment=self.command.environment), self.folder)

    def mail(self, count: int, filed: int = 0) -> tuple[float, float]:
        """Return wall and CPU in ms of one of *count* mails, with *filed* mails in Processed and in Sent before."""
        self._fill(0, filed)
        without = self.cost("once")
        self._fill(count, filed)
        found = self.cost("once")
        wall, cpu = (1000 * (found[key] - without[key]) / count for key in ("wall_seconds", "cpu_seconds"))
        return wall, cpu

    def _fill(self, count: int, filed: int) -> None:
        self._seed += 1
        self.office.empty_store()
        self.office.store(mails(max(count, 1), seed=self._seed))
        self.office.fill(count)
        for folder in ("Processed", "Sent") if filed else ():
            self.office.fill_with_one(filed, folder)


def grow(database: Database, mailbox_id: int, before: int, after: int, now: datetime) -> None:
    """Lay tickets into the database so that it has *after* where it had *before*."""
    with database.write() as connection:
        highest = {table.name: connection.execute(select(func.max(table.c.id))).scalar() or 0 for table in _COUNTED}
        epoch_id = ledger.ensure_epoch(connection, mailbox_id, "INBOX", 10_000_000 + after)
    writers = [one.address for one in staff()]
    writers += [f"person.{number}@allsaints.example" for number in range(PEOPLE - len(writers))]
    made = after - before
    for start in range(0, made, _CHUNK):
        rows: dict[Table, list[dict[str, Any]]] = {table: [] for table in _LAID}
        for number in range(start, min(made, start + _CHUNK)):
            for table, row in _ticket(number, made, mailbox_id, epoch_id, highest, writers, now):
                rows[table].append(row)
        with database.write() as connection:
            for table, laid in rows.items():
                connection.execute(insert(table), laid)
        print(f"\r{min(made, start + _CHUNK)} of {made} tickets laid in", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    with database.write() as connection:
        if connection.dialect.name == "postgresql":
            for table in _COUNTED:
                last = select(func.max(table.c.id)).scalar_subquery()
                connection.execute(select(func.setval(func.pg_get_serial_sequence(table.name, "id"), last)))
        connection.execute(text("ANALYZE"))


# Parents first, as foreign keys want them.
_LAID = (
    schema.message, schema.raw, schema.message_id_index, schema.ticket, schema.event, schema.clock, schema.participant,
    schema.letter,
)  # fmt: skip
_COUNTED = (schema.message, schema.ticket, schema.event, schema.letter)


def _ticket(
    number: int, made: int, mailbox_id: int, epoch_id: int, highest: dict[str, int], writers: list[str], now: datetime
) -> Iterator[tuple[Table, dict[str, Any]]]:
    """Yield the rows of one old ticket; the last of all are open, and nothing of theirs is due within the hour."""
    is_open = number >= made - OPEN
    at = now - timedelta(days=2) - timedelta(days=5 * 365) * (1 - number / made)
    writer, level = writers[number % len(writers)], 4 + number % 3
    message_id, ticket_id = highest["message"] + number + 1, highest["ticket"] + number + 1
    identifier = f"<old.{ticket_id}@mail.allsaints.example>"
    due = at + timedelta(hours=3)
    later = now + timedelta(days=3) if is_open else at + timedelta(days=1)
    words = f"The printer in room {number % 97} is slow again.  There is no hurry.  Number {ticket_id}."
    yield schema.message, {
        "id": message_id, "mailbox_id": mailbox_id, "epoch_id": epoch_id, "uid": number + 1, "size": 3000,
        "received_at": at, "captured_at": at, "sha256": f"{message_id:064x}", "attempts": 1, "message_id": identifier,
        "trace_free_sha256": f"{message_id:063x}a", "content_sha256": f"{message_id:063x}b",
        "dedup_key": f"old:{message_id}", "sender": writer, "verdict": "ticket", "rule": "ticket", "reason": "new",
        "ticket_id": None, "decided_at": at, "folder": "Processed", "filed_at": at,
    }  # fmt: skip
    yield schema.raw, {"message_id": message_id, "data": zlib.compress(words.encode())}
    yield schema.message_id_index, {"mailbox_id": mailbox_id, "hash": f"{message_id:063x}c", "message_id": message_id}
    yield schema.ticket, {
        "id": ticket_id, "mailbox_id": mailbox_id, "reference": f"OLD-{ticket_id}", "subject": f"printer {ticket_id}",
        "requester": writer, "requester_name": "Somebody", "level": level, "status": "open" if is_open else "closed",
        "received_at": at, "text": words, "evidence": [], "row": "", "service": "",
        "automatic": False, "verified": True,
        "restricted": False, "assignee": "", "response_due": due, "resolution_due": None if level == 6 else later,
        "responded_at": due, "resolved_at": None if is_open else later, "closed_at": None if is_open else later,
        "next_check_at": now + timedelta(days=2) if is_open else None, "origin_message_id": identifier,
        "origin_references": [],
    }  # fmt: skip
    for place, kind in enumerate(
        ("received", "answered") if is_open else ("received", "answered", "resolved", "closed")
    ):
        yield schema.event, {
            "id": highest["event"] + 4 * number + place + 1, "ticket_id": ticket_id, "kind": kind,
            "at": at if not place else due, "by": writer, "way": "mail", "text": words if not place else "",
            "details": {}, "message_id": None,
        }  # fmt: skip
    for kind in ("response", "resolution"):
        yield schema.clock, {
            "ticket_id": ticket_id, "kind": kind, "round": 1, "level": level, "due": due, "met_at": due,
            "late_seconds": -60, "paused_seconds": 0, "is_missed": False, "is_waiting": False,
        }  # fmt: skip
    yield schema.participant, {"ticket_id": ticket_id, "address": writer}
    yield schema.letter, {
        "id": highest["letter"] + number + 1, "uuid": f"{ticket_id:032x}", "key": f"old:{ticket_id}",
        "mailbox_id": mailbox_id, "ticket_id": ticket_id, "kind": "acknowledgement", "recipient": writer,
        "envelope_from": "support@allsaints.example", "message_id": f"<ours.{ticket_id}@allsaints.example>",
        "data": b"", "priority": 2, "state": "sent", "queued_at": at, "not_before": at, "sent_at": at,
    }  # fmt: skip


def inside(desk: Desk) -> dict[str, float]:
    """Return in ms of wall time, the best of five: an empty tick, the digest's worklist, the report of a week."""
    service = Service(config.load(desk.folder / "config.yaml"))
    try:
        station = service.stations[0]
        now = clock()
        station.reminder.tick(now)
        with service.database.read() as connection:
            post = station.reminder._post(connection, now)
            first, last = report.last_week(station.desk, now)
            return {
                "reminder tick with nothing due": _best(lambda: station.reminder.tick(clock())),
                "worklist of the digest": _best(lambda: station.reminder.worklist(post)),
                "report of a week": _best(
                    lambda: report.between(connection, station.desk, station.mailbox_id, first, last, now)
                ),
            }
    finally:
        service.close()


def _best(work: Callable[[], object]) -> float:
    spent = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return 1000 * min(spent)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description="how costs grow with tickets and with filed mail")
    parser.add_argument("--tickets", type=int, nargs="*", default=[0, 2000, 20_000])
    parser.add_argument("--filed", type=int, nargs="*", default=[10, 1000])
    parser.add_argument("--mails", type=int, default=100)
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--record", action="store_true", help="write rows of docs/figures.md")
    chosen = parser.parse_args()
    office, sink, folder = PostOffice(), Sink(), Path(tempfile.mkdtemp(prefix="bench-scale-"))
    server = PostgreSQL() if chosen.postgresql else None
    kind = "PostgreSQL" if server else "SQLite"

    def tell(what: str, figure: str) -> None:
        print(f"{what}, {kind}: {figure}", flush=True)
        if chosen.record:
            line = f"PYTHONPATH=tests python bench/scale.py {' '.join(sys.argv[1:])}"
            note(f"{what}, {kind}", f"{figure}; load {os.getloadavg()[0]:.1f}", line)

    try:
        if server is not None:
            server.start()
        desk = Desk(folder, office, sink, server.new_database() if server else f"sqlite:///{folder}/supportd.db")
        desk.mail(1)
        before = 0
        for wanted in chosen.tickets:
            service = Service(config.load(folder / "config.yaml"))
            if wanted > before:
                grow(service.database, service.stations[0].mailbox_id, before, wanted, clock())
                before = wanted
            service.close()
            wall, cpu = desk.mail(chosen.mails)
            tell(f"a mail at {wanted} tickets", f"{wall:.1f} ms wall, {cpu:.1f} ms CPU")
            listed = desk.cost("ticket", "list")
            tell(f"`ticket list` at {wanted} tickets", f"{1000 * listed['cpu_seconds']:.0f} ms CPU with its start")
            for name, milliseconds in inside(desk).items():
                tell(f"{name} at {wanted} tickets", f"{milliseconds:.1f} ms")
        for filed in chosen.filed:
            wall, cpu = desk.mail(chosen.mails, filed)
            tell(f"a mail with {filed} in Processed and Sent", f"{wall:.1f} ms wall, {cpu:.1f} ms CPU")
    finally:
        sink.close()
        office.close()
        if server is not None:
            server.remove()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    os.environ["SUPPORTD_BENCH_PASSWORD"] = "correct horse"
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    main()
