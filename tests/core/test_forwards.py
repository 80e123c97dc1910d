"""Who wrote what a technician passes on, read through the real parser; and nobody, where that is not clear."""

from __future__ import annotations

import pytest

from supportd.core import forwards, parse
from supportd.core.model import Address, Attachment, AttachmentKind, Mail

SAM = "sam@allsaints.example"
MARK = "---------- Forwarded message ---------"
OURS = frozenset({SAM, "support@allsaints.example"})
HEAD = "From: Sam Reed <sam@allsaints.example>\r\nTo: support@allsaints.example\r\nSubject: Fwd: Board\r\n"


def read(text: str, content_type: str = 'text/plain; charset="utf-8"') -> Mail:
    body = text.replace("\n", "\r\n")
    found = parse.parse(f"{HEAD}MIME-Version: 1.0\r\nContent-Type: {content_type}\r\n\r\n{body}".encode())
    assert isinstance(found, Mail)
    return found


def attached(*headers: str) -> Mail:
    parts = "".join(
        f"--b\r\nContent-Type: message/rfc822\r\n\r\n{header}\r\n\r\nThe board is dark.\r\n" for header in headers
    )
    raw = (
        f"{HEAD}MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        f"--b\r\nContent-Type: text/plain\r\n\r\nPlease see below.\r\n{parts}--b--\r\n"
    )
    found = parse.parse(raw.encode())
    assert isinstance(found, Mail)
    return found


JANE = Address(address="jane@allsaints.example", name="Jane Smith")


@pytest.mark.parametrize(
    "block",
    [
        f"{MARK}\nFrom: Jane Smith <jane@allsaints.example>\n"
        "Date: Mon, 23 Nov 2026 at 09:00\nSubject: Board\nTo: <sam@allsaints.example>\n",
        "Begin forwarded message:\n\nFrom: Jane Smith <jane@allsaints.example>\nSubject: Board\n"
        "Date: 23 November 2026 at 09:00:00 GMT\nTo: sam@allsaints.example\n",
        "________________________________\nFrom: Jane Smith <jane@allsaints.example>\n"
        "Sent: Monday, November 23, 2026 9:00 AM\nTo: Sam Reed <sam@allsaints.example>\nSubject: Board\n",
        "-----Original Message-----\nFrom: Jane Smith [mailto:jane@allsaints.example]\n"
        "Sent: 23 November 2026 09:00\nTo: Sam Reed\nSubject: Board\n",
        f"{MARK}\nFrom: *Jane Smith* <jane@allsaints.example>\n"
        "Date: Mon, 23 Nov 2026 at 09:00\nSubject: Board\n"
        "To: Sam Reed <sam@allsaints.example<mailto:sam@allsaints.example>>\n",
        "-------- Forwarded Message --------\nSubject: Board\nDate: Mon, 23 Nov 2026 09:00:00 +0000\n"
        "From: Jane Smith <Jane@AllSaints.example>\nTo: sam@allsaints.example\n",
        "---------- Przekazana wiadomość ----------\nOd: Jane Smith <jane@allsaints.example>\n"
        "Data: pon., 23 lis 2026 o 09:00\nTemat: Board\nDo: <sam@allsaints.example>\n",
        "---------- Mensagem encaminhada ---------\nDe: Jane Smith <jane@allsaints.example>\n"
        "Data: segunda, 23 de nov. de 2026\nAssunto: Board\nPara: <sam@allsaints.example>\n",
    ],
)
def test_the_author_stands_in_the_block_of_forwarded_headers(block: str) -> None:
    found = read(f"Can you take this one?\n\n{block}\n\nThe board in Year 3 is dark.\n")

    assert forwards.original_sender(found, OURS) == JANE


def test_a_name_in_encoded_words_is_read() -> None:
    found = attached("From: =?utf-8?q?Zo=C3=AB?= <zoe@allsaints.example>\r\nSubject: Board")

    assert forwards.original_sender(found, OURS) == Address(address="zoe@allsaints.example", name="Zoë")


def test_an_attached_original_names_its_author() -> None:
    found = attached("From: Jane Smith\r\n <jane@allsaints.example>\r\nSubject: Board")

    assert forwards.original_sender(found, OURS) == JANE


def test_the_author_of_the_topmost_block_is_who_wrote_to_the_technician() -> None:
    found = read(
        f"{MARK}\nFrom: Jane Smith <jane@allsaints.example>\n"
        "Date: Mon, 23 Nov 2026 at 09:00\nSubject: Re: Board\nTo: <sam@allsaints.example>\n\n\n"
        "Still dark.\n\nFrom: Sam Reed <sam@allsaints.example>\nSent: 20 November 2026\nTo: Jane Smith\n"
        "Subject: Board\n\n"
        "Try again.\n"
    )

    assert forwards.original_sender(found, OURS) == JANE


@pytest.mark.parametrize(
    "block",
    [
        "",
        "The board is dark, says Jane <jane@allsaints.example>\n",
        f"{MARK}\nFrom: Jane Smith\nDate: Mon, 23 Nov 2026\nSubject: Board\nTo: Sam\n",
        f"{MARK}\nFrom: jane@allsaints.example <evil@attacker.example>\n"
        "Date: Mon, 23 Nov 2026\nSubject: Board\nTo: Sam\n",
        f"{MARK}\nFrom: Jane <jane@allsaints.example>, June <june@allsaints.example>\n"
        "Date: Mon, 23 Nov 2026\nSubject: Board\nTo: Sam\n",
        f"{MARK}\nFrom: Jane <jane@allsaints.example>\nFrom: June <june@allsaints.example>\n"
        "Date: Mon, 23 Nov 2026\nSubject: Board\nTo: Sam\n",
        f"{MARK}\nDate: Mon, 23 Nov 2026\nSubject: Board\nTo: <jane@allsaints.example>\n",
        f"{MARK}\nFrom: Sam Reed <sam@allsaints.example>\n"
        "Date: Mon, 23 Nov 2026\nSubject: Board\nTo: <jane@allsaints.example>\n",
    ],
)
def test_what_is_not_clear_names_nobody(block: str) -> None:
    assert forwards.original_sender(read(f"Please take this.\n\n{block}\n\nDark.\n"), OURS) is None


def test_two_attached_originals_of_two_people_name_nobody() -> None:
    one, other = "From: jane@allsaints.example", "From: june@allsaints.example"

    assert forwards.original_sender(attached(one, other), OURS) is None
    assert forwards.original_sender(attached(one, one), OURS) == Address(address="jane@allsaints.example")


def test_an_attached_original_with_two_authors_names_nobody() -> None:
    assert forwards.original_sender(attached("From: jane@x.example\r\nFrom: june@x.example"), OURS) is None
    assert forwards.original_sender(attached("Subject: Board"), OURS) is None


def test_a_hostile_original_is_read_in_linear_time() -> None:
    content = b"From: " + b"<" * 5_000_000 + b"\r\n" + b" x\r\n" * 1_000_000
    mail = Mail(
        attachments=(
            Attachment(name="x", type="message/rfc822", size=1, sha256="", kind=AttachmentKind.MAIL, content=content),
        ),
        forwarded="From: " + "<" * 1_000_000 + "\n:" * 100_000,
    )

    assert forwards.original_sender(mail) is None
