"""The mail that every contender is given: as many as asked for, the same ones for the same seed.

60% plain text, 25% text and HTML, 15% with an attachment of 20 to 500 KB; 30% are answers, to letters that no contender
has ever seen, so that every mail opens one ticket and earns one acknowledgement in each of them.  Nine charsets.
"""

from __future__ import annotations

import base64
import math
import quopri
import random
from collections.abc import Iterator
from dataclasses import dataclass
from email.header import Header

SEED = 20261124
SUPPORT = "support@allsaints.example"
STAFF = 80

# One sentence in each charset; the charset of a mail is the language of its writer.
_LANGUAGES = {
    "us-ascii": "It was fine yesterday.",
    "utf-8": "It was fine yesterday – Zoë saw it too, and the café’s till as well.",
    "iso-8859-1": "Hier ça marchait très bien, je ne sais pas pourquoi.",
    "iso-8859-15": "Le câble a coûté 12 € chez le marchand du cœur de ville.",
    "windows-1252": "The “smart” board – the one by the window – costs €40 a term.",
    "iso-8859-2": "Wczoraj jeszcze działało, dziękuję za pomoc w klasie.",
    "windows-1250": "Včera to ještě fungovalo, děkuji za pomoc ve třídě.",
    "windows-1251": "Вчера всё ещё работало, спасибо за помощь.",
    "iso-8859-7": "Χθες δούλευε ακόμα, ευχαριστώ για τη βοήθεια.",
}
_CHARSETS = tuple(_LANGUAGES)
_WEIGHTS = (20, 40, 8, 4, 12, 5, 4, 4, 3)
_THINGS = (
    "interactive board", "class laptop", "document camera", "colour printer", "visitor tablet", "projector",
    "desk phone", "library scanner", "headphone set", "webcam", "charging trolley", "sound system", "register page",
    "shared drive",
    "timetable export", "reading programme", "spelling app", "calendar", "photo folder", "seating plan",
)  # fmt: skip
_TROUBLES = (
    "shows a blank picture now and then", "asks me to sign in again after lunch", "is slower than it was last term",
    "prints the second page upside down", "does not remember its settings", "makes a clicking noise",
    "needs a new cable", "has lost the link to our year folder", "opens the wrong program", "is missing two letters",
)  # fmt: skip
_REST = (
    "We tried to switch it off and on again, which helped for a short while.",
    "The children can work in pairs until somebody has time to look.",
    "There is no hurry, but it would be good to know when you can come by.",
    "I am in the building until four and teach in the hall on Thursdays.",
    "Please let me know if you need the number on the sticker at the back.",
    "My colleague next door says that hers did the same in October.",
    "I have put a note on it so that nobody moves it before you come.",
    "It is the one that we were given at the beginning of the year.",
)
_FIRST = ("Jane", "Priya", "Owen", "Grace", "Tom", "Amira", "Helen", "Marek", "Sofia", "Ben")
_LAST = ("Smith", "Patel", "Jones", "Okoro", "Brown", "Hughes", "Novak", "Clarke")
_FILES = (("pdf", "application/pdf"), ("png", "image/png"), ("jpg", "image/jpeg"), ("docx", "application/msword"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A member of staff who writes."""

    name: str
    address: str


def staff() -> list[Person]:
    """Return everybody who writes, in the same order each time."""
    people = []
    for number in range(STAFF):
        first, last = _FIRST[number % 10], _LAST[number // 10 % 8]
        people.append(Person(name=f"{first} {last}", address=f"{first}.{last}@allsaints.example".lower()))
    return people


def mails(count: int, seed: int = SEED) -> Iterator[bytes]:
    """Yield *count* messages with lines ended by LF, as a Maildir keeps them."""
    people = staff()
    for number in range(count):
        # A generator for each mail: the first thousand of ten thousand are the thousand.
        chance = random.Random(f"{seed}/{number}")
        yield _mail(number, chance, chance.choice(people))


def _mail(number: int, chance: random.Random, writer: Person) -> bytes:
    charset = chance.choices(_CHARSETS, _WEIGHTS)[0]
    thing, trouble = chance.choice(_THINGS), chance.choice(_TROUBLES)
    is_answer = chance.random() < 0.3
    kind = chance.choices(("plain", "alternative", "attachment"), (60, 25, 15))[0]
    room = f"{chance.choice('ABCDEFGH')}{number}"
    sentences = [f"The {thing} in room {room} {trouble}.", _LANGUAGES[charset]]
    sentences += chance.sample(_REST, chance.randint(2, 6))
    paragraphs = ("Good morning,", " ".join(sentences[:3]), " ".join(sentences[3:]), f"Kind regards\n{writer.name}")
    text = "\n\n".join(paragraphs) + "\n"
    if is_answer:
        history = "\n".join(f"> {line}" for _ in range(chance.randint(1, 6)) for line in chance.sample(_REST, 4))
        text += f"\nOn Mon, 23 Nov 2026 at 09:12, Office wrote:\n{history}\n"
    head = [
        *_trace(number, chance),
        f"From: {writer.name} <{writer.address}>",
        f"To: IT Support <{SUPPORT}>",
        f"Subject: {Header(_subject(charset, thing, room, is_answer), charset).encode()}",
        f"Date: Tue, 24 Nov 2026 {8 + number % 8:02}:{number % 60:02}:{number % 59:02} +0000",
        f"Message-ID: <{chance.getrandbits(128):032x}.{number}@mail.allsaints.example>",
    ]
    if is_answer:
        parent = f"<{chance.getrandbits(96):024x}@elsewhere.allsaints.example>"
        head += [f"In-Reply-To: {parent}", f"References: <{chance.getrandbits(96):024x}@elsewhere.example>\n {parent}"]
    head += ["Accept-Language: en-GB", "X-Originating-IP: [192.0.2.17]", "MIME-Version: 1.0"]
    return ("\n".join(head) + "\n").encode("ascii") + _content(kind, text, charset, chance)


def _subject(charset: str, thing: str, room: str, is_answer: bool) -> str:
    accent = "" if charset == "us-ascii" else f" ({_LANGUAGES[charset].split()[0]})"
    return f"{'Re: ' if is_answer else ''}{thing} in {room}{accent}"


def _trace(number: int, chance: random.Random) -> list[str]:
    return [
        f"Received: from relay{hop}.outbound.example (relay{hop}.outbound.example [192.0.2.{10 + hop}])\n"
        f"\tby mx{hop}.allsaints.example (Postfix) with ESMTPS id {chance.getrandbits(40):010X}\n"
        f"\tfor <{SUPPORT}>; Tue, 24 Nov 2026 {8 + number % 8:02}:{number % 60:02}:{30 - hop:02} +0000 (GMT)"
        for hop in range(chance.randint(2, 5))
    ]


def _content(kind: str, text: str, charset: str, chance: random.Random) -> bytes:
    plain = _part("plain", text, charset)
    if kind == "plain":
        return plain
    boundary = f"{chance.getrandbits(80):020x}"
    if kind == "alternative":
        rows = "".join(f"<p class=MsoNormal>{line}</p>\n" if line else "" for line in text.split("\n"))
        html = f"<html><head><style>p {{margin: 0cm}}</style></head><body lang=EN-GB>\n{rows}</body></html>\n"
        return _multipart("alternative", boundary, [plain, _part("html", html, charset)])
    # Evenly over the magnitudes: a phone's picture is as likely as a one-page scan.
    size = int(math.exp(chance.uniform(math.log(20_000), math.log(500_000))))
    ending, mime_type = chance.choice(_FILES)
    head = f'Content-Type: {mime_type}; name="photo {size}.{ending}"\nContent-Transfer-Encoding: base64\n'
    head += f'Content-Disposition: attachment; filename="photo {size}.{ending}"\n\n'
    file = head.encode() + base64.encodebytes(chance.randbytes(size))
    return _multipart("mixed", boundary, [plain, file])


def _part(kind: str, text: str, charset: str) -> bytes:
    raw = text.encode(charset)
    if charset == "us-ascii":
        encoding, body = "7bit", raw
    elif charset in ("windows-1251", "iso-8859-7"):
        encoding, body = "base64", base64.encodebytes(raw)
    else:
        encoding, body = "quoted-printable", quopri.encodestring(raw)
    return f"Content-Type: text/{kind}; charset={charset}\nContent-Transfer-Encoding: {encoding}\n\n".encode() + body


def _multipart(kind: str, boundary: str, parts: list[bytes]) -> bytes:
    head = f'Content-Type: multipart/{kind}; boundary="{boundary}"\n\n'.encode()
    return head + b"".join(b"--%s\n%s\n" % (boundary.encode(), part) for part in parts) + f"--{boundary}--\n".encode()
