"""``supportd publish``: the school's article, its calendar and its service status as static pages."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from supportd.cli.app import Session
    from supportd.config import Desk
    from supportd.publish import PublicIncident


@click.command(epilog="For example:  supportd publish /var/www/it")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--mailbox", help="Of this mailbox; by default of the first.")
@click.option(
    "--valid-minutes",
    type=click.IntRange(1, 100_000),
    default=1440,
    show_default=True,
    help="The pages say until when they hold, so that a stopped publisher is seen.",
)
@click.pass_context
def publish(context: click.Context, folder: Path, mailbox: str | None, valid_minutes: int) -> None:
    """Write the pages from the policy in force: what is published is what is promised."""
    from supportd.errors import UserError
    from supportd.post import composer_of
    from supportd.publish import pages, write
    from supportd.service import clock

    session: Session = context.obj
    desks = [desk for desk in session.config().desks if mailbox in (None, desk.name)]
    if not desks:
        raise UserError(f"there is no mailbox {mailbox or ''} in the configuration")
    desk = desks[0]
    now = clock()
    written = pages(desk, composer_of(desk), now, timedelta(minutes=valid_minutes), _incidents(session, desk))
    write(folder, written)
    click.echo("\n".join(str(folder / name) for name in written))


def _incidents(session: Session, desk: Desk) -> list[PublicIncident]:
    """Return the declared incidents of the last 90 days; none where there is no database yet."""
    from supportd.db import ledger, tickets
    from supportd.db.engine import Database
    from supportd.publish import HISTORY, PublicIncident
    from supportd.service import clock

    config = session.config()
    if session.path is None or (config.database_url.startswith("sqlite") and not _exists(config.database_url)):
        return []
    password = config.database.password
    database = Database(
        config.database_url, password.reveal("database password", config.folder) if password else None
    )
    try:
        with database.read() as connection:
            number = ledger.mailbox_id(connection, desk.name)
            found = tickets.public_incidents(connection, number, clock() - HISTORY)
    finally:
        database.close()
    return [
        PublicIncident(
            number=one.id, news=one.news, since=one.opened_at, until=one.closed_at, next_news_at=one.news_due
        )
        for one in found
    ]


def _exists(url: str) -> bool:
    return Path(url.removeprefix("sqlite:///")).is_file()
