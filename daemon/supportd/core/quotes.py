"""What the sender wrote this time, apart from what a mail program, a gateway or an earlier mail put around it.

The principle: *new* is what a person typed for this mail.  A greeting, a closing and a typed name ("Thanks, Jo") are
theirs and stay; a line of role or telephone number under the name stays too.  What a program adds goes: warnings of a
gateway above the text, quoted history, a signature after "-- ", a card of two or more lines (role, organisation,
number, address) with the sign-off that leads into it, the tag of a telephone, and a footer of the house.  In doubt text
stays: a line too many is read over, a line too few is a call for help that nobody saw.

The rules, in the order of the code:

1. Warnings above the text ("CAUTION: This email originated from outside") are dropped.
2. History begins at an *introduction*: a marker ("-----Original Message-----"), a block of header fields, or an
   attribution ("On ... wrote:").  Lines quoted with ">" may follow, and what stands between them is an answer.
   Without ">" all that follows is history.
3. Without any introduction, ">" is a quote in an answer, and where the text begins or ends with it; elsewhere, and
   under a colon, it is a typed arrow.
4. Each piece that is left loses mobile tags, footers, the signature and the card at its end (``trim``).
5. *new* is never empty when there is a text: it falls back to the message that was passed on, then to all of it.

Every rule looks at a bounded number of lines around one line and at a bounded part of a line, so the cost is linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from supportd.core import boilerplate, trim

# An attribution is wrapped over at most this many lines: Gmail wraps at 78, a long name and address fill three.
_ATTRIBUTION_LINES = 4
# "Am Dienstag, dem" may stand alone on the first line of a wrapped attribution.
_SHORT_OPENING = 16
# Outlook writes From, Sent, To, Cc, Importance, Subject; long recipient lists are wrapped in between.
_HEADER_BLOCK_LINES = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One body taken apart.  *new* is for showing and classifying; the other parts are kept for whoever unfolds them.

    *forwarded* is the message passed on, from its marker or header block on; *quoted* is earlier history; *signature*
    is all that rules 1 and 4 of the module took away.
    """

    new: str
    quoted: str = ""
    forwarded: str = ""
    signature: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Introduction:
    """The lines [start, end) that lead into history; *is_forward* when they pass a message on."""

    start: int
    end: int
    is_forward: bool = False


def split(text: str, own: str | None = None, subject: str = "") -> Split:
    """Return *text* taken apart into what was written this time and what was not.

    *own* is the same body with the quote containers of its HTML cut away, where there was HTML.  It knows better where
    history begins, but not what was answered inside a container, so answers found between ">" lines of *text* win.
    *subject* tells a forward of Outlook ("FW:") from a reply, whose bodies look the same.
    """
    whole = _scan(text, subject)
    if own is not None and own.strip() and not whole.is_interleaved:
        # Without its containers the subject says nothing about ">": it was typed.
        kept = _scan(own, "")
        # Where both say the same, the words stand as the sender's own program laid them out.
        if kept.new and _letters(kept.new) != _letters(whole.new):
            return Split(
                new=kept.new,
                quoted=whole.quoted or kept.quoted,
                forwarded=whole.forwarded or kept.forwarded,
                signature=kept.signature,
            )
    return Split(
        new=whole.new or whole.passed_on or text.strip(),
        quoted=whole.quoted,
        forwarded=whole.forwarded,
        signature=whole.signature,
    )


class _Owner(Enum):
    """Whose words a run of lines are."""

    NEW = "new"
    QUOTED = "quoted"
    FORWARDED = "forwarded"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scan:
    """What one pass found; *new* may be empty.

    *passed_on* is then the body of the first message below.  *is_interleaved*: something was written under a quote.
    """

    new: str
    quoted: str
    forwarded: str
    signature: str
    passed_on: str
    is_interleaved: bool


