"""What the corpus of ``mails/`` cannot show by files: settings, order, the words of old bounces, and cost."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from supportd.core import screen
from supportd.core.model import Address, Attachment, AttachmentKind, DeliveryReport, Mail, Verdict

OURS = "<sd.ack.claim.mac@allsaints.example>"
SETTINGS = screen.Settings(
    own_addresses=frozenset({"support@allsaints.example"}),
    staff_domains=frozenset({"allsaints.example"}),
    blocked=frozenset({"leads.example", "caller@agency.example"}),
    machine_senders=frozenset({"boiler@heating.example"}),
    is_own_message_id=lambda message_id: message_id == OURS,
)


def mail(*fields: tuple[str, str], sender: str | None = "m.kaur@allsaints.example", **over: object) -> Mail:
    usual = Mail(
        message_id="<1@allsaints.example>",
        sender=Address(address=sender) if sender else None,
        subject="No sound in Year 3",
        text="The speakers are dead.",
        new_text="The speakers are dead.",
        headers=fields,
    )
    return replace(usual, **over)  # type: ignore[arg-type]


def folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def test_a_teacher_without_any_mark_is_a_person() -> None:
    screening = screen.judge(mail(), SETTINGS)

    assert (screening.verdict, screening.rule, screening.automatic) == (Verdict.TICKET, None, False)


@pytest.mark.parametrize(
    "value",
    ["auto-replied", "Auto-Replied", "AUTO-REPLIED", " auto-replied ", "auto-replied; owner-email=\"a@b.example\"",
     "auto-replied (vacation)", "(by a robot) auto-replied", "auto-replied;x=y", "\"auto-replied\""],
)  # fmt: skip
@pytest.mark.parametrize("name", ["Auto-Submitted", "auto-submitted", "AUTO-SUBMITTED"])
def test_auto_submitted_is_read_in_any_case_with_comments_and_parameters(name: str, value: str) -> None:
    assert screen.judge(mail((name, value)), SETTINGS).rule == "auto-replied"


@pytest.mark.parametrize("value", ["no", "No", "NO", "(a person) no", "no; by=hand", "", "(empty)"])
def test_auto_submitted_no_is_a_person(value: str) -> None:
    screening = screen.judge(mail(("Auto-Submitted", value)), SETTINGS)

    assert (screening.rule, screening.automatic) == (None, False)


@pytest.mark.parametrize("value", ["auto-generated", "auto-notified", "yes", "auto", "generated"])
def test_any_other_auto_submitted_opens_a_ticket_that_is_never_answered(value: str) -> None:
    screening = screen.judge(mail(("Auto-Submitted", value)), SETTINGS)

    assert (screening.verdict, screening.automatic) == (Verdict.TICKET, True)


@pytest.mark.parametrize(
    ("sender", "rule"),
    [
        ("anyone@leads.example", "blocked-sender"),
        ("anyone@eu.leads.example", "blocked-sender"),
        ("caller@agency.example", "blocked-sender"),
        ("other@agency.example", None),
        ("anyone@notleads.example", None),
        ("boiler@heating.example", "machine-sender"),
        ("support@allsaints.example", "own-address"),
    ],
)
def test_the_configuration_names_addresses_and_domains(sender: str, rule: str | None) -> None:
    assert screen.judge(mail(sender=sender), SETTINGS).rule == rule


def test_a_bounce_from_a_blocked_domain_is_still_a_bounce() -> None:
    bounce = mail(("X-Failed-Recipients", "a@leads.example"), sender="mailer-daemon@leads.example")

    assert screen.judge(bounce, SETTINGS).bounce


def test_a_known_machine_that_marks_itself_auto_replied_still_opens_a_ticket() -> None:
    alarm = mail(("Auto-Submitted", "auto-replied"), sender="boiler@heating.example")

    assert screen.judge(alarm, SETTINGS).verdict is Verdict.TICKET


def test_our_own_message_id_counts_only_with_its_proof() -> None:
    ours = mail(message_id=OURS)

    assert screen.judge(ours, SETTINGS).rule == "own-message-id"
    assert screen.judge(ours, screen.Settings()).rule is None


WORDS = screen.phrases


def told_by(table: Iterable[str], build: Callable[[str], Mail], rule: str) -> set[str]:
    """Return the words of *table* whose mail the rule does not take: each is dead."""
    return {word for word in table if screen.judge(build(word), SETTINGS).rule != rule}


def test_every_prefix_of_an_automatic_reply_is_known_bare() -> None:
    def note(prefix: str) -> Mail:
        return mail(subject=f"{prefix.capitalize()}: No sound", text="...", new_text="...")

    assert told_by(WORDS.AUTOMATIC_REPLY_PREFIXES, note, "absence-note") == set()


def test_every_subject_of_an_absence_is_known_beside_an_absence() -> None:
    def note(subject: str) -> Mail:
        return mail(subject=subject, new_text="I am on leave.", in_reply_to=(OURS,))

    assert told_by(WORDS.ABSENCE_SUBJECTS, note, "absence-note") == set()
    assert told_by((f"Bo {ending}" for ending in WORDS.ABSENCE_ENDINGS), note, "absence-note") == set()


def test_every_phrase_of_an_absence_is_known_below_its_subject() -> None:
    def note(phrase: str) -> Mail:
        return mail(subject="Out of office", new_text=f"Hello, {phrase} until Friday.", in_reply_to=(OURS,))

    assert told_by(WORDS.ABSENCE_PHRASES, note, "absence-note") == set()


def test_every_request_makes_a_mail_about_an_absence_a_call_for_help() -> None:
    def question(phrase: str) -> Mail:
        return mail(subject="Out of office: mine", new_text=f"I am on leave. {phrase} it", in_reply_to=(OURS,))

    assert {word for word in WORDS.REQUEST_PHRASES if screen.judge(question(word), SETTINGS).rule} == set()


def test_every_sender_subject_and_phrase_of_a_bounce_is_known() -> None:
    def daemon(local: str) -> Mail:
        return mail(sender=f"{local}@host.example")

    def postmaster(text: str, subject: str = "Notice") -> Mail:
        return mail(sender="postmaster@host.example", text=text, subject=subject)

    def named(name: str) -> Mail:
        return mail(("From", f"{name} <x@host.example>"), sender=None, subject="Undelivered")

    assert told_by(WORDS.BOUNCE_SENDERS, daemon, "mailer-daemon") == set()
    assert told_by(WORDS.BOUNCE_SUBJECTS, lambda subject: postmaster("...", subject), "bounce-text") == set()
    assert told_by(WORDS.BOUNCE_PHRASES, postmaster, "bounce-text") == set()
    assert told_by(WORDS.BOUNCE_NAMES, named, "bounce-text") == set()
    assert told_by(WORDS.POSTMASTERS, daemon, "postmaster") == set()


def test_every_word_of_receipts_and_challenges_is_known() -> None:
    def receipt(subject: str, text: str = "Your message was read on Monday.") -> Mail:
        return mail(subject=f"{subject}: No sound", text=text)

    def challenge(phrase: str) -> Mail:
        return mail(("Auto-Submitted", "auto-generated"), new_text=f"Hello, {phrase} here.")

    assert told_by(WORDS.READ_SUBJECTS, receipt, "read-receipt-text") == set()
    assert told_by(WORDS.READ_PHRASES, lambda phrase: receipt("Read", phrase), "read-receipt-text") == set()
    assert told_by(WORDS.CHALLENGE_PHRASES, challenge, "challenge") == set()


def test_every_address_of_a_machine_is_known() -> None:
    def machine(local: str) -> Mail:
        return mail(sender=f"{local}@host.example")

    assert told_by(WORDS.NO_REPLY_WORDS, machine, "machine-address") == set()
    assert told_by((f"hall.{word}2" for word in WORDS.MACHINE_TOKENS), machine, "machine-address") == set()
    assert told_by((f"{name}01" for name in WORDS.MACHINE_NAMES), machine, "machine-address") == set()
    assert told_by((f"{name}-hall" for name in WORDS.MACHINE_FIRST_NAMES), machine, "machine-address") == set()


def test_every_software_and_subject_of_a_machine_is_known() -> None:
    scan = Attachment(name="scan.pdf", type="application/pdf", size=1, sha256="")

    assert told_by(WORDS.MACHINE_SOFTWARE, lambda word: mail(("X-Mailer", f"{word} 1.2")), "machine-software") == set()
    assert told_by(WORDS.ALERT_SUBJECTS, lambda subject: mail(subject=f"{subject} x"), "alert-subject") == set()
    assert told_by(WORDS.SCAN_SUBJECTS, lambda subject: mail(subject=subject, attachments=(scan,)), "scan") == set()


def test_every_field_of_responders_and_lists_is_known() -> None:
    assert told_by(WORDS.AUTO_REPLY_FIELDS, lambda name: mail((name, "yes")), "auto-reply-field") == set()
    assert (
        told_by(WORDS.LIST_FIELDS, lambda name: mail((name, "<x.lists.example>"), sender="a@b.example"), "mailing-list")
        == set()
    )
    assert (
        told_by(
            WORDS.CAMPAIGN_FIELDS,
            lambda name: mail((name, "1"), ("List-Unsubscribe", "<https://x.example>")),
            "newsletter",
        )
        == set()
    )


def test_every_word_of_newsletters_and_automatic_texts_is_known() -> None:
    def newsletter(text: str) -> Mail:
        return mail(sender="a@shop.example", subject="Year 3", text=text, new_text=text)

    assert (
        told_by(WORDS.UNSUBSCRIBE_WORDS, lambda word: newsletter(f"View in browser. To {word}: x"), "newsletter-text")
        == set()
    )
    assert told_by(WORDS.BROWSER_PHRASES, lambda word: newsletter(f"{word}. Unsubscribe"), "newsletter-text") == set()
    assert told_by(WORDS.AUTOMATED_PHRASES, newsletter, "automated-text") == set()
    assert (
        told_by(WORDS.RECEIPT_PHRASES, lambda phrase: newsletter(f"{phrase} 5. Please quote this."), "automated-text")
        == set()
    )
    assert (
        told_by(WORDS.RECEIPT_MANNERS, lambda phrase: newsletter(f"Your ticket number: 5. {phrase}."), "automated-text")
        == set()
    )


def test_every_mail_client_is_a_trace_of_a_person() -> None:
    def alert(client: str) -> Mail:
        return mail(("User-Agent", client), subject="** PROBLEM alert **")

    assert {client for client in WORDS.MAIL_CLIENTS if screen.judge(alert(client), SETTINGS).rule} == set()


def test_all_phrases_are_folded_as_what_they_are_compared_with() -> None:
    for name, table in vars(screen.phrases).items():
        if name.isupper():
            assert {phrase for phrase in table if folded(phrase) != phrase.strip()} == set(), name


def test_rules_have_unique_names_and_reasons() -> None:
    assert len({rule.name for rule in screen.RULES}) == len(screen.RULES)
    assert len({rule.reason for rule in screen.RULES}) == len(screen.RULES)


def test_a_calendar_reply_in_lower_case_is_known() -> None:
    part = Attachment(
        name="r.ics", type="text/calendar", size=1, sha256="", kind=AttachmentKind.CALENDAR, content=b"method:reply\r\n"
    )

    assert screen.judge(mail(attachments=(part,)), SETTINGS).kind == "calendar-response"


QMAIL = """Hi. This is the qmail-send program at qm.charity.example.
I'm afraid I wasn't able to deliver your message to the following addresses.

