"""A mailbox server that breaks off, refuses, garbles or lies costs time and never a mail (reliability.md 2.1, G5).

Every step of a visit meets every misbehaviour once, and some meet theirs for ever.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from servers import HOST
from servers.faulty_imap import Fault, FaultyImap, Folder
from supportd import imap
from supportd.capture import FirstStart, Folders, Inbox
from supportd.core.model import Verdict
from supportd.db import ledger
from supportd.db.engine import Database
from supportd.db.migrate import upgrade
from supportd.db.schema import message
from supportd.errors import Refused, Unavailable
from supportd.imap import ImapAccount, ImapSession
from supportd.lease import Lease

NOW = datetime(2026, 11, 24, 9, 5, tzinfo=UTC)
DATE = datetime(2026, 11, 24, 9, tzinfo=UTC)
MAILS = [f"Subject: call {number}\r\n\r\nThe board in room {number} is dark.\r\n".encode() for number in range(3)]

STEPS = {
    "sign-in": "^LOGIN",
    "folders": "^LIST",
    "new folder": "^CREATE",
    "select": "^SELECT",
    "search": "^UID SEARCH",
    "listing": r"^UID FETCH .*RFC822\.SIZE",
    "bodies": r"^UID FETCH .*BODY\.PEEK",
    "move": "^UID MOVE",
}


def tagged(words: bytes) -> Callable[[bytes], bytes]:
    """Return a change that gives nothing but the command's tag and *words*."""
    return lambda answer: answer.splitlines()[-1].split()[0] + b" " + words + b"\r\n"


