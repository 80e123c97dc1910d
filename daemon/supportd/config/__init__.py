"""The configuration: one YAML file -> one frozen :class:`Config`, or every problem in it at once.

* ``document``  the reader: positions, phrases, nothing of what keys mean
* ``secrets``   where a secret is looked up
* ``mailbox``   servers, folders, people behind one mailbox
* ``calendar``  when the service is open
* ``targets``   the severities and what is promised for each
* ``keywords``  which words speak for which severity
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from supportd.config import document
from supportd.config.calendar import CalendarSection
from supportd.config.document import Section
from supportd.config.keywords import KeywordsSection
from supportd.config.mailbox import (
    Domain,
    EmailAddress,
    MailboxSection,
    SmtpSection,
    TechnicianSection,
    is_loopback,
)
from supportd.config.secrets import Secret
from supportd.config.targets import DEFAULT_WITHIN_MINUTES, MinutesText, Severities, policy
from supportd.config.term_dates import Copies
from supportd.core import safeguarding, screen
from supportd.core.hours import Hours
from supportd.core.sender import Profile, Trust
from supportd.core.severity import Keywords
from supportd.core.sla import Policy, counted
from supportd.errors import UserError

# Where the file is looked for when -c does not name it (interfaces.md).
PLACES = ("config.yaml", "/etc/supportd/config.yaml")


# So long before its end the secret of a sign-in is counted down: time enough to ask the provider's administrator.
SECRET_NOTICE_DAYS = 30
SQLITE = "sqlite:///"


class DatabaseSection(Section):
    """Where everything is kept: SQLite by default, PostgreSQL for a trust of many schools."""

    url: str = "sqlite:///supportd.db"
    password: Secret | None = None

    @model_validator(mode="after")
    def _known_kind(self) -> DatabaseSection:
        if not self.url.startswith(("sqlite:///", "postgresql://", "postgresql+psycopg://")):
            raise ValueError("url must begin with sqlite:/// or postgresql+psycopg://")
        if "@" in self.url and ":" in self.url.split("://", 1)[1].split("@", 1)[0]:
            raise ValueError("the url carries a password; write password: {credential: NAME} instead")
        return self


class TrustSection(Section):
    """How sure we can be who wrote a mail: which header of the receiving server proves it."""

    profile: Literal["none", "rfc8601", "google", "microsoft365"] = "none"
    authserv_id: str | None = None
    border_hosts: tuple[Domain, ...] = ()

    @model_validator(mode="after")
    def _names_its_server(self) -> TrustSection:
        if self.profile == "rfc8601" and not self.authserv_id:
            raise ValueError(
                "profile rfc8601 needs authserv_id: the name your server writes first in Authentication-Results"
            )
        return self


class HealthSection(Section):
    """How the service says that it is alive, by other ways than the mailbox it serves."""

    listen: str | None = None  # host:port on loopback for /healthz and /metrics
    file: Path | None = None
    ping_url: str | None = Field(default=None, pattern=r"^https://|^http://(127\.0\.0\.1|localhost)[:/]")
    alert_to: EmailAddress | None = None
    alert_from: EmailAddress | None = None
    alert_smtp: SmtpSection | None = None

    @model_validator(mode="after")
    def _alert_is_whole(self) -> HealthSection:
        given = (self.alert_to, self.alert_from, self.alert_smtp)
        if any(given) and not all(given):
            raise ValueError("alert_to, alert_from and alert_smtp belong together: a way past the support mailbox")
        return self

    @model_validator(mode="after")
    def _listens_at_home(self) -> HealthSection:
        if self.listen is not None:
            host, _, port = self.listen.rpartition(":")
            if not is_loopback(host) or not port.isdigit() or int(port) > 65535:
                raise ValueError("listen must be a loopback address and a port, such as 127.0.0.1:9394")
        return self


class SafeguardingSection(Section):
    """Words that restrict a ticket, and who reads it then."""

    words: tuple[str, ...] = safeguarding.SHIPPED
    designated: tuple[EmailAddress, ...] = ()

    @field_validator("words")
    @classmethod
    def _are_words(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        safeguarding.compile_phrases(words)
        return words


class RetentionSection(Section):
    """After how many days each kind of data goes; null keeps it for ever."""

    raw: int | None = Field(default=30, ge=1)
    screened: int | None = Field(default=30, ge=1)
    attachments: int | None = Field(default=365, ge=1)
    text: int | None = Field(default=730, ge=1)
    security: int | None = Field(default=730, ge=1)
    legal_hold: tuple[EmailAddress, ...] = ()


class LimitsSection(Section):
    """The caps that hold even if every other guard fails (behaviour.md "What it sends")."""

    automatic_per_requester_10_minutes: int = Field(default=3, ge=1)
    automatic_per_requester_day: int = Field(default=10, ge=1)
    alerts_10_minutes: int = Field(default=5, ge=1)
    outsider_address_hour: int = Field(default=5, ge=1)
    outsider_domain_hour: int = Field(default=20, ge=1)
    outsiders_hour: int = Field(default=100, ge=1)
    breaker_10_minutes: int = Field(default=60, ge=1)
    breaker_hard_10_minutes: int = Field(default=600, ge=1)
    message_megabytes: int = Field(default=15, ge=1, le=50)


class AwaySection(Section):
    """A technician's absence: reminders go to the deputy, both dates included."""

    technician: EmailAddress
    from_: date = Field(alias="from")
    to: date
    deputy: EmailAddress


