"""Ticket and template -> Letter: what people read, in the calendar's zone, frozen to its final bytes.

* ``wording``  the templates: the shipped ones, and the school's own in front of them
* ``message``  text, HTML and files -> the bytes of one message
* ``chart``    the picture of a report

1. A template sees only what its reader may see: the content of restricted tickets, and of those that an unverified
   sender opened, is taken out before rendering.
2. The text part says what the HTML says, and nothing is loaded from anywhere when a letter is opened.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from supportd.compose import message
from supportd.compose.chart import Bars, attainment
from supportd.compose.message import Head, Picture
from supportd.compose.wording import Wording
from supportd.core import clean
from supportd.core.attainment import Attainment
from supportd.core.commands import HELP
from supportd.core.hours import Hours
from supportd.core.model import Address, Attachment, Deadlines, Letter, Ticket
from supportd.core.sla import Immediate, Policy

# Gmail cuts a letter off at 102 KB, we promise 60.  A sign takes up to five characters as HTML, so this is half of it;
# what is longer goes along whole as a file.
BODY_LIMIT_CHARACTERS = 6_000
# Larger than any photograph from a phone, smaller than what a school's server refuses (Microsoft 365: 25 MB encoded).
ATTACHMENTS_LIMIT_BYTES = 10_000_000
# Letter.priority, lower first: what somebody waits for goes before what somebody reads with the morning coffee.
_PRIORITIES: Mapping[str, int] = {
    "alert": 1,
    "acknowledgement": 2,
    "answer": 2,
    "relay": 2,
    "escalation": 2,
    "health": 2,
    "mistake": 3,
    "reminder": 3,
    "resolution": 3,
    "digest": 7,
    "report": 7,
    "heartbeat": 8,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The outside of one letter: for whom, for what reason, in which thread.

    *now* is aware and becomes the Date.  *reply_to* is the address whose plus part threads; empty: the support address.
    *in_reply_to* and *references* are those of the mail that this answers, as parsed.
    """

    key: str
    message_id: str
    recipient: str
    envelope_from: str
    now: datetime
    reply_to: str = ""
    in_reply_to: str = ""
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Whether IT is there: open until *closes_at*, or closed until *opens_at*; None where the calendar ends first.

    *why_closed* is what the calendar says of the date ("half term (Autumn 2026)"), empty outside the hours of a day.
    """

    is_open: bool
    closes_at: datetime | None = None
    opens_at: datetime | None = None
    why_closed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Several reports of one thing: how many, since when, what was said in public, and when there is news next."""

    service: str
    reports: int
    since: datetime
    news: str = ""
    next_news_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One ticket of a list, with the address that commands about it go to (empty: no links)."""

    ticket: Ticket
    reply_to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """Mail that opened no ticket, so that a wrong judgement is seen: *number* is what the shell calls it."""

    number: int
    sender: str
    reason: str
    at: datetime
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """A letter given up: which, to whom, and what the server said."""

    kind: str
    recipient: str
    reply: str
    reference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """The day's worklist; an empty part is not shown."""

    overdue: tuple[Item, ...] = ()
    due_today: tuple[Item, ...] = ()
    at_risk: tuple[Item, ...] = ()
    overnight: tuple[Item, ...] = ()
    waiting: tuple[Item, ...] = ()
    resolved: tuple[Item, ...] = ()
    screened: tuple[Screened, ...] = ()
    quarantined: tuple[Screened, ...] = ()
    undelivered: tuple[Undelivered, ...] = ()
    warnings: tuple[str, ...] = ()
    report: Report | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """One level of the report: how many tickets, and how often each target was met and missed."""

    level: int
    name: str
    tickets: int
    response_met: int = 0
    response_missed: int = 0
    resolution_met: int = 0
    resolution_missed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """One missed target: *late* is service time past the deadline; *reason* is what the technician noted, if he did."""

    ticket: Ticket
    clock: str
    late: timedelta
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Attainment between two local dates, both included."""

    first: date
    last: date
    rows: tuple[ReportRow, ...] = ()
    misses: tuple[Miss, ...] = ()
    open_tickets: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSection:
    """What the page of the report shows of one mailbox."""

    mailbox: str
    found: Attainment
    report: Report

    @property
    def chart(self) -> str:
        """Return the picture of the report, as it stands in the page itself (RFC 2397)."""
        return base64.b64encode(attainment(_bars(self.report))).decode()


class Composer:
    """Writes every letter.  Made once per configuration; *problems* grows when a template of the school's fails."""

    def __init__(
        self,
        *,
        hours: Hours,
        policy: Policy,
        support: Address,
        school: str,
        staff_domains: Sequence[str] = (),
        templates: Path | None = None,
    ) -> None:
        self._hours = hours
        self._policy = policy
        self._support = dataclasses.replace(support, name=support.name or f"{school} IT support")
        self._school = school
        self._staff_domains = frozenset(domain.casefold() for domain in staff_domains)
        self._wording = Wording(templates)

    @property
    def problems(self) -> tuple[str, ...]:
        """Return what is wrong with the school's own templates so far, as ``file:line: what``."""
        return tuple(self._wording.problems.values())

    # To the requester.

    def acknowledgement(
        self,
        envelope: Envelope,
        ticket: Ticket,
        *,
        incident: Incident | None = None,
        outsider: bool = False,
    ) -> Letter:
        """Return "we have it": the reference, how serious, by when, and whether anyone is there now.

        *outsider*: the sender is not proven, so that the letter holds no word of his (reliability.md 4.2).
        """
        return self._letter(
            "acknowledgement",
            envelope,
            _without_content(ticket) if outsider else ticket,
            auto_submitted="auto-replied",
            incident=incident,
            outsider=outsider,
        )

    def answer(
        self, envelope: Envelope, ticket: Ticket, *, author: str, text: str, attachments: Sequence[Attachment] = ()
    ) -> Letter:
        """Return a technician's words to the requester, in the thread; not automatic mail."""
        return self._letter(
            "answer", envelope, ticket, auto_submitted="", text=text, attachments=attachments, author=author
        )

    def correction(
        self,
        envelope: Envelope,
        ticket: Ticket,
        *,
        promised: Deadlines,
        reason: str = "",
    ) -> Letter:
        """Return the change of what we promised; the ticket holds the deadlines now in force."""
        return self._letter("correction", envelope, ticket, promised=promised, reason=reason)

    def resolution(
        self, envelope: Envelope, ticket: Ticket, *, text: str = "", author: str = "", closes_at: datetime | None = None
    ) -> Letter:
        """Return "it is done": what was done, and that a reply reopens it (until *closes_at*, where that is known)."""
        return self._letter("resolution", envelope, ticket, text=text, author=author, closes_at=closes_at)

    def closing(self, envelope: Envelope, ticket: Ticket) -> Letter:
        """Return that the ticket was closed by itself, and that a reply opens a new one."""
        return self._letter("closing", envelope, ticket)

    def news(self, envelope: Envelope, ticket: Ticket, incident: Incident) -> Letter:
        """Return the public news of an incident to one who reported it."""
        return self._letter("news", envelope, ticket, incident=incident)

    # To technicians.

    def alert(
        self,
        envelope: Envelope,
        ticket: Ticket,
        *,
        explanation: Sequence[str] = (),
        warnings: Sequence[str] = (),
        attachments: Sequence[Attachment] = (),
        incident: Incident | None = None,
        repeat: int = 0,
    ) -> Letter:
        """Return a new ticket as a technician needs it on a phone.

        *explanation* are the lines of ``sla explain``, *warnings* what to be wary of ("looks like a colleague's name"),
        *repeat* how often this alert went before without an answer.
        """
        return self._letter(
            "alert",
            envelope,
            ticket,
            guarded=True,
            text=ticket.text,
            attachments=attachments,
            explanation=explanation,
            warnings=warnings,
            incident=incident,
            repeat=repeat,
        )

    def alerts(self, envelope: Envelope, items: Sequence[Item]) -> Letter:
        """Return many new tickets folded into one letter."""
        return self._letter("alerts", envelope, None, items=_shown(items))

    def relay(
        self,
        envelope: Envelope,
        ticket: Ticket,
        *,
        author: Address,
        text: str,
        attachments: Sequence[Attachment] = (),
        reopened: bool = False,
        warnings: Sequence[str] = (),
    ) -> Letter:
        """Return what the requester, or a copied-in colleague, wrote again, to the technicians."""
        return self._letter(
            "relay",
            envelope,
            ticket,
            guarded=True,
            author=author if _may_show(ticket) else Address(address=""),
            text=text,
            attachments=attachments,
            reopened=reopened,
            warnings=warnings,
        )

    def reminder(self, envelope: Envelope, ticket: Ticket, *, clock: str, step: str, due_at: datetime) -> Letter:
        """Return one reminder.  *clock* is response or resolution; *step* is half, soon, due, overdue or daily."""
        return self._letter("reminder", envelope, ticket, guarded=True, clock=clock, step=step, due_at=due_at)

    def escalation(self, envelope: Envelope, ticket: Ticket, *, clock: str, step: str, due_at: datetime) -> Letter:
        """Return the same to the IT lead, from the third step on."""
        return self._letter("escalation", envelope, ticket, guarded=True, clock=clock, step=step, due_at=due_at)

    def mistake(self, envelope: Envelope, ticket: Ticket | None, *, problems: Sequence[str], text: str = "") -> Letter:
        """Return what was wrong with a command and how to write it; *text* is what he had written."""
        return self._letter("mistake", envelope, ticket, guarded=True, problems=problems, text=text)

    def help(self, envelope: Envelope, ticket: Ticket | None = None) -> Letter:
        """Return the answer to ``#help``: every command, with an example."""
        return self._letter("help", envelope, ticket, guarded=True)

    def confirmation(self, envelope: Envelope, *, commands: Sequence[str], subject: str) -> Letter:
        """Return the question whether a technician wrote *commands*; his reply to it carries the proof."""
        return self._letter("confirmation", envelope, None, asked=commands, about=subject)

    def notice(
        self, envelope: Envelope, ticket: Ticket | None = None, *, title: str, lines: Sequence[str] = ()
    ) -> Letter:
        """Return a short word to technicians about a ticket: merged, a claim without proof, a letter that came back."""
        return self._letter("notice", envelope, ticket, guarded=True, title=title, lines=lines)

    # To the IT inbox.

    def digest(self, envelope: Envelope, digest: Digest) -> Letter:
        """Return the morning's worklist."""
        shown = dataclasses.replace(
            digest,
            overdue=_shown(digest.overdue),
            due_today=_shown(digest.due_today),
            at_risk=_shown(digest.at_risk),
            overnight=_shown(digest.overnight),
            waiting=_shown(digest.waiting),
            resolved=_shown(digest.resolved),
        )
        report = digest.report
        return self._letter("digest", envelope, None, digest=shown, report=report, pictures=_chart(report))

    def report(self, envelope: Envelope, report: Report) -> Letter:
        """Return a week's attainment."""
        return self._letter("report", envelope, None, report=report, pictures=_chart(report))

    def heartbeat(self, envelope: Envelope, *, open_tickets: int) -> Letter:
        """Return one line that says that the service is alive."""
        return self._letter("heartbeat", envelope, None, open_tickets=open_tickets)

    def health(self, envelope: Envelope, *, title: str, lines: Sequence[str] = (), cure: str = "") -> Letter:
        """Return a problem of the service itself, and its cure."""
        return self._letter("health", envelope, None, title=title, lines=lines, cure=cure)

    # For a browser.

    def report_page(self, sections: Sequence[PageSection], now: datetime) -> str:
        """Return the report as one HTML page, good on paper too; *sections* are of the same dates."""
        context = {
            "first": sections[0].found.first,
            "last": sections[0].found.last,
            "now": now,
            "school": self._school,
            "sections": sections,
            "zone": self._hours.zone,
        }
        return self._wording.page("report-page", context)

    def page(self, name: str, now: datetime, **values: object) -> str:
        """Return the HTML page *name* for a browser; instants in *values* are shown in the calendar's zone."""
        return self._wording.page(name, {"now": now, "school": self._school, "zone": self._hours.zone, **values})

    # How.

    def _letter(
        self,
        name: str,
        envelope: Envelope,
        ticket: Ticket | None,
        *,
        guarded: bool = False,
        auto_submitted: str = "auto-generated",
        text: str = "",
        attachments: Sequence[Attachment] = (),
        pictures: Sequence[Picture] = (),
        **values: object,
    ) -> Letter:
        """Return the letter *name*; *guarded*: its reader is not the requester, so hidden content stays out."""
        hidden = guarded and ticket is not None and not _may_show(ticket)
        if ticket is not None and hidden:
            ticket, text, attachments = _without_content(ticket), "", ()
        body, carried = _cut(text), _carried(attachments)
        if body != text:
            carried = (*carried, _whole(text))
        context = {
            "attachments": attachments,
            "body": body,
            "carried": carried,
            "cut": body != text,
            "hidden": hidden,
            "now": envelope.now,
            # A link can steer a ticket only where the address carries the proof of who writes.
            "reply_to": envelope.reply_to if envelope.reply_to != self._support.address else "",
            "school": self._school,
            "support": self._support,
            "ticket": ticket,
            "service": service_at(self._hours, envelope.now),
            "levels": self._policy.levels,
            "commands": tuple(HELP.items()),
            "zone": self._hours.zone,
            "is_external": ticket is not None and self._is_external(ticket.requester),
            "immediate": ticket is not None and self._is_immediate(ticket.level),
            **values,
        }
        rendered = self._wording.render(name, context)
        head = Head(
            message_id=envelope.message_id,
            date=envelope.now.astimezone(self._hours.zone),
            sender=self._support,
            to=envelope.recipient,
            reply_to=envelope.reply_to or self._support.address,
            in_reply_to=envelope.in_reply_to,
            references=envelope.references,
            auto_submitted=auto_submitted,
        )
        content = dataclasses.replace(rendered, attachments=carried, pictures=pictures)
        return Letter(
            key=envelope.key,
            kind=name,
            recipient=envelope.recipient,
            envelope_from=envelope.envelope_from,
            message_id=envelope.message_id,
            data=message.build(head, content),
            priority=_PRIORITIES.get(name, 5),
        )

    def _is_immediate(self, level: int) -> bool:
        return any(row.level == level and isinstance(row.response, Immediate) for row in self._policy.levels)

    def _is_external(self, address: Address) -> bool:
        return bool(self._staff_domains) and address.domain.casefold() not in self._staff_domains


