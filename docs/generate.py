"""Writes what is generated in this folder: configuration.md from the models, supportd.1 from the command line.

Run it after a change to either: .venv/bin/python docs/generate.py; tests/test_docs.py holds both files to it.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import click
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from supportd import __version__
from supportd.cli.app import app
from supportd.config import Config
from supportd.config.document import Section
from supportd.config.secrets import Secret

DOCS = Path(__file__).parent
EXAMPLE = DOCS.parent / "config.example.yaml"
# Texts with a shape of their own, by the names of their types in the configuration.
_SHAPES = {
    "bool": "true or false",
    "int": "a whole number",
    "str": "a text",
    "Path": "a path",
    "date": "a date, YYYY-MM-DD",
}


def configuration() -> str:
    """Return configuration.md: every section with its keys, defaults and meanings."""
    comments = dict(_comments(EXAMPLE.read_text(encoding="utf-8")))
    parts = [
        "# Configuration",
        "",
        "Generated from the models by `docs/generate.py`; `config.example.yaml` is a whole file that works.",
        "Unknown keys are errors, and every problem is told at once as `file:line:column: key: what is wrong`.",
        "A relative path counts from the folder of the file.",
        "`systemctl reload supportd` takes the whole of a good file, or nothing of a bad one.",
    ]
    for path, model in (*_sections(Config, ""), ("A secret", Secret)):
        parts += ["", f"## {path or 'The top of the file'}", "", _unwrapped(model.__doc__ or ""), ""]
        parts += ["| key | what stands there | default | meaning |", "|---|---|---|---|"]
        for name, field in model.model_fields.items():
            key = field.alias or name
            meaning = comments.get(f"{path}.{key}".strip("."), "")
            parts.append(f"| `{key}` | {_kind(field.annotation)} | {_default(field)} | {meaning} |")
    return "\n".join(parts) + "\n"


def _sections(model: type[Section], path: str, seen: tuple[type, ...] = ()) -> Iterator[tuple[str, type[Section]]]:
    """Yield the section at *path* and those below it, each kind once."""
    yield path, model
    for name, field in model.model_fields.items():
        for inner in _inner(field.annotation):
            if inner not in (*seen, model, Secret) and (path == "" or inner not in _top()):
                seen = (*seen, inner)
                yield from _sections(inner, f"{path}.{field.alias or name}".strip("."), seen)


def _top() -> set[type]:
    """Return the kinds of sections that stand at the top of the file; a mailbox may carry some of them too."""
    return {inner for field in Config.model_fields.values() for inner in _inner(field.annotation)}


def _inner(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _inner(argument)


def _kind(annotation: Any) -> str:
    """Return in words what may stand behind a key."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_kind(one) for one in arguments if one is not type(None)))
    if origin in (tuple, list, frozenset):
        return f"a list: {_kind(arguments[0])}"
    if origin in (dict, Mapping):
        return "a mapping"
    if origin is typing.Annotated:
        return _kind(arguments[0])
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return "a secret" if annotation is Secret else "a section of its own"
    return _SHAPES.get(getattr(annotation, "__name__", ""), "see the example")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is PydanticUndefined or isinstance(value, Section):
        return "its own defaults"
    if value is None:
        return "`null`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return "`[]`" if not value else "see the example"
    return f"`{value}`" if isinstance(value, int | str) else "see the example"


def _comments(text: str) -> Iterator[tuple[str, str]]:
    """Yield the path of each key of the example, and the comment beside it, else the lines right above it."""
    stack: list[tuple[int, str]] = []
    above: list[str] = []
    for line in text.splitlines():
        match = re.match(r"( *)((?:# |- )*)([a-z_0-9-]+):(?: |$)", line)
        if match is None:
            comment = re.match(r" *# (?!  )(.*)", line)
            above = [*above, comment[1]] if comment else []
            continue
        depth = len(match[1]) + len(match[2])
        while stack and stack[-1][0] >= depth:
            stack.pop()
        stack.append((depth, match[3]))
        found = line.partition(" # ")[2].replace("(*)", "").strip() or " ".join(above)
        above = []
        if found:
            yield ".".join(key for _, key in stack), found.replace("|", "\\|")


def _unwrapped(text: str) -> str:
    """Return a docstring as Markdown: one sentence a line."""
    flat = " ".join(text.replace("``", "`").split())
    return re.sub(r"(?<=[.;])  ?(?=[A-Z*`])", "\n", flat)


def man_page() -> str:
    """Return supportd.1, as man(7) reads it."""
    context = click.Context(app, info_name="supportd")
    lines = [
        f'.TH SUPPORTD 1 "" "supportd {__version__}" "User Commands"',
        ".SH NAME",
        r"supportd \- the help desk behind a school's support mailbox",
        ".SH SYNOPSIS",
        r".B supportd",
        r"[\fB\-c\fR \fIFILE\fR] [\fB\-v\fR] \fICOMMAND\fR ...",
        ".SH DESCRIPTION",
        _roff("Fetches the mail of a support mailbox by IMAP, opens tickets with severity and deadlines that count "
              "service hours alone, and answers by SMTP.  Technicians answer by mail."),
        ".SH OPTIONS",
        *_options(app, context),
        ".SH COMMANDS",
    ]  # fmt: skip
    for name in app.list_commands(context):
        command = app.get_command(context, name)
        assert command is not None
        lines += list(_command(f"supportd {name}", command, context))
    lines += [
        ".SH EXIT STATUS",
        r"0 fine, 1 a problem that the user can mend, 2 wrong usage, 3 a check found something.",
        ".SH FILES",
        r"\fI./config.yaml\fR, \fI/etc/supportd/config.yaml\fR: the configuration, where \fB\-c\fR names no other.",
        ".SH ENVIRONMENT",
        r"\fBSUPPORTD_CONFIG\fR names the configuration; \fBCREDENTIALS_DIRECTORY\fR holds the secrets that it "
        r"names by {credential: NAME}.",
        ".SH SIGNALS",
        "SIGTERM ends the daemon within ten seconds; SIGHUP takes over a changed configuration, all or nothing.",
        ".SH SEE ALSO",
        "systemd.service(5), journalctl(1)",
    ]
    return "\n".join(lines) + "\n"


def _command(path: str, command: click.Command, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _command(f"{path} {name}", inner, context)
        return
    pieces = " ".join(command.collect_usage_pieces(context))
    yield ".SS"
    yield _roff(f"{path} {pieces}")
    yield _roff(" ".join((command.help or "").split("\f")[0].split()))
    yield from _options(command, context)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and "--help" not in record[0]:
            yield ".TP"
            yield r"\fB" + _roff(record[0]) + r"\fR"
            yield _roff(record[1] or "")


def _roff(text: str) -> str:
    """Return *text* so that man(7) shows it as it is."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-")
    return r"\&" + escaped if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    (DOCS / "configuration.md").write_text(configuration(), encoding="utf-8")
    (DOCS / "supportd.1").write_text(man_page(), encoding="utf-8")
