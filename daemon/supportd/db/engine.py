"""One database: SQLite (WAL, synchronous=FULL, BEGIN IMMEDIATE) or PostgreSQL by psycopg 3, opened the safe way."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DatabaseError, DBAPIError, IntegrityError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.pool import QueuePool

from supportd.errors import Overtaken, Unavailable, UserError

__all__ = ["Connection", "Database", "alone"]

# Any number will do that no other program locks on the same database: "support".
_ALONE = 0x737570706F7274
# SQLSTATE of a unique violation.
_UNIQUE_VIOLATION = "23505"


class Database:
    """Hands out transactions: :meth:`write` for a decision, :meth:`read` for a look.

    On SQLite a write transaction begins IMMEDIATE: a deferred one that upgrades fails with "database is locked" despite
    any timeout (measured: 359 of 400 lost).  synchronous=FULL since our MOVE and SMTP act on what is committed.
    """

    def __init__(self, url: str, password: str | None = None) -> None:
        """Open the database at *url*; nothing is read or written yet.

        Raises:
            UserError: the folder of the SQLite file does not exist, or the driver is not installed.
        """
        parsed = make_url(url)
        if password is not None:
            parsed = parsed.set(password=password)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.path: Path | None = Path(parsed.database) if self.is_sqlite and parsed.database else None
        if self.path is not None and not self.path.parent.is_dir():
            folder = self.path.parent
            raise UserError(f"database: the folder {folder} does not exist; create it: mkdir -p {folder}")
        if self.is_sqlite:
            # The threads of one daemon share a handful of connections; SQLite serialises the writers itself.
            self.engine: Engine = create_engine(parsed, poolclass=QueuePool, pool_size=5, max_overflow=20)
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            try:
                self.engine = create_engine(parsed, pool_pre_ping=True, pool_size=5, max_overflow=20)
            except ImportError as error:
                raise UserError("database: PostgreSQL needs its driver; install supportd[postgresql]") from error

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield the connection of a write transaction: committed whole at the end, or not at all.

        Raises:
            Unavailable: the database cannot be reached, is locked, or its disk is full; nothing was written, unless the
                connection broke in the midst of COMMIT: every caller looks again before it tries again.
            Overtaken: another daemon wrote a row with the same unique key first.
        """
        with (
            _failures(),
            self.engine.connect().execution_options(immediate=True) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield the connection of a read transaction, which never blocks a writer.

        Raises:
            Unavailable: the database cannot be reached.
        """
        with _failures(), self.engine.connect() as connection, connection.begin():
            yield connection

    def require_durability(self) -> None:
        """Refuse a PostgreSQL that forgets what it has committed: our MOVE and SMTP act upon it.

        Raises:
            UserError: ``fsync`` or ``synchronous_commit`` is off.
            Unavailable: the database cannot be reached.
        """
        if self.is_sqlite:
            return
        for name, cure in (
            ("fsync", "set fsync = on in postgresql.conf"),
            ("synchronous_commit", "ALTER ROLE ... SET synchronous_commit = on"),
        ):
            with self.read() as connection:
                value = connection.execute(text(f"SHOW {name}")).scalar()
            if value == "off":
                raise UserError(f"database: {name} is off, and mail would be lost with the power: {cure}")

    def try_to_write(self) -> None:
        """Make a table and take it back: a read-only file says no only when something is written.

        Raises:
            Unavailable: it cannot be written to.
        """
        try:
            with (
                self.engine.connect().execution_options(immediate=True) as connection,
                connection.begin() as transaction,
            ):
                connection.exec_driver_sql("CREATE TABLE supportd_check (id integer)")
                transaction.rollback()
        except (OperationalError, InterfaceError, ProgrammingError) as error:
            raise Unavailable(f"database: {_first_line(error)}") from error

    def shrink(self) -> None:
        """Write the SQLite file anew, so that what was deleted is in no free page and no write-ahead log.

        Raises:
            Unavailable: another program holds the database, or the disk is full; nothing is lost.
        """
        if not self.is_sqlite:
            return  # PostgreSQL's autovacuum reuses the space; its old row versions end with it.
        connection = self.engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            cursor.execute("VACUUM")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise Unavailable(f"database: {error}") from error
        finally:
            connection.close()

    def truncate_log(self) -> None:
        """Empty SQLite's write-ahead log into the file, so that what was deleted does not outlive itself there.

        Raises:
            Unavailable: the disk is full; nothing is lost.
        """
        if not self.is_sqlite:
            return
        connection = self.engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise Unavailable(f"database: {error}") from error
        finally:
            connection.close()

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def alone(connection: Connection) -> None:
    """Let the open write transaction be the only one that makes first rows; look again afterwards.

    Two daemons that start on an empty PostgreSQL at once would both find nothing, and both insert.  On SQLite BEGIN
    IMMEDIATE has seen to it already.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ALONE})


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        if getattr(error.orig, "sqlstate", None) == _UNIQUE_VIOLATION or "UNIQUE constraint" in str(error.orig):
            raise Overtaken(f"database: another was faster: {_first_line(error)}") from error
        raise
    except (OperationalError, InterfaceError) as error:
        raise Unavailable(f"database: {_first_line(error)}") from error
    except DatabaseError as error:
        # SQLite has no class of its own for a file that is damaged.
        if type(error) is not DatabaseError:
            raise
        cure = "stop the daemon, then: supportd db restore FILE"
        raise UserError(f"database: {_first_line(error)}; {cure}") from error


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # Python's own transaction handling would begin deferred, behind our back.
    connection.isolation_level = None
    # secure_delete: what was deleted is overwritten, since a daemon cannot stand still to write the file anew.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _first_line(error: DBAPIError) -> str:
    return str(error.orig or error).splitlines()[0]
