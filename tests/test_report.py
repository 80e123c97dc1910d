"""How the promises were kept, from the events of tickets to table, lines, CSV, JSON and page; counted by hand here."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from importlib import resources
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from selectolax.lexbor import LexborHTMLParser

from core.school import at
from supportd import config, report
from supportd.cli.app import app
from supportd.cli.clock import csv_text, report_tables
from supportd.compose import PageSection
from supportd.config import Desk
from supportd.core import sla
from supportd.core.attainment import Attainment, Kind, LevelFigures, Target, percentile
from supportd.core.model import Address, Deadlines, Event, EventKind, Rating
from supportd.db import ledger, tickets
from supportd.db.engine import Connection, Database
from supportd.db.migrate import upgrade

EXAMPLE = resources.files("supportd").joinpath("config.example.yaml").read_text(encoding="utf-8")
MINUTE = timedelta(minutes=1)
NOVEMBER = (date(2026, 11, 1), date(2026, 11, 30))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(EXAMPLE, encoding="utf-8")
    return path


class Books:
    """The database of one desk, in which a test enters tickets by what happened to them."""

    def __init__(self, desk: Desk, connection: Connection) -> None:
        self.desk = desk
        self.connection = connection
        self.mailbox_id = ledger.ensure_mailbox(connection, desk.name)

    def enter(self, reference: str, level: int, received: str, *happened: tuple[EventKind, str]) -> int:
        received_at = at(received)
        number = tickets.open_ticket(
            self.connection,
            mailbox_id=self.mailbox_id,
            reference=reference,
            subject="The printer jams",
            requester=Address(address="sam@allsaints.example"),
            text="",
            rating=Rating(level=level, name=str(level)),
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
        events = [rated, *(Event(kind=kind, at=at(when)) for kind, when in happened)]
        for one in events:
            tickets.append(self.connection, number, one)
        past = tickets.history_of(received_at, level, events)
        counted = sla.clocks(past, self.desk.policy, self.desk.hours, events[-1].at)
        tickets.write_clocks(self.connection, number, counted.all)
        return number

    def figures(self, now: str) -> Attainment:
        return report.figures(self.connection, self.desk, self.mailbox_id, *NOVEMBER, at(now))


@pytest.fixture
def books(file: Path) -> Iterator[Books]:
    settings = config.load(file)
    database = Database(settings.database_url)
    upgrade(database)
    with database.write() as connection:
        yield Books(settings.desks[0], connection)
    database.close()


def of_level(found: Attainment, level: int) -> LevelFigures:
    return next(one for one in found.levels if one.level == level)


# The figures.


def test_met_missed_and_by_how_much_are_counted_for_each_target(books: Books) -> None:
    # Level 3: an answer within 1 hour, a fix within 2 hours of service time.
    books.enter("AS-1", 3, "2026-11-02 09:00", (EventKind.ANSWERED, "2026-11-02 09:30"),
                (EventKind.RESOLVED, "2026-11-02 10:30"))  # fmt: skip
    # Late by 20 minutes over the night: 10 of Tuesday's end, 10 of Wednesday's start.
    books.enter("AS-2", 3, "2026-11-03 14:50", (EventKind.TAKEN, "2026-11-04 08:10"),
                (EventKind.RESOLVED, "2026-11-04 09:00"))  # fmt: skip
    books.enter("AS-3", 3, "2026-11-05 09:00", (EventKind.RESOLVED, "2026-11-05 11:40"))

    high = of_level(books.figures("2026-11-30 16:00"), 3)

    assert high.tickets == 3
    assert high.response == Target(met=1, missed=2, median_late=20 * MINUTE, ninetieth_late=100 * MINUTE)
    assert high.resolution == Target(met=1, missed=2, median_late=10 * MINUTE, ninetieth_late=40 * MINUTE)


def test_what_still_runs_is_missed_once_it_is_late(books: Books) -> None:
    books.enter("AS-1", 3, "2026-11-30 09:00", (EventKind.TAKEN, "2026-11-30 09:10"))

    in_time = of_level(books.figures("2026-11-30 10:59"), 3).resolution
    late = books.figures("2026-11-30 11:20")

    assert in_time == Target(running=1)
    assert of_level(late, 3).resolution == Target(missed=1, median_late=20 * MINUTE, ninetieth_late=20 * MINUTE)
    assert [(miss.kind, miss.late) for miss in late.misses] == [(Kind.RESOLUTION, 20 * MINUTE)]


def test_a_wait_stands_apart_also_while_it_lasts(books: Books) -> None:
    books.enter("AS-1", 4, "2026-11-02 09:00", (EventKind.ANSWERED, "2026-11-02 09:30"),
                (EventKind.WAITING, "2026-11-02 15:00"), (EventKind.RESUMED, "2026-11-03 08:30"),
                (EventKind.RESOLVED, "2026-11-03 09:00"))  # fmt: skip
    books.enter("AS-2", 4, "2026-11-02 09:00", (EventKind.ANSWERED, "2026-11-02 09:30"),
                (EventKind.WAITING, "2026-11-03 08:00"))  # fmt: skip

    medium = of_level(books.figures("2026-11-03 10:00"), 4)

    assert medium.paused == 90 * MINUTE + 120 * MINUTE
    assert medium.resolution == Target(met=1, running=1)


def test_arrivals_out_of_hours_are_counted_apart(books: Books) -> None:
    for number, received in enumerate(("2026-11-02 07:59", "2026-11-02 08:00", "2026-11-02 16:00", "2026-11-07 12:00")):
        books.enter(f"AS-{number}", 5, received)

    low = of_level(books.figures("2026-11-08 12:00"), 5)

    assert (low.tickets, low.out_of_hours) == (4, 3)


def test_spam_merged_tickets_and_other_months_are_left_out(books: Books) -> None:
    spam = books.enter("AS-1", 5, "2026-11-02 09:00")
    merged = books.enter("AS-2", 5, "2026-11-02 09:00")
    kept = books.enter("AS-3", 5, "2026-11-30 23:59")
    books.enter("AS-4", 5, "2026-12-01 00:00")
    books.enter("AS-5", 5, "2026-10-31 23:59")
    tickets.change(books.connection, spam, spam=True)
    tickets.change(books.connection, merged, merged_into=kept)

    found = books.figures("2026-12-01 12:00")

    assert found.tickets == 1
    assert of_level(found, 5).response.running == 1


def test_an_outcome_counts_at_the_level_that_was_promised(books: Books) -> None:
    number = books.enter("AS-1", 5, "2026-11-02 09:00", (EventKind.ANSWERED, "2026-11-02 09:30"))
    tickets.append(
        books.connection,
        number,
        Event(kind=EventKind.CORRECTED, at=at("2026-11-02 10:00"), details=(("level", "3"), ("was", "5"))),
    )
    tickets.change(books.connection, number, level=3)

    found = books.figures("2026-11-02 10:30")

    assert of_level(found, 5).response.met == 1
    assert of_level(found, 3).resolution.running == 1
    assert of_level(found, 3).tickets == 1


@pytest.mark.parametrize(
    ("percent", "expected"), [(50, 5), (90, 9), (1, 1), (100, 10)]
)
def test_a_percentile_is_one_of_the_values(percent: int, expected: int) -> None:
    assert percentile(range(1, 11), percent) == timedelta(seconds=expected)
    assert percentile([], percent) is None


def test_the_week_before_is_from_monday_to_sunday(books: Books) -> None:
    assert report.last_week(books.desk, at("2026-11-30 08:00")) == (date(2026, 11, 23), date(2026, 11, 29))
    assert report.last_week(books.desk, at("2026-11-29 23:30")) == (date(2026, 11, 16), date(2026, 11, 22))


# How it is shown.


def filled(file: Path) -> None:
    settings = config.load(file)
    database = Database(settings.database_url)
    upgrade(database)
    with database.write() as connection:
        one = Books(settings.desks[0], connection)
        one.enter("AS-1", 3, "2026-11-02 09:00", (EventKind.RESOLVED, "2026-11-02 10:20"))
        one.enter("AS-2", 1, "2026-11-07 09:00", (EventKind.RESOLVED, "2026-11-09 08:05"))
    database.close()


def reported(file: Path, *arguments: str | Path) -> Result:
    months = ("--from", "2026-11-01", "--to", "2026-11-30")
    command = ["-c", str(file), "sla", "report", *months, *map(str, arguments)]
    return CliRunner().invoke(app, command, catch_exceptions=False)


def test_in_a_pipe_each_target_is_a_line(file: Path) -> None:
    filled(file)

    lines = [line.split("\t") for line in reported(file).stdout.splitlines()]

    assert len(lines) == 12
    assert lines[4] == ["support", "2026-11-01", "2026-11-30", "3", "high", "1", "0", "response", "0", "1", "0",
                        "1200", "1200", "0"]  # fmt: skip
    assert lines[1][5:11] == ["1", "1", "resolution", "1", "0", "0"]


def test_a_script_gets_an_object_a_mailbox(file: Path) -> None:
    filled(file)

    found = json.loads(reported(file, "--json").stdout)

    assert [one["mailbox"] for one in found] == ["support"]
    assert found[0]["tickets"] == 2
    assert found[0]["worst"] == [{"ticket": "AS-1", "target": "response", "late_seconds": 1200}]
    assert found[0]["figures"][4]["missed"] == 1


def test_a_terminal_shows_a_table_in_80_columns(books: Books) -> None:
    from rich.console import Console

    books.enter("AS-1", 3, "2026-11-02 09:00", (EventKind.RESOLVED, "2026-11-02 10:20"))
    found = books.figures("2026-11-30 16:00")
    section = PageSection(
        mailbox="[red]support", found=found,
        report=report.as_letter(books.connection, books.desk, books.mailbox_id, found),
    )  # fmt: skip
    console = Console(width=80, color_system=None, force_terminal=True)

    with console.capture() as capture:
        console.print(report_tables([section]))

    drawn = capture.get()
    assert max(map(len, drawn.splitlines())) <= 80
    assert "[red]support: Sun 1 Nov 2026 to Mon 30 Nov 2026" in drawn
    assert "AS-1: response 20 min late" in drawn
    row = next(line.split() for line in drawn.splitlines() if "3 high" in line)
    assert row == ["3", "high", "1", "reply", "0", "1", "0", "20", "min", "20", "min"]


def test_a_spreadsheet_runs_no_formula(file: Path, tmp_path: Path) -> None:
    filled(file)
    file.write_text(file.read_text().replace("name: outage", "name: '=1+1'"), encoding="utf-8")

    reported(file, "--csv", tmp_path / "year.csv")

    written = (tmp_path / "year.csv").read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(written)))
    assert rows[0]["name"] == "'=1+1"
    assert rows[4]["median_late_seconds"] == "1200"
    assert rows[0]["median_late_seconds"] == ""
    assert csv_text([{"a": '1,"x"', "b": -1}]) == 'a,b\r\n"1,""x""",-1\r\n'


