"""``supportd demo``: a school morning on throw-away servers, so that anybody can see the real daemon at work.

1. an IMAP server (pymap) and an SMTP server (aiosmtpd) start on loopback
2. the mails of the folder ``demo`` are put into the mailbox, as if they had come in over the last hour
3. ``supportd run`` reads, decides and answers them
4. people and machines react: a reply, an out-of-office, a bounce, a technician's answer and a ``#resolve``
5. what became of every mail, and where the letters lie that went out, is shown
"""

from __future__ import annotations

import contextlib
import email
import email.policy
import html
import re
import shutil
import signal
import socket
import string
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from supportd.errors import Unavailable, UserError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from rich.console import Console
    from rich.table import Table

    from supportd.config import Config
    from supportd.core.model import Ticket
    from supportd.db.ledger import SetAside
    from supportd.imap import ImapAccount

HOST = "127.0.0.1"
SUPPORT = "support@allsaints.example"
TECHNICIAN = "s.whitaker@allsaints.example"
# No secret: the server that asks for it lives as long as the demo and listens on loopback alone.
PASSWORD = "correct horse"  # noqa: S105
# As in config.example.yaml, which therefore works as it stands while the demo's servers run.
IMAP_PORT, SMTP_PORT = 10143, 10025
# The whole demo has to end within a minute; a machine on which a step takes longer has another problem.
STEP_SECONDS = 25

# How the configuration of a demo begins: a folder without it is never emptied.
OURS = "# The configuration of the demo"

