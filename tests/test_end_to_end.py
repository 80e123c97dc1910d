"""The whole way: from a teacher's mail program through Postfix and Dovecot to the daemon, and back to her.

A morning of 180 mails (tests/severity/dev.jsonl) is the load: 163 from the school's own domain, 17 of these from
machines, and 17 from outside.
"""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from servers import PASSWORD, program, wait_until
from servers.dovecot import Dovecot
from servers.house import SUPPORT, TECHNICIAN, House
from servers.postfix import Postfix

# Seconds of real servers at work; a machine that does other things beside takes several times as long.
pytestmark = pytest.mark.timeout(400)

MORNING = Path(__file__).parent / "severity" / "dev.jsonl"
# The monitoring systems and printers among the senders: they open tickets, and no machine is answered.
MACHINES = {"nas", "prtg", "prtg-reports", "ups", "certwatch", "firewall", "wsus", "printers", "temps", "veeam"}
# Those of them that nothing in the mail gives away: here the administrator says so.
UNRECOGNISED = ("certwatch", "temps", "wsus")
STAFF_DOMAIN = "allsaints.example"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One mail of the morning as it was handed to Postfix."""

    message_id: str
    sender: str
    subject: str
    raw: bytes

    @property
    def is_answered(self) -> bool:
        """Return whether its sender is one of the school's people, who get an acknowledgement."""
        name, _, domain = self.sender.partition("@")
        return domain == STAFF_DOMAIN and name not in MACHINES


def morning() -> list[Sent]:
    """Return the 180 mails."""
    mails = []
    for line in MORNING.read_text().splitlines():
        row = json.loads(line)
        message = EmailMessage(policy=policy.SMTP)
        message["Message-ID"] = f"<{row['id']}@{row['from'].partition('@')[2]}>"
        message["From"] = row["from"]
        message["To"] = SUPPORT
        message["Subject"] = row["subject"]
        message.set_content(row["body"])
        mails.append(
            Sent(message_id=message["Message-ID"], sender=row["from"], subject=row["subject"], raw=bytes(message))
        )
    return mails


def read(raw: bytes) -> EmailMessage:
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


@pytest.fixture
def house(tmp_path: Path, dovecot: Dovecot, postfix: Postfix) -> Iterator[House]:
    house = House(tmp_path, dovecot, postfix)
    house.settings["machines"] = [f"{name}@{STAFF_DOMAIN}" for name in UNRECOGNISED]
    yield house
    house.kill()


# One teacher


def test_a_call_for_help_is_acknowledged_and_the_reply_from_a_real_mail_program_joins_it(
    house: House, dovecot: Dovecot, postfix: Postfix
) -> None:
    teacher = "l.winn@allsaints.example"
    house.start()

    mail = EmailMessage(policy=policy.SMTP)
    mail["Message-ID"], mail["From"], mail["To"] = "<board@allsaints.example>", f"Lorna Winn <{teacher}>", SUPPORT
    mail["Subject"] = "Board's died in 4W"
    mail.set_content("The board in 4W will not turn on and the whole class is looking at me.\n")
    postfix.submit(bytes(mail), SUPPORT, teacher)
    wait_until(lambda: dovecot.count(teacher) == 1, "the acknowledgement is in her mailbox", timeout_seconds=20)
    acknowledgement = read(dovecot.messages(teacher)[0])

    reply_with_s_nail(dovecot, postfix, teacher, "It flashes twice and then once, if that helps.")
    wait_until(lambda: dovecot.count(SUPPORT, "Processed") == 2, "the reply is decided", timeout_seconds=20)
    house.stop()

    [ticket] = house.tickets()
    assert acknowledgement["In-Reply-To"] == "<board@allsaints.example>"
    assert ticket["reference"] in acknowledgement["Subject"]
    shown = house.answer("ticket", "show", ticket["reference"], "--json")
    replies = [event for event in shown["events"] if event["kind"] == "replied"]
    assert [(event["by"], event["text"].strip()) for event in replies] == [
        (teacher, "It flashes twice and then once, if that helps.")
    ]


