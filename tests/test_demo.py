"""The demo, as anybody runs it: real servers, the real daemon, everything decided, shown and looked at."""

from __future__ import annotations

import os
import re
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import wait_until

# Seconds of real servers at work: nothing for `make check`.
pytestmark = pytest.mark.servers

COMMAND = [sys.executable, "-c", "from supportd.cli.app import main; main()", "demo", "--out", "shown"]
# What interfaces.md promises.
SECONDS = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def shown(folder: Path) -> str:
    """Return what the demo printed; its files are in *folder*/shown."""
    started_at = time.monotonic()
    result = subprocess.run(COMMAND, cwd=folder, capture_output=True, text=True, timeout=110)
    log = folder / "shown" / "daemon.log"
    assert result.returncode == 0, result.stderr + result.stdout + (log.read_text() if log.exists() else "")
    assert time.monotonic() - started_at < SECONDS
    return result.stdout


def test_the_demo_shows_every_ticket_and_every_mail_that_became_none(shown: str) -> None:
    tickets, _, others = shown.partition("Mails that opened no ticket")

    assert len(set(re.findall(r"AS-\d+", tickets))) >= 20
    assert {"1 outage", "2 urgent", "3 high", "4 medium", "5 low", "6 informational"} <= set(
        re.findall(r"[1-6] (?:outage|urgent|high|medium|low|informational)", tickets)
    )
    assert {"duplicate", "screened", "reply", "command", "quarantined"} <= set(others.split())


def test_a_machine_and_an_outsider_are_not_answered(shown: str, folder: Path) -> None:
    written_to = {name.name.split("-to-")[1] for name in (folder / "shown/letters").glob("*-acknowledgement-to-*.eml")}

    assert "p.nair.eml" in written_to
    assert not written_to & {"prtg.eml", "nas.eml", "copier-ks2.eml", "kerry.doyle84.eml", "invoices.eml"}
    assert "machine" in shown
    assert "outsider" in shown


def test_each_letter_can_be_opened_from_the_page_of_letters(shown: str, folder: Path) -> None:
    page = (folder / "shown/index.html").read_text()

    letters = set((folder / "shown/letters").glob("*.eml"))

    assert str((folder / "shown/index.html").resolve()) in shown
    links = [folder / "shown" / link for link in re.findall('(?:href|src)="([^"]+)"', page)]
    assert letters <= set(links)
    assert [link for link in links if not link.exists()] == []


def test_the_daemon_says_nothing_worse_than_information_but_of_the_poison(shown: str, folder: Path) -> None:
    lines = (folder / "shown/daemon.log").read_text().splitlines()

    assert shown
    assert [line for line in lines if re.search('"level": "(error|critical)"|Traceback', line)] == []


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Yield a demo that was asked to stay, and the file that it prints to."""
    printed = tmp_path / "printed"
    with printed.open("wb") as stream:
        process = subprocess.Popen([*COMMAND, "--keep"], cwd=tmp_path, stdout=stream, stderr=stream)
    yield process, printed
    process.kill()
    process.wait()


def test_a_kept_demo_answers_whoever_writes_and_ends_with_ctrl_c(kept: tuple[subprocess.Popen[bytes], Path]) -> None:
    process, printed = kept
    wait_until(lambda: "It keeps running" in printed.read_text(), "the demo stays", timeout_seconds=SECONDS)
    [port] = re.findall(r"smtp://127.0.0.1:(\d+)", printed.read_text())
    before = printed.read_text().count("→ acknowledgement")

    with smtplib.SMTP("127.0.0.1", int(port)) as client:
        mail = (printed.parent / "shown/try-me.eml").read_bytes()
        client.sendmail("p.nair@allsaints.example", "support@allsaints.example", mail)

    wait_until(lambda: printed.read_text().count("→ acknowledgement") > before, "the desk answers")
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=20) == 0


def test_a_folder_that_is_not_the_demos_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "shown").mkdir()
    (tmp_path / "shown/config.yaml").write_text("school: mine")

    result = subprocess.run(COMMAND, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert result.returncode == 1
    assert "is not a folder that the demo made" in result.stderr
    assert (tmp_path / "shown/config.yaml").read_text() == "school: mine"
