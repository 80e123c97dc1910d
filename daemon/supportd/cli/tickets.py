"""``supportd ticket``: what the ``#`` commands of a technician's mail do, from the shell; the same code runs."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import click

from supportd.cli.desk import at_desk, shell_actor
from supportd.core.commands import HELP, Verb
from supportd.core.model import Event, EventKind, Status, Ticket
from supportd.errors import UserError


@click.group(epilog="For example:  supportd ticket show AS-123")
def ticket() -> None:
    """List, show and steer tickets."""


@ticket.command("list", epilog="For example:  supportd ticket list --status open --json")
@click.option(
    "--status",
    type=click.Choice([*(one.value for one in Status), "all"]),
    help="Only these; by default new, open and waiting.",
)
@click.option("--level", type=click.IntRange(1, 6), help="Only this severity.")
@click.option("--mailbox", help="Only this mailbox.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=200, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
@click.pass_context
def list_(
    context: click.Context, status: str | None, level: int | None, mailbox: str | None, limit: int, as_json: bool
) -> None:
    """List tickets, newest last."""
    from supportd.db import tickets

    with at_desk(context) as desks:
        found: list[Ticket] = []
        zones = {}
        for desk in desks.named(mailbox):
            zones[desk.name] = desk.hours.zone
            with desks.database.read() as connection:
                found += tickets.listing(
                    connection,
                    desks.mailbox_id(connection, desk),
                    desk.level_names,
                    statuses=None if status == "all" else [Status(status)] if status else list(tickets.LIVE),
                    level=level,
                    limit=limit,
                )
    if as_json:
        click.echo(json.dumps([as_dict(one) for one in found], indent=2))
        return
    if not sys.stdout.isatty():
        for one in found:
            due = one.response_due if one.responded_at is None else one.resolution_due
            fields = (one.reference, one.level, one.status, _iso(due) or "-", one.requester.address, one.subject)
            click.echo("\t".join(map(str, fields)))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("Ticket", "Severity", "Status", "Next deadline", "From", "Subject", box=None, header_style="bold")
    for one in found:
        due = one.response_due if one.responded_at is None else one.resolution_due
        shown = due.astimezone(zones[one.mailbox]).strftime("%a %d %b %H:%M") if due else "-"
        table.add_row(
            one.reference,
            f"{one.level} {one.level_name}",
            one.status,
            shown,
            escape(one.requester.name or one.requester.address),
            escape(one.subject),
        )
    Console().print(table if found else "no tickets")


@ticket.command(epilog="For example:  supportd ticket show AS-123")
@click.argument("reference")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def show(context: click.Context, reference: str, as_json: bool) -> None:
    """Show one ticket: what was written, why this severity, by when, and all that happened."""
    from supportd.db import tickets

    with _on(context, reference, writes=False) as (post, found):
        happened = tickets.events(post.connection, found.id)
        zone = post.desk.hours.zone
        if as_json:
            shown = {**as_dict(found), "text": found.text, "events": [_event(one) for one in happened]}
            click.echo(json.dumps(shown, indent=2))
            return
        for name, value in _facts(found, happened, zone):
            click.echo(f"{name + ':':<12} {value}")
        click.echo()
        click.echo(found.text or "(no text)")
        click.echo()
        for one in happened:
            details = ", ".join(f"{key} {value}" for key, value in one.details if value)
            shown_at = one.at.astimezone(zone).strftime("%a %d %b %Y %H:%M")
            click.echo(f"{shown_at}  {one.kind:<12} {one.by} ({one.way})" + (f"  {details}" if details else ""))
            if one.text and one.kind is not EventKind.RECEIVED:
                click.echo("    " + one.text.replace("\n", "\n    "))


def _command(verb: Verb, argument: str | None, *, text: bool) -> None:
    """Add the shell twin of ``#verb``."""
    described = HELP[verb]

    def run(context: click.Context, reference: str, value: str = "", message: str = "") -> None:
        from supportd import steering
        from supportd.core import commands

        with _on(context, reference) as (post, found):
            read = commands.read(f"#{verb} {value}".rstrip(), steering.vocabulary(post, shell_actor().address))
            if isinstance(read, commands.Mistake):
                raise UserError([*read.problems, _example(read.example, reference)])
            for command in read.commands:
                found = steering.apply(post, found, command, shell_actor(), text=message)
            click.echo(f"{found.reference} is {found.status}, level {found.level} {found.level_name}")

    parameters: list[click.Parameter] = [click.Argument(["reference"])]
    if argument:
        parameters.append(click.Argument(["value"], metavar=argument))
    if text:
        parameters.append(click.Option(["-m", "--message"], default="", help="What the requester is told."))
    command = click.Command(
        str(verb),
        params=parameters,
        help=described.meaning[0].upper() + described.meaning[1:] + ".",
        epilog=f"For example:  supportd ticket {verb} AS-123{' ' + argument.lower() if argument else ''}",
        callback=click.pass_context(run),
    )
    ticket.add_command(command)


