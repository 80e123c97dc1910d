"""Every letter with made-up tickets: what ``templates preview`` shows and ``templates check`` renders.

Each level, open, closed and in the holidays; long, right-to-left, pictorial and hostile names and texts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from supportd.compose import (
    Composer,
    Digest,
    Envelope,
    Incident,
    Item,
    Miss,
    Report,
    ReportRow,
    Screened,
    Undelivered,
)
from supportd.core.hours import Hours
from supportd.core.model import Address, Attachment, AttachmentKind, Deadlines, Evidence, Letter, Status, Ticket
from supportd.core.sla import Policy, deadlines


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One letter to be: *name* says which and in what circumstances, *write* writes it."""

    name: str
    write: Callable[[], Letter]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """What a made-up person wrote, and how it was rated."""

    subject: str
    text: str
    name: str = "Jane Smith"
    evidence: tuple[Evidence, ...] = ()
    row: str = ""


def _evidence(*hits: tuple[str, str, str]) -> tuple[Evidence, ...]:
    return tuple(Evidence(words=words, field=field, facet=facet) for words, field, facet in hits)


# One call for help a level, in the seed's own sense of the levels.
_CASES = {
    1: _Case(
        subject="No internet anywhere since break",
        text="Hello,\n\nno internet in the whole school since break, the office cannot take any calls either.\n\nJane",
        evidence=_evidence(
            ("no internet", "subject", "service:internet"), ("whole school", "body", "scope:whole school")
        ),
        row="server or internet down",
    ),
    2: _Case(
        name="Tom Baker",
        subject="Web filter off?",
        text="The children in Year 6 can open pages that the filter always blocked. I have closed the laptops.",
        evidence=_evidence(("filter", "subject", "service:security")),
        row="network security",
    ),
    3: _Case(
        subject="Smartboard in Oak class is dead",
        text=(
            "Hi,\n\nthe smartboard in Oak class does not switch on, I have tried both plugs and the remote. "
            "My whole class is sitting in front of a black screen, could somebody come before the maths lesson?\n\n"
            "Thank you\nJane"
        ),
        evidence=_evidence(("whole class", "body", "scope:class"), ("smartboard", "subject", "service:equipment")),
        row="teaching of a class",
    ),
    4: _Case(
        name="Priya Patel",
        subject="Password expired",
        text="My password has expired and the page to change it will not take the new one.",
        evidence=_evidence(("password", "subject", "service:account")),
        row="one person",
    ),
    5: _Case(
        name="Helen Ward",
        subject="Could the website show the lunch menu?",
        text="Parents keep asking at the gate. A page with the week's menu would be lovely, no hurry.",
        evidence=_evidence(("website", "subject", "service:website")),
        row="request for a feature",
    ),
    6: _Case(
        name="Marek Nowak",
        subject="Which cable for the visualiser?",
        text="Just wondering which cable I should order for the visualiser in Elm.",
        evidence=_evidence(("wondering", "body", "kind:question")),
        row="inquiry",
    ),
}

# What real people and unkind ones are called and write; every template meets each of them.
_STRANGE = {
    "long": _Case(
        name="Dr Bartholomew-Alexander Featherstonehaugh-Cholmondeley of the Reception and Early Year Foundation Stage",
        subject="Projector " + "and everything connected to it " * 12 + "x" * 300,
        text=("A long story. " * 40 + "\n\n") * 4 + "https://example.org/" + "a" * 500,
    ),
    "rtl": _Case(
        name="فاطمة الزهراء",
        subject="الطابعة لا تعمل في الصف السادس",
        text="مرحبا،\nالطابعة لا تعمل منذ الصباح. The printer says E-042.\nשלום, גם אצלנו.",
    ),
    "emoji": _Case(
        name="Zoë 🌻 Müller-Łęcka", subject="🖨️🔥 printer?! 👩‍🏫", text="It says 日本語 and then 💥💥💥\n\tZoë"
    ),
    "hostile": _Case(
        name="<img src=x onerror=alert(1)>\"' {{ 7*191 }}",
        subject="</title><script>alert(1)</script> {{ 7*191 }} {% raw %} =?utf-8?q?x?= \u202egnp.exe",
        text="<script>alert(1)</script></div></td></table><style>*{display:none}</style>{{ config }}{% for x in y %}\n"
        '<a href="javascript:alert(1)" onmouseover=alert(1)>x</a> &amp; &lt; \u202e evil \u2066\n.\n..\nFrom me\n-- \n'
        + "A"
        * 10_000,
    ),
}

