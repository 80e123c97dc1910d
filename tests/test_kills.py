"""The daemon is killed again and again, at no chosen place, while mail runs through real Postfix and Dovecot.

What must hold after any number of deaths (reliability.md G1): no mail lost, no ticket doubled, no acknowledgement
missing; and a letter goes out twice only when a death fell between the server's acceptance and our record of it (R6),
byte for byte the same.  Those deaths are counted without any failpoint: the letter stands in stage ``data``, and
Postfix has queued it.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest
from sqlalchemy import select

import figures
from servers.dovecot import Dovecot
from servers.house import SUPPORT, House
from servers.nursery import Nursery
from servers.postfix import Postfix
from supportd import audit, config
from supportd.db.engine import Database
from supportd.db.letters import Stage
from supportd.db.schema import letter, message, ticket
from supportd.service import clock

# Ten in CI fit its time; a slice of the long run takes some minutes, and as many slices as wanted add up.
KILLS_IN_CI = 10
KILLS_IN_A_SLICE = int(os.environ.get("SUPPORTD_KILLS", "100"))
# A life ends within this: the shortest die before they have signed in, the longest have sent what there was.
_LONGEST_LIFE_SECONDS = 2.5
_MAILS_PER_KILL = 2
TEACHERS = tuple(f"teacher.{number}@allsaints.example" for number in range(20))
COMPLAINTS = ("the board is dark", "there is no sound", "the printer jams", "my password has expired", "it is slow")


@dataclass(slots=True, kw_only=True)
class Campaign:
    """What was handed in, and which deaths fell into the window."""

    senders: dict[str, str] = field(default_factory=dict)  # Message-ID -> teacher
    hits: Counter[str] = field(default_factory=Counter)  # the letter's Message-ID -> accepted, and we died before C7


def mail(number: int, sender: str) -> EmailMessage:
    one = EmailMessage(policy=SMTP)
    one["From"], one["To"] = sender, SUPPORT
    one["Subject"] = f"Room {number}: {COMPLAINTS[number % len(COMPLAINTS)]}"
    one["Date"] = "Tue, 24 Nov 2026 09:00:00 +0000"
    one["Message-ID"] = f"<kills-{number}@allsaints.example>"
    one.set_content(f"In room {number} {COMPLAINTS[number % len(COMPLAINTS)]}. Please help.\n")
    return one


@pytest.fixture
def house(tmp_path: Path, dovecot: Dovecot, postfix: Postfix) -> House:
    return House(tmp_path, dovecot, postfix)


@pytest.fixture(params=["sqlite", "postgresql"])
def any_house(request: pytest.FixtureRequest, house: House) -> House:
    if request.param == "postgresql":
        house.settings["database"] = {"url": request.getfixturevalue("postgresql_url")}
    return house


@pytest.fixture
def nursery(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nursery]:
    monkeypatch.setenv("SUPPORTD_TEST_PASSWORD", "correct horse")
    nursery = Nursery()
    yield nursery
    nursery.close()


def kill_again_and_again(
    house: House, nursery: Nursery, database: Database, postfix: Postfix, kills: int, seed: int
) -> Campaign:
    """Return the campaign of *kills* deaths, two mails handed in during each life."""
    chance, campaign = random.Random(seed), Campaign()
    for number in range(kills):
        pid = nursery.run(house.file, house.log_file)
        try:
            ends_at = time.monotonic() + chance.uniform(0, _LONGEST_LIFE_SECONDS)
            for one in range(_MAILS_PER_KILL):
                sender = chance.choice(TEACHERS)
                wanted = mail(number * _MAILS_PER_KILL + one, sender)
                postfix.deliver(bytes(wanted), SUPPORT, sender=sender)
                campaign.senders[str(wanted["Message-ID"])] = sender
            time.sleep(max(0.0, ends_at - time.monotonic()))
        finally:
            nursery.kill(pid)
        if in_data := letters_in_data(database):
            # Postfix writes its log by a process of its own.
            time.sleep(0.3)
            copies = accepted(postfix)
            campaign.hits += Counter({name: 1 for name in in_data if copies[name] > campaign.hits[name]})
    return campaign


def letters_in_data(database: Database) -> list[str]:
    """Return the Message-IDs of letters whose sender died between DATA and its record, and nobody has settled yet."""
    with database.read() as connection:
        rows = connection.execute(
            select(letter.c.message_id).where(letter.c.stage == Stage.DATA, letter.c.state == "sending")
        )
        return [row.message_id for row in rows]


def accepted(postfix: Postfix) -> Counter[str]:
    """Return how often Postfix queued each Message-ID: that is its 250."""
    names: dict[str, str] = {}
    queued: Counter[str] = Counter()
    for line in postfix.log.read_text(errors="replace").splitlines():
        if found := re.search(r"cleanup\[\d+\]: (\w+): message-id=(\S+)", line):
            names[found[1]] = found[2]
        elif (found := re.search(r"qmgr\[\d+\]: (\w+): from=.*queue active", line)) and found[1] in names:
            queued[names.pop(found[1])] += 1
    return queued


def check(house: House, dovecot: Dovecot, database: Database, campaign: Campaign) -> dict[str, int]:
    """Assert that nothing is lost and nothing is doubled, and return the counts."""
    with database.read() as connection:
        verdicts = {
            row.message_id: row.verdict
            for row in connection.execute(select(message.c.message_id, message.c.verdict)).all()
        }
        opened = Counter(
            row.origin_message_id for row in connection.execute(select(ticket.c.origin_message_id)).all()
        )
        recipients = {
            row.message_id: row.recipient
            for row in connection.execute(select(letter.c.message_id, letter.c.recipient)).all()
        }
        states = Counter(row.state for row in connection.execute(select(letter.c.state)).all())
    lost = [one for one in campaign.senders if verdicts.get(one) != "ticket"]
    doubled = [one for one, count in opened.items() if count != 1]
    assert lost == []
    assert doubled == []
    assert opened.keys() == campaign.senders.keys()
    assert set(states) == {"sent"}

    arrived: dict[str, list[bytes]] = {}
    answered: Counter[str] = Counter()
    for address in {*recipients.values()}:
        for raw in dovecot.messages(address):
            # Above From: stand only the lines of the servers on the way.
            own = raw[raw.index(b"\r\nFrom:") :]
            found = re.search(rb"\r\nMessage-ID:\s*(\S+)", own)
            assert found is not None
            name = found[1].decode()
            assert recipients[name] == address
            arrived.setdefault(name, []).append(own)
            reply = re.search(rb"\r\nIn-Reply-To:\s*(\S+)", own)
            if reply is not None and len(arrived[name]) == 1 and address in TEACHERS:
                answered[reply[1].decode()] += 1
    assert answered == Counter(campaign.senders.keys())
    assert arrived.keys() == recipients.keys()
    assert all(len(set(copies)) == 1 for copies in arrived.values())

    extra = {name: len(copies) - 1 for name, copies in arrived.items() if len(copies) > 1}
    # Each copy more is the work of one death that fell into the window.
    assert all(count <= campaign.hits[name] for name, count in extra.items())
    assert audit.findings(database, config.load(house.file), clock) == ()
    hits, twice = campaign.hits.total(), sum(extra.values())
    return {"lost": len(lost), "doubled tickets": len(doubled), "window hit": hits, "letters twice": twice}


def campaign_on(
    house: House, nursery: Nursery, dovecot: Dovecot, postfix: Postfix, kills: int, seed: int
) -> dict[str, int]:
    database = Database(config.load(house._written()).database_url)
    first = nursery.run(house.file, house.log_file)
    time.sleep(_LONGEST_LIFE_SECONDS)
    nursery.kill(first)
    campaign = kill_again_and_again(house, nursery, database, postfix, kills, seed)
    last = nursery.run(house.file, house.log_file)
    try:
        house.wait_until_done(len(campaign.senders), timeout_seconds=120)
    finally:
        nursery.stop(last)
    counts = check(house, dovecot, database, campaign)
    database.close()
    return {"kills": kills, "mails": len(campaign.senders), **counts}


def test_ten_deaths_at_no_chosen_place_lose_and_double_nothing(
    any_house: House, nursery: Nursery, dovecot: Dovecot, postfix: Postfix
) -> None:
    counts = campaign_on(any_house, nursery, dovecot, postfix, KILLS_IN_CI, seed=7)

    assert counts["mails"] == KILLS_IN_CI * _MAILS_PER_KILL


@pytest.mark.release
@pytest.mark.timeout(7200)
def test_a_slice_of_ten_thousand_kills_loses_and_doubles_nothing(
    any_house: House, nursery: Nursery, dovecot: Dovecot, postfix: Postfix, request: pytest.FixtureRequest
) -> None:
    counts = campaign_on(any_house, nursery, dovecot, postfix, KILLS_IN_A_SLICE, seed=random.randrange(1 << 30))

    row = f"random kill -9, {request.node.callspec.params['any_house']}"
    figures.add("Kills", row, counts, "make release-test PART=kills")
