"""``supportd check``: a line for each thing that must be in order, with the cure where it is not."""

from __future__ import annotations

import contextlib
import email.policy
import email.utils
import json
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from email.message import EmailMessage
from typing import TYPE_CHECKING

import click

from supportd.errors import Refused, Unavailable, UserError

if TYPE_CHECKING:
    from supportd.cli.app import Session
    from supportd.config import Config, Desk

# Made and deleted again in the mailbox; nobody has one of that name.
_TEST_FOLDER = "supportd-check"
# Mail takes seconds; grey listing takes minutes, and is no mistake in our configuration.
_ROUND_TRIP_SECONDS = 60
# Servers stamp a mail within a second; a minute's difference already shows in promised times.
_CLOCK_SECONDS = 60

# Below this the daemon stops fetching (reliability.md DB01).
_LEAST_FREE_BYTES = 200_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at: *state* is ok, warning or problem; *cure* says what to do."""

    what: str
    state: str
    words: str
    cure: str = ""


@click.command(epilog="For example:  supportd check --send-test it@school.example")
@click.option("--send-test", metavar="ADDRESS", help="Send a test letter to ADDRESS through the outgoing server.")
@click.option("--auth", is_flag=True, help="Prove with two test mails that the border strips forged headers.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
@click.pass_context
def check(context: click.Context, send_test: str | None, auth: bool, as_json: bool) -> None:
    """Look at everything that must be in order; exit 3 on a problem."""
    session: Session = context.obj
    found = list(findings(session, send_test, auth=auth))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        marks = {"ok": ("ok", "green"), "warning": ("warning", "yellow"), "problem": ("PROBLEM", "red")}
        for one in found:
            word, colour = marks[one.state]
            shown = click.style(f"{word:<8}", fg=colour) if sys.stdout.isatty() else f"{word:<8}"
            click.echo(f"{shown} {one.what}: {one.words}")
            if one.cure:
                click.echo(f"{'':<8} cure: {one.cure}")
    if any(one.state == "problem" for one in found):
        sys.exit(3)


def findings(session: Session, send_test: str | None, *, auth: bool = False) -> Iterator[Finding]:
    """Yield what was found, the configuration first: without it nothing else can be looked at."""
    try:
        config = session.own_config()
        if not config.mailboxes:
            raise UserError("mailboxes: none is configured; add one")
    except UserError as error:
        for problem in error.problems:
            yield Finding(what="configuration", state="problem", words=problem)
        return
    yield Finding(what="configuration", state="ok", words=str(session.path))
    yield from _database(config)
    for desk in config.desks:
        yield from _calendar(desk)
        yield from _templates(desk)
        yield from _trust(config, desk, auth=auth)
        yield from _oauth(config, desk)
        yield from _imap(config, desk)
        yield from _smtp(config, desk, send_test)
    yield from _alarm(config)


def _database(config: Config) -> Iterator[Finding]:
    from supportd.cli.desk import Desks
    from supportd.db import letters
    from supportd.db.migrate import integrity

    with _reported("database") as problems:
        desks = Desks(config)
        try:
            broken = integrity(desks.database)
            desks.database.try_to_write()
            with desks.database.read() as connection:
                breaker = letters.breaker(connection)
        finally:
            desks.database.close()
        if broken:
            cure = "stop the daemon and restore a backup: supportd db restore FILE"
            yield Finding(what="database", state="problem", words=broken[0], cure=cure)
        else:
            yield Finding(what="database", state="ok", words="whole, and its schema is up to date")
        if breaker:
            words = f"the breaker holds back {breaker} mail"
            cure = "find out why (supportd outbox list), then: supportd outbox resume"
            yield Finding(what="outbox", state="problem", words=words, cure=cure)
        if desks.database.path is not None:
            free = shutil.disk_usage(desks.database.path.parent).free
            state = "ok" if free > _LEAST_FREE_BYTES else "problem"
            cure = "" if state == "ok" else f"free space in {desks.database.path.parent}"
            yield Finding(what="disk", state=state, words=f"{free // 1_000_000} MB free", cure=cure)
    yield from problems


def _calendar(desk: Desk) -> Iterator[Finding]:
    from supportd.core import sla
    from supportd.service import clock

    warnings = (*desk.calendar_problems, *sla.warnings(desk.hours, clock()))
    for warning in warnings:
        cure = "add the coming terms to calendar: terms:" if "configured" in warning else ""
        yield Finding(what=f"calendar of {desk.name}", state="warning", words=warning, cure=cure)
    if not warnings:
        yield Finding(what=f"calendar of {desk.name}", state="ok", words=f"known until {desk.hours.known_until}")


def _templates(desk: Desk) -> Iterator[Finding]:
    from supportd.cli.templates import mistakes
    from supportd.service import clock

    if desk.templates is None:
        yield Finding(what=f"templates of {desk.name}", state="ok", words="the shipped ones")
    elif not desk.templates.is_dir():
        cure = "create it, or set templates: null"
        yield Finding(what=f"templates of {desk.name}", state="problem", words=f"no folder {desk.templates}", cure=cure)
    else:
        broken = mistakes(desk, clock())
        for problem in broken:
            cure = "put it right, then: supportd templates check; the shipped one goes out meanwhile"
            yield Finding(what=f"templates of {desk.name}", state="problem", words=problem, cure=cure)
        if not broken:
            words = f"every letter of {desk.templates} renders with every made-up ticket"
            yield Finding(what=f"templates of {desk.name}", state="ok", words=words)


def _trust(config: Config, desk: Desk, *, auth: bool) -> Iterator[Finding]:
    """Yield what is in force and what it would take to be stricter; with *auth* after two test mails."""
    from supportd.cli import border

    what = f"trust of {desk.name}"
    if desk.trust.profile == "none":
        words = (
            "profile none: an address in the staff domains is taken at its word, and a technician commands by "
            "answering our letters; forged staff addresses are not told apart"
        )
        cure = (
            "to be stricter: let your mail server write Authentication-Results, set trust: profile: rfc8601 with its "
            "authserv_id (or google, or microsoft365), then run: supportd check --auth"
        )
        yield Finding(what=what, state="ok", words=words, cure=cure)
        return
    with _reported(what) as problems:
        if auth:
            held, words = border.prove(config, desk)
            cure = "" if held else "let the server remove them (RFC 8601 5), or mend authserv_id and border_hosts"
            off = "" if held else "; commands by mail are off"
            state = "ok" if held else "problem"
            yield Finding(what=what, state=state, words=f"profile {desk.trust.profile}: {words}{off}", cure=cure)
        elif border.is_proved(config, desk):
            words = f"profile {desk.trust.profile}, proved: forged results are not believed"
            yield Finding(what=what, state="ok", words=words)
        else:
            words = f"profile {desk.trust.profile}, not proved yet: technicians' answers and commands by mail are off"
            yield Finding(what=what, state="warning", words=words, cure="supportd check --auth")
    yield from problems


def _oauth(config: Config, desk: Desk) -> Iterator[Finding]:
    from supportd.accounts import access_tokens
    from supportd.service import clock

    section = desk.mailbox.oauth
    if section is None:
        return
    what = f"access token of {desk.name}"
    with _reported(what) as problems:
        tokens = access_tokens(config, desk)
        assert tokens is not None
        tokens.current(clock())
        yield Finding(
            what=what, state="ok", words=f"{section.provider} gives one, good until {tokens.ends_at():%H:%M} UTC"
        )
    yield from problems
    for warning in desk.secret_warnings(clock()):
        cure = "put the new secret where the configuration looks for it, its date into secret_expires, and reload"
        yield Finding(what=f"secret of {desk.name}", state="warning", words=warning, cure=cure)
    if section.secret is not None and section.secret_expires is None:
        cure = "write the day on which the secret expires to oauth: secret_expires, and the digest counts it down"
        yield Finding(what=f"secret of {desk.name}", state="warning", words="nobody knows when it expires", cure=cure)


def _imap(config: Config, desk: Desk) -> Iterator[Finding]:
    from supportd.accounts import access_tokens, current_token, imap_account
    from supportd.imap import ImapSession
    from supportd.service import clock

    what = f"mailbox of {desk.name}"
    folders = desk.mailbox.folders
    with _reported(what) as problems:
        session = ImapSession(imap_account(config, desk, current_token(access_tokens(config, desk), clock)))
        try:
            words = f"signed in to {desk.mailbox.imap.host} for {desk.mailbox.address}"
            yield Finding(what=what, state="ok", words=words)
            missing = session.missing_folders((folders.inbox,))
            if missing:
                cure = "write its name on the server to folders: inbox"
                words = f"there is no folder {folders.inbox}"
                yield Finding(what=f"folders of {desk.name}", state="problem", words=words, cure=cure)
                return
            lacking = session.missing_rights(folders.inbox)
            if lacking:
                cure = f"give our account full access to {folders.inbox}: decided mail is moved away from there"
                words = f"{folders.inbox}: {lacking}"
                yield Finding(what=f"folders of {desk.name}", state="problem", words=words, cure=cure)
                return
            received_at = session.rehearse(_TEST_FOLDER, bytes(_letter(desk, desk.mailbox.address)))
            missing = session.missing_folders((folders.processed, folders.screened, folders.quarantine))
            words = "a test folder was made, a mail moved through it, and both deleted"
            if missing:
                words += f"; {', '.join(missing)} will be created"
            yield Finding(what=f"folders of {desk.name}", state="ok", words=words)
            yield _clock(f"{desk.mailbox.imap.host} says", received_at, clock())
        finally:
            session.close()
    yield from problems


def _clock(who: str, theirs: datetime, ours: datetime) -> Finding:
    """Return how far our clock is from the mail server's; deadlines are counted by ours."""
    apart = abs((ours - theirs).total_seconds())
    words = f"{who} {theirs:%H:%M:%S} UTC, we say {ours:%H:%M:%S} UTC"
    if apart <= _CLOCK_SECONDS:
        return Finding(what="clock", state="ok", words=words)
    cure = "set this machine's clock by the network: timedatectl set-ntp true; if it is right, the server's is wrong"
    return Finding(what="clock", state="problem", words=f"{words}: {apart / 60:.0f} minutes apart", cure=cure)