def test_the_page_stands_by_itself_and_says_what_the_lines_say(file: Path, tmp_path: Path) -> None:
    filled(file)
    file.write_text(file.read_text().replace("name: high", "name: <b>high</b>"), encoding="utf-8")

    reported(file, "--html", tmp_path / "report.html")

    page = LexborHTMLParser((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.css("script, link, iframe") == []
    assert [image.attributes["src"][:22] for image in page.css("img")] == ["data:image/png;base64,"]  # type: ignore[index]
    rows = [[cell.text() for cell in row.css("th, td")] for row in page.css("tbody tr")]
    assert rows[2] == ["3 <b>high</b>", "1", "0", "0", "1", "0", "20 min", "20 min"]
    assert rows[8] == ["3 <b>high</b>", "1", "0 min", "1", "0", "0", "–", "–"]
    assert "1 November 2026 to 30 November 2026" in page.css_first("main").text()


def test_dates_the_wrong_way_round_and_a_place_that_cannot_be_written_are_clear_errors(
    file: Path, tmp_path: Path
) -> None:
    filled(file)

    turned = CliRunner().invoke(app, ["-c", str(file), "sla", "report", "--from", "2026-11-02", "--to", "2026-11-01"])
    nowhere = CliRunner().invoke(app, ["-c", str(file), "sla", "report", "--csv", str(tmp_path / "no" / "x.csv")])

    assert turned.exit_code == 2
    assert "--from 2026-11-02 is after --to 2026-11-01" in turned.stderr
    assert "cannot be written (No such file or directory)" in str(nowhere.exception)


def test_a_desk_that_was_asked_nothing_has_a_report_too(file: Path, tmp_path: Path) -> None:
    assert len(reported(file, "--html", tmp_path / "empty.html").stdout.splitlines()) == 12

    assert LexborHTMLParser((tmp_path / "empty.html").read_text(encoding="utf-8")).css("img") == []


def test_counted_at_now_is_the_instant_of_the_report(books: Books) -> None:
    page = _page(books, datetime(2026, 12, 1, 9, 5, tzinfo=books.desk.hours.zone))

    assert "as counted on 1 December 2026, 09:05" in page


def _page(books: Books, now: datetime) -> str:
    from supportd.compose import Composer

    found = books.figures("2026-11-30 16:00")
    letter = report.as_letter(books.connection, books.desk, books.mailbox_id, found)
    composer = Composer(
        hours=books.desk.hours, policy=books.desk.policy, support=Address(address="it@allsaints.example"),
        school="All Saints",
    )  # fmt: skip
    return composer.report_page([PageSection(mailbox="support", found=found, report=letter)], now)
