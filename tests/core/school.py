"""The school of the shipped example, as the core knows it, for tests that work things out by hand."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from supportd.core.hours import BankHoliday, Closure, Cover, Hours, Span, Term, Window
from supportd.core.sla import BusinessDays, Immediate, Level, Policy, ServiceTime

LONDON = ZoneInfo("Europe/London")


def at(text: str, zone: ZoneInfo = LONDON) -> datetime:
    """Return the UTC instant at which the wall clock of *zone* shows *text*, the first time if it does so twice."""
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def span(first: str, last: str | None = None) -> Span:
    return Span(first=date.fromisoformat(first), last=date.fromisoformat(last or first))


def windows(*texts: str) -> tuple[Window, ...]:
    edges = [[int(part[:2]) * 60 + int(part[3:]) for part in text.split("-")] for text in texts]
    return tuple(Window(start=start, end=end) for start, end in edges)


SCHOOL_DAY = windows("08:00-16:00")
TERMS = (
    Term(name="Autumn 2026", span=span("2026-09-01", "2026-12-18"), half_term=span("2026-10-26", "2026-10-30")),
    Term(name="Spring 2027", span=span("2027-01-04", "2027-03-25"), half_term=span("2027-02-15", "2027-02-19")),
    Term(name="Summer 2027", span=span("2027-04-12", "2027-07-21"), half_term=span("2027-05-31", "2027-06-04")),
)
BANK_HOLIDAYS = (
    BankHoliday(on=date(2026, 12, 25), name="Christmas Day"),
    BankHoliday(on=date(2027, 1, 1), name="New Year's Day"),
    BankHoliday(on=date(2027, 5, 3), name="May Day"),
)
BOILER = Closure(span=span("2026-11-13"), reason="Boiler failure")
HALF_TERM_COVER = Cover(span=span("2026-10-28"), hours=windows("09:00-12:00"), reason="Half-term cover")


def school(
    *,
    week: tuple[Window, ...] = SCHOOL_DAY,
    weekend: tuple[Window, ...] = (),
    terms: tuple[Term, ...] = TERMS,
    closures: Iterable[Closure] = (BOILER,),
    cover: Iterable[Cover] = (HALF_TERM_COVER,),
    zone: ZoneInfo = LONDON,
) -> Hours:
    """Return the shipped calendar, with what a test changes of it."""
    return Hours(
        zone=zone,
        weekly=(week,) * 5 + (weekend,) * 2,
        terms=terms,
        bank_holidays=BANK_HOLIDAYS,
        closures=tuple(closures),
        cover=tuple(cover),
    )


def _minutes(count: int) -> ServiceTime:
    return ServiceTime(amount=timedelta(minutes=count))


POLICY = Policy(
    levels=(
        Level(level=1, name="outage", response=Immediate(), resolution=_minutes(30)),
        Level(level=2, name="urgent", response=_minutes(30), resolution=_minutes(60)),
        Level(level=3, name="high", response=_minutes(60), resolution=_minutes(120)),
        Level(level=4, name="medium", response=_minutes(180), resolution=BusinessDays(count=1)),
        Level(
            level=5,
            name="low",
            response=BusinessDays(count=1),
            resolution=BusinessDays(count=5),
            resolution_label="1 week",
        ),
        Level(
            level=6, name="informational", response=BusinessDays(count=2), resolution=None, response_label="48 hours"
        ),
    )
)
