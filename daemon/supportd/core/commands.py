"""What a technician asks for in the first lines of a reply: ``#`` commands, forgiving in form, strict in meaning.

The lines that begin with ``#`` before the first other line are commands, blank lines aside.  Case, spacing, full-width
signs and dashes, a full stop at the end and a colon after the name are forgiven; a word that is no command, a missing
or superfluous argument and two commands that contradict each other are not.  One mistake, and nothing is done at all.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from supportd.core import addresses
from supportd.core.model import Address

# A reply starts with a few commands; a list of hundreds is not one a person wrote.
_MOST_COMMANDS = 10
_LONGEST_LINE = 2000
# Mail programs wrap at 72 to 78; a shorter line ended where its writer ended it, and what follows is for other eyes.
_SHORTEST_WRAPPED_LINE = 60
_SEED_LEVEL_NAMES = MappingProxyType({"outage": 1, "urgent": 2, "high": 3, "medium": 4, "low": 5, "informational": 6})


class Verb(StrEnum):
    """The commands, in the order in which help lists them."""

    ACK = "ack"
    ASSIGN = "assign"
    SEVERITY = "severity"
    WAIT = "wait"
    NOTE = "note"
    RESOLVE = "resolve"
    CLOSE = "close"
    REOPEN = "reopen"
    MERGE = "merge"
    SPAM = "spam"
    FOR = "for"
    STATUS = "status"
    HELP = "help"


class Argument(StrEnum):
    """What stands behind a command."""

    NOTHING = ""
    NAME = "NAME"
    LEVEL = "LEVEL"
    TICKET = "TICKET"
    ADDRESS = "ADDRESS"
    TEXT = "TEXT"
    MAYBE_TEXT = "[TEXT]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Help:
    """One line of the help letter: what stands behind the command, what it does, an example that works."""

    argument: Argument
    meaning: str
    example: str


HELP: Mapping[Verb, Help] = MappingProxyType(
    {
        Verb.ACK: Help(argument=Argument.NOTHING, meaning="I have taken it; stops the response clock", example="#ack"),
        Verb.ASSIGN: Help(argument=Argument.NAME, meaning="hands it to a technician, or to me", example="#assign me"),
        Verb.SEVERITY: Help(
            argument=Argument.LEVEL,
            meaning="changes the severity; the deadlines are counted anew",
            example="#severity 2",
        ),
        Verb.WAIT: Help(
            argument=Argument.NOTHING,
            meaning="waits on the requester; the resolution clock stands still",
            example="#wait",
        ),
        Verb.NOTE: Help(
            argument=Argument.MAYBE_TEXT,
            meaning="keeps the rest of this mail internal; the requester does not get it",
            example="#note Rang her, she is in class until 3",
        ),
        Verb.RESOLVE: Help(
            argument=Argument.NOTHING,
            meaning="it is solved; the rest of this mail tells the requester how",
            example="#resolve",
        ),
        Verb.CLOSE: Help(argument=Argument.NOTHING, meaning="closes it now", example="#close"),
        Verb.REOPEN: Help(argument=Argument.NOTHING, meaning="opens it again", example="#reopen"),
        Verb.MERGE: Help(argument=Argument.TICKET, meaning="joins this ticket to another", example="#merge AS-123"),
        Verb.SPAM: Help(argument=Argument.NOTHING, meaning="no ticket at all; out of the report", example="#spam"),
        Verb.FOR: Help(
            argument=Argument.ADDRESS, meaning="the ticket is this person's", example="#for jane.smith@school.example"
        ),
        Verb.STATUS: Help(
            argument=Argument.TEXT,
            meaning="public news of the incident, for all who reported it",
            example="#status The internet is down, next news at 10:30",
        ),
        Verb.HELP: Help(argument=Argument.NOTHING, meaning="sends this list", example="#help"),
    }
)

_VERBS = {verb.value: verb for verb in Verb}
_YES = frozenset({"yes", "yep", "ok", "okay", "correct", "confirmed"})
# Each of these says what becomes of the ticket: only one of them can be meant.
_OUTCOMES = frozenset({Verb.WAIT, Verb.RESOLVE, Verb.CLOSE, Verb.REOPEN, Verb.MERGE, Verb.SPAM})


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The names that arguments may use: *levels* by name, the *technicians*, the *writer*'s address, the *prefix*."""

    levels: Mapping[str, int] = field(default_factory=lambda: _SEED_LEVEL_NAMES)
    technicians: tuple[Address, ...] = ()
    writer: str = ""
    prefix: str = "AS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command and its argument, made plain.

    *value* is an address for assign and for, a level as a digit, a reference ("AS-123") for merge, text for note and
    status, and empty for the others.
    """

    verb: Verb
    value: str = ""

    def __str__(self) -> str:
        return f"#{self.verb} {self.value}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """The *commands* in their order and the *text* below them; with a note among them *text* is internal."""

    commands: tuple[Command, ...] = ()
    text: str = ""

    @property
    def is_internal(self) -> bool:
        """Return whether the text is a note that the requester does not get."""
        return any(command.verb is Verb.NOTE for command in self.commands)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """Commands that cannot be obeyed: what was *understood*, the *problems*, and an *example* that works."""

    understood: tuple[str, ...]
    problems: tuple[str, ...]
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    text: str
    example: str


def read(new_text: str, vocabulary: Vocabulary | None = None) -> Read | Mistake:
    """Return the commands at the top of *new_text* and the text below them, or what is wrong with them."""
    words = vocabulary or Vocabulary()
    lines, text = _command_lines(new_text)
    outcomes = [_command(line, words) for line in lines[:_MOST_COMMANDS]]
    commands = tuple(dict.fromkeys(found for found in outcomes if isinstance(found, Command)))
    problems = [found for found in outcomes if isinstance(found, _Problem)]
    if len(lines) > _MOST_COMMANDS:
        problems.append(_Problem(text=f"{len(lines)} commands are too many", example=HELP[Verb.HELP].example))
    if not problems:
        problems = _contradictions(commands)
    if problems:
        return Mistake(
            understood=tuple(str(command) for command in commands),
            problems=tuple(problem.text for problem in problems),
            example=problems[0].example,
        )
    return Read(commands=commands, text=text)


def says_yes(new_text: str) -> bool:
    """Return whether *new_text* begins with a yes: the answer to "Did you write this?" that makes it count."""
    line = next((line for line in new_text.split("\n")[:_MOST_COMMANDS] if line.strip()), "")
    return _split(_plain(line))[0] in _YES


def _command_lines(new_text: str) -> tuple[list[str], str]:
    """Return the command lines at the top, without their sign, and the text below.

    The text of a note or a status goes on in the next line where a mail program has wrapped it.
    """
    found: list[str] = []
    is_wrapped = False
    lines = new_text.split("\n")
    below = len(lines)
    for at, line in enumerate(lines):
        command = _after_sign(line)
        if command is not None:
            found.extend(_several(command))
            is_wrapped = _verb(found[-1]) in (Verb.NOTE, Verb.STATUS) and len(line) >= _SHORTEST_WRAPPED_LINE
        elif is_wrapped and line.strip():
            found[-1] = f"{found[-1]} {line.strip()}"
            is_wrapped = len(line) >= _SHORTEST_WRAPPED_LINE
        elif line.strip():
            below = at
            break
        else:
            is_wrapped = False
    return found, "\n".join(lines[below:]).strip("\n")


# A phone writes a keycap or a musical sharp, a Markdown mail program a backslash.
_SIGNS = str.maketrans({"＃": "#", "﹟": "#", "♯": "#", "⌗": "#"})
_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d", "-"))


def _plain(line: str) -> str:
    """Return *line* in compatibility form (NFKC), invisible and combining marks dropped, dashes as ``-``."""
    folded = unicodedata.normalize("NFKC", line[:_LONGEST_LINE].translate(_SIGNS))
    kept = "".join(char for char in folded if unicodedata.category(char) not in ("Cf", "Mn", "Me"))
    return kept.translate(_DASHES).strip()


def _after_sign(line: str) -> str | None:
    """Return what follows the ``#`` that *line* begins with, or None when it begins with something else."""
    plain = _plain(line).removeprefix("\\")
    return plain.lstrip("#").strip() if plain.startswith("#") else None


