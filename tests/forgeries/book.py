"""The files of forged and genuine mails, and the mails that they describe.

A file is entries between lines of ``====``: why, what the sender told the border (``@``), and what he wrote, with
places in braces that are filled when the mail is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from forgeries import border
from forgeries.border import Words
from supportd.core.sender import Profile

DIRECTORY = Path(__file__).parent
FORGED = ("from.txt", "results.txt", "threads.txt")
SIGNS = {
    "parentheses": "(" * 100,
    "long": "x" * 9000,
    "filler": "\n".join(f"X-Filler-{number}: x" for number in range(210)),
    "empty": "",
    "nul": "\0",
    "cr": "\r",
    "tab": "\t",
    "zwsp": "\u200b",
    "rlo": "\u202e",
    "bom": "\ufeff",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One mail of a file: *why*, what the sender told the border, and what he wrote."""

    file: str
    why: str
    told: dict[str, str]
    text: str


def entries(file: str) -> Iterator[Entry]:
    """Yield the entries of *file* in their order."""
    for block in (DIRECTORY / file).read_text(encoding="utf-8").split("====\n")[1:]:
        lines = block.removesuffix("\n").split("\n")
        why = lines.pop(0).removeprefix("# ")
        told: dict[str, str] = {}
        while lines[0].startswith("@"):
            key, _, value = lines.pop(0)[1:].partition(":")
            told[key] = value.strip()
        yield Entry(file=file, why=why, told=told, text="\n".join(lines))


def filled(text: str, profile: Profile, places: Mapping[str, str]) -> str:
    """Return *text* with its places filled for *profile*."""
    authserv, host = border.NAMES.get(profile, ("mx.allsaints.example", "mail.allsaints.example"))
    signer = "header.i=@" if profile is Profile.GOOGLE else "header.d="
    passed = (
        f"dkim=pass {signer}allsaints.example; spf=pass smtp.mailfrom=allsaints.example;"
        " dmarc=pass header.from=allsaints.example"
    )
    values = {**SIGNS, **places, "authserv": authserv, "border": host, "passed": passed}
    return re.sub(r"\{([a-z_]{2,30})\}", lambda match: values[match[1]], text)


def message(entry: Entry, profile: Profile, words: Words, places: Mapping[str, str]) -> bytes:
    """Return the mail as it lies in the mailbox: the border's fields, then all that the sender wrote.

    *places* are the values of the places in the text, beside those that are always the same.
    """
    text = filled(entry.text, profile, places)
    head, _, body = text.partition("\n\n") if not text.startswith("\n") else (text, "", "")
    fields = head.lower()
    # A stolen token of the technician's goes with every mail that does not bring something of its own.
    if "in-reply-to:" not in fields and "references:" not in fields and "{technicians_address}" not in entry.text:
        head += f"\nIn-Reply-To: {places['technicians_id']}"
    if "\nto:" not in f"\n{fields}":
        head += "\nTo: support@allsaints.example"
    if "\nsubject:" not in f"\n{fields}":
        head += "\nSubject: Re: [AS-123] Board"
    body = body or "#close\n\nYour password has expired, sign in at attacker.example."
    told = {key: filled(value, profile, places) for key, value in entry.told.items()}
    words = replace(
        words,
        mail_from=told.get("mail-from", words.mail_from),
        signed_by=told.get("signed-by", words.signed_by),
        helo=told.get("helo", words.helo),
    )
    sent = f"{head}\nMessage-ID: <x@attacker.example>\nDate: Mon, 23 Nov 2026 09:00:00 +0000\n\n{body}\n"
    return (border.trace(profile, words) + sent.replace("\n", "\r\n")).encode("utf-8", "surrogateescape")
