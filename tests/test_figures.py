"""The page of figures adds up what the long runs count."""

from __future__ import annotations

from pathlib import Path

import figures

LAST = ("2026-11-24", "abc1234", "make release-test PART=kills")


def test_a_first_run_makes_its_table_and_its_row() -> None:
    page = figures.added("# Figures\n", "Kills", "on SQLite", {"kills": 100, "lost": 0}, LAST)

    assert page.splitlines()[2:] == [
        "## Kills",
        "",
        "| run | kills | lost | date | commit | command |",
        "|---|---|---|---|---|---|",
        "| on SQLite | 100 | 0 | 2026-11-24 | abc1234 | `make release-test PART=kills` |",
    ]


def test_a_later_run_adds_to_its_row_and_leaves_the_others_alone() -> None:
    page = figures.added("# Figures\n", "Kills", "on SQLite", {"kills": 100, "lost": 0}, LAST)
    page = figures.added(page, "Kills", "on PostgreSQL", {"kills": 7, "lost": 0}, LAST)
    page += "\n## Speed\n\nwords\n"

    page = figures.added(page, "Kills", "on SQLite", {"kills": 50, "lost": 1}, ("2026-11-25", "def5678", "make x"))

    assert page.splitlines()[6:] == [
        "| on SQLite | 150 | 1 | 2026-11-25 | def5678 | `make x` |",
        "| on PostgreSQL | 7 | 0 | 2026-11-24 | abc1234 | `make release-test PART=kills` |",
        "",
        "## Speed",
        "",
        "words",
    ]


def test_a_long_run_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    file = tmp_path / "figures.md"
    file.write_text(figures.added("# Figures\n", "Cuts", "imap", {"cuts": 200, "lost": 0}, LAST))

    assert figures.so_far("Cuts", "imap", "cuts", file=file) == 200
    assert figures.so_far("Cuts", "smtp", "cuts", file=file) == 0
    assert figures.so_far("Kills", "imap", "kills", file=file) == 0
