"""Secrets that people mail in are hidden; what people say about passwords stays."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from supportd.core.mask import HIDDEN, mask

LISTS = Path(__file__).parents[1] / "masking"
SECRETS = LISTS.joinpath("secrets.txt").read_text(encoding="utf-8").splitlines()
LOOK_ALIKES = LISTS.joinpath("look-alikes.txt").read_text(encoding="utf-8").splitlines()


def test_the_lists_are_long_enough_to_mean_something() -> None:
    assert len(SECRETS) >= 55
    assert len(LOOK_ALIKES) >= 60


def test_at_least_95_in_100_ways_to_send_a_secret_are_hidden() -> None:
    shown = [line for line in SECRETS if HIDDEN not in mask(line)]

    assert len(shown) <= 0.05 * len(SECRETS), shown


def test_at_most_5_in_100_look_alikes_are_touched() -> None:
    touched = [line for line in LOOK_ALIKES if mask(line) != line]

    assert len(touched) <= 0.05 * len(LOOK_ALIKES), touched


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("my password is Autumn2026! and it fails", f"my password is {HIDDEN} and it fails"),
        ("Recovery codes:\nabcd-1234\nefgh-5678\nthanks", f"Recovery codes:\n{HIDDEN}\nthanks"),
        ("PIN: 4821, door is locked", f"PIN: {HIDDEN}, door is locked"),
        ("scan otpauth://totp/x?secret=JBSW please", f"scan {HIDDEN} please"),
        ("card 4111 1111 1111 1111 declined", f"card {HIDDEN} declined"),
        ("password: Blue7 and PIN: 1234", f"password: {HIDDEN} and PIN: {HIDDEN}"),
    ],
)
def test_only_the_value_is_hidden(text: str, masked: str) -> None:
    assert mask(text) == masked


def test_masking_twice_changes_nothing_more() -> None:
    for line in SECRETS:
        assert mask(mask(line)) == mask(line)


@pytest.mark.parametrize("piece", ["password is ", "password:", "4 ", "pin ", "recovery codes:\n", "a1 password "])
def test_the_cost_grows_with_the_length_and_no_faster(piece: str) -> None:
    def cost(repeats: int) -> float:
        text = piece * repeats
        began = time.process_time()
        mask(text)
        return time.process_time() - began

    small, large = cost(20_000), cost(80_000)

    assert large < 10 * small + 0.2