def _scan(text: str, subject: str) -> _Scan:
    """Return the parts of *text*."""
    lines = text.split("\n")
    begin, removed = trim.skip_warnings(lines)
    runs = _runs(lines, begin, subject)
    owned: dict[_Owner, list[str]] = {owner: [] for owner in _Owner}
    is_interleaved = False
    for owner, run in runs:
        if owner is not _Owner.NEW:
            owned[owner].extend(run)
            continue
        kept, taken = trim.cut_end(run, follows_history=bool(owned[_Owner.QUOTED] or owned[_Owner.FORWARDED]))
        removed.extend(taken)
        piece = trim.joined(kept)
        if piece:
            owned[owner].append(piece)
            is_interleaved = is_interleaved or bool(owned[_Owner.QUOTED])
    history = [line for owner, run in runs if owner is not _Owner.NEW for line in run]
    return _Scan(
        new="\n\n".join(owned[_Owner.NEW]),
        quoted=trim.joined(owned[_Owner.QUOTED]),
        forwarded=trim.joined(owned[_Owner.FORWARDED]),
        signature=trim.joined(removed),
        passed_on="" if owned[_Owner.NEW] else _first_message(history),
        is_interleaved=is_interleaved,
    )


def _runs(lines: Sequence[str], begin: int, subject: str) -> list[tuple[_Owner, list[str]]]:
    """Return the lines from *begin* in runs of one owner each, in their order."""
    runs: list[tuple[_Owner, list[str]]] = []

    def add(owner: _Owner, some: Sequence[str]) -> None:
        if not runs or runs[-1][0] is not owner:
            runs.append((owner, []))
        runs[-1][1].extend(some)

    is_forward = boilerplate.FORWARD_SUBJECT.match(subject) is not None
    introductions = _introductions(lines, begin)
    arrows_are_quotes = not introductions and _has_bare_quotes(lines, begin, subject)
    is_tabbed = False
    index = begin
    history = _Owner.QUOTED
    upcoming = iter([*introductions, _Introduction(start=len(lines), end=len(lines))])
    introduction = next(upcoming)
    while index < len(lines):
        if index == introduction.start:
            history = _Owner.FORWARDED if introduction.is_forward or is_forward else _Owner.QUOTED
            add(history, lines[index : introduction.end])
            index = introduction.end
            below = lines[follows] if (follows := _next_filled(lines, index)) < len(lines) else ""
            # A tab is how s-nail quotes unless it is told otherwise.
            is_tabbed = below.startswith("\t") and lines[index - 1].rstrip().endswith("wrote:")
            arrows_are_quotes = is_tabbed or _is_quote(below) or _is_quote(lines[introduction.start])
            if not arrows_are_quotes:
                end = _end_of_forward(lines, index) if introduction.is_forward else len(lines)
                add(history, lines[index:end])
                index = end
            while introduction.start < index:
                introduction = next(upcoming)
            continue
        line = lines[index]
        is_quoted = _is_quote(line) or (is_tabbed and line.startswith("\t")) or _is_torn_quote(lines, index)
        belongs_above = not line.strip() and runs and runs[-1][0] is not _Owner.NEW
        add(history if belongs_above or (arrows_are_quotes and is_quoted) else _Owner.NEW, (line,))
        index += 1
    return runs


def _first_message(lines: Sequence[str]) -> str:
    """Return the body of the first message in the history *lines*, without its header, history and signature."""
    bare = [_unquoted(line) for line in lines]
    begin = 0
    for introduction in [*_introductions(bare, 0), _Introduction(start=len(bare), end=len(bare))]:
        body = [line for line in bare[begin : introduction.start] if not _is_quote(line)]
        if message := trim.joined(trim.cut_end(body)[0]) or trim.joined(body):
            return message
        begin = introduction.end
    return trim.joined(bare)


def _letters(text: str) -> str:
    """Return what is left of *text* without links, marks and white space, to compare two renderings of one body."""
    return "".join(filter(str.isalnum, boilerplate.URL.sub("", text)))


