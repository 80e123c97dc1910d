"""Decides whom supportd must not answer: one mail in, one screening with its reason out, without any ticket history.

RFC 3834 is the law, practice fills its gaps.  To screen a teacher's call for help is worse than to open a ticket for a
machine, so a rule screens only on proof; where a machine merely *may* have written, the mail opens a ticket that
nothing automatic answers.  ``RULES`` below is the policy: ordered, named, each with its reason; the first that fires
decides.

1. Our own letters and loops.
2. Reports about letters: complaints, receipts, bounces.
3. Challenges and calendar answers.
4. What the configuration says of this sender.
5. Automatic answers, marked (RFC 3834) and unmarked (by their subjects in many languages).
6. Newsletters and mailing lists; a group of the school itself is only another way to our door.
7. Machines that call for help: a ticket, never an answer.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from supportd.core import phrases
from supportd.core.model import Attachment, DeliveryReport, Mail, Screening, Verdict

# How much of a text is read for phrases: they stand at its head, and a long mail must not cost more than a usual one.
HEAD_CHARACTERS = 4_000
# RFC 5321 6.3 lets a relay refuse at 100 Received fields and Postfix refuses at 50, so that no person's mail has more.
MOST_HOPS = 50

# Exchange writes its system messages from this name, the same in every organisation.
EXCHANGE_SENDER = "microsoftexchange329e71ec88ae4615bbc36ab6ce41109e"

# How lists without list fields name themselves in Sender and the reverse-path.
LIST_OWNERS = ("-owner", "-bounces", "-request")


def _no_id_is_ours(_: str) -> bool:
    """Return False: without the key no Message-ID can be proved to be ours."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What screening knows of the school.  Entries of *blocked* and *machine_senders* are addresses or domains.

    *is_own_message_id* proves by its HMAC that a Message-ID is one of ours.
    """

    own_addresses: frozenset[str] = frozenset()
    staff_domains: frozenset[str] = frozenset()
    blocked: frozenset[str] = frozenset()
    machine_senders: frozenset[str] = frozenset()
    is_own_message_id: Callable[[str], bool] = _no_id_is_ours


# -- What the rules look at --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """One mail, read once for all rules; every text is folded for comparing."""

    mail: Mail
    settings: Settings
    fields: Mapping[str, tuple[str, ...]]
    sender: str
    name: str
    subject: str
    head: str  # of the sender's own words
    whole: str  # of the body with what it quotes

    def has(self, *names: str) -> bool:
        """Return whether one of the fields is there."""
        return any(name in self.fields for name in names)

    def keyword(self, name: str) -> str:
        """Return the keyword that opens the field, comments and parameters dropped (RFC 3834 5.2), or nothing."""
        values = self.fields.get(name, ())
        return _keyword(values[0]) if values else ""

    @property
    def content_type(self) -> str:
        """Return the Content-Type field with its parameters, or the type alone."""
        return (self.fields.get("content-type") or (self.mail.content_type,))[0]

    @property
    def local(self) -> str:
        return self.sender.rpartition("@")[0] or self.sender

    @property
    def domain(self) -> str:
        return self.sender.rpartition("@")[2] if "@" in self.sender else ""

    @property
    def is_from_staff(self) -> bool:
        return self.domain in self.settings.staff_domains

    @property
    def is_forward(self) -> bool:
        return self.subject.startswith(phrases.FORWARD_PREFIXES)

    @property
    def answers(self) -> tuple[str, ...]:
        """Return the Message-IDs that this mail says it follows."""
        return self.mail.in_reply_to + self.mail.references

    @property
    def answers_us(self) -> bool:
        return any(self.settings.is_own_message_id(message_id) for message_id in self.answers[-20:])

    @property
    def answers_another(self) -> bool:
        """Return whether the mail answers a mail of somebody else; alerts refer to earlier alerts of their own."""
        if self.answers_us:
            return True
        homes = {_id_domain(self.mail.message_id or ""), self.domain} - {""}
        asked = [_id_domain(message_id) for message_id in self.mail.in_reply_to or self.mail.references[-1:]]
        return any(not any(_within(domain, home) for home in homes) for domain in asked)

    @property
    def auto_submitted(self) -> str:
        """Return the first value of Auto-Submitted that is not ``no`` (RFC 3834 5), or nothing."""
        keywords = (_keyword(value) for value in self.fields.get("auto-submitted", ()))
        return next((keyword for keyword in keywords if keyword not in ("no", "")), "")

    @property
    def says_a_person_wrote(self) -> bool:
        """Return whether ``Auto-Submitted: no`` stands there (RFC 3834 5.1) or a mail client has left its traces."""
        if any(_keyword(value) == "no" for value in self.fields.get("auto-submitted", ())):
            return True
        if self.has("thread-index", "thread-topic", "x-gmail-original-message-id"):
            return True
        if (self.mail.message_id or "").endswith("@mail.gmail.com>"):
            return True
        software = " ".join(self.fields.get("x-mailer", ()) + self.fields.get("user-agent", ())).casefold()
        return _contains(software, phrases.MAIL_CLIENTS)

    @property
    def precedence(self) -> str:
        return self.keyword("precedence") or self.keyword("x-precedence")

    @property
    def has_null_path(self) -> bool:
        return self.mail.envelope_from == ""

    @property
    def asks(self) -> bool:
        return _contains(self.head, phrases.REQUEST_PHRASES) or _contains(self.subject, phrases.REQUEST_PHRASES)

    @property
    def has_no_reply_address(self) -> bool:
        """Return whether the address itself says that nobody reads what is sent there."""
        return _contains("".join(_words(self.local)), phrases.NO_REPLY_WORDS)

    @property
    def has_machine_address(self) -> bool:
        """Return whether no person has this address (``no-reply``, ``prtg``, ``scanner-room4``)."""
        local = self.local.partition("+")[0]
        if any(word.rstrip("0123456789") in phrases.MACHINE_TOKENS for word in _words(local)):
            return True
        if self.has_no_reply_address or local.rstrip("0123456789-_.") in phrases.MACHINE_NAMES:
            return True
        first = local.replace("_", "-").partition("-")[0]
        return first in phrases.MACHINE_FIRST_NAMES or local.startswith(EXCHANGE_SENDER)


def _facts(mail: Mail, settings: Settings) -> _Facts:
    """Return *mail* read for the rules."""
    fields: dict[str, tuple[str, ...]] = {}
    for name, value in mail.headers:
        key = name.strip().casefold()
        fields[key] = (*fields.get(key, ()), value.strip())
    sender, name = (mail.sender.address.casefold(), mail.sender.name) if mail.sender else ("", "")
    if not sender:
        # Bounces come from addresses that no grammar accepts: <MAILER-DAEMON>, MAILER-DAEMON (Mail Delivery System).
        raw = fields.get("from", ("",))[0][:1_000]
        name, bracket, rest = raw.rpartition("<")
        sender = (rest.partition(">")[0] if bracket else rest.partition("(")[0]).strip().casefold()
        name = name or raw
    return _Facts(
        mail=mail,
        settings=settings,
        fields=fields,
        sender=sender,
        name=_folded(name).strip(' "'),
        subject=_bare_subject(mail.subject),
        head=_folded((mail.new_text or mail.text)[:HEAD_CHARACTERS]),
        whole=_folded(mail.text[:HEAD_CHARACTERS]),
    )


def _folded(text: str) -> str:
    """Return *text* in lower case and compatibility form, each run of white space one space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _bare_subject(subject: str) -> str:
    """Return the subject folded, without the tags that gateways and we put before it (``[EXTERNAL]``, ``[AS-12]``).

    A tag that is itself the mark of an answer (``[Auto-Reply]``) becomes its prefix.
    """
    bare = _folded(subject[:1_000]).replace(" :", ":")
    for _ in range(3):
        if bare.startswith("[") and "]" in bare:
            tag, _, rest = bare[1:].partition("]")
            if tag in phrases.AUTOMATIC_REPLY_PREFIXES:
                return f"{tag}: {rest.lstrip(' -:')}"
            bare = rest.lstrip(" -:")
        for tag in phrases.GATEWAY_TAGS:
            bare = bare.removeprefix(tag).lstrip()
    return bare


