"""Who wrote the mail that a technician passes on: one attached original, or one clear block of forwarded headers.

If unsure, nobody: the technician is asked, and no stranger gets a ticket that is not his.
"""

from __future__ import annotations

from collections.abc import Container

from supportd.core import addresses, clean, decode
from supportd.core.model import Address, AttachmentKind, Mail

# The header block of an attached original stands at its top; reliability.md 4.2 caps it at 256 kB.
_LONGEST_HEADER_BYTES = 256 * 1024
# A forwarded block has four to eight lines, some of them wrapped.
_MOST_BLOCK_LINES = 30
_LONGEST_LINE = 1000
_LONGEST_NAME = 120
# "From" and "Subject" or "Sent" in the languages of the school's mail programs (en, de, fr, es, it, pt, pl, lt, ro).
_FROM = frozenset({"from", "von", "de", "da", "od", "nuo", "de la"})
_OTHER_FIELD_NAMES = """
    sent date to subject gesendet datum an betreff envoyé date à objet enviado fecha para asunto inviato data a oggetto
    assunto wysłano do temat išsiųsta kam tema trimis către subiect
"""
_OTHER_FIELDS = frozenset(_OTHER_FIELD_NAMES.split())


def original_sender(mail: Mail, ours: Container[str] = ()) -> Address | None:
    """Return who wrote the mail that *mail* passes on, or None when there is none or it is not clear.

    *ours* are addresses that are nobody's original sender: the technicians' and the mailbox's own.
    """
    originals = [attached for attached in mail.attachments if attached.kind is AttachmentKind.MAIL]
    found = {_in_header(attached.content) for attached in originals}
    if mail.forwarded.strip():
        found.add(_in_block(mail.forwarded))
    if len(found) != 1:
        return None
    sender = found.pop()
    return None if sender is None or sender.address in ours else sender


def _in_header(content: bytes) -> Address | None:
    """Return the one author in the header of the message *content*, or None."""
    head = content[:_LONGEST_HEADER_BYTES].replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    fields: list[str] = []
    for line in head.decode("ascii", "replace").split("\n"):
        if line[:1] in (" ", "\t"):
            if fields:
                fields[-1] = f"{fields[-1]} {line.strip()}"[:_LONGEST_LINE]
        else:
            fields.append(line[:_LONGEST_LINE])
    authors = [field.partition(":")[2] for field in fields if field[:5].lower() == "from:"]
    return _author(authors[0]) if len(authors) == 1 else None


def _in_block(forwarded: str) -> Address | None:
    """Return the author named by the block of headers that *forwarded* begins with, or None."""
    authors: list[str] = []
    names: set[str] = set()
    for line in forwarded.split("\n", _MOST_BLOCK_LINES)[:_MOST_BLOCK_LINES]:
        name, colon, value = line[:_LONGEST_LINE].strip(" >*\t").partition(":")
        key = name.strip(" *").casefold()
        if not name and names:
            break
        if colon and key in _FROM:
            authors.append(value)
            names.add(key)
        elif colon and key in _OTHER_FIELDS:
            names.add(key)
    return _author(authors[0]) if len(authors) == 1 and len(names) > 1 else None


def _author(value: str) -> Address | None:
    """Return the one address in *value* (``Jane <jane@x>``, ``Jane [mailto:jane@x]``, ``jane@x``), or None."""
    text = value
    for sign in "<>[]()\"',;*":
        text = text.replace(sign, " ")
    found = {word.removeprefix("mailto:").lower() for word in text.split() if "@" in word}
    if len(found) != 1 or not addresses.is_plain(address := found.pop()):
        return None
    name = clean.line(decode.words(value.partition("<")[0].partition("[")[0].strip(" \"'*")), _LONGEST_NAME)
    return Address(address=address, name="" if "@" in name else name)
