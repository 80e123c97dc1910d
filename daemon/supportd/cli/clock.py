"""``supportd sla`` and ``supportd calendar``: deadlines for any instant, and what the calendar says."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from supportd.core import clean
from supportd.errors import UserError

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

    from supportd.compose import PageSection
    from supportd.config import Config, Desk
    from supportd.core.attainment import Attainment
    from supportd.core.hours import Day, Hours
    from supportd.core.sla import Move, Policy


@click.group()
def sla() -> None:
    """Why a deadline is what it is, deadlines for any instant, and how well they were kept."""


@sla.command(epilog="For example:  supportd sla due --jsonl < tickets.jsonl")
@click.option("--jsonl", is_flag=True, required=True, help="Read JSON lines, answer with JSON lines.")
@click.pass_context
def due(context: click.Context, jsonl: bool) -> None:
    """Print the deadlines of any severity received at any instant, a JSON line for each line read, in their order.

    In: {"id": "1", "severity": 3, "received_at": "2026-11-27T15:30:00+00:00"}.
    A line that cannot be answered gets its own line with "error", and the exit status is 1.
    """
    from supportd.config.targets import policy

    config = context.obj.config()
    table = policy(config.severities, config.immediate_within)
    failed = 0
    for answer, is_error in answers(sys.stdin.buffer, table, config.calendar.hours()):
        sys.stdout.buffer.write(answer.encode())
        failed += is_error
    sys.stdout.buffer.flush()
    if failed:
        click.echo(f'{failed} of the lines could not be answered; see their "error"', err=True)
        context.exit(1)


@sla.command(epilog="For example:  supportd sla explain AS-123")
@click.argument("reference")
@click.pass_context
def explain(context: click.Context, reference: str) -> None:
    """Tell why a ticket is due when it is: the windows that were counted, the pauses and the rule."""
    from supportd import steering
    from supportd.cli.desk import at_desk
    from supportd.db import tickets

    with at_desk(context) as desks, desks.database.read() as connection:
        ticket_id = tickets.id_of(connection, reference)
        if ticket_id is None:
            raise UserError(f"there is no ticket {reference}; list them with: supportd ticket list --status all")
        post = desks.post(connection, desks.desk_of(connection, ticket_id))
        for line in steering.explanation(post, steering.load(post, ticket_id)):
            click.echo(line)


@sla.command(epilog="For example:  supportd sla report --from 2026-11-01 --to 2026-11-30 --html november.html")
@click.option("--from", "first", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE", help="The first date.")
@click.option("--to", "last", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE", help="The last date, included.")
@click.option("--html", "html_file", type=click.Path(dir_okay=False, path_type=Path), help="Write one page to FILE.")
@click.option("--csv", "csv_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures to FILE.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
@click.option("--mailbox", help="Only of this mailbox.")
@click.pass_context
def report(
    context: click.Context,
    first: datetime | None,
    last: datetime | None,
    html_file: Path | None,
    csv_file: Path | None,
    as_json: bool,
    mailbox: str | None,
) -> None:
    """Report how the promises were kept for tickets received between two dates; without dates, last week.

    Met, missed and by how much, time paused and arrivals out of hours, a line for each target of each severity.  Late
    is service time past the deadline.
    """
    from supportd import report as reports
    from supportd.cli.desk import at_desk
    from supportd.compose import PageSection
    from supportd.service import clock

    now = clock()
    sections = []
    with at_desk(context) as desks, desks.database.read() as connection:
        wanted = desks.named(mailbox)
        for desk in wanted:
            start, end = reports.last_week(desk, now)
            if first is not None or last is not None:
                end = last.date() if last else desk.hours.local(now).date()
                start = first.date() if first else end - timedelta(days=6)
            if start > end:
                raise click.UsageError(f"--from {start} is after --to {end}")
            mailbox_id = desks.mailbox_id(connection, desk)
            found = reports.figures(connection, desk, mailbox_id, start, end, now)
            letter = reports.as_letter(connection, desk, mailbox_id, found)
            sections.append(PageSection(mailbox=desk.name, found=found, report=letter))
        if html_file is not None:
            page = desks.post(connection, wanted[0]).composer.report_page(sections, now)
            _write_text(html_file, page)
    rows = [row for section in sections for row in figure_rows(section.mailbox, section.found)]
    if csv_file is not None:
        _write_text(csv_file, csv_text(rows))
    if as_json:
        click.echo(json.dumps([_report_object(section) for section in sections], ensure_ascii=False, indent=1))
    elif sys.stdout.isatty():
        from rich.console import Console

        Console().print(report_tables(sections))
    else:
        for row in rows:
            click.echo("\t".join("" if value is None else str(value) for value in row.values()))


def figure_rows(mailbox: str, found: Attainment) -> list[dict[str, str | int | None]]:
    """Return a row for each target of each level, times in whole seconds of service time."""
    rows: list[dict[str, str | int | None]] = []
    for level in found.levels:
        for kind, target in (("response", level.response), ("resolution", level.resolution)):
            rows.append(
                {
                    "mailbox": mailbox,
                    "from": str(found.first),
                    "to": str(found.last),
                    "severity": level.level,
                    "name": level.name,
                    "tickets": level.tickets,
                    "out_of_hours": level.out_of_hours,
                    "target": kind,
                    "met": target.met,
                    "missed": target.missed,
                    "running": target.running,
                    "median_late_seconds": _seconds(target.median_late),
                    "90th_percentile_late_seconds": _seconds(target.ninetieth_late),
                    "paused_seconds": _seconds(level.paused) if kind == "resolution" else 0,
                }
            )
    return rows


def csv_text(rows: Sequence[dict[str, str | int | None]]) -> str:
    """Return *rows* as CSV (RFC 4180) with their names first; no cell can be a formula."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow(clean.cell(value) if isinstance(value, str) else value for value in row.values())
    return out.getvalue()


