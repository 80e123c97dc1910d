"""Drains the same mailbox with supportd, its peers and two floors, side by side, and compares.

PYTHONPATH=tests python bench/run.py [--mails 1000] [--rounds 5] [--only NAME ...] [--record]

In each round everybody drains a mailbox of the same mails, one after the other, in an order that turns by one each
round; ratios are taken within the round.  A run counts only when tickets = mails = acknowledgements; the one that
downloads and parses has read every mail.  An acknowledgement is a letter to somebody who wrote: what supportd tells
technicians besides is work that it does and nobody counts.  Wall and CPU seconds are those of the whole process tree,
from the start of the interpreter to its end.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from contenders import BENCH, Contender, NotInstalled, Site, contenders
from corpus import SEED, mails, staff
from post_office import PostOffice
from recorded import commit, note
from sink import Sink


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one contender cost in one round."""

    name: str
    wall_seconds: float
    cpu_seconds: float
    main_megabytes: float
    largest_megabytes: float
    server_milliseconds_a_mail: float


class Miscounted(Exception):
    """A run that does not count; the message says what did not add up."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="supportd, its peers and two floors drain the same mailbox")
    parser.add_argument("--mails", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="contenders whose names begin so")
    parser.add_argument("--record", action="store_true", help="write bench/results and a row of docs/figures.md")
    chosen = parser.parse_args()
    office, sink, folder = PostOffice(), Sink(), Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        office.store(mails(chosen.mails))
        site = Site(imap_port=office.dovecot.imap_port, smtp_port=sink.port)
        everybody = [one for one in contenders() if not chosen.only or one.name.startswith(tuple(chosen.only))]
        rounds, absent = measure(everybody, chosen.mails, chosen.rounds, office, sink, site, folder)
    finally:
        sink.close()
        office.close()
        shutil.rmtree(folder, ignore_errors=True)
    medians = summary(rounds)
    show(medians, absent, chosen.mails, chosen.rounds)
    if chosen.record:
        record(medians, rounds, absent, chosen.mails, chosen.rounds)


def measure(
    everybody: list[Contender], count: int, rounds: int, office: PostOffice, sink: Sink, site: Site, folder: Path
) -> tuple[list[dict[str, Run]], dict[str, str]]:
    """Return the runs of each round by name, and who could not take part with the reason."""
    absent: dict[str, str] = {}
    found: list[dict[str, Run]] = []
    for number in range(rounds):
        turned = everybody[number % len(everybody) :] + everybody[: number % len(everybody)]
        runs: dict[str, Run] = {}
        for contender in turned:
            if contender.name in absent:
                continue
            print(f"round {number + 1} of {rounds}: {contender.name} ", end="", file=sys.stderr, flush=True)
            try:
                run = drain(contender, count, office, sink, site, folder / f"{number} {contender.name}")
            except (NotInstalled, Miscounted) as reason:
                absent[contender.name] = str(reason)
                print(f"does not count: {reason}", file=sys.stderr)
                continue
            runs[contender.name] = run
            print(f"{run.wall_seconds:.2f} s wall, {run.cpu_seconds:.2f} s CPU", file=sys.stderr)
        found.append(runs)
    return found, absent


def drain(contender: Contender, count: int, office: PostOffice, sink: Sink, site: Site, folder: Path) -> Run:
    """Return what *contender* needs for a mailbox of *count* mails.

    Raises:
        NotInstalled: it cannot be had here.
        Miscounted: tickets, mails and acknowledgements differ.
    """
    folder.mkdir()
    command = contender.prepare(folder, site)
    office.fill(count)
    sink.clear()
    server_before = office.cpu_seconds()
    with (folder / "output.log").open("wb") as output:
        subprocess.run(
            [sys.executable, str(BENCH / "meter.py"), str(folder / "cost.json"), *command.arguments],
            env={**os.environ, **command.environment}, cwd=folder, stdout=output, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    office.settle()
    server_seconds = office.cpu_seconds() - server_before
    cost = json.loads((folder / "cost.json").read_text())
    tickets, letters = contender.tickets(folder), sink.count({one.address for one in staff()})
    if cost["status"] or tickets != count or (contender.acknowledges and letters != count):
        words = (folder / "output.log").read_text(errors="replace").strip().splitlines()[-1:]
        raise Miscounted(
            f"{count} mails, {tickets} tickets, {letters} acknowledgements, exit status {cost['status']} {words}"
        )
    shutil.rmtree(folder)
    return Run(
        name=contender.name,
        wall_seconds=cost["wall_seconds"],
        cpu_seconds=cost["cpu_seconds"],
        main_megabytes=cost["main_megabytes"],
        largest_megabytes=cost["largest_megabytes"],
        server_milliseconds_a_mail=1000 * server_seconds / count,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Median:
    """The medians of one contender; ratios are supportd's cost over its own, of the same round."""

    name: str
    rounds: int
    wall_seconds: float
    cpu_seconds: float
    main_megabytes: float
    largest_megabytes: float
    server_milliseconds_a_mail: float
    supportd_wall_ratio: float | None
    supportd_cpu_ratio: float | None