for _verb, _argument, _text in (
    (Verb.ACK, None, False),
    (Verb.ASSIGN, "NAME", False),
    (Verb.SEVERITY, "LEVEL", False),
    (Verb.WAIT, None, False),
    (Verb.RESOLVE, None, True),
    (Verb.CLOSE, None, False),
    (Verb.REOPEN, None, False),
    (Verb.MERGE, "TICKET", False),
    (Verb.SPAM, None, False),
    (Verb.FOR, "ADDRESS", False),
    (Verb.STATUS, "TEXT", False),
):
    _command(_verb, _argument, text=_text)


@ticket.command(epilog='For example:  supportd ticket note AS-123 "rang her, she is in class until 3"')
@click.argument("reference")
@click.argument("text")
@click.pass_context
def note(context: click.Context, reference: str, text: str) -> None:
    """Keep an internal note; the requester does not get it."""
    from supportd import steering

    with _on(context, reference) as (post, found):
        steering.note(post, found, shell_actor(), text)
        click.echo(f"noted on {found.reference}")


@ticket.command(epilog='For example:  supportd ticket answer AS-123 "It is plugged in again, please try."')
@click.argument("reference")
@click.argument("text")
@click.pass_context
def answer(context: click.Context, reference: str, text: str) -> None:
    """Answer the requester; the text goes out from the support address, in her thread."""
    from supportd import steering

    with _on(context, reference) as (post, found):
        steering.answer(post, found, shell_actor(), text)
        click.echo(f"the answer to {found.reference} is queued")


@ticket.command(epilog="For example:  supportd ticket split AS-123")
@click.argument("reference")
@click.pass_context
def split(context: click.Context, reference: str) -> None:
    """Take a ticket out of its incident."""
    from supportd import steering

    with _on(context, reference) as (post, found):
        steering.split(post, found, shell_actor())
        click.echo(f"{found.reference} stands by itself")


@ticket.command(epilog="For example:  supportd ticket join AS-124 AS-123")
@click.argument("reference")
@click.argument("other")
@click.pass_context
def join(context: click.Context, reference: str, other: str) -> None:
    """Gather a ticket under the incident of another, which opens one when it has none."""
    from supportd import steering

    with _on(context, reference) as (post, found):
        steering.join(post, found, shell_actor(), other)
        click.echo(f"{found.reference} is one report more of the incident of {other.upper()}")


@ticket.command(epilog='For example:  supportd ticket new --from jane@school.example --subject "Board" "It is dead"')
@click.option("--from", "requester", required=True, metavar="ADDRESS", help="Who rang, or came by.")
@click.option("--subject", required=True)
@click.option("--mailbox", help="Which mailbox it belongs to, where there are several.")
@click.argument("text", default="")
@click.pass_context
def new(context: click.Context, requester: str, subject: str, mailbox: str | None, text: str) -> None:
    """Open a ticket for somebody who rang; TEXT is what was said, or - to read it from standard input."""
    from supportd import opening
    from supportd.core import addresses, clean
    from supportd.core.model import Address

    address = requester.strip().lower()
    if not addresses.is_plain(address):
        raise UserError(f"{requester} is no address; write it as jane.smith@school.example")
    said = sys.stdin.read() if text == "-" else text
    with at_desk(context) as desks:
        desk, *others = desks.named(mailbox)
        if others:
            raise UserError(f"which mailbox? --mailbox {' or '.join(one.name for one in (desk, *others))}")
        with desks.database.write() as connection:
            post = desks.post(connection, desk)
            if not post.mailbox_id:
                raise UserError(f"the mailbox {desk.name} was never served; start the daemon first")
            opened = opening.open_by_hand(
                post, shell_actor(), Address(address=address), clean.line(subject, 300), clean.block(said)
            )
    click.echo(f"{opened.reference} is open, level {opened.level} {opened.level_name}")


