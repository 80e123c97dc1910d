"""``supportd retention``, ``export`` and ``erase``: people's data, for the school's data protection officer."""

from __future__ import annotations

import json
import secrets
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supportd.cli.desk import at_desk

if TYPE_CHECKING:
    from supportd.cli.desk import Desks


@click.command(epilog="For example:  supportd retention --plan")
@click.option("--plan", is_flag=True, help="Only tell what would go.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
@click.pass_context
def retention(context: click.Context, plan: bool, as_json: bool) -> None:
    """Take out what is older than its age, as the daemon does each night, and give the freed space back to the disk."""
    from supportd import privacy
    from supportd.service import ages, clock

    with at_desk(context) as desks:
        section = desks.config.retention
        if plan:
            with desks.database.read() as connection:
                found = privacy.plan(connection, ages(desks.config), section.legal_hold, clock())
        else:
            found = privacy.apply(desks.database, ages(desks.config), section.legal_hold, clock())
            desks.database.shrink()
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
        return
    for one in found:
        age = "kept for ever" if one.days is None else f"kept {one.days} days"
        click.echo(f"{one.what}: {age}; {one.count} {'would go' if plan else 'gone'}")


@click.command(epilog="For example:  supportd export jane.smith@school.example --out jane")
@click.argument("address")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("export"), show_default=True)
@click.pass_context
def export(context: click.Context, address: str, out: Path) -> None:
    """Write everything that is stored about ADDRESS into a folder: index.html, data.json, each mail as .eml."""
    from supportd import privacy

    with at_desk(context) as desks:
        names = desks.config.desks[0].level_names if desks.config.desks else {}
        count = privacy.export(desks.database, address.strip().lower(), out, names)
    click.echo(f"{count} tickets and messages written to {out}; look through what is marked before handing it over")


@click.command(epilog="For example:  supportd erase jane.smith@school.example --dry-run")
@click.argument("address")
@click.option("--dry-run", is_flag=True, help="Only tell what would go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def erase(context: click.Context, address: str, dry_run: bool, yes: bool) -> None:
    """Take everything of ADDRESS out, for good: words, files, raw mail, letters; numbers and dates stay."""
    from supportd import privacy
    from supportd.db import privacy as stored
    from supportd.service import clock

    wanted = address.strip().lower()
    with at_desk(context) as desks:
        with desks.database.read() as connection:
            found = stored.find(connection, wanted)
        click.echo(
            f"{wanted}: {len(found.own)} tickets, a part in {len(found.shared)} others, "
            f"{len(found.messages)} messages, {found.letters} letters"
        )
        if dry_run:
            return
        if not yes and not click.confirm("This cannot be undone. Erase it?"):
            sys.exit(1)
        privacy.erase(desks.database, wanted, _key(desks), desks.config.retention.legal_hold, clock())
    click.echo("erased; copies in the mailbox's folders are deleted in your mail program")


def _key(desks: Desks) -> bytes:
    """Return the key of the tombstones: the first one ever drawn, which no rotation changes."""
    from supportd.db import keys
    from supportd.service import clock

    with desks.database.write() as connection:
        keys.load(connection, clock(), secrets.token_bytes)
        return keys.first(connection)