<Volunteer@qm.charity.example>:
Sorry, no mailbox here by that name. (#5.1.1)

--- Below this line is a copy of the message.

Return-Path: <support@allsaints.example>
From: support@allsaints.example
Message-ID: <sd.ack.a.b@allsaints.example>
"""
EXIM = """This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  old.head@heads.example
    Unrouteable address

------ This is a copy of the message, including all the headers. ------

Message-Id: <sd.ack.a.b@allsaints.example>
"""
EXCHANGE = """Delivery has failed to these recipients or groups:

parking@council.example<mailto:parking@council.example>
The email address you entered couldn't be found.

Message-ID: <sd.ack.a.b@allsaints.example>
"""
GMAIL = """Delivery to the following recipient failed permanently:

     ex.pupil@gmail.example

Technical details of permanent failure:

----- Original message -----

Message-ID: <sd.ack.a.b@allsaints.example>
"""
POSTFIX = """This is the mail system at host mx1.allsaints.example.

<pat@mailbox.example>: host mx.mailbox.example[198.51.100.7] said: 550 User unknown

Message-ID: <sd.ack.a.b@allsaints.example>
"""


@pytest.mark.parametrize(
    ("text", "recipient", "diagnostic"),
    [
        (QMAIL, "volunteer@qm.charity.example", "Sorry, no mailbox here by that name. (#5.1.1)"),
        (EXIM, "old.head@heads.example", "Unrouteable address"),
        (EXCHANGE, "parking@council.example", "The email address you entered couldn't be found."),
        (GMAIL, "ex.pupil@gmail.example", "Technical details of permanent failure:"),
        (POSTFIX, "pat@mailbox.example", "host mx.mailbox.example[198.51.100.7] said: 550 User unknown"),
    ],
)
def test_an_old_bounce_tells_in_words_whom_and_which_letter_it_concerns(
    text: str, recipient: str, diagnostic: str
) -> None:
    report = screen.report_of(mail(text=text))

    assert report == DeliveryReport(
        recipient=recipient,
        action="failed",
        diagnostic=diagnostic,
        original_message_id="<sd.ack.a.b@allsaints.example>",
    )


def test_the_field_of_exim_outranks_the_words() -> None:
    report = screen.report_of(mail(("X-Failed-Recipients", "First@mailbox.example, second@mailbox.example"), text=EXIM))

    assert report is not None
    assert report.recipient == "first@mailbox.example"


def test_a_structured_report_is_completed_by_the_returned_headers() -> None:
    returned = Attachment(
        name="h", type="text/rfc822-headers", size=1, sha256="", content=b"Subject: x\r\nMessage-ID: <a@b>\r\n"
    )
    bare = mail(report=DeliveryReport(recipient="p@q.example", action="delayed"), attachments=(returned,))

    report = screen.report_of(bare)

    assert report == DeliveryReport(recipient="p@q.example", action="delayed", original_message_id="<a@b>")


def test_an_ordinary_text_reports_nothing() -> None:
    assert screen.report_of(mail(text="Could you please:\n\ncome to Year 3\n\nThanks")) is None


@pytest.mark.parametrize(
    "hostile",
    [
        "(" * 100_000,
        "a;" * 100_000,
        "<a@b " * 50_000,
        "re: " * 50_000,
        "[x]" * 50_000,
        "auto " * 50_000,
        ":\n" * 100_000,
    ],
    ids=["parentheses", "parameters", "angles", "replies", "tags", "words", "colons"],
)
def test_a_hostile_mail_costs_no_more_than_its_length(hostile: str) -> None:
    fields = tuple(
        (name, hostile) for name in ("Auto-Submitted", "From", "List-Id", "X-Loop", "Content-Type", "X-Mailer")
    )
    bad = mail(
        *fields, subject=hostile, text=hostile, new_text=hostile, sender="postmaster@x.example", envelope_from=""
    )

    began = time.perf_counter()
    screen.judge(bad, SETTINGS)
    screen.report_of(bad)

    # A usual mail takes 0.2 ms; a quadratic step over 100,000 characters would take minutes.
    assert time.perf_counter() - began < 0.5
