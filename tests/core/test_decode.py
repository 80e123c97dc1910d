"""Bytes that mailers call text; the corpus of mails/ shows most of it in whole mails."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supportd.core import decode

CHARSETS = st.sampled_from(
    [
        "utf-8",
        "us-ascii",
        "",
        "iso-8859-1",
        "iso-2022-jp",
        "gb2312",
        "utf-7",
        "utf-16",
        "punycode",
        "hex",
        "\0",
        "x" * 99,
    ]
)


@given(st.binary(max_size=500), CHARSETS)
@settings(deadline=None)
def test_any_bytes_in_any_charset_are_text(data: bytes, charset: str) -> None:
    assert isinstance(decode.text(data, charset), str)


@given(st.text(max_size=300))
@settings(deadline=None)
def test_any_header_value_has_words(value: str) -> None:
    assert isinstance(decode.words(value), str)


@given(st.text(alphabet="=?utf-8QqBb_ABx?= \n", max_size=300))
@settings(deadline=None)
def test_any_ruin_of_encoded_words_has_words(value: str) -> None:
    assert isinstance(decode.words(value), str)


@given(st.binary(max_size=500), st.sampled_from(["base64", "Quoted-Printable", "7bit", "x-uuencode", "base64; x", ""]))
@settings(deadline=None)
def test_any_bytes_lose_any_transfer_encoding(data: bytes, encoding: str) -> None:
    assert isinstance(decode.transfer(data, encoding), bytes)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ("=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        ("=?utf-8?q?a?= x =?utf-8?q?b?=", "a x b"),
        ("=?utf-8?q?a?=\r\n =?iso-8859-1?q?=E9?=", "aé"),
        ("=?utf-8*en-GB?q?colour?=", "colour"),
        ("=?UTF-8?b?w7w?=", "ü"),
        ("=?utf-8?q??=", ""),
        ("=?utf-8?q?=41?=", "A"),
        ("=?utf-8?q?what??=", "what?"),
        ("=?utf-8?x?a?=", "=?utf-8?x?a?="),
        ("=?a b?q?c?=", "=?a b?q?c?="),
        ("=?utf-8?b?w7w= =?utf-8?b?w7w=?=", "üü"),
    ],
)
def test_encoded_words_are_read_as_they_were_meant(value: str, expected: str) -> None:
    assert decode.words(value) == expected


@pytest.mark.parametrize(
    ("flowed", "delete_space", "expected"),
    [
        ("one \ntwo\nthree", False, "one two\nthree"),
        ("Schul \ntasche", True, "Schultasche"),
        (">> quoted \n>> on\n> other", False, ">> quoted on\n> other"),
        ("> quoted \nown", False, "> quoted \nown"),
        ("text \n-- \nJane", False, "text \n-- \nJane"),
        (" From here\n >stuffed", False, "From here\n>stuffed"),
        ("ends flowed ", False, "ends flowed "),
    ],
)
def test_flowed_paragraphs_are_whole_again(flowed: str, delete_space: bool, expected: str) -> None:
    assert decode.unflow(flowed, delete_space) == expected


@pytest.mark.parametrize("data", [b"QUJD", b"QU JD\r\n", b"Q*U*J*D", b"QUJDR", b"QUJDRA"])
def test_damaged_base64_gives_what_is_whole(data: bytes) -> None:
    assert decode.base64(data).startswith(b"ABC")


def test_a_soft_line_end_may_have_blanks_behind_it() -> None:
    assert decode.transfer(b"one = \r\ntwo =\t \nthree = 3", "quoted-printable") == b"one two three = 3"


def test_words_that_call_themselves_base64_are_words() -> None:
    assert decode.transfer(b"The projector in room 6 is off.", "base64") == b"The projector in room 6 is off."


@pytest.mark.parametrize("unit", ["=?", "=?utf-8?q?", "=?utf-8?b?", "=?utf-8?q?a?= ", "?=", "=?utf-8?q?=?"])
def test_many_words_cost_linear_time(unit: str) -> None:
    start = time.process_time()

    decode.words(unit * (400_000 // len(unit)))

    assert time.process_time() - start < 5