def _unaccented(text: str) -> str:
    """Return *text* without its accents: old servers drop them."""
    return "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))


def _keyword(value: str) -> str:
    """Return the first word of a field in lower case, comments in parentheses and parameters dropped."""
    value = value[:1_000]
    if "(" in value:
        depth, plain = 0, []
        for char in value:
            if char == "(":
                depth += 1
            elif char == ")":
                depth = max(0, depth - 1)
            elif depth == 0:
                plain.append(char)
        value = "".join(plain)
    words = value.replace(";", " ").replace(",", " ").split(maxsplit=1)
    return words[0].strip("\"'").casefold() if words else ""


def _parameter(value: str, name: str) -> str:
    """Return the parameter *name* of a structured field such as Content-Type (RFC 2045 5.1), in lower case."""
    for piece in value[:2_000].split(";")[1:]:
        key, _, text = piece.partition("=")
        if key.strip().casefold() == name:
            return text.partition("(")[0].strip().strip('"').casefold()
    return ""


def _words(text: str) -> list[str]:
    """Return the runs of letters and digits of *text*."""
    return "".join(char if char.isalnum() else " " for char in text.casefold()).split()


def _contains(text: str, words: Iterable[str]) -> bool:
    return any(word in text for word in words)


def _id_domain(message_id: str) -> str:
    """Return the right-hand side of a Message-ID in lower case."""
    return message_id.rpartition("@")[2].strip("<> ").casefold()