class Desk:
    """One mailbox with all that applies to it: its own keys, else the top level's."""

    def __init__(self, config: Config, mailbox: MailboxSection) -> None:
        self.mailbox = mailbox
        self.name = mailbox.name
        self.school = mailbox.school or config.school
        self.technicians = config.technicians if mailbox.technicians is None else mailbox.technicians
        self.it_inbox = mailbox.it_inbox or config.it_inbox
        self.it_lead = mailbox.it_lead or config.it_lead
        self.on_call = config.on_call if mailbox.on_call is None else mailbox.on_call
        self.staff_domains = frozenset(config.staff_domains if mailbox.staff_domains is None else mailbox.staff_domains)
        self.templates = config.beside(mailbox.templates or config.templates)
        self.hours: Hours = (mailbox.calendar or config.calendar).hours()
        self.policy: Policy = policy(mailbox.severities or config.severities, config.immediate_within)
        self.own_addresses = frozenset((mailbox.address, *mailbox.aliases))
        self.limits = config.limits
        self.trust = config.trust
        self.blocked = frozenset(config.blocked)
        self.machines = frozenset(config.machines)
        self.harm = safeguarding.compile_phrases(config.safeguarding.words)
        self.designated = config.safeguarding.designated
        self.close_after_business_days = config.close_after_business_days
        self.shadow = config.shadow
        self._away = config.away
        self._config = config

    @property
    def calendar_problems(self) -> tuple[str, ...]:
        """Return which calendar files are broken, so that their last good copies are in force."""
        return self._config.calendar_problems

    @property
    def keywords(self) -> Keywords:
        """Return the keywords, compiled on first use: most commands rate no mail."""
        return self._config.compiled_keywords

    @property
    def promise_sha256(self) -> str:
        """Return what tells this calendar and policy from any other, so that a change is seen at the next start."""
        text = f"{self.hours!r} {self.policy!r}"
        return hashlib.sha256(text.encode()).hexdigest()

    def secret_warnings(self, now: datetime) -> tuple[str, ...]:
        """Return that the secret of the sign-in ends soon or has ended, from 30 days before."""
        oauth = self.mailbox.oauth
        if oauth is None or oauth.secret_expires is None:
            return ()
        left = (oauth.secret_expires - self.hours.local(now).date()).days
        if left > SECRET_NOTICE_DAYS:
            return ()
        if left < 0:
            return (f"the sign-in secret expired on {oauth.secret_expires}: put a new one in place",)
        return (f"the sign-in secret expires on {oauth.secret_expires}, in {counted(left, 'day')}",)

    def deputy_of(self, technician: str, now: datetime) -> str:
        """Return who reads reminders for *technician* today: he himself, or his deputy while he is away."""
        today = self.hours.local(now).date()
        absent = (one for one in self._away if one.technician == technician and one.from_ <= today <= one.to)
        return next((one.deputy for one in absent), technician)

    @property
    def level_names(self) -> dict[int, str]:
        """Return the name of each level, as the school calls it."""
        return {level.level: level.name for level in self.policy.levels}

    @property
    def sender_trust(self) -> Trust:
        """Return whom this desk believes, for `sender.evidence`: alerts go to technicians, on-call and the IT inbox."""
        inboxes = frozenset((self.it_inbox,) if self.it_inbox else ())
        return Trust(
            profile=Profile(self.trust.profile),
            authserv_id=(self.trust.authserv_id or "").lower(),
            border_hosts=frozenset(self.trust.border_hosts),
            staff_domains=self.staff_domains,
            technicians=frozenset((*self.technician_addresses, *self.on_call)) | inboxes,
            inboxes=inboxes,
        )

    @property
    def screen_settings(self) -> screen.Settings:
        """Return what screening knows of this desk; the check of our Message-IDs comes with the keys."""
        return screen.Settings(
            own_addresses=self.own_addresses,
            staff_domains=self.staff_domains,
            blocked=self.blocked,
            machine_senders=self.machines,
        )

    @property
    def technician_addresses(self) -> tuple[str, ...]:
        """Return the addresses of the technicians, in the order of the file."""
        return tuple(technician.address for technician in self.technicians)


