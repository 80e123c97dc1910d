"""The command line keeps its own word: each example in a help text is one that can be typed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
import pytest

from supportd.cli.app import app
from supportd.core.model import Status

BEGINNING = "For example:  supportd "
LISTINGS = (
    "check", "once", "ticket list", "ticket show", "status", "outbox list", "quarantine list", "audit", "why",
    "retention", "calendar show", "sla report",
)  # fmt: skip


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command that does something, with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = {" ".join(path): command for path, command in leaves(app)}
EXAMPLES = {name: command.epilog for name, command in COMMANDS.items() if command.epilog}


def parsed(name: str, words: list[str]) -> click.Context:
    """Return the context that *words* make for the command *name*; nothing is run."""
    return COMMANDS[name].make_context(name, words)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_in_the_help_can_be_typed(name: str) -> None:
    example = EXAMPLES[name] or ""
    assert example.startswith(BEGINNING)
    words = shlex.split(example.removeprefix(BEGINNING).partition(" < ")[0].partition(" > ")[0].partition(" | ")[0])
    if words[0] == "-c":
        words = words[2:]
    assert words[: len(name.split())] == name.split()
    if any("--yes" in one.opts for one in COMMANDS[name].params):
        words.append("--yes")

    # The files of an example need not be there.
    for one in COMMANDS[name].params:
        if isinstance(one.type, click.Path):
            one.type.exists = False

    assert parsed(name, words[len(name.split()) :]).params is not None


@pytest.mark.parametrize("status", Status)
def test_tickets_are_listed_by_every_status(status: Status) -> None:
    context = parsed("ticket list", ["--status", status.value])

    assert context.params["status"] == status.value


@pytest.mark.parametrize("name", LISTINGS)
def test_every_listing_takes_json(name: str) -> None:
    assert "--json" in {option for one in COMMANDS[name].params for option in one.opts}
