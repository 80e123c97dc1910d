"""``supportd init``: a few questions, or flags, and a configuration is written that loads; what to do next is said."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from supportd.errors import UserError

if TYPE_CHECKING:
    from supportd.config.draft import Answers, Server, Term

PROVIDERS = ("microsoft", "google", "imap")
# Where the unit file reads secrets from, so that credentials are the way there; elsewhere a file beside the file.
_SYSTEM_FOLDER = Path("/etc/supportd")

_EXPLAINED = {
    "microsoft": """\
Microsoft 365 signs a daemon in by an app of your own (details: docs/install-microsoft365.md).
  entra.microsoft.com > App registrations > your app:
    Overview                 shows "Application (client) ID" and "Directory (tenant) ID"
    Certificates & secrets   New client secret: copy its Value at once, and note the day it expires
    API permissions          Office 365 Exchange Online, Application: IMAP.AccessAsApp, SMTP.SendAsApp; consent""",
    "google": """\
Google signs a daemon in by a service account (details: docs/install-google.md).
  console.cloud.google.com > IAM & Admin > Service accounts > your account > Keys: Add key, JSON
  admin.google.com > Security > API controls > Domain-wide delegation: its client ID, scope https://mail.google.com/""",
    "imap": """\
Any mail server that speaks IMAP and SMTP submission (details: docs/install-imap.md).
  Host names, and whether it wants implicit TLS (993, 465) or STARTTLS (143, 587), stand in your provider's help.""",
}