# The letters that look different at another hour, of another level, or about another person.
_VARIED = ("acknowledgement", "alert", "digest")

NAMES = (
    "acknowledgement",
    "alert",
    "alerts",
    "answer",
    "closing",
    "confirmation",
    "correction",
    "digest",
    "escalation",
    "health",
    "heartbeat",
    "help",
    "mistake",
    "news",
    "notice",
    "relay",
    "reminder",
    "report",
    "resolution",
)


def every(composer: Composer, hours: Hours, policy: Policy, now: datetime) -> Iterator[Sample]:
    """Yield every letter in every circumstance, with the deadlines that *policy* gives on the calendar *hours*.

    *now* is aware; the samples play on the business days after it.
    """
    for moment, at in _moments(hours, now).items():
        for level, case in _CASES.items():
            ticket = _ticket(case, level, at, hours, policy)
            yield from _of_a_ticket(composer, ticket, at, f"{level}-{moment}")
    at = _moments(hours, now)["open"]
    for kind, case in _STRANGE.items():
        ticket = _ticket(case, 3, at, hours, policy)
        ticket = replace(ticket, evidence=_evidence((case.subject[:60], "subject", "scope:class")), row=case.subject)
        yield from _of_a_ticket(composer, ticket, at, kind)
        yield from _of_the_desk(composer, [ticket], at, kind)
    plain = _ticket(_CASES[3], 3, at, hours, policy)
    yield from _of_a_ticket(composer, replace(plain, restricted=True), at, "restricted")
    yield from _of_a_ticket(composer, replace(plain, verified=False), at, "unverified")
    morning = [_ticket(case, level, at, hours, policy) for level, case in _CASES.items()]
    yield from _of_the_desk(composer, morning, at, "open")


def showcase(composer: Composer, hours: Hours, policy: Policy, now: datetime) -> Iterator[Sample]:
    """Yield of :func:`every` what a person wants to look at: each letter, and those that vary in their variants."""
    for sample in every(composer, hours, policy, now):
        kind, _, how = sample.name.partition("-")
        if how.endswith("3-open") or how == "open" or (kind in _VARIED and how.count("-") < 2):
            yield sample


def _moments(hours: Hours, now: datetime) -> dict[str, datetime]:
    """Return an instant while the service is open, one after closing, one in a holiday, one after the last term."""
    opened = hours.next_open(now)
    if opened is None:
        return {"open": now, "closed": now, "holiday": now, "unknown": now}
    morning = hours.opening_of(hours.next_business_day(hours.local(opened).date())) or opened
    closing = hours.closing(morning) or morning
    found = {"open": morning + timedelta(minutes=55), "closed": closing + timedelta(hours=2, minutes=20)}
    at = closing
    for _ in range(400):
        following = hours.next_open(at)
        if following is None:
            break
        if following - at > timedelta(days=4):
            found["holiday"] = at + timedelta(days=2, hours=1)
            break
        at = hours.closing(following) or following
    last = hours.known_until
    if last is not None:
        found["unknown"] = datetime(last.year, last.month, last.day, 20, tzinfo=hours.zone).astimezone(now.tzinfo)
    return found


def _ticket(case: _Case, level: int, at: datetime, hours: Hours, policy: Policy) -> Ticket:
    row = next((row for row in policy.levels if row.level == level), policy.levels[-1])
    due = deadlines(policy, row.level, at, hours)
    return Ticket(
        id=123,
        reference="AS-123",
        mailbox="support",
        subject=case.subject,
        requester=Address(address="jane.smith@allsaints.example", name=case.name),
        level=row.level,
        level_name=row.name,
        status=Status.NEW,
        received_at=at,
        text=case.text,
        evidence=case.evidence,
        row=case.row,
        response_due=due.response_due,
        resolution_due=due.resolution_due,
        due_reason=due.reason,
        attachments=(_photograph(case.name), _photograph("board.svg", "image/svg+xml")),
    )


def _photograph(name: str, kind: str = "image/jpeg") -> Attachment:
    content = b"\xff\xd8\xff" + bytes(2_000)
    return Attachment(
        name=name if "." in name else f"{name}.jpg",
        type=kind,
        size=len(content),
        sha256="",
        kind=AttachmentKind.FILE,
        content=content,
    )


