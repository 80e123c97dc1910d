"""The desk of the seed for tests of letters: its hours, its targets, and the values a letter is made of."""

from __future__ import annotations

import functools
from dataclasses import replace
from datetime import UTC, date, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

from supportd.compose import Composer, Envelope
from supportd.core.hours import Hours, Span, Term, Window
from supportd.core.model import Address, Evidence, Letter, Status, Ticket
from supportd.core.sla import BusinessDays, Immediate, Level, Policy, ServiceTime, timedelta

# Tuesday 24 November 2026, 14:52 at the school.
NOW = datetime(2026, 11, 24, 14, 52, tzinfo=UTC)
_DAY = (Window(start=8 * 60, end=16 * 60),)
HOURS = Hours(
    zone=ZoneInfo("Europe/London"),
    weekly=(_DAY, _DAY, _DAY, _DAY, _DAY, (), ()),
    terms=(
        Term(
            name="Autumn 2026",
            span=Span(first=date(2026, 9, 1), last=date(2026, 12, 18)),
            half_term=Span(first=date(2026, 10, 26), last=date(2026, 10, 30)),
        ),
        Term(name="Spring 2027", span=Span(first=date(2027, 1, 4), last=date(2027, 3, 25))),
    ),
)
POLICY = Policy(
    levels=(
        Level(level=1, name="outage", response=Immediate(), resolution=ServiceTime(amount=timedelta(minutes=30))),
        Level(
            level=2,
            name="urgent",
            response=ServiceTime(amount=timedelta(minutes=30)),
            resolution=ServiceTime(amount=timedelta(hours=1)),
        ),
        Level(
            level=3,
            name="high",
            response=ServiceTime(amount=timedelta(hours=1)),
            resolution=ServiceTime(amount=timedelta(hours=2)),
        ),
        Level(
            level=4,
            name="medium",
            response=ServiceTime(amount=timedelta(hours=3)),
            resolution=BusinessDays(count=1),
        ),
        Level(level=5, name="low", response=BusinessDays(count=1), resolution=BusinessDays(count=5)),
        Level(level=6, name="informational", response=BusinessDays(count=2), resolution=None),
    )
)
SUPPORT = Address(address="support@allsaints.example", name="IT Support")


def composer(templates: Path | None = None) -> Composer:
    return Composer(
        hours=HOURS,
        policy=POLICY,
        support=SUPPORT,
        school="All Saints' CofE Primary School",
        staff_domains=("allsaints.example",),
        templates=templates,
    )


def envelope(**over: Any) -> Envelope:
    given = Envelope(
        key="ack:AS-123",
        message_id="<sd.ack.abc.def@allsaints.example>",
        recipient="jane@allsaints.example",
        envelope_from="support@allsaints.example",
        now=NOW,
        in_reply_to="<her.mail@mail.example>",
    )
    return replace(given, **over)


def ticket(**over: Any) -> Ticket:
    given = Ticket(
        id=123,
        reference="AS-123",
        mailbox="support",
        subject="Smartboard in Oak class is dead",
        requester=Address(address="jane@allsaints.example", name="Jane Smith"),
        level=3,
        level_name="high",
        status=Status.NEW,
        received_at=NOW,
        text="The smartboard does not switch on.",
        evidence=(Evidence(words="whole class", field="body", facet="scope:class"),),
        response_due=datetime(2026, 11, 24, 15, 52, tzinfo=UTC),
        resolution_due=datetime(2026, 11, 25, 8, 52, tzinfo=UTC),
    )
    return replace(given, **over)


def read(letter: Letter) -> EmailMessage:
    """Return the letter as a mail program reads it."""
    return cast(EmailMessage, message_from_bytes(letter.data, policy=policy.default))


def text_of(letter: Letter) -> str:
    return _part(letter, "plain")


def html_of(letter: Letter) -> str:
    return _part(letter, "html")


@functools.cache
def _part(letter: Letter, subtype: str) -> str:
    body = read(letter).get_body(preferencelist=(subtype,))
    assert body is not None
    return cast(str, body.get_content()).replace("\r\n", "\n")
