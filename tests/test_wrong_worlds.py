"""Whatever is wrong around supportd, ``supportd check`` says what and names the cure: no traceback, no secret.

Together with the wrong files in tests/configs these are the ways in which an afternoon of installation goes wrong.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
import trustme
from click.testing import CliRunner

from servers import HOST, as_root, free_ports, is_root
from servers.dovecot import Dovecot
from servers.faulty_smtp import FaultySmtp
from servers.house import COMMAND, EXAMPLE, SUPPORT, House
from servers.postfix import Postfix
from servers.tokens import TokenDovecot, TokenEndpoint, oauth_settings
from supportd.cli.app import app

CANARY = "canary-7c1e-password"


class Speaker:
    """A server that says *greeting* and answers a line whose second or first word is in *answers*; TAG is its tag."""

    def __init__(self, greeting: bytes, answers: Mapping[bytes, bytes], context: ssl.SSLContext | None = None) -> None:
        self._greeting, self._answers, self._context = greeting, answers, context
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                connection.sendall(self._greeting)
                if not self._answers:
                    return
                for line in connection.makefile("rb"):
                    words = [*line.split(), b"", b""]
                    for word in (words[1].upper(), words[0].upper(), b"*"):
                        if word in self._answers:
                            connection.sendall(self._answers[word].replace(b"TAG", words[0]))
                            break
        except OSError:
            return


IMAP = {b"CAPABILITY": b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nTAG OK done\r\n", b"LOGOUT": b"* BYE\r\nTAG OK bye\r\n"}
SMTP = {b"EHLO": b"250-mail.example\r\n250 AUTH PLAIN LOGIN\r\n", b"QUIT": b"221 bye\r\n", b"*": b"500 what\r\n"}


class World:
    """A house whose ``check`` finds nothing, until it is told what to break."""

    def __init__(self, folder: Path, dovecot: Dovecot, postfix: Postfix, request: pytest.FixtureRequest) -> None:
        self.folder, self.dovecot, self.postfix, self.request = folder, dovecot, postfix, request
        self.house = House(folder, dovecot, postfix)
        self.settings = self.house.settings
        self.mailbox = self.settings["mailboxes"][0]
        self.imap, self.smtp = self.mailbox["imap"], self.mailbox["smtp"]
        self.settings["health"]["file"] = str(folder / "health.json")
        self.arguments: tuple[str, ...] = ()
        self.later = timedelta(0)
        self._close: list[Callable[[], object]] = []

    def speaker(self, greeting: bytes, answers: Mapping[bytes, bytes], context: ssl.SSLContext | None = None) -> int:
        """Return the port of a server that speaks as told."""
        speaker = Speaker(greeting, answers, context)
        self.afterwards(speaker.close)
        return speaker.port

    def afterwards(self, action: Callable[[], object]) -> None:
        self._close.append(action)

    def endpoint(self, answer: str) -> TokenEndpoint:
        """Sign in by tokens instead of passwords, from an endpoint that always gives *answer*."""
        endpoint = TokenEndpoint(SUPPORT)
        self.afterwards(endpoint.stop)
        endpoint.always = answer
        self.mailbox["oauth"] = oauth_settings(endpoint, self.folder)
        for section in (self.imap, self.smtp):
            del section["user"], section["password"]
        return endpoint

    def check(self) -> list[dict[str, str]]:
        """Return what ``supportd check`` finds, after asserting that it is no traceback and tells no secret."""
        path = self.house._written()
        with time_machine.travel(datetime.now(UTC) + self.later, tick=True):
            result = CliRunner(env=self.house._environment()).invoke(
                app, ["-c", str(path), "check", "--json", *self.arguments]
            )
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        for secret in (CANARY, "correct horse", "canary-client-secret"):
            assert secret not in result.output
        found: list[dict[str, str]] = json.loads(result.stdout)
        assert result.exit_code == (3 if any(one["state"] == "problem" for one in found) else 0)
        return found

    def close(self) -> None:
        for action in reversed(self._close):
            action()


@pytest.fixture
def world(tmp_path: Path, dovecot: Dovecot, postfix: Postfix, request: pytest.FixtureRequest) -> Iterator[World]:
    world = World(tmp_path, dovecot, postfix, request)
    yield world
    world.close()


Break = Callable[[World], None]
WORLDS: list[tuple[Break, str, str, str]] = []


def wrong(what: str, words: str, cure: str) -> Callable[[Break], Break]:
    """Note a way to break a world: the finding *what* then says *words*, and its cure (or it itself) says *cure*."""

    def note(function: Break) -> Break:
        WORLDS.append((function, what, words, cure))
        return function

    return note


# Fetching


@wrong("mailbox", "Connection refused", "nothing listens there")
def imap_port_closed(world: World) -> None:
    [world.imap["port"]] = free_ports(1)


@wrong("mailbox", "WRONG_VERSION_NUMBER", "set tls: starttls")
def imap_tls_to_a_port_without(world: World) -> None:
    world.imap["port"] = world.dovecot.imap_port


@wrong("mailbox", "nowhere.invalid", "compare host")
def imap_host_unknown(world: World) -> None:
    world.imap["host"] = "nowhere.invalid"


@wrong("mailbox", "mismatch", "the certificate is for another name")
def imap_certificate_of_another_name(world: World) -> None:
    world.imap["port"] = world.speaker(b"* OK\r\n", IMAP, tls_context(world, "mail.elsewhere.example"))


@wrong("mailbox", "certificate has expired", "whoever runs the server renews it")
def imap_certificate_expired(world: World) -> None:
    past = datetime.now(UTC) - timedelta(days=1)
    world.imap["port"] = world.speaker(b"* OK\r\n", IMAP, tls_context(world, HOST, not_after=past))


@wrong("mailbox", "certificate verify failed", "set ca_file")
def imap_certificate_of_nobody(world: World) -> None:
    del world.imap["ca_file"]


@wrong("mailbox", "ca_file", "PEM file")
def imap_ca_file_missing(world: World) -> None:
    world.imap["ca_file"] = "nowhere.pem"


@wrong("mailbox", "ca_file", "PEM file")
def imap_ca_file_is_something_else(world: World) -> None:
    (world.folder / "ca.pem").write_text("not a certificate")
    world.imap["ca_file"] = "ca.pem"


@wrong("mailbox", "sign-in refused", "compare user and password")
def imap_password_wrong(world: World) -> None:
    world.imap["password"] = secret_file(world, CANARY)


@wrong("mailbox", "STARTTLS", "set tls: implicit")
def imap_starttls_not_offered(world: World) -> None:
    world.imap |= {"port": world.speaker(b"* OK\r\n", IMAP), "tls": "starttls"}


@wrong("mailbox", "imap", "compare host, port and tls")
def imap_is_a_web_server(world: World) -> None:
    world.imap |= {"port": world.speaker(b"HTTP/1.1 400 Bad Request\r\n\r\n", {b"*": b"400\r\n"}), "tls": "none"}


@wrong("mailbox", "imap", "compare host, port and tls")
def imap_hangs_up_at_once(world: World) -> None:
    world.imap |= {"port": world.speaker(b"", {}), "tls": "none"}


@wrong("mailbox", "authenticated but not connected", "Add-MailboxPermission")
def imap_permission_missing_at_microsoft(world: World) -> None:
    answers = IMAP | {b"LOGIN": b"TAG OK done\r\n", b"LIST": b"TAG BAD User is authenticated but not connected.\r\n"}
    world.imap |= {"port": world.speaker(b"* OK\r\n", answers), "tls": "none"}


@wrong("folders", "there is no folder Helpdesk", "folders: inbox")
def watched_folder_missing(world: World) -> None:
    world.mailbox["folders"]["inbox"] = "Helpdesk"


@wrong("folders", "INBOX: the server opens it for reading alone", "full access to INBOX")
def watched_folder_is_read_only(world: World) -> None:
    answers = IMAP | {
        b"LOGIN": b"TAG OK done\r\n",
        b"LIST": b'* LIST () "/" INBOX\r\nTAG OK done\r\n',
        b"SELECT": b"* 0 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\nTAG OK [READ-ONLY] done\r\n",
    }
    world.imap |= {"port": world.speaker(b"* OK\r\n", answers), "tls": "none"}


@wrong("folders", "may not be deleted", "full access to INBOX")
def mails_may_not_be_moved_away(world: World) -> None:
    answers = IMAP | {
        b"LOGIN": b"TAG OK done\r\n",
        b"LIST": b'* LIST () "/" INBOX\r\nTAG OK done\r\n',
        b"SELECT": b"* OK [PERMANENTFLAGS (\\Seen)] x\r\n* OK [UIDVALIDITY 1] x\r\nTAG OK [READ-WRITE] done\r\n",
    }
    world.imap |= {"port": world.speaker(b"* OK\r\n", answers), "tls": "none"}


@wrong("mailbox", "supportd-check", "may not create folders")
def folders_may_not_be_made(world: World) -> None:
    world.dovecot.append(SUPPORT, b"Subject: x\r\n\r\nx\r\n")
    maildir = world.dovecot.maildir(SUPPORT)
    # Dovecot serves mail as an ordinary user, who may then write nothing new at the top of it.
    as_root("chmod", "0555", str(maildir))
    world.afterwards(lambda: as_root("chmod", "0700", str(maildir)))


@wrong("mailbox", "cannot be read", "create it or fix its owner")
def password_file_missing(world: World) -> None:
    world.imap["password"] = {"file": "nowhere"}


@wrong("mailbox", "can be read by every user", "chmod 600")
def password_file_open_to_all(world: World) -> None:
    world.imap["password"] = secret_file(world, CANARY, mode=0o644)


@wrong("mailbox", "is empty", "write it into the place")
def password_file_empty(world: World) -> None:
    world.imap["password"] = secret_file(world, "\n")


@wrong("mailbox", "SUPPORTD_NOWHERE is not set", "set it or change the key")
def password_variable_not_set(world: World) -> None:
    world.imap["password"] = {"env": "SUPPORTD_NOWHERE"}


@wrong("mailbox", "CREDENTIALS_DIRECTORY", "LoadCredential=imap-password")
def credentials_without_systemd(world: World) -> None:
    world.imap["password"] = {"credential": "imap-password"}


# Sending


@wrong("outgoing mail", "Connection refused", "nothing listens there")
def smtp_port_closed(world: World) -> None:
    [world.smtp["port"]] = free_ports(1)


@wrong("outgoing mail", "WRONG_VERSION_NUMBER", "set tls: starttls")
def smtp_tls_to_a_port_without(world: World) -> None:
    world.smtp["tls"] = "implicit"


@wrong("outgoing mail", "nowhere.invalid", "compare host")
def smtp_host_unknown(world: World) -> None:
    world.smtp["host"] = "nowhere.invalid"


@wrong("outgoing mail", "STARTTLS", "set tls: implicit")
def smtp_starttls_not_offered(world: World) -> None:
    world.smtp["port"] = world.speaker(b"220 mail\r\n", SMTP)


@wrong("outgoing mail", "certificate verify failed", "set ca_file")
def smtp_certificate_of_nobody(world: World) -> None:
    del world.smtp["ca_file"]


@wrong("outgoing mail", "sign-in refused", "compare user and password")
def smtp_password_wrong(world: World) -> None:
    world.smtp["password"] = secret_file(world, CANARY)


@wrong("outgoing mail", "AUTH extension not supported", "use its submission port")
def smtp_without_sign_in(world: World) -> None:
    world.smtp["port"] = world.postfix.smtp_port


@wrong("outgoing mail", "5.7.30", "configure oauth")
def microsoft_takes_no_passwords_any_more(world: World) -> None:
    refusal = b"550 5.7.30 Basic authentication is not supported for Client Submission.\r\n"
    world.smtp |= {"port": world.speaker(b"220 mail\r\n", SMTP | {b"AUTH": refusal, b"PLAIN": refusal}), "tls": "none"}


@wrong("outgoing mail", "5.7.139", "SmtpClientAuthenticationDisabled $false")
def microsoft_blocks_client_submission(world: World) -> None:
    refusal = b"535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox.\r\n"
    world.smtp |= {"port": world.speaker(b"220 mail\r\n", SMTP | {b"AUTH": refusal, b"PLAIN": refusal}), "tls": "none"}


@wrong("outgoing mail", "Connection unexpectedly closed", "compare host, port and tls")
def smtp_hangs_up_at_once(world: World) -> None:
    world.smtp |= {"port": world.speaker(b"", {}), "tls": "none"}


@wrong("outgoing mail", "imap4rev1", "server's own log")
def smtp_is_an_imap_server(world: World) -> None:
    world.smtp |= {"port": world.speaker(b"* OK imap4rev1\r\n", SMTP), "tls": "none"}


@wrong("outgoing mail", "550", "server's own log")
def letter_to_nobody(world: World) -> None:
    world.arguments = ("--send-test", "unknown.person@allsaints.example")


# Access tokens


@wrong("access token", "AADSTS7000222", "make a new one in the app registration")
def client_secret_expired(world: World) -> None:
    world.endpoint("expired-secret")


@wrong("access token", "invalid_grant", "new refresh token")
def refresh_token_revoked(world: World) -> None:
    world.endpoint("revoked")


@wrong("access token", "503", "try again in some minutes")
def provider_in_trouble(world: World) -> None:
    world.endpoint("503")


@wrong("access token", "gives no token", "a web filter may stand between")
def web_filter_answers_for_the_provider(world: World) -> None:
    world.endpoint("garbage")


@wrong("access token", "gives no token", "compare the address of the token endpoint")
def token_endpoint_closed(world: World) -> None:
    world.endpoint("good")
    world.mailbox["oauth"]["url"] = f"http://{HOST}:{free_ports(1)[0]}/token"


@wrong("mailbox", "sign-in refused", "compare user and password")
def token_for_another_audience(world: World) -> None:
    relay = FaultySmtp()
    relay.start()
    world.afterwards(relay.stop)
    dovecot = TokenDovecot(world.dovecot.certificates, "XOAUTH2", relay.port)
    world.afterwards(dovecot.remove)
    dovecot.start()
    world.endpoint("wrong-audience")
    world.imap["port"], world.smtp["port"] = dovecot.imaps_port, dovecot.submission_port


@wrong("access token", "cannot be read", "create it or fix its owner")
def client_secret_missing(world: World) -> None:
    world.endpoint("good")
    world.mailbox["oauth"]["secret"] = {"file": "nowhere"}


@wrong("access token", "is not JSON", "download the key again")
def service_account_is_something_else(world: World) -> None:
    world.endpoint("good")
    world.mailbox["oauth"] = {"provider": "google", "service_account": secret_file(world, CANARY)}


@wrong("access token", "cannot be used", "service account's key")
def service_account_without_a_key(world: World) -> None:
    world.endpoint("good")
    world.mailbox["oauth"] = {"provider": "google", "service_account": secret_file(world, '{"type": "x"}')}


@wrong("secret", "expires on", "its date into secret_expires")
def client_secret_expires_soon(world: World) -> None:
    world.endpoint("good")
    world.mailbox["oauth"]["secret_expires"] = str(datetime.now(UTC).date() + timedelta(days=9))


@wrong("secret", "expired on", "its date into secret_expires")
def client_secret_expired_by_its_date(world: World) -> None:
    world.endpoint("good")
    world.mailbox["oauth"]["secret_expires"] = str(datetime.now(UTC).date() - timedelta(days=2))


@wrong("secret", "nobody knows when it expires", "oauth: secret_expires")
def client_secret_of_unknown_age(world: World) -> None:
    world.endpoint("good")


# The machine


@wrong("database", "not a database", "supportd db restore")
def database_is_something_else(world: World) -> None:
    (world.folder / "supportd.db").write_text("the school's shopping list " * 100)


@wrong("database", "does not exist", "mkdir -p")
def database_folder_missing(world: World) -> None:
    world.settings["database"]["url"] = "sqlite:///nowhere/supportd.db"


@wrong("database", "locked", "close it, or wait")
def database_is_locked(world: World) -> None:
    assert world.house.supportd("db", "upgrade").returncode == 0
    other = sqlite3.connect(world.folder / "supportd.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    world.afterwards(other.close)


@wrong("database", "Connection refused", "nothing listens there")
def postgresql_closed(world: World) -> None:
    world.settings["database"] = {"url": f"postgresql://supportd@{HOST}:{free_ports(1)[0]}/supportd"}


@wrong("disk", "MB free", "free space in")
def disk_nearly_full(world: World) -> None:
    small = world.folder / "small"
    small.mkdir()
    as_root("mount", "-t", "tmpfs", "-o", "size=8m,mode=0777", "tmpfs", str(small))
    world.afterwards(lambda: as_root("umount", str(small)))
    world.settings["database"]["url"] = "sqlite:///small/supportd.db"


@wrong("database", "full", "free space where the database is")
def disk_full(world: World) -> None:
    small = world.folder / "small"
    small.mkdir()
    as_root("mount", "-t", "tmpfs", "-o", "size=64k,mode=0777", "tmpfs", str(small))
    world.afterwards(lambda: as_root("umount", str(small)))
    world.settings["database"]["url"] = "sqlite:///small/supportd.db"


@wrong("clock", "60 minutes apart", "timedatectl set-ntp true")
def clock_an_hour_ahead(world: World) -> None:
    world.later = timedelta(hours=1)


@wrong("clock", "60 minutes apart", "timedatectl set-ntp true")
def clock_an_hour_behind(world: World) -> None:
    world.later = timedelta(hours=-1)


@wrong("calendar", "configured", "add the coming terms")
def terms_are_over(world: World) -> None:
    world.settings["calendar"]["terms"] = [{"name": "Autumn 2025", "from": "2025-09-01", "to": "2025-12-18"}]


@wrong("templates", "no folder", "create it")
def templates_folder_missing(world: World) -> None:
    world.settings["templates"] = "nowhere"


@wrong("templates", "acknowledgement.txt", "put it right")
def template_broken(world: World) -> None:
    (world.folder / "wording").mkdir()
    (world.folder / "wording" / "acknowledgement.txt").write_text("{{ ticket.reference \n\n{% if %}\n")
    world.settings["templates"] = "wording"


@wrong("alarm", "Connection refused", "nothing listens there")
def way_past_the_mailbox_closed(world: World) -> None:
    server = {"host": HOST, "port": free_ports(1)[0], "tls": "none"}
    world.settings["health"] |= {
        "alert_to": "it@elsewhere.example", "alert_from": "supportd@elsewhere.example", "alert_smtp": server
    }  # fmt: skip


@wrong("alarm", "only the journal says so", "set health")
def no_way_past_the_mailbox(world: World) -> None:
    world.settings["health"]["file"] = None


def secret_file(world: World, text: str, mode: int = 0o600) -> dict[str, str]:
    path = world.folder / f"secret-{len(list(world.folder.iterdir()))}"
    path.write_text(text)
    path.chmod(mode)
    return {"file": path.name}


def tls_context(world: World, name: str, not_after: datetime | None = None) -> ssl.SSLContext:
    """Return the TLS of a server called *name*, signed by an authority that the world then believes."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, not_after=not_after).configure_cert(context)
    authority.cert_pem.write_to_path(world.folder / "authority.pem")
    world.imap["ca_file"] = "authority.pem"
    return context


