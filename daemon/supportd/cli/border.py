"""``supportd check --auth``: two test mails show whether a sender can forge what the receiving server writes.

1. From the mailbox to itself go a plain mail and one that brings its own Authentication-Results, by the name of our
   border, as a forger would write them.
2. Both are read as any mail.  If the forged words are taken for the border's own, the proof has failed.
3. A proof is kept for the profile and the names that it was made with; without one, technicians' commands stay off.
"""

from __future__ import annotations

import email.utils
import secrets
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from typing import TYPE_CHECKING

from supportd.core import parse, sender
from supportd.core.model import Mail
from supportd.core.sender import Profile, Trust

if TYPE_CHECKING:
    from supportd.config import Config, Desk
    from supportd.imap import ImapSession

# Most servers deliver to themselves within seconds; greylisting would take minutes, and nobody waits for those.
WAIT_SECONDS = 60
# The server's clock and ours may differ by this much.
_CLOCKS_DIFFER = timedelta(minutes=5)
_GOOGLE = "mx.google.com"


def prove(config: Config, desk: Desk) -> tuple[bool, str]:
    """Return whether the border of *desk* is proved now, and in words what was seen; the result is kept.

    Raises:
        Unavailable: a server cannot be reached.
        Refused: a server does not accept us or the test mail.
        UserError: a secret cannot be found.
    """
    from supportd.service import clock

    trust = desk.sender_trust
    mark = secrets.token_hex(8)
    sent_at = clock()
    plain = _message(desk, mark, sent_at, {})
    forged = _message(desk, mark, sent_at, _forgery(trust, desk.mailbox.address.rpartition("@")[2], mark, sent_at))
    _send(config, desk, plain, forged)
    arrived = _wait(config, desk, {str(one["Message-ID"]) for one in (plain, forged)}, sent_at - _CLOCKS_DIFFER)
    first, second = (arrived.get(str(one["Message-ID"])) for one in (plain, forged))
    held, words = _judge(trust, mark, first, second)
    _keep(config, desk, trust.border if held else "")
    return held, words


def is_proved(config: Config, desk: Desk) -> bool:
    """Return whether a proof is kept for the trust that is configured now."""
    from supportd.cli.desk import Desks
    from supportd.db import letters

    desks = Desks(config)
    try:
        with desks.database.read() as connection:
            kept = letters.border_proof(connection, desks.mailbox_id(connection, desk))
    finally:
        desks.database.close()
    return kept == desk.sender_trust.border


