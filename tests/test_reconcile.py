"""Yesterday's database meets today's mailbox: all mail comes back, nobody is answered and no number used twice."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default
from pathlib import Path

import pytest
from sqlalchemy import select, text

import figures
from servers import HOST
from servers.dovecot import Dovecot
from servers.faulty_smtp import FaultySmtp
from servers.house import SUPPORT, House
from servers.postfix import Postfix
from supportd import audit, config, failpoint
from supportd.db.engine import Database
from supportd.db.migrate import backup
from supportd.db.schema import letter, ticket
from supportd.errors import UserError
from supportd.service import Service, Summary, clock

TEACHERS = ("l.winn@allsaints.example", "k.oldfield@allsaints.example", "p.nair@allsaints.example")
TODAY = f"{datetime.now(UTC):%Y-%m-%d}"


def mail(number: int, **fields: str) -> bytes:
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"] = TEACHERS[number % len(TEACHERS)], SUPPORT
    message["Subject"] = f"Room {number}"
    message["Date"] = "Tue, 24 Nov 2026 09:00:00 +0000"
    message["Message-ID"] = f"<room-{number}@allsaints.example>"
    for name, value in fields.items():
        del message[name.replace("_", "-")]
        message[name.replace("_", "-")] = value
    message.set_content(f"The board in room {number} is dark.\n")
    return bytes(message)


@pytest.fixture
def house(
    tmp_path: Path, dovecot: Dovecot, postfix: Postfix, faulty_smtp: FaultySmtp, monkeypatch: pytest.MonkeyPatch
) -> House:
    """Return a house whose letters go to a server that only keeps them."""
    monkeypatch.setenv("SUPPORTD_TEST_PASSWORD", "correct horse")
    house = House(tmp_path, dovecot, postfix)
    house.settings["mailboxes"][0]["smtp"] = {
        "host": HOST, "port": faulty_smtp.port, "tls": "none", "per_minute": 100_000
    }  # fmt: skip
    return house


@pytest.fixture(params=["sqlite", "postgresql"])
def any_house(request: pytest.FixtureRequest, house: House) -> House:
    if request.param == "postgresql":
        house.settings["database"] = {"url": request.getfixturevalue("postgresql_url")}
    return house


def one_pass(house: House) -> Summary:
    service = Service(config.load(house._written()))
    try:
        return service.once()
    finally:
        service.close()


@pytest.fixture
def database(house: House) -> Iterator[Database]:
    database = Database(config.load(house._written()).database_url)
    yield database
    database.close()


def opened(database: Database) -> dict[str, str]:
    """Return the reference of the one ticket that each Message-ID opened."""
    with database.read() as connection:
        rows = connection.execute(select(ticket.c.origin_message_id, ticket.c.reference)).all()
    assert [one for one, count in Counter(row.origin_message_id for row in rows).items() if count > 1] == []
    return {row.origin_message_id: row.reference for row in rows}


def lose_since_backup(house: House, dovecot: Dovecot, before: int, after: int) -> dict[str, str]:
    """Let *before* mails be decided, back up, let *after* more be; put the backup in place; return all references."""
    file = config.load(house._written()).database_url.removeprefix("sqlite:///")
    for number in range(before):
        dovecot.append(SUPPORT, mail(number), received_at=datetime.now(UTC))
    one_pass(house)
    backup(Path(file), Path(file + ".backup"))
    for number in range(before, before + after):
        dovecot.append(SUPPORT, mail(number), received_at=datetime.now(UTC))
    one_pass(house)
    database = Database(f"sqlite:///{file}")
    references = opened(database)
    database.close()
    for suffix in ("-wal", "-shm"):
        Path(file + suffix).unlink(missing_ok=True)
    shutil.copy(file + ".backup", file)
    return references


@pytest.mark.parametrize("size", [30, pytest.param(2500, marks=[pytest.mark.release, pytest.mark.timeout(7200)])])
def test_a_restored_database_takes_back_what_came_since_and_answers_nobody(
    house: House, dovecot: Dovecot, faulty_smtp: FaultySmtp, size: int, request: pytest.FixtureRequest
) -> None:
    lost = lose_since_backup(house, dovecot, size, size)
    letters_before = len(faulty_smtp.accepted)

    one_pass(house)

    loaded = config.load(house.file)
    database = Database(loaded.database_url)
    found = opened(database)
    assert found.keys() == lost.keys() == {f"<room-{number}@allsaints.example>" for number in range(2 * size)}
    acknowledged = [raw for _, raw in faulty_smtp.accepted[letters_before:] if b"<sd.acknowledgement." in raw]
    assert acknowledged == []
    new = {found[f"<room-{number}@allsaints.example>"] for number in range(size, 2 * size)}
    assert new.isdisjoint(lost.values())
    with database.read() as connection:
        ids = set(connection.execute(select(ticket.c.id)).scalars())
        states = Counter(connection.execute(select(letter.c.state)).scalars())
    # Nor does the proof in a lost letter name a ticket of somebody else.
    assert ids.isdisjoint(range(size + 1, 2 * size + 1))
    assert set(states) <= {"sent", "suppressed"}
    assert audit.findings(database, loaded, clock) == ()
    database.close()
    if size > 100:
        counts = {"mails": 2 * size, "lost": 0, "doubled": 0, "answered": len(acknowledged)}
        figures.add("Restore", "yesterday's database, then the sweep", counts, "make release-test PART=reconcile")


@pytest.mark.parametrize("place", ["reconcile.committing", "reconcile.committed"])
def test_a_sweep_that_breaks_off_is_done_by_the_next(
    house: House, dovecot: Dovecot, faulty_smtp: FaultySmtp, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = lose_since_backup(house, dovecot, 1, 3)
    letters_before = len(faulty_smtp.accepted)
    monkeypatch.setattr(failpoint, "_ARMED", failpoint._read(f"{place}=raise"))

    with pytest.raises(failpoint.Stumble):
        one_pass(house)
    one_pass(house)

    database = Database(config.load(house.file).database_url)
    assert opened(database).keys() == lost.keys()
    assert len(faulty_smtp.accepted) == letters_before
    database.close()


def test_a_reply_to_a_lost_acknowledgement_joins_its_own_ticket_and_no_other(
    house: House, dovecot: Dovecot, faulty_smtp: FaultySmtp
) -> None:
    lose_since_backup(house, dovecot, 3, 3)
    acknowledgement = message_from_bytes(faulty_smtp.accepted_by(TEACHERS[1])[1], policy=default)
    assert acknowledgement["In-Reply-To"] == "<room-4@allsaints.example>"
    one_pass(house)
    # Of somebody else: with its id given out anew, the lost ticket's proof would name it.
    for number in range(6, 10):
        dovecot.append(SUPPORT, mail(number), received_at=datetime.now(UTC))
    references = f"<room-4@allsaints.example> {acknowledgement['Message-ID']}"
    reply = mail(1, Message_ID="<reply@allsaints.example>", References=references, In_Reply_To=references.split()[1])
    dovecot.append(SUPPORT, reply, received_at=datetime.now(UTC))

    summary = one_pass(house)

    assert (summary.tickets, summary.replies) == (4, 1)
    database = Database(config.load(house.file).database_url)
    with database.read() as connection:
        joined = connection.execute(
            text(
                "SELECT t.origin_message_id FROM message m JOIN ticket t ON t.id = m.ticket_id "
                "WHERE m.message_id = '<reply@allsaints.example>'"
            )
        ).scalar()
    database.close()
    assert joined == "<room-4@allsaints.example>"


def test_an_empty_database_that_meets_filed_mail_is_refused_until_a_person_decides(
    any_house: House, dovecot: Dovecot, faulty_smtp: FaultySmtp
) -> None:
    with dovecot.imap(SUPPORT) as client:
        client.create_folder("Processed")
    for number in range(3):
        dovecot.append(SUPPORT, mail(number), folder="Processed", received_at=datetime.now(UTC))
    dovecot.append(SUPPORT, mail(3), received_at=datetime.now(UTC) - timedelta(hours=5))
    with pytest.raises(UserError, match="3 messages lie in the folder Processed"):
        one_pass(any_house)
    assert dovecot.count(SUPPORT) == 1

    told = any_house.supportd("reconcile", "--since", f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}")
    one_pass(any_house)

    assert "3 messages taken back" in told.stdout, told.stderr
    database = Database(config.load(any_house.file).database_url)
    assert opened(database).keys() == {f"<room-{number}@allsaints.example>" for number in range(4)}
    database.close()
    # The one that lay in the INBOX was never answered; the others were, by the database that is lost.
    acknowledged = [address for address, raw in faulty_smtp.accepted if b"<sd.acknowledgement." in raw]
    assert acknowledged == [TEACHERS[0]]


def test_restore_puts_a_backup_in_place_and_keeps_what_was_there(
    house: House, dovecot: Dovecot, database: Database
) -> None:
    dovecot.append(SUPPORT, mail(0), received_at=datetime.now(UTC))
    one_pass(house)
    assert database.path is not None
    saved = database.path.with_name("saved.db")
    assert house.supportd("db", "backup", str(saved)).returncode == 0
    database.close()
    database.path.write_bytes(b"This is no database. " * 500)
    damaged = house.supportd("once")

    restored = house.supportd("db", "restore", str(saved))
    dovecot.append(SUPPORT, mail(1), received_at=datetime.now(UTC))
    one_pass(house)

    assert damaged.returncode == 1
    assert "supportd db restore FILE" in damaged.stderr
    assert restored.returncode == 0, restored.stderr
    assert database.path.with_name(f"{database.path.name}.before-restore").read_bytes().startswith(b"This is no")
    assert opened(database) == {"<room-0@allsaints.example>": "AS-1", "<room-1@allsaints.example>": "AS-1002"}


def test_restore_takes_nothing_that_is_no_backup(house: House, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear all")

    refused = house.supportd("db", "restore", str(tmp_path / "letter.txt"))

    assert refused.returncode == 1
    assert "is no backup of supportd" in refused.stderr


def test_a_postgresql_that_forgets_what_it_committed_is_refused(house: House, postgresql_url: str) -> None:
    house.settings["database"] = {"url": postgresql_url}
    database = Database(postgresql_url)
    with database.write() as connection:
        name = postgresql_url.rpartition("/")[2]
        connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
    database.close()

    with pytest.raises(UserError, match="synchronous_commit is off"):
        Service(config.load(house._written()))