def test_a_right_world_has_no_problem_and_leaves_the_mailbox_as_it_was(world: World, dovecot: Dovecot) -> None:
    world.arguments = ("--send-test", SUPPORT)

    found = world.check()

    assert [one for one in found if one["state"] == "problem"] == []
    assert {one["what"].split(" of ")[0] for one in found} >= {
        "configuration", "database", "disk", "calendar", "templates", "trust", "mailbox", "folders", "clock",
        "outgoing mail", "round trip",
    }  # fmt: skip
    with dovecot.imap(SUPPORT) as client:
        assert [name for _, _, name in client.list_folders()] == ["INBOX"]


@pytest.mark.parametrize(("break_it", "what", "words", "cure"), WORLDS, ids=[one[0].__name__ for one in WORLDS])
def test_what_is_wrong_is_named_with_its_cure(world: World, break_it: Break, what: str, words: str, cure: str) -> None:
    break_it(world)

    found = world.check()

    troubles = [one for one in found if one["state"] != "ok" and one["what"].split(" of ")[0] == what]
    assert troubles, found
    told = [f"{one['words']} {one['cure']}" for one in troubles]
    assert [one for one in told if words in one and cure in one], told


# To root nothing is closed; without its capabilities it is a user like any other.
POWERLESS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if is_root() else ()