def _sample(name: str, how: str, at: datetime, to: str, write: Callable[[Envelope], Letter]) -> Sample:
    full = f"{name}-{how}"
    outside = Envelope(
        key=f"sample:{full}",
        message_id=f"<sample.{full}@allsaints.example>",
        recipient=to,
        envelope_from="support@allsaints.example",
        now=at,
        reply_to="support+as-123.3f9x2k7qpa@allsaints.example",
        in_reply_to="<her.mail@mail.allsaints.example>",
        references=("<her.first.mail@mail.allsaints.example>",),
    )
    return Sample(name=full, write=lambda: write(outside))


def _of_a_ticket(composer: Composer, ticket: Ticket, at: datetime, how: str) -> Iterator[Sample]:
    """Yield the letters that speak of one ticket."""

    def hers(name: str, write: Callable[[Envelope], Letter]) -> Sample:
        return _sample(name, how, at, ticket.requester.address, write)

    def ours(name: str, write: Callable[[Envelope], Letter]) -> Sample:
        return _sample(name, how, at, "sam@allsaints.example", write)

    def reminder(clock: str, step: str) -> Sample:
        return ours(
            f"reminder-{clock}-{step}",
            lambda outside: composer.reminder(outside, ticket, clock=clock, step=step, due_at=due_at),
        )

    incident = Incident(
        service="internet",
        reports=7,
        since=at - timedelta(minutes=12),
        news=f"{ticket.subject}: the provider is on it.",
        next_news_at=at + timedelta(minutes=30),
    )
    stranger = replace(ticket, requester=Address(address="jane.smith@elsewhere.example", name=ticket.requester.name))
    later = at + timedelta(hours=3)
    due_at = ticket.response_due or ticket.resolution_due or later
    fixed = "The board had lost its power supply; it has a new one now.\n\nPlease keep the old plug for the caretaker."
    yield hers("acknowledgement", lambda outside: composer.acknowledgement(outside, ticket))
    yield hers("acknowledgement-incident", lambda outside: composer.acknowledgement(outside, ticket, incident=incident))
    yield hers("acknowledgement-outsider", lambda outside: composer.acknowledgement(outside, ticket, outsider=True))
    yield ours(
        "alert",
        lambda outside: composer.alert(
            outside,
            ticket,
            explanation=("open Tue 24 Nov 08:55 to 16:00: 7 hours 5 minutes", "1 hour counted: due 09:55"),
            attachments=ticket.attachments,
        ),
    )
    yield ours(
        "alert-repeated",
        lambda outside: composer.alert(
            outside,
            stranger,
            warnings=(f"the name {ticket.requester.name} is a colleague's, the address is not",),
            incident=incident,
            repeat=2,
        ),
    )
    yield hers(
        "answer",
        lambda outside: composer.answer(
            outside,
            ticket,
            author="Sam Carter",
            text=ticket.text if how in _STRANGE else fixed,
            attachments=ticket.attachments,
        ),
    )
    yield ours("relay", lambda outside: composer.relay(outside, ticket, author=ticket.requester, text=ticket.text))
    yield ours(
        "relay-reopened",
        lambda outside: composer.relay(
            outside,
            ticket,
            author=ticket.requester,
            text="Sadly it went dark again.",
            attachments=ticket.attachments,
            reopened=True,
        ),
    )
    for clock in ("response", "resolution"):
        for step in ("half", "soon", "due", "overdue", "daily"):
            yield reminder(clock, step)
    yield ours(
        "escalation",
        lambda outside: composer.escalation(
            outside, ticket, clock="response", step="overdue", due_at=at - timedelta(hours=1)
        ),
    )
    yield hers(
        "correction",
        lambda outside: composer.correction(
            outside,
            ticket,
            promised=Deadlines(response_due=later, resolution_due=later),
            reason="the school closes early on Friday",
        ),
    )
    yield hers(
        "resolution",
        lambda outside: composer.resolution(
            outside, ticket, text=fixed, author="Sam Carter", closes_at=at + timedelta(days=7)
        ),
    )
    yield hers("resolution-bare", lambda outside: composer.resolution(outside, ticket))
    yield hers("closing", lambda outside: composer.closing(outside, ticket))
    yield hers("news", lambda outside: composer.news(outside, ticket, incident))
    yield ours(
        "notice",
        lambda outside: composer.notice(
            outside,
            ticket,
            title="A mail claims to be from Sam Carter, without proof",
            lines=("It is kept on the ticket as a note.", "Nothing was done."),
        ),
    )
    yield ours(
        "mistake",
        lambda outside: composer.mistake(
            outside, ticket, problems=('"#asign" is no command; did you mean #assign me',), text=ticket.text
        ),
    )
    yield ours("help", lambda outside: composer.help(outside, ticket))