# Which letter each reaction answers: the letter's kind, its recipient, words of its subject.
REACTIONS = {
    "31-the-teacher-answers": ("acknowledgement", "l.winn@allsaints.example", ""),
    "32-the-teacher-is-away": ("acknowledgement", "g.lister@allsaints.example", ""),
    "33-an-acknowledgement-bounces": ("acknowledgement", "y6@allsaints.example", ""),
    "34-the-technician-answers": ("alert", TECHNICIAN, "Internet and server gone"),
    "35-the-technician-resolves": ("alert", TECHNICIAN, "no sound in the hall"),
}
SEVERITY_STYLES = {1: "bold white on red", 2: "bold red", 3: "dark_orange", 4: "yellow", 5: "green", 6: "cyan"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """One letter that the daemon handed to the SMTP server, and the files that it can be looked at in."""

    kind: str
    envelope_from: str
    recipient: str
    subject: str
    message_id: str
    reply_to: str
    file: Path


@click.command()
@click.option("--keep", is_flag=True, help="Leave everything running to play with, until Ctrl-C.")
@click.option("--out", default="demo-out", type=click.Path(file_okay=False, path_type=Path), show_default=True)
def demo(keep: bool, out: Path) -> None:
    """Show the real daemon at work on a school morning, on throw-away servers; ends by itself."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    _prepare(out)
    with contextlib.ExitStack() as servers:
        imap = servers.enter_context(_imap_server(out / "imap.log"))
        outgoing = servers.enter_context(_smtp_server(out / "letters", imap))
        config = _configure(out, imap.port, outgoing.port)
        console.print(f"[green]✓[/] throw-away servers: IMAP on {HOST}:{imap.port}, SMTP on {HOST}:{outgoing.port}")

        mails = _morning()
        _append(imap, mails.values())
        console.print(f"[green]✓[/] {len(mails)} mails of a school morning lie in the INBOX of {SUPPORT}")

        daemon = servers.enter_context(_daemon(out))
        console.print(f"[green]✓[/] the daemon runs (process {daemon.pid}, SQLite file {out / 'supportd.db'})")
        with console.status("reading, deciding, answering ..."):
            _wait(out, config, imap, daemon)
        console.print(f"[green]✓[/] every mail is decided and filed, {len(outgoing.letters)} letters went out")

        reactions = _reactions(outgoing.letters)
        _append(imap, reactions.values())
        with console.status("people and machines react ..."):
            _wait(out, config, imap, daemon)
        console.print(f"[green]✓[/] {len(reactions)} came back: replies, an out-of-office, a bounce, a command")

        if not keep:
            _stop(daemon)
            console.print("[green]✓[/] the daemon was asked to end, and ended cleanly")
        _write_index(out, outgoing.letters)
        _show(console, out, config, {**mails, **reactions}, outgoing.letters)
        if keep:
            _stay(console, out, imap.port, outgoing, daemon)


def _prepare(out: Path) -> None:
    """Make *out* an empty folder.

    Raises:
        UserError: there is such a folder, and no demo made it.
    """
    if out.exists():
        config = out / "config.yaml"
        is_ours = config.is_file() and config.read_text(encoding="utf-8", errors="replace").startswith(OURS)
        if any(out.iterdir()) and not is_ours:
            raise UserError(f"{out} is not a folder that the demo made; name another one with --out")
        shutil.rmtree(out)
    (out / "letters").mkdir(parents=True)


def _files() -> Traversable:
    return resources.files("supportd").joinpath("demo")


def _configure(out: Path, imap_port: int, smtp_port: int) -> Config:
    """Return the demo's configuration, written to *out* as a file like anybody's."""
    from supportd.config import load

    today = datetime.now(UTC).date()  # noqa: TID251 - the demo's term is around the day on which it is shown
    text = string.Template(_files().joinpath("config.yaml").read_text(encoding="utf-8")).substitute(
        imap_port=imap_port,
        smtp_port=smtp_port,
        first_day=today - timedelta(days=60),
        last_day=today + timedelta(days=90),
    )
    (out / "config.yaml").write_text(text, encoding="utf-8")
    (out / "password").touch(0o600)
    (out / "password").write_text(PASSWORD, encoding="utf-8")
    return load(out / "config.yaml")


# Servers


def _free_port(wanted: int) -> int:
    """Return *wanted*, or, where something listens on it already, a port that is free."""
    for port in (wanted, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            # As servers do, so that the connections of an earlier demo do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    raise UserError(f"no port of {HOST} is free")


def _python(*arguments: str, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as stream:
        # In a session of its own, so that Ctrl-C reaches the demo alone, which then ends the others in their order.
        return subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, *arguments], stdout=stream, stderr=stream, start_new_session=True
        )


@contextlib.contextmanager
def _imap_server(log: Path) -> Iterator[ImapAccount]:
    """Yield the account of a new, empty mailbox on a server of its own.

    Raises:
        UserError: pymap is not installed, or does not start.
    """
    from supportd.imap import ImapAccount, ImapSession

    account = ImapAccount(host=HOST, port=_free_port(IMAP_PORT), tls="none", user=SUPPORT, password=PASSWORD)
    options = ["--host", HOST, "--port", str(account.port), "--no-tls", "dict"]
    options += ["--demo-user", SUPPORT, "--demo-password", PASSWORD]
    # pymap holds its connections by nothing but themselves, and Python 3.13 collects them while they are in use.
    server = _python("-c", "import gc; gc.disable(); from pymap.main import main; main()", *options, log=log)
    try:
        for _ in range(100):
            if server.poll() is not None:
                raise UserError(f"the demo's IMAP server did not start: pip install 'supportd[demo]' (see {log})")
            with contextlib.suppress(Unavailable):
                ImapSession(account).close()
                break
            time.sleep(0.1)
        yield account
    finally:
        server.kill()  # It holds nothing that outlives it, and prints a traceback when it is asked to end.
        server.wait()


class _Outgoing:
    """An SMTP server that keeps what the daemon sends as files; mail to the support address goes into its mailbox."""

    def __init__(self, folder: Path, imap: ImapAccount) -> None:
        self.folder = folder
        self.imap = imap
        self.port = _free_port(SMTP_PORT)
        self.letters: list[Posted] = []
        self.on_letter: Callable[[Posted], None] | None = None

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Keep the message, or put it into the support mailbox, and accept it."""
        data: bytes = envelope.content
        for recipient in envelope.rcpt_tos:
            if recipient.lower().startswith("support"):
                _append(self.imap, [(data, datetime.now(UTC))])  # noqa: TID251 - it arrives as it comes in
            else:
                self._keep(envelope.mail_from or "", recipient, data)
        return "250 2.0.0 kept"

    def _keep(self, envelope_from: str, recipient: str, data: bytes) -> None:
        message = email.message_from_bytes(data, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        message_id = str(message["Message-ID"] or "")
        # <sd.KIND.CLAIM.PROOF@DOMAIN>
        kind = message_id.split(".")[1] if message_id.startswith("<sd.") else "letter"
        number = len(self.letters) + 1
        name = f"{number:03}-{kind}-to-{re.sub('[^a-z0-9.-]', '_', recipient.partition('@')[0].lower())}"
        file = self.folder / f"{name}.eml"
        file.write_bytes(data)
        for subtype, suffix in (("html", ".html"), ("plain", ".txt")):
            part = message.get_body((subtype,))
            if part is not None:
                file.with_suffix(suffix).write_text(part.get_content(), encoding="utf-8")
        letter = Posted(
            kind=kind,
            envelope_from=envelope_from,
            recipient=recipient,
            subject=str(message["Subject"] or ""),
            message_id=message_id,
            reply_to=str(message["Reply-To"] or message["From"] or ""),
            file=file,
        )
        self.letters.append(letter)
        if self.on_letter is not None:
            self.on_letter(letter)


@contextlib.contextmanager
def _smtp_server(folder: Path, imap: ImapAccount) -> Iterator[_Outgoing]:
    try:
        from aiosmtpd.controller import Controller
    except ImportError as error:
        raise UserError("the demo's SMTP server is not installed: pip install 'supportd[demo]'") from error

    outgoing = _Outgoing(folder, imap)
    controller = Controller(outgoing, hostname=HOST, port=outgoing.port)
    controller.start()
    try:
        yield outgoing
    finally:
        controller.stop()


@contextlib.contextmanager
def _daemon(out: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = "from supportd.cli.app import main; main()"
    process = _python("-c", command, "-c", str(out / "config.yaml"), "run", log=out / "daemon.log")
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    """Ask the daemon to end.

    Raises:
        UserError: it does not end within the ten seconds that it promises, or not well.
    """
    daemon.send_signal(signal.SIGTERM)
    try:
        status = daemon.wait(timeout=10)
    except subprocess.TimeoutExpired:
        raise UserError("the daemon did not end within ten seconds; see daemon.log") from None
    if status:
        raise UserError(f"the daemon ended with status {status}; see daemon.log")


# The story


def _morning() -> dict[str, tuple[bytes, datetime]]:
    """Return the mails of the morning by name: final bytes, and when each came in over the last fifty minutes."""
    names = sorted(file.name.removesuffix(".eml") for file in _files().iterdir() if re.match(r"[012]\d-", file.name))
    now = datetime.now(UTC)  # noqa: TID251 - the morning ends now
    step = timedelta(minutes=50) / len(names)
    instants = [now - (len(names) - number) * step for number in range(len(names))]
    mails = {name: (_mail(name, at), at) for name, at in zip(names, instants, strict=True)}
    # A copy is a copy: the Date is part of the mail, and the phone sent the same mail twice.
    mails["07-locked-out-again"] = mails["06-locked-out"]
    mails["29-boxes-in-boxes"] = (_nested(300, now), now)
    return mails


def _mail(name: str, at: datetime, **words: str) -> bytes:
    """Return the mail *name*, dated *at*, with each ``@WORD@`` filled in."""
    text = _files().joinpath(f"{name}.eml").read_bytes()
    if not text.strip():
        return text.replace(b"\n", b"\r\n")
    for word, value in words.items():
        text = text.replace(f"@{word.replace('_', '-')}@".encode(), value.encode())
    dated = f"Date: {format_datetime(at)}\n".encode() + text
    return dated.replace(b"\n", b"\r\n")


def _nested(depth: int, at: datetime) -> bytes:
    """Return a mail of *depth* boxes in boxes, which brings down programs that open them one inside the other."""
    head = f"Date: {format_datetime(at)}\r\nFrom: Accounts <invoices@bulk.example>\r\nTo: {SUPPORT}\r\n"
    head += "Message-ID: <demo29@bulk.example>\r\nSubject: Invoice 4471\r\nMIME-Version: 1.0\r\n"
    boxes = (f'Content-Type: multipart/mixed; boundary="b{box}"\r\n\r\n--b{box}\r\n' for box in range(depth))
    return (head + "".join(boxes) + "Content-Type: text/plain\r\n\r\nPlease pay.\r\n").encode()


def _reactions(letters: Sequence[Posted]) -> dict[str, tuple[bytes, datetime]]:
    """Return what comes back, by name: each answers one of *letters*."""
    now = datetime.now(UTC)  # noqa: TID251 - it comes back at once
    found = {}
    for name, (kind, recipient, subject) in REACTIONS.items():
        answered = [one for one in letters if (one.kind, one.recipient) == (kind, recipient)]
        letter = next((one for one in answered if subject in one.subject), None)
        if letter is None:
            raise UserError(f"the daemon sent no {kind} to {recipient}, which {name} would answer; see daemon.log")
        # A mail server returns a bounce to the envelope's sender, a person answers the address in the letter.
        back = letter.envelope_from if "bounce" in name else letter.reply_to
        words = {"REPLY_TO": back, "SUBJECT": letter.subject, "MESSAGE_ID": letter.message_id}
        found[name] = (_mail(name, now, **words, DATE=f"{now:%d %B %Y at %H:%M}"), now)
    return found


def _append(imap: ImapAccount, mails: Iterable[tuple[bytes, datetime]]) -> None:
    """Put *mails* into the INBOX, each with its INTERNALDATE."""
    from supportd.imap import ImapSession

    session = ImapSession(imap)
    try:
        for data, at in mails:
            session.append("INBOX", data, at)
    finally:
        session.close()


def _wait(out: Path, config: Config, imap: ImapAccount, daemon: subprocess.Popen[bytes]) -> None:
    """Return when the INBOX is empty and every letter has gone out.

    Raises:
        UserError: the daemon died, or is not done after STEP_SECONDS.
    """
    from supportd.db import letters
    from supportd.db.engine import Database
    from supportd.db.letters import LetterState
    from supportd.imap import ImapSession

    give_up_at = time.monotonic() + STEP_SECONDS
    database = Database(config.database_url)
    session = ImapSession(imap)
    try:
        session.select("INBOX", readonly=True)
        while time.monotonic() < give_up_at:
            if daemon.poll() is not None:
                raise UserError(f"the daemon ended with status {daemon.returncode}; see {out / 'daemon.log'}")
            # Letters are queued in the transaction that decides a mail, and a mail is filed after that.
            left = session.listing()
            if not left:
                with database.read() as connection:
                    states = letters.counts(connection)
                if not states.keys() & {LetterState.PENDING, LetterState.SENDING}:
                    return
            time.sleep(0.1)
    finally:
        session.close()
        database.close()
    raise UserError(f"after {STEP_SECONDS} s {len(left)} mails are still in the INBOX; see {out / 'daemon.log'}")


# What became of it


def _write_index(out: Path, letters: Sequence[Posted]) -> None:
    """Write ``index.html``: the list of letters on the left, the one that is clicked on the right."""

    def item(letter: Posted) -> str:
        page = letter.file.with_suffix(".html")
        name = f"letters/{(page if page.exists() else letter.file.with_suffix('.txt')).name}"
        return (
            f'    <li><a href="{html.escape(name)}" target="letter">{html.escape(letter.subject)}</a>'
            f"<small>{html.escape(letter.kind)} to {html.escape(letter.recipient)} · "
            f'<a href="letters/{html.escape(letter.file.name)}">.eml</a></small></li>'
        )

    page = string.Template(_files().joinpath("index.html").read_text(encoding="utf-8"))
    items = "\n".join(map(item, letters))
    first = f"letters/{letters[0].file.with_suffix('.html').name}" if letters else ""
    (out / "index.html").write_text(page.substitute(count=len(letters), items=items, first=first), encoding="utf-8")


def _show(
    console: Console, out: Path, config: Config, mails: dict[str, tuple[bytes, datetime]], letters: Sequence[Posted]
) -> None:
    """Print what became of every mail, and where to look further."""
    from supportd.db import ledger, tickets
    from supportd.db.engine import Database
    from supportd.db.letters import LetterState
    from supportd.db.letters import listing as letter_listing

    database = Database(config.database_url)
    with database.read() as connection:
        names = {row.level: row.name for row in config.severities}
        opened = tickets.find(connection, names)
        told = {
            row["ticket_id"]
            for row in letter_listing(connection, list(LetterState))
            if row["kind"] == "acknowledgement" and row["state"] == LetterState.SENT
        }
        others = []
        for name, (raw, _at) in mails.items():
            rows = ledger.by_message_id(connection, _field(raw, "Message-ID")) if raw.strip() else []
            # The second copy of a mail stands behind the first.
            row = rows[-1 if "again" in name else 0] if rows else None
            if row is not None and row["verdict"] != "ticket":
                others.append((raw, row))
        quarantined = ledger.quarantined(connection, 1)
    database.close()

    references = {ticket.id: ticket.reference for ticket in opened}
    console.print(_tickets_table(opened, told, config.calendar.timezone))
    console.print(_others_table(others, quarantined, references))
    console.print(_letters_table(letters))
    command = f"{sys.argv[0]} -c {out / 'config.yaml'}"
    console.print(
        f"""
[bold]Look at the letters[/]   {(out / "index.html").resolve()}
                      {out / "letters"}/*.eml   opens in a mail program, .html in a browser
[bold]Ask the desk[/]          {command} ticket list
                      {command} ticket show {opened[0].reference if opened else "AS-1"}
                      {command} why '{_field(next(iter(mails.values()))[0], "Message-ID")}'
[bold]What it logged[/]        {out / "daemon.log"}
""",
        soft_wrap=True,
    )


def _field(raw: bytes, name: str) -> str:
    """Return the first field *name* of *raw*, decoded for people."""
    message = email.message_from_bytes(raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", policy=email.policy.default)
    return str(message[name] or "")


def _table(title: str) -> Table:
    from rich import box
    from rich.table import Table

    return Table(
        title=title, title_style="bold", title_justify="left", expand=True, pad_edge=False, box=box.SIMPLE_HEAD
    )


def _tickets_table(opened: Sequence[Ticket], told: set[object], zone: ZoneInfo) -> Table:
    from rich.markup import escape

    table = _table("Tickets")
    table.add_column("ticket", no_wrap=True)
    # A line a ticket, however narrow the terminal is.
    table.add_column("from", ratio=3, no_wrap=True)
    table.add_column("subject", ratio=5, no_wrap=True)
    table.add_column("severity", no_wrap=True)
    table.add_column("because of", ratio=4, no_wrap=True)
    table.add_column("answer by", no_wrap=True)
    table.add_column("fixed by", no_wrap=True)
    table.add_column("told", no_wrap=True)
    for ticket in opened:
        # Who wrote is told in its own column.
        evidence = dict.fromkeys(one.words for one in ticket.evidence if one.field != "from")
        otherwise = "who wrote" if ticket.evidence else "nothing else fits"
        style = SEVERITY_STYLES.get(ticket.level, "")
        if ticket.automatic:
            acknowledged = "[dim]machine[/]"
        elif ticket.id in told:
            acknowledged = "[green]✓[/]"
        else:
            acknowledged = "[dim]outsider[/]"
        table.add_row(
            ticket.reference,
            escape(ticket.requester.name or ticket.requester.address),
            "[dim]restricted[/]" if ticket.restricted else escape(ticket.subject) or "[dim](no subject)[/]",
            f"[{style}] {ticket.level} {escape(ticket.level_name)} [/]",
            escape(", ".join(list(evidence)[:3])) or f"[dim]{otherwise}[/]",
            "[green]answered[/]" if ticket.responded_at else _when(ticket.response_due, zone),
            "[green]resolved[/]" if ticket.resolved_at else _when(ticket.resolution_due, zone),
            acknowledged,
        )
    return table


def _when(instant: datetime | None, zone: ZoneInfo) -> str:
    """Return the local day and time, in few letters: the day of the week is enough within the next six days."""
    if instant is None:
        return "–"
    is_near = instant - datetime.now(UTC) < timedelta(days=6)  # noqa: TID251 - near is near to now
    return f"{instant.astimezone(zone):{'%a %H:%M' if is_near else '%a %d %b'}}"


def _others_table(
    others: Sequence[tuple[bytes, dict[str, object]]],
    quarantined: Sequence[SetAside],
    references: dict[int, str],
) -> Table:
    from rich.markup import escape

    table = _table("Mails that opened no ticket")
    table.add_column("from", ratio=2, no_wrap=True)
    table.add_column("subject", ratio=4, no_wrap=True)
    table.add_column("became", no_wrap=True)
    table.add_column("on", no_wrap=True)
    table.add_column("why", ratio=4)
    for raw, row in others:
        ticket_id = row["ticket_id"]
        table.add_row(
            escape(parseaddr(_field(raw, "From"))[0]),
            escape(_field(raw, "Subject")),
            str(row["verdict"]),
            references.get(ticket_id, "") if isinstance(ticket_id, int) else "",
            escape(str(row["reason"] or row["rule"] or "")),
        )
    for one in quarantined:
        table.add_row(escape(one.sender) or "[dim](nobody)[/]", "", "quarantined", "", escape(one.reason))
    return table


def _letters_table(letters: Sequence[Posted]) -> Table:
    from rich.markup import escape

    table = _table("Letters that went out")
    table.add_column("kind", no_wrap=True)
    table.add_column("count", justify="right", no_wrap=True)
    table.add_column("for example", ratio=1, no_wrap=True)
    table.add_column("to be opened at", no_wrap=True)
    for kind in dict.fromkeys(letter.kind for letter in letters):
        some = [letter for letter in letters if letter.kind == kind]
        table.add_row(kind, str(len(some)), escape(some[0].subject), f"[dim]{some[0].file}[/]")
    return table


def _stay(console: Console, out: Path, imap_port: int, outgoing: _Outgoing, daemon: subprocess.Popen[bytes]) -> None:
    """Wait until Ctrl-C or the daemon's end, telling of each letter that goes out."""
    try_me = out / "try-me.eml"
    try_me.write_bytes(_files().joinpath("try-me.eml").read_bytes())
    console.print(
        f"""[bold]It keeps running.[/] Write to the desk, and see what it answers:
  curl smtp://{HOST}:{outgoing.port} --mail-from p.nair@allsaints.example --mail-rcpt {SUPPORT} -T {try_me}
The mailbox: IMAP on {HOST}:{imap_port}, no TLS, user {SUPPORT}, password "{PASSWORD}".  Ctrl-C ends it all.
""",
        soft_wrap=True,
    )
    outgoing.on_letter = lambda letter: console.print(
        f"[green]→[/] {letter.kind} to {letter.recipient}: {letter.subject}  {letter.file}", markup=True, soft_wrap=True
    )
    with contextlib.suppress(KeyboardInterrupt):
        daemon.wait()
    _stop(daemon)
    _write_index(out, outgoing.letters)
