"""The enforced policy -> the pages that the school publishes: what is published is what is promised.

``index.html`` is the school's own article of response times (the seed, in its order), ``calendar.html`` the hours and
dates of the year, ``status.html`` whether IT is there now and what is known to be wrong, ``incidents.atom`` the same as
a feed.  Each file is written whole or not at all.
"""

from __future__ import annotations

import calendar as month_calendar
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from supportd.compose import Composer, service_at
from supportd.config import Desk
from supportd.core.hours import Hours, Span, Window
from supportd.errors import UserError

# The seed's own words for each level; a school that renames its levels keeps what they mean.
IMPACT: Mapping[int, str] = {
    1: "Server or internet down. Whole school impacted and unable to operate correctly. "
    "Possibly 3rd party assisted support required.",
    2: "Site wide impact. Whole school network access. "
    "Network security with impact to safeguarding of pupils and staff.",
    3: "End-user impact. Issues affecting teaching and learning for a class or majority of users across the school.",
    4: "Access and individual impact. Impact of individual's performance, both staff and pupils (password or access "
    "issues). Any issues that don't fit into the above categories.",
    5: "These are issues located within the IT Support department through monitoring of the network, and also any "
    "feature requests for current bespoke systems or the school website.",
    6: "Inquiry for information.",
}
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
HISTORY = timedelta(days=90)
_ATOM = "http://www.w3.org/2005/Atom"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicIncident:
    """One incident that a technician declared with ``#status``: his words, since when, until when."""

    number: int
    news: str
    since: datetime
    until: datetime | None = None
    next_news_at: datetime | None = None


def pages(
    desk: Desk, composer: Composer, now: datetime, valid_for: timedelta, incidents: Sequence[PublicIncident] = ()
) -> dict[str, str]:
    """Return every page by its file name, as of *now*."""
    shared: dict[str, Any] = {
        "address": desk.mailbox.address,
        "hours": tuple(_hours_lines(desk.hours)),
        # With their dates: a page is read later than it was made.
        "made_at": _instant(desk.hours, now),
        "valid_until": _instant(desk.hours, now + valid_for),
    }
    today = desk.hours.local(now).date()
    current = [one for one in incidents if one.until is None]
    return {
        "index.html": composer.page(
            "page-article",
            now,
            levels=[
                {
                    "number": level.level,
                    "name": level.name,
                    "impact": IMPACT[level.level],
                    "response": _within(level.response_label),
                    "resolution": _target(level.resolution_label),
                }
                for level in desk.policy.levels
            ],
            cover=tuple(_cover_lines(desk.hours, today)),
            it_inbox=desk.it_inbox,
            **shared,
        ),
        "calendar.html": composer.page(
            "page-calendar",
            now,
            terms=[
                {
                    "name": term.name,
                    "first": _named(term.span.first),
                    "last": _named(term.span.last),
                    "half_term": _span(term.half_term) if term.half_term else "",
                }
                for term in desk.hours.terms
                if term.span.last >= today
            ],
            exceptions=(*_cover_lines(desk.hours, today), *_closure_lines(desk.hours, today)),
            months=tuple(_months(desk.hours, today)),
            **shared,
        ),
        "status.html": composer.page(
            "page-status",
            now,
            service=service_at(desk.hours, now),
            current=current,
            past=[one for one in incidents if one.until is not None],
            planned=tuple(_closure_lines(desk.hours, today)),
            **shared,
        ),
        "incidents.atom": _feed(desk, now, incidents),
    }


