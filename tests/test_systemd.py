"""The units are right as systemd reads them, and as narrow as promised."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from servers import program

UNITS = Path(__file__).parent.parent / "systemd"
SERVICES = ("supportd.service", "supportd-backup.service")
# systemd-analyze counts in tenths: 1.5 of 10, where a service without any wall has 9.6.
EXPOSURE_TENTHS = 15


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [program("systemd-analyze", "systemd"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def settings(unit: str) -> list[str]:
    """Return the lines of a unit that are neither empty nor a comment nor a section's name."""
    lines = (UNITS / unit).read_text().splitlines()
    return [line for line in lines if line and line[0] not in "#["]


def test_systemd_finds_nothing_to_complain_about(tmp_path: Path) -> None:
    # The program of a real installation is not on this machine: Python stands in for it.
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/opt/supportd/bin/supportd", sys.executable)
        (tmp_path / unit.name).write_text(text)

    result = analyze("verify", *sorted(tmp_path.iterdir()))

    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_exposed_no_more_than_promised(service: str) -> None:
    result = analyze("security", "--offline=true", f"--threshold={EXPOSURE_TENTHS}", UNITS / service)

    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("wall", ["SystemCallFilter=@system-service", "PrivateUsers=yes", "CapabilityBoundingSet="])
def test_a_missing_wall_is_noticed(wall: str, tmp_path: Path) -> None:
    holed = tmp_path / "supportd.service"
    lines = [line for line in settings("supportd.service") if not line.startswith(wall.split("=")[0])]
    holed.write_text("[Service]\n" + "\n".join(lines[lines.index("Type=notify") :]))

    result = analyze("security", "--offline=true", "--threshold=13", holed)

    assert result.returncode == 1, result.stdout


def test_the_backup_stands_behind_the_same_walls_as_the_daemon() -> None:
    walls = settings("supportd.service")

    first, last = walls.index("NoNewPrivileges=yes"), walls.index("LimitCORE=0")

    assert [line for line in walls[first : last + 1] if line not in settings("supportd-backup.service")] == []


def test_every_setting_of_the_daemon_says_what_it_is_for() -> None:
    explained, unexplained = False, []
    for line in (UNITS / "supportd.service").read_text().splitlines():
        if line.startswith("#"):
            explained = True
        elif not line or line.startswith("["):
            explained = False
        # What the daemon is and when it starts needs no defence.
        elif not explained and not line.startswith(("Description=", "Type=", "ExecStart=", "WantedBy=")):
            unexplained.append(line)

    assert unexplained == []


def test_the_timer_starts_at_a_moment_that_exists() -> None:
    [moment] = [line.removeprefix("OnCalendar=") for line in settings("supportd-backup.timer") if "OnCalendar" in line]

    result = analyze("calendar", moment)

    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_the_command_of_a_service_is_one_that_supportd_has(service: str) -> None:
    [command] = [line.removeprefix("ExecStart=") for line in settings(service) if line.startswith("ExecStart=")]
    _program, *words = command.split()

    # With --help the words must be understood, and nothing is done.
    asked = [sys.executable, "-c", "from supportd.cli.app import main; main()", *words, "--help"]
    result = subprocess.run(asked, capture_output=True, text=True, timeout=60)

    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Usage:")
