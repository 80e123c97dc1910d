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
    assert told_by(WORDS.MAILING_PHRASES, lambda word: newsletter(f"{word}. Unsubscribe"), "newsletter-text") == set()
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


AWAY = "I am out of the office until Monday."
SHOP = "a@shop.example"
ANSWER = {"in_reply_to": ("<q@allsaints.example>",)}
ICS = Attachment(name="i.ics", type="text/calendar", size=1, sha256="", content=b"METHOD:CANCEL\r\n")


@pytest.mark.parametrize(
    ("seen", "rule"),
    [
        (mail(("X-Loop", "support@allsaints.example"), in_reply_to=(OURS,)), "x-loop"),
        (mail(("X-Loop", "support@allsaints.example"), ("Precedence", "bulk"),
              ("List-Id", "<a.allsaints.example>")), None),
        (mail(("Content-Type", "multipart/report; report-type=tlsrpt")), "aggregate-report"),
        (mail(subject="Report domain: x.example is slow"), None),
        (mail(subject="Report on Submitter: x"), None),
        (mail(report=DeliveryReport(recipient="a@b.example"), envelope_from="", subject="FW: x"), "null-return-path"),
        (mail(report=DeliveryReport(recipient="a@b.example"), envelope_from=""), "delivery-status"),
        (mail(subject="Complaint about message from the office"), None),
        (mail(("Thread-Index", "x"), sender="postmaster@x.example", subject="Undeliverable: x"), "bounce-text"),
        (mail(sender=SHOP, subject="Trip", text="It says user unknown."), None),
        (mail(subject="Minutes: today", text="The letter was read on Monday."), None),
        (mail(("Content-Type", "message/delivery-status")), "delivery-status"),
        (mail(("Content-Type", "multipart/report; report-type=delivery-status")), "delivery-status"),
        (mail(("From", "MAILER-DAEMON <>"), sender=None), "mailer-daemon"),
        (mail(("From", "Mailer-Daemon (Mail Delivery System)"), sender=None), "mailer-daemon"),
        (mail(sender="microsoftexchange329e71ec88ae4615bbc36ab6ce41109e@x.example", subject="Undelivered"),
              "bounce-text"),
        (mail(("X-Mailer", "Outlook"), sender="postmaster@x.example", subject="Re: user unknown",
              text="user unknown"), "postmaster"),
        (mail(sender=SHOP, envelope_from="", subject="Undelivered"), "bounce-text"),
        (mail(sender=SHOP, subject="Undelivered", text="What is that?"), None),
        (mail(envelope_from="", new_text="Please complete this verification."), "challenge"),
        (mail(("X-BoxTrapper", "1"), new_text="Please complete this verification."), "challenge"),
        (mail(reply_to=(Address(address="x-confirm-1@y.example"),), new_text="Verify you are human"), "challenge"),
        (mail(("Content-Type", 'text/calendar; method="REPLY"')), "calendar-reply"),
        (mail(("Preference", "auto_reply")), "auto-reply-field"),
        (mail(("X-Precedence", "auto_reply")), "auto-reply-field"),
        # Out-of-office answers: each mark, beside a question that would else make a person of the writer.
        (mail(("X-Auto-Response-Suppress", "All"), subject="Automatic reply: x", new_text="how to"), "absence-note"),
        (mail(("Precedence", "bulk"), subject="Automatic reply: x", new_text="how to"), "absence-note"),
        (mail(("Auto-Submitted", "auto-generated"), subject="Automatic reply: x", new_text="how to"), "absence-note"),
        (mail(envelope_from="", subject="Automatic reply: x", new_text="how to"), "absence-note"),
        (mail(subject="Automatic reply: x", new_text="how to", **ANSWER), "absence-note"),
        (mail(subject="Automatic reply: Re: x", new_text="how to"), "absence-note"),
        (mail(subject="Automatic reply: x", new_text="how to"), None),
        (mail(subject="Automatic reply: still on", new_text="It is."), None),
        (mail(subject="Automatic reply: still on", new_text=AWAY), "absence-note"),
        (mail(subject="Automatic reply: x", new_text="Gone fishing."), "absence-note"),
        (mail(subject="Automatic reply", new_text="Gone fishing."), None),
        (mail(("Auto-Submitted", "auto-generated"), subject="Annual leave", new_text=AWAY), "absence-note"),
        (mail(("Auto-Submitted", "auto-generated"), subject="Annual leave", new_text="12 days left"), "auto-submitted"),
        (mail(subject="Annual leave", envelope_from="", new_text="12 days left", **ANSWER), "absence-note"),
        (mail(("X-Auto-Response-Suppress", "All"), subject="Annual leave", new_text=AWAY), "absence-note"),
        (mail(("Auto-Submitted", "auto-generated"), subject="Annual leave", new_text=f"{AWAY} how to"), "absence-note"),
        (mail(subject="Annual leave", text=AWAY, new_text="", **ANSWER), "absence-note"),
        (mail(subject="Annual leave", new_text=AWAY), None),
        (mail(subject="Annual leave", new_text="Where is the form?", **ANSWER), None),
        (mail(("Thread-Topic", "x"), subject="Ārpus biroja: x", new_text="Sveiki!"), None),
        (mail(("Thread-Topic", "y"), subject="Ārpus biroja: x", new_text=AWAY), None),
        (mail(subject="Ārpus biroja: ", new_text=AWAY), None),
        (mail(("Thread-Topic", "x"), subject="Canceled: x", new_text=AWAY, attachments=(ICS,)), None),
        (mail(subject="Re: x", new_text=f"Thank you for your email. {AWAY} In an emergency ring."), "absence-text"),
        (mail(subject="x", new_text=f"Thank you for your email. {AWAY} In an emergency ring.", **ANSWER),
              "absence-text"),
        (mail(subject="Re: x", new_text="Thank you for your email. In an emergency ring us."), None),
        (mail(references=("<q@other.example>",), sender="noreply@x.example"), "machine-answer"),
        (mail(message_id=None, sender="noreply@x.example", in_reply_to=("<q@x.example>",)), "machine-address"),
        # Newsletters: each mark alone.
        (mail(("List-Unsubscribe", "<x>"), ("Precedence", "bulk"), sender=SHOP), "newsletter"),
        (mail(("List-Unsubscribe", "<x>"), ("Feedback-ID", "1:2"), sender=SHOP), "newsletter"),
        (mail(("List-Unsubscribe", "<x>"), sender=SHOP), None),
        (mail(("Precedence", "bulk"), sender=SHOP, text="Unsubscribe"), "newsletter-text"),
        (mail(("X-Campaign", "1"), sender=SHOP, text="Unsubscribe"), "newsletter-text"),
        (mail(sender="offers@shop.example", text="Unsubscribe"), "newsletter-text"),
        (mail(sender="offers@shop.example"), None),
        (mail(("Precedence", "bulk"), sender="offers@shop.example"), "newsletter-text"),
        (mail(sender="newsletter@shop.example"), "newsletter-text"),
        (mail(("Precedence", "bulk"), ("Sender", "owner-talk@lists.example"), sender=SHOP), "mailing-list"),
        (mail(("Precedence", "list"), sender=SHOP, envelope_from="talk-bounces@lists.example"), "mailing-list"),
        (mail(("Precedence", "bulk"), ("Sender", "owner-it@allsaints.example"), sender=SHOP), None),
        (mail(("Sender", "owner-talk@lists.example"), sender=SHOP), None),
        (mail(sender=SHOP, text="View in browser. Unsubscribe"), "newsletter-text"),
        (mail(sender="noreply@x.example", subject="Password expires", text="View in browser. Unsubscribe"),
              "machine-address"),
        (mail(("X-Cron-Env", "<A=b>")), "machine-software"),
        (mail(("X-FC-MachineGenerated", "true")), "machine-software"),
    ],
    ids=lambda value: value.subject if isinstance(value, Mail) else str(value),
)  # fmt: skip
def test_each_way_into_and_past_a_rule(seen: Mail, rule: str | None) -> None:
    assert screen.judge(seen, SETTINGS).rule == rule