def _within(domain: str, home: str) -> bool:
    """Return whether *domain* is *home* or lies below it, or the other way round."""
    return domain == home or domain.endswith("." + home) or home.endswith("." + domain)


def _is_listed(facts: _Facts, entries: frozenset[str]) -> bool:
    """Return whether the sender's address, or its domain or one above it, is among *entries*."""
    return facts.sender in entries or any(_below(facts.domain, entry.lstrip("@")) for entry in entries)


def _below(domain: str, entry: str) -> bool:
    """Return whether *domain* is *entry* or lies below it."""
    return domain == entry or domain.endswith("." + entry)


_AUTOMATIC_REPLY_PREFIXES = frozenset(_unaccented(prefix) for prefix in phrases.AUTOMATIC_REPLY_PREFIXES)


# -- The predicates, in the order of the rules -------------------------------------------------------------------------


def _has_own_message_id(facts: _Facts) -> bool:
    return facts.settings.is_own_message_id(facts.mail.message_id or "")


def _is_own_letter_renamed(facts: _Facts) -> bool:
    # Some relays give a letter a new Message-ID; that it is automatic stays.  Without that mark it may be a person:
    # a colleague in the shared mailbox, or anybody whose From a group has rewritten to its own.
    return facts.sender in facts.settings.own_addresses and facts.auto_submitted != ""


def _carries_our_loop_mark(facts: _Facts) -> bool:
    # A list that stands for support@ writes X-Loop too, so that the mark must be on an answer.
    marked = " ".join(facts.fields.get("x-loop", ()))[:1_000].casefold().split()
    ours = facts.settings.own_addresses or frozenset(_delivered_to(facts))
    is_answer = facts.answers_us or _is_marked_as_answer(facts)
    return is_answer and not facts.has("list-id") and any(address.strip("<>,") in ours for address in marked)


def _delivered_to(facts: _Facts) -> list[str]:
    """Return the addresses that the receiving server itself says it delivered to."""
    fields = ("delivered-to", "x-original-to", "envelope-to", "x-delivered-to")
    return [value.strip("<> ").casefold() for name in fields for value in facts.fields.get(name, ()) if "@" in value]


def _has_too_many_hops(facts: _Facts) -> bool:
    return len(facts.fields.get("received", ())) > MOST_HOPS


def _report_type(facts: _Facts) -> str:
    """Return the report-type of a multipart/report (RFC 6522 3), or nothing."""
    value = facts.content_type
    return _parameter(value, "report-type") if _keyword(value) == "multipart/report" else ""


def _is_feedback_report(facts: _Facts) -> bool:
    if _report_type(facts) == "feedback-report":
        return True
    # Hotmail's complaints are no multipart/report: the letter is attached under this subject.
    is_attached = any(part.type == "message/rfc822" for part in facts.mail.attachments)
    return is_attached and facts.subject.startswith("complaint about message from")


def _is_aggregate_report(facts: _Facts) -> bool:
    return _report_type(facts) == "tlsrpt" or (
        facts.subject.startswith("report domain:") and "submitter:" in facts.subject
    )


def _is_disposition_notification(facts: _Facts) -> bool:
    # Sieve's reject (RFC 5429) refuses a letter in the form of a receipt: that is a bounce.
    is_refusal = facts.subject.startswith("automatically rejected mail")
    return _report_type(facts) == "disposition-notification" and not is_refusal


def _reads_as_receipt(facts: _Facts) -> bool:
    return (
        facts.subject.partition(":")[0] in phrases.READ_SUBJECTS
        and ":" in facts.subject
        and _contains(facts.whole, phrases.READ_PHRASES)
    )


def _is_delivery_report(facts: _Facts) -> bool:
    if _report_type(facts) == "delivery-status" or facts.keyword("content-type") == "message/delivery-status":
        return True
    # Virus scanners wrap reports in multipart/mixed, which hides the type but not the report.
    return facts.mail.report is not None and _is_from_the_mail_system(facts) and not facts.is_forward


def _tells_success(facts: _Facts) -> bool:
    report = facts.mail.report
    return _is_delivery_report(facts) and report is not None and report.action in ("delivered", "relayed", "expanded")


def _names_failed_recipients(facts: _Facts) -> bool:
    return facts.has("x-failed-recipients")


def _is_exchange_ndr(facts: _Facts) -> bool:
    return facts.has("x-ms-exchange-message-is-ndr", "x-ms-embedded-report")


def _is_from_mailer_daemon(facts: _Facts) -> bool:
    return facts.local in phrases.BOUNCE_SENDERS or (not facts.sender and facts.name in phrases.BOUNCE_SENDERS)


def _is_from_the_mail_system(facts: _Facts) -> bool:
    if facts.has_null_path or facts.name in phrases.BOUNCE_NAMES:
        return True
    return facts.local in phrases.POSTMASTERS or facts.local.startswith(EXCHANGE_SENDER)