def _report_object(section: PageSection) -> dict[str, Any]:
    return {
        "mailbox": section.mailbox,
        "from": str(section.found.first),
        "to": str(section.found.last),
        "tickets": section.found.tickets,
        "open_now": section.report.open_tickets,
        "figures": [
            {name: row[name] for name in list(row)[3:]} for row in figure_rows(section.mailbox, section.found)
        ],
        "worst": [
            {"ticket": miss.ticket.reference, "target": miss.clock, "late_seconds": _seconds(miss.late)}
            for miss in section.report.misses
        ],
    }


def _seconds(amount: timedelta | None) -> int | None:
    return None if amount is None else round(amount.total_seconds())


def report_tables(sections: Sequence[PageSection]) -> Group:
    """Return the figures for a terminal: a table a mailbox, with the worst misses below it."""
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

    from supportd.core.explain import date_text

    parts: list[RenderableType] = []
    for section in sections:
        found = section.found
        title = f"{section.mailbox}: {date_text(found.first)} to {date_text(found.last)}"
        table = Table(title=Text(title, style="bold"), title_justify="left", box=None, header_style="bold")
        table.add_column("severity", no_wrap=True)
        for name in ("tickets", "", "met", "missed", "running", "median late", "90% late", "paused"):
            table.add_column(name, justify="right" if name else "left")
        for level in found.levels:
            for kind, target in (("reply", level.response), ("fix", level.resolution)):
                is_first = kind == "reply"
                table.add_row(
                    Text(f"{level.level} {level.name}" if is_first else ""),
                    str(level.tickets) if is_first else f"{level.out_of_hours} closed",
                    kind,
                    str(target.met),
                    Text(str(target.missed), style="bold" if target.missed else ""),
                    str(target.running),
                    _rounded(target.median_late),
                    _rounded(target.ninetieth_late),
                    "" if is_first else _rounded(level.paused),
                )
        parts += [table, Text("closed: received while the service was closed; late: service time past the deadline")]
        parts += [
            Text(f"{miss.ticket.reference}: {miss.clock} {_rounded(miss.late)} late")
            for miss in section.report.misses[:SHOWN_MISSES]
        ]
    return Group(*parts)


def _rounded(amount: timedelta | None) -> str:
    """Return service time to the minute, a started one as a whole."""
    from supportd.core.explain import span_text

    return "" if amount is None else span_text(timedelta(minutes=math.ceil(amount.total_seconds() / 60)))


def _write_text(path: Path, text: str) -> None:
    try:
        # As it is: the line ends of CSV are CRLF on every system.
        path.write_bytes(text.encode())
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); name another file") from error


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
            yield json.dumps({"id": identity, "error": f"line {number}: {error}"}) + "\n", True
            continue
        found = deadlines(policy, level, received_at, hours)
        answer = {
            "id": identity,
            "response_due": found.response_due.isoformat() if found.response_due else None,
            "resolution_due": found.resolution_due.isoformat() if found.resolution_due else None,
        }
        if found.reason:
            answer["reason"] = found.reason
        # In ASCII: an id may hold half a surrogate pair, which no encoding writes.
        yield json.dumps(answer) + "\n", False


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
    except ValueError:
        raise ValueError('"received_at" is not an instant; write it like "2026-11-27T15:30:00+00:00"') from None
    if received_at.tzinfo is None:
        raise ValueError('"received_at" has no offset; write Z, +00:00 or +01:00 behind it')
    try:
        return received_at.astimezone(UTC)
    except OverflowError:
        raise ValueError('"received_at" is outside the years 1 to 9999') from None


