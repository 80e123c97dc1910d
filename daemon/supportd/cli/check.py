"""``supportd check``: a line for each thing that must be in order, with the cure where it is not."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from typing import TYPE_CHECKING

import click

from supportd.errors import Refused, Unavailable, UserError

if TYPE_CHECKING:
    from supportd.cli.app import Session
    from supportd.config import Config, Desk

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
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
@click.pass_context
def check(context: click.Context, send_test: str | None, as_json: bool) -> None:
    """Look at everything that must be in order; exit 3 on a problem."""
    session: Session = context.obj
    found = list(findings(session, send_test))
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


def findings(session: Session, send_test: str | None) -> Iterator[Finding]:
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
        yield _trust(desk)
        yield from _imap(config, desk)
        yield from _smtp(config, desk, send_test)


def _database(config: Config) -> Iterator[Finding]:
    from supportd.cli.desk import Desks
    from supportd.db import letters
    from supportd.db.migrate import integrity

    with _reported("database") as problems:
        desks = Desks(config)
        try:
            broken = integrity(desks.database)
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

    warnings = sla.warnings(desk.hours, clock())
    for warning in warnings:
        cure = "add the coming terms to calendar: terms:" if "configured" in warning else ""
        yield Finding(what=f"calendar of {desk.name}", state="warning", words=warning, cure=cure)
    if not warnings:
        yield Finding(what=f"calendar of {desk.name}", state="ok", words=f"known until {desk.hours.known_until}")


def _templates(desk: Desk) -> Iterator[Finding]:
    if desk.templates is None:
        yield Finding(what=f"templates of {desk.name}", state="ok", words="the shipped ones")
    elif not desk.templates.is_dir():
        cure = "create it, or set templates: null"
        yield Finding(what=f"templates of {desk.name}", state="problem", words=f"no folder {desk.templates}", cure=cure)
    else:
        words = f"{desk.templates}; look closer with: supportd templates check"
        yield Finding(what=f"templates of {desk.name}", state="ok", words=words)


def _trust(desk: Desk) -> Finding:
    if desk.trust.profile == "none":
        words = (
            "profile none: an address in the staff domains is taken at its word, and a technician commands by "
            "answering our letters; forged staff addresses are not told apart"
        )
        cure = "if your mail server writes Authentication-Results, set trust: profile:"
        return Finding(what=f"trust of {desk.name}", state="ok", words=words, cure=cure)
    return Finding(what=f"trust of {desk.name}", state="ok", words=f"profile {desk.trust.profile}")


def _imap(config: Config, desk: Desk) -> Iterator[Finding]:
    from supportd.accounts import access_tokens, current_token, imap_account
    from supportd.imap import ImapSession
    from supportd.service import clock

    what = f"mailbox of {desk.name}"
    with _reported(what) as problems:
        session = ImapSession(imap_account(config, desk, current_token(access_tokens(config, desk), clock)))
        try:
            session.select(desk.mailbox.folders.inbox, readonly=True)
            missing = session.missing_folders(
                (desk.mailbox.folders.processed, desk.mailbox.folders.screened, desk.mailbox.folders.quarantine)
            )
        finally:
            session.close()
        words = f"signed in to {desk.mailbox.imap.host} as {desk.mailbox.imap.user}"
        if missing:
            words += f"; {', '.join(missing)} will be created"
        yield Finding(what=what, state="ok", words=words)
    yield from problems


def _smtp(config: Config, desk: Desk, send_test: str | None) -> Iterator[Finding]:
    import email.utils

    from supportd.accounts import access_tokens, current_token, smtp_account
    from supportd.service import clock
    from supportd.smtp import SmtpSession

    what = f"outgoing mail of {desk.name}"
    with _reported(what) as problems:
        session = SmtpSession(smtp_account(config, desk, current_token(access_tokens(config, desk), clock)))
        try:
            words = f"{desk.mailbox.smtp.host} accepts us"
            if send_test:
                test = EmailMessage()
                test["From"] = desk.mailbox.address
                test["To"] = send_test
                test["Subject"] = "supportd: test letter"
                test["Date"] = email.utils.format_datetime(clock())
                test["Message-ID"] = email.utils.make_msgid(domain=desk.mailbox.address.rpartition("@")[2])
                test["Auto-Submitted"] = "auto-generated"
                test.set_content("This letter was sent by: supportd check --send-test\n")
                data = test.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
                reply = session.send(desk.mailbox.address, send_test, data)
                words = f"a test letter to {send_test} was accepted: {reply}"
        finally:
            session.close()
        yield Finding(what=what, state="ok", words=words)
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


# What servers say -> what to do about it.
_CURES = (
    (
        "authenticated but not connected",
        "the mailbox permission is missing; an administrator runs: "
        "Add-MailboxPermission -Identity MAILBOX -User APP -AccessRights FullAccess",
    ),
    ("5.7.30", "Microsoft no longer takes passwords for sending mail: configure OAuth"),
    ("certificate verify failed", "the certificate is not trusted: set ca_file, or the name in it as host"),
    ("sign-in refused", "check user and password; many providers want an app password or OAuth"),
    ("Connection refused", "nothing listens there: check host and port, and whether the server runs"),
    ("timed out", "nothing answers: check host, port and the firewall between"),
    ("Name or service not known", "the host name is wrong, or DNS does not work"),
    ("database is locked", "another program holds the database: close it, or wait for the backup to end"),
    ("unable to open database", "the folder or the file cannot be written by this user"),
    ("readonly database", "the database file cannot be written by this user: fix its owner"),
)


def _cure(words: str) -> str:
    return next((cure for sign, cure in _CURES if sign.casefold() in words.casefold()), "look at the server's own log")