def _of_the_desk(composer: Composer, tickets: Sequence[Ticket], at: datetime, how: str) -> Iterator[Sample]:
    """Yield the letters that speak of many tickets, or of none."""
    ticket, digest = tickets[0], _digest(tickets, at)
    items = digest.overdue + digest.due_today + digest.overnight

    def sample(name: str, write: Callable[[Envelope], Letter]) -> Sample:
        return _sample(name, how, at, "it@allsaints.example", write)

    yield sample("alerts", lambda outside: composer.alerts(outside, items))
    yield sample("digest", lambda outside: composer.digest(outside, digest))
    yield sample("digest-empty", lambda outside: composer.digest(outside, Digest(warnings=digest.warnings)))
    yield sample("report", lambda outside: composer.report(outside, _report(ticket)))
    yield sample("heartbeat", lambda outside: composer.heartbeat(outside, open_tickets=4))
    yield sample("help-alone", lambda outside: composer.help(outside))
    yield sample(
        "confirmation",
        lambda outside: composer.confirmation(
            outside, commands=("#for jane.smith@allsaints.example",), subject=ticket.subject
        ),
    )
    yield sample(
        "health",
        lambda outside: composer.health(
            outside,
            title="A mail could not be read, and is kept in Quarantine",
            lines=(f"It says it is from {ticket.requester.name}.", "Its bytes are safe; no ticket was opened."),
            cure="supportd quarantine show 17, then retry or discard",
        ),
    )


def _digest(tickets: Sequence[Ticket], at: datetime) -> Digest:
    given = itertools.cycle(tickets)

    def item(number: int, **over: object) -> Item:
        changed = replace(next(given), id=number, reference=f"AS-{number}", **over)  # type: ignore[arg-type]
        return Item(ticket=changed, reply_to=f"support+as-{number}.3f9x2k7qpa@allsaints.example")

    return Digest(
        overdue=(item(98, response_due=at - timedelta(hours=20), assignee="Sam Carter"),),
        due_today=(
            item(117, response_due=at + timedelta(hours=1)),
            item(118, responded_at=at - timedelta(hours=3), resolution_due=at + timedelta(hours=5)),
            item(119, restricted=True, response_due=at + timedelta(hours=2)),
        ),
        at_risk=(item(112, responded_at=at - timedelta(days=2), resolution_due=at + timedelta(days=2)),),
        overnight=(item(121), item(122, verified=False)),
        waiting=(item(101, waiting_since=at - timedelta(days=2)),),
        resolved=(item(110, resolved_at=at - timedelta(hours=19)),),
        screened=(
            Screened(number=311, sender="jane.smith@allsaints.example", reason="out-of-office", at=at, count=3),
            Screened(number=312, sender="news@shop.example", reason="mailing list", at=at - timedelta(hours=9)),
        ),
        quarantined=(Screened(number=317, sender="", reason="could not be read in 20 seconds", at=at),),
        undelivered=(
            Undelivered(
                kind="acknowledgement",
                recipient="jane.smyth@allsaints.example",
                reply="550 5.1.1 no such user",
                reference="AS-97",
            ),
        ),
        warnings=("the term dates end on Wed 21 Jul; add the next ones (61 days left)",),
        report=_report(tickets[0]),
    )


def _report(ticket: Ticket) -> Report:
    rows = (
        ReportRow(level=1, name="outage", tickets=1, response_met=1, resolution_missed=1),
        ReportRow(level=2, name="urgent", tickets=2, response_met=2, resolution_met=2),
        ReportRow(level=3, name="high", tickets=9, response_met=8, response_missed=1, resolution_met=9),
        ReportRow(level=4, name="medium", tickets=31, response_met=30, response_missed=1, resolution_met=31),
        ReportRow(level=5, name="low", tickets=6, response_met=6, resolution_met=6),
        ReportRow(level=6, name="informational", tickets=4, response_met=4),
    )
    misses = (
        Miss(ticket=ticket, clock="resolution", late=timedelta(hours=1, minutes=25), reason="waited for the provider"),
        Miss(ticket=ticket, clock="response", late=timedelta(minutes=9)),
    )
    return Report(first=date(2026, 11, 16), last=date(2026, 11, 22), rows=rows, misses=misses, open_tickets=12)