def _reads_as_bounce(facts: _Facts) -> bool:
    if facts.is_forward or (facts.subject.startswith(phrases.REPLY_PREFIXES) and facts.says_a_person_wrote):
        return False
    by_subject = facts.subject.startswith(phrases.BOUNCE_SUBJECTS)
    if _is_from_the_mail_system(facts) and not facts.has_null_path:
        return by_subject or _contains(facts.whole, phrases.BOUNCE_PHRASES)
    # Rules of Exchange forward people's mail with a null path, and gateways bounce under names of their own: then the
    # first words must tell, before any question; without the null path the subject too.
    beginning = facts.whole[:600]
    by_text = _contains(beginning, phrases.BOUNCE_PHRASES) and "?" not in beginning and not facts.asks
    if facts.has_null_path:
        return by_subject or by_text
    return by_subject and by_text and not facts.is_from_staff and not facts.says_a_person_wrote


def _is_challenge(facts: _Facts) -> bool:
    if not _contains(f"{facts.subject}\n{facts.head}", phrases.CHALLENGE_PHRASES):
        return False
    if any(_below(facts.domain, domain) for domain in phrases.CHALLENGE_DOMAINS):
        return True
    is_marked = bool(facts.auto_submitted) or facts.has_null_path or facts.has(*phrases.CHALLENGE_FIELDS)
    return is_marked or any("confirm" in address.address for address in facts.mail.reply_to)


def _calendars(facts: _Facts) -> list[Attachment]:
    return [part for part in facts.mail.attachments if part.type == "text/calendar"]


def _is_calendar_reply(facts: _Facts) -> bool:
    if facts.is_forward:
        return False
    is_reply = _parameter(facts.content_type, "method") == "reply"
    return is_reply or any(b"method:reply" in part.content[:20_000].lower() for part in _calendars(facts))


def _reads_as_calendar_reply(facts: _Facts) -> bool:
    is_calendar = any("calendarmessage" in value.casefold() for value in facts.fields.get("content-class", ()))
    return is_calendar and facts.subject.partition(":")[0] in phrases.ACCEPTED_SUBJECTS


def _is_blocked(facts: _Facts) -> bool:
    return _is_listed(facts, facts.settings.blocked)


def _is_a_known_machine(facts: _Facts) -> bool:
    return _is_listed(facts, facts.settings.machine_senders)


def _is_auto_replied(facts: _Facts) -> bool:
    return facts.auto_submitted == "auto-replied"


def _has_auto_reply_field(facts: _Facts) -> bool:
    for name in phrases.AUTO_REPLY_FIELDS:
        if any(_keyword(value) not in ("no", "false", "0", "none", "off") for value in facts.fields.get(name, ())):
            return True
    if facts.precedence in ("auto_reply", "auto-reply", "autoreply") or facts.keyword("preference") == "auto_reply":
        return True
    if facts.keyword("x-autogenerated") == "reply" or facts.keyword("x-post-messageclass") == "9":
        return True
    return any(_keyword(value) == "autoresponder" for value in facts.fields.get("delivered-to", ()))


def _is_marked_as_answer(facts: _Facts) -> bool:
    """Return whether headers say that a responder may have written: no proof alone, proof beside the right words."""
    marks = facts.has(*phrases.ANSWER_MARKS)
    return marks or facts.has_null_path or bool(facts.auto_submitted) or facts.precedence in ("bulk", "junk")


def _is_absence_note(facts: _Facts) -> bool:
    prefix, colon, rest = facts.subject.partition(":")
    is_known = _unaccented(prefix) in _AUTOMATIC_REPLY_PREFIXES
    is_prefixed = is_known and bool(colon)
    is_topical = _stands_before_the_topic(facts, prefix)
    is_telling = is_known or facts.subject.startswith(phrases.ABSENCE_SUBJECTS)
    is_telling = is_telling or _contains(facts.subject, phrases.ABSENCE_ENDINGS)
    if not (is_prefixed or is_topical or is_telling):
        return False
    is_absent = _contains(facts.head, phrases.ABSENCE_PHRASES)
    asks = _contains(facts.head, phrases.REQUEST_PHRASES)
    if is_prefixed:
        # Nobody writes "Automatic reply:" by hand, except who asks about it in a mail that answers nothing.
        is_answer = _is_marked_as_answer(facts) or bool(facts.answers) or _quotes_a_subject(rest)
        asks_about_it = rest.lstrip().startswith(phrases.PREDICATES) and not is_absent
        return is_answer or not (asks or asks_about_it)
    if is_topical:
        return is_absent and not asks
    if facts.auto_submitted or facts.has_null_path:
        return is_absent or bool(facts.answers)
    if facts.asks or not is_absent:
        return False
    # "Annual leave" alone is also what a person writes about; an answer, or the manners of one, must be beside it.
    is_polite = _contains(facts.head, phrases.ANSWER_PHRASES)
    return _is_marked_as_answer(facts) or bool(facts.answers) or bool(colon) or is_polite


