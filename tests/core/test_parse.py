"""What the corpus of mails/ does not say: reports, limits, fingerprints, defects, and that no bytes are too bad."""

from __future__ import annotations

import base64
import hashlib
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supportd.core.model import AttachmentKind, DeliveryReport, Mail, Unparseable
from supportd.core.parse import ATTACHMENTS, DEPTH, PARTS, envelope, parse

HEAD = b"From: Jane <jane@allsaints.example>\r\nTo: support@allsaints.example\r\nSubject: Printer\r\n"


def read(raw: bytes) -> Mail:
    outcome = parse(raw)
    assert isinstance(outcome, Mail), outcome
    return outcome


def multipart(*parts: bytes, subtype: bytes = b"mixed") -> bytes:
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts)
    return HEAD + b"Content-Type: multipart/" + subtype + b"; boundary=b\r\n\r\n" + body + b"--b--\r\n"


@given(st.binary(max_size=2000))
@settings(deadline=None)
def test_any_bytes_give_a_mail_or_a_reason(raw: bytes) -> None:
    outcome = parse(raw)

    assert isinstance(outcome, Mail) or outcome.reason == "the message is empty"


@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_bytes_in_a_field_a_parameter_and_a_part_give_a_mail(field: bytes, parameter: bytes, body: bytes) -> None:
    raw = b"Subject: " + field + b"\r\n" + multipart(b"Content-Type: text/html; name=" + parameter + b"\r\n\r\n" + body)

    assert isinstance(parse(raw), Mail)


@pytest.mark.parametrize("raw", [b"", b"\r\n\r\n", b"\0" * 1000, b"  \t\n"])
def test_nothing_at_all_is_unparseable(raw: bytes) -> None:
    assert parse(raw) == Unparseable(reason="the message is empty")


def test_text_without_any_field_is_still_a_call_for_help() -> None:
    mail = read(b"Please help, the screen is black\r\n")

    assert mail.text == "Please help, the screen is black"
    assert mail.sender is None
    assert "no header fields" in mail.defects


def test_references_survive_folding_missing_brackets_and_repetition() -> None:
    mail = read(
        HEAD + b"In-Reply-To: Your message of Monday <a@x.example>\r\nReferences: <a@x.example>\r\n"
        b"\t<b@x.example><c@x.example> junk <a@x.example>\r\n =?utf-8?q?=3Cd=40x=2Eexample=3E?=\r\n\r\nx"
    )

    assert mail.in_reply_to == ("<a@x.example>",)
    assert mail.references == ("<a@x.example>", "<b@x.example>", "<c@x.example>", "<d@x.example>")


def test_identifiers_hold_no_control_character_even_encoded() -> None:
    mail = read(HEAD + b"References: =?utf-8?q?=3Ca=1B=00b=40x=2Eexample=3E?=\r\n\r\nx")

    assert mail.references == ("<ab@x.example>",)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"", None),
        (b"Return-Path: <>\r\n", ""),
        (b"Return-Path: <Jane@X.example>\r\n", "jane@x.example"),
        (b"Return-Path: jane@x.example\r\n", "jane@x.example"),
    ],
)
def test_the_reverse_path_tells_absent_from_null(field: bytes, expected: str | None) -> None:
    assert read(field + HEAD + b"\r\nx").envelope_from == expected


def test_headers_keep_their_order_and_are_decoded() -> None:
    mail = read(b"X-One: 1\r\n" + HEAD + b"X-One: =?utf-8?Q?zwei_=C3=BC?=\r\n\r\nx")

    assert mail.header("x-one") == "1"
    assert mail.header_all("X-ONE") == ("1", "zwei ü")
    assert [name for name, _ in mail.headers] == ["X-One", "From", "To", "Subject", "X-One"]


