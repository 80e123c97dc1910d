"""The ``calendar:`` and ``severities:`` sections: what they give, and how each mistake names its cure."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

from supportd import config
from supportd.cli.app import app
from supportd.config.calendar import CalendarSection, closure, with_closure
from supportd.config.document import Section, parse
from supportd.config.targets import MinutesText, Severities, policy
from supportd.config.term_dates import read_terms
from supportd.core.sla import BusinessDays, Immediate, ServiceTime
from supportd.errors import UserError

CALENDARS = Path(__file__).parent / "calendars"
# Each line changes the right configuration below into a wrong one, and says what is then said.
MISTAKES = [json.loads(line) for line in (CALENDARS / "mistakes.jsonl").read_text(encoding="utf-8").splitlines()]

TEXT = """\
calendar:
  timezone: Europe/London
  hours:
    mon-thu: ["08:00-12:00", "13:00-16:00"]
    fri: ["08:00-24:00"]
  terms:
    - {name: Spring 2027, from: 2027-01-04, to: 2027-03-25, half_term: {from: 2027-02-15, to: 2027-02-19}}
    - {name: Autumn 2026, from: 2026-09-01, to: 2026-12-18}
  bank_holidays: England
  closures:
    - {from: 2026-11-13, to: 2026-11-13, reason: Boiler failure}
    - {from: 2026-11-16, to: 2026-11-17, reason: Training, hours: ["13:00-16:00"], cover: true}
  cover:
    - {from: 2026-10-24, to: 2026-10-25, hours: ["09:00-12:00"], reason: Server move}
severities:
  - {level: 2, name: urgent, response: 30 minutes, resolution: 1 hour}
  - {level: 1, name: outage, response: immediate, resolution: 90 Minutes}
  - {level: 3, name: high, response: 1 hour, resolution: 2 hours}
  - {level: 4, name: medium, response: 3 hours, resolution: 1 business day}
  - {level: 5, name: low, response: 1 business day, resolution: 5 business days, labels: {resolution: 1 week}}
  - {level: 6, name: informational, response: 2 business days, resolution: none, labels: {response: 48 hours}}
