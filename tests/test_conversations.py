"""Scripted conversations over a real Postfix and Dovecot: who sends what, and what each mailbox must then hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from conversations.stage import HERE, Stage, read
from servers import PASSWORD
from servers.dovecot import Dovecot
from servers.house import SUPPORT
from servers.postfix import Postfix
from supportd.parsing import Reader

OTHER_SUPPORT = "support@beacon.example"
SCENARIOS = sorted(path for path in HERE.glob("*.yaml") if path.name != "people.yaml")


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Reader() as reader:
        yield reader


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_a_conversation_goes_as_it_is_written(
    file: Path,
    tmp_path: Path,
    dovecot: Dovecot,
    postfix: Postfix,
    reader: Reader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SUPPORTD_TEST_PASSWORD", PASSWORD)

    play(file, lambda settings: Stage(tmp_path, dovecot, postfix, reader, settings))


@pytest.mark.release
@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_a_conversation_goes_the_same_way_on_postgresql(
    file: Path,
    tmp_path: Path,
    dovecot: Dovecot,
    postfix: Postfix,
    reader: Reader,
    postgresql_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SUPPORTD_TEST_PASSWORD", PASSWORD)
    database = {"database": {"url": postgresql_url}}

    play(file, lambda settings: Stage(tmp_path, dovecot, postfix, reader, {**settings, **database}))


def play(file: Path, staged: Callable[[dict[str, Any]], Stage]) -> None:
    """Play the scenario of *file* on the stage that *staged* sets up, and see that it kept its secrets."""
    scenario = YAML(typ="safe").load(file)
    stage = staged(scenario.get("settings") or {})
    for number, step in enumerate(scenario["steps"], 1):
        try:
            stage.play(step)
        except AssertionError as error:
            raise AssertionError(f"{file.name}, step {number} ({next(iter(step))}): {error}") from None
    stage.check_secrets()


MARKERS = ("Auto-Submitted", "X-Auto-Response-Suppress", "Precedence", "X-Loop", "Message-ID")


@pytest.mark.parametrize("are_stripped", [False, True], ids=["with markers", "markers stripped on the way"])
def test_two_supportds_that_mail_each_other_end_by_themselves(
    tmp_path: Path,
    dovecot: Dovecot,
    postfix: Postfix,
    reader: Reader,
    monkeypatch: pytest.MonkeyPatch,
    are_stripped: bool,
) -> None:
    monkeypatch.setenv("SUPPORTD_TEST_PASSWORD", PASSWORD)
    stages = []
    for number, address in enumerate((SUPPORT, OTHER_SUPPORT)):
        (tmp_path / address).mkdir()
        settings = {
            "staff_domains": ["allsaints.example", "beacon.example"],
            "it_inbox": f"it{number}@allsaints.example",
            "mailbox": {"address": address, "imap": {"user": address}, "smtp": {"user": address}},
        }
        stages.append(Stage(tmp_path / address, dovecot, postfix, reader, settings))
    here, there = stages
    here.play({"write": {"from": OTHER_SUPPORT, "subject": "Our line", "text": "Does your line work?"}})

    fetched = []
    for _ in range(6):
        here.play("pass")
        if are_stripped:
            strip(dovecot, OTHER_SUPPORT)
        there.play("pass")
        if are_stripped:
            strip(dovecot, SUPPORT)
        fetched.append((here.summary.fetched, there.summary.fetched))

    assert fetched[0] == (1, 1)
    assert fetched[-1] == (0, 0)
    for address in (SUPPORT, OTHER_SUPPORT):
        folders = ("INBOX", "Processed", "Screened")
        got = [raw for folder in folders for raw in dovecot.messages(address, folder)]
        # One mail began it; beside it each got at most one automatic mail of the other.
        assert len(got) <= (2 if address == SUPPORT else 1)


def strip(dovecot: Dovecot, address: str) -> None:
    """Take from the mail in *address*'s INBOX what says that a machine wrote it, as a bad gateway does."""
    with dovecot.imap(address) as client:
        client.select_folder("INBOX")
        for uid, found in client.fetch(client.search(), ["BODY.PEEK[]"]).items():
            message = read(found[b"BODY[]"])
            for name in MARKERS:
                del message[name]
            client.delete_messages([uid])
            client.append("INBOX", message.as_bytes())
        client.expunge()


def test_there_are_at_least_forty_conversations() -> None:
    assert len(SCENARIOS) >= 40
