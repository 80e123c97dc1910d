"""What `sla report` costs over a hundred thousand tickets: time and memory of the whole command.

python bench/report.py [TICKETS]
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path

from sqlalchemy import insert

from supportd.config import load
from supportd.core.model import EventKind, Status
from supportd.db import ledger
from supportd.db.engine import Database
from supportd.db.migrate import upgrade
from supportd.db.schema import clock, event, ticket

# One in three hundred is still open, as at a desk that keeps up.
OPEN_EVERY = 300
MINUTE = timedelta(minutes=1)


def fill(database: Database, name: str, count: int) -> None:
    """Enter *count* tickets of a year, each with its clocks and events: a fifth missed, some paused, some open."""
    chance = random.Random(3)
    start = datetime(2026, 9, 1, tzinfo=UTC)
    with database.write() as connection:
        mailbox_id = ledger.ensure_mailbox(connection, name)
        for first in range(1, count + 1, 5000):
            tickets, clocks, events = [], [], []
            for number in range(first, min(first + 5000, count + 1)):
                at = start + number * timedelta(days=320) / count + timedelta(seconds=chance.randrange(86400))
                level, is_open = chance.randint(1, 6), number % OPEN_EVERY == 0
                late = chance.randrange(-3600, 900)
                tickets.append({
                    "id": number, "mailbox_id": mailbox_id, "reference": f"AS-{number}", "subject": "Printer",
                    "requester": "jane@school.example", "requester_name": "Jane", "level": level,
                    "status": Status.OPEN if is_open else Status.CLOSED, "received_at": at, "text": "It jams.",
                    "evidence": [], "row": "default", "service": "", "automatic": False, "verified": True,
                    "restricted": False, "assignee": "", "origin_references": [],
                })  # fmt: skip
                events.append({
                    "ticket_id": number, "kind": EventKind.RATED, "at": at, "by": "", "way": "daemon", "text": "",
                    "details": {"level": str(level)},
                })  # fmt: skip
                for kind in ("response", "resolution")[: 1 if level == 6 else 2]:
                    clocks.append({
                        "ticket_id": number, "kind": kind, "round": 0, "level": level, "due": at + 60 * MINUTE,
                        "met_at": None if is_open else at + 50 * MINUTE, "late_seconds": late,
                        "paused_seconds": 600 if number % 7 == 0 else 0, "is_missed": late > 0, "is_waiting": False,
                    })  # fmt: skip
            for table, rows in ((ticket, tickets), (event, events), (clock, clocks)):
                connection.execute(insert(table), rows)


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "config.yaml")
        file.write_text(resources.files("supportd").joinpath("config.example.yaml").read_text())
        config = load(file)
        database = Database(config.database_url)
        upgrade(database)
        fill(database, config.desks[0].name, count)
        database.close()
        command = [Path(sys.executable).with_name("supportd"), "-c", file, "sla", "report", "--from", "2026-09-01",
                   "--to", "2027-08-31", "--html", Path(folder, "year.html")]  # fmt: skip
        for _ in range(3):
            began = time.perf_counter()
            done = subprocess.run(
                ["/usr/bin/time", "-f", "%U %S %M", *command], capture_output=True, text=True, check=True
            )
            seconds = time.perf_counter() - began
            user, system, kilobytes = map(float, done.stderr.split()[-3:])
            core = f"{user + system:.2f} s of one core"
            print(f"{count} tickets: {seconds:.2f} s, of them {core}, {kilobytes / 1024:.0f} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