def _several(line: str) -> list[str]:
    """Return the commands of one line: ``#ack #severity 2`` are two, but text after ``#note`` is text."""
    found: list[str] = []
    for piece in line.split(" #"):
        previous = _verb(found[-1]) if found else None
        takes_text = previous in (Verb.NOTE, Verb.STATUS)
        names_ticket = previous is Verb.MERGE and piece.strip(" .").isdigit()
        if takes_text or names_ticket:
            found[-1] = f"{found[-1]} #{piece}"
        else:
            found.append(piece.strip())
    return found


def _split(line: str) -> tuple[str, str]:
    """Return the word that *line* begins with, lower case and without hyphens, and what stands behind it."""
    end = next((at for at, char in enumerate(line) if not (char.isalpha() or char == "-")), len(line))
    return line[:end].replace("-", "").casefold(), line[end:].lstrip(" \t:=,.;!-").rstrip()


def _verb(line: str) -> Verb | None:
    return _VERBS.get(_split(line)[0])


def _command(line: str, words: Vocabulary) -> Command | _Problem:
    """Return the command that *line* (without its ``#``) gives, or what is wrong with it."""
    verb = _verb(line)
    rest = _split(line)[1]
    if verb is None:
        return _unknown(line)
    example = HELP[verb].example
    argument = HELP[verb].argument
    if argument in (Argument.TEXT, Argument.MAYBE_TEXT):
        if argument is Argument.TEXT and not rest:
            return _Problem(text=f"#{verb} needs its text on the same line", example=example)
        return Command(verb=verb, value=rest)
    value = rest.rstrip(" .,;:!")
    if argument is Argument.NOTHING:
        if value:
            return _Problem(
                text=f'#{verb} takes nothing behind it, but "{_short(value)}" stands there; write it on the next line',
                example=example,
            )
        return Command(verb=verb)
    if not value:
        return _Problem(text=f"#{verb} needs {argument} behind it", example=example)
    match argument:
        case Argument.LEVEL:
            found: str | _Problem = _level(value, words)
        case Argument.TICKET:
            found = _ticket(value, words)
        case Argument.ADDRESS:
            found = _address(value)
        case _:
            found = _technician(value, words)
    return found if isinstance(found, _Problem) else Command(verb=verb, value=found)


