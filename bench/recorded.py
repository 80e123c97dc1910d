"""The table "Speed" of docs/figures.md: one row for each thing measured, replaced when it is measured again."""

from __future__ import annotations

import fcntl
from datetime import UTC, datetime

from figures import FIGURES, head

_HEADING = "## Speed"
# A long run on a tree that others work in: the commit that it began on is told as well.
_BEGAN_ON = head()
_COLUMNS = "| what | figure | date | commit | command |"


def commit() -> str:
    """Return the commit that was measured, or the first and the last where it changed meanwhile."""
    now = head()
    return now if now == _BEGAN_ON else f"{_BEGAN_ON}..{now}"


def note(what: str, figure: str, command: str) -> None:
    """Write the row *what* with today's date and the commit that is checked out; both where it changed."""
    row = f"| {what} | {figure} | {datetime.now(UTC):%Y-%m-%d} | {commit()} | `{command}` |"
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
