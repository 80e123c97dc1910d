"""What commands that touch the database have in common: open it, find the desk of a ticket, act as the shell."""

from __future__ import annotations

import getpass
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from supportd.config import Config, Desk
from supportd.db import keys as key_store
from supportd.db import ledger, tickets
from supportd.db.engine import Connection, Database
from supportd.db.migrate import upgrade
from supportd.errors import UserError
from supportd.post import Post, composer_of
from supportd.service import clock
from supportd.steering import Actor

if TYPE_CHECKING:
    from supportd.cli.app import Session


class Desks:
    """The database and every desk of the configuration, for one command."""

    def __init__(self, config: Config) -> None:
        self.config = config
        password = config.database.password
        self.database = Database(
            config.database_url, password.reveal("database password", config.folder) if password else None
        )
        upgrade(self.database)

    def named(self, mailbox: str | None) -> tuple[Desk, ...]:
        """Return the desk called *mailbox*, or all.

        Raises:
            UserError: there is none of that name.
        """
        found = tuple(desk for desk in self.config.desks if mailbox in (None, desk.name))
        if not found:
            known = ", ".join(desk.name for desk in self.config.desks)
            raise UserError(f"there is no mailbox {mailbox}; the configuration has {known}")
        return found

    def mailbox_id(self, connection: Connection, desk: Desk) -> int:
        """Return the id of the desk's mailbox in the database, 0 before the daemon first served it."""
        return ledger.mailbox_id(connection, desk.name)

    def desk_of(self, connection: Connection, ticket_id: int) -> Desk:
        """Return the desk that the ticket belongs to.

        Raises:
            UserError: its mailbox is no longer configured.
        """
        name = tickets.mailbox_name(connection, ticket_id)
        desk = next((desk for desk in self.config.desks if desk.name == name), None)
        if desk is None:
            raise UserError(f"the ticket belongs to the mailbox {name}, which is not in the configuration any more")
        return desk

    def post(self, connection: Connection, desk: Desk) -> Post:
        """Return a post that queues letters of *desk* in the open transaction."""
        keys = key_store.load(connection, clock(), secrets.token_bytes)
        return Post(connection, desk, composer_of(desk), keys, self.mailbox_id(connection, desk), clock())


@contextmanager
def at_desk(context: click.Context) -> Iterator[Desks]:
    """Yield the desks of the configuration file that is in force, and close the database afterwards."""
    session: Session = context.obj
    desks = Desks(session.own_config())
    try:
        yield desks
    finally:
        desks.database.close()


def shell_actor() -> Actor:
    """Return who acts from the shell: the login name of the person at it."""
    return Actor(address=getpass.getuser(), name="IT support", way="shell")
