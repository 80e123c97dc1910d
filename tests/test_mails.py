"""The corpus of ``mails/``: each file goes the way of the daemon, parse -> screen -> rate, without any ticket history.

``NNN-what.expect`` is JSON: *why* is a sentence; *near* names the rule that a file comes close to and must miss;
*configured* marks a verdict that hangs on ``SETTINGS``, all others must hold unconfigured too; every other key is one
of the output of ``supportd inspect`` and must hold exactly, texts with runs of white space as one space.  A file that
says nothing of it is a person's: a ticket, not automatic, no bounce.  A bounce says which address *failed* and which
*letter* of ours came back, null where it tells neither.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from supportd.config.keywords import shipped
from supportd.core import screen, tokens
from supportd.core.model import Mail, Screening, Verdict
from supportd.core.parse import parse
from supportd.core.severity import Keywords, rate

MAILS = sorted((Path(__file__).parent / "mails").glob("*.eml"))
# The key that signed the Message-IDs of ours in the corpus.
KEYS = tokens.Keys(current=tokens.Key(version=1, secret=b"the corpus of All Saints' Primary"))
SETTINGS = screen.Settings(
    own_addresses=frozenset({"support@allsaints.example", "it@allsaints.example"}),
    staff_domains=frozenset({"allsaints.example"}),
    blocked=frozenset({"leads.example", "cold.caller@agency.example"}),
    machine_senders=frozenset({"boiler@heating.example", "alarms.example"}),
    is_own_message_id=lambda message_id: tokens.verify(message_id, KEYS) is not None,
)
NOT_OUTPUT = {"why", "near", "configured", "failed", "letter"}
OUTPUT = {
    "verdict", "rule", "automatic", "bounce", "from", "from_name", "to", "subject", "message_id", "date", "text",
    "new_text", "attachments", "severity",
}  # fmt: skip


@cache
def expectation(path: Path) -> dict[str, Any]:
    expected = json.loads(path.with_suffix(".expect").read_text("utf-8"))
    assert isinstance(expected, dict)
    return expected


@cache
def read(path: Path) -> Mail | None:
    mail = parse(path.read_bytes())
    return mail if isinstance(mail, Mail) else None


@cache
def judged(path: Path) -> Screening | None:
    mail = read(path)
    return screen.judge(mail, SETTINGS) if mail else None


def flat(value: object) -> object:
    return " ".join(value.split()) if isinstance(value, str) else value


@cache
def keywords() -> Keywords:
    return shipped().compiled()


def severity(mail: Mail, screening: Screening) -> int:
    sender = mail.sender.address if mail.sender else ""
    return rate(mail.subject, mail.new_text, sender, keywords(), automatic=screening.automatic).level


def output(path: Path) -> dict[str, object]:
    """Return what ``supportd inspect`` says of the file."""
    mail, screening = read(path), judged(path)
    if mail is None or screening is None:
        return {"verdict": Verdict.QUARANTINED.value}
    return {
        "severity": severity(mail, screening),
        "verdict": screening.verdict.value,
        "rule": screening.rule,
        "automatic": screening.automatic,
        "bounce": screening.bounce,
        "from": mail.sender.address if mail.sender else None,
        "from_name": mail.sender.name if mail.sender else "",
        "to": [address.address for address in mail.to],
        "subject": mail.subject,
        "message_id": mail.message_id,
        "date": mail.date.isoformat() if mail.date else None,
        "text": mail.text,
        "new_text": mail.new_text,
        "attachments": [{"name": part.name, "type": part.type, "size": part.size} for part in mail.attachments],
    }


@pytest.mark.parametrize("path", MAILS, ids=lambda path: path.stem)
def test_a_mail_of_the_corpus_is_seen_as_its_expectation_says(path: Path) -> None:
    seen = output(path)
    expected = {key: value for key, value in expectation(path).items() if key not in NOT_OUTPUT}
    if "rule" in seen:
        # Unless a file says otherwise, a person wrote it: each of them is a chance for a false alarm.
        expected = {"verdict": "ticket", "automatic": False, "bounce": False} | expected

    assert {key: flat(seen.get(key)) for key in expected} == {key: flat(value) for key, value in expected.items()}


@pytest.mark.parametrize(
    "path", [path for path in MAILS if expectation(path).get("bounce")], ids=lambda path: path.stem
)
def test_a_bounce_names_the_address_that_failed_and_the_letter_that_came_back(path: Path) -> None:
    mail, expected = read(path), expectation(path)
    assert mail is not None

    report = screen.report_of(mail)

    assert (report.recipient or None if report else None) == expected["failed"]
    assert (report.original_message_id or None if report else None) == expected["letter"]


@pytest.mark.parametrize("path", MAILS, ids=lambda path: path.stem)
def test_a_verdict_needs_no_configuration_unless_its_file_says_so(path: Path) -> None:
    mail, configured = read(path), judged(path)

    if mail is not None and configured is not None:
        plain = screen.judge(mail, screen.Settings())
        agree = (plain.verdict, plain.automatic, plain.bounce) == (
            configured.verdict,
            configured.automatic,
            configured.bounce,
        )
        assert agree or expectation(path).get("configured"), f"unconfigured: {plain}"


@pytest.mark.parametrize("rule", [rule.name for rule in screen.RULES])
def test_every_rule_is_hit_by_a_mail_and_missed_by_one_near_it(rule: str) -> None:
    hit = [path.stem for path in MAILS if (screening := judged(path)) and screening.rule == rule]
    near = [path for path in MAILS if expectation(path).get("near") == rule]
    fired_on_near = [path.stem for path in near if path.stem in hit]

    assert hit, f"no mail is caught by {rule}"
    assert near, f"no mail comes near {rule} and misses it"
    assert not fired_on_near


def test_expectations_name_only_rules_and_keys_that_exist() -> None:
    names = {rule.name for rule in screen.RULES}

    for path in MAILS:
        expected = expectation(path)

        assert set(expected) <= OUTPUT | NOT_OUTPUT, path.name
        assert set(expected) - NOT_OUTPUT, f"{path.name} expects nothing"
        assert expected.get("rule") in names | {None}, path.name
        assert expected.get("near", screen.RULES[0].name) in names, path.name


def test_every_mail_has_its_reason_and_every_expectation_its_mail() -> None:
    expectations = {path.stem for path in (Path(__file__).parent / "mails").glob("*.expect")}

    assert expectations == {path.stem for path in MAILS}
    for path in MAILS:
        why = expectation(path)["why"]
        assert len(why.split()) >= 3, path.name
        assert why.endswith("."), path.name


def test_no_two_mails_and_no_two_numbers_are_the_same() -> None:
    contents = Counter(path.read_bytes() for path in MAILS)
    numbers = Counter(path.name.partition("-")[0] for path in MAILS)

    assert [count for count in contents.values() if count > 1] == []
    assert [number for number, count in numbers.items() if count > 1] == []


def test_the_corpus_is_large_enough_to_mean_something() -> None:
    assert len(MAILS) >= 250
