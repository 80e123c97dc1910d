"""``supportd init``: from a few answers to a configuration that loads, by flags and by questions."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from supportd import config
from supportd.cli.app import app
from supportd.cli.init import PROVIDERS
from supportd.core.model import Address
from supportd.errors import UserError

COMMAND = [sys.executable, "-c", "from supportd.cli.app import main; main()", "init"]
ICS = Path(__file__).parent / "calendars"
WHO = [
    "--address", "support@oak.example", "--school", "Oak: a Primary School",
    "--technician", "Jo O'Neill=jo@oak.example", "--technician", "Sam Ng=sam@oak.example",
]  # fmt: skip
TERMS = [
    "--term", "Autumn 2026=2026-09-01..2026-12-18,2026-10-26..2026-10-30",
    "--term", "Spring 2027=2027-01-04..2027-03-25",
]  # fmt: skip
SIGN_IN = {
    "microsoft": ["--tenant", "oak.onmicrosoft.com", "--client-id", "0000-11", "--secret-expires", "2027-11-30"],
    "google": [],
    "imap": ["--imap-host", "imap.oak.example", "--smtp-host", "smtp.oak.example", "--smtp-tls", "starttls"],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command ended with."""

    returncode: int
    stdout: str
    stderr: str


def init(*arguments: str | Path) -> Answer:
    """Run ``supportd init`` where nobody can be asked, in this process."""
    result = CliRunner().invoke(app, ["init", *map(str, arguments)])
    if isinstance(result.exception, UserError):
        # What main() does with it.
        return Answer(returncode=1, stdout=result.stdout, stderr=str(result.exception))
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return Answer(returncode=result.exit_code, stdout=result.stdout, stderr=result.stderr)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_flags_alone_make_a_configuration_that_loads(provider: str, tmp_path: Path) -> None:
    folder = tmp_path / "support desk"

    result = init(folder, "--provider", provider, *WHO, *TERMS, *SIGN_IN[provider])

    assert result.returncode == 0, result.stderr
    [desk] = config.load(folder / "config.yaml").desks
    assert desk.mailbox.address == "support@oak.example"
    assert desk.school == "Oak: a Primary School"
    assert [(one.name, one.address) for one in desk.technicians] == [
        ("Jo O'Neill", "jo@oak.example"),
        ("Sam Ng", "sam@oak.example"),
    ]
    assert desk.it_inbox == "jo@oak.example"
    assert desk.staff_domains == {"oak.example"}
    assert str(desk.hours.known_until) == "2027-03-25"
    assert (desk.mailbox.oauth is not None) == (provider != "imap")
    assert desk.templates == folder / "templates"
    assert f"supportd -c {folder / 'config.yaml'} check" in result.stdout


def test_the_file_keeps_the_comments_of_the_example_and_no_mark_of_what_to_change(tmp_path: Path) -> None:
    init(tmp_path, "--provider", "microsoft", *WHO, *TERMS, *SIGN_IN["microsoft"])

    text = (tmp_path / "config.yaml").read_text()
    example = (Path(__file__).parents[1] / "config.example.yaml").read_text()

    kept = [line for line in example.splitlines() if "#" in line and "(*)" not in line and line in text.splitlines()]
    assert len(kept) >= 45
    assert "(*)" not in text
    assert "allsaints" not in text
    assert "127.0.0.1:9394" in text
    assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_a_calendar_file_is_taken_along(tmp_path: Path) -> None:
    calendar = ICS / "01-whole-terms.ics"

    result = init(tmp_path / "new", "--provider", "imap", *WHO, *SIGN_IN["imap"], "--terms", calendar)

    assert result.returncode == 0, result.stderr
    assert (tmp_path / "new" / "term-dates.ics").read_bytes() == calendar.read_bytes()
    known_until = config.load(tmp_path / "new" / "config.yaml").desks[0].hours.known_until
    assert known_until is not None
    assert known_until > date(2026, 1, 1)


