"""People's data: what is masked, what goes by age, what is told to a person, and that an erased person stays erased."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest

from supportd import config, privacy
from supportd.config import Desk
from supportd.core.parse import parse
from supportd.db import keys as key_store
from supportd.db import ledger, letters, tickets
from supportd.db import privacy as stored
from supportd.db.engine import Database
from supportd.db.ledger import Captured, Listed
from supportd.db.migrate import backup, upgrade
from supportd.decide import Decider
from supportd.errors import UserError
from supportd.lease import Lease
from supportd.post import Post, composer_of
from supportd.steering import Actor, close, load, note, resolve

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
CANARY = "Zephyrine Quillfeather"
CANARY_ADDRESS = "z.quillfeather@allsaints.example"
OTHER = "l.winn@allsaints.example"
AGES = privacy.Ages()


class Office:
    """The deciding part of a service on a SQLite file: mail in by hand, letters read from the outbox."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "supportd.db"
        self.desk: Desk = config.load(Path(__file__).parents[1] / "config.example.yaml").desks[0]
        self.open()
        self._uid = 0

    def open(self) -> None:
        self.database = Database(f"sqlite:///{self.path}")
        upgrade(self.database)
        with self.database.write() as connection:
            self.mailbox_id = ledger.ensure_mailbox(connection, self.desk.name)
            self.epoch_id = ledger.ensure_epoch(connection, self.mailbox_id, "INBOX", 1)
            self.keys = key_store.load(connection, NOW, lambda size: b"k" * size)
        self.key = self.keys.current.secret
        self.composer = composer_of(self.desk)
        self.lease = Lease(self.database, self.mailbox_id)
        self.lease.take(NOW)
        self.decider = Decider(
            self.database, self.desk, self.composer, self.keys, self.mailbox_id, self.lease
        )

    def receive(self, raw: bytes, at: datetime = NOW) -> int:
        """Capture and decide one mail and return its number in the ledger."""
        self._uid += 1
        listed = Listed(uid=self._uid, size=len(raw), received_at=at)
        with self.database.write() as connection:
            captured = [Captured(listed=listed, data=raw)]
            ledger.capture(connection, self.mailbox_id, self.epoch_id, captured, at)
            [number] = ledger.undecided(connection, self.mailbox_id, limit=1)
            row = ledger.load(connection, number)
        assert row is not None
        self.decider.decide(row, parse(raw), at)
        return number

    def bytes_on_disk(self) -> bytes:
        """Return all that lies in the database file, its write-ahead log and its index."""
        names = (self.path, *(self.path.with_name(self.path.name + end) for end in ("-wal", "-shm")))
        return b"".join(name.read_bytes() for name in names if name.exists())


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.database.close()


def mail(sender: str, subject: str, text: str, *, name: str = "", reply_to: str = "", file: bytes = b"") -> bytes:
    message = EmailMessage(policy=SMTP)
    message["From"] = f'"{name}" <{sender}>' if name else sender
    message["To"], message["Subject"] = "support@allsaints.example", subject
    message["Date"] = "Tue, 24 Nov 2026 09:00:00 +0000"
    message["Message-ID"] = f"<{subject.replace(' ', '-')}@{sender.partition('@')[2]}>"
    if reply_to:
        message["In-Reply-To"] = reply_to
    message.set_content(text)
    if file:
        message.add_attachment(file, maintype="application", subtype="octet-stream", filename=f"{name or 'file'}.bin")
    return bytes(message)


def fill(office: Office, count: int = 40) -> None:
    """Receive *count* mails, a quarter of them from the canary person, with her name in every place it can stand."""
    for number in range(count):
        sender = CANARY_ADDRESS if number % 4 == 0 else f"teacher{number}@allsaints.example"
        name = CANARY if number % 4 == 0 else f"Teacher {number}"
        text = f"My board number {number} is dead.\n{name}"
        office.receive(mail(sender, f"Board {number} {name}", text, name=name, file=f"{name} file {number}".encode()))
    with office.database.write() as connection:
        post = Post(connection, office.desk, office.composer, office.keys, office.mailbox_id, NOW)
        first = load(post, 1)
        note(post, first, Actor(address="sam.okafor@allsaints.example", way="shell"), f"Rang {CANARY}, she is away")
        # She takes part in another's ticket too.
        tickets.add_participants(connection, 2, (CANARY_ADDRESS,))
    office.receive(mail(CANARY_ADDRESS, "Re", f"Mine too, {CANARY}.", reply_to="<Board-1-Teacher-1@allsaints.example>"))


