"""The vocabulary of the mail desk: frozen values, keyword-only, instants always aware and in UTC.

One word per idea: a *mail* came in, a *letter* goes out, a *ticket* is the call for help, a *verdict* is what became of
a mail, a *clue* points at a ticket, a *placement* is where a mail belongs, a *deadline* is by when, the *outbox* holds
letters.  Folders, tables, log keys and templates use the same words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

# The six levels of the seed's table; 1 is the most serious.
LEVELS = (1, 2, 3, 4, 5, 6)
DEFAULT_LEVEL = 4


class Verdict(StrEnum):
    """What became of one message in the watched folder; every message ends in exactly one."""

    TICKET = "ticket"
    REPLY = "reply"
    COMMAND = "command"
    SCREENED = "screened"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"
    PREEXISTING = "preexisting"


class Status(StrEnum):
    """The states of a ticket, in the order of its life."""

    NEW = "new"
    OPEN = "open"
    WAITING = "waiting"
    RESOLVED = "resolved"
    CLOSED = "closed"


class AttachmentKind(StrEnum):
    """What an attachment is to a reader: a file, an inline picture, an attached mail, a calendar invitation."""

    FILE = "file"
    INLINE = "inline"
    MAIL = "mail"
    CALENDAR = "calendar"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One mailbox of an address field (RFC 5322 3.4): *address* is ``local@domain`` in lower case."""

    address: str
    name: str = ""

    @property
    def domain(self) -> str:
        """Return what follows the last ``@``, or an empty text."""
        return self.address.rpartition("@")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One leaf part that is not the body.  *size* is in bytes, decoded; *name* is safe to show and never a path."""

    name: str
    type: str
    size: int
    sha256: str
    kind: AttachmentKind = AttachmentKind.FILE
    content: bytes = b""
    content_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """What a bounce says (RFC 3464): whom it concerns, how it failed, and which letter of ours came back."""

    recipient: str = ""
    action: str = ""
    status: str = ""
    diagnostic: str = ""
    original_message_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One incoming message, read right: texts are clean for database, terminal, log and HTML.

    *headers* are all fields in their order, names as written, values decoded, unfolded and cleaned.  *sender* is None
    when no From field names an address; a defect that begins with ``From:`` says that it is not to be believed.
    *envelope_from* is the Return-Path: None when absent, empty for the null reverse-path.  *date* is the sender's
    claim, for showing only.
    """

    message_id: str | None = None
    in_reply_to: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    sender: Address | None = None
    reply_to: tuple[Address, ...] = ()
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    envelope_from: str | None = None
    subject: str = ""
    date: datetime | None = None
    headers: tuple[tuple[str, str], ...] = ()
    text: str = ""
    new_text: str = ""
    quoted: str = ""
    forwarded: str = ""
    attachments: tuple[Attachment, ...] = ()
    defects: tuple[str, ...] = ()
    report: DeliveryReport | None = None
    content_type: str = "text/plain"
    oversize: bool = False
    # Content fingerprint F2 of reliability.md 3: From, Date, Subject, text and attachments, whitespace collapsed.
    content_sha256: str = ""

    def header(self, name: str) -> str | None:
        """Return the first value of the field *name* (any case), or None."""
        wanted = name.casefold()
        return next((value for key, value in self.headers if key.casefold() == wanted), None)

    def header_all(self, name: str) -> tuple[str, ...]:
        """Return all values of the field *name* (any case), in their order."""
        wanted = name.casefold()
        return tuple(value for key, value in self.headers if key.casefold() == wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unparseable:
    """A message that could not be read, with the reason for a person; its raw bytes are in the ledger."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One keyword hit: the *words* as the mail has them, the *field* they stood in, the *facet* they speak for."""

    words: str
    field: str
    facet: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """A severity with its reasons: which row of the table decided, and the words that led to it."""

    level: int
    name: str
    evidence: tuple[Evidence, ...] = ()
    row: str = ""
    service: str = ""  # the service facet that decided ("internet", "server" ...): incidents gather by it


@dataclass(frozen=True, slots=True, kw_only=True)
class Screening:
    """What screening says of one mail.

    *verdict* is TICKET or SCREENED, without any ticket history.  *rule* names the rule that fired (None for a mail of
    a person), *kind* groups rules (auto-reply, bounce, list, own, machine-alert ...).  *automatic*: a machine wrote
    it, so nothing automatic may answer it (RFC 3834), whether it opens a ticket or not.
    """

    verdict: Verdict
    rule: str | None = None
    kind: str = ""
    reason: str = ""
    automatic: bool = False
    bounce: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Two promises, in UTC; None where there is no target, or where the calendar ends first (*reason* says so)."""

    response_due: datetime | None = None
    resolution_due: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One outgoing mail, frozen: *data* are its final bytes (CRLF, 7-bit safe), *key* is unique for its reason."""

    key: str
    kind: str
    recipient: str
    envelope_from: str
    message_id: str
    data: bytes = field(repr=False)
    priority: int = 5


class EventKind(StrEnum):
    """What can happen to a ticket.  A ticket is its events; the row that shows it is only a projection of them."""

    RECEIVED = "received"  # opened, by a mail or from the shell
    RATED = "rated"  # details: level, row, evidence
    REPLIED = "replied"  # the requester or a copied-in colleague wrote again
    ANSWERED = "answered"  # a technician wrote to the requester: the response
    TAKEN = "taken"  # #ack: the response without words
    ASSIGNED = "assigned"  # details: technician
    CORRECTED = "corrected"  # #severity, or raised by a reply; details: level, was
    NOTED = "noted"  # an internal note
    WAITING = "waiting"  # the resolution clock stands still
    RESUMED = "resumed"  # it runs again
    RESOLVED = "resolved"
    REOPENED = "reopened"
    CLOSED = "closed"
    MERGED = "merged"  # details: into
    SPAM = "spam"
    LINKED = "linked"  # details: ticket; a guess that did not thread
    BOUNCED = "bounced"  # a letter of ours came back; details: recipient, status
    AUTO_REPLIED = "auto-replied"  # an out-of-office on this ticket; changes nothing
    UNVERIFIED = "unverified"  # a message that claims to belong here, without proof; technicians only
    PROMISED = "promised"  # details: response_due, resolution_due as the requester was told
    FAILED = "failed"  # a letter could not be delivered; details: kind, recipient, reply
    GATHERED = "gathered"  # joined an incident; details: incident
    STATUS = "status"  # #status: public news of the incident
    ASKED = "asked"  # a question to a technician whose reply is the proof; details: commands


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to one ticket: append-only.  *way* is how: mail, shell, daemon or calendar."""

    kind: EventKind
    at: datetime
    by: str = ""
    way: str = "mail"
    text: str = ""
    details: tuple[tuple[str, str], ...] = ()
    number: int = 0

    def detail(self, name: str) -> str:
        """Return the detail called *name*, or an empty text."""
        return next((value for key, value in self.details if key == name), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """One call for help as it stands now.

    *reference* is what people write ("AS-123").  Dues are the deadlines in force, None where there is none or none is
    known; *met_at* instants are when the clock stopped.  *text* is the requester's first new text.
    """

    id: int
    reference: str
    mailbox: str
    subject: str
    requester: Address
    level: int
    level_name: str
    status: Status
    received_at: datetime
    text: str = ""
    evidence: tuple[Evidence, ...] = ()
    row: str = ""
    service: str = ""
    automatic: bool = False
    verified: bool = True
    restricted: bool = False
    assignee: str = ""
    participants: tuple[str, ...] = ()
    response_due: datetime | None = None
    resolution_due: datetime | None = None
    due_reason: str | None = None
    responded_at: datetime | None = None
    resolved_at: datetime | None = None
    closed_at: datetime | None = None
    waiting_since: datetime | None = None
    incident: int | None = None
    merged_into: int | None = None
    attachments: tuple[Attachment, ...] = ()
    # The mail that opened it: what every letter to the requester answers, so that it lands in her thread.
    origin_message_id: str | None = None
    origin_references: tuple[str, ...] = ()
