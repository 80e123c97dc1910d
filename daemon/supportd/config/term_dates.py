"""A calendar file (iCalendar, RFC 5545) -> the terms in it: the only reader of .ics files.

A term is an event of several days whose name has "term" in it, or a pair of events that say that a term begins and
ends.  "Half term" is told apart and lies inside its term.  Other events, and cancelled ones, do not count.

A file that was good once is kept beside the database, so that a download that breaks it stops nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from supportd.core import clean

# A year of four digits typed wrongly should not become a calendar of centuries.
YEARS = range(1970, 2200)
# A term calendar is some kilobytes; what is larger is something else.
BYTES = 5_000_000
_ICS_EVENTS = 500
# Not SECONDLY, MINUTELY or HOURLY: a term does not, and unrolling them takes for ever.
_REPEATS = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
_HALF_TERM = re.compile(r"half[\s-]{0,3}term", re.IGNORECASE)
_TERM = re.compile(r"\bterms?\b", re.IGNORECASE)
_BEGINS = re.compile(r"\b(?:starts?|begins?|commences?|first day|opens?|start|beginning)\b", re.IGNORECASE)
_FINISHES = re.compile(r"\b(?:ends?|finish(?:es)?|last day|breaks? up|closes?|end)\b", re.IGNORECASE)
_AWAY = re.compile(r"\b(?:holidays?|vacation|inset|closed|training)\b", re.IGNORECASE)


@dataclass
class Copies:
    """The calendar files that one reading of the configuration found, and their last good copies in *folder*."""

    folder: Path
    problems: list[str] = field(default_factory=list)
    _good: dict[Path, bytes] = field(default_factory=dict)

    def terms(self, path: Path, zone: ZoneInfo) -> list[dict[str, Any]]:
        """Return the terms in the file at *path*, or those of its last good copy, which *problems* then tells.

        Raises:
            ValueError: the file cannot be read or is broken, and there is no good copy of it.
        """
        try:
            data = _bytes(path)
            terms = list(read_terms(data, zone))
        except ValueError as error:
            copy = self._copy_of(path)
            try:
                terms = list(read_terms(_bytes(copy), zone))
            except ValueError:
                raise error from None
            reason = str(error).removeprefix("the calendar file ")
            self.problems.append(f"the calendar file {path} {reason}; the last good copy, {copy}, is in force")
            return terms
        self._good[path] = data
        return terms

    def keep(self) -> tuple[str, ...]:
        """Keep a copy of each good file that was read; return what could not be kept, a sentence each."""
        failed = []
        for path, data in self._good.items():
            copy = self._copy_of(path)
            try:
                if not copy.exists() or copy.read_bytes() != data:
                    fresh = copy.with_suffix(".new")
                    fresh.write_bytes(data)
                    fresh.replace(copy)
            except OSError as error:
                failed.append(f"no copy of the calendar file {path} could be kept at {copy} ({error.strerror})")
        return tuple(failed)

    def _copy_of(self, path: Path) -> Path:
        # Two schools of a trust may both call theirs terms.ics.
        told_apart = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:8]
        return self.folder / f"{path.stem}-{told_apart}.last-good.ics"


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > BYTES:
            raise ValueError(f"the calendar file is larger than {BYTES} bytes; export the term dates alone")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"the calendar file cannot be read ({error.strerror}); check its path and rights") from error


def read_terms(data: bytes, zone: ZoneInfo) -> Iterator[dict[str, Any]]:
    """Yield the terms in the calendar file *data* as mappings with the keys of the ``terms:`` section.

    Raises:
        ValueError: the file is no calendar, is damaged, or has no terms; the text says what would be right.
    """
    events = sorted(_events(data, zone), key=lambda event: event[1])
    halves = [event for event in events if _HALF_TERM.search(event[0])]
    terms = list(_whole_terms([event for event in events if event not in halves]))
    if not terms:
        raise ValueError("the calendar file has no terms; their events need the word `term` in their names")
    placed = 0
    for name, first, last in terms:
        inside = [half for half in halves if first <= half[1] and half[2] <= last]
        if len(inside) > 1:
            raise ValueError(f"the calendar file has two half terms in {name}; keep one of them")
        placed += len(inside)
        half_term = {"from": inside[0][1], "to": inside[0][2]} if inside else None
        yield {"name": name, "from": first, "to": last, "half_term": half_term}
    if placed < len(halves):
        raise ValueError("the calendar file has a half term outside of every term; check its dates")


Named = tuple[str, date, date]


def _whole_terms(events: list[Named]) -> Iterator[Named]:
    begun: Named | None = None
    for name, first, last in events:
        if _AWAY.search(name):
            continue
        if last > first:
            yield name, first, last
        elif _BEGINS.search(name):
            if begun:
                raise ValueError(f"the calendar file has a term that begins on {begun[1]} and never ends")
            begun = (name, first, last)
        elif _FINISHES.search(name):
            if begun is None:
                raise ValueError(f"the calendar file has a term that ends on {last} and never begins")
            yield _BEGINS.sub("", begun[0]).strip(" :-") or begun[0], begun[1], last
            begun = None
    if begun:
        raise ValueError(f"the calendar file has a term that begins on {begun[1]} and never ends")


def _events(data: bytes, zone: ZoneInfo) -> Iterator[Named]:
    """Yield name, first and last date of each event with "term" in its name, series unrolled, none cancelled."""
    import icalendar
    import recurring_ical_events

    try:
        calendar = icalendar.Calendar.from_ical(data)
    except (ValueError, KeyError, IndexError) as error:
        raise ValueError("the calendar file is not an iCalendar file, or is cut short; download it again") from error
    named = [event for event in calendar.walk("VEVENT") if _TERM.search(str(event.get("SUMMARY", "")))]
    starts = []
    for event in named:
        name = clean.line(str(event.get("SUMMARY", "")), 60)
        start, end = (None if event.errors else _date_of(event, key, zone) for key in ("DTSTART", "DTEND"))
        if start is None or start.year not in YEARS:
            raise ValueError(f"the calendar file has an event without a readable date ({name}); mend or remove it")
        if end is not None and end < start:
            raise ValueError(f"the calendar file has an event that ends before it starts ({name}); mend its dates")
        starts.append(start)
        for rule in _rules(event.get("RRULE")):
            if any(str(part).upper() not in _REPEATS for part in rule.get("FREQ", [])):
                raise ValueError(
                    f"the calendar file has a term that repeats within a day ({name}); remove the repetition"
                )
            if any(int(part) < 1 for part in rule.get("INTERVAL", [])):
                raise ValueError(f"the calendar file has a term that repeats at no interval ({name}); remove it")
    if len(named) > _ICS_EVENTS:
        raise ValueError(f"the calendar file has more than {_ICS_EVENTS} events about terms; export the terms alone")
    if not named:
        return
    kept = icalendar.Calendar()
    for component in (*calendar.walk("VTIMEZONE"), *named):
        kept.add_component(component)
    # A series without an end is followed for two years after the last event that stands in the file by itself.
    until = max(starts) + timedelta(days=731)
    try:
        occurrences = recurring_ical_events.of(kept).between(min(starts) - timedelta(days=1), until)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            "the calendar file has a series of terms that cannot be unrolled; write each by itself"
        ) from error
    for event in occurrences:
        if str(event.get("STATUS", "")).upper() == "CANCELLED":
            continue
        first = event.decoded("DTSTART")
        end = event.decoded("DTEND") if "DTEND" in event else first
        # An end is exclusive (RFC 5545 3.6.1): all-day events name the day after, timed ones may end at midnight.
        before_end = end - (timedelta(microseconds=1) if isinstance(end, datetime) else timedelta(days=1))
        last = _local_date(before_end, zone) if end > first else _local_date(first, zone)
        yield clean.line(str(event.get("SUMMARY", "")), 60), _local_date(first, zone), last


def _date_of(event: Any, key: str, zone: ZoneInfo) -> date | None:
    """Return the local date that stands under *key* once and can be read, else None."""
    found = getattr(event.get(key), "dt", None)
    return _local_date(found, zone) if isinstance(found, date) else None


def _rules(written: Any) -> list[Any]:
    return written if isinstance(written, list) else [written] if written else []


def _local_date(value: date, zone: ZoneInfo) -> date:
    if not isinstance(value, datetime):
        return value
    return value.astimezone(zone).date() if value.tzinfo else value.date()
