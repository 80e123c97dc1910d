"""Worker processes: what a killer costs, what it does not cost, and how each death is told."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path

import pytest

from supportd import parsing
from supportd.core.model import Mail, Unparseable
from supportd.parsing import MEMORY_BYTES, MESSAGE_BYTES, Reader, WorkerDied

HEAD = b"From: jane@allsaints.example\r\nSubject: Printer\r\nMessage-ID: <a@x.example>\r\n"
GOOD = HEAD + b"\r\nIt does not print.\r\n"


def nested(depth: int) -> bytes:
    return HEAD + b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(depth)
    )


# The twelve that were measured to kill the standard library and its kin (reliability.md 1).
KILLERS = {
    "500 brackets in From": b"From: " + b"(" * 500 + b"\r\n\r\nx",
    "300 levels of parts": nested(300),
    "1000 levels of parts": nested(1000),
    "64 KB of semicolons": HEAD + b"Content-Type: text/plain; " + b";" * 65_536 + b"\r\n\r\nx",
    "700 KB of encoded words": b"Subject: " + b" ".join([b"=?utf-8?q?abc=20?="] * 38_000) + b"\r\n" + HEAD + b"\r\nx",
    "100,000 parts": HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 100_000,
    "20,000 recipients": HEAD + b"To: " + b", ".join(b"u%d@x.example" % n for n in range(20_000)) + b"\r\n\r\nx",
    "15 MB of base64": HEAD + b"Content-Transfer-Encoding: base64\r\n\r\n" + (b"QUFB" * 19 + b"\r\n") * 190_000,
    "open tags": HEAD + b"Content-Type: text/html\r\n\r\n" + b"<a " * 20_000,
    "open comments": HEAD + b"Content-Type: text/html\r\n\r\n" + b"<!--" * 80_000,
    "100,000 nested blocks": HEAD + b"Content-Type: text/html\r\n\r\n" + b"<div>" * 100_000,
    "a backtracking bait": HEAD + b"\r\n" + b"a" * 100_000 + b"!",
}


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Reader(workers=2) as pool:
        pool.read(GOOD)
        yield pool


def _descriptors() -> list[Path]:
    return [entry for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]


def misbehave(raw: bytes) -> Mail | Unparseable:
    """Stand in for the parser where a test needs a mail that really spends what it may not."""
    match raw:
        case b"processor":
            while True:
                pass
        case b"one second":
            start = time.process_time()
            while time.process_time() < start + 1:
                pass
        case b"memory":
            return Unparseable(reason=str(len(bytes(MEMORY_BYTES))))
        case b"sleep":
            time.sleep(600)
        case b"fault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case b"killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case b"environment":
            return Unparseable(reason=repr(sorted(os.environ)))
        case b"files":
            return Unparseable(reason=" ".join(sorted(target.readlink().name for target in _descriptors())))
    return Unparseable(reason="read")


@pytest.fixture(scope="module")
def misbehaving() -> Iterator[Reader]:
    with Reader(workers=1, parser=misbehave) as pool:
        yield pool


@pytest.mark.parametrize("name", KILLERS)
def test_a_killer_ends_within_six_seconds_and_the_next_mail_is_read(reader: Reader, name: str) -> None:
    start = time.monotonic()

    outcome = reader.read(KILLERS[name])

    assert isinstance(outcome, Mail | Unparseable)
    assert time.monotonic() - start < 6
    assert isinstance(reader.read(GOOD), Mail)


def test_a_mail_that_spends_too_much_processor_time_is_unparseable_at_once(
    misbehaving: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parsing, "CPU_SECONDS", 2)

    outcome = misbehaving.read(b"processor")

    assert outcome == Unparseable(reason="reading it takes more than 2 seconds of processor time")
    assert misbehaving.read(b"good") == Unparseable(reason="read")


def test_every_mail_has_its_processor_time_for_itself(misbehaving: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "CPU_SECONDS", 3)

    outcomes = [misbehaving.read(b"one second") for _ in range(4)]

    assert outcomes == [Unparseable(reason="read")] * 4


def test_a_mail_that_needs_too_much_memory_is_unparseable_and_its_worker_lives(misbehaving: Reader) -> None:
    outcome = misbehaving.read(b"memory")

    assert outcome == Unparseable(reason="reading it takes more memory than there is for one mail")
    assert misbehaving.read(b"good") == Unparseable(reason="read")


def test_a_mail_that_stands_still_is_unparseable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "WALL_SECONDS", 1)
    with Reader(workers=1, parser=misbehave) as pool:
        outcome = pool.read(b"sleep")

        assert outcome == Unparseable(reason="reading it takes longer than 1 seconds")
        assert pool.read(b"good") == Unparseable(reason="read")


@pytest.mark.parametrize("death", [b"fault", b"killed"])
def test_any_other_death_is_told_and_the_next_mail_is_read(misbehaving: Reader, death: bytes) -> None:
    with pytest.raises(WorkerDied):
        misbehaving.read(death)

    assert misbehaving.read(b"good") == Unparseable(reason="read")


def test_the_death_of_one_worker_costs_the_others_nothing() -> None:
    with Reader(workers=2, parser=misbehave) as pool:
        tasks = [pool.submit(b"killed" if number % 10 == 5 else b"good") for number in range(40)]

        wait(tasks, timeout=60)

        died = [number for number, task in enumerate(tasks) if isinstance(task.exception(), WorkerDied)]
        assert died == [5, 15, 25, 35]


def test_a_worker_has_no_secret_and_no_connection(
    misbehaving: Reader, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SUPPORTD_PASSWORD", "hunter2")
    with (tmp_path / "database").open("w"), Reader(workers=1, parser=misbehave) as pool:
        environment, files = pool.read(b"environment"), pool.read(b"files")

    assert environment == Unparseable(reason="[]")
    assert isinstance(files, Unparseable)
    assert "database" not in files.reason
    assert files.reason.count("pipe:") + files.reason.count("null") >= 2


def test_an_oversize_mail_is_read_from_its_headers() -> None:
    with Reader(workers=1) as pool:
        outcome = pool.read(GOOD + b"x" * MESSAGE_BYTES)

    assert isinstance(outcome, Mail)
    assert outcome.oversize
    assert outcome.subject == "Printer"


def test_a_mail_at_the_limit_with_its_attachment_fits_into_a_worker(reader: Reader) -> None:
    head = HEAD + b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    lines = (MESSAGE_BYTES - len(head)) // 78

    outcome = reader.read(head + (b"QUFB" * 19 + b"\r\n") * lines)

    assert isinstance(outcome, Mail)
    assert outcome.attachments[0].size == lines * 57


def test_a_pool_that_broke_is_replaced(misbehaving: Reader) -> None:
    misbehaving._pool.stop()  # type: ignore[no-untyped-call]

    assert misbehaving.read(b"good") == Unparseable(reason="read")


def test_fifty_megabytes_do_not_grow_the_daemon_beyond_the_mail_itself() -> None:
    raw = GOOD + b"x" * 50_000_000
    with Reader(workers=1) as pool:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        pool.read(raw)

        grown_bytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown_bytes < MEMORY_BYTES / 8