def _stands_before_the_topic(facts: _Facts, prefix: str) -> bool:
    """Return whether Outlook put *prefix*, in whatever language, before the topic of the mail that it answers.

    Answers and forwards of people have short prefixes there (Re, Antw, Odp); a meeting's change has a calendar part.
    """
    topic = _bare_subject((facts.fields.get("thread-topic") or ("",))[0])
    return len(prefix) >= 8 and bool(topic) and facts.subject == f"{prefix}: {topic}" and not _calendars(facts)


def _quotes_a_subject(rest: str) -> bool:
    """Return whether what follows the prefix is the subject of a letter of ours or an answer to one."""
    return rest.lstrip().startswith(("[", *phrases.REPLY_PREFIXES))


def _reads_as_absence_note(facts: _Facts) -> bool:
    # Without a telling subject only an answer counts, in the manners of responders and without traces of a mail client.
    is_answer = bool(facts.answers) or facts.subject.startswith(phrases.REPLY_PREFIXES)
    if not is_answer or facts.is_forward or facts.asks or facts.says_a_person_wrote:
        return False
    manners = sum(phrase in facts.head for phrase in phrases.ANSWER_PHRASES)
    return manners >= 2 and _contains(facts.head[:500], phrases.ABSENCE_PHRASES)


def _is_from_the_rules_agent(facts: _Facts) -> bool:
    # Exchange forwards by rule under the same name: that is still a person's mail.
    source = " ".join(facts.fields.get("x-ms-exchange-generated-message-source", ())).casefold()
    return "rules agent" in source and not facts.is_forward and not facts.has("resent-from") and bool(facts.answers)


def _is_generated_answer(facts: _Facts) -> bool:
    is_answer = facts.answers_another or facts.subject.startswith(phrases.REPLY_PREFIXES)
    return facts.auto_submitted not in ("", "auto-notified") and is_answer and not facts.is_forward


def _is_machine_answer(facts: _Facts) -> bool:
    return facts.has_no_reply_address and facts.answers_another


def _reads_as_automatic_answer(facts: _Facts) -> bool:
    if not facts.answers_another or facts.is_from_staff or facts.is_forward or facts.says_a_person_wrote:
        return False
    return _confirms_receipt(facts) or facts.head.startswith(phrases.AUTOMATED_PHRASES)


def _confirms_receipt(facts: _Facts) -> bool:
    """Return whether a desk confirms in its set phrases; one phrase alone may be a person's."""
    receipts = sum(phrase in facts.head for phrase in phrases.RECEIPT_PHRASES)
    return receipts >= 1 and receipts + sum(phrase in facts.head for phrase in phrases.RECEIPT_MANNERS) >= 2


def _is_through_a_list(facts: _Facts) -> bool:
    return facts.has(*phrases.LIST_FIELDS) or _list_owner(facts) != ""


def _list_owner(facts: _Facts) -> str:
    """Return the domain of ``owner-LIST`` or ``LIST-bounces`` that sends bulk mail: lists from before RFC 2919."""
    if facts.precedence not in ("bulk", "list"):
        return ""
    senders = (_address_in((facts.fields.get("sender") or ("",))[0]), facts.mail.envelope_from or "")
    owners = (sender.rpartition("@") for sender in senders)
    return next(
        (domain for local, _, domain in owners if local.startswith("owner-") or local.endswith(LIST_OWNERS)), ""
    )


def _list_domains(facts: _Facts) -> frozenset[str]:
    """Return the domains that the list fields name (RFC 2369, RFC 2919)."""
    list_id = (facts.fields.get("list-id") or ("",))[0].rpartition("<")[2].partition(">")[0].strip().casefold()
    fields = ("list-post", "x-beenthere", "mailing-list", "x-mailing-list")
    named = ((facts.fields.get(name) or ("",))[0].casefold() for name in fields)
    # <mailto:list@domain?subject=x>, list@domain; contact ...
    domains = (value.partition("@")[2].replace(">", ";").replace("?", ";").partition(";")[0].strip() for value in named)
    return frozenset({list_id, _list_owner(facts), *domains} - {""})


def _came_through_a_group_of_ours(facts: _Facts) -> bool:
    """Return whether the list is the school's own: then it is a door to support@, not a reason for silence."""
    return any(_below(domain, home) for domain in _list_domains(facts) for home in _home_domains(facts))


