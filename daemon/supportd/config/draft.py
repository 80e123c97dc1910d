"""The documented example and a school's answers -> the text of its first configuration file, comments kept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib import resources

# Texts that YAML reads as they stand; anything else is put in quotes, which JSON and YAML 1.2 share.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 '&().@_/+-]{0,200}")
_WORDS = {"yes", "no", "on", "off", "true", "false", "null"}
_KEY = re.compile(r"( *)((?:- )?)([a-z_0-9-]+):( |$)")
_MARK = "(*)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server: *tls* is implicit, starttls or none; no *port* is the usual one."""

    host: str
    tls: str
    port: int | None = None
    user: str | None = None
    password: Mapping[str, str] = field(default_factory=dict)
    ca_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A term, and its half term where it has one; both dates belong to it."""

    name: str
    first: date
    last: date
    half_term: tuple[date, date] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What only the school can know.  *terms* is the name of a calendar file, or the terms themselves."""

    school: str
    address: str
    staff_domains: Sequence[str]
    technicians: Sequence[tuple[str, str]]
    it_inbox: str
    it_lead: str | None
    hours: str
    terms: str | Sequence[Term]
    imap: Server
    smtp: Server
    oauth: Mapping[str, str | Mapping[str, str]]
    trust: str = "none"
    sent_folder: str = "Sent"
    templates: str = "templates"


def write(answers: Answers) -> str:
    """Return the example with *answers* in it; keys that nobody asked about stay as they are, with their comments.

    Raises:
        ValueError: the example has lost a key that an answer belongs to.
    """
    example = resources.files("supportd").joinpath("config.example.yaml").read_text(encoding="utf-8")
    filled = dict(_values(answers))
    lines: list[str] = [*_HEAD.splitlines(), ""]
    used = set()
    replacing: int | None = None
    for path, indent, line in _walk(example[example.index("school:") :].splitlines()):
        # What stands below an answered key goes with it.
        if replacing is not None and indent > replacing:
            continue
        replacing = None
        if path in filled:
            used.add(path)
            value = filled[path]
            if isinstance(value, str):
                lines.append(_replaced(line, value))
            else:
                lines += value
                replacing = indent
        else:
            lines.append(line)
    unknown = set(filled) - used
    if unknown:
        raise ValueError(f"the example has no place for {', '.join(sorted(unknown))}")
    text = "\n".join(lines).replace(f"# {_MARK} ", "# ").replace(f"# {_MARK}", "")
    return "\n".join(line.rstrip() for line in text.rstrip().splitlines()) + "\n"


_HEAD = """\
# supportd: the help desk behind this school's support mailbox; written by `supportd init`.
#
# Change what you like: unknown keys are errors, and `supportd check` names each problem with its line and its cure.
# Passwords never stand in this file.
"""


def _values(answers: Answers) -> Iterator[tuple[str, str | list[str]]]:
    """Yield each answered key by its path, with one value, or with the lines that take the place of all of it."""
    yield "school", _text(answers.school)
    yield "mailboxes.address", _text(answers.address)
    for name, server in (("imap", answers.imap), ("smtp", answers.smtp)):
        yield f"mailboxes.{name}", list(_server(name, server))
    if answers.oauth:
        yield (
            "mailboxes.#oauth",
            [
                "    oauth:                                           # access tokens; no user in imap and smtp then",
                *(f"      {key}: {_inline(value)}" for key, value in answers.oauth.items()),
            ],
        )
    yield "mailboxes.folders.sent", _text(answers.sent_folder)
    yield "staff_domains", f"[{', '.join(map(_text, answers.staff_domains))}]"
    yield "trust.profile", answers.trust
    people = [f"  - {{name: {_text(name)}, address: {_text(address)}}}" for name, address in answers.technicians]
    yield "technicians", ["technicians:", *people]
    yield "it_inbox", _text(answers.it_inbox)
    yield "it_lead", _text(answers.it_lead) if answers.it_lead else "null"
    yield "calendar.hours.mon-fri", f'["{answers.hours}"]'
    if isinstance(answers.terms, str):
        yield "calendar.terms", [f"  terms: {{ics: {_text(answers.terms)}}}"]
    else:
        yield "calendar.terms", ["  terms:", *map(_term, answers.terms)]
    yield "templates", _text(answers.templates)


def _server(name: str, server: Server) -> Iterator[str]:
    yield f"    {name}:"
    yield f"      host: {_text(server.host)}"
    if server.port is not None:
        yield f"      port: {server.port}"
    yield f"      tls: {server.tls}"
    if server.ca_file is not None:
        yield f"      ca_file: {_text(server.ca_file)}"
    if server.user is not None:
        yield f"      user: {_text(server.user)}"
        yield f"      password: {_inline(server.password)}"
    if name == "smtp":
        yield "      per_minute: 30                                   # letters a minute; Microsoft 365 takes 30"


def _term(term: Term) -> str:
    half = term.half_term
    tail = f", half_term: {{from: {half[0]}, to: {half[1]}}}" if half else ""
    return f"    - {{name: {_text(term.name)}, from: {term.first}, to: {term.last}{tail}}}"


def _walk(lines: Sequence[str]) -> Iterator[tuple[str, int, str]]:
    """Yield each line with the path of its key and its indentation; a commented ``oauth:`` counts as ``#oauth``."""
    stack: list[tuple[int, str]] = []
    commented = False
    for line in lines:
        commented = line.startswith("    # oauth:") or (commented and line.startswith("    #   "))
        if commented:
            is_first = line.startswith("    # oauth:")
            yield "mailboxes.#oauth" if is_first else "", 4 if is_first else 5, line
            continue
        match = _KEY.match(line)
        if match is not None:
            depth = len(match[1]) + len(match[2])
            while stack and stack[-1][0] >= depth:
                stack.pop()
            stack.append((depth, match[3]))
        path = ".".join(key for _, key in stack) if match else ""
        yield path, len(line) - len(line.lstrip(" ")), line


def _replaced(line: str, value: str) -> str:
    """Return *line* with *value* behind its key, and its comment, if it has one, where it stood."""
    key, _, rest = line.partition(":")
    mark = rest.find(" #")
    comment = rest[mark + 1 :] if mark >= 0 else ""
    front = f"{key}: {value}"
    return f"{front:<{len(line) - len(comment) - 1}} {comment}" if comment else front


def _inline(value: str | Mapping[str, str]) -> str:
    if isinstance(value, str):
        return _text(value)
    return "{" + ", ".join(f"{key}: {_text(one)}" for key, one in value.items()) + "}"


def _text(value: str) -> str:
    """Return *value* as YAML writes it inside a line or between braces."""
    plain = (
        _PLAIN.fullmatch(value) and value.lower() not in _WORDS and not value[0].isdigit() and value == value.strip()
    )
    return value if plain else json.dumps(value, ensure_ascii=False)