def reply_with_s_nail(dovecot: Dovecot, postfix: Postfix, address: str, text: str) -> None:
    """Reply to the one mail in *address*'s INBOX with s-nail: over IMAP and SMTP, as its user would type it."""
    account = f"{address.replace('@', '%40')}:{PASSWORD.replace(' ', '%20')}"
    settings = [
        "v15-compat=yes", f"tls-ca-file={dovecot.certificates.authority}", f"from={address}", "sendwait=yes",
        f"mta=smtp://{account}@localhost:{postfix.submission_port}", "smtp-use-starttls", "hostname=allsaints.example",
        "quote",
        "indentprefix=> ",
    ]  # fmt: skip
    command = [program("s-nail", "s-nail"), "-n", "-#", *(f"-S{setting}" for setting in settings)]
    command += ["-f", f"imaps://{account}@localhost:{dovecot.imaps_port}/INBOX"]
    typed = f"reply 1\n{text}\n~.\nxit\n"
    result = subprocess.run(command, input=typed, capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stdout + result.stderr


# A morning of 180 mails


def check_the_morning(house: House, dovecot: Dovecot, mails: list[Sent], *, copies: bool = False) -> None:
    """Assert all that must hold once the morning is over; *copies* of a letter must be the same letter."""
    tickets = house.tickets()
    assert len(tickets) == len(mails)
    assert Counter(ticket["requester"] for ticket in tickets) == Counter(mail.sender for mail in mails)
    assert dovecot.count(SUPPORT) == 0
    assert dovecot.count(SUPPORT, "Processed") == len(mails)

    answered = {mail.message_id: mail for mail in mails if mail.is_answered}
    received = {address: dovecot.messages(address) for address in {mail.sender for mail in mails}}
    letters = [(address, raw) for address, messages in received.items() for raw in messages]
    if copies:
        letters = list(without_copies(letters))
    replied_to = Counter(str(read(raw)["In-Reply-To"]) for _, raw in letters)
    # Each of the school's people has one acknowledgement, and nobody else has any.
    assert replied_to == Counter(answered.keys())
    by_reference = {ticket["reference"]: ticket for ticket in tickets}
    promised = deadlines(house, tickets)
    for address, raw in letters:
        letter = read(raw)
        assert answered[str(letter["In-Reply-To"])].sender == address
        assert answered[str(letter["In-Reply-To"])].message_id in str(letter["References"])
        [reference] = [one for one in by_reference if f"[{one}]" in str(letter["Subject"])]
        ticket = by_reference[reference]
        assert (ticket["response_due"], ticket["resolution_due"]) == promised[reference]
        for words, due in zip(("We answer by:", "Should be fixed by:"), promised[reference], strict=True):
            assert due is None or names_the_instant(line_of(letter, words), datetime.fromisoformat(due))


def line_of(letter: EmailMessage, words: str) -> str:
    """Return the line of the letter's text that begins with *words*."""
    body = letter.get_body(("plain",))
    assert body is not None
    [line] = [line for line in body.get_content().splitlines() if line.startswith(words)]
    return str(line)


def names_the_instant(line: str, instant: datetime) -> bool:
    """Return whether the line ends with the local day and time of *instant*, as people write them."""
    local = instant.astimezone(ZoneInfo("Europe/London"))
    day = f"{local:%a} {local.day} {local:%b}"
    return line.endswith((f"{day}, {local:%H:%M}", f"today {local:%H:%M}"))


def without_copies(letters: list[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Yield each letter once, after asserting that what arrived twice under one Message-ID is the same letter."""
    seen: dict[tuple[str, str], bytes] = {}
    for address, raw in letters:
        # What the servers on the way put on top differs: the day's time, the queue's number.
        letter = raw[raw.index(b"\r\nFrom:") :]
        key = (address, str(read(raw)["Message-ID"]))
        assert seen.setdefault(key, letter) == letter
        if seen[key] is letter:
            yield address, raw


def deadlines(house: House, tickets: list[dict[str, Any]]) -> dict[str, tuple[str | None, str | None]]:
    """Return what ``sla due`` says of each ticket's severity and receipt."""
    asked = [
        {"id": one["reference"], "severity": one["severity"], "received_at": one["received_at"]} for one in tickets
    ]
    result = house.supportd("sla", "due", "--jsonl", given="".join(json.dumps(one) + "\n" for one in asked))
    assert result.returncode == 0, result.stderr
    answers = map(json.loads, result.stdout.splitlines())
    return {answer["id"]: (answer["response_due"], answer["resolution_due"]) for answer in answers}


def test_a_morning_of_180_mails_is_answered_to_whom_it_should_be(
    house: House, dovecot: Dovecot, postfix: Postfix
) -> None:
    mails = morning()
    house.start()

    for mail in mails:
        postfix.deliver(mail.raw, SUPPORT, sender=mail.sender)
    house.wait_until_done(len(mails), timeout_seconds=180)
    house.stop()

    assert len(mails) == 180
    assert sum(mail.is_answered for mail in mails) == 146
    check_the_morning(house, dovecot, mails)
    alerts = " ".join(str(read(raw)["Subject"]) for raw in dovecot.messages(TECHNICIAN))
    serious = [ticket for ticket in house.tickets() if ticket["severity"] <= 3]
    alerted = [ticket for ticket in serious if f"[{ticket['reference']}]" in alerts]
    # Of an incident the first report alerts, the others are counted in one more letter after three minutes.
    incidents = {ticket["incident"] for ticket in alerted} - {None}
    assert [ticket for ticket in serious if ticket not in alerted and ticket["incident"] not in incidents] == []


@pytest.fixture(params=["sqlite", "postgresql"])
def any_house(request: pytest.FixtureRequest, house: House) -> House:
    """Return a house on SQLite, then one on PostgreSQL: the same code, the same tests."""
    if request.param == "postgresql":
        house.settings["database"] = {"url": request.getfixturevalue("postgresql_url")}
    return house


@pytest.mark.parametrize(
    "seed", [1, pytest.param(2, marks=pytest.mark.release), pytest.param(3, marks=pytest.mark.release)]
)
def test_three_deaths_at_any_moment_lose_no_call_for_help(
    any_house: House, dovecot: Dovecot, postfix: Postfix, seed: int
) -> None:
    mails, chance = morning(), random.Random(seed)
    any_house.start()

    for number, mail in enumerate(mails):
        postfix.deliver(mail.raw, SUPPORT, sender=mail.sender)
        if number % 50 == 40:
            time.sleep(chance.uniform(0, 1))
            any_house.kill()
            any_house.start()
    any_house.wait_until_done(len(mails), timeout_seconds=180)
    any_house.stop()

    check_the_morning(any_house, dovecot, mails, copies=True)


# Servers that go away


@pytest.mark.parametrize("seconds_away", [3, pytest.param(60, marks=pytest.mark.release)])
@pytest.mark.parametrize("away", ["dovecot", "postfix"])
def test_a_server_that_was_away_finds_the_daemon_waiting(
    house: House, dovecot: Dovecot, postfix: Postfix, away: str, seconds_away: int
) -> None:
    mails = morning()[:20]
    house.start()
    server = dovecot if away == "dovecot" else postfix

    for mail in mails[:10]:
        postfix.deliver(mail.raw, SUPPORT, sender=mail.sender)
    house.wait_until_done(10)
    if away == "dovecot":
        # The mail is accepted meanwhile, and waits in Postfix.
        server.stop()
    for mail in mails[10:]:
        postfix.deliver(mail.raw, SUPPORT, sender=mail.sender)
    if away == "postfix":
        wait_until(lambda: dovecot.count(SUPPORT) + dovecot.count(SUPPORT, "Processed") == 20, "the mail is there")
        server.stop()
    time.sleep(seconds_away)
    server.start()
    back_at = time.monotonic()
    house.wait_until_done(20, timeout_seconds=60)
    recovered_after = time.monotonic() - back_at
    house.stop()

    check_the_morning(house, dovecot, mails)
    assert recovered_after < 60
    reasons = [entry["reason"] for entry in house.log() if entry.get("event") == "unavailable"]
    wire = "imap" if away == "dovecot" else "smtp"
    assert [reason for reason in reasons if reason.startswith(wire)] != []
    assert all(reason.startswith(wire) for reason in reasons)
