"""What the whole desk does with forged mails, in a real database: no ticket moves, and no stranger's word goes further.

One call for help is opened by a genuine mail; then every forged mail is decided behind the border of a profile.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from sqlalchemy import text

from forgeries import border
from forgeries.book import FORGED, Entry, entries, message
from supportd import config
from supportd.core import parse
from supportd.core.model import EventKind, Status, Verdict
from supportd.core.sender import Profile
from supportd.core.tokens import Role, reply_address
from supportd.db import ledger, letters, tickets
from supportd.decide import Decision
from supportd.service import Service

SUPPORT = "support@allsaints.example"
TECHNICIAN = border.TECHNICIAN
REQUESTER = "jane@allsaints.example"
PARTICIPANT = "june@allsaints.example"
INBOX = "it@allsaints.example"
START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
PROFILES = (Profile.RFC8601, Profile.GOOGLE, Profile.MICROSOFT365, Profile.NONE)
EXAMPLE = Path(config.__file__).parents[1] / "config.example.yaml"


class Desk:
    """One desk with a profile, and its one ticket, whose proofs have all been stolen."""

    def __init__(self, folder: Path, profile: Profile) -> None:
        settings: dict[str, Any] = YAML(typ="safe").load(EXAMPLE.read_text(encoding="utf-8"))
        settings["trust"] = {"profile": profile.value}
        if profile is Profile.RFC8601:
            settings["trust"]["authserv_id"] = border.NAMES[profile][0]
        settings["technicians"] = [{"name": "Sam Reed", "address": TECHNICIAN}]
        settings["mailboxes"][0]["plus_addressing"] = True
        settings["limits"] |= dict.fromkeys(
            ("outsider_address_hour", "outsider_domain_hour", "outsiders_hour", "alerts_10_minutes"), 100_000
        )
        file = folder / "config.yaml"
        with file.open("w", encoding="utf-8") as opened:
            YAML(typ="safe").dump(settings, opened)
        self.profile = profile
        self.service = Service(config.load(file))
        self.station = self.service.stations[0]
        self.now = START
        self.count = 0
        self.station.lease.take(START)
        with self.service.database.write() as connection:
            # What `check --auth` keeps: without it nobody commands, forged or not.
            letters.keep_border_proof(connection, self.station.mailbox_id, self.station.desk.sender_trust.border)
        first = self.genuine(f"From: Jane Smith <{REQUESTER}>\nTo: {SUPPORT}\nCc: {PARTICIPANT}\nReferences: <a@x>")
        assert (first.verdict, first.reference) == (Verdict.TICKET, "AS-1")
        with self.service.database.read() as connection:
            self.ticket_id = tickets.id_of(connection, "AS-1") or 0
            sent = {one["recipient"]: one["message_id"] for one in letters.about(connection, self.ticket_id)}
        keys = self.service.keys
        self.places = {
            "technician": TECHNICIAN,
            "requester": REQUESTER,
            "participant": PARTICIPANT,
            "attacker": "evil@attacker.example",
            "technicians_id": sent[TECHNICIAN],
            "requesters_id": sent[REQUESTER],
            "spliced_id": sent[REQUESTER].rpartition(".")[0] + "." + sent[TECHNICIAN].rpartition(".")[2],
            "bent_id": sent[TECHNICIAN].replace("sd.alert.a", "sd.alert.b"),
            "technicians_address": reply_address(
                keys=keys, address=SUPPORT, reference="AS-1", person=TECHNICIAN, role=Role.TECHNICIAN
            ),
            "requesters_address": reply_address(
                keys=keys, address=SUPPORT, reference="AS-1", person=REQUESTER, role=Role.REQUESTER
            ),
            "first_message_id": "<1@attacker.example>",
            "many_ids": " ".join(f"<sd.alert.{number}.x@allsaints.example>" for number in range(5000)),
        }

    def genuine(self, head: str, body: str = "The internet is down in the whole school.") -> Decision:
        entry = Entry(file="", why="", told={}, text=f"{head}\n\n{body}")
        return self.receive(message(entry, self.profile, border.GENUINE, {"technicians_id": "<a@x>"}))

    def receive(self, raw: bytes) -> Decision:
        """Capture and decide *raw*, under a Message-ID of its own, as if it had just come in."""
        self.count += 1
        # Not so fast that caps and folding have a say.
        self.now += timedelta(seconds=20)
        raw = raw.replace(b"<x@attacker.example>", f"<{self.count}@attacker.example>".encode()).replace(
            b"AS-123", b"AS-1"
        )
        raw = raw.replace(b"AS123", b"AS1")
        one = ledger.Captured(listed=ledger.Listed(uid=self.count, size=len(raw), received_at=self.now), data=raw)
        with self.service.database.write() as connection:
            epoch = ledger.ensure_epoch(connection, self.station.mailbox_id, "INBOX", 1)
            ledger.capture(connection, self.station.mailbox_id, epoch, [one], self.now)
            (number,) = ledger.undecided(connection, self.station.mailbox_id, limit=2)
            row = ledger.load(connection, number)
        assert row is not None
        self.station.lease.take(self.now)
        decision = self.station.decider.decide(row, parse.parse(row.data), self.now)
        assert decision is not None
        return decision

    def the_ticket(self) -> tuple[object, list[EventKind]]:
        """Return the ticket and what has happened to it, unverified notes aside."""
        with self.service.database.read() as connection:
            found = tickets.events(connection, self.ticket_id)
            ticket = tickets.load(connection, self.ticket_id, self.station.desk.level_names)
        return ticket, [one.kind for one in found if one.kind is not EventKind.UNVERIFIED]

    def letters(self) -> Iterator[tuple[int, str, str]]:
        """Yield every letter: its number, for whom, and its whole text, decoded."""
        with self.service.database.read() as connection:
            rows = connection.execute(text("select id, recipient, data from letter order by id")).all()
        for number, recipient, data in rows:
            parts = message_from_bytes(data, policy=policy.default).walk()
            bodies = [part.get_content() for part in parts if part.get_content_maintype() == "text"]
            yield number, recipient, data.split(b"\r\n\r\n")[0].decode() + "\n".join(bodies)


@pytest.fixture(params=PROFILES)
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path, request.param)
    yield made
    made.service.database.close()


def test_forged_mails_move_no_ticket_and_carry_no_word_to_others(desk: Desk) -> None:
    before = desk.the_ticket()
    written = max(number for number, _, _ in desk.letters())

    forged = [entry for file in FORGED for entry in entries(file)]
    if desk.profile is Profile.NONE:
        # Forged staff addresses are outside what this profile promises.
        forged = [entry for entry in forged if entry.file == "threads.txt" and "From: {attacker}" in entry.text]
    for number, entry in enumerate(forged):
        # Each word of the border in its turn: tests/test_forgeries.py has all of them with every mail.
        sayings = border.sayings(desk.profile)
        is_insider = entry.told.get("border") == "insider"
        words = border.GENUINE if is_insider else sayings[number % len(sayings)]
        desk.receive(message(entry, desk.profile, words, desk.places))

    assert desk.the_ticket() == before
    after = [one for one in desk.letters() if one[0] > written]
    # The technicians read what comes in; a stranger with proof is told that his own mail has come; nobody else hears.
    proved = set() if desk.profile is Profile.NONE else {"evil@attacker.example", "noreply@service.example"}
    assert {recipient for _, recipient, _ in after} <= {TECHNICIAN, INBOX} | proved
    assert [text for _, recipient, text in after if recipient not in (TECHNICIAN, INBOX) and "expired" in text] == []


def test_the_same_desk_obeys_its_technician_and_hears_its_requester(desk: Desk) -> None:
    resolved = desk.genuine(
        f"From: Sam Reed <{TECHNICIAN}>\nIn-Reply-To: {desk.places['technicians_id']}",
        "#resolve\n\nThe router was off.",
    )
    ticket, _ = desk.the_ticket()
    assert resolved.verdict is Verdict.COMMAND
    assert ticket.status is Status.RESOLVED  # type: ignore[attr-defined]
    told = [text for _, recipient, text in desk.letters() if recipient == REQUESTER]
    assert "The router was off." in told[-1]
    assert desk.places["technicians_id"] not in told[-1]

    again = desk.genuine(
        f"From: Jane Smith <{REQUESTER}>\nIn-Reply-To: {desk.places['requesters_id']}", "It is down again."
    )

    ticket, _ = desk.the_ticket()
    assert again.verdict is Verdict.REPLY
    assert ticket.status is Status.OPEN  # type: ignore[attr-defined]
