"""The table "Speed" of docs/figures.md: one row for each thing measured, replaced when it is measured again."""

from __future__ import annotations

import fcntl
from datetime import UTC, datetime

from figures import FIGURES, head

_HEADING = "## Speed"
_COLUMNS = "| what | figure | date | commit | command |"


def note(what: str, figure: str, command: str) -> None:
    """Write the row *what* with today's date and the commit that is checked out."""
    row = f"| {what} | {figure} | {datetime.now(UTC):%Y-%m-%d} | {head()} | `{command}` |"
    with FIGURES.open("a+", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.seek(0)
        lines = held.read().splitlines()
        if _HEADING not in lines:
            lines += ["", _HEADING, "", _COLUMNS, "|---|---|---|---|---|"]
        start = lines.index(_HEADING) + 2
        end = next((number for number in range(start, len(lines)) if not lines[number].startswith("|")), len(lines))
        same = [number for number in range(start, end) if lines[number].startswith(f"| {what} |")]
        if same:
            lines[same[0]] = row
        else:
            lines.insert(end, row)
        held.truncate(0)
        held.write("\n".join(lines) + "\n")
