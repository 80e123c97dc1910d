"""``supportd sla`` and ``supportd calendar`` as people and scripts call them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from supportd import config
from supportd.cli.app import app
from supportd.cli.clock import month_grids
from supportd.config.document import parse
from supportd.core.model import Address, Deadlines, Event, EventKind, Rating
from supportd.db import ledger, tickets
from supportd.db.engine import Database
from supportd.db.migrate import upgrade
from supportd.errors import UserError

EXAMPLE = resources.files("supportd").joinpath("config.example.yaml").read_text(encoding="utf-8")
COVER = '  cover:\n    - {from: 2026-10-28, to: 2026-10-28, hours: ["09:00-12:00"], reason: Half-term cover}\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a configuration file of its own, in a folder of its own: the example with a cover day."""
    path = tmp_path / "config.yaml"
    start = EXAMPLE.index("  cover:")
    path.write_text(EXAMPLE[:start] + COVER + EXAMPLE[EXAMPLE.index("\n", start) + 1 :], encoding="utf-8")
    return path


def supportd(*arguments: str | Path, input: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), input=input)


# Deadlines for any instants.


def due(*lines: str) -> tuple[list[dict[str, object]], int]:
    result = supportd("sla", "due", "--jsonl", input="\n".join(lines))
    return [json.loads(line) for line in result.stdout.splitlines()], result.exit_code


def test_deadlines_are_answered_line_by_line_without_any_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    answers, status = due(
        '{"id": "1", "severity": 3, "received_at": "2026-11-27T15:30:00+00:00"}',
        '{"id": 2, "severity": 6, "received_at": "2026-07-01T09:00:00+01:00"}',
        "",
        '{"id": "3", "severity": 4, "received_at": "2027-07-21T12:00:00Z"}',
    )

    assert answers == [
        {"id": "1", "response_due": "2026-11-30T08:30:00+00:00", "resolution_due": "2026-11-30T09:30:00+00:00"},
        {"id": 2, "response_due": "2026-09-02T15:00:00+00:00", "resolution_due": None},
        {
            "id": "3",
            "response_due": "2027-07-21T15:00:00+00:00",
            "resolution_due": None,
            "reason": "not known until term dates after 2027-07-21 are configured",
        },
    ]
    assert status == 0


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"severity": None}, '"severity" is missing; write 1 to 6'),
        ({"severity": 7}, '"severity" is no level; write 1 to 6'),
        ({"severity": True}, '"severity" is no level; write 1 to 6'),
        ({"severity": []}, '"severity" is no level; write 1 to 6'),
        ({"received_at": None}, '"received_at" is missing; write it like "2026-11-27T15:30:00+00:00"'),
        ({"received_at": "2026-11-27T15:30:00"}, '"received_at" has no offset; write Z, +00:00 or +01:00 behind it'),
        ({"received_at": "soon"}, '"received_at" is not an instant; write it like "2026-11-27T15:30:00+00:00"'),
        ({"received_at": "0001-01-01T00:00:00+14:00"}, '"received_at" is outside the years 1 to 9999'),
    ],
)
def test_a_line_that_cannot_be_answered_says_why_in_its_place(asked: dict[str, object], error: str) -> None:
    good = {"id": "1", "severity": 3, "received_at": "2026-11-27T15:30:00+00:00"}

    answers, status = due(json.dumps(good), json.dumps({**good, "id": "x", **asked}), json.dumps(good))

    assert [answer["id"] for answer in answers] == ["1", "x", "1"]
    assert answers[1] == {"id": "x", "error": f"line 2: {error}"}
    assert status == 1


@pytest.mark.parametrize(
    "line", ["junk", "[1]", "[" * 100_000, '"' * 3, "\ud800".encode("utf-8", "surrogatepass").hex()]
)
def test_junk_costs_its_own_line_only(line: str) -> None:
    answers, status = due(line, '{"id": "1", "severity": 1, "received_at": "2026-11-27T09:00:00Z"}')

    assert answers[0]["id"] is None
    assert str(answers[0]["error"]).startswith("line 1: is not ")
    assert answers[1]["response_due"] == "2026-11-27T09:05:00+00:00"
    assert status == 1


def test_an_id_comes_back_as_it_was_whatever_it_is() -> None:
    ids = ["\ud800", "é", 7, None, {"a": [1]}]

    answers, status = due(
        *(json.dumps({"id": one, "severity": 1, "received_at": "2026-11-27T09:00:00Z"}) for one in ids)
    )

    assert [answer["id"] for answer in answers] == ids
    assert status == 0


# One ticket's deadline.


def open_ticket(file: Path, reference: str, received_at: datetime, level: int) -> None:
    settings = config.load(file)
    database = Database(settings.database_url)
    upgrade(database)
    with database.write() as connection:
        rating = Rating(level=level, name="high")
        ticket_id = tickets.open_ticket(
            connection,
            mailbox_id=ledger.ensure_mailbox(connection, settings.desks[0].name),
            reference=reference,
            subject="The board is dead",
            requester=Address(address="sam@allsaints.example"),
            text="",
            rating=rating,
            deadlines=Deadlines(),
            received_at=received_at,
            next_check_at=None,
            automatic=False,
            verified=True,
            restricted=False,
            participants=(),
            origin_message_id=None,
            origin_references=(),
        )
        rated = Event(kind=EventKind.RATED, at=received_at, details=(("level", str(level)),))
        tickets.append(connection, ticket_id, rated)
    database.close()


