"""Answers that a technician wrote past us, from the shared mailbox itself: found in its Sent folder, they respond.

Only the headers are read, and nothing there is ever moved or answered.  A letter of our own is known by its Message-ID.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from supportd import log, steering
from supportd.compose import Composer
from supportd.config import Desk
from supportd.core import threads
from supportd.core.model import EventKind, Mail, Status, Unparseable
from supportd.core.tokens import Keys
from supportd.db import ledger, tickets
from supportd.db.engine import Connection, Database
from supportd.db.ledger import Listed
from supportd.post import Post
from supportd.steering import Actor

if TYPE_CHECKING:
    from supportd.imap import ImapSession

_log = log.get("sent")


class Sent:
    """The Sent folder of one mailbox.  *read* parses a header block (its size in bytes beside it)."""

    def __init__(
        self,
        database: Database,
        desk: Desk,
        composer: Composer,
        keys: Keys,
        mailbox_id: int,
        read: Callable[[bytes, int], Mail | Unparseable],
    ) -> None:
        self._database = database
        self._desk = desk
        self._composer = composer
        self._keys = keys
        self._mailbox_id = mailbox_id
        self._read = read

    def look(self, session: ImapSession, now: datetime) -> int:
        """Note every answer that is new in the folder and return how many; another folder is selected afterwards.

        What was sent before the mailbox was first served is left alone: it answered tickets that were never ours.

        Raises:
            Unavailable: the connection or the database is unusable.
        """
        folder = self._desk.mailbox.folders.sent
        if folder is None or session.missing_folders([folder]):
            return 0
        uidvalidity = session.select(folder, readonly=True)
        listed = [Listed(uid=one.uid, size=one.size, received_at=one.received_at) for one in session.listing()]
        with self._database.write() as connection:
            is_first = ledger.find_epoch(connection, self._mailbox_id, folder, uidvalidity) is None
            epoch_id = ledger.ensure_epoch(connection, self._mailbox_id, folder, uidvalidity)
            new = ledger.unseen_sent(connection, epoch_id, listed)
            if is_first:
                served_since = ledger.started_at(connection, self._mailbox_id) or now
                # INTERNALDATE knows whole seconds: what came in the very second of the start came after it.
                before = [one for one in new if one.received_at < served_since.replace(microsecond=0)]
                ledger.sent_seen(connection, epoch_id, before)
                new = [one for one in new if one not in before]
        count = 0
        for one in new:
            header = session.fetch_header(one.uid)
            reading = self._read(header, one.size) if header else None
            with self._database.write() as connection:
                ledger.sent_seen(connection, epoch_id, [one])
                if isinstance(reading, Mail):
                    count += self._note(connection, reading, one.received_at, now)
        return count

    def _note(self, connection: Connection, mail: Mail, sent_at: datetime, now: datetime) -> bool:
        """Record *mail* as the response on the ticket that it answers, at the time when it was sent."""
        clues = threads.clues(
            mail,
            keys=self._keys,
            addresses=sorted(self._desk.own_addresses),
            prefix=self._desk.mailbox.reference,
        )
        if mail.message_id and threads.is_own(mail.message_id, self._keys):
            return False
        remembered = ledger.tickets_of_message_ids(connection, self._mailbox_id, clues.references)
        ticket_id = next((own.ticket for own in clues.own if own.ticket), None)
        ticket_id = ticket_id or next(iter(remembered.values()), None)
        if ticket_id is None:
            return False
        post = Post(connection, self._desk, self._composer, self._keys, self._mailbox_id, now)
        try:
            ticket = steering.load(post, ticket_id)
        except KeyError:
            # A database that was restored from before this ticket: what answered it stays with the person.
            return False
        readers = {address.address for address in (*mail.to, *mail.cc)}
        if ticket.requester.address not in readers or ticket.status is Status.CLOSED:
            return False
        author = Actor(address=self._desk.mailbox.address, way="sent")
        events = tickets.events(connection, ticket.id)
        if any(one.kind is EventKind.ANSWERED and one.way == author.way and one.at == sent_at for one in events):
            # A folder that the server has numbered anew holds what was looked at before.
            return False
        steering.record(post, ticket, EventKind.ANSWERED, author, at=sent_at)
        if ticket.status is Status.NEW:
            tickets.change(connection, ticket.id, status=Status.OPEN)
        steering.recount(post, ticket.id)
        _log.info("answered past us", ticket=ticket.reference)
        return True