def _home_domains(facts: _Facts) -> frozenset[str]:
    """Return the school's domains: those configured, and the sender's where the receiving server calls it its own."""
    settings = facts.settings
    configured = settings.staff_domains | {address.rpartition("@")[2] for address in settings.own_addresses}
    # Only the topmost field is the receiving server's; list hosts write Delivered-To as well, below it.
    delivered = frozenset(address.rpartition("@")[2] for address in _delivered_to(facts)[:1])
    if configured:
        return configured | (delivered & {facts.domain})
    # Without them a list of the sender's own domain that wrote to an address there is an in-house group.
    return delivered or frozenset({facts.domain} & {address.domain for address in facts.mail.to})


def _is_discussion(facts: _Facts) -> bool:
    """Return whether members may post to the list: ``List-Post: NO`` marks announcements (RFC 2369 3.4)."""
    return facts.keyword("list-post") not in ("", "no")


def _is_bulk(facts: _Facts) -> bool:
    campaign = facts.has(*phrases.CAMPAIGN_FIELDS, "list-unsubscribe-post", "feedback-id")
    return campaign or facts.precedence in ("bulk", "list", "junk") or facts.has("list-id")


def _is_service_notice(facts: _Facts) -> bool:
    is_campaign = facts.has(*phrases.CAMPAIGN_FIELDS) or facts.precedence in ("bulk", "junk")
    return facts.has_machine_address and not is_campaign and _contains(facts.subject, phrases.NOTICE_WORDS)


def _is_newsletter(facts: _Facts) -> bool:
    if not facts.has("list-unsubscribe") or _is_discussion(facts) or _is_service_notice(facts):
        return False
    if _came_through_a_group_of_ours(facts):
        return False
    return _is_bulk(facts) or _contains(_folded(facts.mail.text[-HEAD_CHARACTERS:]), phrases.UNSUBSCRIBE_WORDS)


def _reads_as_newsletter(facts: _Facts) -> bool:
    if facts.is_from_staff or facts.is_forward or facts.answers or facts.says_a_person_wrote:
        return False
    if _is_service_notice(facts):
        return False
    is_marketing = facts.local in phrases.MARKETING_SENDERS
    is_bulk = facts.precedence in ("bulk", "junk") or facts.has(*phrases.CAMPAIGN_FIELDS)
    if facts.local in phrases.NEWSLETTER_SENDERS or (is_bulk and is_marketing):
        return True
    foot = _folded(facts.mail.text[-HEAD_CHARACTERS:])
    if not _contains(foot, phrases.UNSUBSCRIBE_WORDS):
        return False
    return is_bulk or is_marketing or _contains(f"{facts.whole}\n{foot}", phrases.MAILING_PHRASES)


def _is_list_post_of_staff(facts: _Facts) -> bool:
    return _is_through_a_list(facts) and facts.is_from_staff and not _came_through_a_group_of_ours(facts)


def _is_list_post(facts: _Facts) -> bool:
    return _is_through_a_list(facts) and not _came_through_a_group_of_ours(facts) and not _is_service_notice(facts)


def _is_generated(facts: _Facts) -> bool:
    return facts.auto_submitted != ""


def _has_machine_address(facts: _Facts) -> bool:
    return facts.has_machine_address


def _names_machine_software(facts: _Facts) -> bool:
    if facts.has("x-cron-env") or facts.keyword("x-fc-machinegenerated") == "true":
        return True
    software = " ".join(facts.fields.get("x-mailer", ()) + facts.fields.get("user-agent", ()))[:500]
    return any(word in phrases.MACHINE_SOFTWARE for word in _words(software))


def _is_scan(facts: _Facts) -> bool:
    return bool(facts.mail.attachments) and _folded(facts.mail.subject).startswith(phrases.SCAN_SUBJECTS)


def _has_alert_subject(facts: _Facts) -> bool:
    subject = _folded(facts.mail.subject[:1_000])
    return subject.startswith(phrases.ALERT_SUBJECTS) and not facts.says_a_person_wrote


def _says_it_is_automated(facts: _Facts) -> bool:
    if facts.is_from_staff or facts.is_forward or facts.says_a_person_wrote:
        return False
    if _confirms_receipt(facts):
        return True
    # Machines say it first or last; in the middle it may be what a person pasted.
    lines = [line for line in (facts.mail.new_text or facts.mail.text)[-HEAD_CHARACTERS:].splitlines() if line.strip()]
    edges = (facts.head[:200], *(_folded(line[:500]) for line in lines[-3:]))
    return any(edge.startswith(phrases.AUTOMATED_PHRASES) for edge in edges) and "?" not in facts.head[:300]


def _is_from_our_address(facts: _Facts) -> bool:
    return facts.sender in facts.settings.own_addresses


def _is_from_a_postmaster(facts: _Facts) -> bool:
    return facts.local in phrases.POSTMASTERS


def _has_null_path(facts: _Facts) -> bool:
    return facts.has_null_path