_TEMPLATES = """\
Your own wording goes here.

A file in this folder takes the place of the shipped template of the same name; every other letter stays as shipped and
keeps up with new versions.  See every letter with: supportd templates preview --out letters
Check your own with:                                supportd templates check
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asker:
    """Asks for what no flag answered, where somebody sits at a terminal; else says which flag is missing."""

    missing: list[str]
    at_terminal: bool

    def need(self, flag: str, given: str | None, question: str, *, default: str | None = None, **more: Any) -> str:
        """Return *given*, else what is typed, else the default; a flag without either is noted as missing."""
        if given is not None:
            return given
        if self.at_terminal:
            return str(click.prompt(question, default=default, **more)).strip()
        if default is None:
            self.missing.append(flag)
            return ""
        return default


@click.command(epilog="For example:  supportd init /etc/supportd --provider imap --address support@school.example")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option("--provider", type=click.Choice(PROVIDERS), help="Who keeps the mailbox.")
@click.option("--address", metavar="ADDRESS", help="The support mailbox.")
@click.option("--school", metavar="NAME", help="The school, as it stands in the letters.")
@click.option(
    "--technician", "technicians", multiple=True, metavar="NAME=ADDRESS", help="Who answers; may be repeated."
)
@click.option("--it-inbox", metavar="ADDRESS", help="Who gets the digest; by default the first technician.")
@click.option("--it-lead", metavar="ADDRESS", help="Who reads along from the third reminder on.")
@click.option("--staff-domain", "staff_domains", multiple=True, metavar="DOMAIN", help="By default the mailbox's own.")
@click.option("--hours", metavar="HH:MM-HH:MM", help="When the service is open, Monday to Friday.  [08:00-16:00]")
@click.option("--terms", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.ics", help="Term dates.")
@click.option(
    "--term", "typed", multiple=True, metavar="TERM",
    help='Instead: "Autumn 2026=2026-09-01..2026-12-18,2026-10-26..2026-10-30", the half term last; may be repeated.',
)  # fmt: skip
@click.option("--tenant", metavar="ID", help="Microsoft: Directory (tenant) ID.")
@click.option("--client-id", metavar="ID", help="Microsoft: Application (client) ID.")
@click.option("--secret-expires", metavar="DATE", help="Microsoft: the day on which the client secret expires.")
@click.option("--imap-host", metavar="HOST", help="Plain IMAP: where mail is fetched.")
@click.option("--imap-port", type=click.IntRange(1, 65535), metavar="PORT")
@click.option("--imap-tls", type=click.Choice(("implicit", "starttls", "none")), default="implicit", show_default=True)
@click.option("--smtp-host", metavar="HOST", help="Plain IMAP: where letters are handed over.")
@click.option("--smtp-port", type=click.IntRange(1, 65535), metavar="PORT")
@click.option("--smtp-tls", type=click.Choice(("implicit", "starttls", "none")), default="implicit", show_default=True)
@click.option("--user", metavar="USER", help="Plain IMAP: who signs in; by default the address.")
@click.option("--ca-file", metavar="FILE", help="Plain IMAP: the authority of a private certificate.")
@click.option("--secrets", type=click.Choice(("file", "credential")), help="Where the secret will lie.")
@click.option("--force", is_flag=True, help="Replace a configuration that is there.")
def init(folder: Path, force: bool, **flags: Any) -> None:
    """Write config.yaml and a folder for templates into DIR (by default this one); asks for what no flag says."""
    from supportd.config import document, draft, load

    path = folder / "config.yaml"
    if path.exists() and not force:
        raise UserError(f"{path}: is there already; take another folder, or --force to replace it")
    asker = _Asker(missing=[], at_terminal=sys.stdin.isatty())
    kind = flags["secrets"] or ("credential" if folder.absolute() == _SYSTEM_FOLDER else "file")
    answers, secret, calendar = _answers(asker, flags, kind)
    if asker.missing:
        raise click.UsageError(f"no terminal to ask at; missing: {', '.join(asker.missing)}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if calendar is not None:
            (folder / "term-dates.ics").write_bytes(calendar)
        text = draft.write(answers)
        # What was typed may be wrong; then nothing is left behind that looks finished.
        from supportd.config import Config

        document.parse(Config, text, name="your answers", context={"folder": folder})
        (folder / "templates").mkdir(exist_ok=True)
        (folder / "templates" / "README").write_text(_TEMPLATES, encoding="utf-8")
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{error.filename or folder}: cannot be written ({error.strerror}); check its rights"
        ) from error
    load(path)
    _say_what_is_next(path, flags["provider"] or "", secret, kind)


def _answers(asker: _Asker, flags: dict[str, Any], kind: str) -> tuple[Answers, str, bytes | None]:
    """Return the answers, the name of the secret that they lean on, and the calendar file where one is named."""
    from supportd.config import draft

    provider = asker.need("--provider", flags["provider"], "Who keeps the mailbox?", type=click.Choice(PROVIDERS))
    flags["provider"] = provider
    if asker.at_terminal and provider in _EXPLAINED:
        click.echo(f"\n{_EXPLAINED[provider]}\n")
    address = asker.need("--address", flags["address"], "Address of the support mailbox")
    domain = address.rpartition("@")[2]
    school = asker.need("--school", flags["school"], "Name of the school, as it stands in the letters")
    technicians = _technicians(asker, flags["technicians"])
    first = technicians[0][1] if technicians else ""
    it_inbox = asker.need("--it-inbox", flags["it_inbox"], "Who gets the digest and quiet alerts?", default=first)
    hours = asker.need("--hours", flags["hours"], "Open Monday to Friday, from-to", default="08:00-16:00")
    terms, calendar = _terms(asker, flags["terms"], flags["typed"])
    imap, smtp, oauth, secret = _SIGN_IN.get(provider, _plain)(asker, flags, address, kind)
    answers = draft.Answers(
        school=school,
        address=address,
        staff_domains=flags["staff_domains"] or (domain,),
        technicians=technicians,
        it_inbox=it_inbox,
        it_lead=flags["it_lead"],
        hours=hours,
        terms=terms,
        imap=imap,
        smtp=smtp,
        oauth=oauth,
        trust={"microsoft": "microsoft365", "google": "google"}.get(provider, "none"),
        sent_folder={"microsoft": "Sent Items", "google": "[Gmail]/Sent Mail"}.get(provider, "Sent"),
    )
    return answers, secret, calendar


def _technicians(asker: _Asker, given: tuple[str, ...]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for text in given:
        name, _, address = text.partition("=")
        if not address:
            raise click.BadParameter(f"{text!r} has no =; write NAME=ADDRESS", param_hint="--technician")
        found.append((name.strip(), address.strip()))
    if not found:
        name = asker.need("--technician", None, "Name of a technician")
        found = [(name, asker.need("--technician", None, f"Address that {name} writes from"))] if name else []
    return found


def _terms(asker: _Asker, file: Path | None, typed: tuple[str, ...]) -> tuple[str | list[Term], bytes | None]:
    """Return the name of the calendar file and its bytes, or the terms that were typed."""
    if file is None and not typed and asker.at_terminal:
        answer = click.prompt(
            "Term dates: a calendar file (.ics), or empty to type them", default="", show_default=False
        )
        file = Path(answer).expanduser() if answer else None
    if file is not None:
        try:
            return "term-dates.ics", file.read_bytes()
        except OSError as error:
            raise UserError(f"{file}: cannot be read ({error.strerror}); name the calendar file again") from error
    if typed:
        return [_term(text) for text in typed], None
    if not asker.at_terminal:
        asker.missing.append("--terms or --term")
        return [], None
    found: list[Term] = []
    while True:
        name = click.prompt("Name of the term, such as Autumn 2026 (empty: no more)", default="", show_default=False)
        if not name and found:
            return found, None
        if name:
            whole = f"{click.prompt('  first day (YYYY-MM-DD)')}..{click.prompt('  last day')}"
            half = click.prompt("  half term, FIRST..LAST (empty: none)", default="", show_default=False)
            found.append(_term(f"{name}={whole}" + (f",{half}" if half else "")))


def _term(text: str) -> Term:
    """Return the term that *text* says: NAME=FIRST..LAST, and after a comma its half term.

    Raises:
        UserError: it says none.
    """
    from supportd.config.draft import Term

    name, _, dates = text.rpartition("=")
    try:
        spans = [tuple(date.fromisoformat(day.strip()) for day in span.split("..")) for span in dates.split(",")]
        (first, last), *halves = spans
        half = (halves[0][0], halves[0][1]) if halves else None
    except (ValueError, IndexError) as error:
        cure = "write NAME=YYYY-MM-DD..YYYY-MM-DD, and after a comma the half term"
        raise UserError(f"the term {text!r} cannot be read; {cure}") from error
    return Term(name=name.strip() or "Term", first=first, last=last, half_term=half)


SignIn = tuple["Server", "Server", dict[str, Any], str]


def _microsoft(asker: _Asker, flags: dict[str, Any], address: str, kind: str) -> SignIn:
    from supportd.config.draft import Server

    oauth: dict[str, Any] = {
        "provider": "microsoft",
        "tenant": asker.need("--tenant", flags["tenant"], "Directory (tenant) ID"),
        "client_id": asker.need("--client-id", flags["client_id"], "Application (client) ID"),
        "secret": {kind: "oauth-secret"},
    }
    expires = asker.need("--secret-expires", flags["secret_expires"], "The secret expires on (YYYY-MM-DD)", default="")
    if expires:
        oauth["secret_expires"] = expires
    imap, smtp = Server(host="outlook.office365.com", tls="implicit"), Server(host="smtp.office365.com", tls="starttls")
    return imap, smtp, oauth, "oauth-secret"


def _google(asker: _Asker, flags: dict[str, Any], address: str, kind: str) -> SignIn:
    from supportd.config.draft import Server

    oauth = {"provider": "google", "service_account": {kind: "google-key.json"}}
    imap, smtp = Server(host="imap.gmail.com", tls="implicit"), Server(host="smtp.gmail.com", tls="implicit")
    return imap, smtp, oauth, "google-key.json"


def _plain(asker: _Asker, flags: dict[str, Any], address: str, kind: str) -> SignIn:
    from supportd.config.draft import Server

    def server(name: str) -> Server:
        host = asker.need(f"--{name}-host", flags[f"{name}_host"], f"{name.upper()} server")
        return Server(
            host=host,
            tls=flags[f"{name}_tls"],
            port=flags[f"{name}_port"],
            user=flags["user"] or address,
            password={kind: "mail-password"},
            ca_file=flags["ca_file"],
        )

    return server("imap"), server("smtp"), {}, "mail-password"


_SIGN_IN: dict[str, Callable[[_Asker, dict[str, Any], str, str], SignIn]] = {
    "microsoft": _microsoft,
    "google": _google,
    "imap": _plain,
}


def _say_what_is_next(path: Path, provider: str, secret: str, kind: str) -> None:
    from supportd.config import load

    what = {"microsoft": "the client secret's Value", "google": "the key file", "imap": "the mailbox's password"}[
        provider
    ]
    place = path.parent / secret
    known_until = load(path).desks[0].hours.known_until
    click.echo(f"Written: {path} and {path.parent / 'templates'}.")
    if known_until is None or known_until < datetime.now(UTC).date():  # noqa: TID251 -- the command line reads the clock.
        click.echo(f"The terms end on {known_until}, which is past: no deadline can be promised.  Add this year's.")
    click.echo("Next:")
    click.echo(f"  1. Put {what} into {place}, for its owner's eyes only:  chmod 600 {place}")
    if kind == "credential":
        click.echo(f"     The unit file hands it over:  LoadCredential={secret}:{place}")
        click.echo(f"  2. CREDENTIALS_DIRECTORY={path.parent} supportd -c {path} check")
    else:
        click.echo(f"  2. supportd -c {path} check")
    click.echo(f"  3. supportd -c {path} run")
