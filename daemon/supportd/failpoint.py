"""Named places where a test makes the daemon die, stumble or hang; in a normal run each costs one look at an empty map.

``SUPPORTD_FAILPOINT=capture.committed=kill:3`` kills the process at the third passage of that place.  Actions: ``kill``
(SIGKILL, as a power cut would), ``raise`` (an exception that nobody expects), ``hang`` (for ever).
"""

from __future__ import annotations

import os
import signal
import threading
import time


class Stumble(Exception):
    """What ``raise`` raises."""


class _Armed:
    def __init__(self, action: str, passage: int) -> None:
        self.action = action
        self.passage = passage
        self.lock = threading.Lock()

    def passed(self) -> bool:
        """Return whether this is the passage to act at."""
        with self.lock:
            self.passage -= 1
            return self.passage == 0


def _read(text: str) -> dict[str, _Armed]:
    armed = {}
    for entry in filter(None, text.split(",")):
        name, _, rest = entry.partition("=")
        action, _, passage = rest.partition(":")
        armed[name] = _Armed(action, int(passage or 1))
    return armed


_ARMED = _read(os.environ.get("SUPPORTD_FAILPOINT", ""))


def hit(name: str) -> None:
    """Do what a test wants done at the place *name*; nothing in a normal run."""
    if not _ARMED:
        return
    armed = _ARMED.get(name)
    if armed is None or not armed.passed():
        return
    if armed.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if armed.action == "raise":
        raise Stumble(name)
    while armed.action == "hang":
        time.sleep(3600)
