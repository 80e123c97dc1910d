"""The mailbox is made anew with all its old mail, or thousands of machines answer at once: nobody hears of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest
from sqlalchemy import func, select

import figures
from servers import HOST, PASSWORD
from servers.dovecot import Dovecot
from servers.faulty_smtp import FaultySmtp
from servers.house import SUPPORT, House
from servers.postfix import Postfix
from supportd import config
from supportd.db.engine import Database
from supportd.db.schema import letter, message, ticket
from supportd.service import Service

TEACHERS = tuple(f"teacher.{number}@allsaints.example" for number in range(20))


@pytest.fixture
def house(
    tmp_path: Path, dovecot: Dovecot, postfix: Postfix, faulty_smtp: FaultySmtp, monkeypatch: pytest.MonkeyPatch
) -> House:
    monkeypatch.setenv("SUPPORTD_TEST_PASSWORD", PASSWORD)
    house = House(tmp_path, dovecot, postfix)
    house.settings["mailboxes"][0]["smtp"] = {
        "host": HOST, "port": faulty_smtp.port, "tls": "none", "per_minute": 100_000
    }  # fmt: skip
    return house


@pytest.fixture
def service(house: House) -> Iterator[Service]:
    service = Service(config.load(house._written()))
    yield service
    service.close()


def mail(name: str, sender: str, text: str, **fields: str) -> bytes:
    one = EmailMessage(policy=SMTP)
    one["From"], one["To"], one["Subject"] = sender, SUPPORT, f"{name}: the board"
    one["Date"], one["Message-ID"] = "Tue, 24 Nov 2026 09:00:00 +0000", f"<{name}@allsaints.example>"
    for field, value in fields.items():
        one[field.replace("_", "-")] = value
    one.set_content(text)
    return bytes(one)


def put(dovecot: Dovecot, mails: list[bytes]) -> None:
    """Put *mails* into the INBOX over one connection."""
    now = datetime.now(UTC) - timedelta(minutes=1)
    with dovecot.imap(SUPPORT) as client:
        for one in mails:
            client.append("INBOX", one, msg_time=now)


def counts(database: Database) -> tuple[Counter[str], int, int]:
    """Return the verdicts, how many tickets there are, and how many letters were queued."""
    with database.read() as connection:
        verdicts = Counter(str(one) for one in connection.execute(select(message.c.verdict)).scalars())
        tickets = connection.execute(select(func.count()).select_from(ticket)).scalar_one()
        letters = connection.execute(select(func.count()).select_from(letter)).scalar_one()
    return verdicts, int(tickets), int(letters)


@pytest.mark.parametrize("size", [200, pytest.param(2000, marks=[pytest.mark.release, pytest.mark.timeout(7200)])])
def test_a_mailbox_made_anew_with_all_its_old_mail_opens_no_ticket_and_answers_nobody(
    service: Service, dovecot: Dovecot, size: int
) -> None:
    put(dovecot, [mail(f"old-{number}", TEACHERS[number % 20], f"Room {number} is dark.\n") for number in range(size)])
    service.once()
    verdicts_before, tickets_before, letters_before = counts(service.database)
    give_new_life(dovecot)
    assert dovecot.count(SUPPORT) == size

    service.once()

    verdicts, tickets, letters = counts(service.database)
    assert verdicts_before == {"ticket": size}
    assert verdicts == {"ticket": size, "duplicate": size}
    assert (tickets, letters) == (tickets_before, letters_before)
    assert dovecot.count(SUPPORT) == 0
    if size > 1000:
        figures.add(
            "Mailbox made anew", "UIDVALIDITY changed, all mail listed again",
            {"mails": size, "new tickets": tickets - tickets_before, "letters": letters - letters_before},
            "make release-test PART=floods",
        )  # fmt: skip


def give_new_life(dovecot: Dovecot) -> None:
    """Put all filed mail back into the INBOX and change its UIDVALIDITY, as a restored mailbox has it."""
    dovecot.stop()
    box = dovecot.maildir(SUPPORT)
    for file in [*box.glob(".Processed/cur/*"), *box.glob(".Processed/new/*")]:
        file.rename(box / "cur" / file.name)
    uids = box / "dovecot-uidlist"
    before = re.search(r"V(\d+)", uids.read_text().splitlines()[0])
    assert before is not None
    for file in [*box.glob("dovecot-uidlist"), *box.glob("dovecot.index*"), *box.glob(".Processed/dovecot*")]:
        file.unlink()
    dovecot.start()
    with dovecot.imap(SUPPORT) as client:
        after = int(client.select_folder("INBOX", readonly=True)[b"UIDVALIDITY"])
    assert after != int(before[1])


@pytest.mark.parametrize("size", [300, pytest.param(10_000, marks=[pytest.mark.release, pytest.mark.timeout(7200)])])
def test_a_storm_of_automatic_replies_is_answered_with_silence(
    service: Service, dovecot: Dovecot, faulty_smtp: FaultySmtp, size: int
) -> None:
    put(dovecot, [mail("board", TEACHERS[0], "The board is dark.\n")])
    service.once()
    [acknowledgement] = faulty_smtp.accepted_by(TEACHERS[0])
    found = re.search(rb"\r\nMessage-ID:\s*(\S+)", acknowledgement)
    assert found is not None
    ours = found[1].decode()
    _, tickets_before, letters_before = counts(service.database)
    assert service.database.path is not None
    bytes_before = service.database.path.stat().st_size
    replies = [
        mail(f"away-{number}", TEACHERS[number % 20], "I am away until Monday.\n" * 20,
             Auto_Submitted="auto-replied", In_Reply_To=ours)
        for number in range(size)
    ]  # fmt: skip
    put(dovecot, replies)

    service.once()

    verdicts, tickets, letters = counts(service.database)
    assert verdicts == {"ticket": 1, "screened": size}
    assert (tickets, letters) == (tickets_before, letters_before)
    # Compressed, and gone with its retention: what a storm costs is less than what it weighs.
    grown = service.database.path.stat().st_size - bytes_before
    assert grown < 3 * sum(map(len, replies))
    if size > 1000:
        figures.add(
            "Storm", "automatic replies",
            {"mails": size, "tickets": tickets - tickets_before, "letters": letters - letters_before,
             "bytes of disk": grown},
            "make release-test PART=floods",
        )  # fmt: skip
