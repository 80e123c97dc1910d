"""docs/figures.md: what the long runs have counted so far.  Each run adds its counts to its row of its table."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "figures.md"
_LAST = ("date", "commit", "command")


def add(table: str, row: str, counts: Mapping[str, int], command: str, *, file: Path = FIGURES) -> None:
    """Add *counts* to the *row* of the *table* (a heading of the page), with today's date and the commit that ran.

    Tables and rows that are not there yet are made; a count of another run of the same row is added up.
    """
    with file.open("a+", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.seek(0)
        changed = added(held.read(), table, row, counts, (f"{datetime.now(UTC):%Y-%m-%d}", head(), command))
        held.truncate(0)
        held.write(changed)


def added(page: str, table: str, row: str, counts: Mapping[str, int], last: tuple[str, str, str]) -> str:
    """Return *page* with *counts* added to the *row* of the *table*, and *last* as its date, commit and command."""
    lines = page.splitlines()
    heading = f"## {table}"
    if heading not in lines:
        names = [*counts, *_LAST]
        lines += ["", heading, "", f"| run | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    start = next(number for number in range(lines.index(heading), len(lines)) if lines[number].startswith("|"))
    end = next((number for number in range(start, len(lines)) if not lines[number].startswith("|")), len(lines))
    names = _cells(lines[start])[1:]
    before: dict[str, str] = {}
    where = end
    for number in range(start + 2, end):
        if _cells(lines[number])[0] == row:
            before = dict(zip(names, _cells(lines[number])[1:], strict=True))
            where = number
    values = {name: str(int(before.get(name, 0)) + count) for name, count in counts.items()}
    values |= dict(zip(_LAST, (last[0], last[1], f"`{last[2]}`"), strict=True))
    lines[where : where + 1 if before else where] = [f"| {row} | {' | '.join(values[name] for name in names)} |"]
    return "\n".join(lines) + "\n"


def so_far(table: str, row: str, name: str, *, file: Path = FIGURES) -> int:
    """Return the count *name* of the *row* of the *table*, 0 before its first run: where a long run goes on."""
    lines = file.read_text(encoding="utf-8").splitlines()
    if f"## {table}" not in lines:
        return 0
    here = lines[lines.index(f"## {table}") :]
    names = next(_cells(line) for line in here if line.startswith("|"))
    found = [_cells(line) for line in here if line.startswith(f"| {row} |")]
    return int(found[0][names.index(name)]) if found else 0


def head() -> str:
    """Return the short name of the commit that is checked out, or of ``SUPPORTD_COMMIT`` where its files lie bare."""
    return os.environ.get("SUPPORTD_COMMIT") or subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
