"""Mails of the corpus, damaged at random: what comes in is a Mail that all behind it can hold, or quarantined.

Each mutation is made from its number alone, so that a failure names what to run again.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path

import pytest

from supportd.config.keywords import KeywordsSection
from supportd.core import clean, screen, severity
from supportd.core.model import Mail, Unparseable
from supportd.core.parse import parse

SEEDS = sorted((Path(__file__).parent.parent / "mails").glob("*.eml"))
# What a parser trips over; spliced in where it hurts.
TOKENS = (
    b"\0", b"\r", b"\n", b"\r\n\r\n", b" ", b"\t", b"--", b"=", b"=?", b"?=", b"=?utf-8?b?", b"=?iso-2022-jp?Q?=1b$B?=",
    b"=?utf-8\0?q?x?=", b'"', b"(", b")", b"<", b">", b",", b";", b":", b"@", b"\\", b"\xff", b"\x80", b"\xed\xa0\x80",
    b"\x1b$B", b"Content-Type: multipart/mixed; boundary=x\r\n", b"Content-Type: message/rfc822\r\n", b"--x\r\n",
    b"Content-Transfer-Encoding: base64\r\n", b"Content-Type: text/html; charset=utf-7\r\n", b"charset=punycode",
    b"Content-Type: application/ms-tnef\r\n\r\n\x78\x9f\x3e\x22", b"From: a@b.example\r\n", b"Date: \r\n",
    b"Content-Disposition: attachment; filename*0*=utf-8''%ff; filename*2=x\r\n", b"<div hidden>", b"<!--",
    b"References: <a@b> <\r\n", b"format=flowed", b"Content-Type: message/delivery-status\r\n\r\n", b"\xef\xbb\xbf",
)  # fmt: skip
# Nothing of these may be left in a text that a person or a database sees.
UNSAFE = frozenset(char for char in map(chr, range(0x110000)) if char not in "\n\t" and clean.block(char) != char)


@cache
def corpus() -> tuple[bytes, ...]:
    return tuple(seed.read_bytes()[:60_000] for seed in SEEDS)


def mutated(number: int) -> bytes:
    """Return mutation *number*: a mail of the corpus after one to six wounds."""
    chance = random.Random(number)
    mail = bytearray(chance.choice(corpus()))
    for _ in range(chance.randint(1, 6)):
        start = chance.randrange(len(mail) + 1)
        end = min(len(mail), start + chance.choice((1, 2, 10, 100, 1000)))
        match chance.randrange(8):
            case 0:
                mail[start:start] = chance.choice(TOKENS) * chance.choice((1, 1, 2, 30))
            case 1:
                del mail[start:end]
            case 2:
                mail[start:start] = mail[start:end] * chance.choice((1, 3, 50))
            case 3:
                other = chance.choice(corpus())
                cut = chance.randrange(len(other) + 1)
                mail[start:end] = other[cut : cut + chance.choice((20, 200, 2000))]
            case 4:
                del mail[start:]
            case 5:
                mail[start:end] = bytes(chance.randrange(256) for _ in range(end - start))
            case 6:
                lines = bytes(mail).split(b"\n")
                chance.shuffle(lines)
                mail = bytearray(b"\n".join(lines)) if chance.random() < 0.2 else mail
            case _:
                for _ in range(10):
                    if mail:
                        mail[chance.randrange(len(mail))] ^= 1 << chance.randrange(8)
    return bytes(mail)


def texts(value: object) -> Iterator[str]:
    """Yield every text inside *value*."""
    if isinstance(value, str):
        yield value
    elif is_dataclass(value):
        for part in fields(value):
            yield from texts(getattr(value, part.name))
    elif isinstance(value, tuple):
        for item in value:
            yield from texts(item)


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("count", [5_000, pytest.param(200_000, marks=pytest.mark.release)])
def test_every_mutated_mail_is_a_clean_mail_or_quarantined_with_a_reason(count: int) -> None:
    keywords = KeywordsSection().compiled()
    outcomes: Counter[str] = Counter()

    for number in range(count):
        raw = mutated(number)

        outcome = parse(raw)

        if isinstance(outcome, Unparseable):
            assert outcome.reason == "the message is empty", (number, outcome)
            outcomes["quarantined"] += 1
            continue
        assert isinstance(outcome, Mail), number
        unsafe = [text for text in texts(outcome) if not UNSAFE.isdisjoint(text)]
        assert not unsafe, (number, unsafe)
        verdict = screen.judge(outcome, screen.Settings()).verdict
        sender = outcome.sender.address if outcome.sender else ""
        severity.rate(outcome.subject, outcome.new_text, sender, keywords)
        assert bool(outcome.new_text.strip()) == bool(outcome.text.strip()), number
        json.dumps(outcome.headers).encode()
        outcomes[verdict] += 1

    assert outcomes.total() == count
    assert outcomes["ticket"] > count / 4  # the wounds are not so deep that nothing is left to read
