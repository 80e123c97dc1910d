"""Every wrong configuration names file, line, column and key, and what would be right; no traceback, no secret."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from supportd import config
from supportd.config import document
from supportd.config.document import Section
from supportd.errors import UserError

CONFIGS = sorted((Path(__file__).parent / "configs").glob("*.yaml"))
EXAMPLE = Path(__file__).parents[1] / "config.example.yaml"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_wrong_configuration_is_named_with_its_place_and_its_cure(path: Path) -> None:
    expected = path.read_text().splitlines()[0].removeprefix("# expect: ")

    with pytest.raises(UserError) as caught:
        config.load(path)

    problems = caught.value.problems
    assert any(expected in problem for problem in problems), problems
    assert all(re.match(rf"{re.escape(str(path))}:\d+:\d+: \S+", problem) for problem in problems), problems
    assert "hunter2" not in "".join(problems)


def test_the_line_and_column_are_those_of_the_key() -> None:
    path = next(path for path in CONFIGS if path.stem.startswith("07-"))
    lines = path.read_text().splitlines()

    with pytest.raises(UserError) as caught:
        config.load(path)

    [problem] = caught.value.problems
    _, line, column, *_ = problem.removeprefix(str(path)).split(":")
    assert lines[int(line) - 1][int(column) - 1 :].startswith("port: 101430")


def test_all_problems_are_told_at_once() -> None:
    path = next(path for path in CONFIGS if path.stem.startswith("27-"))

    with pytest.raises(UserError) as caught:
        config.load(path)

    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("path", CONFIGS[:3], ids=lambda path: path.stem)
def test_the_command_line_prints_problems_without_a_traceback_and_exits_1(path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", "from supportd.cli.app import main; main()", "-c", str(path), "calendar", "show"],
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert result.returncode == 1
    assert str(path) in result.stderr
    assert "Traceback" not in result.stderr


def test_the_example_works_as_it_stands() -> None:
    loaded = config.load(EXAMPLE)

    [desk] = loaded.desks
    assert desk.mailbox.address == "support@allsaints.example"
    assert [level.name for level in desk.policy.levels] == [
        "outage",
        "urgent",
        "high",
        "medium",
        "low",
        "informational",
    ]


def test_the_example_documents_every_key() -> None:
    documented = set(re.findall(r"^\s*#?\s*-?\s*\{?([a-z_0-9]+):", EXAMPLE.read_text(), flags=re.MULTILINE))
    documented |= set(re.findall(r"[{,] ?([a-z_0-9]+):", EXAMPLE.read_text()))

    missing = {
        name
        for section in (config.Config, config.MailboxSection, config.LimitsSection, config.TrustSection)
        for name, field in section.model_fields.items()
        if (field.alias or name) not in documented
    }

    # What a mailbox entry may override is documented once, at the top level.
    assert missing == set()


@pytest.mark.parametrize(
    ("mode", "problem"), [(0o644, "can be read by every user"), (None, "cannot be read"), (0o600, "is empty")]
)
def test_a_secret_that_cannot_be_used_is_named_with_its_cure(tmp_path: Path, mode: int | None, problem: str) -> None:
    secret = config.Secret(file=Path("password"))
    if mode is not None:
        (tmp_path / "password").write_text("correct horse" if mode == 0o644 else "\n")
        (tmp_path / "password").chmod(mode)

    with pytest.raises(UserError, match=problem):
        secret.reveal("imap password", tmp_path)


def test_a_secret_loses_its_line_end_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(" correct horse \n")
    (tmp_path / "password").chmod(0o600)

    assert config.Secret(file=Path("password")).reveal("imap password", tmp_path) == " correct horse "


def test_the_schema_that_ships_is_that_of_the_sections() -> None:
    shipped = resources.files("supportd").joinpath("config.schema.json").read_text(encoding="utf-8")

    # Write it anew: python -c "from supportd import config; print(config.json_schema(), end='')" > the file
    assert shipped == config.json_schema()


def test_true_in_the_file_is_no_number() -> None:
    class Example(Section):
        value: object

    assert document.parse(Example, "value: true", name="example.yaml").value is True
