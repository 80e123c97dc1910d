"""The ``calendar:`` section -> the service calendar: weekly hours, terms from YAML or a calendar file, holidays, cover.

The only reader of the list of bank holidays.  Nothing here looks at the clock: what a calendar says does not depend on
when it is read.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from supportd.config.document import Section
from supportd.config.term_dates import YEARS, Copies
from supportd.core.hours import BankHoliday, Closure, Cover, Hours, Span, Term, Window
from supportd.errors import UserError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WINDOW = re.compile(r"^([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})$")


def _date(value: object) -> date:
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value.strip()):
        try:
            value = date.fromisoformat(value.strip())
        except ValueError:
            raise ValueError("is no date of the calendar; check day and month (YYYY-MM-DD)") from None
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError("is not a date; write it as YYYY-MM-DD, such as 2027-01-12")
    if value.year not in YEARS:
        raise ValueError(f"is a date outside the years {YEARS[0]} to {YEARS[-1]}; check the year")
    return value


def _window(value: object) -> Window:
    match = _WINDOW.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError('is not a window; write HH:MM-HH:MM in quotes, such as "08:00-16:00"')
    hour, minute, end_hour, end_minute = map(int, match.groups())
    if minute > 59 or end_minute > 59 or hour > 23 or (end_hour, end_minute) > (24, 0):
        raise ValueError("has a time that no clock shows; write 00:00 to 23:59, and 24:00 only as an end")
    start, end = hour * 60 + minute, end_hour * 60 + end_minute
    if end <= start:
        raise ValueError("ends before it starts; for a window over midnight write two, up to 24:00 and from 00:00")
    return Window(start=start, end=end)


def _some(windows: tuple[Window, ...]) -> tuple[Window, ...]:
    if not windows:
        raise ValueError('is empty; write at least one window, such as ["09:00-12:00"], or take the entry out')
    return windows


def _zone(value: object) -> ZoneInfo:
    try:
        return ZoneInfo(value if isinstance(value, str) else "")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        close = (
            difflib.get_close_matches(value, available_timezones(), n=1, cutoff=0.8) if isinstance(value, str) else []
        )
        cure = f"did you mean {close[0]}?" if close else "write an IANA name, such as Europe/London"
        raise ValueError(f"is not a time zone; {cure}") from None


def _days(key: str) -> tuple[int, ...]:
    """Return the weekdays (Monday is 0) that *key* names: a day, or day-day."""
    words = key.strip().lower().split("-")
    known = {name: number for names in (DAYS, _NAMES) for number, name in enumerate(names)}
    if not 1 <= len(words) <= 2 or any(word.strip() not in known for word in words):
        raise ValueError(f"is not a day; write {', '.join(DAYS)}, or two of them like mon-fri")
    numbers = known[words[0].strip()], known[words[-1].strip()]
    count = (numbers[1] - numbers[0]) % 7 + 1
    return tuple((numbers[0] + step) % 7 for step in range(count))


def _day_key(key: str) -> str:
    _days(key)
    return key


def _each_day_once(weekly: dict[str, tuple[Window, ...]]) -> dict[str, tuple[Window, ...]]:
    named: dict[int, str] = {}
    for key in weekly:
        for number in _days(key):
            if number in named:
                raise ValueError(f"{DAYS[number]} is named twice, by `{named[number]}` and `{key}`; name each day once")
            named[number] = key
    return weekly


# What each looks like to an editor that reads the JSON Schema stands beside what reads it.
Date = Annotated[date, PlainValidator(_date), WithJsonSchema({"type": "string", "format": "date"})]
WindowText = Annotated[Window, PlainValidator(_window), WithJsonSchema({"type": "string", "pattern": _WINDOW.pattern})]
Windows = Annotated[tuple[WindowText, ...], AfterValidator(_some)]
Zone = Annotated[ZoneInfo, PlainValidator(_zone), WithJsonSchema({"type": "string"})]
DayKey = Annotated[str, AfterValidator(_day_key)]
WeeklyHours = Annotated[dict[DayKey, tuple[WindowText, ...]], AfterValidator(_each_day_once)]


class Dates(Section):
    """The local dates from ``from`` to ``to``, both included."""

    first: Date = Field(alias="from")
    last: Date = Field(alias="to")

    @field_validator("last")
    @classmethod
    def _ends_after_it_starts(cls, last: date, info: ValidationInfo) -> date:
        if "first" in info.data and last < info.data["first"]:
            raise ValueError(f"is before `from`; write {info.data['first']} or later")
        return last

    @property
    def span(self) -> Span:
        """Return these dates as the core knows them."""
        return Span(first=self.first, last=self.last)


class TermDates(Dates):
    """One term, with its half term."""

    name: str = Field(min_length=1)
    half_term: Dates | None = None

    @field_validator("half_term")
    @classmethod
    def _lies_in_the_term(cls, half_term: Dates | None, info: ValidationInfo) -> Dates | None:
        first, last = info.data.get("first"), info.data.get("last")
        if half_term and first and last and not first <= half_term.first <= half_term.last <= last:
            raise ValueError(f"is not inside its term; write dates from {first} to {last}")
        return half_term


class ClosureDates(Dates):
    """Dates (or with ``hours``, only these windows of them) without service; ``cover: true`` closes cover too."""

    reason: str = "closed"
    hours: Windows | None = None
    cover: bool = False


class CoverDates(Dates):
    """Windows in which the service is open on any date, also where it would be closed."""

    hours: Windows
    reason: str = "cover"


class TermFile(Section):
    """The terms in a calendar file; relative paths count from the folder of the configuration."""

    ics: str


def _terms(value: object, info: ValidationInfo) -> object:
    """Return the terms that stand in a calendar file where *value* names one, else *value* itself."""
    if not isinstance(value, dict):
        return value
    if set(value) != {"ics"} or not isinstance(value["ics"], str):
        raise ValueError("is not a list of terms; write lines like `- {name: ..., from: ..., to: ...}`, "
                         "or `{ics: FILE}`")  # fmt: skip
    context = info.context or {}
    folder = Path(context.get("folder", "."))
    zone = info.data.get("timezone")
    copies = context.get("copies") or Copies(folder=folder)
    return copies.terms(folder / value["ics"], zone if isinstance(zone, ZoneInfo) else ZoneInfo("UTC"))


def _one_after_the_other(terms: tuple[TermDates, ...]) -> tuple[TermDates, ...]:
    ordered = tuple(sorted(terms, key=lambda term: term.first))
    for number, term in enumerate(ordered[1:]):
        before = ordered[number]
        if term.first <= before.last:
            raise ValueError(f"{term.name} begins on {term.first}, before {before.name} ends on {before.last}; "
                             "terms must not overlap")  # fmt: skip
    return ordered


def _nothing_is_an_empty_list(value: object) -> object:
    # A key whose last entry was taken out stands there with nothing behind it.
    return () if value is None else value


OptionalList = BeforeValidator(_nothing_is_an_empty_list)


class CalendarSection(Section):
    """When the service is open."""

    timezone: Zone = ZoneInfo("Europe/London")
    weekly: WeeklyHours = Field(alias="hours")
    terms: Annotated[
        tuple[TermDates, ...],
        BeforeValidator(_terms, json_schema_input_type=tuple[TermDates, ...] | TermFile),
        AfterValidator(_one_after_the_other),
    ]
    bank_holidays: Literal["England"] | None = "England"
    closures: Annotated[tuple[ClosureDates, ...], OptionalList] = ()
    cover: Annotated[tuple[CoverDates, ...], OptionalList] = ()

    def hours(self) -> Hours:
        """Return the service calendar, worked out once."""
        return self._hours

    @cached_property
    def _hours(self) -> Hours:
        weekly: list[tuple[Window, ...]] = [()] * 7
        for key, windows in self.weekly.items():
            for number in _days(key):
                weekly[number] = windows
        terms = tuple(
            Term(name=term.name, span=term.span, half_term=term.half_term.span if term.half_term else None)
            for term in self.terms
        )
        return Hours(
            zone=self.timezone,
            weekly=tuple(weekly),
            terms=terms,
            bank_holidays=english_bank_holidays(terms) if self.bank_holidays else (),
            closures=tuple(
                Closure(span=item.span, reason=item.reason, hours=item.hours or (), closes_cover=item.cover)
                for item in self.closures
            ),
            cover=tuple(Cover(span=item.span, hours=item.hours, reason=item.reason) for item in self.cover),
        )


def english_bank_holidays(terms: tuple[Term, ...]) -> tuple[BankHoliday, ...]:
    """Return every date that the holidays library lists for England in the years of *terms*, substitutes too."""
    if not terms:
        return ()
    # Loaded here, as the calendar libraries below: each costs a tenth of a second that most commands do not need.
    import holidays

    years = range(min(term.span.first.year for term in terms), max(term.span.last.year for term in terms) + 1)
    # Without the subdivision the August bank holiday is missing.
    listed = holidays.country_holidays("GB", subdiv="ENG", years=years)
    return tuple(BankHoliday(on=on, name=name) for on, name in sorted(listed.items()))


# A closure written into the file.


def closure(first: str, last: str, reason: str, hours: Sequence[str], cover: bool) -> ClosureDates:
    """Return the closure that a person described on the command line.

    Raises:
        UserError: a date or a window is none, with what would be right.
    """
    written = {"from": first, "to": last, "reason": reason, "hours": list(hours) or None, "cover": cover}
    try:
        return ClosureDates.model_validate(written)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        raise UserError([f"{item['loc'][0]}: {item['msg'].removeprefix('Value error, ')}" for item in found]) from error


def with_closure(text: str, closure: ClosureDates) -> str:
    """Return the configuration *text* with *closure* as its first, every other byte and comment as it was.

    Raises:
        UserError: the file is written in a way that leaves no line for it; the entry to add by hand is named.
    """
    entry = _entry(closure)
    lines = text.splitlines(keepends=True)
    ending = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    tree = YAML(typ="rt").load(text)
    section = tree.get("calendar") if isinstance(tree, CommentedMap) else None
    by_hand = UserError(f"the calendar is written in a way that only a person can edit; add to its closures: {entry}")
    if not isinstance(section, CommentedMap) or section.fa.flow_style() or not section:
        raise by_hand
    indent = " " * section.lc.key(next(iter(section)))[1]
    if "closures" not in section:
        at = tree.lc.key("calendar")[0] + 1
        lines[at:at] = [f"{indent}closures:{ending}", f"{indent}  - {entry}{ending}"]
    else:
        closures, at = section["closures"], section.lc.key("closures")[0]
        if closures is None:
            lines[at + 1 : at + 1] = [f"{indent}  - {entry}{ending}"]
        elif not isinstance(closures, CommentedSeq):
            raise by_hand
        elif not closures or closures.fa.flow_style():
            line, column = closures.lc.line, closures.lc.col + 1
            more = ", " if closures else ""
            lines[line] = f"{lines[line][:column]}{entry}{more}{lines[line][column:]}"
        else:
            # The dash stands two columns before what it introduces.
            lines[at + 1 : at + 1] = [f"{' ' * (closures.lc.item(0)[1] - 2)}- {entry}{ending}"]
    edited = "".join(lines)
    try:
        found = YAML(typ="safe").load(edited)["calendar"]["closures"]
    except (YAMLError, KeyError, TypeError) as error:
        raise by_hand from error
    if found != [*YAML(typ="safe").load(f"[{entry}]"), *(section.get("closures") or ())]:
        raise by_hand
    return edited


def _entry(closure: ClosureDates) -> str:
    # A JSON text is a YAML text too, whatever a person calls the reason.
    reason = json.dumps(closure.reason, ensure_ascii=False)
    parts = [f"from: {closure.first}", f"to: {closure.last}", f"reason: {reason}"]
    if closure.hours:
        parts.append("hours: [" + ", ".join(f'"{window}"' for window in closure.hours) + "]")
    if closure.cover:
        parts.append("cover: true")
    return "{" + ", ".join(parts) + "}"