def test_a_ticket_is_explained_with_its_windows(file: Path) -> None:
    open_ticket(file, "AS-7", datetime(2026, 10, 23, 14, 30, tzinfo=UTC), 3)

    result = supportd("-c", file, "sla", "explain", "AS-7")

    assert "  Wed 28 Oct 09:00-09:30: 30 min counted\n  due Wed 28 Oct 2026 09:30\n" in result.stdout
    assert result.exit_code == 0


def test_an_unknown_ticket_is_a_clear_error(file: Path) -> None:
    result = supportd("-c", file, "sla", "explain", "AS-9")

    assert isinstance(result.exception, UserError)
    assert "there is no ticket AS-9" in str(result.exception)


# The calendar.


def test_the_calendar_is_a_line_for_each_date_in_a_pipe(file: Path) -> None:
    lines = supportd("-c", file, "calendar", "show").stdout.splitlines()

    assert len(lines) == 334  # September 2026 to July 2027
    assert "2026-09-01 Tue open 08:00-16:00" in lines
    assert "2026-10-27 Tue closed (half term of Autumn 2026)" in lines
    assert "2026-10-28 Wed open 09:00-12:00 (cover 09:00-12:00: Half-term cover)" in lines
    assert "2026-12-25 Fri closed (Christmas Day)" in lines


def test_the_calendar_is_an_object_for_scripts(file: Path) -> None:
    found = json.loads(supportd("-c", file, "calendar", "show", "--json").stdout)

    assert found["timezone"] == "Europe/London"
    assert found["known_until"] == "2027-07-21"
    by_date = {day["date"]: day for day in found["days"]}
    assert by_date["2026-10-28"] == {
        "date": "2026-10-28",
        "open": ["09:00-12:00"],
        "cover": ["09:00-12:00"],
        "closed_by": "half term of Autumn 2026",
    }


def test_the_school_year_fits_80_columns_and_needs_no_colour() -> None:
    from rich.console import Console

    text = EXAMPLE.replace(
        "  closures: []",
        "  closures: [{from: 2026-11-13, to: 2026-11-13, reason: Boiler}, "
        '{from: 2026-11-20, to: 2026-11-20, hours: ["12:00-24:00"], reason: Inset}]',
    )
    start = text.index("  cover:")
    text = text[:start] + COVER + text[text.index("\n", start) + 1 :]
    hours = parse(config.Config, text, name="config.yaml", context={"folder": Path()}).calendar.hours()
    console = Console(width=80, color_system=None, force_terminal=True, record=True)

    with console.capture() as capture:
        console.print(month_grids(hours))

    drawn = capture.get()
    assert max(map(len, drawn.splitlines())) <= 80
    for week in (" .  . 28+ .  .  .", "9 10 11 12  x  .  .", "16 17 18 19 20~ .  .", " .  .  .  .  h  h  ."):
        assert week in drawn
    assert "12+ cover" in drawn
    assert "Fri 2026-11-20: open 08:00-12:00 (Inset)" in drawn


def test_an_empty_calendar_is_drawn_and_listed_without_dates(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    start, end = text.index("  terms:"), text.index("  bank_holidays:")
    file.write_text(text[:start] + "  terms: []\n" + text[end:].replace(COVER, ""), encoding="utf-8")

    assert supportd("-c", file, "calendar", "show").stdout == ""
    assert json.loads(supportd("-c", file, "calendar", "show", "--json").stdout)["known_until"] is None


def test_a_diff_names_the_dates_and_the_open_deadlines_that_move(file: Path, tmp_path: Path) -> None:
    open_ticket(file, "AS-7", datetime(2026, 10, 23, 14, 30, tzinfo=UTC), 3)
    new = tmp_path / "new.yaml"
    new.write_text(file.read_text(encoding="utf-8").replace(COVER, "  cover: []\n"), encoding="utf-8")

    result = supportd("-c", file, "calendar", "diff", new)

    assert result.stdout.splitlines() == [
        "2026-10-28 Wed: open 09:00-12:00 (cover 09:00-12:00: Half-term cover) -> closed (half term of Autumn 2026)",
        "AS-7 response: Wed 28 Oct 2026 09:30 -> Mon 2 Nov 2026 08:30",
        "AS-7 resolution: Wed 28 Oct 2026 10:30 -> Mon 2 Nov 2026 09:30",
    ]


def test_a_diff_without_a_database_makes_none(file: Path, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())

    result = supportd("-c", file, "calendar", "diff", file)

    assert result.stdout == "No date changes.\n"
    assert "There is no database yet" in result.stderr
    assert set(tmp_path.iterdir()) == before


def test_closing_writes_one_entry_says_what_changes_and_keeps_the_rights(file: Path) -> None:
    file.chmod(0o640)
    before = file.read_text(encoding="utf-8")

    result = supportd("-c", file, "calendar", "close", "2027-01-12", "snow")

    after = file.read_text(encoding="utf-8")
    assert result.stdout == "2027-01-12 Tue: open 08:00-16:00 -> closed (snow)\n"
    assert after.replace('{from: 2027-01-12, to: 2027-01-12, reason: "snow"}', "") == before
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in file.parent.iterdir()] == ["config.yaml"]


def test_closing_what_is_closed_changes_nothing(file: Path) -> None:
    before = file.read_bytes()

    result = supportd("-c", file, "calendar", "close", "2027-01-09", "snow")

    assert isinstance(result.exception, UserError)
    assert "closed on 2027-01-09 already" in str(result.exception)
    assert file.read_bytes() == before


def test_closing_needs_a_file_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    result = supportd("calendar", "close", "2027-01-12", "snow")

    assert isinstance(result.exception, UserError)
    assert "no configuration file" in str(result.exception)