# -- The rules ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One reason not to answer.  Where *verdict* is TICKET the mail opens one, but nothing automatic answers it."""

    name: str
    kind: str
    reason: str
    fires: Callable[[_Facts], bool]
    verdict: Verdict = Verdict.SCREENED
    automatic: bool = True


def _screens(name: str, kind: str, fires: Callable[[_Facts], bool], reason: str, *, automatic: bool = True) -> Rule:
    return Rule(name=name, kind=kind, reason=reason, fires=fires, automatic=automatic)


def _opens(name: str, kind: str, fires: Callable[[_Facts], bool], reason: str) -> Rule:
    return Rule(name=name, kind=kind, reason=reason, fires=fires, verdict=Verdict.TICKET)


RULES: tuple[Rule, ...] = (
    _screens("own-message-id", "own", _has_own_message_id, "the Message-ID is ours, proved by its HMAC"),
    _screens("own-letter", "own", _is_own_letter_renamed, "an automatic letter from our own address has come back"),
    _screens("x-loop", "loop", _carries_our_loop_mark, "X-Loop says that it has passed our address before"),
    _screens("too-many-hops", "loop", _has_too_many_hops, "more than 50 Received fields (RFC 5321 6.3)"),
    _screens("feedback-report", "feedback-report", _is_feedback_report, "a complaint of a mailbox provider (RFC 5965)"),
    _screens(
        "aggregate-report", "feedback-report", _is_aggregate_report, "a DMARC or TLS report (RFC 7489 7.2, RFC 8460)"
    ),
    _screens("read-receipt", "read-receipt", _is_disposition_notification, "a disposition notification (RFC 8098)"),
    _screens("read-receipt-text", "read-receipt", _reads_as_receipt, "reads as a receipt of Outlook or Exchange"),
    _screens("delivery-notice", "delivery-notice", _tells_success, "a letter has arrived (RFC 3464 2.3.3)"),
    _screens("delivery-status", "bounce", _is_delivery_report, "a delivery status notification (RFC 3464)"),
    _screens(
        "failed-recipients", "bounce", _names_failed_recipients, "X-Failed-Recipients, as Exim and Gmail write it"
    ),
    _screens("exchange-ndr", "bounce", _is_exchange_ndr, "Exchange marks it as its non-delivery report"),
    _screens("mailer-daemon", "bounce", _is_from_mailer_daemon, "the mail system of a host writes under this name"),
    _screens("challenge", "challenge", _is_challenge, "a filter asks us to prove that we are a person"),
    _screens("bounce-text", "bounce", _reads_as_bounce, "a mail system writes that a letter did not arrive"),
    _screens("calendar-reply", "calendar-response", _is_calendar_reply, "METHOD:REPLY (RFC 5546 3.2.3)"),
    _screens(
        "calendar-subject",
        "calendar-response",
        _reads_as_calendar_reply,
        "Outlook answers an invitation without iCalendar",
    ),
    _screens("blocked-sender", "blocked", _is_blocked, "the configuration blocks this sender", automatic=False),
    _opens("machine-sender", "machine-alert", _is_a_known_machine, "the configuration names this sender a machine"),
    _screens("auto-replied", "auto-reply", _is_auto_replied, "Auto-Submitted: auto-replied (RFC 3834 5.1)"),
    _screens("auto-reply-field", "auto-reply", _has_auto_reply_field, "a field that only responders write"),
    _screens("absence-note", "out-of-office", _is_absence_note, "reads as an automatic or out-of-office answer"),
    _screens(
        "absence-text", "out-of-office", _reads_as_absence_note, "answers in the manners of an out-of-office note"
    ),
    _screens("rules-agent", "auto-reply", _is_from_the_rules_agent, "the rules agent of Exchange answers"),
    _screens(
        "generated-answer",
        "auto-reply",
        _is_generated_answer,
        "automatic, and an answer to another's mail (RFC 3834 5.1)",
    ),
    _screens(
        "machine-answer", "auto-reply", _is_machine_answer, "an address that no person reads answers another's mail"
    ),
    _screens(
        "automatic-answer",
        "auto-reply",
        _reads_as_automatic_answer,
        "an answer that says it is automatic, or a receipt",
    ),
    _screens("newsletter", "newsletter", _is_newsletter, "List-Unsubscribe on bulk mail (RFC 2369 3.2, RFC 8058)"),
    _opens(
        "list-post-of-staff",
        "mailing-list",
        _is_list_post_of_staff,
        "a colleague writes through a list of others (RFC 3834 2)",
    ),
    _screens(
        "mailing-list", "mailing-list", _is_list_post, "a mailing list of others (RFC 2369, RFC 2919; RFC 3834 2)"
    ),
    _screens("newsletter-text", "newsletter", _reads_as_newsletter, "reads as a newsletter without list fields"),
    _opens("auto-submitted", "machine-alert", _is_generated, "Auto-Submitted is there and is not no (RFC 3834 5)"),
    _opens("machine-address", "machine-alert", _has_machine_address, "an address that no person has"),
    _opens("machine-software", "machine-alert", _names_machine_software, "written by software of a machine"),
    _opens("alert-subject", "machine-alert", _has_alert_subject, "the subject has the form of a monitoring system"),
    _opens("scan", "machine-alert", _is_scan, "a copier sends a scan"),
    _opens("automated-text", "machine-alert", _says_it_is_automated, "says of itself that it is automatic"),
    _opens("own-address", "own", _is_from_our_address, "to answer our own address would be a loop"),
    _opens("postmaster", "machine-alert", _is_from_a_postmaster, "postmasters get no automatic mail (RFC 3834 2)"),
    _opens(
        "null-return-path",
        "machine-alert",
        _has_null_path,
        "the reverse-path is null: nobody waits for an answer (RFC 3834 2)",
    ),
)


