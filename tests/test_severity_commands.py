"""``supportd severity`` as people and scripts call it, and the ``keywords:`` key of the configuration."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from supportd import config
from supportd.cli.app import app
from supportd.core.severity import rate
from supportd.errors import UserError

EXAMPLE = resources.files("supportd").joinpath("config.example.yaml").read_text(encoding="utf-8")
TEACHER = "a.teacher@allsaints.example"


def supportd(*arguments: str | Path, input: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), input=input)


def configured(folder: Path, keywords: str) -> Path:
    """Write the example with *keywords* (a YAML flow mapping) in place of its empty ``keywords:``; return its path."""
    path = folder / "config.yaml"
    assert "\nkeywords: {}" in EXAMPLE
    path.write_text(EXAMPLE.replace("\nkeywords: {}", f"\nkeywords: {keywords}"), encoding="utf-8")
    return path


def level(path: Path, text: str) -> int:
    return rate("", text, TEACHER, config.load(path).compiled_keywords).level


# classify, explain, lint, fit.


def test_mails_are_rated_line_by_line_in_their_order() -> None:
    mails = [
        {"id": "a", "from": TEACHER, "subject": "", "body": "The internet is down across the whole school."},
        {"id": 7, "from": TEACHER, "subject": "Question", "body": "How often do we have to change our passwords?"},
        {"id": "c", "body": "Bonjour à tous"},
    ]

    result = supportd("severity", "classify", "--jsonl", input="\n".join(map(json.dumps, mails)) + "\n\n")

    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert [(answer["id"], answer["severity"], answer["name"]) for answer in answers] == [
        ("a", 1, "outage"),
        (7, 6, "informational"),
        ("c", 4, "medium"),
    ]
    assert {"words": "whole school", "field": "body", "facet": "scope:school"} in [
        {**hit, "words": hit["words"].removeprefix("the ")} for hit in answers[0]["evidence"]
    ]


def test_what_was_quoted_or_stands_in_a_signature_rates_nothing() -> None:
    body = "Thanks, all done.\n\n-- \nInternet down team, whole school\n\n> The internet is down in the whole school"

    result = supportd("severity", "classify", "--jsonl", input=json.dumps({"id": "1", "body": body}))

    assert json.loads(result.stdout)["severity"] > 3


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "standard input:2: is not JSON"),
        ("[]", "standard input:2: is not an object"),
        ('{"subject": "x"}', 'standard input:2: "id" is missing'),
        ('{"id": "2", "body": 3}', 'standard input:2: "body" is not a text'),
    ],
)
def test_a_bad_line_is_named_by_its_number(line: str, problem: str) -> None:
    result = supportd("severity", "classify", "--jsonl", input='{"id": "1", "body": "hi"}\n' + line + "\n")

    assert result.exit_code == 1
    assert problem in str(result.exception) + result.stderr
    assert json.loads(result.stdout.splitlines()[0])["id"] == "1"


def test_a_mail_is_explained_from_its_file(tmp_path: Path) -> None:
    mail = tmp_path / "mail.eml"
    mail.write_bytes(b"From: a@school.example\r\nSubject: board\r\n\r\nThe board in 3B won't turn on.\r\n")

    result = supportd("severity", "explain", mail)

    assert result.exit_code == 0
    assert result.stdout.startswith("level 3, high")
    assert "teaching equipment" in result.stdout
    assert "higher: " in result.stdout


def test_lint_finds_what_no_mail_says(tmp_path: Path) -> None:
    mails = tmp_path / "mails.jsonl"
    mails.write_text('{"id": "1", "body": "The whole school is offline."}\n', encoding="utf-8")

    result = supportd("severity", "lint", mails)

    assert result.exit_code == 3
    assert "is in none of 1 mails" in result.stdout
    assert "scope:school: '<whole> school' is in none" not in result.stdout


def test_the_shipped_list_has_no_row_that_never_decides() -> None:
    result = supportd("severity", "lint")

    assert "never decides" not in result.stdout


def test_fitted_weights_are_written_for_a_person_and_can_be_put_in_force(tmp_path: Path) -> None:
    examples = [("the internet is down in the whole school", 1), ("how long is it?", 6), ("my mouse is broken", 4)] * 4
    lines = [json.dumps({"id": n, "body": body, "severity": truth}) for n, (body, truth) in enumerate(examples)]
    mails = (tmp_path / "one.jsonl", tmp_path / "other.jsonl")
    for path in mails:
        path.write_text("\n".join(lines), encoding="utf-8")

    result = supportd("severity", "fit", *mails, "--out", tmp_path / "weights.yaml")

    assert result.exit_code == 0, result.output
    assert result.stdout.count("12 mails, accuracy 1.000") == 2
    assert "  mous" in (tmp_path / "weights.yaml").read_text(encoding="utf-8")
    path = configured(tmp_path, "{weights: weights.yaml}")
    assert level(path, "the internet is down in the whole school") == 1


# The configuration.


def test_a_keyword_is_added_in_one_line(tmp_path: Path) -> None:
    text = "The flurble is down in every classroom."
    assert level(configured(tmp_path, "{}"), text) == 3

    path = configured(tmp_path, "{add: {service:network: [flurble]}}")

    assert level(path, text) == 2


def test_a_keyword_is_taken_out_in_one_line(tmp_path: Path) -> None:
    path = configured(tmp_path, "{remove: {service:printing: [print, printer]}}")

    found = config.load(path).keywords.changed().facets["service:printing"]

    assert "printer" not in found
    assert "copier" in found


def test_a_row_of_ones_own_stands_first_and_decides(tmp_path: Path) -> None:
    path = configured(tmp_path, "{add: {kind:bees: [swarm]}, rows: [{name: bees, level: 2, if: [kind:bees]}]}")

    rating = rate("", "A swarm, but no rush. How long will it stay?", TEACHER, config.load(path).compiled_keywords)

    assert (rating.level, rating.row) == (2, "bees")


def test_a_list_of_ones_own_takes_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "facets: {kind:bees: [bee]}\ntable: [{name: bees, level: 5, if: [kind:bees]}]\n", encoding="utf-8"
    )
    path = configured(tmp_path, "{file: own.yaml}")

    assert level(path, "Bees!") == 5
    assert level(path, "The internet is down in the whole school.") == 4


@pytest.mark.parametrize(
    ("keywords", "problem"),
    [
        ("{remove: {scope:school: [zzz]}}", "scope:school has no keyword 'zzz'"),
        ("{drop_rows: [zzz]}", "the table has no row 'zzz'"),
        ("{add: {scope:school: ['.. school']}}", "must begin and end with a word"),
        ("{add: {scope:school: ['<zzz> school']}}", "names the group <zzz>"),
        ("{rows: [{name: x, level: 7, if: [fault]}]}", "is too large; the most is 6"),
        ("{rows: [{name: x, level: 1}]}", "is missing"),
        ("{ad: {}}", "did you mean `add`?"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_the_cure(keywords: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        config.load(configured(tmp_path, keywords))

    assert any("config.yaml:" in told and problem in told for told in raised.value.problems)


def test_the_shipped_list_names_each_facet_of_its_table() -> None:
    listed = config.shipped().keywords.changed()
    counted = {"fault", "lost:several", "scope:all", "scope:places", "kind:asks", "shape:question", "shape:questions"}
    services = {facet.removeprefix("service:") for facet in listed.facets if facet.startswith("service:")}

    for section in listed.table:
        row = section.row()
        for facet in (*(facet for need in row.needs for facet in need), *row.unless):
            dimension, _, value = facet.partition(":")
            known = facet in listed.facets or facet in counted or dimension == "sender"
            assert known or (dimension in ("lost", "works", "slow") and value in services), (row.name, facet)