MISBEHAVIOURS: dict[str, tuple[Callable[[bytes], bytes], bool]] = {
    "closes without a word": (lambda _: b"", True),
    "closes in the midst": (lambda answer: answer[: len(answer) // 2], True),
    "closes before it has said OK": (lambda answer: answer[: answer[:-2].rfind(b"\n") + 1], True),
    "says NO": (tagged(b"NO [UNAVAILABLE] later"), False),
    "says BAD": (tagged(b"BAD [CLIENTBUG] so they say"), False),
    "says BYE": (lambda _: b"* BYE Session invalidated - AccessTokenExpired\r\n", True),
    "says OK and nothing else": (tagged(b"OK done"), False),
    "garbles a line": (lambda answer: b"* 1 FETCH (UID \xff\x00 ((({\r\n" + answer, False),
    "talks of other things": (
        lambda answer: b"* 1 FETCH (FLAGS (\\Seen))\r\n* 9 FETCH (UID 99 FLAGS ())\r\n* OK still here\r\n" + answer,
        False,
    ),
}


@pytest.fixture
def server() -> Iterator[FaultyImap]:
    server = FaultyImap()
    for one in MAILS:
        server.folders["INBOX"].add(one)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'supportd.db'}")
    upgrade(database)
    with database.write() as connection:
        ledger.ensure_mailbox(connection, "support")
        ledger.first_start(connection, 1, NOW - timedelta(hours=1))
    yield database
    database.close()


def visit(server: FaultyImap, database: Database, lease: Lease) -> None:
    """Capture, decide as a stand-in for everything else, and file, over one connection."""
    assert lease.take(NOW)
    account = ImapAccount(host=HOST, port=server.port, tls="none", user="support", password="secret")
    session = ImapSession(account)
    try:
        inbox = Inbox(
            session,
            database,
            mailbox_id=1,
            folders=Folders(inbox="INBOX", processed="Processed", screened="Screened", quarantine="Quarantine"),
            first_start=FirstStart(answers_within=timedelta(hours=1)),
            message_limit_bytes=15_000_000,
            lease=lease,
        )
        inbox.open(NOW)
        inbox.capture(NOW)
        with database.write() as connection:
            for number in ledger.undecided(connection, 1, limit=100):
                ledger.decide(
                    connection, 1, number, verdict=Verdict.TICKET, rule=None, reason="", folder="Processed", now=NOW
                )
        inbox.file(NOW)
    finally:
        session.close()


def visits(server: FaultyImap, database: Database, count: int) -> int:
    """Return how many of *count* visits failed; each failure is one that the daemon comes back from."""
    lease, failures = Lease(database, 1), 0
    for _ in range(count):
        try:
            visit(server, database, lease)
        except (Unavailable, Refused):
            failures += 1
    return failures


def captured(database: Database) -> list[bytes]:
    """Return the bytes of every message in the ledger, in the order of their UIDs."""
    with database.read() as connection:
        numbers = connection.execute(select(message.c.id).order_by(message.c.uid)).scalars().all()
        return [ledger.raw_bytes(connection, number) or b"" for number in numbers]


@pytest.mark.parametrize("misbehaviour", MISBEHAVIOURS)
@pytest.mark.parametrize("step", STEPS)
def test_a_server_that_misbehaves_once_costs_no_mail(
    server: FaultyImap, database: Database, step: str, misbehaviour: str
) -> None:
    change, cut = MISBEHAVIOURS[misbehaviour]
    fault = Fault(pattern=STEPS[step], change=change, cut=cut)
    server.faults = [fault]

    visits(server, database, 4)

    assert fault.times == 0, "the step is never reached"
    assert captured(database) == MAILS
    assert server.folders["INBOX"].messages == []
    assert sorted({one.data for one in server.folders["Processed"].messages}) == sorted(MAILS)


BODY_OF_2 = r"^UID FETCH (\d+,)*2(,\d+)* .*BODY\.PEEK"


def without_2(answer: bytes) -> bytes:
    """Return the answer without the second message."""
    return re.sub(rb"\* \d+ FETCH \(UID 2 .*?\r\n\)\r\n", b"", answer, flags=re.DOTALL)


def nil_for_2(answer: bytes) -> bytes:
    return re.sub(rb"(UID 2 BODY\[\]) \{\d+\}\r\n.*?\r\n\)", rb"\1 NIL)", answer, flags=re.DOTALL)


NEVER_GIVEN: dict[str, tuple[Callable[[bytes], bytes], bool]] = {
    "NIL": (nil_for_2, False),
    "left out": (without_2, False),
    "under a wrong UID": (lambda answer: answer.replace(b"(UID 2 ", b"(UID 77 "), False),
    "NO": (tagged(b"NO [SERVERBUG] cannot read it"), False),
    "closed upon": (lambda answer: answer[: answer.find(b"(UID 2 ") + 30], True),
    "a literal longer than the disk": (lambda _: b"* 2 FETCH (UID 2 BODY[] {999999999999999}\r\n", True),
}


@pytest.mark.parametrize("how", NEVER_GIVEN)
def test_a_mail_that_is_never_given_out_is_kept_for_a_person_and_holds_up_no_other(
    server: FaultyImap, database: Database, how: str
) -> None:
    change, cut = NEVER_GIVEN[how]
    server.faults = [Fault(pattern=BODY_OF_2, change=change, cut=cut, times=-1)]

    lease = Lease(database, 1)
    for number in range(6):
        # Mail goes on coming: a connection that gives out other mail shows that it is this one.
        server.folders["INBOX"].add(b"Subject: more\r\n\r\n%d\r\n" % number)
        with contextlib.suppress(Unavailable):
            visit(server, database, lease)

    with database.read() as connection:
        rows = {row.uid: row for row in connection.execute(select(message))}
        assert ledger.raw_bytes(connection, rows[1].id) == MAILS[0]
        assert ledger.raw_bytes(connection, rows[2].id) == b""
        assert ledger.raw_bytes(connection, rows[3].id) == MAILS[2]
        assert ledger.unread(connection, 1) == {}
    assert len(rows) == 3 + 6


def test_a_mail_that_is_given_out_at_last_is_taken_whole(server: FaultyImap, database: Database) -> None:
    server.faults = [Fault(pattern=BODY_OF_2, change=nil_for_2, times=2)]

    visits(server, database, 4)

    assert captured(database) == MAILS


@pytest.mark.parametrize("limit", [1 << 20, 300_000])
def test_a_large_mail_comes_in_pieces_however_small_the_server_makes_them(
    server: FaultyImap, database: Database, limit: int
) -> None:
    large = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 150_000
    server.folders["INBOX"] = Folder()
    server.folders["INBOX"].add(large)

    def shorter(answer: bytes) -> bytes:
        head, _, rest = answer.partition(b"}\r\n")
        start, _, size = head.rpartition(b"{")
        return start + b"{%d}\r\n" % min(limit, int(size)) + rest[: min(limit, int(size))] + rest[int(size) :]

    def whole_pieces(command: str) -> bool:
        return "BODY.PEEK[]<" in command

    pattern = r"BODY\.PEEK\[\]<"
    if limit < 1 << 20:
        server.faults = [Fault(pattern=pattern, change=shorter, times=-1)]

    visits(server, database, 2)

    assert captured(database) == [large]
    assert any(map(whole_pieces, server.commands))


def test_half_of_a_large_mail_that_vanishes_meanwhile_is_not_taken_for_the_whole(
    server: FaultyImap, database: Database
) -> None:
    server.folders["INBOX"] = Folder()
    server.folders["INBOX"].add(b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 150_000)
    server.faults = [Fault(pattern=r"BODY\.PEEK\[\]<1048576", change=tagged(b"OK gone"), times=-1)]

    visits(server, database, 2)

    assert captured(database) == []


def test_a_mail_without_a_date_is_a_mail(server: FaultyImap, database: Database) -> None:
    server.folders["INBOX"].messages[1].date = "00-Xxx-0000 00:00:00 +0000"

    visits(server, database, 3)

    assert captured(database) == MAILS


def test_a_uid_that_is_given_a_second_time_names_another_mail(server: FaultyImap, database: Database) -> None:
    visits(server, database, 1)
    other = b"Subject: quite another\r\n\r\nUnder an old number.\r\n"
    server.folders["INBOX"].uidnext = 2
    server.folders["INBOX"].add(other)

    visits(server, database, 2)

    assert sorted(captured(database)) == sorted([*MAILS, other])
    assert [one.data for one in server.folders["Processed"].messages].count(other) == 1


def test_a_new_life_of_the_mailbox_captures_what_lies_there_and_forgets_nothing(
    server: FaultyImap, database: Database
) -> None:
    visits(server, database, 1)
    server.folders["INBOX"] = Folder(uidvalidity=2)
    server.folders["INBOX"].add(b"Subject: after\r\n\r\nThe mailbox was made anew.\r\n")

    visits(server, database, 1)

    assert len(captured(database)) == 4


@pytest.mark.parametrize("words", [b"NO [OVERQUOTA] Quota exceeded", b"NO [TRYCREATE] No such folder"])
def test_a_folder_that_takes_no_mail_stops_its_own_filing_and_nothing_else(
    server: FaultyImap, database: Database, words: bytes
) -> None:
    refusal = Fault(pattern="^UID MOVE .*Processed", change=tagged(words), times=3)
    server.faults = [refusal]
    lease = Lease(database, 1)
    visit(server, database, lease)
    server.folders["INBOX"].add(b"Subject: later\r\n\r\nStill captured.\r\n")

    visit(server, database, lease)
    captured_meanwhile = len(captured(database))
    visits(server, database, 3)

    assert captured_meanwhile == 4
    assert refusal.times == 0
    assert server.folders["INBOX"].messages == []


@pytest.mark.parametrize(
    ("capabilities", "left"), [(b"IMAP4rev1 MOVE", 1), (b"IMAP4rev1 UIDPLUS", 1), (b"IMAP4rev1", 4)]
)
def test_each_mail_is_filed_once_and_other_peoples_deleted_mail_stays(
    server: FaultyImap, database: Database, capabilities: bytes, left: int
) -> None:
    server.capabilities = capabilities
    with database.write() as connection:
        ledger.ensure_epoch(connection, 1, "INBOX", 1)
        theirs = server.folders["INBOX"].add(b"Subject: theirs\r\n\r\nDeleted by somebody.\r\n")
        server.folders["INBOX"].messages[-1].flags.add("\\Deleted")
        old = ledger.Listed(uid=theirs, size=len(server.folders["INBOX"].messages[-1].data), received_at=DATE)
        ledger.adopt(connection, 1, 1, [old], NOW)

    visits(server, database, 4)

    assert [one.data for one in server.folders["Processed"].messages] == MAILS
    assert len(server.folders["INBOX"].messages) == left
    assert server.folders["INBOX"].messages[-1].uid == theirs


def test_folders_that_may_not_be_made_do_not_keep_mail_out(server: FaultyImap, database: Database) -> None:
    server.faults = [Fault(pattern="^CREATE", change=tagged(b"NO [NOPERM] not yours"), times=3)]

    with contextlib.suppress(Unavailable):
        visit(server, database, Lease(database, 1))

    assert captured(database) == MAILS


def test_a_server_that_falls_silent_is_left(
    server: FaultyImap, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imap, "_READ_SECONDS", 0.3)
    server.faults = [Fault(pattern=STEPS["bodies"], change=lambda answer: answer[:40])]

    failures = visits(server, database, 2)

    assert failures == 1
    assert captured(database) == MAILS


def test_mail_that_was_told_of_while_other_mail_was_filed_is_not_waited_for(server: FaultyImap) -> None:
    account = ImapAccount(host=HOST, port=server.port, tls="none", user="support", password="secret")
    session = ImapSession(account)
    session.ensure_folders(["Processed"])
    session.select("INBOX")
    session.listing()
    server.faults = [Fault(pattern="^UID MOVE", change=lambda answer: b"* 4 EXISTS\r\n" + answer)]
    session.move([1], "Processed")
    started_at = time.monotonic()

    said = session.idle(5)

    assert said
    assert time.monotonic() - started_at < 1
    session.close()


def test_no_words_of_a_mail_ever_reach_the_server(server: FaultyImap, database: Database) -> None:
    hostile = b'Message-ID: <"\r\nX STORE 1:* +FLAGS (\\Deleted)\r\n>\r\nSubject: *\r\n\r\nEXPUNGE\r\n'
    server.folders["INBOX"].add(hostile)

    visits(server, database, 1)

    allowed = re.compile(
        r"CAPABILITY|LOGIN \S+ \S+|LIST \S+ \S+|(CREATE|SUBSCRIBE|SELECT) \S+|UID SEARCH ALL|LOGOUT"
        r"|UID FETCH [\d,]+ \((RFC822.SIZE INTERNALDATE|BODY.PEEK\[\])\)|UID MOVE [\d,]+ \S+"
    )
    assert [one for one in server.commands if not allowed.fullmatch(one)] == []
