"""Many lives of the daemon, quickly: each is forked from a process that has imported everything and opened nothing.

What runs is ``supportd -c FILE run`` as a process of its own; only the second that Python needs for its imports is
saved, so that a thousand deaths fit into a session.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from servers import PASSWORD, wait_until

_NURSERY = """
import os, signal, sys
import supportd.cli.app, supportd.config, supportd.service
import alembic.command, alembic.config, imapclient, psycopg, smtplib
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
for line in sys.stdin:
    log, *arguments = line.rstrip("\\n").split("\\t")
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.argv = ["supportd", *arguments]
        supportd.cli.app.main()
        os._exit(0)
    print(pid, flush=True)
"""


class Nursery:
    """Starts daemons; :meth:`kill` ends one as a power cut would."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _NURSERY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "SUPPORTD_TEST_PASSWORD": PASSWORD},
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def run(self, config: Path, log: Path) -> int:
        """Return the process id of a new daemon on *config* that logs to *log*."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\t".join((str(log), "-c", str(config), "run")) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def kill(self, pid: int) -> None:
        """End the daemon *pid* at once."""
        self._end(pid, signal.SIGKILL)

    def stop(self, pid: int) -> None:
        """End the daemon *pid* in good order, within the ten seconds that it promises."""
        self._end(pid, signal.SIGTERM)

    def _end(self, pid: int, how: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
        wait_until(lambda: not is_running(pid), f"the daemon has ended by {how.name}", timeout_seconds=12)

    def close(self) -> None:
        """End the nursery itself; daemons that still run go on."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=10)


def is_running(pid: int) -> bool:
    """Return whether the process *pid* still does anything."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"
