"""What people write, and what machines sign in with, stays out of logs, metrics, health and errors (PR05).

A canary word stands in every place that a mail or a secret has; then everything that the house says is searched for it.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest

from servers import HOST, PASSWORD, free_ports, wait_until
from servers.dovecot import Dovecot
from servers.faulty_smtp import FaultySmtp
from servers.house import SUPPORT, House
from servers.postfix import Postfix

# One for each place, so that a leak says where it comes from.
PLACES = ("subject", "body", "html", "attachment", "file-name", "display-name", "header")
SECRET = "canary-secret-of-the-alarm"


def canary(place: str, number: int) -> str:
    return f"canary-{place}-{number}"


def mail(number: int) -> bytes:
    """Return a mail with a canary everywhere; each tenth is empty and thus quarantined, each ninth is automatic."""
    if number % 10 == 9:
        return b"\r\n" * number
    message = EmailMessage(policy=SMTP)
    message["From"] = f'"{canary("display-name", number)}" <teacher{number}@allsaints.example>'
    message["To"] = SUPPORT
    message["Subject"] = f"The board in 4W is dead {canary('subject', number)}"
    message["Message-ID"] = f"<call-{number}@allsaints.example>"
    message["X-Note"] = canary("header", number)
    if number % 9 == 8:
        message["Auto-Submitted"] = "auto-replied"
    message.set_content(f"Nothing shows. {canary('body', number)}\nMy password is {canary('body', number)}\n")
    message.add_alternative(f"<p>Nothing shows. {canary('html', number)}</p>", subtype="html")
    message.add_attachment(
        canary("attachment", number).encode(), maintype="text", subtype="plain",
        filename=f"{canary('file-name', number)}.txt",
    )  # fmt: skip
    return bytes(message)


@pytest.fixture
def house(tmp_path: Path, dovecot: Dovecot, postfix: Postfix, faulty_smtp: FaultySmtp) -> Iterator[House]:
    """Return a house that sends through a server which refuses some, and has every way to say how it is."""
    house = House(tmp_path, dovecot, postfix)
    secret = tmp_path / "alarm"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    [port] = free_ports(1)
    house.settings["mailboxes"][0]["smtp"] = {
        "host": HOST, "port": faulty_smtp.port, "tls": "none", "per_minute": 100_000
    }  # fmt: skip
    house.settings["health"] |= {
        "listen": f"{HOST}:{port}",
        "file": str(tmp_path / "health.json"),
        "alert_to": "it@elsewhere.example",
        "alert_from": "supportd@elsewhere.example",
        # Nobody listens there: the attempt, with its password, ends in an error.
        "alert_smtp": {
            "host": HOST, "port": free_ports(1)[0], "tls": "none", "user": "alarm", "password": {"file": str(secret)}
        },
    }  # fmt: skip
    faulty_smtp.answers = {
        "teacher1@allsaints.example": ["RCPT 550 5.1.1 no such user"],
        "teacher2@allsaints.example": ["DATA 554 5.7.1 refused"],
        "teacher3@allsaints.example": ["END drop"],
    }
    yield house
    house.kill()


@pytest.mark.parametrize("mails", [100, pytest.param(1000, marks=[pytest.mark.release, pytest.mark.timeout(900)])])
def test_no_word_of_a_mail_and_no_secret_shows_where_it_does_not_belong(
    house: House, dovecot: Dovecot, mails: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Defects in the midst of a decision: their tracebacks are logged.
    monkeypatch.setenv("SUPPORTD_FAILPOINT", "decide.placed=raise:5,decide.committing=raise:20,decide.opened=raise:7")
    with dovecot.imap(SUPPORT) as client:
        for number in range(mails):
            client.append("INBOX", mail(number))
    house.start()
    wait_until(lambda: dovecot.count(SUPPORT) == 0, "all mail is filed", timeout_seconds=60 + mails)
    listen = house.settings["health"]["listen"]
    shown = {path: get(f"http://{listen}{path}") for path in ("/healthz", "/metrics")}
    # Once more with the mailbox away, so that errors are told as well.
    dovecot.stop()
    wait_until(
        lambda: any(entry.get("event") == "unavailable" for entry in house.log()),
        "the outage shows",
        timeout_seconds=60,
    )
    wait_until(lambda: (house.folder / "health.json").exists(), "the health file is written", timeout_seconds=30)
    shown["health file"] = (house.folder / "health.json").read_text()
    house.stop()
    dovecot.start()
    monkeypatch.delenv("SUPPORTD_FAILPOINT")
    for command in (("check", "--json"), ("status", "--json"), ("audit",), ("outbox", "list", "--json")):
        result = house.supportd(*command)
        shown[" ".join(command)] = result.stdout + result.stderr
    shown["log"] = house.log_file.read_text()

    assert len(house.tickets()) > mails / 2
    assert "Stumble" in shown["log"]
    assert '"outcome": "failed"' in shown["log"]
    assert '"outcome": "quarantined"' in shown["log"]
    leaks = {where: sorted({place for place in PLACES if f"canary-{place}-" in text}) for where, text in shown.items()}
    assert leaks == {where: [] for where in shown}
    for secret in (SECRET, PASSWORD):
        assert [where for where, text in shown.items() if secret in text] == []


def test_a_verbose_log_keeps_them_out_too(house: House, dovecot: Dovecot) -> None:
    dovecot.append(SUPPORT, mail(0))

    result = house.supportd("--verbose", "once", "--json")

    assert json.loads(result.stdout)["tickets"] == 1, result.stderr
    assert "canary" not in result.stderr
    assert PASSWORD not in result.stderr


def get(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()
