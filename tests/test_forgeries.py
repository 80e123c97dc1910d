"""Forged mails gain nothing, genuine ones are believed: read by the real parser, behind the border of each profile."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest

from forgeries import border
from forgeries.book import FORGED, Entry, entries, message
from forgeries.border import Words
from supportd.core import commands, parse, sender, threads, tokens
from supportd.core.model import Mail, Status
from supportd.core.sender import Level, Profile
from supportd.core.threads import Append, Candidate, Placement
from supportd.core.tokens import Key, Keys, Role

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
KEYS = Keys(current=Key(version=1, secret=bytes(range(32))))
SUPPORT = "support@allsaints.example"
TECHNICIAN = border.TECHNICIAN
REQUESTER = "jane@allsaints.example"
PARTICIPANT = "june@allsaints.example"
PARENT = "parent@gmail.example"
FIRST_MESSAGE_ID = "<first@allsaints.example>"
TICKETS = (
    Candidate(
        id=7,
        reference="AS-123",
        status=Status.RESOLVED,
        requester=REQUESTER,
        participants=(PARTICIPANT,),
        message_ids=(FIRST_MESSAGE_ID,),
    ),
    Candidate(id=8, reference="AS-124", status=Status.OPEN, requester=PARENT),
)


def own_id(person: str, role: Role, ticket: int = 7) -> str:
    return tokens.message_id(
        keys=KEYS, domain=border.SCHOOL, kind="alert", ticket=ticket, person=person, role=role, uuid=UUID(int=ticket)
    )


def reply_address(person: str, role: Role) -> str:
    return tokens.reply_address(keys=KEYS, address=SUPPORT, reference="AS-123", person=person, role=role)


TECHNICIANS_ID = own_id(TECHNICIAN, Role.TECHNICIAN)
PLACES = {
    "technician": TECHNICIAN,
    "requester": REQUESTER,
    "participant": PARTICIPANT,
    "attacker": "evil@attacker.example",
    "technicians_id": TECHNICIANS_ID,
    "requesters_id": own_id(REQUESTER, Role.REQUESTER),
    "spliced_id": ".".join(
        (
            *TECHNICIANS_ID.split(".")[:2],
            own_id(TECHNICIAN, Role.TECHNICIAN, 8).split(".")[2],
            *TECHNICIANS_ID.split(".")[3:],
        )
    ),
    "bent_id": TECHNICIANS_ID[:40] + ("b" if TECHNICIANS_ID[40] == "a" else "a") + TECHNICIANS_ID[41:],
    "technicians_address": reply_address(TECHNICIAN, Role.TECHNICIAN),
    "token": "." + reply_address(TECHNICIAN, Role.TECHNICIAN).partition(".")[2].partition("@")[0].upper(),
    "requesters_address": reply_address(REQUESTER, Role.REQUESTER),
    "first_message_id": FIRST_MESSAGE_ID,
    "many_ids": " ".join(f"<sd.alert.{number}.x@allsaints.example>" for number in range(5000)),
}


def decide(raw: bytes, profile: Profile) -> tuple[Mail, sender.Standing, Placement]:
    """Return what the pure rooms make of *raw* when both tickets are known."""
    trust = border.trust(profile)
    mail = parse.parse(raw)
    assert isinstance(mail, Mail)
    standing = sender.evidence(mail, trust)
    clues = threads.clues(mail, keys=KEYS, addresses=[SUPPORT], prefix="AS")
    placement = threads.place(clues, TICKETS, sender=mail.sender, standing=standing, trust=trust, keys=KEYS, now=NOW)
    return mail, standing, placement


def gains(raw: bytes, profile: Profile, attackers: frozenset[str]) -> list[str]:
    """Return what the sender of *raw* gained beyond a ticket of his own, or a note that technicians alone see."""
    mail, standing, placement = decide(raw, profile)
    address = mail.sender.address if mail.sender else ""
    found = []
    if standing.level > Level.VERIFIED:
        found.append(f"believed to be {address} as {standing.level.name}: {standing.reasons}")
    if standing.level is Level.VERIFIED and not address.endswith(tuple(attackers)):
        found.append(f"verified as {address}: {standing.reasons}")
    if isinstance(placement, Append) and not placement.held:
        found.append(f"joined: {placement}")
    if isinstance(placement, Append) and (placement.reopens or placement.level > standing.level):
        found.append(f"acted: {placement}")
    if threads.copied_in(mail, standing.level, border.trust(profile), [SUPPORT]):
        found.append("brought somebody in")
    return found


PROVING = (Profile.RFC8601, Profile.GOOGLE, Profile.MICROSOFT365)
HIS_OWN = frozenset({"@attacker.example", "@service.example"})


def forgeries(file: str, profile: Profile) -> Iterator[tuple[Entry, bytes]]:
    """Yield the forged mails of *file* as they arrive behind the border of *profile*."""
    for entry in entries(file):
        told = (border.GENUINE,) if entry.told.get("border") == "insider" else border.sayings(profile)
        for words in told:
            yield entry, message(entry, profile, words, PLACES)


@pytest.mark.parametrize("profile", PROVING)
@pytest.mark.parametrize("file", FORGED)
def test_a_forged_mail_gains_nothing(file: str, profile: Profile) -> None:
    problems = [(entry.why, gain) for entry, raw in forgeries(file, profile) for gain in gains(raw, profile, HIS_OWN)]

    assert problems == []


def test_without_a_profile_a_stranger_under_his_own_name_gains_nothing() -> None:
    strangers = [entry for entry in entries("threads.txt") if "From: {attacker}" in entry.text]

    problems = [
        (entry.why, gain)
        for entry in strangers
        for gain in gains(message(entry, Profile.NONE, Words(), PLACES), Profile.NONE, HIS_OWN)
    ]

    assert len(strangers) > 20
    assert problems == []


def test_there_are_more_than_two_hundred_different_forged_mails() -> None:
    raws = {raw for file in FORGED for profile in PROVING for _, raw in forgeries(file, profile)}

    assert len(raws) > 200


@pytest.mark.parametrize("profile", [*PROVING, Profile.NONE])
@pytest.mark.parametrize("entry", list(entries("genuine.txt")), ids=lambda entry: entry.why)
def test_a_genuine_reply_is_believed_and_read_as_it_was_meant(entry: Entry, profile: Profile) -> None:
    assert_believed(entry, profile, message(entry, profile, border.GENUINE, PLACES))


def test_a_genuine_reply_inside_an_exchange_tenant_is_believed() -> None:
    inside = [entry for entry in entries("genuine.txt") if "Received:" not in entry.text]

    for entry in inside:
        assert_believed(
            entry, Profile.MICROSOFT365, message(entry, Profile.MICROSOFT365, border.INSIDE_THE_TENANT, PLACES)
        )


def assert_believed(entry: Entry, profile: Profile, raw: bytes) -> None:
    mail, standing, placement = decide(raw, profile)

    assert isinstance(placement, Append), (standing, placement)
    assert (placement.ticket, placement.role, placement.level) == (7, Role.TECHNICIAN, Level.COMMANDING), standing
    assert placement.alarm == ""
    read = commands.read(mail.new_text, commands.Vocabulary(writer=TECHNICIAN))
    assert isinstance(read, commands.Read), read
    assert ", ".join(str(command) for command in read.commands) == entry.told["commands"]
    assert read.text.strip() == entry.told["text"]


@pytest.mark.parametrize("profile", [*PROVING, Profile.NONE])
@pytest.mark.parametrize("clue", ["In-Reply-To: {requesters_id}", "To: {requesters_address}", "Subject: [AS-123] x"])
@pytest.mark.parametrize("person", ["Jane Smith <{requester}>", "{participant}"])
def test_a_genuine_reply_of_a_requester_or_a_colleague_joins(profile: Profile, clue: str, person: str) -> None:
    entry = Entry(file="", why="", told={}, text=f"From: {person}\n{clue}\nReferences: <a@x>\n\nStill dark.")

    _, _, placement = decide(message(entry, profile, border.GENUINE, PLACES), profile)

    assert isinstance(placement, Append)
    assert (placement.role, placement.level, placement.held) == (Role.REQUESTER, Level.MEMBER, False)
    assert placement.reopens
