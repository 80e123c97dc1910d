"""What a technician's first lines ask for: forgiving in form, strict in meaning."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supportd.core import commands
from supportd.core.commands import HELP, Command, Mistake, Read, Verb, Vocabulary
from supportd.core.model import Address

WORDS = Vocabulary(
    technicians=(
        Address(address="sam@allsaints.example", name="Sam Reed"),
        Address(address="it.tech@allsaints.example", name="Aisha Khan"),
        Address(address="sam.old@allsaints.example", name="Sam Old"),
    ),
    writer="it.tech@allsaints.example",
)


def read(text: str) -> Read:
    found = commands.read(text, WORDS)
    assert isinstance(found, Read), found
    return found


def only(text: str) -> Command:
    (command,) = read(text).commands
    return command


def mistake(text: str) -> Mistake:
    found = commands.read(text, WORDS)
    assert isinstance(found, Mistake), found
    return found


# Where commands stand


def test_a_reply_without_commands_is_text() -> None:
    assert read("Dear Jane,\n\nplease try again.\n") == Read(text="Dear Jane,\n\nplease try again.")


def test_commands_stand_at_the_top_and_the_text_below() -> None:
    assert read("\n\n#ack\n\n#severity 2\n\nDear Jane,\n\nI am on my way.") == Read(
        commands=(Command(verb=Verb.ACK), Command(verb=Verb.SEVERITY, value="2")),
        text="Dear Jane,\n\nI am on my way.",
    )


def test_a_sign_below_other_text_is_text() -> None:
    assert read("Dear Jane,\n#close\n#1 is done").commands == ()


def test_an_empty_reply_asks_for_nothing() -> None:
    assert read("") == Read()
    assert read("\n \n") == Read()


# Forgiving in form


@pytest.mark.parametrize(
    "line",
    [
        "#ack",
        "# ack",
        "#Ack",
        "#ACK.",
        "  #ack  ",
        "\u00a0#\u00a0ack\u00a0",
        "＃ack",
        "＃Ａｃｋ",
        "♯ack",
        "#\ufe0f\u20e3ack",
        "\\#ack",
        "\u200b#ack\u200b",
        "\ufeff#ack",
        "#ack:",
        "##ack",
        "#ack!",
        "#a\u00adck",
    ],
)
def test_what_phones_and_mail_programs_do_to_a_command_is_forgiven(line: str) -> None:
    assert only(line) == Command(verb=Verb.ACK)


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("#severity 2", "2"),
        ("#severity2", "2"),
        ("#severity: 2", "2"),
        ("#severity = 2.", "2"),
        ("#severity – 2", "2"),
        ("#severity—2", "2"),
        ("#Severity\u00a02", "2"),
        ("#severity ２", "2"),
        ("#severity Urgent", "2"),
        ("#severity level 2", "2"),
        ("#severity 2 urgent", "2"),
        ("#severity 2 (urgent)", "2"),
        ("#SEVERITY INFORMATIONAL", "6"),
    ],
)
def test_a_level_is_a_number_or_a_name(line: str, level: str) -> None:
    assert only(line) == Command(verb=Verb.SEVERITY, value=level)


def test_a_level_has_the_name_that_the_school_gave_it() -> None:
    words = Vocabulary(levels={"site down": 1, "the rest": 4})

    assert commands.read("#severity Site Down", words) == Read(commands=(Command(verb=Verb.SEVERITY, value="1"),))
    assert isinstance(commands.read("#severity outage", words), Mistake)
    assert isinstance(commands.read("#severity 2", words), Mistake)


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("#assign Aisha", "it.tech@allsaints.example"),
        ("#assign aisha khan", "it.tech@allsaints.example"),
        ("#assign @Aisha", "it.tech@allsaints.example"),
        ("#assign it.tech", "it.tech@allsaints.example"),
        ("#assign me", "it.tech@allsaints.example"),
        ("#Assign Me.", "it.tech@allsaints.example"),
        ("#assign sam reed", "sam@allsaints.example"),
        ("#assign SAM@allsaints.example", "sam@allsaints.example"),
        ("#assign <sam.old@allsaints.example>", "sam.old@allsaints.example"),
    ],
)
def test_a_technician_is_named_in_any_clear_way(line: str, address: str) -> None:
    assert only(line) == Command(verb=Verb.ASSIGN, value=address)


@pytest.mark.parametrize(
    "line",
    [
        "#merge AS-123",
        "#merge as–123",
        "#merge AS 123",
        "#Merge #123",
        "#merge 123",
        "#merge [AS-123].",
        "#merge AS‑0123",
    ],
)
def test_a_ticket_is_named_in_any_clear_way(line: str) -> None:
    assert only(line) == Command(verb=Verb.MERGE, value="AS-123")


@pytest.mark.parametrize(
    "line",
    [
        "#for jane@allsaints.example",
        "#For Jane@AllSaints.example.",
        "#for <jane@allsaints.example>",
        "#for Jane Smith <jane@allsaints.example>",
        "#for mailto:jane@allsaints.example",
        "#for jane@allsaints.example<mailto:jane@allsaints.example>",
        "#for [jane@allsaints.example](mailto:jane@allsaints.example)",
    ],
)
def test_an_address_is_read_through_the_links_of_mail_programs(line: str) -> None:
    assert only(line) == Command(verb=Verb.FOR, value="jane@allsaints.example")


def test_a_hyphen_in_the_name_is_forgiven() -> None:
    assert only("#re-open") == Command(verb=Verb.REOPEN)
    assert only("#Re–Open") == Command(verb=Verb.REOPEN)


def test_several_commands_may_share_a_line() -> None:
    assert [str(command) for command in read("#ack #assign me #severity 2").commands] == [
        "#ack",
        "#assign it.tech@allsaints.example",
        "#severity 2",
    ]


def test_the_same_command_twice_is_one() -> None:
    assert read("#ack\n#Ack").commands == (Command(verb=Verb.ACK),)


# Notes and news


def test_a_note_makes_the_rest_internal() -> None:
    found = read("#note\nThe head asked me to be quick #priority")

    assert found.is_internal
    assert found.text == "The head asked me to be quick #priority"


def test_a_note_may_stand_on_the_line_and_keeps_its_signs() -> None:
    assert only("#note Rang her – back at 3 #later") == Command(verb=Verb.NOTE, value="Rang her - back at 3 #later")


def test_text_without_a_note_is_for_the_requester() -> None:
    assert not read("#resolve\nAll yours again").is_internal


def test_news_that_a_mail_program_wrapped_are_read_whole() -> None:
    news = "#status The internet is down in the whole school, the provider says that\nit is back by 11:30."

    found = read(f"{news}\n\nDear Jane, sorry.")

    assert found.commands == (
        Command(
            verb=Verb.STATUS,
            value="The internet is down in the whole school, the provider says that it is back by 11:30.",
        ),
    )
    assert found.text == "Dear Jane, sorry."


def test_words_to_one_person_do_not_become_news_for_all() -> None:
    found = read("#status The internet is down\nDear Jane, your password is on its way")

    assert found.commands == (Command(verb=Verb.STATUS, value="The internet is down"),)
    assert found.text == "Dear Jane, your password is on its way"


# Strict in meaning


@pytest.mark.parametrize(
    ("text", "problem", "example"),
    [
        ("#asign Aisha", '"#asign" is no command', "#assign me"),
        ("#resolved", '"#resolved" is no command', "#resolve"),
        ("#delete", '"#delete" is no command', "#help"),
        ("#erase jane@allsaints.example", '"#erase" is no command', "#help"),
        ("#1 priority", '"#1 priority" is no command', "#help"),
        ("#", '"#" is no command', "#help"),
        ("#severity", "#severity needs LEVEL behind it", "#severity 2"),
        ("#severity 7", '"7" is no severity', "#severity 2"),
        ("#severity 0", '"0" is no severity', "#severity 2"),
        ("#severity 2 or 3", '"2 or 3" is no severity', "#severity 2"),
        ("#severity 2 high", '"2 high" is no severity', "#severity 2"),
        ("#severity urgentish", '"urgentish" is no severity', "#severity 2"),
        ("#assign", "#assign needs NAME behind it", "#assign me"),
        ("#assign Bob", '"Bob" is none of Sam Reed, Aisha Khan, Sam Old', "#assign me"),
        ("#assign Sam", '"Sam" is more than one of Sam Reed, Sam Old', "#assign me"),
        ("#merge", "#merge needs TICKET behind it", "#merge AS-123"),
        ("#merge XX-12", '"XX-12" is no ticket', "#merge AS-123"),
        ("#merge AS-12 and AS-13", '"AS-12 and AS-13" is no ticket', "#merge AS-123"),
        ("#for", "#for needs ADDRESS behind it", "#for jane.smith@school.example"),
        ("#for Jane", '"Jane" is not one address', "#for jane.smith@school.example"),
        ("#for a@x.example b@x.example", "is not one address", "#for jane.smith@school.example"),
        ("#status", "#status needs its text", "#status The internet is down, next news at 10:30"),
        ("#close AS-124", '#close takes nothing behind it, but "AS-124" stands there', "#close"),
        ("#resolve I changed the cable", "#resolve takes nothing behind it", "#resolve"),
        ("#ack, thanks", "#ack takes nothing behind it", "#ack"),
        ("#resolve\n#reopen", "#resolve and #reopen cannot both be meant", "#resolve"),
        ("#wait\n#close", "#wait and #close cannot both be meant", "#wait"),
        ("#severity 2\n#severity 3", "#severity stands there twice and says two things", "#severity 2"),
        ("#ack\n" * 11, "11 commands are too many", "#help"),
    ],
)
def test_what_is_not_clear_is_a_mistake_with_an_example(text: str, problem: str, example: str) -> None:
    found = mistake(text)

    assert problem in found.problems[0]
    assert found.example == example


def test_a_mistake_says_what_was_understood() -> None:
    found = mistake("#ack\n#severity 2\n#asign Bob\n#for Jane\n\nDear Jane")

    assert found.understood == ("#ack", "#severity 2")
    assert len(found.problems) == 2


def test_what_cannot_be_undone_is_no_command() -> None:
    names = {verb.value for verb in Verb}

    assert names.isdisjoint({"erase", "redact", "discard", "delete", "bulk", "split", "join"})


def test_a_long_problem_is_quoted_short() -> None:
    assert len(mistake("#" + "x" * 5000).problems[0]) < 100


def test_a_mistake_of_hundreds_of_lines_is_answered_in_a_few() -> None:
    assert len(mistake("#x\n" * 500).problems) == 11


# Yes


@pytest.mark.parametrize("text", ["yes", "Yes.", "\n OK, that was me", "Confirmed!\n\nSam", "YES\u00a0please"])
def test_a_yes_is_a_yes(text: str) -> None:
    assert commands.says_yes(text)


@pytest.mark.parametrize("text", ["", "No", "No, that was not me", "I did not write this", "Was it you?", "yesterday"])
def test_anything_else_is_not(text: str) -> None:
    assert not commands.says_yes(text)


# Help


def test_help_has_every_command_and_every_example_works() -> None:
    assert list(HELP) == list(Verb)
    for verb, line in HELP.items():
        assert only(line.example).verb is verb
        assert line.meaning


@given(st.text(max_size=500))
def test_any_text_is_read_or_refused_without_an_error(text: str) -> None:
    assert isinstance(commands.read("#" + text, WORDS), Read | Mistake)


@given(st.sampled_from(list(Verb)), st.text(max_size=100))
def test_no_argument_leads_to_another_command(verb: Verb, rest: str) -> None:
    found = commands.read(f"#{verb} {rest.replace('#', ' ')}".replace("\n", " "), WORDS)

    if isinstance(found, Read):
        assert [command.verb for command in found.commands] == [verb]


@pytest.mark.parametrize("text", ["#" * 1_000_000, "#ack " * 200_000, "#note " + "x" * 1_000_000, "#ack\n" * 200_000])
def test_a_hostile_text_costs_linear_time(text: str) -> None:
    started = time.perf_counter()

    commands.read(text, WORDS)

    assert time.perf_counter() - started < 3
