"""The schema brought up to date: all steps in one transaction, a backup before, never onto a newer schema."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from supportd.db.engine import Database, alone
from supportd.errors import UserError

# The newest step in db/migrations/versions; a test compares it with the files there.
NEWEST = "0001"


def version(connection: Connection) -> str | None:
    """Return the schema's version, or None for an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def upgrade(database: Database) -> str | None:
    """Bring the schema up to date and return the version it had; a SQLite file is backed up beside itself before.

    Raises:
        UserError: the schema is newer than this program.
        Unavailable: the database cannot be reached.
    """
    with database.read() as connection:
        found = version(connection)
    if found == NEWEST:
        return found
    if found is not None and found > NEWEST:
        raise UserError(
            f"database: its schema is version {found}, and this program knows none later than {NEWEST}; "
            "install the newer supportd again, or restore the backup from before its upgrade"
        )
    if found is not None and database.path is not None:
        backup(database.path, database.path.with_name(f"{database.path.name}.before-{NEWEST}"))
    # alembic takes most of a second to import, so only a real step pays for it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "supportd.db:migrations")
    with database.write() as connection:
        alone(connection)
        # Another daemon that was started at the same time may have done it meanwhile.
        if version(connection) != NEWEST:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    return found


def integrity(database: Database) -> tuple[str, ...]:
    """Return what is wrong with the database's own structure, empty when it is whole."""
    with database.read() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT count(*) FROM message"))
            return ()
        answers = connection.execute(text("PRAGMA integrity_check")).scalars().all()
        orphans = connection.execute(text("PRAGMA foreign_key_check")).all()
    problems = [str(answer) for answer in answers if answer != "ok"]
    return (*problems, *(f"table {row[0]}: row {row[1]} names a row of {row[2]} that is not there" for row in orphans))


def restore(source: Path, target: Path) -> Path | None:
    """Put a copy of the backup *source* where the database *target* was; return where that lies now, if it was there.

    Raises:
        UserError: *source* is no whole database of this program, or cannot be copied.
    """
    try:
        with contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as reader:
            answers = [str(row[0]) for row in reader.execute("PRAGMA integrity_check")]
            found = reader.execute("SELECT version_num FROM alembic_version").fetchone()[0]
    except (sqlite3.Error, TypeError) as error:
        raise UserError(f"restore: {source} is no backup of supportd: {error}") from error
    if answers != ["ok"]:
        raise UserError(f"restore: {source} is damaged: {answers[0]}; take an older backup")
    if found > NEWEST:
        raise UserError(f"restore: the schema of {source} is version {found}; this program knows none after {NEWEST}")
    aside: Path | None = None
    if target.exists():
        aside = target.with_name(f"{target.name}.before-restore")
        try:
            for suffix in ("", "-wal", "-shm"):
                part = target.with_name(target.name + suffix)
                # With its journal, for what was written last may stand there alone.
                aside.with_name(aside.name + suffix).unlink(missing_ok=True)
                if part.exists():
                    part.rename(aside.with_name(aside.name + suffix))
        except OSError as error:
            raise UserError(f"restore: {target} cannot be moved aside: {error}") from error
    backup(source, target)
    return aside


def backup(source: Path, target: Path) -> None:
    """Copy the SQLite file *source* to *target*, consistent while the daemon runs; an older copy is replaced whole.

    Raises:
        UserError: the copy cannot be written.
    """
    partial = target.with_name(target.name + ".partial")
    try:
        partial.unlink(missing_ok=True)
        with sqlite3.connect(f"file:{source}?mode=ro", uri=True) as reader, sqlite3.connect(partial) as writer:
            reader.backup(writer)
        reader.close()
        writer.close()
        partial.chmod(0o600)
        shutil.move(partial, target)
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"backup: {target} cannot be written: {error}") from error
