"""docs/deadlines.md explains ten tickets; each explanation there is what the product says of that ticket."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from supportd import config
from supportd.config import targets
from supportd.core.explain import explain
from supportd.core.hours import Closure, Cover, Span, Window
from supportd.core.sla import Correction, History, Pause, clocks

PAGE = Path(__file__).parents[1] / "docs" / "deadlines.md"
# A heading, what happened to the ticket, and what is said of it.
EXAMPLE = re.compile(r"^## (.+?)\n.*?^```ticket\n(.*?)^```\n+^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))


def said_of(ticket: str) -> list[str]:
    """Return the explanation of *ticket*, lines of a word and what follows it, on the shipped calendar."""
    shipped = config.shipped()
    hours, policy = shipped.calendar.hours(), targets.policy(shipped.severities, shipped.immediate_within)
    cover, closures = [], []
    told: dict[str, list[str]] = {}
    for line in ticket.splitlines():
        word, rest = line.split(maxsplit=1)
        told.setdefault(word, []).append(rest)
    for rest in told.pop("cover", []):
        on, windows = rest.split()
        start, end = windows.split("-")
        cover.append(Cover(span=_span(on), hours=(Window(start=_minutes(start), end=_minutes(end)),), reason="cover"))
    for rest in told.pop("closed", []):
        on, reason = rest.split(maxsplit=1)
        closures.append(Closure(span=_span(on), reason=reason))
    hours = dataclasses.replace(hours, cover=tuple(cover), closures=tuple(closures))

    def at(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=hours.zone).astimezone(UTC)

    def instants(word: str) -> tuple[datetime, ...]:
        return tuple(map(at, told.pop(word, [])))

    now, received_at, level = at(told.pop("now")[0]), at(told.pop("received")[0]), int(told.pop("severity")[0])
    corrected = [rest.split(" to severity ") for rest in told.pop("changed", [])]
    waited = [rest.split(" until ") for rest in told.pop("waited", [])]
    past = History(
        received_at=received_at,
        level=level,
        corrections=tuple(Correction(at=at(when), level=int(new)) for when, new in corrected),
        pauses=tuple(Pause(start_at=at(start), end_at=at(end)) for start, end in waited),
        responded_at=instants("answered"),
        resolved_at=instants("resolved"),
        reopened_at=instants("reopened"),
    )
    assert not told, f"unknown words in the example: {told}"
    return list(explain(clocks(past, policy, hours, now), policy, hours, now))


def _span(on: str) -> Span:
    return Span(first=date.fromisoformat(on), last=date.fromisoformat(on))


def _minutes(reading: str) -> int:
    return int(reading[:2]) * 60 + int(reading[3:])


@pytest.mark.parametrize(("ticket", "text"), [pytest.param(*rest, id=title) for title, *rest in EXAMPLES])
def test_the_explanation_on_the_page_is_what_the_product_says(ticket: str, text: str) -> None:
    assert said_of(ticket) == text.splitlines()


def test_the_page_explains_ten_tickets() -> None:
    assert len(EXAMPLES) == 10