def _smtp(config: Config, desk: Desk, send_test: str | None) -> Iterator[Finding]:
    from supportd.accounts import access_tokens, current_token, smtp_account
    from supportd.service import clock
    from supportd.smtp import SmtpSession

    what = f"outgoing mail of {desk.name}"
    with _reported(what) as problems:
        session = SmtpSession(smtp_account(config, desk, current_token(access_tokens(config, desk), clock)))
        try:
            words = f"{desk.mailbox.smtp.host} accepts us"
            if send_test:
                test = _letter(desk, send_test)
                reply = session.send(desk.mailbox.address, send_test, bytes(test))
                words = f"a test letter to {send_test} was accepted: {reply}"
        finally:
            session.close()
        yield Finding(what=what, state="ok", words=words)
        if send_test and send_test.lower() in desk.own_addresses:
            yield _round_trip(config, desk, str(test["Message-ID"]))
    yield from problems


def _round_trip(config: Config, desk: Desk, message_id: str) -> Finding:
    """Return whether the test letter to ourselves came back; a running daemon may have screened it by then."""
    from supportd.accounts import access_tokens, current_token, imap_account
    from supportd.imap import ImapSession
    from supportd.service import clock

    what = f"round trip of {desk.name}"
    folders = desk.mailbox.folders
    started = time.monotonic()
    session = ImapSession(imap_account(config, desk, current_token(access_tokens(config, desk), clock)))
    try:
        while time.monotonic() - started < _ROUND_TRIP_SECONDS:
            places = (folders.inbox, folders.screened, folders.processed)
            missing = session.missing_folders(places)
            if any(session.find(folder, message_id) for folder in places if folder not in missing):
                seconds = time.monotonic() - started
                return Finding(what=what, state="ok", words=f"the test letter is in the mailbox after {seconds:.0f} s")
            time.sleep(1)
    finally:
        session.close()
    cure = "look into the junk folder, and whether the outgoing server delivers to this mailbox"
    words = f"the test letter did not arrive within {_ROUND_TRIP_SECONDS} s"
    return Finding(what=what, state="problem", words=words, cure=cure)


