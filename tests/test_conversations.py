"""Scripted conversations over a real Postfix and Dovecot: who sends what, and what each mailbox must then hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from conversations.stage import HERE, Stage
from servers import PASSWORD
from servers.dovecot import Dovecot
from servers.postfix import Postfix
from supportd.parsing import Reader

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
    scenario = YAML(typ="safe").load(file)
    stage = Stage(tmp_path, dovecot, postfix, reader, scenario.get("settings") or {})

    for number, step in enumerate(scenario["steps"], 1):
        try:
            stage.play(step)
        except AssertionError as error:
            raise AssertionError(f"{file.name}, step {number} ({next(iter(step))}): {error}") from None

    stage.check_secrets()


def test_there_are_at_least_forty_conversations() -> None:
    assert len(SCENARIOS) >= 40