@pytest.mark.parametrize("read_only", ["file", "folder"])
def test_a_database_that_may_not_be_written_is_named(world: World, read_only: str) -> None:
    assert world.house.supportd("db", "upgrade").returncode == 0
    database = world.folder / "supportd.db"
    closed = database if read_only == "file" else world.folder
    closed.chmod(0o555 if read_only == "folder" else 0o444)

    result = subprocess.run(
        [*POWERLESS, *COMMAND, "-c", str(world.house.file), "check", "--json"],
        capture_output=True, text=True, timeout=60, env=world.house._environment() | {"HOME": "/"},
    )  # fmt: skip
    closed.chmod(0o755)

    assert "Traceback" not in result.stderr
    [trouble] = [one for one in json.loads(result.stdout) if one["what"] == "database"]
    assert trouble["state"] == "problem"
    assert "this user cannot write" in trouble["cure"], trouble


def test_a_postgresql_without_our_database_is_named(world: World, postgresql_url: str) -> None:
    world.settings["database"] = {"url": postgresql_url.rpartition("/")[0] + "/nowhere"}

    [trouble] = [one for one in world.check() if one["what"] == "database"]

    assert "create it" in trouble["cure"], trouble


def test_there_are_sixty_ways_to_be_wrong() -> None:
    files = list((Path(__file__).parent / "configs").glob("*.yaml"))

    assert len(WORLDS) + len(files) >= 60


@pytest.mark.parametrize("content", [None, b"school: \xff\xfe\n", b""], ids=["missing", "not-utf-8", "empty"])
def test_a_configuration_that_cannot_be_read_is_named_on_the_command_line(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_bytes(content)

    result = subprocess.run([*COMMAND, "-c", str(path), "check"], capture_output=True, text=True, timeout=60)

    assert result.returncode == 3
    assert str(path) in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    assert os.fspath(EXAMPLE) not in result.stdout


def test_a_configuration_in_a_folder_that_may_not_be_entered_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)

    result = subprocess.run(
        [*POWERLESS, *COMMAND, "-c", str(closed / "config.yaml"), "check"], capture_output=True, text=True, timeout=60
    )
    closed.chmod(0o755)

    assert result.returncode == 3
    assert "may not be read" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