def _letter(desk: Desk, recipient: str) -> EmailMessage:
    """Return a test letter that nobody answers."""
    from supportd.service import clock

    test = EmailMessage(policy=email.policy.SMTP)
    test["From"] = desk.mailbox.address
    test["To"] = recipient
    test["Subject"] = "supportd: test letter"
    test["Date"] = email.utils.format_datetime(clock())
    test["Message-ID"] = email.utils.make_msgid(domain=desk.mailbox.address.rpartition("@")[2])
    test["Auto-Submitted"] = "auto-generated"
    test.set_content("This letter was sent by: supportd check\n")
    return test


def _alarm(config: Config) -> Iterator[Finding]:
    """Yield whether the way past the mailbox works, and that there is none."""
    from supportd.accounts import server_account
    from supportd.smtp import SmtpSession

    section = config.health
    if section.alert_smtp is None or section.alert_from is None:
        if section.ping_url is None and section.listen is None and section.file is None:
            cure = "set health: alert_to, alert_from and alert_smtp, or ping_url"
            words = "none: when the mailbox itself is the trouble, only the journal says so"
            yield Finding(what="alarm", state="warning", words=words, cure=cure)
        return
    with _reported("alarm") as problems:
        SmtpSession(server_account(config, section.alert_smtp, section.alert_from.rpartition("@")[2])).close()
        yield Finding(what="alarm", state="ok", words=f"{section.alert_smtp.host} takes letters to {section.alert_to}")
    yield from problems


@contextlib.contextmanager
def _reported(what: str) -> Iterator[list[Finding]]:
    """Collect what goes wrong inside as findings, with the cure that the error names."""
    problems: list[Finding] = []
    try:
        yield problems
    except UserError as error:
        problems += [Finding(what=what, state="problem", words=problem) for problem in error.problems]
    except (Unavailable, Refused) as error:
        problems.append(Finding(what=what, state="problem", words=str(error), cure=_cure(str(error))))