class Config(Section):
    """Everything a person configures; frozen, so that a reload swaps the whole or nothing."""

    school: str = "our school"
    database: DatabaseSection = DatabaseSection()
    mailboxes: tuple[MailboxSection, ...] = ()
    staff_domains: tuple[Domain, ...] = ()
    trust: TrustSection = TrustSection()
    technicians: tuple[TechnicianSection, ...] = ()
    it_inbox: EmailAddress | None = None
    it_lead: EmailAddress | None = None
    on_call: tuple[EmailAddress, ...] = ()
    blocked: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    calendar: CalendarSection
    severities: Severities
    immediate_within: MinutesText = DEFAULT_WITHIN_MINUTES
    keywords: KeywordsSection = KeywordsSection()
    templates: Path | None = None
    limits: LimitsSection = LimitsSection()
    health: HealthSection = HealthSection()
    safeguarding: SafeguardingSection = SafeguardingSection()
    retention: RetentionSection = RetentionSection()
    poll_seconds: int = Field(default=60, ge=1, le=3600)
    idle: bool = True
    first_start_answers: MinutesText = 60
    close_after_business_days: int = Field(default=5, ge=1, le=60)
    shadow: bool = False
    away: tuple[AwaySection, ...] = ()
    # A letter whose fate is unknown goes again, the same bytes, after this long (reliability.md 3.2, T4).
    doubt_wait_seconds: int = Field(default=300, ge=0, le=3600)
    _folder: Path = PrivateAttr(default=Path())
    _copies: Copies = PrivateAttr(default_factory=lambda: Copies(folder=Path()))

    @field_validator("database")
    @classmethod
    def _copies_lie_beside_it(cls, database: DatabaseSection, info: ValidationInfo) -> DatabaseSection:
        # Read before any calendar: the daemon may write here, while its configuration's folder is closed to it.
        copies = (info.context or {}).get("copies")
        if copies is not None and database.url.startswith(SQLITE):
            copies.folder = (copies.folder / Path(database.url.removeprefix(SQLITE)).expanduser()).parent
        return database

    @model_validator(mode="after")
    def _mailboxes_differ(self) -> Config:
        for key in ("name", "address"):
            values = [getattr(mailbox, key) for mailbox in self.mailboxes]
            twice = next((value for value in values if values.count(value) > 1), None)
            if twice is not None:
                raise ValueError(f"mailboxes: two have the same {key}, {twice}; give each its own")
        if any(mailbox.it_inbox is None for mailbox in self.mailboxes) and self.it_inbox is None:
            raise ValueError("it_inbox is missing: the address that gets digests and quiet alerts")
        return self

    @property
    def calendar_problems(self) -> tuple[str, ...]:
        """Return which calendar files are broken, a sentence each; their last good copies are in force."""
        return tuple(self._copies.problems)

    def keep_calendar_files(self) -> tuple[str, ...]:
        """Keep a copy of each good calendar file beside the database; return what could not be kept."""
        return self._copies.keep()

    def beside(self, path: Path | None) -> Path | None:
        """Return *path* counted from the folder of the configuration file."""
        return None if path is None else self._folder / path.expanduser()

    @property
    def folder(self) -> Path:
        """Return the folder that relative paths of the file count from."""
        return self._folder

    @cached_property
    def compiled_keywords(self) -> Keywords:
        """Return the keywords, compiled once."""
        return self.keywords.compiled({level.level: level.name for level in self.severities})

    @cached_property
    def desks(self) -> tuple[Desk, ...]:
        """Return one :class:`Desk` a mailbox, in the order of the file."""
        return tuple(Desk(self, mailbox) for mailbox in self.mailboxes)

    @property
    def database_url(self) -> str:
        """Return the database URL without its password; a relative SQLite path counts from the file's folder."""
        if self.database.url.startswith(SQLITE):
            return SQLITE + str(self._folder / Path(self.database.url.removeprefix(SQLITE)).expanduser())
        return self.database.url.replace("postgresql://", "postgresql+psycopg://", 1)