@contextmanager
def _on(context: click.Context, reference: str, *, writes: bool = True) -> Iterator[tuple[Any, Ticket]]:
    """Yield a post in one transaction, and the ticket that people call *reference*."""
    from supportd import steering
    from supportd.db import tickets

    with at_desk(context) as desks:
        transaction: Callable[[], Any] = desks.database.write if writes else desks.database.read
        with transaction() as connection:
            ticket_id = tickets.id_of(connection, reference)
            if ticket_id is None:
                raise UserError(f"there is no ticket {reference}; list them with: supportd ticket list --status all")
            desk = desks.desk_of(connection, ticket_id)
            post = desks.post(connection, desk)
            yield post, steering.load(post, ticket_id)


def _example(written: str, reference: str) -> str:
    """Return the example of a mail's command ("#severity 2") as it is typed in the shell."""
    verb, _, value = written.removeprefix("#").partition(" ")
    return f"for example: supportd ticket {verb} {reference} {value}".rstrip()


def as_dict(one: Ticket) -> dict[str, Any]:
    """Return the ticket as scripts get it: instants in UTC, null where there is none."""
    return {
        "reference": one.reference,
        "mailbox": one.mailbox,
        "subject": one.subject,
        "requester": one.requester.address,
        "requester_name": one.requester.name,
        "severity": one.level,
        "name": one.level_name,
        "status": str(one.status),
        "assignee": one.assignee or None,
        "received_at": _iso(one.received_at),
        "response_due": _iso(one.response_due),
        "resolution_due": _iso(one.resolution_due),
        "due_reason": one.due_reason,
        "responded_at": _iso(one.responded_at),
        "resolved_at": _iso(one.resolved_at),
        "closed_at": _iso(one.closed_at),
        "verified": one.verified,
        "automatic": one.automatic,
        "restricted": one.restricted,
        "incident": one.incident,
        "participants": list(one.participants),
        "evidence": [dataclasses.asdict(hit) for hit in one.evidence],
        "row": one.row,
        "attachments": [{"name": part.name, "type": part.type, "size": part.size} for part in one.attachments],
    }


def _facts(one: Ticket, happened: Sequence[Event], zone: Any) -> Iterator[tuple[str, str]]:
    def local(at: datetime | None) -> str:
        return "-" if at is None else at.astimezone(zone).strftime("%a %d %b %Y %H:%M")

    yield "Ticket", f"{one.reference} ({one.status})"
    yield "Subject", one.subject
    yield "From", f"{one.requester.name} <{one.requester.address}>" + ("" if one.verified else ", unverified")
    sender = next((event.detail("sender") for event in happened if event.kind is EventKind.RECEIVED), "")
    if sender:
        yield "Evidence", sender
    yield "Severity", f"{one.level} {one.level_name}: {one.row}"
    yield "Because", ", ".join(f"“{hit.words}” ({hit.facet})" for hit in one.evidence) or "no keyword was found"
    yield "Received", local(one.received_at)
    yield "Response", f"due {local(one.response_due)}, met {local(one.responded_at)}"
    yield "Resolution", f"due {local(one.resolution_due)}, met {local(one.resolved_at)}"
    if one.due_reason:
        yield "Deadline", one.due_reason
    yield "Assignee", one.assignee or "nobody yet"
    for part in one.attachments:
        yield "Attachment", f"{part.name} ({part.type}, {part.size} bytes)"


def _event(one: Event) -> dict[str, Any]:
    return {
        "kind": str(one.kind),
        "at": _iso(one.at),
        "by": one.by,
        "way": one.way,
        "text": one.text,
        "details": dict(one.details),
    }


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
