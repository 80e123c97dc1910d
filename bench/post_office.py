"""The private Dovecot of a measurement: filled by files, not deliveries; the kernel tells its processor time."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from corpus import SUPPORT
from servers.certificates import Certificates
from servers.dovecot import Dovecot

_TICKS = os.sysconf("SC_CLK_TCK")


class PostOffice:
    """A Dovecot and a store of messages that can be laid into its mailbox any number of times."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="bench-mail-"))
        self.dovecot = Dovecot(Certificates(self._folder))
        self._store = self.dovecot.directory / "store"
        self._store.mkdir()
        self._stored = 0
        self.dovecot.start()

    def store(self, mails: Iterable[bytes]) -> None:
        """Keep *mails*, lines ended by LF, to be laid into the mailbox in this order."""
        for raw in mails:
            # S and W as Dovecot's own delivery writes them: size in the file, and with CRLF.
            name = f"{self._stored:07}.M1P1.bench,S={len(raw)},W={len(raw) + raw.count(10)}"
            file = self._store / name
            file.write_bytes(raw)
            os.chown(file, self.dovecot.mail_uid, self.dovecot.mail_gid)
            self._stored += 1

    def fill(self, count: int) -> None:
        """Make the inbox hold the first *count* messages, received now, and delete all other folders."""
        maildir = self.dovecot.maildir(SUPPORT)
        self.settle()
        shutil.rmtree(maildir, ignore_errors=True)
        self._make(maildir)
        now = time.time()
        for file in sorted(self._store.iterdir())[:count]:
            os.utime(file, (now, now))
            os.link(file, maildir / "new" / file.name)

    def _make(self, maildir: Path) -> None:
        for part in (maildir, maildir / "cur", maildir / "new", maildir / "tmp"):
            part.mkdir()
            os.chown(part, self.dovecot.mail_uid, self.dovecot.mail_gid)

    def fill_with_one(self, count: int, folder: str) -> None:
        """Make *folder*, beside an inbox that is filled already, hold *count* copies of the first message."""
        first = sorted(self._store.iterdir())[0]
        target = self.dovecot.maildir(SUPPORT) / f".{folder}"
        self._make(target)
        size = first.name.partition(",")[2]
        # A file has at most 65,000 links on ext4.
        for start in range(0, count, 50_000):
            copy = shutil.copy(first, self._store.parent / f"copy-{folder}-{start}")
            os.chown(copy, self.dovecot.mail_uid, self.dovecot.mail_gid)
            for number in range(start, min(count, start + 50_000)):
                os.link(copy, target / "cur" / f"{number:07}.M1P1.filed,{size}:2,S")
            Path(copy).unlink()

    def empty_store(self) -> None:
        """Forget the messages that were stored; what lies in the mailbox stays."""
        for file in self._store.iterdir():
            file.unlink()
        self._stored = 0

    def settle(self) -> None:
        """Return when nobody is connected any more."""
        give_up_at = time.monotonic() + 10
        while any(name == "imap" for name, _ in self._processes()) and time.monotonic() < give_up_at:
            time.sleep(0.05)

    def cpu_seconds(self) -> float:
        """Return the processor time that all of Dovecot has used so far, ended connections included."""
        return sum(seconds for _, seconds in self._processes())

    def _processes(self) -> list[tuple[str, float]]:
        """Return name and processor time, with that of children already waited for, of each process of Dovecot."""
        assert self.dovecot._process is not None
        leader, found = self.dovecot._process.pid, []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                before, _, after = (entry / "stat").read_text().rpartition(")")
            except (FileNotFoundError, ProcessLookupError):
                continue
            fields = after.split()
            # Session, and the four times, as proc(5) numbers them from the state on.
            if int(fields[3]) == leader:
                found.append((before.partition("(")[2], sum(map(int, fields[11:15])) / _TICKS))
        return found

    def close(self) -> None:
        """Stop Dovecot and delete everything."""
        self.dovecot.remove()
        shutil.rmtree(self._folder, ignore_errors=True)
