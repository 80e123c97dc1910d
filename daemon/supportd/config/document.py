"""A YAML 1.2 file -> a validated model; every problem at once, as ``file:line:column: key: what is wrong, the cure``.

Knows nothing of what the keys mean: the sections do.  Values never appear in a message, since a mistyped secret would.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarbool import ScalarBoolean

from supportd.errors import UserError


class Section(BaseModel):
    """A part of the configuration: frozen, unknown keys refused, and never repeating a wrong value in an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True)


class _Constructor(RoundTripConstructor):
    """Leaves dates as they are written: the sections read them, so that a wrong one has its place in an error."""


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", lambda _constructor, node: node.value)

M = TypeVar("M", bound=Section)
Location = tuple[int | str, ...]

# pydantic's words are for programmers; these are for the person who edits the file.
_PHRASES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda ctx: "is missing; add it",
    "int_parsing": lambda ctx: "is not a whole number",
    "int_type": lambda ctx: "is not a whole number",
    "int_from_float": lambda ctx: "is not a whole number",
    "bool_parsing": lambda ctx: "is neither true nor false; write `true` or `false`",
    "bool_type": lambda ctx: "is neither true nor false; write `true` or `false`",
    "string_type": lambda ctx: "is not a text; put it in quotes",
    "list_type": lambda ctx: "is not a list; write `[a, b]`, or lines that begin with `- `",
    "tuple_type": lambda ctx: "is not a list; write `[a, b]`, or lines that begin with `- `",
    "dict_type": lambda ctx: "is not a mapping; write `key: value` lines below it",
    "model_type": lambda ctx: "is not a mapping; write `key: value` lines below it",
    "date_from_datetime_parsing": lambda ctx: "is not a date; write it as YYYY-MM-DD, such as 2027-01-12",
    "date_parsing": lambda ctx: "is not a date; write it as YYYY-MM-DD, such as 2027-01-12",
    "date_type": lambda ctx: "is not a date; write it as YYYY-MM-DD, such as 2027-01-12",
    "greater_than_equal": lambda ctx: f"is too small; the least is {ctx.get('ge')}",
    "greater_than": lambda ctx: f"is too small; it must be more than {ctx.get('gt')}",
    "less_than_equal": lambda ctx: f"is too large; the most is {ctx.get('le')}",
    "less_than": lambda ctx: f"is too large; it must be less than {ctx.get('lt')}",
    "literal_error": lambda ctx: f"is none of the words allowed here; write {ctx.get('expected')}",
    "enum": lambda ctx: f"is none of the words allowed here; write {ctx.get('expected')}",
    "too_short": lambda ctx: f"has too few entries; at least {ctx.get('min_length')} must stand here",
    "string_too_short": lambda ctx: "is empty; write something, or take the key out",
}


def load(model: type[M], path: Path, *, context: Mapping[str, Any] | None = None) -> M:
    """Return *model* read from the file at *path*; relative paths inside it count from its folder.

    Raises:
        UserError: every problem found, each with file, line and column (from 1), the key, and what would be right.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give another file with -c") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    return parse(model, text, name=str(path), context={"folder": path.parent, **(context or {})})


def parse(model: type[M], text: str, *, name: str, context: Mapping[str, Any] | None = None) -> M:
    """Return *model* read from YAML *text*; *name* stands for the file in messages.

    Raises:
        UserError: as in :func:`load`.
    """
    yaml = YAML(typ="rt")
    yaml.Constructor = _Constructor
    try:
        tree = yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise UserError(f"{where}: {_syntax_cure(str(error.problem or error.context or 'is not YAML'))}") from error
    except YAMLError as error:
        raise UserError(f"{name}:1:1: is not YAML: {error}") from error
    if tree is None:
        tree = CommentedMap()
    if not isinstance(tree, CommentedMap):
        raise UserError(f"{name}:1:1: is not a configuration; it must consist of `key: value` lines")
    try:
        return model.model_validate(plain(tree), context=dict(context or {}))
    except ValidationError as error:
        problems = []
        for item in error.errors(include_input=False, include_url=False):
            location = tuple(part for part in item["loc"] if not str(part).startswith("function-"))
            line, column, shown = _position(tree, location)
            problems.append((line, column, f"{name}:{line}:{column}: {shown}: {_phrase(model, item, location)}"))
        raise UserError([text for _, _, text in sorted(set(problems))]) from error


def plain(node: Any) -> Any:
    """Return ruamel's round-trip *node* as plain dicts, lists and scalars."""
    if isinstance(node, Mapping):
        return {key: plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [plain(value) for value in node]
    if isinstance(node, ScalarBoolean):
        return bool(node)
    for kind in (int, float, str):
        if isinstance(node, kind) and type(node) not in (bool, kind):
            return kind(node)
    return node


def _phrase(model: type[Section], item: Mapping[str, Any], location: Location) -> str:
    kind = item["type"]
    if kind == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        close = difflib.get_close_matches(str(location[-1]), known, n=1)
        cure = f"did you mean `{close[0]}`?" if close else f"known here: {', '.join(sorted(known))}"
        return f"unknown key; {cure}"
    if kind in ("value_error", "assertion_error"):
        return str(item["ctx"]["error"]) if "ctx" in item else str(item["msg"])
    phrase = _PHRASES.get(kind)
    return phrase(item.get("ctx", {})) if phrase else str(item["msg"])


def _known_keys(model: Any, location: Location) -> list[str]:
    """Return the keys that the section at *location* knows, following the models' own annotations."""
    for part in location:
        if isinstance(part, int):
            continue
        fields = getattr(model, "model_fields", {})
        match = next((f for key, f in fields.items() if part in (key, f.alias)), None)
        if match is None:
            continue
        model = next(iter(_sections(match.annotation)), None)
        if model is None:
            return []
    return [f.alias or key for key, f in getattr(model, "model_fields", {}).items()]


def _sections(annotation: Any) -> Iterable[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _sections(inner)


def _position(tree: Any, location: Location) -> tuple[int, int, str]:
    """Return line and column (from 1) of the deepest node of *location* in the file, and the key as people write it."""
    line, column = 0, 0
    shown: list[str] = []
    node: Any = tree
    for part in location:
        if part == "[key]":
            continue  # the key itself is wrong, and its own position is known already
        if isinstance(node, CommentedMap) and part in node:
            line, column = node.lc.key(part)
            shown.append(str(part))
            node = node[part]
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line, column = node.lc.item(part)
            shown.append(f"[{part + 1}]")
            node = node[part]
        elif shown and not isinstance(node, CommentedMap | CommentedSeq):
            continue  # a union's tag, not a key of the file
        else:
            shown.append(str(part))
    return line + 1, column + 1, ".".join(shown).replace(".[", "[") or "file"


def _syntax_cure(problem: str) -> str:
    if "duplicate key" in problem:
        return problem.split("with value")[0].strip() + " stands twice; keep one of them"
    if "cannot start any token" in problem:
        return f"{problem}; put the value in quotes"
    if "mapping values are not allowed here" in problem:
        return (
            "a second `: ` in one line, a wrong indentation, or a quote that is not closed above; "
            "put the value in quotes, or indent by two spaces"
        )
    return f"not YAML here: {problem}; check indentation, quotes and brackets"