def service_at(hours: Hours, at: datetime) -> Service:
    """Return whether the service is open at *at*, until when, or when it opens again."""
    if hours.is_open(at):
        return Service(is_open=True, closes_at=hours.closing(at))
    why = hours.day(hours.local(at).date()).closed_by
    return Service(is_open=False, opens_at=hours.next_open(at), why_closed=why)


def _may_show(ticket: Ticket) -> bool:
    """Return whether words of the sender may be mailed to anyone but himself (reliability.md 4.2, PR04)."""
    return ticket.verified and not ticket.restricted


def _without_content(ticket: Ticket) -> Ticket:
    """Return *ticket* without any word of its sender, so that no template can show one by mistake."""
    return dataclasses.replace(
        ticket,
        subject="",
        text="",
        evidence=(),
        attachments=(),
        participants=(),
        requester=Address(address="" if ticket.restricted else ticket.requester.address),
    )


def _shown(items: Iterable[Item]) -> tuple[Item, ...]:
    return tuple(
        item if _may_show(item.ticket) else dataclasses.replace(item, ticket=_without_content(item.ticket))
        for item in items
    )


def _cut(text: str) -> str:
    """Return the beginning of *text* that fits into a letter, ended at a line or a word where one is near."""
    if len(text) <= BODY_LIMIT_CHARACTERS:
        return text
    head = text[:BODY_LIMIT_CHARACTERS]
    near = max(head.rfind("\n", BODY_LIMIT_CHARACTERS - 500), head.rfind(" ", BODY_LIMIT_CHARACTERS - 100))
    return head[:near] if near > 0 else head


def _whole(text: str) -> Attachment:
    content = text.encode("utf-8", "replace")
    return Attachment(name="whole-message.txt", type="text/plain", size=len(content), sha256="", content=content)


def _carried(attachments: Sequence[Attachment]) -> tuple[Attachment, ...]:
    """Return the attachments whose content is at hand, in their order, while they fit."""
    carried: list[Attachment] = []
    room = ATTACHMENTS_LIMIT_BYTES
    for attachment in attachments:
        if attachment.content and len(attachment.content) <= room:
            carried.append(attachment)
            room -= len(attachment.content)
    return tuple(carried)


def _chart(report: Report | None) -> tuple[Picture, ...]:
    """Return the picture of *report*, none where nothing was asked of us."""
    if report is None or not report.rows:
        return ()
    return (Picture(name="attainment", content=attainment(_bars(report))),)


def _bars(report: Report) -> list[Bars]:
    return [
        Bars(
            name=f"{row.level} {clean.line(row.name, 14)}",
            replies=(row.response_met, row.response_missed),
            fixes=(row.resolution_met, row.resolution_missed),
        )
        for row in report.rows
    ]
