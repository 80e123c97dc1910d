"""Mail programs: messages as Outlook, Gmail, an iPhone or Thunderbird write them, and mutt and s-nail themselves."""

from __future__ import annotations

import email.utils
import os
import pty
import re
import shlex
import subprocess
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import jinja2

from servers import PASSWORD, ServerProblem, program
from servers.dovecot import Dovecot
from servers.postfix import Postfix

SHAPES = Path(__file__).parent / "clients"
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(SHAPES),
    autoescape=False,  # mail is not HTML, and the HTML in it says `| e` where it must
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
# How each program names its messages.
_DOMAINS = {
    "outlook": "LO2P265MB0001.GBRP265.PROD.OUTLOOK.COM",
    "gmail": "mail.gmail.com",
    "iphone": "icloud.example",
    "plain": "allsaints.example",
}


def written(
    shape: str,
    *,
    sender: str,
    to: str,
    cc: str = "",
    subject: str,
    text: str,
    now: datetime,
    answers: EmailMessage | None = None,
    fields: Mapping[str, str] | None = None,
    attachments: Sequence[Mapping[str, Any]] = (),
) -> bytes:
    """Return what the program *shape* hands to its server when *sender* writes *text*, quoting what he *answers*."""
    name, address = email.utils.parseaddr(sender)
    message_id = str((fields or {}).get("Message-ID") or email.utils.make_msgid(domain=_DOMAINS[shape]))
    values: dict[str, Any] = {
        "sender": sender, "name": name, "address": address, "to": to, "cc": cc, "subject": subject, "text": text,
        "date": email.utils.format_datetime(now), "message_id": message_id,
        "in_reply_to": "", "references": "", "quoted": None,
    }  # fmt: skip
    if answers is not None:
        values["in_reply_to"] = str(answers["Message-ID"])
        values["references"] = " ".join(filter(None, (str(answers["References"] or ""), values["in_reply_to"])))
        values["quoted"] = _quoted(answers)
    raw = _TEMPLATES.get_template(f"{shape}.eml").render(values).encode()
    message = message_from_bytes(raw, policy=policy.default.clone(cte_type="8bit"))
    assert isinstance(message, EmailMessage)
    for name, value in (fields or {}).items():
        del message[name]
        if value:
            message[name] = value
    for one in attachments:
        message.add_attachment(one["text"].encode(), *one["type"].split("/"), filename=one["name"])
    return message.as_bytes(policy=policy.SMTP.clone(cte_type="8bit"))


def passed_on(original: bytes, *, sender: str, to: str, text: str, now: datetime) -> bytes:
    """Return a mail that carries *original* as an attachment, as "forward as attachment" does."""
    message = EmailMessage(policy=policy.SMTP)
    attached = message_from_bytes(original, policy=policy.default)
    message["From"], message["To"] = sender, to
    message["Subject"] = f"FW: {attached['Subject']}"
    message["Date"] = email.utils.format_datetime(now)
    message["Message-ID"] = email.utils.make_msgid(domain="allsaints.example")
    message.set_content(text)
    message.add_attachment(attached)
    return message.as_bytes(policy=policy.SMTP)


def _quoted(answered: EmailMessage) -> dict[str, str]:
    name, address = email.utils.parseaddr(str(answered["From"]))
    html = answered.get_body(("html",))
    shown = html.get_content() if html is not None else ""
    body = re.search(r"<body[^>]*>(.*)</body>", shown, re.DOTALL)
    return {
        "name": name or address,
        "address": address,
        "day": email.utils.parsedate_to_datetime(str(answered["Date"])).strftime("%a, %d %b %Y at %H:%M"),
        "subject": str(answered["Subject"]),
        "text": text_of(answered),
        "html": body[1] if body else "",
    }


def text_of(message: EmailMessage) -> str:
    """Return the plain text of *message*."""
    body = message.get_body(("plain",))
    return "" if body is None else str(body.get_content()).replace("\r\n", "\n")


