"""Where every message and every letter is, and what a person can do about it."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from supportd.cli.desk import at_desk
from supportd.errors import Unavailable, UserError

# After a restore: more than are given out between two backups.
_NUMBERS_SKIPPED = 1000


@click.command(epilog="For example:  supportd why '<CAM-123@mail.example>'")
@click.argument("message_id")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
@click.pass_context
def why(context: click.Context, message_id: str, as_json: bool) -> None:
    """Tell the whole path of one mail: when it was captured, what it became and why, and what was written about it."""
    from supportd.db import ledger, letters, tickets

    with at_desk(context) as desks, desks.database.read() as connection:
        found = ledger.by_message_id(connection, message_id)
        if not found and message_id.startswith("<"):
            found = ledger.by_message_id(connection, message_id.strip("<>"))
        elif not found:
            found = ledger.by_message_id(connection, f"<{message_id}>")
        told: list[dict[str, Any]] = []
        for row in found:
            reference = tickets.reference_of(connection, row["ticket_id"]) if row["ticket_id"] else None
            about = letters.about(connection, row["ticket_id"]) if row["ticket_id"] else []
            told.append({**_plain(row), "ticket": reference, "letters": [_plain(one) for one in about]})
    if not told:
        raise UserError(f"no message with the Message-ID {message_id} was ever seen here")
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    for row in told:
        click.echo(f"message {row['id']}: {row['verdict'] or 'waits for its decision'}")
        for name in ("received_at", "captured_at", "decided_at", "filed_at", "attempts", "rule", "reason", "folder"):
            if row[name] not in (None, ""):
                click.echo(f"  {name.replace('_', ' '):<12} {row[name]}")
        if row["ticket"]:
            click.echo(f"  {'ticket':<12} {row['ticket']}")
        for one in row["letters"]:
            line = f"  {'letter':<12} {one['kind']} to {one['recipient']}: {one['state']}  {one['reply'] or ''}"
            click.echo(line.rstrip())


@click.command(epilog="For example:  supportd status --json")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    """Tell how the service is: open or closed, tickets, letters, quarantine, the breaker."""
    from supportd.db import ledger, letters, tickets
    from supportd.service import clock

    now = clock()
    with at_desk(context) as desks, desks.database.read() as connection:
        mailboxes = []
        for desk in desks.config.desks:
            number = desks.mailbox_id(connection, desk)
            opens = desk.hours.next_open(now)
            mailboxes.append(
                {
                    "mailbox": desk.name,
                    "open": desk.hours.is_open(now),
                    "opens_at": opens.isoformat() if opens else None,
                    "tickets": len(tickets.live(connection, number, desk.level_names)),
                    "undecided": len(ledger.undecided(connection, number, limit=10_000)),
                    "quarantined": len(ledger.quarantined(connection, number)),
                }
            )
        told: dict[str, Any] = {
            "mailboxes": mailboxes,
            "letters": letters.counts(connection),
            "breaker": letters.breaker(connection) or None,
        }
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    for one in mailboxes:
        service = "open" if one["open"] else f"closed until {one['opens_at'] or 'new term dates are configured'}"
        click.echo(
            f"{one['mailbox']}: {service}; {one['tickets']} live tickets, {one['undecided']} undecided, "
            f"{one['quarantined']} in quarantine"
        )
    states = ", ".join(f"{count} {state}" for state, count in told["letters"].items())
    click.echo(f"letters: {states or 'none yet'}")
    if told["breaker"]:
        click.echo(f"the breaker holds back {told['breaker']} mail; release it with: supportd outbox resume")


@click.group()
def outbox() -> None:
    """Letters waiting, failed, held by the breaker."""


@outbox.command("list", epilog="For example:  supportd outbox list --state failed")
@click.option("--state", "states", multiple=True, help="Only these states; by default all but sent.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
@click.pass_context
def outbox_list(context: click.Context, states: Sequence[str], as_json: bool) -> None:
    """List letters, oldest first."""
    from supportd.db import letters
    from supportd.db.letters import LetterState

    known = {str(state) for state in LetterState}
    if unknown := set(states) - known:
        raise UserError(f"{', '.join(sorted(unknown))} is no state; there are {', '.join(sorted(known))}")
    wanted = [LetterState(one) for one in states] or [one for one in LetterState if one is not LetterState.SENT]
    with at_desk(context) as desks, desks.database.read() as connection:
        found = [_plain(one) for one in letters.listing(connection, wanted)]
    _print(found, as_json, ("id", "state", "kind", "recipient", "attempts", "not_before", "reply"))


@outbox.command(epilog="For example:  supportd outbox retry 12")
@click.argument("number", type=int)
@click.pass_context
def retry(context: click.Context, number: int) -> None:
    """Send a letter again that failed or was dropped: the same bytes, under the same Message-ID."""
    _letter(context, number, "retry")


@outbox.command(epilog="For example:  supportd outbox drop 12")
@click.argument("number", type=int)
@click.pass_context
def drop(context: click.Context, number: int) -> None:
    """Take a letter that waits out of the outbox; it stays on record."""
    _letter(context, number, "drop")


@outbox.command(epilog="For example:  supportd outbox resume")
@click.pass_context
def resume(context: click.Context) -> None:
    """Release the circuit breaker after its reason was found."""
    from supportd.db import letters
    from supportd.service import clock

    with at_desk(context) as desks, desks.database.write() as connection:
        letters.resume(connection, clock())
    click.echo("the outbox goes on")


def _letter(context: click.Context, number: int, what: str) -> None:
    from supportd.db import letters
    from supportd.service import clock

    with at_desk(context) as desks, desks.database.write() as connection:
        done = letters.retry(connection, number, clock()) if what == "retry" else letters.drop(connection, number)
    if not done:
        allowed = "that has ended without being sent" if what == "retry" else "that waits"
        raise UserError(f"there is no letter {number} {allowed}; list them with: supportd outbox list")
    click.echo(f"letter {number}: {what}")


@click.group()
def quarantine() -> None:
    """Mail that could not be read, and screened mail when we were wrong."""


@quarantine.command("list", epilog="For example:  supportd quarantine list --screened")
@click.option("--screened", is_flag=True, help="Screened mail instead of quarantined mail.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
@click.pass_context
def quarantine_list(context: click.Context, screened: bool, as_json: bool) -> None:
    """List what waits for a person."""
    from supportd.db import ledger
    from supportd.service import clock

    found: list[dict[str, Any]] = []
    with at_desk(context) as desks, desks.database.read() as connection:
        for desk in desks.config.desks:
            number = desks.mailbox_id(connection, desk)
            epoch = clock().replace(year=1970)
            rows = (
                ledger.screened_since(connection, number, epoch)
                if screened
                else ledger.quarantined(connection, number)
            )
            found += [
                {"id": one.id, "at": one.at.isoformat(), "sender": one.sender, "rule": one.rule, "reason": one.reason}
                for one in rows
            ]
    _print(found, as_json, ("id", "at", "sender", "reason"))


@quarantine.command("show", epilog="For example:  supportd quarantine show 12 > mail.eml")
@click.argument("number", type=int)
@click.pass_context
def quarantine_show(context: click.Context, number: int) -> None:
    """Print the raw mail as it came in."""
    from supportd.db import ledger

    with at_desk(context) as desks, desks.database.read() as connection:
        raw = ledger.raw_bytes(connection, number)
    if raw is None:
        raise UserError(f"there is no message {number}, or its raw bytes are gone; list them: supportd quarantine list")
    sys.stdout.buffer.write(raw)


@quarantine.command("retry", epilog="For example:  supportd quarantine retry 12 --edited mail.eml")
@click.argument("number", type=int)
@click.option("--edited", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Take this instead.")
@click.option("--as-ticket", is_flag=True, help="Open a ticket whatever screening says: a person has looked at it.")
@click.pass_context
def quarantine_retry(context: click.Context, number: int, edited: Path | None, as_ticket: bool) -> None:
    """Hand a quarantined or screened mail to the daemon again."""
    from supportd.db import ledger

    with at_desk(context) as desks, desks.database.write() as connection:
        done = ledger.retry(connection, number, edited.read_bytes() if edited else None, as_ticket=as_ticket)
    if not done:
        raise UserError(f"message {number} is neither quarantined nor screened; list them: supportd quarantine list")
    click.echo(f"message {number} will be decided again")


@quarantine.command("discard", epilog="For example:  supportd quarantine discard 12")
@click.argument("number", type=int)
@click.confirmation_option(prompt="Its raw bytes will be gone for good. Discard it?")
@click.pass_context
def quarantine_discard(context: click.Context, number: int) -> None:
    """Delete the raw bytes of a quarantined mail; that it came, and what a person decided, stays on record."""
    from supportd.db import ledger

    with at_desk(context) as desks, desks.database.write() as connection:
        done = ledger.discard(connection, number)
    if not done:
        raise UserError(f"message {number} is not in quarantine; list them with: supportd quarantine list")
    click.echo(f"message {number} is discarded")


@click.command(epilog="For example:  supportd audit --json")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def audit(context: click.Context, as_json: bool) -> None:
    """Hold every folder against the ledger, and every ledger row against its rules; exit 3 if one fails."""
    from supportd.audit import findings
    from supportd.service import clock

    with at_desk(context) as desks:
        found = findings(desks.database, desks.config, clock)
    if as_json:
        click.echo(json.dumps({"findings": list(found)}, indent=2))
    else:
        click.echo("\n".join(found) if found else "every message is accounted for")
    if found:
        sys.exit(3)


@click.command(epilog="For example:  supportd reconcile --since 2026-11-20")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), required=True, metavar="DATE", help="YYYY-MM-DD, in UTC.")
@click.pass_context
def reconcile(context: click.Context, since: datetime) -> None:
    """Take back into the database what lies in the folders of filed mail and is not in it; nobody is answered.

    The daemon does the same each day for the last seven days.  On a new database this also says since when mail in
    the INBOX is to be answered.
    """
    from supportd.accounts import access_tokens, current_token, imap_account
    from supportd.db import ledger
    from supportd.imap import ImapSession
    from supportd.reconcile import Reconciler
    from supportd.service import clock
    from supportd.station import folders_of, message_limit_bytes

    since = since.replace(tzinfo=UTC)
    with at_desk(context) as desks:
        for desk in desks.config.desks:
            with desks.database.write() as connection:
                number = ledger.ensure_mailbox(connection, desk.name)
                ledger.first_start(connection, number, since)
            reconciler = Reconciler(
                desks.database,
                mailbox_id=number,
                folders=folders_of(desk),
                prefix=desk.mailbox.reference,
                message_limit_bytes=message_limit_bytes(desk),
            )
            token = current_token(access_tokens(desks.config, desk), clock)
            session = ImapSession(imap_account(desks.config, desk, token))
            try:
                count = reconciler.sweep(session, since, clock())
            finally:
                session.close()
            click.echo(f"{desk.name}: {count} messages taken back" + ("; the daemon decides them" if count else ""))


@click.group()
def db() -> None:
    """Upgrade, back up, check and restore the database."""


@db.command("upgrade", epilog="For example:  supportd db upgrade")
@click.pass_context
def db_upgrade(context: click.Context) -> None:
    """Bring the schema up to date; the daemon does the same when it starts."""
    from supportd.db.migrate import NEWEST

    with at_desk(context):
        click.echo(f"the schema is version {NEWEST}")


@db.command("backup", epilog="For example:  supportd db backup /var/backups/supportd.db")
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_context
def db_backup(context: click.Context, target: Path) -> None:
    """Copy the SQLite database, consistent while the daemon runs."""
    from supportd.db.migrate import backup

    with at_desk(context) as desks:
        if desks.database.path is None:
            raise UserError("the database is PostgreSQL; back it up with pg_dump, or with the cluster's own means")
        backup(desks.database.path, target)
    click.echo(f"backed up to {target}")


@db.command("restore", epilog="For example:  supportd db restore /var/backups/supportd.db")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_context
def db_restore(context: click.Context, source: Path) -> None:
    """Put a backup of the SQLite database in place, while the daemon is stopped; what was there is kept beside it."""
    from supportd.db import ledger, tickets
    from supportd.db.engine import Database
    from supportd.db.migrate import restore
    from supportd.lease import is_dead
    from supportd.service import clock

    before = Database(context.obj.own_config().database_url)
    target = before.path
    if target is None:
        raise UserError("the database is PostgreSQL; restore it with pg_restore, then: supportd reconcile --since DATE")
    holders: list[ledger.LeaseHolder] = []
    # What cannot be read any more is a reason for this command, not against it.
    with contextlib.suppress(UserError, Unavailable), before.read() as connection:
        holders = ledger.lease_holders(connection)
    before.close()
    if any(one.owner and one.until and one.until > clock() and not is_dead(one.owner) for one in holders):
        raise UserError("a daemon is at work on this database; stop it first: systemctl stop supportd")
    aside = restore(source, target)
    with at_desk(context) as desks, desks.database.write() as connection:
        for desk in desks.config.desks:
            tickets.skip_numbers(connection, desk.mailbox.reference, _NUMBERS_SKIPPED)
    click.echo(f"restored {source}" + (f"; what was there is now {aside}" if aside else ""))
    click.echo(f"ticket numbers go on {_NUMBERS_SKIPPED} higher, so that none is given out twice")
    click.echo("mail since the backup comes back, unanswered, by: supportd reconcile --since YYYY-MM-DD")


@db.command("check", epilog="For example:  supportd db check")
@click.pass_context
def db_check(context: click.Context) -> None:
    """Check that the database is whole; exit 3 if it is not."""
    from supportd.db.migrate import integrity

    with at_desk(context) as desks:
        problems = integrity(desks.database)
    click.echo("\n".join(problems) if problems else "the database is whole")
    if problems:
        sys.exit(3)


@click.command(epilog="For example:  supportd digest --preview")
@click.option("--preview", is_flag=True, required=True, help="Print the digest as it would go out now.")
@click.option("--mailbox", help="Only of this mailbox.")
@click.pass_context
def digest(context: click.Context, preview: bool, mailbox: str | None) -> None:
    """Print the digest as it would go out now; nothing is sent."""
    import email
    import email.policy

    from supportd.compose import Envelope
    from supportd.remind import Reminder

    with at_desk(context) as desks, desks.database.read() as connection:
        for desk in desks.named(mailbox):
            post = desks.post(connection, desk)
            reminder = Reminder(desks.database, desk, post.composer, post.keys, post.mailbox_id)
            address = desk.it_inbox or desk.mailbox.address
            envelope = Envelope(
                key="preview",
                message_id=f"<preview@{address.rpartition('@')[2]}>",
                recipient=address,
                envelope_from=desk.mailbox.address,
                now=post.now,
            )
            letter = post.composer.digest(envelope, reminder.worklist(post))
            body = email.message_from_bytes(letter.data, policy=email.policy.default).get_body(("plain",))
            click.echo(body.get_content() if body is not None else "")


def _print(rows: Sequence[Mapping[str, Any]], as_json: bool, columns: Sequence[str]) -> None:
    """Print *rows* as JSON, as a table on a terminal, or as tab-separated lines in a pipe."""
    if as_json:
        click.echo(json.dumps(list(rows), indent=2))
    elif not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join("" if row[name] is None else str(row[name]) for name in columns))
    else:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table(*(name.replace("_", " ") for name in columns), box=None, header_style="bold")
        for row in rows:
            table.add_row(*(escape("" if row[name] is None else str(row[name])) for name in columns))
        Console().print(table if rows else "nothing")


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return *row* with instants as ISO 8601 texts."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
