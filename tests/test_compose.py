"""What a letter says, to whom, and what its bytes are."""

from __future__ import annotations

import io
import re
import time
from datetime import UTC, date, datetime, timedelta
from email.message import EmailMessage
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import desk
from desk import NOW, composer, envelope, html_of, read, text_of, ticket
from supportd import samples
from supportd.compose import Digest, Incident, Item, Report, ReportRow, Screened, message
from supportd.core.model import Address, Attachment, Deadlines, Evidence
from supportd.errors import Refused

COMPOSER = composer()
FIELDS = [
    "Date",
    "From",
    "To",
    "Reply-To",
    "Subject",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "MIME-Version",
    "Content-Type",
]


def flat(text: str) -> str:
    return " ".join(text.split())


# The head.


def test_an_acknowledgement_is_an_automatic_reply_in_her_thread() -> None:
    letter = COMPOSER.acknowledgement(envelope(), ticket())

    mail = read(letter)
    assert mail["From"] == "IT Support <support@allsaints.example>"
    assert mail["To"] == "jane@allsaints.example"
    assert mail["Reply-To"] == "support@allsaints.example"
    assert mail["Subject"] == "Re: [AS-123] Smartboard in Oak class is dead"
    assert mail["Message-ID"] == "<sd.ack.abc.def@allsaints.example>"
    assert mail["In-Reply-To"] == mail["References"] == "<her.mail@mail.example>"
    assert mail["Auto-Submitted"] == "auto-replied"
    assert mail["X-Auto-Response-Suppress"] == "All"
    assert (letter.key, letter.kind, letter.recipient) == ("ack:AS-123", "acknowledgement", "jane@allsaints.example")
    assert mail.keys() == FIELDS


def test_the_words_of_a_technician_are_not_automatic_and_everything_else_is() -> None:
    answer = read(COMPOSER.answer(envelope(), ticket(), author="Sam Carter", text="On my way."))
    alert = read(COMPOSER.alert(envelope(), ticket()))

    assert answer["Auto-Submitted"] is None
    assert alert["Auto-Submitted"] == "auto-generated"


def test_the_reply_address_of_a_ticket_is_where_answers_go() -> None:
    letter = COMPOSER.acknowledgement(envelope(reply_to="support+as-123.token@allsaints.example"), ticket())

    assert read(letter)["Reply-To"] == "support+as-123.token@allsaints.example"


def test_the_date_is_the_schools_own_in_summer_too() -> None:
    letter = COMPOSER.closing(envelope(now=datetime(2026, 9, 1, 9, 0, tzinfo=UTC)), ticket())

    assert read(letter)["Date"] == "Tue, 01 Sep 2026 10:00:00 +0100"


def test_long_identifiers_stay_as_they_are() -> None:
    long = "<CAM7abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789@mail.gmail.example>"

    data = COMPOSER.acknowledgement(envelope(in_reply_to=long, references=("<root@x.example>", long)), ticket()).data

    assert f"\r\nIn-Reply-To: {long}\r\n".encode() in data
    assert f"\r\nReferences: <root@x.example> {long}\r\n".encode() in data


def test_references_keep_the_first_and_the_last_eight() -> None:
    ids = [f"<{number}@x.example>" for number in range(30)]

    assert message.thread(ids[:-1], ids[-1]) == (ids[0], *ids[-8:])


def test_references_stay_below_900_characters_and_keep_the_first_and_the_last() -> None:
    ids = [f"<{number:0150}@x.example>" for number in range(12)]

    kept = message.thread(ids, "")

    assert sum(map(len, kept)) + len(kept) - 1 < 900
    assert (kept[0], kept[-1]) == (ids[0], ids[-1])


@pytest.mark.parametrize(
    "hostile", ["<a b@x>", "<a@x>\r\nBcc: v@x.example", "<é@x>", "<" + "a" * 900 + "@x>", "", "<>"]
)
def test_an_identifier_that_could_break_a_field_is_left_out(hostile: str) -> None:
    mail = read(COMPOSER.closing(envelope(in_reply_to=hostile, references=(hostile,)), ticket()))

    assert mail["In-Reply-To"] is None
    assert mail["References"] is None
    assert mail["Bcc"] is None


@pytest.mark.parametrize(
    "address",
    [
        "a@b>\r\nRCPT TO:<v@x.example>",
        "-oQ/tmp",
        '"a b"@x.example',
        "a" * 400 + "@x.example",
        "a@x.example, b@x.example",
        "a@b@x.example",
        "nobody",
        "",
        "jos\u00e9@x.example",
    ],
)
def test_an_address_that_is_not_plain_enters_no_field(address: str) -> None:
    with pytest.raises(Refused):
        COMPOSER.closing(envelope(recipient=address), ticket())


