"""``supportd inspect`` as a process: a JSON line for each file, whatever the files are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MAILS = Path(__file__).parent / "mails"
SUPPORTD = Path(sys.executable).with_name("supportd")
# What interfaces.md promises for every mail that can be read.
KEYS = {
    *("file", "verdict", "rule", "automatic", "bounce", "from", "from_name", "to", "subject", "message_id", "date"),
    *("text", "new_text", "attachments", "severity", "evidence"),
}


def inspect(folder: Path, *files: Path | str, given: bytes = b"") -> list[dict[str, Any]]:
    done = subprocess.run(
        [SUPPORTD, "inspect", *files],
        input=given,
        capture_output=True,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        timeout=100,
    )
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_mail_is_told_from_its_sender_to_its_severity(tmp_path: Path) -> None:
    mail = tmp_path / "whole-school.eml"
    mail.write_bytes(
        b"From: Jane Smith <Jane@allsaints.example>\r\nTo: support@allsaints.example\r\nSubject: Internet\r\n"
        b"Date: Tue, 24 Nov 2026 09:30:00 +0000\r\nMessage-ID: <a@allsaints.example>\r\n\r\n"
        b"The internet is down in the whole school.\r\n\r\n-- \r\nJane\r\n"
    )

    [line] = inspect(tmp_path, mail)

    assert set(line) >= KEYS
    assert line["file"] == str(mail)
    assert (line["verdict"], line["rule"], line["automatic"], line["bounce"]) == ("ticket", None, False, False)
    assert (line["from"], line["from_name"], line["to"]) == (
        "jane@allsaints.example",
        "Jane Smith",
        ["support@allsaints.example"],
    )
    assert (line["message_id"], line["date"]) == ("<a@allsaints.example>", "2026-11-24T09:30:00+00:00")
    assert line["new_text"] == "The internet is down in the whole school."
    assert line["severity"] == 1
    assert line["sender"] == {
        "level": "member",
        "reasons": ["allsaints.example is a staff domain, taken at its word (profile none)"],
    }
    assert {"words": "whole school", "field": "body", "facet": "scope:school"} in line["evidence"]


def test_lines_keep_the_order_of_the_files(tmp_path: Path) -> None:
    files = sorted(MAILS.glob("1[0-4]?-*.eml"))

    lines = inspect(tmp_path, *files)

    assert [line["file"] for line in lines] == [str(file) for file in files]


def test_a_file_that_cannot_be_read_costs_its_own_line_only(tmp_path: Path) -> None:
    good = MAILS / "100-mutt-plain-polish.eml"
    (tmp_path / "empty.eml").write_bytes(b"")
    (tmp_path / "noise.eml").write_bytes(bytes(range(256)) * 100)

    lines = inspect(tmp_path, "missing.eml", tmp_path, "empty.eml", "noise.eml", good)

    assert [line["verdict"] for line in lines] == ["quarantined", "quarantined", "quarantined", "ticket", "ticket"]
    assert all(line["reason"] for line in lines[:3])
    assert lines[4]["from"] == "agnieszka.nowak@allsaints.example"


def test_a_mail_may_come_on_standard_input(tmp_path: Path) -> None:
    [line] = inspect(tmp_path, "-", given=(MAILS / "100-mutt-plain-polish.eml").read_bytes())

    assert line["subject"] == "Projektor w sali 7 – niebieski ekran"


@pytest.mark.parametrize("name", ["name with space.eml", "zażółć.eml", os.fsdecode(b"caf\xe9.eml")])
def test_any_file_name_is_given_back(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"From: a@allsaints.example\r\n\r\nHello\r\n")

    [line] = inspect(tmp_path, name)

    assert line["file"] == name


def test_an_oversize_file_is_a_ticket_from_its_headers(tmp_path: Path) -> None:
    with (tmp_path / "big.eml").open("wb") as big:
        big.write(b"From: a@allsaints.example\r\nSubject: Video\r\n\r\n")
        big.truncate(60_000_000)

    [line] = inspect(tmp_path, "big.eml")

    assert (line["verdict"], line["subject"], line["oversize"]) == ("ticket", "Video", True)