def _next_filled(lines: Sequence[str], index: int) -> int:
    """Return the index of the first line from *index* that is not blank; looks at most eight lines ahead."""
    for ahead in range(index, min(index + 8, len(lines))):
        if lines[ahead].strip():
            return ahead
    return len(lines)


def _introductions(lines: Sequence[str], begin: int) -> list[_Introduction]:
    """Return the introductions in *lines* from *begin*, in their order and without overlap."""
    found: list[_Introduction] = []
    ends_in_colon = [_ends_in_colon(line) for line in lines]
    index = begin
    while index < len(lines):
        line = lines[index]
        introduction = None
        if _is_quote(line):
            # Mail on an iPhone quotes the attribution too.
            if index == begin or not _is_quote(lines[index - 1]):
                introduction = _quoted_introduction(lines, index)
        elif line.strip():
            introduction = _marked(lines, index) or _header_block(lines, index)
            # Most lines are nowhere near a colon at the end of a line, and need no closer look.
            if introduction is None and any(ends_in_colon[index : index + _ATTRIBUTION_LINES]):
                introduction = _attribution(lines, index)
        if introduction is None:
            index += 1
            continue
        found.append(introduction)
        index = introduction.end
    return found


def _quoted_introduction(lines: Sequence[str], index: int) -> _Introduction | None:
    """Return the introduction that the quoted lines from *index* begin with."""
    bare: list[str] = []
    for line in lines[index : index + _HEADER_BLOCK_LINES]:
        if not _is_quote(line):
            break
        bare.append(_unquoted(line))
    inner = _marked(bare, 0) or _header_block(bare, 0) or _attribution(bare, 0)
    return inner and _Introduction(start=index, end=index + inner.end, is_forward=inner.is_forward)


def _marker(line: str) -> str:
    """Return "original", "forward" or "end" for a marker line, else an empty text."""
    if len(line) > 200:
        return ""
    bare = line.strip(" \t-_=*—–:>\u00a0").casefold()
    dashed = line.strip(" *\t").startswith(("--", "__", "==", "—"))
    if not bare:
        return ""
    if bare in boilerplate.FORWARD_MARKERS and (dashed or line.rstrip(" *\t\u00a0").endswith(":")):
        return "forward"
    if not dashed:
        return ""
    if bare in boilerplate.ORIGINAL_MARKERS:
        return "original"
    if bare.startswith(boilerplate.FORWARD_MARKERS_WITH_SENDER):
        return "forward"
    if bare.startswith(boilerplate.END_MARKERS):
        return "end"
    return ""


def _marked(lines: Sequence[str], index: int) -> _Introduction | None:
    """Return the introduction that a marker at *index* begins, with the header block under it."""
    kind = _marker(lines[index])
    if kind not in ("original", "forward"):
        return None
    follows = _next_filled(lines, index + 1)
    block = _header_block(lines, follows, fields_needed=1) if follows < len(lines) else None
    return _Introduction(start=index, end=block.end if block else index + 1, is_forward=kind == "forward")


def _field(line: str) -> str:
    """Return the kind of header field that *line* is (a key of ``boilerplate.FIELDS``), or an empty text."""
    head, colon, _ = line[:60].lstrip(" *\t\u00a0").replace("：", ":").partition(":")
    if not colon:
        return ""
    return boilerplate.KIND_OF_FIELD.get(head.strip(" *\u00a0").casefold(), "")