@pytest.mark.parametrize(
    ("sender", "defect"),
    [
        (b"From: a@x.example\r\nFrom: b@x.example\r\n", "From: more than one field"),
        (b"From: a@x.example, b@x.example\r\n", "From: more than one address"),
        (b"From: it@x.example <evil@y.example>\r\n", "From: invalid-display-name"),
        (b'From: "a b"@x.example\r\n', "From: unusual-address"),
        (b"From: j\xc3\xa4ne@x.example\r\n", "From: unusual-address"),
        (b"From: (((\r\n", "From: no address"),
        (b"From: " + b"a" * 300 + b"@x.example\r\n", "From: invalid-address"),
        (b"", "From: missing"),
    ],
)
def test_every_doubt_about_the_sender_is_a_defect(sender: bytes, defect: str) -> None:
    assert defect in read(sender + b"Subject: x\r\n\r\nx").defects


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (b'"Jane <jane@x.example>', "jane@x.example"),
        (b"Jane <jane@x.example", "jane@x.example"),
        (b"Jane <<jane@x.example>>", "jane@x.example"),
        (b"<j..smith.@mobile.example>", "j..smith.@mobile.example"),
        (b"mailto:jane@x.example", "jane@x.example"),
        (b"Jane <jane@x.example> or <tom@x.example>", None),
        (b"Jane <jane at x.example>", None),
        (b"@@@@ <>", None),
    ],
)
def test_a_sender_that_the_grammar_refuses_is_shown_if_there_is_only_one(value: bytes, address: str | None) -> None:
    mail = read(b"From: " + value + b"\r\nSubject: x\r\n\r\nx")

    assert (mail.sender.address if mail.sender else None) == address
    assert "From: no address" in mail.defects


def test_an_ordinary_mail_has_no_defect() -> None:
    mail = read(HEAD + b"Date: Tue, 24 Nov 2026 09:30:00 +0100\r\nMessage-ID: <a@x.example>\r\n\r\nHello\r\n")

    assert mail.defects == ()
    assert mail.date == datetime(2026, 11, 24, 8, 30, tzinfo=UTC)
    assert mail.content_type == "text/plain"
    assert mail.report is None


def test_recipients_apart_by_semicolons_are_all_read() -> None:
    mail = read(HEAD + b"Cc: a@x.example; Tom <b@x.example>;\r\n\r\nx")

    assert [address.address for address in mail.cc] == ["a@x.example", "b@x.example"]


DSN = multipart(
    b"Content-Type: text/plain\r\n\r\nYour message could not be delivered.\r\n",
    b"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\nArrival-Date: x\r\n\r\n"
    b"Final-Recipient: rfc822; other@x.example\r\nAction: delivered\r\nStatus: 2.0.0\r\n\r\n"
    b"Original-Recipient: rfc822;Jane@AllSaints.example\r\nFinal-Recipient: rfc822; jane.s@host.example\r\n"
    b"Action: Failed\r\nStatus: 5.1.1 (no such user)\r\nDiagnostic-Code: smtp; 550 5.1.1 <jane.s@host.example>:\r\n"
    b" Recipient address rejected\r\n",
    b"Content-Type: text/rfc822-headers\r\n\r\nSubject: [AS-42]\r\nMessage-ID: <sd.ack.abc@allsaints.example>\r\n",
    subtype=b"report; report-type=delivery-status",
)


def test_a_delivery_report_names_the_failed_recipient_and_our_letter() -> None:
    mail = read(DSN)

    assert mail.report == DeliveryReport(
        recipient="jane@allsaints.example",
        action="failed",
        status="5.1.1",
        diagnostic="550 5.1.1 <jane.s@host.example>: Recipient address rejected",
        original_message_id="<sd.ack.abc@allsaints.example>",
    )
    assert [item.type for item in mail.attachments] == ["message/delivery-status", "text/rfc822-headers"]


def test_a_delivery_report_attached_by_a_person_is_not_a_report() -> None:
    report = DSN.replace(b"--b", b"--inner").replace(b"boundary=b", b"boundary=inner")

    mail = read(multipart(b"\r\nWhat does this mean?", b"Content-Type: message/rfc822\r\n\r\n" + report))

    assert mail.report is None
    assert [item.kind for item in mail.attachments] == [AttachmentKind.MAIL]


