"""What many deaths must leave behind: each mail one ticket, each sender one answer, and copies only from the window.

A letter may go out twice only when a death fell between the server's acceptance and our record of it (R6), byte for
byte the same.  Those deaths are counted without any failpoint: the letter stands in stage ``data``, and Postfix has
queued it.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP

from sqlalchemy import select

from servers.dovecot import Dovecot
from servers.house import SUPPORT, House
from servers.postfix import Postfix
from supportd import audit, config
from supportd.db.engine import Database
from supportd.db.letters import Stage
from supportd.db.schema import letter, message, ticket
from supportd.lease import is_dead
from supportd.service import clock

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


def note_hits(campaign: Campaign, database: Database, postfix: Postfix) -> None:
    """Count the death that has just been into the window, if it was there: accepted, and still in stage ``data``."""
    if in_data := letters_in_data(database):
        # Postfix writes its log by a process of its own.
        time.sleep(0.3)
        copies = accepted(postfix)
        campaign.hits += Counter({name: 1 for name in in_data if copies[name] > campaign.hits[name]})


def letters_in_data(database: Database) -> list[str]:
    """Return the Message-IDs of letters whose sender died between DATA and its record, and nobody has settled yet."""
    with database.read() as connection:
        rows = connection.execute(
            select(letter.c.message_id, letter.c.lease_owner).where(letter.c.stage == Stage.DATA)
        )
        return [row.message_id for row in rows if is_dead(row.lease_owner)]


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
