"""What stands in docs/ is so: generated pages are up to date, commands exist, and every warning is explained."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path
from types import ModuleType

import click
import pytest

from servers import program
from supportd.cli.app import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SOURCE = ROOT / "daemon" / "supportd"
PAGES = sorted(DOCS.glob("*.md"))
HANDBOOK = ("install-imap", "install-microsoft365", "install-google", "operations", "mail-flow", "configuration")


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    specification = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("page", "function"), [("configuration.md", "configuration"), ("supportd.1", "man_page")])
def test_a_generated_page_is_up_to_date(page: str, function: str, generate: ModuleType) -> None:
    assert (DOCS / page).read_text() == getattr(generate, function)(), "run: .venv/bin/python docs/generate.py"


def test_the_man_page_is_one() -> None:
    command = [program("groff", "groff-base"), "-man", "-Tascii", "-ww", str(DOCS / "supportd.1")]

    result = subprocess.run(command, capture_output=True, text=True, timeout=30)

    assert (result.returncode, result.stderr) == (0, "")
    assert "a check found something" in " ".join(result.stdout.split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_is_named_exists(page: Path) -> None:
    context = click.Context(app, info_name="supportd")
    unknown = []
    for words in re.findall(r"`(?:sudo )?(?:\S*/)?supportd ([a-z][a-z -]*)", page.read_text()):
        first, *rest = words.split()
        command = app.get_command(context, first)
        if command is None or (isinstance(command, click.Group) and rest and rest[0] not in command.commands):
            unknown.append(words)

    assert unknown == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_that_is_linked_exists(page: Path) -> None:
    links = re.findall(r"\]\(((?!https?:)[^)#]+)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_warning_of_the_journal_is_explained() -> None:
    explained = set(re.findall(r"^\| `([a-z -]+)` \|", (DOCS / "operations.md").read_text(), re.MULTILINE))
    warnings = {
        event
        for file in SOURCE.rglob("*.py")
        for event in re.findall(r'_log\.(?:warning|error|exception)\(\s*"([^"]+)"', file.read_text())
    }

    assert explained == warnings


def test_every_part_that_health_tells_of_has_its_paragraph() -> None:
    text = (DOCS / "operations.md").read_text()

    for what in ("capture NAME", "send NAME", "outbox", "database", "threads"):
        assert f"### `{what}` does not work" in text


@pytest.mark.parametrize("name", HANDBOOK)
def test_a_sentence_has_a_line_of_its_own(name: str) -> None:
    text = re.sub(r"```.*?```", "", (DOCS / f"{name}.md").read_text(), flags=re.DOTALL)
    crowded = [
        line
        for line in text.splitlines()
        if not line.startswith(("|", "#")) and re.search(r"(?<!e\.g)[.] +[A-Z]", line.lstrip("0123456789. "))
    ]

    assert crowded == []
