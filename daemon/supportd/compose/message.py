"""Text, HTML and files -> the final bytes of one message: CRLF, 7-bit safe, never touched again.

The caller gives Message-ID and date, so the same values always give the same bytes (RFC 5322, 2045 to 2047, 2231).
"""

from __future__ import annotations

import base64
import binascii
import email.utils
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.message import Message

from supportd.core import addresses, clean
from supportd.core.model import Address, Attachment
from supportd.errors import Refused

# RFC 5322 2.1.1: 998 octets between two CRLF.  Nothing of ours is folded but encoded words: Python's own policies
# encode a Message-ID longer than 78 columns, which Outlook does not read back (CPython gh-100991).
LINE_LIMIT_BYTES = 998
# RFC 2047 2: a line that holds an encoded word has at most 76 characters.
_ENCODED_LINE_LIMIT = 76
# The first id names the thread, the last eight the neighbours; one line of 998 octets holds them all.
_REFERENCES_KEPT_LAST = 8
_REFERENCES_LIMIT = 900
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{3,400}>")
# Types that a mail program shows without running anything; every other file travels as octets (no .html, no .svg).
_PLAIN_TYPES = frozenset(
    {
        "application/pdf",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "image/gif",
        "image/heic",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/csv",
        "text/plain",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One inline PNG that the HTML shows as ``cid:NAME``."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a message says: the same in *text* and *html*, with the files that go along."""

    subject: str
    text: str
    html: str
    attachments: Sequence[Attachment] = ()
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The header of one message.  *date* is aware and in the zone that the reader lives in."""

    message_id: str
    date: datetime
    sender: Address
    to: str
    reply_to: str = ""
    in_reply_to: str = ""
    references: Sequence[str] = ()
    # RFC 3834 5: auto-replied, auto-generated, or empty for the words of a person.
    auto_submitted: str = "auto-generated"


def checked_address(address: str) -> str:
    """Return *address* if it is a plain ``local@domain`` that may enter an envelope and a header field.

    Raises:
        Refused: It is anything else (controls, spaces, a quoted local part, other scripts, more than 254 characters).
    """
    if len(address) > 254 or not addresses.is_plain(address):
        raise Refused(f"not an address that mail can be sent to: {clean.line(address, 80)!r}")
    return address


def thread(references: Iterable[str], in_reply_to: str) -> tuple[str, ...]:
    """Return the ids for a References field (RFC 5322 3.6.4): the first and the last eight, under 900 characters."""
    ids = [found for each in (*references, in_reply_to) if (found := normal_id(each))]
    unique = list(dict.fromkeys(reversed(ids)))[::-1]
    kept = unique if len(unique) <= _REFERENCES_KEPT_LAST + 1 else [unique[0], *unique[-_REFERENCES_KEPT_LAST:]]
    while len(kept) > 1 and sum(map(len, kept)) + len(kept) > _REFERENCES_LIMIT:
        # The second is the least telling: the root and the nearest neighbours thread the reply.
        del kept[1 if len(kept) > 2 else 0]
    return tuple(kept)


def normal_id(message_id: str) -> str:
    """Return *message_id* in its angle brackets, or an empty text where it is no id that may stand in a field."""
    stripped = message_id.strip()
    bracketed = stripped if stripped.startswith("<") else f"<{stripped}>"
    return bracketed if _MESSAGE_ID.fullmatch(bracketed) else ""


def build(head: Head, content: Content) -> bytes:
    """Return the final bytes of the message.

    Raises:
        Refused: An address that must not enter a field.
        ValueError: The bytes would break RFC 5322 on the wire; a defect of ours, so nothing may leave.
    """
    body = _multipart("alternative", [_text("plain", content.text), _html(content)], head.message_id)
    if content.attachments:
        body = _multipart("mixed", [body, *map(_attachment, content.attachments)], head.message_id)
    return scanned(_written((*_fields(head, content.subject), *body.fields), body.data))


@dataclass(frozen=True, slots=True)
class _Part:
    """One part of a message: its header fields, and its content as it stands on the wire."""

    fields: tuple[tuple[str, str], ...]
    data: bytes


def _written(fields: Iterable[tuple[str, str]], data: bytes) -> bytes:
    # The generators of the standard library do the same in three times as long, a third of what a letter costs.
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return head.encode("ascii") + b"\r\n" + data


def scanned(data: bytes) -> bytes:
    """Return *data* if it is safe on any wire: CRLF only, no NUL, 7-bit, lines of at most 998 octets.

    Raises:
        ValueError: It is not; the rule that it breaks is named.
    """
    ends = data.count(b"\r\n")
    if data.count(b"\n") != ends or data.count(b"\r") != ends:
        raise ValueError("a line does not end in CRLF")
    if b"\0" in data or not data.isascii():
        raise ValueError("an octet is not 7-bit text")
    if max(map(len, data.split(b"\r\n"))) > LINE_LIMIT_BYTES:
        raise ValueError(f"a line has more than {LINE_LIMIT_BYTES} octets")
    return data


def _fields(head: Head, subject: str) -> Iterable[tuple[str, str]]:
    """Return the header fields in the order in which they are written; empty ones are left out."""
    yield "Date", email.utils.format_datetime(head.date)
    name = _words(head.sender.name, "From")
    yield "From", f"{name} <{checked_address(head.sender.address)}>" if name else checked_address(head.sender.address)
    yield "To", checked_address(head.to)
    if head.reply_to:
        yield "Reply-To", checked_address(head.reply_to)
    yield "Subject", _words(subject, "Subject")
    message_id = normal_id(head.message_id)
    if not message_id:
        raise ValueError(f"not a Message-ID: {head.message_id!r}")
    yield "Message-ID", message_id
    if in_reply_to := normal_id(head.in_reply_to):
        yield "In-Reply-To", in_reply_to
    if references := thread(head.references, head.in_reply_to):
        yield "References", " ".join(references)
    if head.auto_submitted:
        yield "Auto-Submitted", head.auto_submitted
    # MS-OXCMAIL 2.1.3.2.20: Exchange answers such a letter neither with an out-of-office nor with a receipt.
    yield "X-Auto-Response-Suppress", "All"
    yield "MIME-Version", "1.0"


def _words(text: str, field: str) -> str:
    """Return *text* for the unstructured or display-name part of *field*, in encoded words where it needs them."""
    flat = clean.line(text)
    # An encoded word that a stranger wrote into his subject must be read as what it is, not be decoded a second time.
    if not flat.isascii() or "=?" in flat:
        return Header(flat, "utf-8", header_name=field, maxlinelen=_ENCODED_LINE_LIMIT).encode(linesep="\r\n")
    if field == "From":
        return f'"{email.utils.quote(flat)}"' if flat else ""
    return flat


def _multipart(subtype: str, parts: Sequence[_Part], seed: str) -> _Part:
    """Return *parts* in a multipart whose boundary follows from *seed*, so that the bytes are always the same."""
    # "=_" cannot occur in quoted-printable (RFC 2045 6.7) nor in base64, so no content can hold the boundary.
    boundary = f"=_{subtype}_{hashlib.sha256(seed.encode()).hexdigest()[:24]}"
    between = f"\r\n--{boundary}\r\n".encode("ascii")
    whole = between.join(_written(part.fields, part.data) for part in parts)
    data = between.removeprefix(b"\r\n") + whole + f"\r\n--{boundary}--\r\n".encode("ascii")
    return _Part((("Content-Type", f'multipart/{subtype}; boundary="{boundary}"'),), data)


def _text(subtype: str, text: str) -> _Part:
    fields = (
        ("Content-Type", f'text/{subtype}; charset="utf-8"'),
        ("Content-Transfer-Encoding", "quoted-printable"),
    )
    return _Part(fields, _crlf(binascii.b2a_qp(text.encode("utf-8", "replace"), istext=True)))


def _html(content: Content) -> _Part:
    html = _text("html", content.html)
    if not content.pictures:
        return html
    return _multipart("related", [html, *map(_picture, content.pictures)], content.subject)


def _picture(picture: Picture) -> _Part:
    fields = (
        ("Content-Type", "image/png"),
        ("Content-ID", f"<{picture.name}>"),
        ("Content-Disposition", f'inline; filename="{picture.name}.png"'),
    )
    return _octets(fields, picture.content)


def _attachment(attachment: Attachment) -> _Part:
    # Message knows how a parameter is written (RFC 2231).
    field = Message()
    field.add_header("Content-Disposition", "attachment", filename=_file_name(attachment.name))
    fields = (
        ("Content-Type", attachment.type if attachment.type in _PLAIN_TYPES else "application/octet-stream"),
        ("Content-Disposition", field["Content-Disposition"]),
    )
    return _octets(fields, attachment.content)


def _file_name(name: str) -> str | tuple[str, str, str]:
    """Return *name* as data for a ``filename`` parameter (RFC 2231 where it is not ASCII): short, and never a path."""
    ends = name if len(name) <= 160 else name[:120] + name[-40:]
    flat = re.sub(r'[\\/:*?"<>|]', "_", clean.visible_name(ends)).lstrip(".") or "attachment"
    # One sign takes up to twelve octets there, and the field is one line of at most 998.
    limit = 100 if flat.isascii() else 60
    stem, dot, suffix = flat.rpartition(".")
    short = flat if len(flat) <= limit else f"{(stem or suffix)[: limit - 20]}{dot}{suffix[-19:]}"
    return short if short.isascii() else ("utf-8", "", short)


def _octets(fields: tuple[tuple[str, str], ...], content: bytes) -> _Part:
    encoding = ("Content-Transfer-Encoding", "base64")
    return _Part((*fields, encoding), _crlf(base64.encodebytes(content)))


def _crlf(data: bytes) -> bytes:
    """Return encoded *data* with each line ended by CRLF."""
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