def _unknown(line: str) -> _Problem:
    word = _split(line)[0] or line
    near = difflib.get_close_matches(word[:40], list(Verb), n=1, cutoff=0.7)
    meant = HELP[Verb(near[0])].example if near else HELP[Verb.HELP].example
    return _Problem(text=f'"#{_short(word)}" is no command', example=meant)


def _level(value: str, words: Vocabulary) -> str | _Problem:
    """Return the level that *value* names as a digit: ``2``, ``level 2``, ``urgent``, ``2 urgent``."""
    named = {name.casefold(): level for name, level in words.levels.items()}
    if value.casefold() in named:
        return str(named[value.casefold()])
    parts = [part.strip("()").casefold() for part in value.split()]
    parts = parts[1:] if parts[0] == "level" and len(parts) > 1 else parts
    numbered = {str(level): level for level in named.values()}
    levels = {named.get(part, numbered.get(part, 0)) for part in parts}
    if len(levels) == 1 and 0 not in levels:
        return str(levels.pop())
    known = ", ".join(f"{level} {name}" for name, level in words.levels.items())
    return _Problem(text=f'"{_short(value)}" is no severity; there are {known}', example=HELP[Verb.SEVERITY].example)


def _ticket(value: str, words: Vocabulary) -> str | _Problem:
    """Return the reference that *value* names: ``AS-123``, ``as 123``, ``[AS-123]``, ``#123``, ``123``."""
    plain = "".join(char for char in value.casefold() if char not in " -#[]")
    digits = plain.removeprefix(words.prefix.casefold())
    if digits.isascii() and digits.isdigit() and len(digits) <= 12:
        return f"{words.prefix}-{int(digits)}"
    return _Problem(text=f'"{_short(value)}" is no ticket', example=f"#merge {words.prefix}-123")


def _address(value: str) -> str | _Problem:
    """Return the address in *value*: bare, in angle brackets, or as a mail program's link, each time the same one."""
    for sign in "<>[]()\"'":
        value = value.replace(sign, " ")
    found = {part.removeprefix("mailto:").casefold() for part in value.split() if "@" in part}
    if len(found) == 1 and addresses.is_plain(candidate := found.pop()):
        return candidate
    return _Problem(text=f'"{_short(value)}" is not one address', example=HELP[Verb.FOR].example)


def _technician(value: str, words: Vocabulary) -> str | _Problem:
    """Return the address of the technician that *value* names: an address, a name, a first name, or ``me``."""
    wanted = value.strip("@<>\"'").casefold()
    if wanted == "me" and words.writer:
        return words.writer
    exact = [person for person in words.technicians if wanted in (person.address, person.name.casefold())]
    near = [
        person
        for person in words.technicians
        if wanted in (person.name.casefold().split(" ")[0], person.address.partition("@")[0])
    ]
    found = exact or near
    if len(found) == 1:
        return found[0].address
    known = ", ".join(person.name or person.address for person in found or words.technicians)
    problem = f'"{_short(value)}" is more than one of {known}' if found else f'"{_short(value)}" is none of {known}'
    return _Problem(text=problem, example=HELP[Verb.ASSIGN].example)


def _contradictions(commands: tuple[Command, ...]) -> list[_Problem]:
    """Return what cannot be meant together: two outcomes, or one command with two arguments."""
    outcomes = [command for command in commands if command.verb in _OUTCOMES]
    verbs = [command.verb for command in commands]
    twice = [verb for verb in dict.fromkeys(verbs) if verbs.count(verb) > 1]
    problems = [
        _Problem(text=f"#{verb} stands there twice and says two things", example=HELP[verb].example) for verb in twice
    ]
    if len({command.verb for command in outcomes}) > 1:
        names = " and ".join(f"#{command.verb}" for command in outcomes)
        problems.append(_Problem(text=f"{names} cannot both be meant", example=HELP[outcomes[0].verb].example))
    return problems


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"
