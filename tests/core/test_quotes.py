"""What was written this time, apart from what programs, gateways and earlier mails put around it.

The corpus ``mails/2xx-*.eml`` holds one mail for each client, language and trap; its *new_text* is what a careful
reader marks as written this time.  The principle it was marked by stands in ``core/quotes.py``.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supportd.core.model import Mail
from supportd.core.parse import parse
from supportd.core.quotes import split

MAILS = sorted((Path(__file__).parents[1] / "mails").glob("2*.eml"))
ATTRIBUTION = "On Tue, 3 Nov 2026 at 09:12, IT Support <support@allsaints.example> wrote:"


def flat(text: str) -> str:
    return " ".join(text.split())


def test_the_corpus_holds_more_than_a_hundred_mails() -> None:
    assert len(MAILS) > 100


@pytest.mark.parametrize("path", MAILS, ids=lambda path: path.stem)
def test_the_new_text_is_what_a_careful_reader_marks(path: Path) -> None:
    expected = json.loads(path.with_suffix(".expect").read_text("utf-8"))

    mail = parse(path.read_bytes())

    assert isinstance(mail, Mail)
    assert flat(mail.new_text) == expected["new_text"], expected["why"]


def test_history_and_signature_are_kept_apart_not_thrown_away() -> None:
    body = f"Room 12.\n\n-- \nJo Smith\nYear 4\n\n{ATTRIBUTION}\n> Which room?\n"

    parts = split(body)

    assert parts.new == "Room 12."
    assert parts.signature == "-- \nJo Smith\nYear 4"
    assert parts.quoted == f"{ATTRIBUTION}\n> Which room?"
    assert parts.forwarded == ""


def test_a_forward_keeps_its_header_block_for_whoever_looks_for_the_original_sender() -> None:
    passed_on = "---------- Forwarded message ---------\nFrom: Bob <b@x.example>\nDate: Mon\nSubject: Wifi\n\nNo wifi."

    parts = split(f"One for you\n\n{passed_on}\n")

    assert parts.new == "One for you"
    assert parts.forwarded == passed_on
    assert parts.quoted == ""


def test_the_subject_tells_a_forward_of_outlook_from_its_reply() -> None:
    block = "From: Bob\nSent: 3 November 2026 09:12\nTo: Office\nSubject: Wifi\n\nNo wifi."

    reply = split(f"Yes\n\n{block}", subject="RE: Wifi")
    forward = split(f"Yes\n\n{block}", subject="FW: Wifi")

    assert (reply.quoted, reply.forwarded) == (block, "")
    assert (forward.quoted, forward.forwarded) == ("", block)


def test_text_after_the_end_of_a_forward_is_not_forwarded() -> None:
    passed_on = "----- Forwarded message from Bob <b@x.example> -----\n\nNo wifi.\n\n----- End forwarded message -----"
    body = f"See this\n\n{passed_on}\n\nJo"

    parts = split(body)

    assert flat(parts.new) == "See this Jo"
    assert parts.forwarded == passed_on


def test_the_html_without_its_quote_containers_decides_where_history_begins() -> None:
    parts = split("Room 12.\nWhich room?\nIT Support", own="Room 12.")

    assert parts.new == "Room 12."


def test_where_text_and_html_say_the_same_the_layout_of_the_text_is_kept() -> None:
    parts = split("Room 12:\n- no sound\n- no picture", own="Room 12:\n* no sound\n* no picture")

    assert parts.new == "Room 12:\n- no sound\n- no picture"


def test_answers_between_quoted_lines_win_over_html_that_lost_them() -> None:
    parts = split(f"{ATTRIBUTION}\n> Which room?\nRoom 12.\n> And the light?\nOrange.\n", own="Hello")

    assert parts.new == "Room 12.\n\nOrange."


def test_html_that_was_all_container_does_not_empty_the_new_text() -> None:
    parts = split("---------- Forwarded message ---------\nFrom: Bob\nSubject: x\n\nNo wifi.", own="\n")

    assert parts.new == "No wifi."


PROSE = st.text(alphabet="ab >-_*:|\n\t.@/<[", max_size=60)
LINES = st.lists(
    st.one_of(
        PROSE,
        st.sampled_from(
            [
                ATTRIBUTION,
                "> quoted",
                "-- ",
                "--",
                "Sent from my iPhone",
                "From: Bob <b@x.example>",
                "Sent: 3 November 2026",
                "Subject: x",
                "-----Original Message-----",
                "----- End forwarded message -----",
                "[EXTERNAL]",
                "CAUTION: This email originated from outside",
                "Kind regards",
                "Jane Smith",
                "Jane",
                "Year 4 Teacher",
                "All Saints' Primary School",
                "[cid:logo.png@01DA]",
                "P.S. room 12",
                "Tel: 01733 555 010",
                "This email is confidential and intended for you",
                "",
            ]
        ),
    ),
    max_size=12,
)


@given(LINES)
def test_the_new_text_is_never_empty_when_there_is_a_text(lines: list[str]) -> None:
    body = "\n".join(lines)

    assert bool(split(body).new.strip()) == bool(body.strip())


@given(LINES)
def test_every_word_of_the_new_text_stands_in_the_text_in_the_same_order(lines: list[str]) -> None:
    body = "\n".join(lines)
    # Both signs of a quotation may be taken off: ">" and, as s-nail writes it, " |".
    signs = str.maketrans(">|", "  ")
    words = iter(body.translate(signs).split())

    assert all(word in words for word in split(body).new.translate(signs).split())


HOSTILE: dict[str, Callable[[int], str]] = {
    "on": lambda size: "On " * (size // 3),
    "on, in lines": lambda size: "On \n" * (size // 4),
    "attributions without an end": lambda size: "On 3 Nov 2026 X\n> q\n" * (size // 20),
    "attributions without quotes": lambda size: "On 3 Nov 2026 a@b.example wrote:\n" * (size // 33),
    "colons": lambda size: "a:\n" * (size // 3),
    "quoted lines": lambda size: "> x\n" * (size // 4),
    "one deep quote": lambda size: ">" * size,
    "ever deeper quotes": lambda size: "\n".join(">" * depth for depth in range(1, math.isqrt(2 * size))),
    "one long line": lambda size: "a" * size,
    "one long line of words": lambda size: "a " * (size // 2),
    "header fields": lambda size: "From: x\nSent: 1\n\n" * (size // 16),
    "blank lines": lambda size: "\n" * size,
    "rules": lambda size: "-----\n" * (size // 6),
    "delimiters": lambda size: "a\n-- \n" * (size // 6),
    "forwards": lambda size: "x\n---- Forwarded message ----\n> a\n" * (size // 32),
    "banners": lambda size: "CAUTION: external\n" * (size // 18),
    "tags in brackets": lambda size: "[EXTERNAL]\n" * (size // 11),
    "cards": lambda size: "Jane Smith\nTel 01733 555010\n" * (size // 28),
    "answers between quotes": lambda size: "On 3 Nov 2026, a@b.example wrote:\n> q\na\n" * (size // 40),
    "pictures": lambda size: "[cid:" * (size // 5),
    "footers": lambda size: "this email is confidential\n" * (size // 27),
}


def seconds(text: str) -> float:
    started = time.process_time()
    split(text)
    return time.process_time() - started


@pytest.mark.parametrize("shape", HOSTILE)
def test_the_cost_grows_with_the_size_and_not_with_its_square(shape: str) -> None:
    small, large = HOSTILE[shape](40_000), HOSTILE[shape](320_000)

    # The best of three runs each: a neighbour on the same core must not fail this.  Eight times the text at an
    # exponent of 1.5 costs 23 times the time, at 2 it would be 64 times; below 1 ms the clock tells nothing apart.
    least = min(seconds(small) for _ in range(3))
    most = min(seconds(large) for _ in range(3))

    assert most <= 23 * max(least, 0.001)
