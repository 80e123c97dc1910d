"""The wire to the mailbox, or to the mail server, breaks after any number of bytes: as if it had not (G4).

Undisturbed, the visit of one morning carries some thousands of bytes each way; a cut is made after each number of them.
Only when it takes away the reply to a final dot may a letter go out twice, byte for byte the same.
"""

from __future__ import annotations

import itertools
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest
from sqlalchemy import select

import figures
from servers import HOST, PASSWORD, wait_until
from servers.cutter import DIRECTIONS, Cutter
from servers.dovecot import Dovecot
from servers.house import SUPPORT, House
from servers.postfix import Postfix
from supportd import config
from supportd.db.engine import Database
from supportd.db.schema import letter, ticket
from supportd.errors import Refused, Unavailable
from supportd.parsing import Reader
from supportd.service import Service

# A step that has nothing in common with the length of any line.
EVERY_IN_CI = 797
WIRES = ("imap", "smtp")


@dataclass(slots=True, kw_only=True)
class Wires:
    """Both wires, and how many runs have used them."""

    imap: Cutter
    smtp: Cutter
    runs: Iterator[int]
    postfix_log_read: int = 0

    def of(self, name: str) -> Cutter:
        """Return the wire *name*."""
        return self.imap if name == "imap" else self.smtp


@pytest.fixture
def wires(dovecot: Dovecot, postfix: Postfix) -> Iterator[Wires]:
    wires = Wires(imap=Cutter(dovecot.imap_port), smtp=Cutter(postfix.smtp_port), runs=itertools.count(1))
    wires.postfix_log_read = postfix.log.stat().st_size
    yield wires
    wires.imap.close()
    wires.smtp.close()


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """Let every pass of this test read mail in the same workers: they know nothing of any wire."""
    with Reader() as reader:
        monkeypatch.setattr(Service, "_workers", lambda _: reader)
        yield reader


class Morning:
    """One run: a mailbox of its own with two calls for help, and a database that has seen the mailbox empty."""

    def __init__(self, folder: Path, dovecot: Dovecot, postfix: Postfix, wires: Wires, number: int) -> None:
        self.dovecot, self.postfix, self.wires = dovecot, postfix, wires
        self.folder = folder / str(number)
        self.folder.mkdir()
        house = House(self.folder, dovecot, postfix)
        user = f"support-{number}@allsaints.example"
        account = {"user": user, "password": {"env": "SUPPORTD_TEST_PASSWORD"}, "tls": "none", "host": HOST}
        mailbox = house.settings["mailboxes"][0]
        mailbox["imap"] = {**account, "port": wires.imap.port}
        mailbox["smtp"] = {"host": HOST, "port": wires.smtp.port, "tls": "none", "per_minute": 100_000}
        house.settings["doubt_wait_seconds"] = 0
        house.settings["it_inbox"] = f"it-{number}@allsaints.example"
        house.settings["technicians"] = []
        self.config = config.load(house._written())
        self.database = Database(self.config.database_url)
        blank = folder / "blank.db"
        if not blank.exists():
            service = Service(self.config)
            service.close()
            assert self.database.path is not None
            shutil.copy(self.database.path, blank)
        else:
            assert self.database.path is not None
            shutil.copy(blank, self.database.path)
        self.teachers = tuple(f"{name}-{number}@allsaints.example" for name in ("winn", "nair"))
        for teacher in self.teachers:
            message = EmailMessage(policy=SMTP)
            message["From"], message["To"], message["Subject"] = teacher, SUPPORT, "The board"
            message["Date"], message["Message-ID"] = "Tue, 24 Nov 2026 09:00:00 +0000", f"<board.{teacher}>"
            message.set_content("It flickers a little at the left side.\n")
            dovecot.append(user, bytes(message), received_at=datetime.now(UTC) - timedelta(minutes=5))

    def one_pass(self) -> None:
        """Do one pass, whatever becomes of it."""
        service = Service(self.config)
        try:
            service.once()
        except (Unavailable, Refused):
            pass
        finally:
            service.close()

    def until_done(self) -> None:
        """Do passes until nothing waits any more; a broken connection costs some seconds of patience."""
        for _ in range(4):
            self.one_pass()
            with self.database.write() as connection:
                connection.execute(letter.update().values(not_before=datetime.now(UTC) - timedelta(seconds=1)))
                states = set(connection.execute(select(letter.c.state)).scalars())
            if states == {"sent"}:
                return

    def copies(self) -> int:
        """Return how many letters went out more than once; each is the same letter, and none is missing.

        Raises:
            AssertionError: something is lost or doubled.
        """
        with self.database.read() as connection:
            opened = Counter(connection.execute(select(ticket.c.origin_message_id)).scalars())
            rows = connection.execute(select(letter.c.message_id, letter.c.recipient, letter.c.state)).all()
        assert opened == Counter({f"<board.{teacher}>": 1 for teacher in self.teachers})
        assert {row.state for row in rows} == {"sent"}
        recipients = {row.recipient for row in rows}
        assert {*self.teachers} <= recipients
        accepted = self._accepted()
        extra = 0
        for row in rows:
            assert accepted[row.message_id] >= 1
            extra += accepted[row.message_id] - 1
        wanted = sum(accepted[row.message_id] for row in rows)
        found: list[bytes] = []

        def all_arrived() -> bool:
            found[:] = [raw for address in recipients for raw in self._lying(address)]
            return len(found) == wanted

        wait_until(all_arrived, f"{wanted} letters have arrived")
        own = [raw[raw.index(b"\nFrom:") :] for raw in found]
        assert len(set(own)) == len(rows)
        self.database.close()
        shutil.rmtree(self.folder)
        return extra

    def _accepted(self) -> Counter[str]:
        """Return how often Postfix has taken each letter of this run, by its log."""
        with self.postfix.log.open("rb") as log:
            log.seek(self.wires.postfix_log_read)
            text = log.read().decode(errors="replace")
        names: dict[str, str] = {}
        taken: Counter[str] = Counter()
        for line in text.splitlines():
            if found := re.search(r"cleanup\[\d+\]: (\w+): message-id=(\S+)", line):
                names[found[1]] = found[2]
            elif (found := re.search(r"qmgr\[\d+\]: (\w+): from=.*queue active", line)) and found[1] in names:
                taken[names.pop(found[1])] += 1
        return taken

    def _lying(self, address: str) -> list[bytes]:
        return [file.read_bytes() for file in self.dovecot.maildir(address).glob("new/*")]