def summary(rounds: list[dict[str, Run]]) -> list[Median]:
    """Return the medians of all that took part."""
    names = list(dict.fromkeys(name for runs in rounds for name in runs))
    names.sort(key=[one.name for one in contenders()].index)
    found = []
    for name in names:
        runs = [one[name] for one in rounds if name in one]
        pairs = [(one["supportd"], one[name]) for one in rounds if name in one and "supportd" in one]
        found.append(
            Median(
                name=name,
                rounds=len(runs),
                wall_seconds=statistics.median(one.wall_seconds for one in runs),
                cpu_seconds=statistics.median(one.cpu_seconds for one in runs),
                main_megabytes=statistics.median(one.main_megabytes for one in runs),
                largest_megabytes=statistics.median(one.largest_megabytes for one in runs),
                server_milliseconds_a_mail=statistics.median(one.server_milliseconds_a_mail for one in runs),
                supportd_wall_ratio=_ratio([(ours.wall_seconds, its.wall_seconds) for ours, its in pairs]),
                supportd_cpu_ratio=_ratio([(ours.cpu_seconds, its.cpu_seconds) for ours, its in pairs]),
            )
        )
    return found


def _ratio(pairs: list[tuple[float, float]]) -> float | None:
    return statistics.median(ours / its for ours, its in pairs) if pairs else None


def show(medians: list[Median], absent: dict[str, str], count: int, rounds: int) -> None:
    """Print the table."""
    table = Table(title=f"Draining {count} mails: medians of {rounds} rounds")
    for heading in ("", "wall s", "CPU s", "MB", "MB, largest", "Dovecot ms/mail", "our wall/its", "our CPU/its"):
        table.add_column(heading, justify="right" if heading else "left")
    for one in medians:
        found = (one.supportd_wall_ratio, one.supportd_cpu_ratio)
        ratios = ["" if ratio is None else f"{ratio:.2f}" for ratio in found]
        table.add_row(
            one.name, f"{one.wall_seconds:.2f}", f"{one.cpu_seconds:.2f}", f"{one.main_megabytes:.0f}",
            f"{one.largest_megabytes:.0f}", f"{one.server_milliseconds_a_mail:.2f}", *ratios,
        )  # fmt: skip
    Console(width=118).print(table)
    for name, reason in absent.items():
        print(f"{name} is left out: {reason}")
    print(f"load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def record(medians: list[Median], rounds: list[dict[str, Run]], absent: dict[str, str], count: int, many: int) -> None:
    """Write bench/results/drain-DATE.json and a row for each ratio into docs/figures.md."""
    now = datetime.now(UTC)
    page = {
        "date": f"{now:%Y-%m-%dT%H:%M:%SZ}", "commit": commit(), "seed": SEED, "mails": count, "rounds": many,
        "python": platform.python_version(), "cores": os.cpu_count(), "load": os.getloadavg(), "absent": absent,
        "medians": [asdict(one) for one in medians],
        "runs": [{name: asdict(run) for name, run in one.items()} for one in rounds],
    }  # fmt: skip
    results = BENCH / "results"
    results.mkdir(exist_ok=True)
    (results / f"drain-{now:%Y%m%d-%H%M%S}.json").write_text(json.dumps(page, indent=1) + "\n")
    command = f"make bench MAILS={count} ROUNDS={many}"
    for one in medians:
        figure = f"{one.wall_seconds:.2f} s wall, {one.cpu_seconds:.2f} s CPU, {one.largest_megabytes:.0f} MB"
        if one.name != "supportd" and one.supportd_wall_ratio is not None and one.supportd_cpu_ratio is not None:
            figure += f"; ours {one.supportd_wall_ratio:.2f} of its wall, {one.supportd_cpu_ratio:.2f} of its CPU"
        note(f"{one.name}: {count} mails drained", f"{figure}; load {os.getloadavg()[0]:.1f}", command)
    for name, reason in absent.items():
        note(f"{name}: {count} mails drained", f"left out: {reason}", command)


if __name__ == "__main__":
    started = time.monotonic()
    main()
    print(f"took {time.monotonic() - started:.0f} s", file=sys.stderr)