def test_unconfigured_the_receiving_server_says_which_address_and_domain_are_ours() -> None:
    loop = mail(("X-Loop", "help@school.example"), ("Delivered-To", "help@school.example"), ("Precedence", "bulk"))
    group = (("List-Id", "<help.school.example>"), ("List-Post", "<mailto:help@school.example>"))
    parent = mail(*group, ("Delivered-To", "help@school.example"), sender="p@mailbox.example")
    teacher = mail(*group, sender="t@school.example", to=(Address(address="help@school.example"),))

    assert screen.judge(loop, screen.Settings()).rule == "x-loop"
    assert screen.judge(parent, screen.Settings()).rule is None
    assert screen.judge(teacher, screen.Settings()).rule is None


def test_a_list_host_that_writes_delivered_to_below_ours_is_not_the_school() -> None:
    post = mail(
        ("Delivered-To", "help@school.example"),
        ("Delivered-To", "talk@lists.example"),
        ("List-Id", "<talk.lists.example>"),
        sender="a@b.example",
    )

    assert screen.judge(post, screen.Settings()).rule == "mailing-list"


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


@pytest.mark.parametrize("phrase", screen.phrases.DELAY_PHRASES)
def test_a_letter_that_is_only_late_is_not_reported_as_failed(phrase: str) -> None:
    report = screen.report_of(mail(text=f"Your message to <a@b.example> {phrase}."))

    assert report is not None
    assert report.action == "delayed"


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