# The bytes.


def test_the_same_values_give_the_same_bytes() -> None:
    first = COMPOSER.alert(envelope(), ticket(), attachments=(_file("a.pdf"),))
    second = composer().alert(envelope(), ticket(), attachments=(_file("a.pdf"),))

    assert first.data == second.data


anything = st.text(st.characters(), max_size=300) | st.text("\r\n\t\0 .:=?<>\u202eé🖨{}%\"'&", max_size=300)


# Its own time is measured below; a busy machine must not decide here.
@settings(deadline=None)
@given(subject=anything, name=anything, text=anything, file=anything)
def test_no_text_whatever_adds_a_field_or_breaks_a_line(subject: str, name: str, text: str, file: str) -> None:
    hers = ticket(subject=subject, requester=Address(address="jane@allsaints.example", name=name), text=text)

    letter = COMPOSER.alert(envelope(), hers, attachments=(_file(file),))
    others = [
        COMPOSER.acknowledgement(envelope(), hers),
        COMPOSER.answer(envelope(), hers, author=name, text=text),
        COMPOSER.digest(envelope(), Digest(overdue=(Item(ticket=hers),), warnings=(text,))),
    ]

    for each in (letter, *others):
        assert message.scanned(each.data) == each.data
        assert read(each)["To"] == "jane@allsaints.example"
    mail = read(letter)
    assert mail.keys() == FIELDS
    assert mail["To"] == "jane@allsaints.example"
    assert [part.get_content_type() for part in mail.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "application/octet-stream",
    ]
    for line in letter.data.split(b"\r\n\r\n")[0].split(b"\r\n"):
        assert b"=?" not in line or len(line) <= 76


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"a\nb\r\n", "CRLF"),
        (b"a\rb\r\n", "CRLF"),
        (b"a\0\r\n", "7-bit"),
        (b"\xe9\r\n", "7-bit"),
        (b"a" * 999 + b"\r\n", "998"),
    ],
)
def test_bytes_that_would_break_the_wire_never_leave(data: bytes, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        message.scanned(data)


def test_a_lone_dot_and_a_smuggled_end_of_data_are_harmless() -> None:
    data = COMPOSER.answer(envelope(), ticket(), author="Sam", text="before\n.\nafter\r\n.\r\nMAIL FROM:<x>").data

    assert data.count(b"\n") == data.count(b"\r\n")


def test_an_encoded_word_that_a_stranger_wrote_is_shown_as_he_wrote_it() -> None:
    mail = read(COMPOSER.alert(envelope(), ticket(subject="=?utf-8?q?pay=20me?=")))

    assert mail["Subject"] == "[AS-123] 3 high: =?utf-8?q?pay=20me?="


def test_a_very_long_subject_is_cut_and_reads_back() -> None:
    mail = read(COMPOSER.acknowledgement(envelope(), ticket(subject="Ü" * 5000)))

    assert mail["Subject"].startswith("Re: [AS-123] ÜÜÜ")
    assert len(mail["Subject"]) == 300


# What it says.


def test_the_first_line_of_an_acknowledgement_says_that_we_have_it() -> None:
    text = text_of(COMPOSER.acknowledgement(envelope(), ticket()))

    assert text.splitlines()[0] == "We have your message. Your reference is AS-123."


def test_an_acknowledgement_says_how_serious_by_when_why_and_whether_anyone_is_there() -> None:
    text = flat(text_of(COMPOSER.acknowledgement(envelope(), ticket())))

    assert "We answer by: today 15:52" in text
    assert "Should be fixed by: tomorrow, Wed 25 Nov, 08:52" in text
    assert "IT support is open now, until 16:00." in text
    assert "We took it as high (level 3 of 6)" in text
    assert "because you wrote “whole class”" in text
    assert "Please do not send passwords." in text


def test_in_half_term_an_acknowledgement_says_when_it_opens() -> None:
    at = datetime(2026, 10, 27, 10, 0, tzinfo=UTC)

    text = flat(text_of(COMPOSER.acknowledgement(envelope(now=at), ticket())))

    why = desk.HOURS.day(date(2026, 10, 27)).closed_by
    assert "half term" in why
    assert f"IT support is closed now: {why}. It opens Mon 2 Nov, 08:00" in text


def test_an_outage_is_answered_at_once_or_as_soon_as_we_open() -> None:
    outage = ticket(level=1, level_name="outage", response_due=NOW + timedelta(minutes=5))

    while_open = text_of(COMPOSER.acknowledgement(envelope(), outage))
    at_night = text_of(COMPOSER.acknowledgement(envelope(now=NOW + timedelta(hours=5)), outage))

    assert "at once, today 14:57" in while_open
    assert "as soon as we open, today 14:57" in at_night


def test_a_question_has_no_time_by_which_it_is_fixed() -> None:
    question = ticket(level=6, level_name="informational", resolution_due=None)

    text = flat(text_of(COMPOSER.acknowledgement(envelope(), question)))

    assert "Should be fixed by: no fixed time, it is a question" in text


def test_after_the_last_term_the_deadlines_are_not_known_and_say_so() -> None:
    reason = "not known until term dates after 2027-03-25 are configured"
    at = datetime(2027, 3, 26, 9, 0, tzinfo=UTC)

    text = flat(
        text_of(
            COMPOSER.acknowledgement(
                envelope(now=at), ticket(response_due=None, resolution_due=None, due_reason=reason)
            )
        )
    )

    assert f"By when: {reason}." in text
    assert "When it opens again is not known yet." in text


def test_a_later_reporter_of_an_incident_hears_that_we_know() -> None:
    incident = Incident(
        service="internet", reports=7, since=NOW - timedelta(minutes=9), next_news_at=NOW + timedelta(minutes=30)
    )

    text = flat(text_of(COMPOSER.acknowledgement(envelope(), ticket(), incident=incident)))

    assert text.startswith("We know, and we are on it. Your reference is AS-123. 7 reports of this so far (internet)")
    assert "Next news: today 15:22" in text


def test_an_outsider_gets_none_of_his_own_words() -> None:
    words = "Cheap-Pills buy-now visit-us"
    his = ticket(
        subject=words,
        text=words,
        requester=Address(address="x@shop.example", name=words),
        evidence=(Evidence(words=words, field="subject", facet="x"),),
    )

    letter = COMPOSER.acknowledgement(envelope(recipient="x@shop.example"), his, outsider=True)

    assert read(letter)["Subject"] == "[AS-123] We have your message"
    for part in (text_of(letter), html_of(letter)):
        assert not any(word in part for word in words.split())


@pytest.mark.parametrize("hidden", [{"restricted": True}, {"verified": False}])
def test_what_may_not_be_mailed_is_in_no_letter_to_a_technician(hidden: dict[str, bool]) -> None:
    secret = "Xylophone"
    theirs = ticket(
        subject=secret,
        text=secret,
        requester=Address(address="someone@allsaints.example", name=secret),
        evidence=(Evidence(words=secret, field="body", facet="x"),),
        attachments=(_file(f"{secret}.pdf", secret.encode()),),
        **hidden,
    )
    author = Address(address="other@allsaints.example", name=secret)
    letters = [
        COMPOSER.alert(envelope(), theirs, attachments=theirs.attachments),
        COMPOSER.alerts(envelope(), (Item(ticket=theirs),)),
        COMPOSER.relay(envelope(), theirs, author=author, text=secret, attachments=theirs.attachments),
        COMPOSER.reminder(envelope(), theirs, clock="response", step="due", due_at=NOW),
        COMPOSER.escalation(envelope(), theirs, clock="response", step="due", due_at=NOW),
        COMPOSER.notice(envelope(), theirs, title="Merged"),
        COMPOSER.mistake(envelope(), theirs, problems=("?",), text=secret),
        COMPOSER.digest(envelope(), Digest(overdue=(Item(ticket=theirs),), waiting=(Item(ticket=theirs),))),
    ]

    for letter in letters:
        assert secret not in str(read(letter)["Subject"]) + text_of(letter) + html_of(letter), letter.kind
        assert "AS-123" in text_of(letter)
        assert list(read(letter).iter_attachments()) == []


def test_the_it_lead_is_told_and_not_asked_for_commands() -> None:
    proving = envelope(reply_to="support+as-123.token@allsaints.example")

    letter = COMPOSER.escalation(proving, ticket(), clock="response", step="overdue", due_at=NOW)

    assert "You get this as the IT lead" in flat(text_of(letter))
    assert "#ack" not in text_of(letter) + html_of(letter)


def test_who_writes_of_a_child_at_risk_is_told_not_to_wait_for_it() -> None:
    text = text_of(COMPOSER.acknowledgement(envelope(), ticket(restricted=True)))

    assert text.splitlines()[2].startswith("If a child may be at risk, do not wait for IT")
    assert "whole class" not in text


def test_an_alert_shows_the_address_beside_the_name_and_that_it_is_from_outside() -> None:
    stranger = ticket(requester=Address(address="sam@elsewhere.example", name="Sam Carter"))

    text = text_of(COMPOSER.alert(envelope(), stranger))

    assert "From: Sam Carter <sam@elsewhere.example> (outside the school)" in text


def test_an_alert_says_why_this_level_and_how_the_deadline_was_counted() -> None:
    text = flat(text_of(COMPOSER.alert(envelope(), ticket(row="a class"), explanation=("1 hour counted",))))

    assert "Why level 3: “whole class” (body, scope:class); row: a class." in text
    assert "How the deadlines were counted: - 1 hour counted" in text


def test_buttons_are_there_only_where_the_address_proves_who_writes() -> None:
    proving = "support+as-123.token@allsaints.example"

    with_token = html_of(COMPOSER.alert(envelope(reply_to=proving), ticket()))
    without = html_of(COMPOSER.alert(envelope(reply_to="support@allsaints.example"), ticket()))

    assert f'href="mailto:{proving}?subject=%5BAS-123%5D&amp;body=%23ack%0D%0A"' in with_token
    assert "mailto:" not in without


def test_a_correction_says_what_was_promised_before() -> None:
    text = flat(
        text_of(COMPOSER.correction(envelope(), ticket(), promised=Deadlines(response_due=NOW + timedelta(minutes=5))))
    )

    assert "Earlier we told you that we would answer by today 14:57." in text
    assert "We answer by: today 15:52" in text


def test_a_digest_is_a_worklist_whose_links_carry_commands() -> None:
    address = "support+as-123.3f9x2k7qpa@allsaints.example"
    late = Item(ticket=ticket(response_due=NOW - timedelta(hours=3)), reply_to=address)
    done = Item(ticket=ticket(reference="AS-99", resolved_at=NOW - timedelta(hours=20)), reply_to=address)

    letter = COMPOSER.digest(envelope(), Digest(overdue=(late,), resolved=(done,), warnings=("the disk is full",)))

    assert read(letter)["Subject"] == "IT support, Tue 24 Nov: 1 overdue, 0 due today"
    text = flat(text_of(letter))
    assert text.startswith(
        "1 overdue, 0 due today, 0 new overnight. Careful: the disk is full Overdue - AS-123, 3 high"
    )
    assert "reply was due today 11:52" in text
    assert "Resolved yesterday - AS-99" in text
    assert "Waiting" not in text
    links = re.findall(r'href="mailto:[^"]*subject=%5B([^"]*)%5D&amp;body=%23(\w+)%0D%0A"', html_of(letter))
    assert links == [("AS-123", "ack"), ("AS-123", "resolve"), ("AS-99", "reopen")]


def test_a_digest_of_a_bad_week_stays_short_enough_for_gmail() -> None:
    items = tuple(
        Item(ticket=ticket(subject="Smartboard & more " * 30), reply_to="support+as-123.3f9x2k7qpa@allsaints.example")
        for _ in range(200)
    )
    rows = tuple(ReportRow(level=level, name="&" * 20, tickets=1) for level in range(1, 7))

    letter = COMPOSER.digest(
        envelope(),
        Digest(
            overdue=items,
            due_today=items,
            at_risk=items,
            overnight=items,
            waiting=items,
            resolved=items,
            screened=(Screened(number=1, sender="a" * 60, reason="&" * 200, at=NOW),) * 100,
            report=Report(first=date(2026, 11, 16), last=date(2026, 11, 22), rows=rows),
        ),
    )

    assert len(html_of(letter).encode()) < 60_000
    assert "and 190 more: supportd ticket list" in text_of(letter)


@pytest.mark.parametrize(
    ("instant", "said"),
    [
        (datetime(2026, 11, 24, 15, 40, tzinfo=UTC), "today 15:40"),
        (datetime(2026, 11, 25, 9, 0, tzinfo=UTC), "tomorrow, Wed 25 Nov, 09:00"),
        (datetime(2026, 11, 23, 9, 0, tzinfo=UTC), "yesterday 09:00"),
        (datetime(2026, 11, 30, 8, 30, tzinfo=UTC), "Mon 30 Nov, 08:30"),
        (datetime(2027, 1, 4, 8, 30, tzinfo=UTC), "Mon 4 Jan 2027, 08:30"),
        (datetime(2027, 6, 7, 8, 30, tzinfo=UTC), "Mon 7 Jun 2027, 09:30"),
    ],
)
def test_instants_are_said_as_people_say_them(instant: datetime, said: str) -> None:
    text = text_of(COMPOSER.acknowledgement(envelope(), ticket(response_due=instant)))

    assert f"We answer by:        {said}\n" in text


# Files.


@pytest.mark.parametrize(
    ("name", "type", "sent_as", "sent_type"),
    [
        ("../../etc/passwd", "text/plain", "_.._etc_passwd", "text/plain"),
        ("board.svg", "image/svg+xml", "board.svg", "application/octet-stream"),
        ("page.html", "text/html", "page.html", "application/octet-stream"),
        ("photo\u202egnp.exe", "image/png", "photognp.exe", "image/png"),
        ("Foto für Zoë.jpg", "image/jpeg", "Foto für Zoë.jpg", "image/jpeg"),
        ("", "application/pdf", "attachment", "application/pdf"),
        ("x" * 5000 + ".pdf", "application/pdf", "x" * 80 + ".pdf", "application/pdf"),
        ("🖨" * 300, "application/pdf", "🖨" * 59, "application/pdf"),
    ],
)
def test_an_attachment_travels_as_data(name: str, type: str, sent_as: str, sent_type: str) -> None:
    letter = COMPOSER.alert(envelope(), ticket(), attachments=(_file(name, b"\0\xff\n.\n", type),))

    (part,) = cast("list[EmailMessage]", list(read(letter).iter_attachments()))
    assert part.get_filename() == sent_as
    assert part.get_content_type() == sent_type
    assert part.get_content_disposition() == "attachment"
    assert part.get_payload(decode=True) == b"\0\xff\n.\n"


def test_attachments_beyond_the_limit_are_named_but_stay_behind() -> None:
    small, large = _file("small.pdf"), _file("large.pdf", bytes(10_000_001))

    letter = COMPOSER.alert(envelope(), ticket(), attachments=(large, small))

    assert [part.get_filename() for part in read(letter).iter_attachments()] == ["small.pdf"]
    assert "large.pdf (10.0 MB, not sent along)" in text_of(letter)


def test_a_long_text_is_shortened_and_goes_along_whole() -> None:
    long = "\n".join(f"line {number} of a long story" for number in range(2000))

    letter = COMPOSER.answer(envelope(), ticket(), author="Sam", text=long)

    (part,) = cast("list[EmailMessage]", list(read(letter).iter_attachments()))
    assert part.get_filename() == "whole-message.txt"
    assert cast(bytes, part.get_payload(decode=True)).decode() == long
    assert "line 3 of" in text_of(letter)
    assert "line 1999 of" not in text_of(letter)


# The picture of a report.


@pytest.mark.parametrize(("missed", "is_shown"), [(0, False), (1, True), (400, True)])
def test_the_chart_shows_a_miss_however_rare(missed: int, is_shown: bool) -> None:
    rows = (ReportRow(level=3, name="high", tickets=400, response_met=400 - missed, response_missed=missed),)
    report = Report(first=date(2026, 11, 16), last=date(2026, 11, 22), rows=rows)

    letter = COMPOSER.report(envelope(), report)

    (part,) = (part for part in read(letter).walk() if part.get_content_type() == "image/png")
    assert part["Content-ID"] == "<attainment>"
    assert 'src="cid:attainment"' in html_of(letter)
    assert f"{400 - missed} of 400 replies" in text_of(letter)
    picture = Image.open(io.BytesIO(cast(bytes, part.get_payload(decode=True)))).convert("RGB")
    # Below the legend, which shows the colour of a miss in any case.
    bars = picture.crop((292, 80, 852, picture.height))
    orange = [colour for _, colour in bars.getcolors(1_000_000) or () if colour[0] > 200 and colour[2] < 120]
    assert bool(orange) == is_shown


def test_a_week_without_tickets_has_no_chart() -> None:
    letter = COMPOSER.report(envelope(), Report(first=date(2026, 11, 16), last=date(2026, 11, 22)))

    assert [part.get_content_type() for part in read(letter).walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]
    assert "cid:" not in html_of(letter)


# Every letter.


def test_an_acknowledgement_costs_at_most_a_millisecond_and_a_half() -> None:
    COMPOSER.acknowledgement(envelope(), ticket())

    cheapest = min(_processor_seconds(50) for _ in range(5))

    assert cheapest / 50 < 0.0015


def _processor_seconds(times: int) -> float:
    start = time.process_time()
    for _ in range(times):
        COMPOSER.acknowledgement(envelope(), ticket())
    return time.process_time() - start


def test_every_kind_of_letter_has_a_sample() -> None:
    kinds = {sample.write().kind for sample in samples.every(COMPOSER, desk.HOURS, desk.POLICY, NOW)}

    assert kinds == set(samples.NAMES)


def _file(name: str, content: bytes = b"content", type: str = "application/octet-stream") -> Attachment:
    return Attachment(name=name, type=type, size=len(content), sha256="", content=content)
