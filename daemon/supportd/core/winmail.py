"""Outlook's winmail.dat (TNEF, MS-OXTNEF) -> the body and the files inside it, read by tnefparse."""

from __future__ import annotations

from dataclasses import dataclass

from tnefparse import TNEF
from tnefparse.tnef import TNEFAttachment

from supportd.core import decode

# tnefparse copies the rest of the stream for each object; real streams hold some twenty, and four for each file.
OBJECTS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Winmail:
    """What a TNEF stream holds: plain text or HTML (rich text stays closed: it is compressed), and named files."""

    text: str = ""
    html: str = ""
    files: tuple[tuple[str, bytes], ...] = ()


def read(content: bytes) -> Winmail | None:
    """Return what the TNEF stream *content* holds, or None when it is damaged or holds nothing we can show."""
    if _objects(content) > OBJECTS:
        return None
    try:
        stream = TNEF(content, do_checksum=False)
        files = tuple((_name(item), bytes(item.data)) for item in stream.attachments if item.data)
        found = Winmail(text=_text(stream.body), html=_text(stream.htmlbody), files=files)
    except Exception:  # noqa: BLE001 - tnefparse checks nothing: damage shows as whatever exception comes first
        return None
    return found if found != Winmail() else None


def _objects(content: bytes) -> int:
    """Return how many objects the stream has: level, name, type and length precede each, a checksum follows."""
    position, count = 6, 0
    while position + 11 < len(content) and count <= OBJECTS:
        position += int.from_bytes(content[position + 5 : position + 9], "little") + 11
        count += 1
    return count


def _name(item: TNEFAttachment) -> str:
    """Return the long file name of an attachment, or its short one."""
    try:
        name = item.long_filename()
    except UnicodeDecodeError:  # tnefparse takes the short name for UTF-8; it is in the sender's code page
        name = item._name
    return _text(name).strip("\0 ")


def _text(value: object) -> str:
    """Return *value*, which tnefparse gives as bytes, text or None, as text."""
    if isinstance(value, bytes):
        return decode.text(value.rstrip(b"\0"))
    return value.rstrip("\0") if isinstance(value, str) else ""
