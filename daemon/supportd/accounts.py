"""The configuration -> where and as whom to sign in, its secrets revealed: for fetching, for sending, for the alarm."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from supportd import oauth
from supportd.config import Config, Desk
from supportd.config.mailbox import SmtpSection
from supportd.config.secrets import Secret
from supportd.errors import UserError
from supportd.imap import ImapAccount
from supportd.oauth import Tokens
from supportd.smtp import SmtpAccount

_GOOGLE_TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address, not a secret


def access_tokens(config: Config, desk: Desk) -> Tokens | None:
    """Return the access tokens of the desk's account, or None where it signs in by password.

    Raises:
        UserError: a secret cannot be found, or the provider's library is not installed.
    """
    section = desk.mailbox.oauth
    if section is None:
        return None

    def reveal(secret: Secret | None, what: str) -> str:
        return secret.reveal(f"oauth {what}", config.folder) if secret else ""

    client_id = section.client_id or ""
    if section.provider == "microsoft":
        credential: str | dict[str, str] = reveal(section.secret, "secret")
        if section.certificate:
            private_key = reveal(section.certificate, "certificate")
            credential = {"private_key": private_key, "thumbprint": section.thumbprint or ""}
        return Tokens(oauth.microsoft(section.tenant or "", client_id, credential))
    if section.provider == "google" and section.service_account:
        try:
            key = json.loads(reveal(section.service_account, "service account"))
        except ValueError as error:
            raise UserError("oauth service account: its key is not JSON; download the key again as JSON") from error
        return Tokens(oauth.google_service_account(key, section.user or desk.mailbox.address))
    form = {"client_id": client_id, "client_secret": reveal(section.secret, "secret")}
    if section.refresh_token:
        form |= {"grant_type": "refresh_token", "refresh_token": reveal(section.refresh_token, "refresh token")}
    else:
        form |= {"grant_type": "client_credentials"} | ({"scope": section.scope} if section.scope else {})
    return Tokens(oauth.endpoint(section.url or _GOOGLE_TOKEN_URL, form))


def imap_account(config: Config, desk: Desk, token: Callable[[], str] | None) -> ImapAccount:
    """Return where and as whom the desk's mail is fetched; by *token* unless the section has a user of its own.

    Raises:
        UserError: the password cannot be found.
    """
    section = desk.mailbox.imap
    by_token = token is not None and section.user is None
    return ImapAccount(
        host=section.host,
        port=section.effective_port,
        tls=section.tls,
        user=_token_user(desk) if by_token else section.user,
        password=section.password.reveal("imap password", config.folder) if section.password else None,
        ca_file=config.beside(section.ca_file),
        token=token if by_token else None,
    )


def smtp_account(config: Config, desk: Desk, token: Callable[[], str] | None) -> SmtpAccount:
    """Return where and as whom the desk's letters are handed over; by *token* unless the section has its own user.

    Raises:
        UserError: the password cannot be found.
    """
    account = server_account(config, desk.mailbox.smtp, desk.mailbox.address.rpartition("@")[2])
    if token is None or account.user is not None:
        return account
    return replace(account, user=_token_user(desk), token=token)


def _token_user(desk: Desk) -> str:
    """Return whose mailbox an access token opens."""
    assert desk.mailbox.oauth is not None
    return desk.mailbox.oauth.user or desk.mailbox.address


def server_account(config: Config, section: SmtpSection, domain: str) -> SmtpAccount:
    """Return where and as whom letters from *domain* are handed over, by password.

    Raises:
        UserError: the password cannot be found.
    """
    return SmtpAccount(
        host=section.host,
        port=section.effective_port,
        tls=section.tls,
        user=section.user,
        password=section.password.reveal("smtp password", config.folder) if section.password else None,
        # RFC 5321 4.1.1.1 wants a name; the mailbox's domain tells less about the school's network than the host's.
        local_hostname=domain,
        ca_file=config.beside(section.ca_file),
    )


def current_token(tokens: Tokens | None, clock: Callable[[], datetime]) -> Callable[[], str] | None:
    """Return what gives the token in force at each sign-in, or None where the sign-in is by password."""
    return None if tokens is None else lambda: tokens.current(clock())