# What servers and libraries say -> what to do about it; the first that fits counts.
_CURES = (
    (
        "authenticated but not connected",
        "the app may sign in, but not to this mailbox; an Exchange administrator runs: "
        "Add-MailboxPermission -Identity MAILBOX -User APP -AccessRights FullAccess; "
        "Set-CASMailbox -Identity MAILBOX -ImapEnabled $true",
    ),
    ("5.7.30", "Microsoft no longer takes passwords for sending mail: configure oauth (docs/install-microsoft365.md)"),
    (
        "5.7.139",
        "Microsoft blocks the sign-in for sending; an administrator runs: "
        "Set-CASMailbox -Identity MAILBOX -SmtpClientAuthenticationDisabled $false",
    ),
    ("7000222", "the client secret has expired: make a new one in the app registration, Certificates & secrets"),
    ("7000215", "that is not the client secret: copy its Value, not its Secret ID, from Certificates & secrets"),
    ("700016", "the app is unknown in this tenant: compare tenant and client_id with the app's Overview"),
    ("90002", "there is no such tenant: copy the Directory (tenant) ID from the app's Overview"),
    ("invalid_client", "the provider does not accept client_id and secret: make a new secret, and put it in its place"),
    ("invalid_grant", "the permission was withdrawn or has run out: sign in once more for a new refresh token"),
    ("unauthorized_client", "grant the service account domain-wide delegation for the scope https://mail.google.com/"),
    ("ssl: wrong_version_number", "the server speaks no TLS on that port: set tls: starttls, or the port for TLS"),
    ("certificate verify failed: ip address mismatch", "the certificate is for another name: write that name as host"),
    ("certificate verify failed: hostname mismatch", "the certificate is for another name: write that name as host"),
    ("certificate has expired", "the server's certificate has expired: whoever runs the server renews it"),
    ("certificate verify failed", "the certificate is not trusted: if the authority is your own, set ca_file"),
    ("ca_file", "write the path of a PEM file with the authority's certificate to ca_file"),
    ("starttls", "the server offers no STARTTLS there: set tls: implicit with its port, usually 993 and 465"),
    ("does not support", "the server does not offer what was configured: compare port and tls with its documentation"),
    ("auth extension not supported", "the server takes no sign-in there: use its submission port, usually 587 or 465"),
    ("relay access denied", "the server does not send for us: configure user and password, or oauth"),
    ("sign-in refused", "compare user and password; many providers want an app password or oauth"),
    ("gives no token", "compare the address of the token endpoint; a web filter may stand between"),
    ("token endpoint answers", "the provider is in trouble itself: try again in some minutes"),
    ("connection refused", "nothing listens there: compare host and port, and whether the server runs"),
    ("no route to host", "the network does not reach it: compare host, and the firewall between"),
    ("network is unreachable", "the network does not reach it: compare host, and the firewall between"),
    ("timed out", "nothing answers: compare host, port and tls, and the firewall between"),
    ("name or service not known", "the host name is wrong, or DNS does not work: compare host"),
    ("temporary failure in name resolution", "DNS does not work, or the host name is wrong: compare host"),
    ("no address associated", "the host name is wrong: compare host"),
    ("connection closed", "it is not the server that was expected, or it is overloaded: compare host, port and tls"),
    ("connection unexpectedly closed", "not the server that was expected, or overloaded: compare host, port and tls"),
    ("eof", "it is not the server that was expected, or it is overloaded: compare host, port and tls"),
    ("answer cannot be understood", "that is another kind of server: compare host, port and tls"),
    ("unexpected response", "that is another kind of server: compare host, port and tls"),
    ("imap folder supportd-check", "our account may not create folders: give it full access to the mailbox"),
    ("imap append to supportd-check", "our account may not write: give it full access, or free its quota"),
    ("imap move to supportd-check", "our account may not move mail: give it full access to the mailbox"),
    ("database is locked", "another program holds the database: close it, or wait for the backup to end"),
    ("unable to open database", "this user cannot write there: give the folder to the user that runs supportd"),
    ("permission denied for schema", "let the database's user create tables: GRANT ALL ON SCHEMA public TO USER"),
    ("readonly database", "this user cannot write the file: give it to the user that runs supportd"),
    ("not a database", "another file stands there: name a new one in database: url"),
    ("malformed", "the file is damaged: stop the daemon and restore a backup"),
    ("disk is full", "free space where the database is, or move it"),
    ("password authentication failed", "compare the database's user and password"),
    ("does not exist", "create it, or write its right name into the configuration"),
)


def _cure(words: str) -> str:
    """Return what to do about *words*."""
    lowered = words.casefold()
    return next((cure for sign, cure in _CURES if sign in lowered), "look at the server's own log for this moment")
