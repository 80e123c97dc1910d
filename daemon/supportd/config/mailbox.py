"""The sections of one mailbox: how its mail is fetched and sent, and who works behind it."""

from __future__ import annotations

import ipaddress
import re
from datetime import date
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from supportd.config.calendar import CalendarSection
from supportd.config.document import Section
from supportd.config.secrets import Secret
from supportd.config.targets import Severities
from supportd.core import addresses

_DOMAIN = re.compile(r"([A-Za-z0-9-]{1,63}\.)+[A-Za-z0-9-]{2,63}")
_REFERENCE = re.compile(r"[A-Z][A-Z0-9]{1,7}")


def _address(value: str) -> str:
    # RFC 5321 4.5.3.1: at most 254.
    if len(value) > 254 or not addresses.is_plain(value):
        raise ValueError("is not an email address; write it as name@example.org")
    return value.lower()


def _domain(value: str) -> str:
    if _DOMAIN.fullmatch(value) is None:
        raise ValueError("is not a domain; write it as example.org, without @")
    return value.lower()


def _reference(value: str) -> str:
    if _REFERENCE.fullmatch(value) is None:
        raise ValueError("is not a reference prefix; write two to eight capital letters or digits, such as AS")
    return value


EmailAddress = Annotated[str, AfterValidator(_address)]
Domain = Annotated[str, AfterValidator(_domain)]
ReferencePrefix = Annotated[str, AfterValidator(_reference)]


class OAuthSection(Section):
    """Sign-in by access tokens instead of a password, wherever imap and smtp name no user of their own.

    *microsoft*: tenant, client_id, and secret or certificate (a PEM file with its thumbprint).  *google*: either
    service_account (its key file, with domain-wide delegation) or client_id, secret and refresh_token.  *endpoint*:
    the token URL of any other provider, with client_id, secret and scope, or a refresh_token.
    """

    provider: Literal["microsoft", "google", "endpoint"]
    # Whose mailbox the token opens; by default the mailbox's own address.
    user: EmailAddress | None = None
    tenant: str | None = None
    client_id: str | None = None
    secret: Secret | None = None
    certificate: Secret | None = None
    thumbprint: str | None = None
    service_account: Secret | None = None
    refresh_token: Secret | None = None
    url: str | None = None
    scope: str | None = None
    secret_expires: date | None = None

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> OAuthSection:
        if self.provider == "microsoft":
            if not (self.tenant and self.client_id and (self.secret or (self.certificate and self.thumbprint))):
                raise ValueError("microsoft needs tenant, client_id, and secret or certificate with thumbprint")
        elif self.provider == "google":
            if not (self.service_account or (self.client_id and self.secret and self.refresh_token)):
                raise ValueError("google needs service_account, or client_id, secret and refresh_token")
        elif not (self.url and self.client_id and self.secret):
            raise ValueError("endpoint needs url, client_id and secret")
        if self.url is not None and not (self.url.startswith("https://") or is_loopback(urlsplit(self.url).hostname)):
            raise ValueError("url must begin with https://; a token never crosses a network bare")
        return self


class ServerSection(Section):
    """How to reach one server.  ``tls: none`` is for a loopback address only: no password crosses a network bare."""

    host: str = Field(min_length=1)
    port: int = Field(default=0, ge=0, le=65535)
    tls: Literal["implicit", "starttls", "none"] = "implicit"
    ca_file: Path | None = None
    user: str | None = None
    password: Secret | None = None

    @model_validator(mode="after")
    def _plain_only_at_home(self) -> ServerSection:
        if self.tls == "none" and not is_loopback(self.host):
            raise ValueError("tls: none is accepted only for a loopback address; write tls: implicit or tls: starttls")
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password belong together; write both, or neither")
        return self


class ImapSection(ServerSection):
    """The server the mail is fetched from."""

    @property
    def effective_port(self) -> int:
        """Return the port, by default 993 for implicit TLS and 143 otherwise (RFC 8314 3.2)."""
        return self.port or (993 if self.tls == "implicit" else 143)


class SmtpSection(ServerSection):
    """The server the letters are handed to."""

    # Exchange Online takes 30 messages a minute from one mailbox; others take more.
    per_minute: int = Field(default=30, ge=1, le=100_000)

    @property
    def effective_port(self) -> int:
        """Return the port, by default 465 for implicit TLS and 587 otherwise (RFC 8314 3.3)."""
        return self.port or (465 if self.tls == "implicit" else 587)


class FoldersSection(Section):
    """The folders of the mailbox, by their names on the server; missing ones are created, but never the watched one."""

    inbox: str = "INBOX"
    processed: str = "Processed"
    screened: str = "Screened"
    quarantine: str = "Quarantine"
    sent: str | None = "Sent"


class TechnicianSection(Section):
    """A person who answers tickets, known by the address that he writes from."""

    name: str = Field(min_length=1)
    address: EmailAddress


class MailboxSection(Section):
    """One support mailbox, and what differs for it from the top level of the file."""

    name: str = Field(default="support", min_length=1)
    address: EmailAddress
    aliases: tuple[EmailAddress, ...] = ()
    display_name: str = "IT Support"
    reference: ReferencePrefix = "AS"
    imap: ImapSection
    smtp: SmtpSection
    oauth: OAuthSection | None = None
    folders: FoldersSection = FoldersSection()
    plus_addressing: bool = False
    school: str | None = None
    staff_domains: tuple[Domain, ...] | None = None
    technicians: tuple[TechnicianSection, ...] | None = None
    it_inbox: EmailAddress | None = None
    it_lead: EmailAddress | None = None
    on_call: tuple[EmailAddress, ...] | None = None
    calendar: CalendarSection | None = None
    severities: Severities | None = None
    templates: Path | None = None


def is_loopback(host: str | None) -> bool:
    """Return whether *host* is this machine itself."""
    if host == "localhost":
        return True
    try:
        if host is None:
            return False
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
