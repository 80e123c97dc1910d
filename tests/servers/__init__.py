"""Real servers for the tests, private and throw-away: on loopback, in temporary directories, on ports of their own.

One address in many: every local mailbox exists as soon as somebody writes to it, and its password is ``PASSWORD``.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

HOST = "127.0.0.1"
PASSWORD = "correct horse"

# Below Linux's ephemeral ports (32768 and up), so that no outgoing connection takes a port between choice and use.
_PORTS = range(20_000, 32_000)

# Debian keeps servers where an ordinary user's PATH does not look.
_SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

T = TypeVar("T")


class ServerProblem(RuntimeError):
    """A server is not installed, may not be started here, or did not come up; the message says what to do."""


def is_root() -> bool:
    """Return whether this process may do everything."""
    return os.geteuid() == 0


def program(name: str, package: str) -> str:
    """Return the path of the program *name*.

    Raises:
        ServerProblem: it is not installed; the message names the Debian *package*.
    """
    path = shutil.which(name, path=_SEARCH_PATH)
    if path is None:
        raise ServerProblem(f"{name} is not installed: make servers, or apt-get install {package}")
    return path


def as_root(*command: str) -> subprocess.CompletedProcess[str]:
    """Run *command* as root, by sudo where this process is an ordinary user's, and return what it said.

    Raises:
        ServerProblem: sudo is missing or asks for a password, or the command failed.
    """
    prefix = [] if is_root() else [program("sudo", "sudo"), "--non-interactive"]
    result = subprocess.run([*prefix, *command], capture_output=True, text=True, timeout=60)
    if result.returncode:
        raise ServerProblem(f"{' '.join([*prefix, *command])} failed: {(result.stderr or result.stdout).strip()}")
    return result


def private_directory(name: str) -> Path:
    """Return a new directory that the servers' own users may enter; its path is short enough for a socket in it."""
    directory = Path(tempfile.mkdtemp(prefix=f"supportd-{name}-"))
    directory.chmod(0o755)
    (directory / "owner").write_text(str(os.getpid()))
    return directory


def remove_leftovers() -> None:
    """End the servers of test processes that died before they could, and delete their directories."""
    for owner in Path(tempfile.gettempdir()).glob("supportd-*/owner"):
        # Another worker may be at the same, and be first; a process may end while it is looked at.
        with contextlib.suppress(ServerProblem, OSError, ValueError):
            if Path("/proc", str(int(owner.read_text()))).exists():
                continue
            directory = owner.parent
            if (directory / "main.cf").exists():
                as_root(program("postfix", "postfix"), "-c", str(directory), "stop")
            for process in Path("/proc").glob("[0-9]*"):
                # Dovecot and PostgreSQL are started with their directory, as leaders of a process group.
                if str(directory).encode() in (process / "cmdline").read_bytes():
                    as_root("kill", "-KILL", "--", f"-{process.name}")
            as_root("rm", "-rf", str(directory))


def free_ports(count: int) -> list[int]:
    """Return *count* loopback ports on which nobody listens now."""
    found: list[int] = []
    while len(found) < count:
        port = random.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            if port not in found:
                found.append(port)
    return found


def is_listening(port: int) -> bool:
    """Return whether somebody accepts connections on the loopback *port*."""
    try:
        with socket.create_connection((HOST, port), timeout=2):
            return True
    except OSError:
        return False


def wait_until(condition: Callable[[], T], what: str, timeout_seconds: float = 15) -> T:
    """Return the first truthy value of *condition*, asked twenty times a second.

    Raises:
        ServerProblem: it stayed falsy for *timeout_seconds*.
    """
    give_up_at = time.monotonic() + timeout_seconds
    while not (value := condition()):
        if time.monotonic() > give_up_at:
            raise ServerProblem(f"after {timeout_seconds:g} s still not: {what}")
        time.sleep(0.05)
    return value
