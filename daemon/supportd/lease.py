"""Who serves a mailbox: one daemon at a time, by a lease that another takes over when its holder dies.

The fence counts take-overs.  A decision is committed only while the fence is still ours, so a daemon that slept through
the end of its lease writes nothing (reliability.md DB09).
"""

from __future__ import annotations

import os
import socket
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from supportd.db import ledger
from supportd.db.engine import Connection, Database
from supportd.errors import Unavailable

# Renewed three times within its length; another daemon takes over within 30 s of a death.
LEASE = timedelta(seconds=24)
RENEW_SECONDS = 8


class Lease:
    """The lease of one mailbox, as this process holds it or not."""

    def __init__(self, database: Database, mailbox_id: int) -> None:
        self._database = database
        self._mailbox_id = mailbox_id
        self._owner = owner_name()
        self._fence: int | None = None

    @property
    def is_held(self) -> bool:
        """Return whether the lease was ours at the last look."""
        return self._fence is not None

    def take(self, now: datetime) -> bool:
        """Take or renew the lease and return whether it is ours.

        Raises:
            Unavailable: the database cannot be reached.
        """
        with self._database.write() as connection:
            holder = ledger.lease_holder(connection, self._mailbox_id)
            is_free = holder.owner is None or holder.until is None or holder.until < now or is_dead(holder.owner)
            if holder.owner == self._owner and holder.fence == self._fence:
                ledger.set_lease(connection, self._mailbox_id, self._owner, now + LEASE, holder.fence)
            elif is_free or holder.owner == self._owner:
                self._fence = holder.fence + 1
                ledger.set_lease(connection, self._mailbox_id, self._owner, now + LEASE, self._fence)
            else:
                self._fence = None
        return self.is_held

    def confirm(self, connection: Connection) -> None:
        """Raise unless the lease is still ours, inside the transaction whose commit depends on it.

        Raises:
            Unavailable: another daemon has taken over.
        """
        holder = ledger.lease_holder(connection, self._mailbox_id)
        if self._fence is None or holder.fence != self._fence:
            self._fence = None
            raise Unavailable("another daemon has taken over this mailbox")

    def release(self) -> None:
        """Give the lease back, so that another daemon need not wait; never raises."""
        if self._fence is None:
            return
        try:
            with self._database.write() as connection:
                holder = ledger.lease_holder(connection, self._mailbox_id)
                if holder.fence == self._fence:
                    ledger.set_lease(connection, self._mailbox_id, None, None, self._fence)
        except Unavailable:
            pass  # It ends by itself.
        self._fence = None


def owner_name() -> str:
    """Return who holds a lease: this host, this process, and when it started (a pid alone comes round again)."""
    return f"{_host()}:{os.getpid()}:{_start_ticks(os.getpid())}"


def is_dead(owner: str) -> bool:
    """Return whether *owner* was a process of this host that runs no more."""
    host, pid, ticks = (*owner.rsplit(":", 2), "", "")[:3]
    return host == _host() and pid.isdigit() and _start_ticks(int(pid)) != ticks


@cache
def _host() -> str:
    """Return the host's name and eight characters of its machine-id(5), at most 64 characters.

    Two hosts may both be called "debian": each would take the other's living daemon for dead, and send its letters
    again.
    """
    try:
        machine_id = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except OSError:
        machine_id = ""
    return f"{socket.gethostname()[:55]}/{machine_id[:8]}"


def _start_ticks(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    # Field 22 of proc(5); the second field may hold spaces, and ends at the last bracket.
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]