def write(folder: Path, written: Mapping[str, str]) -> None:
    """Write each page into *folder*, whole or not at all.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in written.items():
            partial = folder / f".{name}.partial"
            partial.write_text(text, encoding="utf-8")
            partial.replace(folder / name)
    except OSError as error:
        cure = "fix its owner, or choose another folder"
        raise UserError(f"publish: {folder} cannot be written ({error.strerror}); {cure}") from error


def _target(label: str) -> str:
    """Return a resolution target as the article says it: "30 minutes", "1 week"."""
    if label in ("", "none"):
        return "No target"
    return label[0].upper() + label[1:]


def _within(label: str) -> str:
    """Return a response target as the article says it: "Immediate", "Within 30 minutes"."""
    target = _target(label)
    return target if target in ("Immediate", "No target") else f"Within {label}"


def _instant(hours: Hours, at: datetime) -> str:
    local = hours.local(at)
    return f"{_named(local.date())}, {local:%H:%M}"


def _hours_lines(hours: Hours) -> Iterator[str]:
    """Yield the weekly hours as people say them: "08:00 - 16:00 Monday to Friday"."""
    by_windows: dict[tuple[Window, ...], list[int]] = {}
    for day, windows in enumerate(hours.weekly):
        if windows:
            by_windows.setdefault(windows, []).append(day)
    for windows, days in by_windows.items():
        together = days == list(range(days[0], days[-1] + 1))
        named = f"{_DAYS[days[0]]} to {_DAYS[days[-1]]}" if together and len(days) > 2 else _listed(days)
        spoken = " and ".join(f"{_clock(window.start)} - {_clock(window.end)}" for window in windows)
        yield f"between the hours of {spoken} {named}"


def _clock(minutes: int) -> str:
    """Return minutes after midnight as the seed writes them: "8am", "4pm", "8:30am"."""
    hour, minute = divmod(minutes, 60)
    if minutes == 24 * 60:
        return "midnight"
    name = "am" if hour < 12 else "pm"
    return f"{(hour - 1) % 12 + 1}{f':{minute:02}' if minute else ''}{name}"


def _listed(days: Sequence[int]) -> str:
    names = [_DAYS[day] for day in days]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _cover_lines(hours: Hours, today: date) -> Iterator[str]:
    for one in hours.cover:
        if one.span.last >= today:
            spoken = ", ".join(f"{_clock(window.start)} - {_clock(window.end)}" for window in one.hours)
            yield f"{_span(one.span)}: {spoken}" + (f" ({one.reason})" if one.reason else "")


def _closure_lines(hours: Hours, today: date) -> Iterator[str]:
    for one in hours.closures:
        if one.span.last >= today:
            spoken = ", ".join(f"{_clock(window.start)} - {_clock(window.end)}" for window in one.hours)
            yield f"{_span(one.span)}: closed{f' {spoken}' if spoken else ''} ({one.reason})"


def _span(span: Span) -> str:
    return _named(span.first) if span.first == span.last else f"{_named(span.first)} to {_named(span.last)}"


def _named(day: date) -> str:
    return f"{day:%a} {day.day} {day:%b %Y}"


def _months(hours: Hours, today: date) -> Iterator[dict[str, Any]]:
    """Yield the months from now to the end of the last term: weeks of days, each open, cover, closed or None."""
    last = hours.known_until
    if last is None:
        return
    year, month = today.year, today.month
    # Two school years at the most: a calendar that goes on for ever is somebody's slip.
    for _ in range(24):
        if date(year, month, 1) > last:
            return
        weeks = [
            [_day(hours, date(year, month, number)) if number else None for number in week]
            for week in month_calendar.Calendar().monthdayscalendar(year, month)
        ]
        yield {"name": f"{month_calendar.month_name[month]} {year}", "weeks": weeks}
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)


def _day(hours: Hours, on: date) -> dict[str, Any]:
    found = hours.day(on)
    state = "closed" if not found.windows else "cover" if found.cover == found.windows else "open"
    return {"number": on.day, "state": state}


def _feed(desk: Desk, now: datetime, incidents: Sequence[PublicIncident]) -> str:
    """Return the incidents as an Atom feed (RFC 4287)."""
    ElementTree.register_namespace("", _ATOM)
    feed = ElementTree.Element(f"{{{_ATOM}}}feed")

    def add(parent: ElementTree.Element, name: str, text: str) -> ElementTree.Element:
        element = ElementTree.SubElement(parent, f"{{{_ATOM}}}{name}")
        element.text = text
        return element

    domain = desk.mailbox.address.rpartition("@")[2]
    add(feed, "title", f"IT service status, {desk.school}")
    add(feed, "id", f"tag:{domain},2026:supportd:{desk.name}")
    newest = max((one.until or one.since for one in incidents), default=now)
    add(feed, "updated", newest.isoformat())
    add(add(feed, "author", ""), "name", desk.mailbox.display_name)
    for one in incidents:
        entry = ElementTree.SubElement(feed, f"{{{_ATOM}}}entry")
        add(entry, "title", one.news)
        add(entry, "id", f"tag:{domain},2026:supportd:{desk.name}:incident:{one.number}")
        add(entry, "updated", (one.until or one.since).isoformat())
        add(entry, "content", f"{one.news} {'(over)' if one.until else ''}".strip())
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(feed, encoding="unicode") + "\n"
