"""PostgreSQL as Debian packages it: a private cluster on a socket and on loopback, a fresh database for each test."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg

from servers import HOST, ServerProblem, free_ports, is_root, private_directory, program, wait_until


def _newest(name: str) -> str:
    """Return the path of PostgreSQL's program *name*, of the newest version installed."""
    versions = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    newest = max(versions, key=lambda path: int(path.parts[-3]), default=None)
    return str(newest) if newest else program(name, "postgresql")


class PostgreSQL:
    """One private cluster.  It refuses to run as root; started by root, it runs as the package's own user."""

    def __init__(self) -> None:
        self._postgres, initdb = _newest("postgres"), _newest("initdb")
        self._user = "postgres" if is_root() else pwd.getpwuid(os.getuid()).pw_name
        self._process: subprocess.Popen[bytes] | None = None
        self._names = (f"test_{number}" for number in itertools.count(1))
        self.directory = private_directory("postgresql")
        self.log = self.directory / "postgresql.log"
        self.data = self.directory / "data"
        self.port = 0
        if is_root():
            shutil.chown(self.directory, self._user)
        # The cluster is new and holds nothing yet, so that its files need not reach the disk one by one.
        made = subprocess.run(
            [initdb, "--pgdata", self.data, "--username=supportd", "--auth=trust", "--encoding=UTF8", "--no-sync",
             "--locale=C.UTF-8"],
            capture_output=True, text=True, timeout=120, cwd=self.directory,
            user=self._user if is_root() else None,
        )  # fmt: skip
        if made.returncode:
            raise ServerProblem(f"initdb failed: {made.stderr}")

    def start(self) -> None:
        """Start unless it runs, on the same port as before if there was a before; return when it answers a query.

        Raises:
            ServerProblem: it does not come up; the message ends with its log.
        """
        if self._process is not None:
            return
        attempts = 1 if self.port else 3
        for attempt in range(attempts):
            if attempts > 1:
                [self.port] = free_ports(1)
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [self._postgres, "-D", self.data, "-k", self.directory, "-h", HOST, "-p", str(self.port)],
                    stdout=log,
                    stderr=log,
                    cwd=self.directory,
                    start_new_session=True,
                    user=self._user if is_root() else None,
                )
            try:
                wait_until(self._answers, "PostgreSQL answers a query")
            except ServerProblem as problem:
                self.kill()
                if attempt == attempts - 1:
                    raise ServerProblem(f"{problem}\n{self.log_tail()}") from problem
            else:
                return

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise ServerProblem("PostgreSQL ended as soon as it was started")
        with contextlib.suppress(psycopg.OperationalError), self._connect():
            return True
        return False

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host=HOST, port=self.port, user="supportd", dbname="postgres", autocommit=True, connect_timeout=5
        )

    def stop(self) -> None:
        """End at once but in good order ("fast": clients are cut off); the data stay."""
        self._end(os.kill, signal.SIGINT)

    def kill(self) -> None:
        """End every process of it at once, as a power cut would."""
        self._end(os.killpg, signal.SIGKILL)

    def _end(self, send: Callable[[int, int], None], how: signal.Signals) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            send(self._process.pid, how)
        self._process.wait(timeout=20)
        self._process = None

    def remove(self) -> None:
        """Stop, and delete everything."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def log_tail(self) -> str:
        """Return the last forty lines that it logged."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:]) if self.log.exists() else ""

    def new_database(self) -> str:
        """Return the URL of a new, empty database."""
        name = next(self._names)
        with self._connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://supportd@{HOST}:{self.port}/{name}"

    def drop_database(self, url: str) -> None:
        """Delete the database at *url*, cutting off whoever still uses it."""
        with self._connect() as connection:
            connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")
