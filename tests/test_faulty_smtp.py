"""Nine stages of a conversation, nine wrong replies: sent, not sent or in doubt, always the right one (G5)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from servers import HOST
from servers.scripted_smtp import CLOSE, SILENCE, STAGES, ScriptedSmtp
from supportd import smtp
from supportd.core.model import Letter
from supportd.db import ledger, letters
from supportd.db.engine import Database
from supportd.db.letters import LetterState
from supportd.db.migrate import upgrade
from supportd.errors import Refused, Unavailable
from supportd.outbox import BreakerLimits, Outbox
from supportd.smtp import SmtpAccount, SmtpSession

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
DATA = b"From: support@allsaints.example\r\nMessage-ID: <one@allsaints.example>\r\n\r\n.\r\nWe have it.\r\n"
REPLIES = {
    "a passing refusal": b"451 4.3.0 come again\r\n",
    "a lasting refusal": b"550 5.7.1 never\r\n",
    "a service that closes": b"421 4.3.2 going down\r\n",
    "several lines": b"450-4.2.0 you are\r\n450-4.2.0 grey\r\n450 4.2.0 to me\r\n",
    "words": b"hello there, how are you\r\n",
    "a reply of another stage": b"334 VXNlcm5hbWU6\r\n",
    "a line without an end": b"2" * 1_000_000,
    "a closed connection": CLOSE,
    "silence": SILENCE,
}
FOR_GOOD = {"a lasting refusal"}
UNCLEAR = {"words", "a reply of another stage", "a line without an end", "a closed connection", "silence"}


@pytest.fixture
def server() -> Iterator[ScriptedSmtp]:
    server = ScriptedSmtp()
    yield server
    server.stop()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'supportd.db'}")
    upgrade(database)
    with database.write() as connection:
        mailbox_id = ledger.ensure_mailbox(connection, "support")
        one = Letter(
            kind="acknowledgement",
            key="support:acknowledgement:AS-1",
            message_id="<one@allsaints.example>",
            recipient="l.winn@allsaints.example",
            envelope_from="support@allsaints.example",
            data=DATA,
        )
        letters.queue(connection, one, uuid="1" * 32, mailbox_id=mailbox_id, ticket_id=None, now=NOW)
    yield database
    database.close()


def row(database: Database) -> dict[str, object]:
    with database.read() as connection:
        [found] = letters.listing(connection, list(LetterState))
    return found


@pytest.mark.parametrize("reply", REPLIES)
@pytest.mark.parametrize("stage", STAGES)
def test_a_wrong_reply_is_taken_for_what_it_says_and_for_no_more(
    server: ScriptedSmtp, database: Database, stage: str, reply: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "_CONNECT_SECONDS", 0.4)
    monkeypatch.setattr(smtp, "_DATA_REPLY_SECONDS", 0.4)
    server.stage, server.reply, server.keeps_doubtful = stage, REPLIES[reply], True
    account = SmtpAccount(
        host=HOST, port=server.port, tls="none", user="us", password="secret", local_hostname="allsaints.example"
    )
    now = [NOW]
    outbox = Outbox(
        database,
        mailbox_id=1,
        connect=lambda: SmtpSession(account),
        clock=lambda: now[0],
        per_minute=1000,
        doubt_wait=timedelta(minutes=5),
        breaker=BreakerLimits(automatic=100, everything=100),
    )

    with contextlib.suppress(Unavailable, Refused):
        outbox.drain(lambda: False)
    first = row(database)
    accepted_at_first = len(server.accepted)
    # Long after every wait: what can be sent at all has been.
    for _ in range(3):
        now[0] += timedelta(hours=2)
        with contextlib.suppress(Unavailable, Refused):
            outbox.drain(lambda: False)
    outbox.close()

    last = row(database)
    if stage in ("RCPT", "DATA", "END") and reply in FOR_GOOD:
        assert last["state"] == LetterState.FAILED
        assert server.accepted == []
        return
    assert last["state"] == LetterState.SENT
    assert set(server.accepted) == {DATA.replace(b"\r\n.", b"\r\n..")}
    if stage == "END" and reply in UNCLEAR:
        # It may have been accepted, and here it was: the same bytes went again, and the doubt is on record.
        assert (first["state"], first["doubts"]) == (LetterState.PENDING, 1)
        assert (accepted_at_first, len(server.accepted)) == (1, 2)
    else:
        assert first["doubts"] == 0
        assert len(server.accepted) == 1
