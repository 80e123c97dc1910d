"""Signing in by access tokens: real tokens, a Dovecot that validates them, for IMAP and for submission."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest

from servers import HOST, free_ports, wait_until
from servers.certificates import Certificates
from servers.faulty_smtp import FaultySmtp
from servers.house import SUPPORT, House
from servers.tokens import CLIENT, CLIENT_SECRET, TokenDovecot, TokenEndpoint, oauth_settings, token
from supportd import oauth
from supportd.db import letters
from supportd.db.engine import Database
from supportd.errors import Refused, Unavailable, UserError
from supportd.imap import ImapAccount, ImapSession
from supportd.oauth import Tokens
from supportd.smtp import SmtpAccount, SmtpSession

both = pytest.mark.parametrize("running", ["XOAUTH2", "OAUTHBEARER"], indirect=True)
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
TEACHER = "l.winn@allsaints.example"


@pytest.fixture(scope="module")
def relay() -> Iterator[FaultySmtp]:
    """Yield what stands behind the submission server and keeps every letter."""
    server = FaultySmtp()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest, certificates: Certificates, relay: FaultySmtp) -> Iterator[TokenDovecot]:
    server = TokenDovecot(certificates, getattr(request, "param", "XOAUTH2"), relay.port)
    yield server
    server.remove()


@pytest.fixture
def dovecot(running: TokenDovecot, relay: FaultySmtp) -> TokenDovecot:
    """Return a running server without mail that knows one mechanism for tokens."""
    running.start()
    running.empty()
    relay.accepted.clear()
    return running


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    endpoint = TokenEndpoint(SUPPORT)
    yield endpoint
    endpoint.stop()


@pytest.fixture
def house(tmp_path: Path, dovecot: TokenDovecot, endpoint: TokenEndpoint) -> Iterator[House]:
    """Return a house without any password: both its servers want a token."""
    house = House(tmp_path, dovecot, dovecot)
    mailbox = house.settings["mailboxes"][0]
    for section in (mailbox["imap"], mailbox["smtp"]):
        del section["user"], section["password"]
    mailbox["oauth"] = oauth_settings(endpoint, tmp_path)
    house.settings["poll_seconds"] = 1
    yield house
    house.kill()


def ask(endpoint: TokenEndpoint, secret: str = CLIENT_SECRET) -> oauth.Fetch:
    form = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": secret}
    return oauth.endpoint(endpoint.url, form)


def imap_by(dovecot: TokenDovecot, text: str, user: str = SUPPORT) -> ImapSession:
    account = ImapAccount(
        host=HOST, port=dovecot.imaps_port, tls="implicit", user=user, password=None,
        ca_file=dovecot.certificates.authority, token=lambda: text,
    )  # fmt: skip
    return ImapSession(account)


def smtp_by(dovecot: TokenDovecot, text: str) -> SmtpSession:
    account = SmtpAccount(
        host=HOST, port=dovecot.submission_port, tls="starttls", user=SUPPORT, password=None,
        local_hostname="allsaints.example", ca_file=dovecot.certificates.authority, token=lambda: text,
    )  # fmt: skip
    return SmtpSession(account)


def call_for_help(number: int) -> bytes:
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"] = f"teacher{number}@allsaints.example", SUPPORT
    message["Subject"] = f"Laptop {number} is slow"
    message["Message-ID"] = f"<call-{number}@allsaints.example>"
    message.set_content(f"The laptop {number} is slow.\n")
    return bytes(message)


# The two wires


@both
def test_a_good_token_opens_mailbox_and_submission(dovecot: TokenDovecot, relay: FaultySmtp) -> None:
    good = token(SUPPORT)
    dovecot.append(SUPPORT, call_for_help(1))

    mailbox, outgoing = imap_by(dovecot, good), smtp_by(dovecot, good)
    mailbox.select("INBOX")
    listed = mailbox.listing()
    outgoing.send(SUPPORT, TEACHER, b"Subject: hello\r\n\r\nhello\r\n")

    assert len(listed) == 1
    [letter] = relay.accepted_by(TEACHER)
    assert b"Subject: hello" in letter
    mailbox.close()
    outgoing.close()


@both
@pytest.mark.parametrize(
    "bad",
    [
        token(SUPPORT, lifetime_seconds=-60),
        token(SUPPORT, issuer="https://elsewhere.test/"),
        token(SUPPORT, audience="calendar.allsaints.example"),
        token("somebody.else@allsaints.example"),
        "no.token.atall",
    ],
    ids=["expired", "wrong-issuer", "wrong-audience", "another-mailbox", "garbage"],
)
def test_a_bad_token_is_refused_by_both_servers(dovecot: TokenDovecot, bad: str) -> None:
    with pytest.raises(Refused, match="sign-in refused") as by_imap:
        imap_by(dovecot, bad)
    with pytest.raises(Refused, match="sign-in refused") as by_smtp:
        smtp_by(dovecot, bad)

    assert bad not in f"{by_imap.value} {by_smtp.value}"


@both
def test_a_token_as_long_as_microsofts_gets_through(dovecot: TokenDovecot) -> None:
    # Entra's tokens have up to 2.5 KB; what does not fit on the command line goes after the server's challenge.
    long = token(SUPPORT, scope="x" * 1700)

    imap_by(dovecot, long).close()
    smtp_by(dovecot, long).close()

    assert len(long) > 2400


# The token at hand


def test_a_token_is_asked_for_once_and_again_shortly_before_it_expires(endpoint: TokenEndpoint) -> None:
    tokens = Tokens(ask(endpoint))

    first = [tokens.current(NOON + timedelta(minutes=minute)) for minute in (0, 30, 54)]
    asked_at_first = len(endpoint.requests)
    tokens.current(NOON + timedelta(minutes=56))

    assert len(set(first)) == 1
    assert (asked_at_first, len(endpoint.requests)) == (1, 2)


def test_a_refusal_is_not_asked_for_again_for_a_quarter_of_an_hour(endpoint: TokenEndpoint) -> None:
    endpoint.answers.extend(["expired-secret"])
    tokens = Tokens(ask(endpoint))

    for minute in (0, 5, 14):
        with pytest.raises(Refused, match="AADSTS7000222"):
            tokens.current(NOON + timedelta(minutes=minute))
    asked = len(endpoint.requests)
    tokens.current(NOON + timedelta(minutes=15))

    assert (asked, len(endpoint.requests)) == (1, 2)


def test_forgetting_a_token_fetches_another_and_does_not_forget_a_refusal(endpoint: TokenEndpoint) -> None:
    tokens = Tokens(ask(endpoint))
    tokens.current(NOON)
    endpoint.answers.append("revoked")

    tokens.forget()
    for _ in range(3):
        tokens.forget()
        with pytest.raises(Refused, match="revoked"):
            tokens.current(NOON)

    assert len(endpoint.requests) == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("503", Unavailable),
        ("busy", Unavailable),
        ("garbage", Unavailable),
        ("revoked", Refused),
        ("expired-secret", Refused),
    ],
)
def test_what_the_endpoint_says_is_for_now_or_for_good(
    endpoint: TokenEndpoint, answer: str, kind: type[Exception]
) -> None:
    endpoint.answers.append(answer)

    with pytest.raises(kind) as caught:
        ask(endpoint)(NOON)

    assert CLIENT_SECRET not in str(caught.value)
    assert ask(endpoint)(NOON).expires_at == NOON + timedelta(hours=1)


def test_a_slow_endpoint_is_waited_for_and_a_closed_one_is_unavailable(endpoint: TokenEndpoint) -> None:
    endpoint.answers.append("slow")
    [closed] = free_ports(1)

    assert ask(endpoint)(NOON).text
    with pytest.raises(Unavailable, match="gives no token"):
        oauth.endpoint(f"http://{HOST}:{closed}/token", {})(NOON)


def test_a_token_never_shows_itself(endpoint: TokenEndpoint) -> None:
    fetched = ask(endpoint)(NOON)

    assert fetched.text not in repr(fetched)


# Microsoft and Google: their own libraries, with a transport that answers as they do


class Entra:
    """Answers msal as login.microsoftonline.com does; *answers* are statuses and bodies of the token endpoint."""

    def __init__(self, *answers: tuple[int, dict[str, Any]]) -> None:
        self.answers = list(answers)
        self.posted: list[dict[str, str]] = []

    def get(self, url: str, **_: Any) -> Any:
        tenant = url.split("/")[3]
        entra = "https://login.microsoftonline.com"
        addresses = {"authorization_endpoint": f"{entra}/{tenant}/oauth2/v2.0/authorize"}
        addresses |= {"token_endpoint": f"{entra}/{tenant}/oauth2/v2.0/token", "issuer": f"{entra}/{tenant}/v2.0"}
        if "instance" in url:
            return Reply(200, {"tenant_discovery_endpoint": f"{entra}/{tenant}/v2.0/x", "metadata": []})
        return Reply(200, addresses)

    def post(self, url: str, data: dict[str, str], **_: Any) -> Any:
        self.posted.append(dict(data))
        return Reply(*self.answers.pop(0))

    def close(self) -> None:
        """Nothing is open."""


class Reply:
    def __init__(self, status_code: int, body: dict[str, Any]) -> None:
        self.status_code = self.status = status_code
        self.headers: dict[str, str] = {}
        self.text = json.dumps(body)
        self.data = self.text.encode()

    def raise_for_status(self) -> None:
        if self.status_code >= 400:
            raise OSError(f"{self.status_code}")


def test_microsoft_gives_a_token_for_mail() -> None:
    entra = Entra((200, {"access_token": "opaque", "expires_in": 3599, "token_type": "Bearer"}))

    fetched = oauth.microsoft("school.example", "app", "canary-secret", http_client=entra)(NOON)

    assert (fetched.text, fetched.expires_at) == ("opaque", NOON + timedelta(seconds=3599))
    assert entra.posted[0]["scope"] == "https://outlook.office365.com/.default"
    assert entra.posted[0]["grant_type"] == "client_credentials"


def test_microsoft_takes_a_certificate_in_place_of_a_secret(key_file: dict[str, str]) -> None:
    entra = Entra((200, {"access_token": "opaque", "expires_in": 3599, "token_type": "Bearer"}))
    certificate = {"private_key": key_file["private_key"], "thumbprint": "A1" * 20}

    fetched = oauth.microsoft("school.example", "app", certificate, http_client=entra)(NOON)

    claims = jwt.decode(entra.posted[0]["client_assertion"], options={"verify_signature": False})
    assert fetched.text == "opaque"
    assert (claims["iss"], claims["sub"]) == ("app", "app")
    assert "client_secret" not in entra.posted[0]


def test_microsoft_says_when_the_secret_has_expired() -> None:
    words = "AADSTS7000222: The provided client secret keys for app 'app' are expired.\r\nTrace ID: 1"
    entra = Entra((401, {"error": "invalid_client", "error_description": words}))

    with pytest.raises(Refused, match="AADSTS7000222") as caught:
        oauth.microsoft("school.example", "app", "canary-secret", http_client=entra)(NOON)

    assert "Trace ID" not in str(caught.value)
    assert "canary-secret" not in str(caught.value)


@pytest.mark.parametrize("status", [503, 400])
def test_microsofts_own_trouble_passes_and_is_not_remembered(status: int) -> None:
    entra = Entra(
        (status, {"error": "temporarily_unavailable"}),
        (200, {"access_token": "opaque", "expires_in": 3599}),
    )
    fetch = oauth.microsoft("school.example", "app", "canary-secret", http_client=entra)

    with pytest.raises(Unavailable):
        fetch(NOON)

    assert fetch(NOON).text == "opaque"


class Google:
    """Carries google-auth's requests; *answers* are statuses and bodies of oauth2.googleapis.com/token."""

    def __init__(self, *answers: tuple[int, dict[str, Any]]) -> None:
        self.answers = list(answers)
        self.assertions: list[dict[str, Any]] = []

    def __call__(self, url: str, method: str = "GET", body: Any = None, **_: Any) -> Reply:
        [assertion] = parse_qs(body.decode())["assertion"]
        self.assertions.append(jwt.decode(assertion, options={"verify_signature": False}))
        return Reply(*(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]))