def traces(data: bytes) -> list[bytes]:
    words = (CANARY.encode(), b"Quillfeather", CANARY_ADDRESS.encode())
    return [word for word in words if word in data]


def test_an_erased_person_is_found_nowhere_in_the_database_nor_in_a_backup_made_afterwards(
    office: Office, tmp_path: Path
) -> None:
    fill(office)
    assert traces(office.bytes_on_disk())

    found = privacy.erase(office.database, CANARY_ADDRESS, office.key, (), NOW)

    assert len(found.own) >= 10
    assert traces(office.bytes_on_disk()) == []
    backup(office.path, tmp_path / "backup.db")
    assert traces((tmp_path / "backup.db").read_bytes()) == []


def test_everybody_else_stays_as_they_were(office: Office) -> None:
    fill(office)

    privacy.erase(office.database, CANARY_ADDRESS, office.key, (), NOW)

    with office.database.read() as connection:
        other = tickets.load(connection, 2, office.desk.level_names)
    assert other.requester.address == "teacher1@allsaints.example"
    assert "board number 1 is dead" in other.text


def test_a_letter_that_waits_without_its_words_is_never_sent(office: Office) -> None:
    fill(office, 8)

    privacy.erase(office.database, CANARY_ADDRESS, office.key, (), NOW)

    with office.database.write() as connection:
        empty = connection.exec_driver_sql("SELECT id, state FROM letter WHERE data = x''").all()
        assert empty
        assert {state for _, state in empty} <= {"dropped", "suppressed"}
        assert not any(letters.retry(connection, number, NOW) for number, _ in empty)


def test_letters_about_others_keep_their_words_whatever_their_numbers(office: Office) -> None:
    fill(office)
    with office.database.write() as connection:
        [number] = connection.exec_driver_sql(
            "SELECT id FROM event WHERE ticket_id = 2 AND by = ?", (CANARY_ADDRESS,)
        ).scalars()
        connection.exec_driver_sql(
            "UPDATE letter SET key = ? WHERE id = (SELECT min(id) FROM letter WHERE ticket_id = 3)",
            (f"support:quarantine:{number}:it@allsaints.example",),
        )

    privacy.erase(office.database, CANARY_ADDRESS, office.key, (), NOW)

    with office.database.read() as connection:
        kept = connection.exec_driver_sql("SELECT data, state FROM letter WHERE ticket_id IN (2, 3)").all()
    carried = [state for data, state in kept if not data]
    assert carried == ["dropped"]


def test_ages_are_applied_in_batches_until_nothing_old_is_left(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "BATCH", 7)
    fill(office)
    technician = Actor(address="sam.okafor@allsaints.example", way="shell")
    with office.database.write() as connection:
        post = Post(connection, office.desk, office.composer, office.keys, office.mailbox_id, NOW)
        for number in range(1, 41):
            close(post, load(post, number), technician)

    gone = privacy.apply(office.database, AGES, (), NOW + timedelta(days=731))

    assert [one.count for one in gone[:4]] == [41, 0, 40, 40]
    with office.database.read() as connection:
        assert [one.count for one in privacy.plan(connection, AGES, (), NOW + timedelta(days=731))] == [0] * 5
        assert connection.exec_driver_sql("SELECT count(*) FROM blob").scalar() == 0
    assert traces(office.bytes_on_disk()) == []


def test_a_mail_whose_bytes_are_gone_is_not_handed_to_the_daemon_again(office: Office) -> None:
    offer = mail("news@shop.example", "Offer", "Buy")
    number = office.receive(b"Precedence: bulk\r\n" + offer)
    with office.database.read() as connection:
        assert [one.id for one in ledger.screened_since(connection, office.mailbox_id, NOW)] == [number]

    privacy.apply(office.database, AGES, (), NOW + timedelta(days=31))

    with office.database.write() as connection:
        assert not ledger.retry(connection, number, None, as_ticket=True)
        assert ledger.undecided(connection, office.mailbox_id, limit=1) == []


def test_an_older_backup_brings_nobody_back(office: Office, tmp_path: Path) -> None:
    fill(office)
    backup(office.path, tmp_path / "yesterday.db")
    privacy.erase(office.database, CANARY_ADDRESS, office.key, (), NOW)

    office.database.close()
    for end in ("-wal", "-shm"):
        office.path.with_name(office.path.name + end).unlink(missing_ok=True)
    (tmp_path / "yesterday.db").replace(office.path)
    office.open()
    assert traces(office.bytes_on_disk())
    count = privacy.erase_again(office.database, office.key, NOW)

    assert count == 1
    assert traces(office.bytes_on_disk()) == []