def test_templates_of_ones_own_have_a_folder_in_which_nothing_is_broken(tmp_path: Path) -> None:
    from supportd.compose import Composer

    init(tmp_path, "--provider", "google", *WHO, *TERMS)

    [desk] = config.load(tmp_path / "config.yaml").desks
    support = Address(address="support@oak.example", name="IT")
    composer = Composer(hours=desk.hours, policy=desk.policy, support=support, school="Oak", templates=desk.templates)
    assert desk.templates is not None
    assert desk.templates.is_dir()
    assert composer.problems == ()


def test_a_configuration_that_is_there_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("school: mine\n")

    refused = init(tmp_path, "--provider", "google", *WHO, *TERMS)
    kept = (tmp_path / "config.yaml").read_text()
    forced = init(tmp_path, "--provider", "google", *WHO, *TERMS, "--force")

    assert (refused.returncode, kept) == (1, "school: mine\n")
    assert "--force" in refused.stderr
    assert forced.returncode == 0
    assert "Oak" in (tmp_path / "config.yaml").read_text()


def test_every_missing_flag_is_named_at_once(tmp_path: Path) -> None:
    result = init(tmp_path, "--provider", "microsoft")

    assert result.returncode == 2
    for flag in ("--address", "--school", "--technician", "--term", "--tenant", "--client-id"):
        assert flag in result.stderr
    assert not (tmp_path / "config.yaml").exists()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--address", "support at oak.example"], "is not an email address"),
        (["--hours", "8 to 4"], "mon-fri"),
        (["--term", "Autumn=2026-12-18..2026-09-01"], "term"),
        (["--term", "Autumn, from September"], "write NAME=YYYY-MM-DD..YYYY-MM-DD"),
        (["--terms", "nowhere.ics"], "cannot be read"),
    ],
)
def test_a_wrong_answer_is_named_and_nothing_is_written(wrong: list[str], words: str, tmp_path: Path) -> None:
    result = init(tmp_path, "--provider", "google", *WHO, *TERMS, *wrong)

    assert result.returncode == 1
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "config.yaml").exists()


def test_somebody_at_a_terminal_is_asked_for_everything(tmp_path: Path) -> None:
    answers = {
        "Who keeps the mailbox?": "microsoft",
        "Address of the support mailbox": "support@oak.example",
        "Name of the school": "Oak Primary",
        "Name of a technician": "Jo Lee",
        "Address that Jo Lee writes from": "jo@oak.example",
        "Who gets the digest": "",
        "Open Monday to Friday": "",
        "Term dates: a calendar file": "",
        "Name of the term": "Autumn 2026",
        "first day": "2026-09-01",
        "last day": "2026-12-18",
        "half term": "2026-10-26..2026-10-30",
        "Name of the term, such as": "",
        "Directory (tenant) ID": "oak.onmicrosoft.com",
        "Application (client) ID": "0000-1",
        "The secret expires on": "2027-11-30",
    }

    shown, status = typed([*COMMAND, str(tmp_path / "desk")], list(answers.items()))

    assert status == 0, shown
    [desk] = config.load(tmp_path / "desk" / "config.yaml").desks
    assert desk.mailbox.oauth is not None
    assert str(desk.mailbox.oauth.secret_expires) == "2027-11-30"
    assert "IMAP.AccessAsApp" in shown


def typed(command: list[str], conversation: list[tuple[str, str]]) -> tuple[str, int]:
    """Run *command* on a terminal, answer each question when it shows, and return what was shown and the status."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    shown, seen = "", 0
    waiting = list(conversation)
    give_up_at = time.monotonic() + 60
    while process.poll() is None or select.select([ours], [], [], 0)[0]:
        if time.monotonic() > give_up_at:
            process.kill()
            break
        if select.select([ours], [], [], 0.2)[0]:
            try:
                shown += os.read(ours, 4096).decode()
            except OSError:
                break
        found = shown.find(waiting[0][0], seen) if waiting else -1
        # The question ends with a colon: whatever stands before is the explanation.
        if found >= 0 and shown.rstrip(" ").endswith(":") and ": " in shown[found:]:
            seen = len(shown)
            os.write(ours, (waiting.pop(0)[1] + "\n").encode())
    os.close(ours)
    return shown, process.wait(timeout=10)