def s_nail(dovecot: Dovecot, postfix: Postfix, address: str, number: int, text: str) -> None:
    """Reply with s-nail to message *number* of *address*'s INBOX, as its user would type it."""
    account = f"{address.replace('@', '%40')}:{PASSWORD.replace(' ', '%20')}"
    settings = [
        "v15-compat=yes", f"tls-ca-file={dovecot.certificates.authority}", f"from={address}", "sendwait=yes",
        f"mta=smtp://{account}@localhost:{postfix.submission_port}", "smtp-use-starttls", "hostname=allsaints.example",
        "quote", "indentprefix=> ", "sendcharsets=utf-8", "ttycharset=utf-8",
    ]  # fmt: skip
    command = [program("s-nail", "s-nail"), "-n", "-#", *(f"-S{setting}" for setting in settings)]
    command += ["-f", f"imaps://{account}@localhost:{dovecot.imaps_port}/INBOX"]
    typed = f"reply {number}\n{text}\n~.\nxit\n"
    result = subprocess.run(command, input=typed, capture_output=True, text=True, timeout=30)
    if result.returncode:
        raise ServerProblem(f"s-nail: {result.stdout}{result.stderr}")


def mutt(
    dovecot: Dovecot, postfix: Postfix, folder: Path, sender: str, number: int, text: str, *, everybody: bool = False
) -> None:
    """Reply with mutt to message *number* of the sender's INBOX: it runs on a terminal and its editor types *text*."""
    name, address = email.utils.parseaddr(sender)
    reply, editor, settings = folder / "reply.txt", folder / "editor.sh", folder / "muttrc"
    reply.write_text(text + "\n")
    # The editor puts the text above what mutt has quoted.
    editor.write_text(f'cat {shlex.quote(str(reply))} "$1" > "$1.new" && cp "$1.new" "$1"\n')
    user = address.replace("@", "%40")
    settings.write_text(
        f"""
set folder="imaps://{user}@localhost:{dovecot.imaps_port}/" spoolfile="+INBOX" imap_user="{address}"
set imap_pass="{PASSWORD}" smtp_pass="{PASSWORD}" ssl_ca_certificates_file="{dovecot.certificates.authority}"
set smtp_url="smtp://{user}@localhost:{postfix.submission_port}/" ssl_starttls=yes ssl_force_tls=yes
set smtp_authenticators="plain"
set from="{address}" realname="{name}" use_from=yes hostname="allsaints.example" charset="utf-8"
set editor="sh {editor}" autoedit=yes fast_reply=yes include=yes abort_unmodified=no copy=no quit=yes wait_key=no
set sleep_time=0 mail_check=3600 sort=mailbox-order tmpdir="{folder}" header_cache="" certificate_file=""
push "{number}<enter><{"group-reply" if everybody else "reply"}><send-message><quit>"
"""
    )
    terminal, side = pty.openpty()
    process = subprocess.Popen(
        [program("mutt", "mutt"), "-n", "-F", str(settings)],
        stdin=side, stdout=side, stderr=side, start_new_session=True,
        env={**os.environ, "TERM": "vt100", "LC_ALL": "C.UTF-8", "HOME": str(folder)},
    )  # fmt: skip
    os.close(side)
    seen: list[bytes] = []
    reader = threading.Thread(target=_drain, args=(terminal, seen), daemon=True)
    reader.start()
    try:
        status = process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        status = -1
    reader.join(timeout=5)
    os.close(terminal)
    if status:
        raise ServerProblem(f"mutt ended with {status}: {b''.join(seen)[-2000:]!r}")


def _drain(terminal: int, seen: list[bytes]) -> None:
    """Read what is shown on the terminal until it is closed, so that mutt never waits for its reader."""
    while True:
        try:
            shown = os.read(terminal, 4096)
        except OSError:
            return
        if not shown:
            return
        seen.append(shown)