def _header_block(lines: Sequence[str], index: int, fields_needed: int = 0) -> _Introduction | None:
    """Return the block of header fields at *index* ("From: ... Sent: ... To: ... Subject: ..."), bold or not.

    One line "From: the staff room" is no block: the sender, and the date or two more fields, must be there.
    """
    start = index
    if boilerplate.RULE.fullmatch(lines[index][:210]) and lines[index].strip():
        index = _next_filled(lines, index + 1)
        if index >= len(lines):
            return None
    if _field(lines[index]) not in ("from", "date", "to", "subject"):
        return None
    kinds: set[str] = set()
    end = index
    wrapped = 0
    for at in range(index, min(index + _HEADER_BLOCK_LINES, len(lines))):
        line = lines[at]
        kind = _field(line)
        if kind:
            if kind in kinds and kind != "other":
                break
            kinds.add(kind)
            end, wrapped = at + 1, 0
        elif not line.strip():
            following = _next_filled(lines, at)
            follows = _field(lines[following]) if following < len(lines) else ""
            # A field that somebody typed further up is not part of the block, which begins with From in Outlook.
            if not follows or follows == "from" or {"subject", "from"} <= kinds:
                break
        elif (
            wrapped < 4
            and "subject" not in kinds
            and (line[:1] in " \t" or ";" in line or "@" in line[: trim.LINE_LIMIT])
        ):
            wrapped += 1
        else:
            break
    if fields_needed:
        return _Introduction(start=start, end=end) if len(kinds) >= fields_needed else None
    if "from" not in kinds:
        return None
    if len(kinds - {"other"}) >= 3 or ("date" in kinds and any(c.isdigit() for c in "".join(lines[index:end])[:2000])):
        return _Introduction(start=start, end=end)
    return None


def _attribution(lines: Sequence[str], index: int) -> _Introduction | None:
    """Return the attribution ("On 3 Nov 2026 at 09:12, Jane <j@x> wrote:") that starts at *index*, however wrapped."""
    joined = ""
    for at in range(index, min(index + _ATTRIBUTION_LINES, len(lines))):
        line = lines[at].strip()
        if not line or len(line) > trim.LINE_LIMIT or _is_quote(line):
            return None
        joined = f"{joined} {line}" if joined else line
        if _ends_in_colon(line):
            found = _judged_attribution(lines, index, at, joined)
            # "On the third try it printed." above the attribution is a sentence of the sender's.
            is_wrapped = any(char.isdigit() for char in lines[index]) or len(lines[index].strip()) <= _SHORT_OPENING
            if found and at > index and (not is_wrapped or lines[index].rstrip().endswith((".", "!", "?"))):
                later = (
                    _judged_attribution(lines, start, at, _span(lines, start, at)) for start in range(index + 1, at + 1)
                )
                return None if any(later) else found
            return found
        # A sentence that ends here is not part of an attribution; a full stop may be an abbreviation ("nov.").
        if line.endswith(("!", "?")):
            return None
    return None


def _span(lines: Sequence[str], start: int, last: int) -> str:
    return " ".join(line.strip() for line in lines[start : last + 1])


def _ends_in_colon(line: str) -> bool:
    """Return whether *line* ends as an attribution does; Zoho dashes its own."""
    return line.rstrip(" \t*_\u00a0").endswith((":", "：", "wrote ----"))


def _judged_attribution(lines: Sequence[str], start: int, last: int, joined: str) -> _Introduction | None:
    """Return the attribution of the lines [start, last] that read *joined*, when verb, date or address say so."""
    bare = joined.rstrip(" *_-:：\u00a0").casefold()
    # Yahoo and Lithuanian programs put the date last: "Jane <j@x> escreveu (terça, 3/11/2026 à(s) 09:12):".
    if bare.endswith(")") and not bare.endswith(boilerplate.VERBS_AT_THE_END):
        bare = bare.partition(" (")[0]
    inside = any(verb in f" {bare}" for verb in boilerplate.VERBS_INSIDE)
    has_verb = inside or bare.endswith(boilerplate.VERBS_AT_THE_END)
    # Russian Gmail and Czech Apple Mail have no verb: "3. 11. 2026 v 9:12, Jan <j@x>:".
    if not has_verb and not bare.endswith(">"):
        return None
    introduction = _Introduction(start=start, end=last + 1)
    opens = _opens_attribution(lines[start])
    has_address = boilerplate.ADDRESS.search(joined) is not None
    has_year = boilerplate.YEAR.search(joined) is not None
    if not has_verb:
        return introduction if opens and has_year and has_address else None
    if opens and (has_year or has_address):
        return introduction
    # Without an opening word the attribution must begin where a paragraph does, or it would take a sentence along.
    is_paragraph = start == 0 or not lines[start - 1].strip()
    if has_address and (is_paragraph or last == start):
        return introduction
    follows = _next_filled(lines, last + 1)
    is_quoted_below = follows < len(lines) and _is_quote(lines[follows])
    return introduction if is_quoted_below and last == start else None


