"""``supportd sla`` and ``supportd calendar``: deadlines for any instant, and what the calendar says."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from supportd.core.hours import Hours
    from supportd.core.sla import Policy


@click.group()
def sla() -> None:
    """Why a deadline is what it is, deadlines for any instant, and how well they were kept."""


@sla.command()
@click.option("--jsonl", is_flag=True, required=True, help="Read JSON lines, answer with JSON lines.")
@click.pass_context
def due(context: click.Context, jsonl: bool) -> None:
    """Print the deadlines of any severity received at any instant, a JSON line for each line read, in their order.

    In: {"id": "1", "severity": 3, "received_at": "2026-11-27T15:30:00+00:00"}.
    A line that cannot be answered gets its own line with "error", and the exit status is 1.
    """
    from supportd.config.targets import policy

    config = context.obj.config()
    table = policy(config.severities, config.immediate_within_minutes)
    failed = 0
    for answer, is_error in answers(sys.stdin.buffer, table, config.calendar.hours()):
        sys.stdout.buffer.write(answer.encode())
        failed += is_error
    sys.stdout.buffer.flush()
    if failed:
        click.echo(f'{failed} of the lines could not be answered; see their "error"', err=True)
        context.exit(1)


def answers(lines: Iterable[bytes], policy: Policy, hours: Hours) -> Iterator[tuple[str, bool]]:
    """Yield the line that answers each of *lines*, and whether it is an error; blank lines have no answer."""
    from supportd.core.sla import deadlines

    targets = {row.level: row for row in policy.levels}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        identity: Any = None
        try:
            asked = _object(line)
            identity = asked.get("id")
            level, received_at = _severity(asked, targets), _instant(asked)
        except ValueError as error:
            yield json.dumps({"id": identity, "error": f"line {number}: {error}"}, ensure_ascii=False) + "\n", True
            continue
        found = deadlines(policy, level, received_at, hours)
        answer = {
            "id": identity,
            "response_due": found.response_due.isoformat() if found.response_due else None,
            "resolution_due": found.resolution_due.isoformat() if found.resolution_due else None,
        }
        if found.reason:
            answer["reason"] = found.reason
        yield json.dumps(answer, ensure_ascii=False) + "\n", False


def _object(line: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError('is not JSON; write {"id": ..., "severity": 3, "received_at": "..."}') from None
    if not isinstance(asked, dict):
        raise ValueError('is not a JSON object; write {"id": ..., "severity": 3, "received_at": "..."}')
    return asked


def _severity(asked: dict[str, Any], known: dict[int, Any]) -> int:
    level = asked.get("severity")
    if isinstance(level, bool) or not isinstance(level, int) or level not in known:
        what = "is missing" if level is None else "is no level"
        raise ValueError(f'"severity" {what}; write {min(known)} to {max(known)}')
    return level


def _instant(asked: dict[str, Any]) -> datetime:
    written = asked.get("received_at")
    if not isinstance(written, str):
        raise ValueError('"received_at" is missing; write it like "2026-11-27T15:30:00+00:00"')
    try:
        received_at = datetime.fromisoformat(written)
        if received_at.tzinfo is None:
            raise ValueError('"received_at" has no offset; write Z, +00:00 or +01:00 behind it')
        return received_at.astimezone(UTC)
    except OverflowError:
        raise ValueError('"received_at" is outside the years 1 to 9999') from None
    except ValueError as error:
        if str(error).startswith('"received_at"'):
            raise
        raise ValueError('"received_at" is not an instant; write it like "2026-11-27T15:30:00+00:00"') from None


@click.group()
def calendar() -> None:
    """When the service is open, and what a change of the calendar would move."""