def cut_at(
    folder: Path, dovecot: Dovecot, postfix: Postfix, wires: Wires, wire: str, direction: str, count: int
) -> tuple[bool, int]:
    """Return whether the cut was reached, and how many letters went out twice."""
    wires.postfix_log_read = postfix.log.stat().st_size
    morning = Morning(folder, dovecot, postfix, wires, next(wires.runs))
    cutter = wires.of(wire)
    cutter.cut_after(direction, count)
    morning.one_pass()
    was_cut = cutter.has_cut
    cutter.stay_whole()
    morning.until_done()
    copies = morning.copies()
    assert copies <= (wire == "smtp" and was_cut), f"{wire} {direction} cut after {count} bytes"
    return was_cut, copies


def lengths(folder: Path, dovecot: Dovecot, postfix: Postfix, wires: Wires) -> dict[tuple[str, str], int]:
    """Return how many bytes an undisturbed pass sends on each wire in each direction."""
    morning = Morning(folder, dovecot, postfix, wires, next(wires.runs))
    for wire in WIRES:
        wires.of(wire).stay_whole()
    morning.one_pass()
    assert morning.copies() == 0
    return {(wire, direction): wires.of(wire).passed[direction] for wire in WIRES for direction in DIRECTIONS}


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPPORTD_TEST_PASSWORD", PASSWORD)


def test_a_wire_cut_here_and_there_loses_and_doubles_nothing(
    tmp_path: Path, dovecot: Dovecot, postfix: Postfix, wires: Wires, reader: Reader
) -> None:
    whole = lengths(tmp_path, dovecot, postfix, wires)

    cuts = 0
    for (wire, direction), length in whole.items():
        for count in range(7, length, EVERY_IN_CI):
            was_cut, _ = cut_at(tmp_path, dovecot, postfix, wires, wire, direction, count)
            cuts += was_cut

    assert cuts >= sum(length // EVERY_IN_CI for length in whole.values())


@pytest.mark.release
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("wire", WIRES)
def test_a_wire_cut_at_every_byte_loses_and_doubles_nothing(
    tmp_path: Path, dovecot: Dovecot, postfix: Postfix, wires: Wires, reader: Reader, wire: str, direction: str
) -> None:
    length = lengths(tmp_path, dovecot, postfix, wires)[wire, direction]
    row = f"{wire}, bytes {'to' if direction == 'up' else 'from'} the server, of {length // 100}00 or so"
    # Where the last run of this row ended; a slice of 200 fits a session.
    start = figures.so_far("Cuts", row, "cuts")

    tried = twice = 0
    for count in range(start, min(start + 200, length)):
        _, copies = cut_at(tmp_path, dovecot, postfix, wires, wire, direction, count)
        tried += 1
        twice += copies

    counts = {"cuts": tried, "lost": 0, "doubled tickets": 0, "letters twice": twice}
    figures.add("Cuts", row, counts, "make release-test PART=cuts")
