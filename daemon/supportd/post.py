"""A reason to write -> one queued letter: its key, its Message-ID, its thread, its cap.

Every letter goes through here, inside the transaction of the decision that asks for it.  The key says why it is
written; asked twice, it is queued once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from uuid import uuid4

from supportd.compose import Composer, Envelope
from supportd.config import Desk
from supportd.core import tokens
from supportd.core.model import Address, Event, EventKind, Letter, Ticket
from supportd.core.tokens import Keys, Role
from supportd.db import letters, tickets
from supportd.db.engine import Connection
from supportd.db.letters import LetterState
from supportd.errors import Refused

# The kinds that count against a requester's cap: what we send without a person having written it.
AUTOMATIC_TO_REQUESTER = ("acknowledgement", "correction", "resolution", "closing", "news", "notice")


def composer_of(desk: Desk) -> Composer:
    """Return what writes the letters of *desk*."""
    return Composer(
        hours=desk.hours,
        policy=desk.policy,
        support=Address(address=desk.mailbox.address, name=desk.mailbox.display_name),
        school=desk.school,
        staff_domains=tuple(desk.staff_domains),
        templates=desk.templates,
    )


class Post:
    """Queues letters of one mailbox in one open transaction, all dated *now*."""

    def __init__(
        self, connection: Connection, desk: Desk, composer: Composer, keys: Keys, mailbox_id: int, now: datetime
    ) -> None:
        self.connection = connection
        self.desk = desk
        self.composer = composer
        self.keys = keys
        self.mailbox_id = mailbox_id
        self.now = now
        # Set while mail from before is taken over: what it would cause is recorded, and nothing goes out.
        self.is_silent = False

    def to_requester(
        self,
        kind: str,
        key: str,
        ticket: Ticket,
        compose: Callable[[Envelope], Letter],
        *,
        recipient: str | None = None,
        capped: bool = True,
        not_before: datetime | None = None,
    ) -> bool:
        """Queue a letter to the ticket's requester (or another participant) in her own thread; False if queued before.

        Beyond the caps of behaviour.md an automatic letter is recorded as suppressed and never sent.
        """
        recipient = recipient or ticket.requester.address
        return self._queue(
            kind,
            f"{key}:{recipient}",
            recipient,
            Role.REQUESTER,
            ticket,
            compose,
            in_reply_to=ticket.origin_message_id or "",
            references=ticket.origin_references,
            suppressed=self._beyond_cap(recipient) if capped else None,
            not_before=not_before,
        )

    def to_technician(
        self,
        kind: str,
        key: str,
        recipient: str,
        compose: Callable[[Envelope], Letter],
        *,
        ticket: Ticket | None = None,
        role: Role = Role.TECHNICIAN,
        not_before: datetime | None = None,
        in_reply_to: str = "",
    ) -> bool:
        """Queue a letter to a technician, the IT inbox or a lead, in that person's thread of the ticket."""
        root = letters.first_message_id(self.connection, ticket.id, recipient) if ticket is not None else None
        return self._queue(
            kind,
            f"{key}:{recipient}",
            recipient,
            role,
            ticket,
            compose,
            in_reply_to=in_reply_to or root or "",
            references=(root,) if root else (),
            suppressed=None,
            not_before=not_before,
        )

    def reply_to(self, recipient: str, role: Role, ticket: Ticket | None) -> str:
        """Return the address that answers go to: with its secret part where plus addressing is on."""
        address = self.desk.mailbox.address
        if ticket is None or not self.desk.mailbox.plus_addressing:
            return address
        return tokens.reply_address(
            keys=self.keys, address=address, reference=ticket.reference, person=recipient, role=role
        )

    def technicians_of(self, ticket: Ticket) -> tuple[str, ...]:
        """Return who hears of the ticket: its assignee; else all technicians for levels 1 to 3, the IT inbox below."""
        if ticket.assignee:
            return (ticket.assignee,)
        return self.serious_recipients() if ticket.level <= 3 else self.quiet_recipients()

    def serious_recipients(self) -> tuple[str, ...]:
        """Return all technicians, or the IT inbox where none is named."""
        return self.desk.technician_addresses or self.quiet_recipients()

    def quiet_recipients(self) -> tuple[str, ...]:
        """Return the IT inbox."""
        return (self.desk.it_inbox,) if self.desk.it_inbox else ()

    def _queue(
        self,
        kind: str,
        key: str,
        recipient: str,
        role: Role,
        ticket: Ticket | None,
        compose: Callable[[Envelope], Letter],
        *,
        in_reply_to: str,
        references: Iterable[str],
        suppressed: str | None,
        not_before: datetime | None,
    ) -> bool:
        key = f"{self.desk.name}:{key}"
        if letters.has_key(self.connection, key):
            return False
        uuid = uuid4()
        shadowed = self.desk.shadow and recipient != self.desk.it_inbox
        envelope = Envelope(
            key=key,
            message_id=tokens.message_id(
                keys=self.keys,
                domain=self.desk.mailbox.address.rpartition("@")[2],
                kind=kind,
                ticket=0 if ticket is None else ticket.id,
                person=recipient,
                role=role,
                uuid=uuid,
            ),
            recipient=recipient,
            envelope_from=self.desk.mailbox.address,
            now=self.now,
            reply_to=self.reply_to(recipient, role, ticket),
            in_reply_to=in_reply_to,
            references=tuple(references),
        )
        if self.is_silent:
            suppressed = "its mail was taken over from before"
        try:
            letter = compose(envelope)
        except Refused as error:
            # An address that mail must not be sent to costs its own letter, never the ticket.
            if ticket is not None:
                details = (("kind", kind), ("recipient", recipient), ("reply", str(error)))
                failed = Event(kind=EventKind.FAILED, at=self.now, by="supportd", way="daemon", details=details)
                tickets.append(self.connection, ticket.id, failed)
            return False
        letters.queue(
            self.connection,
            letter,
            uuid=uuid.hex,
            mailbox_id=self.mailbox_id,
            ticket_id=None if ticket is None else ticket.id,
            now=self.now,
            not_before=not_before,
            state=LetterState.PENDING if suppressed is None else LetterState.SUPPRESSED,
            reply=suppressed,
            # In shadow the frozen letter goes, whole, to the IT inbox alone: what would have been sent.
            deliver_to=self.desk.it_inbox if shadowed else None,
        )
        return suppressed is None

    def _beyond_cap(self, recipient: str) -> str | None:
        """Return which cap stops one more automatic letter to *recipient*, or None."""
        if recipient in (*self.desk.technician_addresses, self.desk.it_inbox, self.desk.it_lead, *self.desk.on_call):
            return None
        limits = self.desk.limits
        queued = letters.queued_at(
            self.connection, self.now - timedelta(days=1), recipient=recipient, kinds=AUTOMATIC_TO_REQUESTER
        )
        lately = sum(1 for at in queued if at >= self.now - timedelta(minutes=10))
        if lately >= limits.automatic_per_requester_10_minutes:
            return f"cap: {limits.automatic_per_requester_10_minutes} automatic letters in 10 minutes to one person"
        if len(queued) >= limits.automatic_per_requester_day:
            return f"cap: {limits.automatic_per_requester_day} automatic letters in a day to one person"
        return None