def test_an_attachment_is_kept_with_its_hash_kind_and_content_id() -> None:
    mail = read(
        multipart(
            b"\r\nHello",
            b"Content-Type: image/png\r\nContent-ID: <logo@x>\r\nContent-Disposition: inline\r\n"
            b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(b"picture"),
            b"Content-Type: image/png\r\nContent-Disposition: attachment; filename=a.png\r\n\r\nx",
        )
    )
    inline, attached = mail.attachments

    assert (inline.name, inline.kind, inline.content_id) == ("attachment.png", AttachmentKind.INLINE, "logo@x")
    assert (inline.content, inline.size) == (b"picture", 7)
    assert inline.sha256 == hashlib.sha256(b"picture").hexdigest()
    assert attached.kind is AttachmentKind.FILE


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        (b"Content-Disposition: attachment; filename=\"EUR.pdf\"; filename*=UTF-8''%e2%82%ac.pdf", "€.pdf"),
        ("Content-Disposition: attachment; filename*=UTF-8''Łódź.pdf".encode(), "Łódź.pdf"),
        (b"Content-Disposition: attachment; filename*=iso-8859-1'de'%DCber.pdf", "Über.pdf"),
        (b"Content-Disposition: attachment; filename=two words.pdf", "two words.pdf"),
        (b"Content-Type: application/octet-stream; NAME=a.pdf", "a.pdf"),
        (b"Content-Disposition: attachment; filename*0=a; filename*1=b.pdf", "ab.pdf"),
        (b"Content-Disposition: attachment; filename=" + b"x" * 1000 + b".pdf", "x" * 116 + ".pdf"),
        (b'Content-Disposition: attachment; filename="' + b"x" * 5000 + b'.pdf"', "x" * 120),
        (b'Content-Disposition: attachment; filename="a\xe2\x80\x8b.p\xe2\x80\xaedf"', "a.pdf"),
        (b'Content-Disposition: attachment; filename="..."', "attachment.bin"),
    ],
)
def test_a_file_name_is_read_and_made_safe(fields: bytes, name: str) -> None:
    mail = read(multipart(fields + b"\r\nContent-Type: application/octet-stream\r\n\r\nx"))

    assert [item.name for item in mail.attachments] == [name]


def test_parts_beyond_the_limit_stay_as_one_attachment() -> None:
    mail = read(multipart(*[b"\r\ntext"] * (PARTS + 50)))

    assert mail.text.count("text") < PARTS
    assert [item.type for item in mail.attachments] == ["application/octet-stream"]
    assert mail.attachments[0].content.count(b"text") + mail.text.count("text") == PARTS + 50


def test_attachments_beyond_the_limit_stay_as_one() -> None:
    mail = read(multipart(b"\r\nbody", *[b"Content-Type: image/gif\r\n\r\nGIF"] * (ATTACHMENTS + 20)))

    assert len(mail.attachments) == ATTACHMENTS
    assert mail.attachments[-1].content.count(b"GIF") == 21
    assert f"more than {ATTACHMENTS} attachments: the rest is kept as one" in mail.defects


def test_many_large_pages_are_read_up_to_a_megabyte_in_all() -> None:
    page = b"Content-Type: text/html\r\n\r\n" + b"<p>help</p>" * 7_000

    mail = read(multipart(*[page] * 190))

    assert 900_000 < 11 * mail.text.count("help") < 1_100_000


@pytest.mark.parametrize("depth", [DEPTH + 1, 300, 1000, 5000])
def test_parts_too_deep_stay_as_one_attachment(depth: int) -> None:
    opened = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(depth))

    mail = read(HEAD + opened + b"\r\ndeep\r\n")

    assert mail.text == ""
    assert len(mail.attachments) == 1
    assert mail.attachments[0].content.endswith(b"deep\r\n")


def test_a_header_block_beyond_its_limit_is_cut_and_the_body_kept() -> None:
    mail = read(HEAD + b"X: " + b"y" * 100_000 + b"\r\n" + b"X: y\r\n" * 60_000 + b"\r\nThe body")

    assert mail.text == "The body"
    assert len(mail.headers) <= 1000
    assert max(len(value) for _, value in mail.headers) <= 16 * 1024


def test_a_block_without_a_body_is_not_beyond_its_limit() -> None:
    mail = read(HEAD.rstrip())

    assert mail.subject == "Printer"
    assert mail.defects == ()


def test_lines_that_are_no_fields_are_put_up_with_twenty_times() -> None:
    stray = b"gateway was here\r\nX-Filter: yes\r\n"

    few, many = (read(HEAD + b"X-Filter: on\r\n" + stray * times + b"\r\nbody") for times in (10, 50))

    assert few.text == "body"
    assert few.header("X-Filter") == "on gateway was here"
    assert many.text.endswith("body")
    assert many.subject == "Printer"


def test_the_fingerprint_ignores_white_space_and_trace_and_sees_all_else() -> None:
    raw = HEAD + b"Date: Tue, 24 Nov 2026 09:30:00 +0100\r\n\r\nHello  there\r\n"
    same = b"Received: from x\r\n" + raw.replace(b"Hello  there", b"Hello\r\nthere")

    assert read(raw).content_sha256 == read(same).content_sha256
    for changed in (
        raw.replace(b"Hello", b"Hullo"),
        raw.replace(b"Printer", b"Mouse"),
        raw.replace(b"09:30", b"09:31"),
    ):
        assert read(changed).content_sha256 != read(raw).content_sha256