@click.group()
def calendar() -> None:
    """When the service is open, and what a change of the calendar would move."""


@calendar.command(epilog="For example:  supportd calendar show | grep cover")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with a line for each date.")
@click.pass_context
def show(context: click.Context, as_json: bool) -> None:
    """Draw the calendar from its first known month to its last: months on a terminal, a line a date in a pipe."""
    hours = context.obj.config().calendar.hours()
    if as_json:
        click.echo(json.dumps(_calendar_object(hours), ensure_ascii=False, indent=1))
    elif sys.stdout.isatty():
        from rich.console import Console

        Console().print(month_grids(hours))
    else:
        for day in _days(hours):
            click.echo(f"{day.on} {day.on:%a} {day_text(day)}")


@calendar.command(epilog="For example:  supportd calendar diff config-next-year.yaml")
@click.argument("new", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_context
def diff(context: click.Context, new: Path) -> None:
    """List the dates that the configuration file NEW would change and the open deadlines that would move with it.

    Nothing applies yet, and nothing is written.
    """
    from supportd.config import load

    before, after = context.obj.config(), load(new)
    lines = change_lines(before.calendar.hours(), after.calendar.hours())
    for old_desk, new_desk in _pairs(before, after):
        if old_desk.hours != before.calendar.hours() or new_desk.hours != after.calendar.hours():
            lines += [f"{old_desk.name}: {line}" for line in change_lines(old_desk.hours, new_desk.hours)]
    click.echo("\n".join(lines) if lines else "No date changes.")
    if context.obj.path is None or not _has_tickets(before):
        click.echo("There is no database yet, so no open deadline moves.", err=True)
        return
    moving = list(_open_deadlines(context, after))
    click.echo("\n".join(moving) if moving else "No open deadline moves.")


def _pairs(before: Config, after: Config) -> Iterator[tuple[Desk, Desk]]:
    """Yield the desks of the same name in two configurations."""
    named = {desk.name: desk for desk in after.desks}
    return ((desk, named[desk.name]) for desk in before.desks if desk.name in named)


def _has_tickets(config: Config) -> bool:
    """Return whether there is a database: to look at one that SQLite has not made yet would make it."""
    path = config.database_url.removeprefix("sqlite:///")
    return path == config.database_url or Path(path).exists()


def _open_deadlines(context: click.Context, after: Config) -> Iterator[str]:
    """Yield a line for each deadline of a live ticket that *after* moves, counted by the same code as the deadline."""
    from supportd import steering
    from supportd.cli.desk import at_desk
    from supportd.core.sla import moves
    from supportd.db import tickets

    with at_desk(context) as desks, desks.database.read() as connection:
        for old_desk, new_desk in _pairs(desks.config, after):
            old, new = desks.post(connection, old_desk), desks.post(connection, new_desk)
            live = tickets.live(connection, old.mailbox_id, old_desk.level_names)
            yield from move_lines(
                moves(
                    {ticket.reference: steering.clocks(old, ticket) for ticket in live},
                    {ticket.reference: steering.clocks(new, ticket) for ticket in live},
                ),
                new_desk.hours,
            )


@calendar.command(epilog='For example:  supportd calendar close 2027-01-12 "snow"')
@click.argument("day", metavar="YYYY-MM-DD")
@click.argument("reason")
@click.option("--to", "last", metavar="YYYY-MM-DD", help="The last date, when it is more than one.")
@click.option("--hours", multiple=True, metavar="HH:MM-HH:MM", help="Close these hours only; may stand several times.")
@click.option("--cover", is_flag=True, help="Close cover too.")
@click.pass_context
def close(context: click.Context, day: str, reason: str, last: str | None, hours: tuple[str, ...], cover: bool) -> None:
    """Write a closure into the configuration file, its comments kept, and say what changes."""
    from supportd.config import Config, document
    from supportd.config.calendar import closure, with_closure
    from supportd.config.term_dates import Copies

    context.obj.own_config()
    path: Path = context.obj.path
    text = path.read_bytes().decode("utf-8")
    edited = with_closure(text, closure(day, last or day, reason, hours, cover))
    surroundings = {"folder": path.parent, "copies": Copies(folder=path.parent)}
    before = document.parse(Config, text, name=str(path), context=surroundings).calendar.hours()
    after = document.parse(Config, edited, name=str(path), context=surroundings).calendar.hours()
    lines = change_lines(before, after)
    if not lines:
        raise UserError(f"the service is closed on {day} already; the file stays as it is")
    _replace(path, edited)
    click.echo("\n".join(lines))
    click.echo(f"Written to {path}; the daemon takes it up when it reloads (systemctl reload supportd).", err=True)


def _replace(path: Path, text: str) -> None:
    """Replace the file at *path* in one step, so that a reload at any moment reads the old or the new one whole."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(path, name)
        os.replace(name, path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written ({error.strerror}); check its rights") from error


def change_lines(before: Hours, after: Hours) -> list[str]:
    """Return the dates on which two calendars differ, a line each."""
    from supportd.core.hours import changes

    lines = [
        f"{change.after.on} {change.after.on:%a}: {day_text(change.before)} -> {day_text(change.after)}"
        for change in changes(before, after)
    ]
    if before.zone != after.zone:
        lines.insert(0, f"time zone: {before.zone} -> {after.zone}")
    return lines


def move_lines(moves: Iterable[Move], hours: Hours) -> list[str]:
    """Return the open deadlines that move, a line each, in the words of *hours*' zone."""
    from supportd.core.explain import instant_text

    def shown(at: datetime | None) -> str:
        return instant_text(at, hours) if at else "not known"

    return [f"{move.reference} {move.kind}: {shown(move.before)} -> {shown(move.after)}" for move in moves]


def day_text(day: Day) -> str:
    """Return what a calendar says of one date: its hours, cover marked, and what closes it."""
    if not day.windows:
        return f"closed ({day.closed_by})"
    text = "open " + ", ".join(map(str, day.windows))
    if day.cover:
        text += f" (cover {', '.join(map(str, day.cover))}: {day.cover_reason})"
    elif day.closed_by:
        text += f" ({day.closed_by})"
    return text


def _days(hours: Hours) -> list[Day]:
    """Return every date from the first known month to the end of the last."""
    spans = [*(term.span for term in hours.terms), *(cover.span for cover in hours.cover)]
    if not spans:
        return []
    first = min(span.first for span in spans).replace(day=1)
    last = max(span.last for span in spans).replace(day=28) + timedelta(days=4)
    return [hours.day(first + timedelta(days=number)) for number in range((last.replace(day=1) - first).days)]


def _calendar_object(hours: Hours) -> dict[str, Any]:
    return {
        "timezone": str(hours.zone),
        "known_until": str(hours.known_until) if hours.known_until else None,
        "days": [
            {
                "date": str(day.on),
                "open": [str(window) for window in day.windows],
                "cover": [str(window) for window in day.cover],
                "closed_by": day.closed_by or None,
            }
            for day in _days(hours)
        ],
    }


def month_grids(hours: Hours) -> Group:
    """Return the months of a calendar, three side by side in 80 columns, told apart by marks as well as by colour."""
    from itertools import groupby

    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    months = [
        _month(list(days), hours) for _, days in groupby(_days(hours), key=lambda day: (day.on.year, day.on.month))
    ]
    rows = Table.grid(padding=(0, 3, 1, 0))
    for number in range(0, len(months), MONTHS_A_ROW):
        rows.add_row(*months[number : number + MONTHS_A_ROW])
    legend = Text.assemble(*(part for mark, words, style in MARKS.values() for part in ((mark, style), f" {words}   ")))
    until = f"Known until {hours.known_until}." if hours.known_until else "No term dates are configured."
    named = [f"{day.on:%a} {day.on}: {day_text(day)}" for day in _days(hours) if _mark(day, hours) not in QUIET]
    return Group(rows, legend, Text(until), *map(Text, named))


# The terminal names so many misses; the page has more.
SHOWN_MISSES = 5
# What marks a date, what it means, and its colour; the mark alone must be enough.
MARKS = {
    "open": ("12", "open", "bold green"),
    "other": ("12~", "other hours", "bold yellow"),
    "cover": ("12+", "cover", "bold cyan"),
    "closed": (".", "closed", "dim"),
    "closure": ("x", "closure", "bold red"),
    "holiday": ("h", "bank holiday", "magenta"),
}
QUIET = ("open", "closed")
MONTHS_A_ROW = 3


def _mark(day: Day, hours: Hours) -> str:
    if day.cover:
        return "cover"
    if day.windows:
        return "open" if not day.closed_by else "other"
    if any(day.on in closure.span for closure in hours.closures) and hours.weekly[day.on.weekday()]:
        return "closure"
    return "holiday" if any(holiday.on == day.on for holiday in hours.bank_holidays) else "closed"


def _month(days: list[Day], hours: Hours) -> Text:
    from rich.text import Text

    first = days[0].on
    text = Text(f"{first:%B %Y}".center(21).rstrip() + "\n" + "Mo Tu We Th Fr Sa Su\n", no_wrap=True)
    text.append("   " * first.weekday())
    for day in days:
        mark = _mark(day, hours)
        sign, _, style = MARKS[mark]
        shown = sign.replace("12", f"{day.on.day:2}") if "12" in sign else f" {sign}"
        text.append(f"{shown:<3}", style=style)
        if day.on.weekday() == 6:
            text.append("\n")
    return text
