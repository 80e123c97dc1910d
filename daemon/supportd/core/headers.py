"""The header block of a message or a part -> fields, addresses, identifiers and date, as senders really write them.

mail-parser reads addresses and dates; the block is split here, within limits and bytes first, since raw 8-bit text has
to find its charset before anything else can be read.

- mbox lines and blank lines before the block are skipped, ``From :`` is read, broken folding is joined
- encoded words inside quotes, glued to text or holding a raw comma are read
- every doubt about the sender is told as a defect that begins with ``From:``
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from mailparser.dates import parse_mail_date
from mailparser.utils import get_addresses

from supportd.core import clean, decode
from supportd.core.model import Address, Mail

# The limits of reliability.md 4.2.  Real mail stays far below each.
BLOCK_BYTES = 256 * 1024
FIELDS = 1000
FIELD_BYTES = 16 * 1024
# RFC 5321 4.5.3.1.3 allows a path of 256 octets with its brackets.
ADDRESS_CHARS = 254
# So many lines that are neither a field nor folded are put up with; a block with more is a body.
STRAY_LINES = 20

# A message identifier (RFC 5322 3.6.4) as loosely as senders write them, and a charset wherever one is declared.
IDENTIFIER = re.compile(r"<[^<>\s]+>")
CHARSET = re.compile(rb"charset[ \t]{0,9}=[ \t]{0,9}[\"']?([A-Za-z0-9._:-]{1,40})", re.I)

# No encoded word means anything in these: decoded, what a sender wrote in one would read as the border's own words.
_TRACE_FIELDS = frozenset(("authentication-results", "received", "received-spf", "return-path"))

_FIELD = re.compile(rb"([!-9;-~]{1,200})[ \t]*:")
_KNOWN_FIELD = re.compile(
    rb"(?:from|to|cc|date|subject|message-id|mime-version|content-[a-z-]{1,30}|received|x-[a-z0-9-]{1,60})[ \t]*:", re.I
)
_ENCODED_WORD = re.compile(r"=\?[^?\s]{1,40}\?[bBqQ]\?[^?]{0,500}\?=")
# A private character, which no address may hold and clean text never does.
_SHIELD = "\ue000"
_SHIELDED = re.compile(_SHIELD + r"(\d{1,4})" + _SHIELD)
_LOOKS_LIKE_AN_ADDRESS = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[a-z0-9.-]{1,180}[a-z0-9]", re.I | re.A)
_COMMENT = re.compile(r"\(([^()\\]{1,100})\)")


def beginning(raw: bytes) -> int:
    """Return where the header block begins: after a byte order mark, blank lines and an mbox ``From `` line."""
    start = 3 if raw.startswith(b"\xef\xbb\xbf") else 0
    start = len(raw) - len(raw[start:].lstrip(b"\r\n"))
    # "From : " is a field with a blank before its colon.
    if raw.startswith((b"From ", b">From "), start) and not raw.startswith((b":", b" :"), start + 5):
        start = raw.find(b"\n", start) + 1 or len(raw)
    return start


def fields(raw: bytes, start: int, end: int, defects: list[str]) -> tuple[list[tuple[str, str]], int]:
    """Return the fields of the block at *start* (unfolded, undecoded) and where the body begins."""
    found: list[tuple[bytes, list[bytes]]] = []
    strays = 0
    position = start
    limit = start + BLOCK_BYTES
    while position < end:
        line_end = raw.find(b"\n", position, end)
        line_end = end if line_end < 0 else line_end
        line = raw[position:line_end].rstrip(b"\r")
        if not line:
            position = line_end + 1
            break
        if position < limit and len(found) <= FIELDS:
            match = _FIELD.match(line)
            if line[:1] in b" \t" and found:
                if line.strip():
                    found[-1][1].append(line[:FIELD_BYTES])
            elif match:
                found.append((match[1], [line[match.end() :][:FIELD_BYTES]]))
            elif strays < STRAY_LINES and _fields_follow(raw, line_end + 1, end):
                strays += 1
                defects.append("a header line without a name was taken as the rest of the line before")
                if found:
                    found[-1][1].append(line[:FIELD_BYTES])
            else:
                if found:
                    defects.append("no blank line between headers and body")
                break
        position = line_end + 1
    if position > limit or len(found) > FIELDS:
        defects.append("the header block is beyond its limit and was cut")
    charset = ""
    for name, lines in found:
        if name.lower() == b"content-type":
            match = CHARSET.search(b" ".join(lines))
            charset = match[1].decode("ascii") if match else ""
    return [_unfolded(name, lines, charset, defects) for name, lines in found[:FIELDS]], min(position, end)


def _fields_follow(raw: bytes, start: int, end: int) -> bool:
    """Return whether a well-known field begins before the next blank line: then the block is not over yet."""
    for line in raw[start : min(end, start + 4096)].split(b"\n")[:20]:
        if not line.strip(b"\r"):
            return False
        if _KNOWN_FIELD.match(line):
            return True
    return False


def _unfolded(name: bytes, lines: list[bytes], charset: str, defects: list[str]) -> tuple[str, str]:
    """Return a field as (name, text), unfolded, its encoded words left.

    Bytes beyond ASCII, which have no business here, are read as UTF-8 where they are that, else in the *charset* of the
    body, else as cp1252.
    """
    value = b" ".join(line.strip(b" \t\r") for line in lines)
    if len(value) > FIELD_BYTES:
        defects.append(f"the field {name[:60].decode('ascii')} is beyond its limit and was cut")
        value = value[:FIELD_BYTES]
    try:
        return name.decode("ascii"), decode.text(value) if b"\x1b" in value else value.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("ascii"), decode.text(value, charset)


def mail(fields: list[tuple[str, str]], defects: list[str]) -> Mail:
    """Return a Mail with all that stands in the header block."""
    named: dict[str, list[str]] = {}
    for name, value in fields:
        named.setdefault(name.lower(), []).append(value)
    if not fields:
        defects.append("no header fields")

    def identifiers(name: str) -> tuple[str, ...]:
        # Python's own writer encodes long identifiers as words (CPython issue 79986).
        found = IDENTIFIER.findall(clean.line(decode.words(" ".join(named.get(name, ()))), FIELD_BYTES))
        return tuple(dict.fromkeys(found))

    def addresses(name: str) -> tuple[Address, ...]:
        return tuple(address for value in named.get(name, ()) for address in _addresses(value, name, defects))

    senders = addresses("from")
    if len(named.get("from", ())) > 1:
        defects.append("From: more than one field")
    if len(senders) > 1:
        defects.append("From: more than one address")
    if not senders:
        defects.append("From: no address" if "from" in named else "From: missing")
        senders = _recovered(named.get("from", [""])[0])
    message_id = clean.line(decode.words(" ".join(named.get("message-id", ())[:1])), FIELD_BYTES)
    bracketed = IDENTIFIER.search(message_id)
    return_path = named.get("return-path", ())[:1]
    return Mail(
        message_id=(bracketed[0] if bracketed else message_id) or None,
        in_reply_to=identifiers("in-reply-to"),
        references=identifiers("references"),
        sender=senders[0] if senders else None,
        reply_to=addresses("reply-to"),
        to=addresses("to"),
        cc=addresses("cc"),
        envelope_from=_return_path(return_path[0]) if return_path else None,
        subject=clean.line(decode.words(next((v for v in named.get("subject", ()) if v.strip()), ""))),
        date=_date(next(iter(named.get("date", ())), ""), defects),
        headers=tuple((name, _shown(name, value)) for name, value in fields),
        defects=tuple(dict.fromkeys(defects)),
    )


def _shown(name: str, value: str) -> str:
    """Return the value of a field as a clean line, its encoded words decoded where they may stand (RFC 2047 5)."""
    return clean.line(value if name.lower() in _TRACE_FIELDS else decode.words(value), FIELD_BYTES)


def _addresses(value: str, name: str, defects: list[str]) -> Iterator[Address]:
    """Yield the mailboxes of an address field (RFC 5322 3.4) in their order; what is no mailbox is only a defect."""
    problems: list[dict[str, object]] = []
    if ";" in value and not {":", '"'}.intersection(value):
        # Outlook's way to write a list, which some programs send as it stands; a group would have a colon.
        problems.append({"reason": "semicolons"})
        value = value.replace(";", ",")
    # An encoded word may hold a raw comma against RFC 2047, which would end the mailbox: words stand aside meanwhile.
    encoded: list[str] = []

    def shield(word: re.Match[str]) -> str:
        encoded.append(word[0])
        return f"{_SHIELD}{len(encoded) - 1}{_SHIELD}"

    shielded = _ENCODED_WORD.sub(shield, value.replace(_SHIELD, ""))
    found = [(shown, address) for shown, address in get_addresses(shielded, defects=problems) if address]
    for shown, address in found:
        if len(address) > ADDRESS_CHARS or clean.line(address) != address or _SHIELD in address:
            problems.append({"reason": "invalid-address"})
            continue
        if not address.isascii() or '"' in address:
            problems.append({"reason": "unusual-address"})
        if len(found) == 1:
            shown = _whole_name(shown, shielded, problems)
        shown = _SHIELDED.sub(lambda number: encoded[int(number[1])], shown)
        display = clean.line(decode.words(shown), 200)
        yield Address(address=address.lower(), name="" if display.lower() == address.lower() else display)
    for problem in problems[:5]:
        defects.append(f"{name.capitalize()}: {problem['reason']}")


def _recovered(value: str) -> tuple[Address, ...]:
    """Return the only address in a From field that the grammar refuses, for people to see; none of several."""
    found = {address.lower() for address in _LOOKS_LIKE_AN_ADDRESS.findall(value)}
    return tuple(Address(address=address) for address in found) if len(found) == 1 else ()


def _whole_name(shown: str, value: str, problems: list[dict[str, object]]) -> str:
    """Return the name of the only mailbox of a field, with what its sender forgot to quote."""
    if not shown:
        comment = _COMMENT.search(value)
        return comment[1] if comment else ""
    torn = [str(problem["raw"]).strip() for problem in problems if problem["reason"] == "invalid-or-ambiguous-address"]
    if torn and not any("@" in piece for piece in torn) and value.lstrip().startswith(torn[0]):
        return ", ".join((*torn, shown))  # Smith, Jane <jane@...>
    return shown


def _return_path(value: str) -> str:
    """Return the reverse-path of a Return-Path field (RFC 5321 4.4); an empty text is the null path of bounces."""
    path = clean.line(value, 1000).lower()
    return path.partition("<")[2].partition(">")[0].strip() if "<" in path else path


def _date(value: str, defects: list[str]) -> datetime | None:
    """Return the Date field in UTC, or None; by RFC 5322 first, then as leniently as the standard library reads it."""
    if not value.strip():
        return None
    value = value[:200]
    found: datetime | None = parse_mail_date(value.strip()).value
    if found is None:
        defects.append("Date: not as RFC 5322 writes it")
        try:
            lenient = parsedate_to_datetime(value)
            found = lenient.astimezone(UTC) if lenient.tzinfo else lenient.replace(tzinfo=UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
    return found