def _message(desk: Desk, mark: str, now: datetime, forged: Mapping[str, str]) -> EmailMessage:
    """Return a test mail from the mailbox to itself with the *forged* fields on top."""
    address = desk.mailbox.address
    message = EmailMessage(policy=SMTP)
    for name, value in forged.items():
        message[name] = value
    message["From"] = message["To"] = address
    message["Subject"] = f"supportd: test of the border ({'forged' if forged else 'plain'}, {mark})"
    message["Date"] = email.utils.format_datetime(now)
    message["Message-ID"] = email.utils.make_msgid(domain=address.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("This mail was sent by: supportd check --auth.  It is not answered and opens no ticket.\n")
    return message


def _forgery(trust: Trust, domain: str, mark: str, now: datetime) -> dict[str, str]:
    """Return the fields by which a forger would say that he is proved, marked so that they are known again.

    The hop of the border stands where it stands in genuine mail: results above it, or with Google below.
    """
    date = email.utils.format_datetime(now)
    results = (
        f"dkim=pass header.d={domain} header.s={mark}; spf=pass smtp.mailfrom={domain}; "
        f"dmarc=pass header.from={domain}"
    )
    if trust.profile is Profile.MICROSOFT365:
        return {
            "Authentication-Results": f"{results}; compauth=pass reason=100",
            "Received": f"from [192.0.2.1] by {mark}.mail.protection.outlook.com with SMTP; {date}",
            "X-MS-Exchange-Organization-AuthAs": "Internal",
        }
    if trust.profile is Profile.GOOGLE:
        hop = f"from [192.0.2.1] by {_GOOGLE} with ESMTPS; {date}"
        return {"Received": hop, "Authentication-Results": f"{_GOOGLE}; {results}"}
    host = min(trust.border_hosts, default=trust.authserv_id)
    hop = f"from [192.0.2.1] by {host} with ESMTPS; {date}"
    return {"Authentication-Results": f"{trust.authserv_id}; {results}", "Received": hop}


def _send(config: Config, desk: Desk, *messages: EmailMessage) -> None:
    from supportd.accounts import access_tokens, current_token, smtp_account
    from supportd.service import clock
    from supportd.smtp import SmtpSession

    session = SmtpSession(smtp_account(config, desk, current_token(access_tokens(config, desk), clock)))
    try:
        for message in messages:
            session.send(desk.mailbox.address, desk.mailbox.address, message.as_bytes())
    finally:
        session.close()


def _wait(config: Config, desk: Desk, message_ids: set[str], since: datetime) -> dict[str, Mail]:
    """Return those of the mails that arrive within a minute; a daemon that runs files them among the screened."""
    from supportd.accounts import access_tokens, current_token, imap_account
    from supportd.imap import ImapSession
    from supportd.service import clock

    session = ImapSession(imap_account(config, desk, current_token(access_tokens(config, desk), clock)))
    found: dict[str, Mail] = {}
    give_up_at = time.monotonic() + WAIT_SECONDS
    try:
        while True:
            for mail in _arrived(session, desk, since):
                if mail.message_id in message_ids:
                    found[str(mail.message_id)] = mail
            if found.keys() == message_ids or time.monotonic() > give_up_at:
                return found
            time.sleep(1)
    finally:
        session.close()


def _arrived(session: ImapSession, desk: Desk, since: datetime) -> Iterator[Mail]:
    folders = desk.mailbox.folders
    for folder in (folders.inbox, folders.screened, folders.processed):
        if session.missing_folders((folder,)):
            continue
        session.select(folder, readonly=True)
        for listed in session.listing():
            header = session.fetch_header(listed.uid) if listed.received_at >= since else None
            mail = parse.parse(header) if header else None
            if isinstance(mail, Mail):
                yield mail


def _judge(trust: Trust, mark: str, plain: Mail | None, forged: Mail | None) -> tuple[bool, str]:
    """Return whether the border held, and in words what was seen of the two mails."""
    if forged is None:
        return False, f"the forged test mail did not arrive within {WAIT_SECONDS} seconds"
    words = {value for result in _results(forged, trust) for _, value in result}
    is_vouched_for = sender.is_vouched_for_by_exchange
    if mark in words:
        return False, "the forged Authentication-Results of a test mail were taken for your server's own"
    if is_vouched_for(forged, trust) and not (plain is not None and is_vouched_for(plain, trust)):
        return False, "a forged X-MS-Exchange-Organization-AuthAs was taken for Exchange's own"
    is_stripped = not any(mark in value for value in forged.header_all("Authentication-Results"))
    held = "stripped" if is_stripped else "left in place, but out-ranked"
    if plain is None:
        return True, f"forged results are {held}; the plain test mail did not arrive"
    if not sender.believed(plain, trust) and not is_vouched_for(plain, trust):
        return True, f"forged results are {held}; on mail from itself the server writes none of its own"
    return True, f"forged results are {held}; the server writes its own"


def _results(mail: Mail, trust: Trust) -> Iterator[tuple[tuple[str, str], ...]]:
    for field in sender.believed(mail, trust):
        for result in field.results:
            yield result.properties


def _keep(config: Config, desk: Desk, border: str) -> None:
    from supportd.cli.desk import Desks
    from supportd.db import ledger, letters

    desks = Desks(config)
    try:
        with desks.database.write() as connection:
            letters.keep_border_proof(connection, ledger.ensure_mailbox(connection, desk.name), border)
    finally:
        desks.database.close()