def judge(mail: Mail, settings: Settings) -> Screening:
    """Return what screening says of *mail*: the first of ``RULES`` that fires, or else a ticket of a person."""
    facts = _facts(mail, settings)
    rule = next((rule for rule in RULES if rule.fires(facts)), None)
    if rule is None:
        return Screening(verdict=Verdict.TICKET)
    return Screening(
        verdict=rule.verdict,
        rule=rule.name,
        kind=rule.kind,
        reason=rule.reason,
        automatic=rule.automatic,
        bounce=rule.kind == "bounce",
    )


# -- What a bounce says ------------------------------------------------------------------------------------------------


def report_of(mail: Mail) -> DeliveryReport | None:
    """Return what a bounce says, by its structure where it has one, else by its words; None where it says nothing.

    The old ways: X-Failed-Recipients (Exim, Gmail), ``<address>:`` and the reason (qmail, Yahoo, Postfix), an address
    after a line that ends in a colon (Exim, Exchange, Gmail, Domino).  The letter of ours is what the report names, or
    the Message-ID among the returned headers, attached or quoted.
    """
    lines = [line.strip() for line in mail.text[: 10 * HEAD_CHARACTERS].splitlines()[:1_000]]
    written, diagnostic = _failed_in_words(mail, lines)
    named = (mail.header("X-Failed-Recipients") or "").partition(",")[0].strip().casefold()
    is_late = _contains(_folded(f"{mail.subject[:1_000]}\n{mail.text[:HEAD_CHARACTERS]}"), phrases.DELAY_PHRASES)
    report = mail.report or DeliveryReport(action="delayed" if is_late else "failed", diagnostic=diagnostic)
    report = replace(
        report,
        recipient=report.recipient or named or written,
        original_message_id=report.original_message_id or _returned_message_id(mail, lines),
    )
    return report if report.recipient or report.original_message_id else None


def _failed_in_words(mail: Mail, lines: list[str]) -> tuple[str, str]:
    """Return the address that the text of a bounce names as failed, and the reason beside it, or empty texts."""
    known = {address.address for address in (*mail.to, *mail.cc)} | ({mail.sender.address} if mail.sender else set())
    after_colon = False
    fallback = ""
    for position, line in enumerate(lines):
        begins = line.startswith("<") and ">" in line
        address = _address_in(line) if begins or after_colon else ""
        if address and address not in known:
            reasons = (line.partition(">:")[2].strip(), *lines[position + 1 : position + 3])
            return address, next((reason for reason in reasons if reason), "")[:500]
        if _contains(line.casefold(), phrases.RETURNED_LETTER_BEGINS):
            break
        if not fallback and not line.casefold().startswith(("from:", "sender:", "reply-to:", "message-id:")):
            found = _address_in(line)
            fallback = "" if found in known else found
        # Blank lines may stand between "could not be delivered to:" and the address.
        after_colon = line.endswith((":", " -")) or (after_colon and not line)
    return fallback, ""


def _address_in(line: str) -> str:
    """Return the first word of *line* that is an address, or nothing."""
    for word in line[:1_000].replace("<", " ").replace(">", " ").split():
        local, _, domain = word.removeprefix("mailto:").strip("'\"[](),;:*").rpartition("@")
        if local and "." in domain and ":" not in domain:
            return f"{local}@{domain}".casefold()
    return ""


def _returned_message_id(mail: Mail, lines: list[str]) -> str:
    """Return the Message-ID of the letter that came back, from attached reports and headers or the text, or nothing."""
    parts = (part for part in mail.attachments if part.type in phrases.RETURNED_TYPES)
    attached = [line for part in parts for line in part.content[:16_384].decode("ascii", "replace").splitlines()]
    for line in (*attached, *reversed(lines)):
        name, _, value = line.strip().casefold().partition(":")
        if name in ("message-id", "original-message-id", "x-original-message-id") and "<" in value:
            return "<" + line.partition("<")[2].partition(">")[0].strip() + ">"
    return ""