immediate_within: 10 minutes
"""


class Both(Section):
    calendar: CalendarSection
    severities: Severities
    immediate_within: MinutesText = 5


def read(text: str = TEXT, folder: Path = Path()) -> Both:
    return parse(Both, text, name="config.yaml", context={"folder": folder})


def problems(text: str, folder: Path = Path()) -> tuple[str, ...]:
    with pytest.raises(UserError) as caught:
        read(text, folder)
    return caught.value.problems


def test_the_section_becomes_the_service_calendar() -> None:
    hours = read().calendar.hours()

    assert [str(window) for window in hours.day(date(2026, 11, 12)).windows] == ["08:00-12:00", "13:00-16:00"]
    assert [str(window) for window in hours.day(date(2026, 11, 20)).windows] == ["08:00-24:00"]
    assert hours.day(date(2026, 11, 13)).closed_by == "Boiler failure"
    assert [str(window) for window in hours.day(date(2026, 11, 17)).windows] == ["08:00-12:00"]
    assert [str(window) for window in hours.day(date(2026, 10, 25)).cover] == ["09:00-12:00"]
    assert hours.day(date(2027, 2, 16)).closed_by == "half term of Spring 2027"
    assert hours.known_until == date(2027, 3, 25)
    assert read().calendar.hours() == hours


@pytest.mark.parametrize(
    "holiday",
    ["2026-08-31", "2026-12-25", "2026-12-26", "2026-12-28", "2027-01-01", "2027-03-26", "2027-05-03", "2027-12-27"],
)
def test_bank_holidays_are_those_of_england_with_substitutes(holiday: str) -> None:
    text = TEXT.replace("from: 2026-09-01, to: 2026-12-18", "from: 2026-04-01, to: 2026-12-31").replace(
        "to: 2027-03-25", "to: 2027-12-31"
    )

    hours = read(text).calendar.hours()
    without = read(text.replace("bank_holidays: England", "bank_holidays: null")).calendar.hours()

    assert hours.opening_of(date.fromisoformat(holiday)) is None
    assert without.bank_holidays == ()


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake["wrong"] or "nothing")
def test_a_mistake_names_its_line_its_key_and_its_cure(mistake: dict[str, str]) -> None:
    assert mistake["right"] in TEXT

    (found,) = problems(TEXT.replace(mistake["right"], mistake["wrong"], 1))

    where, _, what = found.partition(": ")
    assert where.startswith(f"config.yaml:{mistake['line']}:")
    assert what == mistake["problem"]


def test_keys_with_nothing_behind_them_and_empty_lists_are_no_mistake() -> None:
    text = "calendar: {hours: {}, terms: []}\nseverities:" + TEXT.partition("severities:")[2]

    section = read(text).calendar

    assert section.hours().known_until is None
    assert read(text.replace("terms: []", "terms: [], cover: , closures: ")).calendar.hours() == section.hours()


def test_days_may_be_named_in_full_and_run_over_the_weekend() -> None:
    text = TEXT.replace("mon-thu:", "Monday-Thursday:").replace("fri:", "fri-sun:")

    hours = read(text).calendar.hours()

    assert [str(windows[-1]) for windows in hours.weekly] == ["13:00-16:00"] * 4 + ["08:00-24:00"] * 3


def test_the_table_becomes_the_policy_in_the_order_of_its_levels_and_keeps_the_published_words() -> None:
    both = read()

    table = policy(both.severities, both.immediate_within)

    assert [row.level for row in table.levels] == [1, 2, 3, 4, 5, 6]
    assert table.level(1).response == Immediate(within=timedelta(minutes=10))
    assert table.level(1).resolution == ServiceTime(amount=timedelta(minutes=90))
    assert table.level(5).resolution == BusinessDays(count=5)
    assert table.level(6).resolution is None
    labels = [(row.response_label, row.resolution_label) for row in table.levels]
    assert labels[3:] == [("3 hours", "1 business day"), ("1 business day", "1 week"), ("48 hours", "none")]


def test_the_json_schema_lets_an_editor_accept_what_the_sections_accept() -> None:
    definitions = Both.model_json_schema()["$defs"]

    assert definitions["CalendarSection"]["properties"]["terms"]["anyOf"] == [
        {"items": {"$ref": "#/$defs/TermDates"}, "type": "array"},
        {"$ref": "#/$defs/TermFile"},
    ]
    assert definitions["TermDates"]["properties"]["from"]["format"] == "date"
    assert definitions["SeveritySection"]["properties"]["response"]["type"] == "string"


# Terms from a calendar file.


@pytest.mark.parametrize("path", sorted(CALENDARS.glob("*.ics")), ids=lambda path: path.stem)
def test_a_calendar_file_gives_its_terms_or_says_what_is_wrong(path: Path) -> None:
    expected = path.with_suffix(".expect").read_text(encoding="utf-8").splitlines()

    try:
        found = [
            json.dumps({**term, "half_term": list(half.values()) if (half := term["half_term"]) else None}, default=str)
            for term in read_terms(path.read_bytes(), ZoneInfo("Europe/London"))
        ]
    except ValueError as error:
        found = ["error: " + str(error).removeprefix("the calendar file ")]

    assert found == expected


def test_terms_may_stand_in_a_file_beside_the_configuration() -> None:
    start, end = TEXT.index("  terms:"), TEXT.index("  bank_holidays:")

    section = read(TEXT[:start] + "  terms: {ics: 01-whole-terms.ics}\n" + TEXT[end:], CALENDARS).calendar

    assert [(term.name, term.last) for term in section.terms] == [
        ("Autumn Term 2026", date(2026, 12, 18)),
        ("Spring Term 2027", date(2027, 3, 25)),
    ]
    assert section.hours().day(date(2026, 10, 27)).closed_by == "half term of Autumn Term 2026"


@pytest.mark.parametrize(
    ("written", "cure"),
    [
        ("{ics: nowhere.ics}", "the calendar file cannot be read (No such file or directory); check its path"),
        ("{ics: 50-login-page.ics}", "the calendar file is not an iCalendar file, or is cut short; download it again"),
        ("{isc: 01-whole-terms.ics}", "is not a list of terms; write lines like `- {name: ..., from: ..., to: ...}`"),
        ("Autumn", "is not a list; write `[a, b]`, or lines that begin with `- `"),
    ],
)
def test_a_broken_calendar_file_is_a_clear_error_at_load(written: str, cure: str) -> None:
    start, end = TEXT.index("  terms:"), TEXT.index("  bank_holidays:")

    found = problems(TEXT[:start] + f"  terms: {written}\n" + TEXT[end:], CALENDARS)

    assert len(found) == 1
    assert found[0].startswith(f"config.yaml:6:3: calendar.terms: {cure}")


# The last good copy of a calendar file.


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the example configuration with its terms in a calendar file and its database in another folder."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "lib").mkdir()
    text = resources.files("supportd").joinpath("config.example.yaml").read_text(encoding="utf-8")
    start, end = text.index("  terms:"), text.index("  bank_holidays:")
    text = text[:start] + "  terms: {ics: terms.ics}\n" + text[end:]
    path = tmp_path / "etc" / "config.yaml"
    path.write_text(text.replace("sqlite:///supportd.db", f"sqlite:///{tmp_path}/lib/supportd.db"), encoding="utf-8")
    shutil.copy(CALENDARS / "01-whole-terms.ics", tmp_path / "etc" / "terms.ics")
    return path


def test_a_broken_calendar_file_keeps_the_last_good_copy(file: Path, tmp_path: Path) -> None:
    good = config.load(file)
    assert good.keep_calendar_files() == ()
    assert good.calendar_problems == ()
    assert [path.name for path in (tmp_path / "etc").iterdir() if "last-good" in path.name] == []
    shutil.copy(CALENDARS / "50-login-page.ics", file.parent / "terms.ics")

    broken = config.load(file)

    assert broken.calendar.hours() == good.calendar.hours()
    (kept,) = (tmp_path / "lib").iterdir()
    assert broken.calendar_problems == (
        f"the calendar file {file.parent / 'terms.ics'} is not an iCalendar file, or is cut short; download it again; "
        f"the last good copy, {kept}, is in force",
    )
    assert broken.desks[0].calendar_problems == broken.calendar_problems


def test_a_calendar_file_that_is_gone_keeps_the_last_good_copy_too(file: Path) -> None:
    config.load(file).keep_calendar_files()
    (file.parent / "terms.ics").unlink()

    found = config.load(file)

    assert found.calendar.hours().known_until == date(2027, 3, 25)
    assert "cannot be read (No such file or directory)" in found.calendar_problems[0]


def test_a_new_good_file_replaces_the_copy_and_a_broken_one_does_not(file: Path, tmp_path: Path) -> None:
    config.load(file).keep_calendar_files()
    (kept,) = (tmp_path / "lib").iterdir()
    newer = (file.parent / "terms.ics").read_bytes().replace(b"Spring Term", b"Lent Term")
    (file.parent / "terms.ics").write_bytes(newer)
    config.load(file).keep_calendar_files()
    (file.parent / "terms.ics").write_bytes(b"<html>")
    config.load(file).keep_calendar_files()

    assert kept.read_bytes() == newer
    assert [path.name for path in (tmp_path / "lib").iterdir()] == [kept.name]


def test_without_a_good_copy_a_broken_file_is_the_clear_error(file: Path) -> None:
    config.load(file)  # Read, but by nobody who keeps it.
    (file.parent / "terms.ics").write_bytes(b"<html>")

    with pytest.raises(UserError, match="the calendar file is not an iCalendar file, or is cut short"):
        config.load(file)


def test_a_copy_that_cannot_be_kept_is_told(file: Path, tmp_path: Path) -> None:
    (tmp_path / "lib").rmdir()

    (problem,) = config.load(file).keep_calendar_files()

    assert problem.startswith(f"no copy of the calendar file {file.parent / 'terms.ics'} could be kept at ")


def test_snow_can_close_the_school_while_the_calendar_file_is_broken(file: Path) -> None:
    config.load(file).keep_calendar_files()
    (file.parent / "terms.ics").write_bytes(b"<html>")

    result = CliRunner().invoke(app, ["-c", str(file), "calendar", "close", "2027-01-12", "snow"])

    assert result.stdout == "2027-01-12 Tue: open 08:00-16:00 -> closed (snow)\n"


# A closure written into the file.

SNOW = closure("2027-01-12", "2027-01-13", 'snow: "deep"', ["08:00-12:00"], True)
ENTRY = '{from: 2027-01-12, to: 2027-01-13, reason: "snow: \\"deep\\"", hours: ["08:00-12:00"], cover: true}'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("  closures:\n    # old\n    - {a: 1}\n", f"  closures:\n    - {ENTRY}\n    # old\n    - {{a: 1}}\n"),
        ("  closures:\n  - {a: 1}   # why\n", f"  closures:\n  - {ENTRY}\n  - {{a: 1}}   # why\n"),
        ("  closures: []   # none yet\n", f"  closures: [{ENTRY}]   # none yet\n"),
        ("  closures: [{a: 1}]\n", f"  closures: [{ENTRY}, {{a: 1}}]\n"),
        ("  closures:   # none yet\n", f"  closures:   # none yet\n    - {ENTRY}\n"),
    ],
)  # fmt: skip
def test_a_closure_is_one_line_in_the_file_and_every_other_byte_stays(before: str, after: str) -> None:
    head, tail = "# ours\ncalendar:   # when\n  timezone: Europe/London   # ours\n", "  cover: []\n\nother: 1\n"

    assert with_closure(head + before + tail, SNOW) == head + after + tail


def test_a_calendar_without_closures_gets_the_key() -> None:
    text = "calendar:   # when\n  timezone: Europe/London\n"

    assert with_closure(text, SNOW) == f"calendar:   # when\n  closures:\n    - {ENTRY}\n  timezone: Europe/London\n"


def test_line_ends_of_windows_stay() -> None:
    text = "calendar:\r\n  timezone: Europe/London\r\n"

    assert with_closure(text, SNOW).count("\r\n") == 4


def test_a_calendar_in_one_line_is_left_to_a_person_with_the_entry_to_add() -> None:
    with pytest.raises(UserError, match="only a person can edit; add to its closures"):
        with_closure("calendar: {timezone: Europe/London}\n", SNOW)


def test_a_closure_with_a_wrong_date_or_window_is_refused_with_the_cure() -> None:
    with pytest.raises(UserError) as caught:
        closure("2027-01-32", "2027-01-12", "snow", ["8-12"], False)

    assert caught.value.problems == (
        "from: is no date of the calendar; check day and month (YYYY-MM-DD)",
        'hours: is not a window; write HH:MM-HH:MM in quotes, such as "08:00-16:00"',
    )


def test_the_written_closure_closes_the_service() -> None:
    edited = with_closure(TEXT, closure("2027-01-12", "2027-01-12", "snow", [], False))

    hours = read(edited).calendar.hours()

    assert hours.day(date(2027, 1, 12)).closed_by == "snow"
    assert not hours.is_open(datetime(2027, 1, 12, 10, tzinfo=UTC))
