"""Wherever the daemon dies, the next start finishes the work: nothing lost, nothing doubled (reliability.md 3.4).

Each failpoint of the source is one case; a new one is a case by itself.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest

from servers import wait_until
from servers.dovecot import Dovecot
from servers.faulty_smtp import FaultySmtp
from servers.house import COMMAND, SUPPORT, House
from servers.postfix import Postfix
from supportd import audit, config, failpoint
from supportd.db import ledger, tickets
from supportd.db.engine import Database
from supportd.service import Service, Summary, clock

SOURCE = Path(__file__).parents[1] / "daemon" / "supportd"
FAILPOINTS = sorted(
    {
        name
        for file in SOURCE.rglob("*.py")
        for name in re.findall(r'failpoint\.hit\("([^"]+)"\)', file.read_text())
    }
)
# Only a mail server that refuses or breaks off leads here.
FAULTY = {"outbox.postponing", "outbox.giving-up", "outbox.doubting"}
# Only the night leads here: alerts that were held until the opening.  tests/test_remind.py goes there.
HELD = {"remind.telling"}
# Only a server that cannot expunge leads here.  tests/test_faulty_imap.py goes there.
LISTED_AGAIN = {"capture.seeing-again"}
# Only a database that was restored leads here.  tests/test_reconcile.py goes there.
TAKEN_BACK = {"reconcile.committing", "reconcile.committed"}
# The one window of reliability.md R6: the server has accepted, and we have not recorded it.
WINDOW = {"outbox.accepted", "outbox.recording"}
TEACHERS = ("l.winn@allsaints.example", "k.oldfield@allsaints.example", "p.nair@allsaints.example")


def mail(sender: str, subject: str, text: str, **fields: str) -> bytes:
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"], message["Subject"] = sender, SUPPORT, subject
    message["Date"] = "Tue, 24 Nov 2026 09:00:00 +0000"
    message["Message-ID"] = f"<{abs(hash((sender, subject)))}@allsaints.example>"
    for name, value in fields.items():
        del message[name.replace("_", "-")]
        message[name.replace("_", "-")] = value
    message.set_content(text)
    return bytes(message)


def the_morning() -> list[bytes]:
    """Return one mail of each fate: two calls for help, a reply, a copy, an out-of-office, one that cannot be read."""
    board = mail(TEACHERS[0], "Board dead", "The board in 4W is dead.", Message_ID="<board@allsaints.example>")
    return [
        board,
        mail(TEACHERS[1], "No sound", "There is no sound on my laptop.", Message_ID="<sound@allsaints.example>"),
        mail(TEACHERS[1], "Re: No sound", "And no picture now.", In_Reply_To="<sound@allsaints.example>"),
        board,
        mail(TEACHERS[2], "Automatic reply: x", "I am away.", Auto_Submitted="auto-replied"),
        b"\r\n",
    ]


@pytest.fixture
def house(
    tmp_path: Path, dovecot: Dovecot, postfix: Postfix, monkeypatch: pytest.MonkeyPatch
) -> Iterator[House]:
    """Return a house that is always open, so that every morning has its digest, with the morning in its mailbox."""
    house = House(tmp_path, dovecot, postfix)
    house.settings["calendar"]["hours"] = {"mon-sun": ["00:00-24:00"]}
    house.settings["doubt_wait_seconds"] = 0
    monkeypatch.setenv("SUPPORTD_TEST_PASSWORD", "correct horse")
    now = datetime.now(UTC)
    dovecot.append(SUPPORT, mail(TEACHERS[2], "Old", "From before."), received_at=now - timedelta(days=2))
    for raw in the_morning():
        dovecot.append(SUPPORT, raw, received_at=now - timedelta(minutes=5))
    yield house
    house.kill()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.release)])
def any_house(request: pytest.FixtureRequest, house: House) -> House:
    if request.param == "postgresql":
        house.settings["database"] = {"url": request.getfixturevalue("postgresql_url")}
    return house


def once(house: House, armed: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SUPPORTD_TEST_PASSWORD": "correct horse", "SUPPORTD_FAILPOINT": armed}
    return subprocess.run(
        [*COMMAND, "-c", str(house._written()), "once", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def check_the_morning(house: House, dovecot: Dovecot, *, copies_allowed: bool) -> None:
    """Assert that every mail has its one fate, every due letter went out, and a copy of one is byte-identical."""
    loaded = config.load(house.file)
    [desk] = loaded.desks
    database = Database(loaded.database_url)
    with database.read() as connection:
        live = tickets.live(connection, ledger.mailbox_id(connection, desk.name), desk.level_names)
    opened = sorted((one.requester.address, one.subject) for one in live)
    assert opened == [(TEACHERS[1], "No sound"), (TEACHERS[0], "Board dead")]
    folders = {name: dovecot.count(SUPPORT, name) for name in ("INBOX", "Processed", "Screened", "Quarantine")}
    assert folders == {"INBOX": 1, "Processed": 4, "Screened": 1, "Quarantine": 1}
    # Handed over is not delivered yet: Postfix and Dovecot take their moment on a busy machine.
    wait_until(
        lambda: all(dovecot.count(one) for one in TEACHERS[:2])
        and any(b"<sd.digest." in raw for raw in dovecot.messages("it@allsaints.example")),
        "the letters have arrived",
    )
    for teacher in TEACHERS[:2]:
        acknowledgements = [raw[raw.index(b"\r\nFrom:") :] for raw in dovecot.messages(teacher)]
        assert acknowledgements, f"{teacher} was never answered"
        assert len(set(acknowledgements)) == 1
        assert copies_allowed or len(acknowledgements) == 1
    assert dovecot.count(TEACHERS[2]) == 0
    digests = [raw for raw in dovecot.messages("it@allsaints.example") if b"<sd.digest." in raw]
    assert len({raw[raw.index(b"\r\nFrom:") :] for raw in digests}) == 1
    assert audit.findings(database, loaded, clock) == ()
    database.close()


def test_there_are_at_least_thirty_failpoints() -> None:
    assert len(FAILPOINTS) >= 30


@pytest.mark.parametrize("name", [name for name in FAILPOINTS if name not in FAULTY | HELD | LISTED_AGAIN | TAKEN_BACK])
def test_a_kill_at_any_place_loses_and_doubles_nothing(any_house: House, dovecot: Dovecot, name: str) -> None:
    died = once(any_house, f"{name}=kill")

    one_pass(any_house)
    # What was in doubt goes again at once, in this house.
    one_pass(any_house)

    assert died.returncode == -signal.SIGKILL, f"{name} is never reached: {died.stdout}{died.stderr}"
    check_the_morning(any_house, dovecot, copies_allowed=name in WINDOW)


@pytest.mark.release
@pytest.mark.parametrize("name", [name for name in FAILPOINTS if name not in FAULTY | HELD | LISTED_AGAIN | TAKEN_BACK])
def test_a_hang_that_is_ended_from_outside_loses_and_doubles_nothing(
    any_house: House, dovecot: Dovecot, name: str
) -> None:
    environment = {**os.environ, "SUPPORTD_TEST_PASSWORD": "correct horse", "SUPPORTD_FAILPOINT": f"{name}=hang"}
    hung = subprocess.Popen(
        [*COMMAND, "-c", str(any_house._written()), "once"], env=environment, stderr=subprocess.DEVNULL
    )
    with pytest.raises(subprocess.TimeoutExpired):
        hung.wait(timeout=8)
    hung.kill()
    hung.wait()

    one_pass(any_house)
    one_pass(any_house)

    check_the_morning(any_house, dovecot, copies_allowed=name in WINDOW)


@pytest.mark.parametrize("name", [name for name in FAILPOINTS if name not in FAULTY | HELD | LISTED_AGAIN | TAKEN_BACK])
def test_an_exception_that_nobody_expects_loses_and_doubles_nothing(
    any_house: House, dovecot: Dovecot, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failpoint, "_ARMED", failpoint._read(f"{name}=raise"))
    with contextlib.suppress(failpoint.Stumble):
        one_pass(any_house)

    one_pass(any_house)
    one_pass(any_house)

    assert failpoint._ARMED[name].passage <= 0, f"{name} is never reached"
    check_the_morning(any_house, dovecot, copies_allowed=name in WINDOW)


def one_pass(house: House) -> Summary:
    """Do one pass in this process."""
    service = Service(config.load(house._written()))
    try:
        return service.once()
    finally:
        service.close()


@pytest.mark.parametrize("name", sorted(FAULTY))
def test_a_kill_while_a_server_refuses_loses_and_doubles_no_letter(
    house: House, faulty_smtp: FaultySmtp, name: str
) -> None:
    house.settings["mailboxes"][0]["smtp"] = {"host": "127.0.0.1", "port": faulty_smtp.port, "tls": "none"}
    faulty_smtp.answers = {
        "outbox.postponing": {TEACHERS[0]: ["RCPT 450 4.2.1 come again"]},
        "outbox.giving-up": {TEACHERS[0]: ["RCPT 550 5.1.1 nobody here"]},
        "outbox.doubting": {TEACHERS[0]: ["END drop"]},
    }[name]

    died = once(house, f"{name}=kill")
    one_pass(house)
    one_pass(house)

    assert died.returncode == -signal.SIGKILL, died.stderr
    got = faulty_smtp.accepted_by(TEACHERS[0])
    if name == "outbox.postponing":
        # Died before the refusal was recorded: tried again at once, and accepted.
        assert len(got) == 1
    elif name == "outbox.giving-up":
        # Died before the refusal was recorded: tried again, and by now accepted.
        assert len(got) == 1
    else:
        assert 1 <= len(got) <= 2
        assert len(set(got)) == 1
    assert len(faulty_smtp.accepted_by(TEACHERS[1])) == 1