def _opens_attribution(line: str) -> bool:
    bare = line.lstrip(" \t*_-\u00a0")[: trim.LINE_LIMIT]
    if boilerplate.DATE_FIRST.match(bare):
        return True
    return boilerplate.ATTRIBUTION_OPENING.match(bare) is not None and (
        bare[:1].isupper() or any(char.isdigit() for char in bare)
    )


def _end_of_forward(lines: Sequence[str], begin: int) -> int:
    """Return the index after the end marker of a forward (mutt writes one), or the end of *lines*."""
    for index in range(begin, len(lines)):
        if _marker(lines[index]) == "end":
            return index + 1
    return len(lines)


def _is_quote(line: str) -> bool:
    """Return whether *line* is quoted with ">" (or with " |" as s-nail does) and is no typed ">>> emphasis <<<"."""
    if line.startswith(" |"):
        return True
    bare = line.lstrip(" \t\u00a0")
    return bare.startswith(">") and not bare.endswith("<") and not bare.startswith(">:")


def _unquoted(line: str) -> str:
    """Return *line* without one level of quoting."""
    if not _is_quote(line):
        return line
    bare = line.lstrip(" \t\u00a0")[1:]
    return bare[1:] if bare.startswith(" ") else bare


def _is_torn_quote(lines: Sequence[str], index: int) -> bool:
    """Return whether the line is the end of a long quoted line that a mail program wrapped without a ">"."""
    if index == 0 or index + 1 >= len(lines) or not lines[index].strip():
        return False
    above, line, below = lines[index - 1], lines[index], lines[index + 1]
    return (
        _is_quote(above)
        and _is_quote(below)
        and len(above) >= 60
        and len(line) <= 60
        and above.rstrip()[-1:] not in (".", "?", "!", ":")
        and line[:1].islower()
    )


def _has_bare_quotes(lines: Sequence[str], begin: int, subject: str) -> bool:
    """Return whether ">" means quoting in a text without introductions, because the sender cut them away.

    It does where the text begins with it, ends with three lines of it, or answers a mail; under a colon it is a list.
    """
    starts = [
        index
        for index in range(begin, len(lines))
        if _is_quote(lines[index]) and not _is_quote(lines[max(index - 1, 0)])
    ]
    if begin < len(lines) and _is_quote(lines[begin]):
        starts = [begin, *starts]
    if not starts or any(_text_above(lines, start).endswith(":") for start in starts):
        return False
    # "> Settings > Display" is a path that somebody clicked along.
    if " > " in lines[starts[0]][: trim.LINE_LIMIT]:
        return False
    above = _text_above(lines, starts[0])
    if boilerplate.REPLY_SUBJECT.match(subject) or not above or (len(above) < 60 and boilerplate.GREETING.match(above)):
        return True
    end = len(lines)
    while end > begin and not lines[end - 1].strip():
        end -= 1
    return end - starts[-1] >= 3 and all(_is_quote(line) for line in lines[starts[-1] : end])


def _text_above(lines: Sequence[str], index: int) -> str:
    """Return the nearest text above the line at *index*, at most eight lines up, or an empty text."""
    return next((line.strip() for line in reversed(lines[max(index - 8, 0) : index]) if line.strip()), "")
