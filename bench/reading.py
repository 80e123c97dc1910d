"""What reading a mail costs: against mail-parser alone on a usual mail, and how it grows up to 10 MB.

python bench/reading.py
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable

import mailparser

from supportd.config.keywords import KeywordsSection
from supportd.core import screen, severity
from supportd.core.model import Mail
from supportd.core.parse import parse

TEXT = (
    "the printer in room six is not working since this morning and the class cannot print their work please help with "
    "smartboard login password teachers tablet wifi projector screen cable"
)
TRACE = (
    "Received: from DB7PR0{n}.eurprd0{n}.prod.outlook.example (2603:10a6:10:1::{n}) by\r\n"
    " AM6PR0{n}.eurprd0{n}.prod.outlook.example (2603:10a6:20b:2::{n}) with Microsoft SMTP\r\n"
    " Server (version=TLS1_2, cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id\r\n"
    " 15.20.8158.{n}; Tue, 24 Nov 2026 09:0{n}:11 +0000\r\n"
)
FIELDS = (
    "From: Jane Smith <jane.smith@allsaints.example>\r\nTo: IT Support <support@allsaints.example>\r\n"
    'CC: "Smith, John" <john@allsaints.example>\r\nSubject: =?utf-8?Q?RE:_printer_in_room_six_=E2=80=93_help?=\r\n'
    "Date: Tue, 24 Nov 2026 09:00:11 +0000\r\nMessage-ID: <DB7PR01MB1234567890@DB7PR01.prod.outlook.example>\r\n"
    "In-Reply-To: <b@allsaints.example>\r\nReferences: <a@allsaints.example>\r\n <b@allsaints.example>\r\n"
    "X-MS-Exchange-Organization-SCL: 1\r\nAccept-Language: en-GB\r\nMIME-Version: 1.0\r\n"
)


def usual() -> bytes:
    """Return a mail of 20 KB as Outlook writes it: plain text and HTML, a short answer above a long history."""
    chance = random.Random(20)
    answer, *history = (" ".join(chance.choices(TEXT.split(), k=60)) for _ in range(18))
    header = {"From": "IT Support", "Sent": "23 November 2026 09:12", "To": "Jane Smith", "Subject": "RE: printer"}
    plain = f"{answer}\r\n\r\nKind regards\r\nJane\r\n\r\n" + "".join(f"{key}: {header[key]}\r\n" for key in header)
    plain += "\r\n" + "\r\n\r\n".join(history)
    rows = "<br>\r\n".join(f"<b>{key}:</b> {header[key]}" for key in header)
    html = f"<html><body><div class=WordSection1><p class=MsoNormal>{answer}</p><p class=MsoNormal>Kind regards</p>"
    html += f'<p class=MsoNormal>Jane</p><div style="border:none;border-top:solid #E1E1E1 1.0pt"><p>{rows}</p></div>'
    html += "".join(f"<p class=MsoNormal><span style='font-size:11.0pt'>{text}</span></p>\r\n" for text in history)
    head = "".join(TRACE.format(n=n) for n in range(5)) + FIELDS
    return (
        f"{head}Content-Type: multipart/alternative; boundary=alt\r\n\r\n--alt\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\n\r\n{plain}\r\n--alt\r\n"
        f"Content-Type: text/html; charset=utf-8\r\n\r\n{html}</div></body></html>\r\n--alt--\r\n"
    ).encode()


def milliseconds(work: Callable[[], object], times: int = 100) -> float:
    """Return the processor time of the fastest of *times* runs, in milliseconds."""
    spent = []
    for _ in range(times):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent) * 1000


def ratio() -> tuple[float, float]:
    """Return what mail-parser alone and what reading, trimming, screening and rating need for a usual mail, in ms."""
    raw, keywords = usual(), KeywordsSection().compiled()

    def ours() -> None:
        mail = parse(raw)
        assert isinstance(mail, Mail)
        assert mail.sender
        screen.judge(mail, screen.Settings())
        severity.rate(mail.subject, mail.new_text, mail.sender.address, keywords)

    return milliseconds(lambda: mailparser.parse_from_bytes(raw)), milliseconds(ours)


def exponent(head: str, unit: bytes) -> float:
    """Return the power of the size by which the cost of *unit*, repeated, grows from 1 to 10 MB."""
    small, large = (
        FIELDS.encode() + head.encode() + b"\r\n\r\n" + unit * (size // len(unit)) for size in (10**6, 10**7)
    )
    return math.log10(milliseconds(lambda: parse(large), 3) / milliseconds(lambda: parse(small), 3))


def main() -> None:
    """Print both figures."""
    theirs, ours = ratio()
    print(f"usual mail, {len(usual()) // 1000} KB: mail-parser alone {theirs:.2f} ms, all of reading {ours:.2f} ms,")
    print(f"  that is {ours / theirs:.1f} times as much")
    for name, head, unit in (
        ("plain text", "Content-Type: text/plain", b"The printer in room six is broken again, please help.\r\n"),
        ("quoted text", "Content-Type: text/plain", b"> > as I wrote before\r\n"),
        ("HTML", "Content-Type: text/html", b"<div><p class=MsoNormal>The printer is broken.</p></div>\r\n"),
        (
            "base64 attachment",
            "Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64",
            b"QUJD" * 19 + b"\r\n",
        ),
        ("parts", "Content-Type: multipart/mixed; boundary=b", b"--b\r\n\r\ntext\r\n"),
        ("fields", "X-Many: 1", b"X-Many: 2\r\n"),
    ):
        print(f"{name}: cost grows from 1 to 10 MB with the power {exponent(head, unit):.2f} of the size")


if __name__ == "__main__":
    main()