@pytest.fixture(scope="module")
def key_file() -> dict[str, str]:
    """Return a service account's key file, with a key made for this test run."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "client_email": "supportd@project.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
        "private_key": private.decode(),
        "private_key_id": "1",
    }


def test_google_gives_a_token_for_the_mailbox_that_is_named(key_file: dict[str, str]) -> None:
    google = Google((200, {"access_token": "opaque", "expires_in": 3599, "token_type": "Bearer"}))

    fetched = oauth.google_service_account(key_file, SUPPORT, request=google)(datetime.now(UTC))

    assert fetched.text == "opaque"
    assert timedelta(minutes=58) < fetched.expires_at - datetime.now(UTC) < timedelta(hours=1)
    [assertion] = google.assertions
    assert (assertion["sub"], assertion["scope"]) == (SUPPORT, "https://mail.google.com/")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"error": "unauthorized_client", "error_description": "Client is unauthorized"}, Refused),
        (400, {"error": "invalid_grant", "error_description": "Invalid email or User ID"}, Refused),
        (503, {"error": "service_unavailable"}, Unavailable),
    ],
)
def test_google_refuses_for_good_or_for_now(
    key_file: dict[str, str], status: int, body: dict[str, str], kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    # google-auth tries three times, a second and two apart.
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda _seconds: None)

    with pytest.raises(kind):
        oauth.google_service_account(key_file, SUPPORT, request=Google((status, body)))(NOON)


def test_a_key_file_that_is_none_is_named() -> None:
    with pytest.raises(UserError, match="service account's key cannot be used"):
        oauth.google_service_account({"type": "service_account"}, SUPPORT)


# The daemon


@pytest.mark.parametrize("running", ["OAUTHBEARER"], indirect=True)
def test_a_call_for_help_is_acknowledged_without_any_password(
    house: House, dovecot: TokenDovecot, relay: FaultySmtp, endpoint: TokenEndpoint
) -> None:
    house.start()

    dovecot.append(SUPPORT, call_for_help(1))
    wait_until(lambda: relay.accepted_by("teacher1@allsaints.example"), "the acknowledgement", timeout_seconds=20)
    house.stop()

    assert len(endpoint.requests) == 1


def test_a_token_that_the_server_will_not_have_is_fetched_anew_once(
    house: House, dovecot: TokenDovecot, relay: FaultySmtp, endpoint: TokenEndpoint
) -> None:
    endpoint.answers.append("wrong-audience")
    house.start()

    dovecot.append(SUPPORT, call_for_help(1))
    wait_until(lambda: relay.accepted_by("teacher1@allsaints.example"), "the acknowledgement", timeout_seconds=20)
    house.stop()

    assert len(endpoint.requests) == 2
    assert [entry for entry in house.log() if entry.get("event") in ("refused", "unavailable")] == []


def test_a_session_is_replaced_before_the_server_would_end_it(house: House, endpoint: TokenEndpoint) -> None:
    # Six seconds of a session, since one minute before its end it is replaced.
    endpoint.lifetime_seconds = 66
    house.start()
    wait_until(lambda: len(endpoint.requests) >= 2, "another token is asked for", timeout_seconds=20)
    house.stop()

    assert [entry for entry in house.log() if entry.get("event") in ("refused", "unavailable")] == []


@pytest.mark.parametrize(
    ("running", "mails"),
    [
        ("XOAUTH2", 12),
        pytest.param("XOAUTH2", 2000, marks=[pytest.mark.release, pytest.mark.timeout(1800)]),
        pytest.param("OAUTHBEARER", 2000, marks=[pytest.mark.release, pytest.mark.timeout(1800)]),
    ],
    indirect=["running"],
)
def test_no_mail_is_lost_or_doubled_while_tokens_expire_in_mid_session(
    house: House, dovecot: TokenDovecot, relay: FaultySmtp, endpoint: TokenEndpoint, mails: int
) -> None:
    # They say that they live for an hour, and are dead two seconds later: each new session meets a dead one first.
    endpoint.true_lifetime_seconds = 2
    house.start()

    for number in range(mails):
        dovecot.append(SUPPORT, call_for_help(number))
        if number % (mails // 3) == mails // 6:
            if mails < 100:
                # A letter that is cut off waits for minutes; the long run ends sessions at any moment.
                house.wait_until_done(number + 1)
            time.sleep(2)
            dovecot.end_sessions(SUPPORT)
    house.wait_until_done(mails, timeout_seconds=60 + mails / 2)
    house.stop()

    # A session that ends before the reply to a letter's last dot leaves doubt: then the same letter goes again.
    different = {(recipient, message_from_bytes(data)["Message-ID"]) for recipient, data in relay.accepted}
    acknowledged = Counter(recipient for recipient, _ in different if recipient.startswith("teacher"))
    assert acknowledged == {f"teacher{number}@allsaints.example": 1 for number in range(mails)}
    assert len(house.tickets()) == mails
    assert dovecot.count(SUPPORT, "Processed") == mails
    # One token at the start, and for each wire one after each end.
    assert len(endpoint.requests) >= 1 + 3


def test_an_expired_secret_stops_the_asking_keeps_the_outbox_and_tells_a_person_once(
    house: House, dovecot: TokenDovecot, relay: FaultySmtp, endpoint: TokenEndpoint, faulty_smtp: FaultySmtp
) -> None:
    house.settings["health"] |= {
        "alert_to": "it.lead@elsewhere.example",
        "alert_from": "supportd@elsewhere.example",
        "alert_smtp": {"host": HOST, "port": faulty_smtp.port, "tls": "none"},
        "file": str(house.folder / "health.json"),
    }
    house.start()
    dovecot.append(SUPPORT, call_for_help(1))
    wait_until(lambda: relay.accepted_by("teacher1@allsaints.example"), "the acknowledgement", timeout_seconds=20)
    house.stop()

    endpoint.always = "expired-secret"
    house.answer("ticket", "list", "--json")
    queue_a_letter(house)
    before = len(endpoint.requests)
    house.start()
    alerts = wait_until(lambda: faulty_smtp.accepted, "the alarm past the mailbox", timeout_seconds=30)
    time.sleep(3)
    held, asked = waiting_letters(house), len(endpoint.requests) - before
    health = json.loads((house.folder / "health.json").read_text())

    assert held == 1
    assert asked == 1
    assert len(alerts) == 1
    alarm = message_from_bytes(alerts[0][1])
    assert alarm["To"] == "it.lead@elsewhere.example"
    assert "AADSTS7000222" in str(alarm.get_payload())
    assert not health["ok"]

    endpoint.always = "good"
    assert house.process is not None
    house.process.send_signal(signal.SIGHUP)
    wait_until(lambda: waiting_letters(house) == 0, "the letter that waited is sent", timeout_seconds=30)
    wait_until(lambda: len(faulty_smtp.accepted) == 2, "the end of it is told", timeout_seconds=40)
    house.stop()

    assert "work again" in message_from_bytes(faulty_smtp.accepted[1][1])["Subject"]
    assert CLIENT_SECRET not in house.log_file.read_text()


def queue_a_letter(house: House) -> None:
    """Answer the one ticket from the shell, so that a letter waits."""
    [ticket] = house.tickets()
    result = house.supportd("ticket", "answer", ticket["reference"], "We are on our way.")
    assert result.returncode == 0, result.stderr + result.stdout


def waiting_letters(house: House) -> int:
    from supportd.config import load

    database = Database(load(house.file).database_url)
    try:
        with database.read() as connection:
            states = letters.counts(connection)
    finally:
        database.close()
    return states.get("pending", 0) + states.get("sending", 0)
