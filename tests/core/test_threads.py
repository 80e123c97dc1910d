"""Where a mail belongs, whom it brings in, and what a requester says in a word."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from supportd.core import threads, tokens
from supportd.core.model import Address, Mail, Status
from supportd.core.sender import Level, Profile, Standing, Trust
from supportd.core.threads import Append, Candidate, New, NewLinked, Word
from supportd.core.tokens import Key, Keys, Role

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
KEYS = Keys(current=Key(version=1, secret=b"a" * 32))
SUPPORT = "support@allsaints.example"
JANE = "jane@allsaints.example"
JUNE = "june@allsaints.example"
SAM = "sam@allsaints.example"
PARENT = "parent@gmail.example"
STAFF = {"staff_domains": frozenset({"allsaints.example"}), "technicians": frozenset({SAM})}
NONE = Trust(**STAFF)  # type: ignore[arg-type]
BORDER = Trust(profile=Profile.RFC8601, authserv_id="mx.allsaints.example", **STAFF)

TICKET = Candidate(id=7, reference="AS-123", status=Status.OPEN, requester=JANE)


def own_id(person: str = JANE, role: Role = Role.REQUESTER, ticket: int = 7, keys: Keys = KEYS) -> str:
    return tokens.message_id(
        keys=keys, domain="allsaints.example", kind="ack", ticket=ticket, person=person, role=role, uuid=UUID(int=5)
    )


def reply_address(person: str = JANE, role: Role = Role.REQUESTER, reference: str = "AS-123") -> str:
    return tokens.reply_address(keys=KEYS, address=SUPPORT, reference=reference, person=person, role=role)


def mail(author: str = JANE, **over: object) -> Mail:
    return Mail(sender=Address(address=author), **over)  # type: ignore[arg-type]


def place(
    found: Mail,
    *candidates: Candidate,
    level: Level = Level.MEMBER,
    trust: Trust = NONE,
    now: datetime = NOW,
    only_thanks: bool = False,
) -> threads.Placement:
    clues = threads.clues(found, keys=KEYS, addresses=[SUPPORT], prefix="AS")
    claims = found.sender is not None and found.sender.address in trust.technicians
    standing = Standing(level=level, reasons=("as the test says",), claims_technician=claims)
    return threads.place(
        clues,
        candidates,
        sender=found.sender,
        standing=standing,
        trust=trust,
        keys=KEYS,
        now=now,
        only_thanks=only_thanks,
    )


# Clues


def test_the_message_id_answered_comes_before_the_older_ones() -> None:
    found = mail(in_reply_to=(own_id(ticket=3),), references=("<a@x>", own_id(ticket=1), own_id(ticket=2), "<b@x>"))

    clues = threads.clues(found, keys=KEYS, addresses=[SUPPORT], prefix="AS")

    assert [own.ticket for own in clues.own] == [3, 2, 1]
    assert clues.references == ("<b@x>", "<a@x>")


def test_only_the_last_twenty_references_are_looked_at() -> None:
    found = mail(references=(own_id(), *(f"<{number}@x>" for number in range(5000))))

    clues = threads.clues(found, keys=KEYS, addresses=[SUPPORT], prefix="AS")

    assert clues.own == ()
    assert clues.references == tuple(f"<{number}@x>" for number in range(4999, 4979, -1))


def test_what_has_our_shape_without_our_proof_is_counted_as_forged() -> None:
    other_key = Keys(current=Key(version=1, secret=b"z" * 32))
    found = mail(references=(own_id(keys=other_key),), to=(Address(address="support+as123.abc@allsaints.example"),))

    clues = threads.clues(found, keys=KEYS, addresses=[SUPPORT], prefix="AS")

    assert clues.own == ()
    assert len(clues.forged) == 2


def test_a_plus_address_of_the_schools_own_is_no_forgery() -> None:
    found = mail(to=(Address(address="support+printers@allsaints.example"),))

    assert threads.clues(found, keys=KEYS, addresses=[SUPPORT], prefix="AS").forged == ()


def test_a_reply_address_is_found_also_where_only_the_delivery_shows_it() -> None:
    for field in ("Delivered-To", "X-Original-To"):
        clues = threads.clues(
            mail(headers=((field, reply_address()),)), keys=KEYS, addresses=["help@x.example", SUPPORT], prefix="AS"
        )

        assert [token.reference for token in clues.reply_tokens] == ["as123"]


@pytest.mark.parametrize(
    ("subject", "tags", "mentions"),
    [
        ("[AS-123] Board", ("AS-123",), ()),
        ("Re: Fwd: [as 123] Board", ("AS-123",), ()),
        ("[EXTERNAL] Re: [AS-00123] [AS-9]", ("AS-123", "AS-9"), ()),
        ("AS-123 is still broken", (), ("AS-123",)),
        ("Re: (as-5).", (), ("AS-5",)),
        ("[AS-1] [AS-2] [AS-3] [AS-4]", ("AS-1", "AS-2", "AS-3"), ()),
        ("[AS-]", (), ()),
        ("[123] [XX-123] [AS-12a] AS123", (), ()),
        ("[AS-" + "9" * 300 + "]", (), ()),
        ("[AS-١٢٣] [AS-²]", (), ()),
        ("[AS-123", (), ("AS-123",)),
        ("]]][[[", (), ()),
    ],
)
def test_the_subject_tag_is_read_in_brackets_and_a_mention_without(
    subject: str, tags: tuple[str, ...], mentions: tuple[str, ...]
) -> None:
    clues = threads.clues(mail(subject=subject), keys=KEYS, addresses=[SUPPORT], prefix="AS")

    assert (clues.tags, clues.mentions) == (tags, mentions)


# Requesters


def test_a_mail_that_points_nowhere_opens_a_ticket() -> None:
    assert place(mail()) == New(reason="nothing points at a ticket")


@pytest.mark.parametrize(
    "clue",
    [
        {"in_reply_to": (own_id(),)},
        {"references": ("<x@y>", own_id(), "<z@y>")},
        {"to": (Address(address=reply_address()),)},
        {"cc": (Address(address=reply_address()),)},
        {"subject": "Re: [AS-123] Board"},
        {"in_reply_to": ("<first@allsaints.example>",)},
    ],
)
def test_each_clue_joins_for_one_who_takes_part(clue: dict[str, object]) -> None:
    ticket = replace(TICKET, message_ids=("<first@allsaints.example>",), participants=(JUNE,))

    for author in (JANE, JUNE):
        placement = place(mail(author, **clue), ticket)

        assert isinstance(placement, Append)
        assert (placement.ticket, placement.role, placement.level) == (7, Role.REQUESTER, Level.MEMBER)
        assert [placement.held, placement.as_note, placement.reopens] == [False, False, False]


@pytest.mark.parametrize("level", [Level.UNVERIFIED, Level.VERIFIED, Level.MEMBER])
@pytest.mark.parametrize(
    "clue",
    [
        {"in_reply_to": (own_id(),)},
        {"to": (Address(address=reply_address()),)},
        {"subject": "Re: [AS-123] Board"},
        {"in_reply_to": ("<first@allsaints.example>",)},
    ],
)
def test_no_clue_joins_for_one_who_takes_no_part(clue: dict[str, object], level: Level) -> None:
    ticket = replace(TICKET, message_ids=("<first@allsaints.example>",))

    placement = place(mail(PARENT, **clue), ticket, level=level)

    assert isinstance(placement, NewLinked)
    assert placement.linked == 7


def test_a_mention_without_brackets_only_links() -> None:
    placement = place(mail(subject="AS-123 again"), TICKET)

    assert placement == NewLinked(linked=7, reason="the subject mentions AS-123")


def test_the_answered_message_counts_before_the_tag() -> None:
    other = Candidate(id=8, reference="AS-9", status=Status.OPEN, requester=JANE)

    placement = place(mail(in_reply_to=(own_id(),), subject="[AS-9]"), other, TICKET)

    assert isinstance(placement, Append)
    assert placement.ticket == 7


def test_a_weaker_clue_joins_where_a_stronger_one_is_anothers() -> None:
    mine = Candidate(id=8, reference="AS-9", status=Status.OPEN, requester=JUNE)

    placement = place(mail(JUNE, in_reply_to=(own_id(),), subject="[AS-9]"), TICKET, mine)

    assert isinstance(placement, Append)
    assert placement.ticket == 8


def test_a_reply_to_a_resolved_ticket_reopens_it_unless_it_is_only_thanks() -> None:
    resolved = replace(TICKET, status=Status.RESOLVED)

    again = place(mail(in_reply_to=(own_id(),)), resolved)
    thanks = place(mail(in_reply_to=(own_id(),)), resolved, only_thanks=True)

    assert isinstance(again, Append)
    assert again.reopens
    assert isinstance(thanks, Append)
    assert not thanks.reopens


def test_a_reply_to_a_closed_ticket_opens_a_linked_one_and_thanks_open_nothing() -> None:
    closed = replace(TICKET, status=Status.CLOSED, closed_at=NOW - timedelta(days=3))

    again = place(mail(in_reply_to=(own_id(),)), closed)
    thanks = place(mail(in_reply_to=(own_id(),)), closed, only_thanks=True)

    assert again == NewLinked(linked=7, reason="answers a mail of ours, but AS-123 is closed")
    assert isinstance(thanks, Append)
    assert not thanks.reopens


def test_an_unverified_reply_of_a_requester_is_held_for_technicians() -> None:
    ticket = replace(TICKET, requester=PARENT, status=Status.RESOLVED)

    placement = place(mail(PARENT, in_reply_to=(own_id(PARENT),)), ticket, level=Level.UNVERIFIED)

    assert isinstance(placement, Append)
    assert placement.held
    assert not placement.reopens
    assert placement.alarm == ""


def test_an_unverified_mail_with_the_tag_alone_only_links() -> None:
    placement = place(mail(subject="[AS-123]"), TICKET, level=Level.UNVERIFIED, trust=BORDER)

    assert isinstance(placement, NewLinked)


def test_a_mail_without_sender_never_joins() -> None:
    found = replace(mail(in_reply_to=(own_id(),)), sender=None)

    assert isinstance(place(found, replace(TICKET, requester=""), level=Level.UNVERIFIED), NewLinked)


def test_a_merged_ticket_is_followed_and_its_people_take_part() -> None:
    first = replace(TICKET, merged_into=8, status=Status.CLOSED)
    second = Candidate(id=8, reference="AS-9", status=Status.OPEN, requester=JUNE, merged_into=9)
    third = Candidate(id=9, reference="AS-10", status=Status.RESOLVED, requester=PARENT)

    placement = place(mail(in_reply_to=(own_id(),)), first, second, third)

    assert isinstance(placement, Append)
    assert (placement.ticket, placement.reopens) == (9, True)


def test_a_ring_of_merges_ends() -> None:
    first = replace(TICKET, merged_into=8)
    second = Candidate(id=8, reference="AS-9", status=Status.OPEN, requester=JUNE, merged_into=7)

    assert isinstance(place(mail(in_reply_to=(own_id(),)), first, second), Append)


def test_a_ticket_that_is_gone_is_no_clue() -> None:
    assert place(mail(in_reply_to=(own_id(),))) == New(reason="nothing points at a ticket")


def test_forged_identifiers_raise_an_alarm() -> None:
    other_key = Keys(current=Key(version=1, secret=b"z" * 32))

    placement = place(mail(PARENT, in_reply_to=(own_id(keys=other_key),)), TICKET, level=Level.UNVERIFIED)

    assert placement == New(reason="nothing points at a ticket", alarm="identifiers in our shape that fail their check")


def test_our_message_by_a_lost_key_still_joins_when_it_is_remembered() -> None:
    lost = own_id(keys=Keys(current=Key(version=9, secret=b"z" * 32)))

    placement = place(mail(in_reply_to=(lost,)), replace(TICKET, message_ids=(lost,)))

    assert isinstance(placement, Append)


# Technicians


def test_a_technician_with_his_token_commands_under_profile_none() -> None:
    for clue in (
        {"in_reply_to": (own_id(SAM, Role.TECHNICIAN),)},
        {"to": (Address(address=reply_address(SAM, Role.TECHNICIAN)),)},
    ):
        placement = place(mail(SAM, **clue), TICKET)

        assert isinstance(placement, Append)
        assert (placement.role, placement.level) == (Role.TECHNICIAN, Level.COMMANDING)


def test_a_technician_with_a_private_address_and_his_token_commands_under_profile_none() -> None:
    private = "sam@gmail.example"
    trust = replace(NONE, technicians=frozenset({private}))

    placement = place(
        mail(private, in_reply_to=(own_id(private, Role.TECHNICIAN),)), TICKET, level=Level.UNVERIFIED, trust=trust
    )

    assert isinstance(placement, Append)
    assert placement.level is Level.COMMANDING


@pytest.mark.parametrize(
    "clue",
    [
        {"in_reply_to": (own_id(JANE, Role.REQUESTER),)},
        {"in_reply_to": (own_id(SAM, Role.REQUESTER),)},
        {"in_reply_to": (own_id(SAM, Role.READER),)},
        {"in_reply_to": (own_id("other@allsaints.example", Role.TECHNICIAN),)},
        {"subject": "[AS-123]"},
    ],
)
def test_under_none_a_technician_without_his_own_token_is_an_ordinary_person(clue: dict[str, object]) -> None:
    placement = place(mail(SAM, **clue), TICKET)

    assert isinstance(placement, NewLinked)
    assert placement.alarm == f"{SAM} is a technician's, and the mail does not prove it"


def test_a_quiet_alert_in_the_shared_inbox_is_answered_by_any_technician_and_by_the_inbox() -> None:
    inbox = "it@allsaints.example"
    trust = replace(NONE, technicians=frozenset({SAM, inbox}), inboxes=frozenset({inbox}))
    alert = own_id(inbox, Role.TECHNICIAN)

    for author in (SAM, inbox):
        placement = place(mail(author, in_reply_to=(alert,)), TICKET, trust=trust)

        assert isinstance(placement, Append)
        assert placement.level is Level.COMMANDING
    assert isinstance(place(mail(JUNE, in_reply_to=(alert,)), TICKET, trust=trust), NewLinked)


def test_anothers_token_does_not_make_a_requester_a_technician() -> None:
    placement = place(mail(JANE, in_reply_to=(own_id(SAM, Role.TECHNICIAN),)), TICKET)

    assert isinstance(placement, Append)
    assert (placement.role, placement.level) == (Role.REQUESTER, Level.MEMBER)


def test_a_forged_technician_with_a_stolen_token_leaves_a_held_note_and_an_alarm() -> None:
    placement = place(
        mail(SAM, in_reply_to=(own_id(SAM, Role.TECHNICIAN),)), TICKET, level=Level.UNVERIFIED, trust=BORDER
    )

    assert isinstance(placement, Append)
    assert (placement.held, placement.level) == (True, Level.UNVERIFIED)
    assert placement.alarm


def test_a_proved_technician_without_token_leaves_a_note_that_steers_nothing() -> None:
    for clue in ({"subject": "[AS-123]"}, {"in_reply_to": (own_id(),)}):
        placement = place(mail(SAM, **clue), TICKET, level=Level.TECHNICIAN, trust=BORDER)

        assert isinstance(placement, Append)
        assert (placement.as_note, placement.level) == (True, Level.TECHNICIAN)


def test_a_technicians_own_token_further_up_the_thread_counts() -> None:
    found = mail(SAM, in_reply_to=(own_id(JANE),), references=(own_id(SAM, Role.TECHNICIAN), own_id(JANE)))

    placement = place(found, TICKET, level=Level.TECHNICIAN, trust=BORDER)

    assert isinstance(placement, Append)
    assert placement.level is Level.COMMANDING


def test_a_token_for_one_ticket_does_not_command_another() -> None:
    other = Candidate(id=8, reference="AS-9", status=Status.OPEN, requester=JUNE)
    found = mail(SAM, in_reply_to=(own_id(JUNE, ticket=8),), references=(own_id(SAM, Role.TECHNICIAN, ticket=7),))

    placement = place(found, TICKET, other, level=Level.TECHNICIAN, trust=BORDER)

    assert isinstance(placement, Append)
    assert (placement.ticket, placement.level) == (8, Level.TECHNICIAN)


@pytest.mark.parametrize(("days", "commands"), [(0, True), (30, True), (31, False)])
def test_a_token_outlives_its_ticket_by_thirty_days(days: int, commands: bool) -> None:
    closed = replace(TICKET, status=Status.CLOSED, closed_at=NOW - timedelta(days=days))

    placement = place(mail(SAM, in_reply_to=(own_id(SAM, Role.TECHNICIAN),)), closed)

    assert isinstance(placement, Append) is commands


def test_a_technician_who_is_the_requester_is_one_without_token_too() -> None:
    placement = place(mail(SAM, in_reply_to=(own_id(SAM, Role.REQUESTER),)), replace(TICKET, requester=SAM))

    assert isinstance(placement, Append)
    assert placement.role is Role.REQUESTER


# Copies


def addresses(*texts: str) -> tuple[Address, ...]:
    return tuple(Address(address=text) for text in texts)


def test_a_member_of_staff_brings_in_staff() -> None:
    found = mail(to=addresses(SUPPORT, JUNE, JANE), cc=addresses(PARENT, "head@allsaints.example", reply_address()))

    assert threads.copied_in(found, Level.MEMBER, NONE, [SUPPORT]) == (JUNE, "head@allsaints.example")


def test_a_technician_with_his_token_brings_in_anybody() -> None:
    found = mail(SAM, to=addresses(SUPPORT), cc=addresses(PARENT, JUNE))

    assert threads.copied_in(found, Level.COMMANDING, NONE, [SUPPORT]) == (PARENT, JUNE)


@pytest.mark.parametrize("level", [Level.UNVERIFIED, Level.VERIFIED])
def test_who_is_no_member_brings_in_nobody(level: Level) -> None:
    assert threads.copied_in(mail(PARENT, cc=addresses(JUNE)), level, NONE, [SUPPORT]) == ()


def test_a_mail_to_the_whole_staff_does_not_bring_in_sixty() -> None:
    found = mail(to=addresses(*(f"teacher{number}@allsaints.example" for number in range(60))))

    assert len(threads.copied_in(found, Level.MEMBER, NONE, [SUPPORT])) == 20


# Words


@pytest.mark.parametrize(
    "text",
    [
        "Thanks!",
        "Thank you so much, that's brilliant. \U0001f600",
        "Great, working now, thanks",
        "Cheers all\n\nKind regards",
        "TA",
        "It’s working now - thank you very much for your quick help!",
    ],
)
def test_thanks_and_nothing_else_are_recognised(text: str) -> None:
    assert threads.says_only_thanks(text)


def test_thanks_by_name_are_thanks() -> None:
    assert threads.says_only_thanks("Thanks Sam!\n\nJane", names=["Sam Reed", "Jane Smith"])
    assert not threads.says_only_thanks("Thanks Sam, board", names=["Sam Reed", "Jane Smith"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Thanks, but it is still not working",
        "Thanks - could you look at the other one too?",
        "Thank you. The board in Year 3 has gone again",
        "Thanks?",
        "Is it working now",
        "working now",
        "Thanks " * 40,
        "No thanks",
        "It is not fixed thanks",
        "Is it working now thanks",
        "Thanks Sam",
    ],
)
def test_more_than_thanks_is_a_message(text: str) -> None:
    assert not threads.says_only_thanks(text)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Solved", Word.SOLVED),
        ("\n  solved!\n\nKind regards\nJane", Word.SOLVED),
        ("FIXED.", Word.SOLVED),
        ("Sorted, \n\nThanks Sam", Word.SOLVED),
        ("Fixed?", None),
        ("Fixed.\n\nBut now the printer jams.", None),
        ("Solved\n\nis it?", None),
        ("Done", None),
        ("status", Word.STATUS),
        ("Status?", Word.STATUS),
        ("Solved the first one, the second is still broken", None),
        ("not solved", None),
        ("What is the status", None),
        ("", None),
        ("x" * 5000, None),
    ],
)
def test_a_requester_asks_in_one_word(text: str, word: Word | None) -> None:
    assert threads.requester_word(text, ["Jane Smith", "Sam Okafor"]) is word