def test_an_oversize_mail_is_known_by_its_headers() -> None:
    mail = envelope(HEAD + b"Message-ID: <big@x.example>\r\n\r\nthe beginning of the body", 52_400_000)

    assert mail.oversize
    assert mail.message_id == "<big@x.example>"
    assert mail.sender is not None
    assert mail.text == "This mail is too large to read (52.4 MB); only its headers were taken."


def test_the_html_alternative_tells_where_history_begins_in_a_language_we_do_not_know() -> None:
    plain = (
        "Működik, *köszönöm*!\r\nAnna<mailto:anna@x.example> [cid:logo.png@01D]\r\n[image: Logo of school]\r\n"
        "3B osztály\r\n\r\nKüldő fél= IT Support\r\nEkkor= hétfő\r\n\r\nMelyik teremben?\r\n"
    )
    html = (
        "<p>Működik, <b>köszönöm</b>!</p><p><a href='mailto:anna@x.example'>Anna</a> <img src='cid:logo'></p>"
        "<p>3B osztály</p><div id=divRplyFwdMsg>Küldő</div><p>Melyik teremben?</p>"
    )
    head = b"Content-Type: text/%s; charset=utf-8\r\n\r\n"

    mail = read(multipart(head % b"plain" + plain.encode(), head % b"html" + html.encode(), subtype=b"alternative"))

    assert mail.new_text.startswith("Működik, *köszönöm*!\nAnna")
    assert mail.new_text.endswith("3B osztály")
    assert "Melyik teremben?" in mail.text


def test_html_beside_the_text_is_kept_unless_it_says_the_same() -> None:
    plain = b"\r\nThe report is below.\r\n"
    same = b"Content-Type: text/html\r\n\r\n<p>The <b>report</b> is below.</p>"
    other = b"Content-Type: text/html\r\n\r\n<p>Disk 3 failed.</p>"
    picture = b"Content-Type: image/gif\r\n\r\nGIF"

    mail = read(multipart(plain, same, other, picture))

    assert mail.text == "The report is below."
    assert [(item.name, item.size) for item in mail.attachments] == [("attachment.html", 21), ("attachment.gif", 3)]


def test_an_html_alternative_that_says_something_else_decides_nothing() -> None:
    plain = b"\r\nThe printer is on fire.\r\n"
    html = b"Content-Type: text/html\r\n\r\n<p>The weather is fine.</p><div id=divRplyFwdMsg>x</div>"

    mail = read(multipart(plain, html, subtype=b"alternative"))

    assert mail.new_text == "The printer is on fire."


@pytest.mark.parametrize("smime", [b"enveloped-data", b"signed-data"])
def test_a_mail_that_we_cannot_read_says_so(smime: bytes) -> None:
    mail = read(HEAD + b"Content-Type: application/pkcs7-mime; smime-type=" + smime + b"; name=smime.p7m\r\n\r\n0")

    assert any("cannot be read" in defect for defect in mail.defects)


def test_an_armoured_message_in_the_text_says_so() -> None:
    assert "encrypted (PGP): cannot be read" in read(HEAD + b"\r\n-----BEGIN PGP MESSAGE-----\r\nx").defects


def seconds(raw: bytes) -> float:
    start = time.process_time()
    parse(raw)
    return time.process_time() - start


@pytest.mark.parametrize(
    "unit",
    [
        b"The printer in room six is broken again, please help.\r\n",
        b"> quoted line\r\n",
        b"-- \r\n",
        b"\xe9",
        b"--b\r\n",
        b"--bb\r\n",
        b"=\r\n",
    ],
)
@pytest.mark.parametrize("encoding", [b"8bit", b"base64", b"quoted-printable"])
def test_ten_megabytes_cost_no_more_than_ten_times_one(unit: bytes, encoding: bytes) -> None:
    head = HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: " + encoding
    small, large = (head + b"\r\n\r\n" + unit * (size // len(unit)) for size in (1_000_000, 10_000_000))

    # A generous constant beside the factor: a busy machine must not look like a quadratic parser.
    assert seconds(large) < 20 * seconds(small) + 1