def test_the_same_mail_listed_again_is_a_copy_and_brings_nothing_back(office: Office) -> None:
    raw = mail(CANARY_ADDRESS, "Board", f"It is dead. {CANARY}", name=CANARY)
    office.receive(raw)
    privacy.erase(office.database, CANARY_ADDRESS, office.key, (), NOW)

    number = office.receive(raw, NOW + timedelta(days=1))

    with office.database.read() as connection:
        assert len(tickets.live(connection, office.mailbox_id, office.desk.level_names)) == 1
        assert ledger.is_undecided(connection, number) is False


def test_a_legal_hold_blocks_erasure_and_ages(office: Office) -> None:
    fill(office, 8)

    with pytest.raises(UserError, match="legal hold"):
        privacy.erase(office.database, CANARY_ADDRESS, office.key, (CANARY_ADDRESS,), NOW)
    gone = privacy.apply(office.database, AGES, (CANARY_ADDRESS,), NOW + timedelta(days=31))

    assert traces(office.bytes_on_disk())
    # Six of the nine mails are not hers.
    assert gone[0].count == 6


def test_raw_mail_goes_after_its_age_and_not_before_and_the_disk_has_it_no_more(office: Office) -> None:
    for number in range(60):
        office.receive(mail(OTHER, f"Board {number}", "dead", file=bytes([number % 251]) * 40_000))
    before = len(office.bytes_on_disk())

    young = privacy.apply(office.database, AGES, (), NOW + timedelta(days=29))
    old = privacy.apply(office.database, AGES, (), NOW + timedelta(days=31))

    assert young[0].count == 0
    assert old[0].count == 60
    assert len(office.bytes_on_disk()) < before
    with office.database.read() as connection:
        assert ledger.raw_bytes(connection, 1) is None


def test_files_and_words_of_a_closed_ticket_go_at_their_ages_and_its_figures_stay(office: Office) -> None:
    office.receive(mail(CANARY_ADDRESS, "Board", f"dead {CANARY}", name=CANARY, file=b"a photograph"))
    technician = Actor(address="sam.okafor@allsaints.example", way="shell")
    with office.database.write() as connection:
        post = Post(connection, office.desk, office.composer, office.keys, office.mailbox_id, NOW)
        resolve(post, load(post, 1), technician, "A new lamp.")
        close(post, load(post, 1), technician)

    first = privacy.apply(office.database, AGES, (), NOW + timedelta(days=366))
    second = privacy.apply(office.database, AGES, (), NOW + timedelta(days=731))

    assert (first[2].count, first[3].count) == (1, 0)
    assert second[3].count == 1
    assert traces(office.bytes_on_disk()) == []
    with office.database.read() as connection:
        kept = tickets.load(connection, 1, office.desk.level_names)
        outcomes = connection.exec_driver_sql("SELECT kind FROM clock").scalars().all()
    assert kept.reference == "AS-1"
    assert kept.resolved_at is not None
    assert len(outcomes) == 2


def test_an_export_holds_her_mails_and_tickets_and_marks_what_others_wrote(office: Office, tmp_path: Path) -> None:
    fill(office, 8)

    count = privacy.export(office.database, CANARY_ADDRESS, tmp_path / "export", office.desk.level_names)

    data = json.loads((tmp_path / "export" / "data.json").read_text())
    assert count == len(data["tickets"]) + len(list((tmp_path / "export").glob("mail-*.eml")))
    own = [one for one in data["tickets"] if one["text"]]
    assert len(own) == 2
    shared = next(one for one in data["tickets"] if not one["text"])
    assert "board number 1" not in json.dumps(shared)
    noted = [happened for one in data["tickets"] for happened in one["events"] if happened["check_before_handing_over"]]
    assert [happened["by"] for happened in noted if "Rang" in happened["text"]] == ["another person"]
    assert CANARY in (tmp_path / "export" / "index.html").read_text()


def test_an_export_of_nobody_says_so(office: Office, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing is stored about"):
        privacy.export(office.database, "nobody@allsaints.example", tmp_path / "export", {})


def test_a_password_is_in_the_raw_mail_alone(office: Office) -> None:
    office.receive(mail(OTHER, "login", "My password is Autumn-2026x and it fails."))

    with office.database.read() as connection:
        stored = tickets.load(connection, 1, office.desk.level_names)
        letters = connection.exec_driver_sql("SELECT data FROM letter").scalars().all()
    assert "[hidden]" in stored.text
    assert "Autumn-2026x" not in stored.text
    assert all(b"Autumn-2026x" not in data for data in letters)