def load(path: Path) -> Config:
    """Return the configuration in the file at *path*; of a broken calendar file the last good copy.

    Raises:
        UserError: every problem in it, as ``file:line:column: key: what is wrong, and what would be right``.
    """
    copies = Copies(folder=path.parent)
    config = document.load(Config, path, context={"copies": copies})
    config._folder = path.absolute().parent
    config._copies = copies
    return config


def changes(before: Config, after: Config) -> tuple[str, ...]:
    """Return the keys that differ, as ``mailboxes[1].imap.port``; never a value, since some are private."""

    def walk(old: object, new: object, path: str) -> Iterator[str]:
        if isinstance(old, Section) and type(old) is type(new):
            for name, field in type(old).model_fields.items():
                key = field.alias or name
                yield from walk(getattr(old, name), getattr(new, name), f"{path}.{key}" if path else key)
        elif isinstance(old, tuple) and isinstance(new, tuple) and len(old) == len(new):
            for number, (one, other) in enumerate(zip(old, new, strict=True), start=1):
                yield from walk(one, other, f"{path}[{number}]")
        elif old != new:
            yield path

    return tuple(walk(before, after, ""))


def json_schema() -> str:
    """Return the JSON Schema of the file; ``config.schema.json`` ships it for editors that complete and check keys."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}
    return json.dumps(schema, indent=1) + "\n"


def shipped() -> Config:
    """Return the example configuration that ships in the wheel (the seed, made executable)."""
    text = resources.files("supportd").joinpath("config.example.yaml").read_text(encoding="utf-8")
    return document.parse(Config, text, name="config.example.yaml", context={"folder": Path()})


def find(chosen: Path | None, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file in force: *chosen*, else $SUPPORTD_CONFIG, else the first of PLACES that exists, else None.

    Raises:
        UserError: a file was named by -c or $SUPPORTD_CONFIG and does not exist.
    """
    named = chosen or (Path(environment["SUPPORTD_CONFIG"]) if environment.get("SUPPORTD_CONFIG") else None)
    if named is not None:
        try:
            if named.is_file():
                return named
        except OSError as error:
            cure = "run supportd as its own user, or fix the rights"
            raise UserError(f"{named}: the file may not be read ({error.strerror}); {cure}") from error
        raise UserError(f"{named}: there is no such file; name the configuration with -c FILE or $SUPPORTD_CONFIG")
    return next((Path(place) for place in PLACES if Path(place).is_file()), None)
