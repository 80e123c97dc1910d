"""One captured mail -> one decision -> one transaction.  Read this first: it is the table of contents of the product.

The steps, each a value from a pure room (``arrival`` asks those that need no ledger); what follows from them is written
all at once or not at all (C4), by ``opening`` where a ticket is opened and by ``joining`` where the mail joins one:

1. ``sender.evidence``   how sure we are who wrote it
2. ``screen.judge``      whether a machine wrote it, and whether it opens a ticket
3. ``same submission``   whether we had it before
4. ``threads.place``     which ticket it belongs to, proved; or a new one
5. ``commands.read``     what a technician asks for in his first lines
6. ``severity.rate``     how serious it is, and by which words
7. ``sla.deadlines``     by when somebody answers, and by when it is mended
8. letters, frozen: acknowledgement, alert, relay, answer
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from supportd import arrival, failpoint, joining, log, opening
from supportd.arrival import Arrival
from supportd.compose import Composer
from supportd.config import Desk
from supportd.core import fingerprint, threads
from supportd.core.model import Mail, Ticket, Unparseable, Verdict
from supportd.core.sender import Profile, Trust
from supportd.core.threads import Append, Candidate, Clues, Placement
from supportd.core.tokens import Keys, Role
from supportd.db import ledger, letters, tickets
from supportd.db.engine import Connection, Database
from supportd.db.ledger import Row
from supportd.lease import Lease
from supportd.post import Post

_log = log.get("decide")

# A mail whose worker died this often, not by a limit of its own, is kept for a person (reliability.md CR03).
MOST_ATTEMPTS = 3
_NOT_GIVEN_OUT = "the mail server lists it and does not give out its text; look for it in the mailbox itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What became of one message, for the log and the summary."""

    verdict: Verdict
    rule: str | None = None
    reference: str = ""
    level: int = 0


class Decider:
    """Decides the mail of one mailbox."""

    def __init__(
        self, database: Database, desk: Desk, composer: Composer, keys: Keys, mailbox_id: int, lease: Lease
    ) -> None:
        self._lease = lease
        self._database = database
        self._desk = desk
        self._composer = composer
        self._keys = keys
        self._mailbox_id = mailbox_id

    def decide(self, row: Row, reading: Mail | Unparseable, now: datetime) -> Decision | None:
        """Decide one captured message and return what became of it; None when another daemon was faster.

        Raises:
            Unavailable: the database cannot be reached; the message stays undecided.
        """
        if not row.data:
            reading = Unparseable(reason=_NOT_GIVEN_OUT)
        if isinstance(reading, Unparseable):
            return self.quarantine(row, reading.reason, now)
        arrived = arrival.read(row, reading, self._desk, self._keys, self._trust())
        failpoint.hit("decide.read")
        with self._database.write() as connection:
            self._lease.confirm(connection)
            if not ledger.is_undecided(connection, row.id):
                return None
            post = Post(connection, self._desk, self._composer, self._keys, self._mailbox_id, now)
            post.is_silent = row.silent
            failpoint.hit("decide.begun")
            decision, ticket_id, reason, duplicate_of = self._decide(post, arrived)
            failpoint.hit("decide.placed")
            ledger.decide(
                connection,
                self._mailbox_id,
                row.id,
                verdict=decision.verdict,
                rule=decision.rule,
                reason=reason,
                folder=self._folder(decision.verdict),
                now=now,
                message_id=arrived.mail.message_id,
                sender=arrived.author.address or None,
                trace_free_sha256=arrived.trace_free_sha256,
                content_sha256=arrived.mail.content_sha256 or None,
                dedup_key=None if duplicate_of is not None else self._dedup_key(arrived),
                duplicate_of=duplicate_of,
                ticket_id=ticket_id,
            )
            failpoint.hit("decide.committing")
        failpoint.hit("decide.committed")
        _log.info(
            "mail",
            outcome=decision.verdict,
            ticket=decision.reference or None,
            rule=decision.rule,
            severity=decision.level or None,
            ledger=row.id,
            message_id=arrived.mail.message_id,
        )
        return decision

    def quarantine(self, row: Row, reason: str, now: datetime) -> Decision | None:
        """Keep a message that cannot be handled for a person, and tell the IT inbox once."""
        with self._database.write() as connection:
            self._lease.confirm(connection)
            if not ledger.is_undecided(connection, row.id):
                return None
            ledger.decide(
                connection,
                self._mailbox_id,
                row.id,
                verdict=Verdict.QUARANTINED,
                rule=None,
                reason=reason,
                folder=self._folder(Verdict.QUARANTINED),
                now=now,
                trace_free_sha256=fingerprint.trace_free_sha256(row.data),
            )
            post = Post(connection, self._desk, self._composer, self._keys, self._mailbox_id, now)
            for recipient in post.quiet_recipients():
                post.to_technician(
                    "health",
                    f"quarantine:{row.id}",
                    recipient,
                    lambda envelope: self._composer.health(
                        envelope,
                        title="A message could not be read and waits in Quarantine",
                        lines=(f"Number {row.id}, received {row.received_at:%Y-%m-%d %H:%M} UTC: {reason}.",),
                        cure=f"supportd quarantine show {row.id}",
                    ),
                    role=Role.READER,
                )
            failpoint.hit("quarantine.committing")
        failpoint.hit("quarantine.committed")
        _log.warning("mail", outcome=Verdict.QUARANTINED, ledger=row.id, reason=reason)
        return Decision(verdict=Verdict.QUARANTINED)

    # -- the steps -------------------------------------------------------------------------------------------------

    def _decide(self, post: Post, arrived: Arrival) -> tuple[Decision, int | None, str, int | None]:
        """Return the decision, its ticket, the reason in words, and the message it is a copy of."""
        mail = arrived.mail
        duplicate_of, is_reused = ledger.same_submission(
            post.connection,
            self._mailbox_id,
            arrived.row.id,
            message_id=mail.message_id,
            trace_free_sha256=arrived.trace_free_sha256,
            content_sha256=mail.content_sha256,
            has_date=mail.date is not None,
        )
        if duplicate_of is not None:
            return Decision(verdict=Verdict.DUPLICATE), None, f"a copy of message {duplicate_of}", duplicate_of
        if arrived.screening.verdict is Verdict.SCREENED and not arrived.row.passed:
            ticket_id = joining.note_report(post, arrived)
            decision = Decision(verdict=Verdict.SCREENED, rule=arrived.screening.rule)
            return decision, ticket_id, arrived.screening.reason, None
        placement = self._place(post, arrived)
        if placement.alarm:
            tickets.record_security_event(
                post.connection,
                self._mailbox_id,
                at=post.now,
                kind="unproved",
                address=arrived.author.address,
                message_id=arrived.row.id,
                text=placement.alarm,
            )
        reason = placement.reason + ("; the Message-ID was used before by another message" if is_reused else "")
        if isinstance(placement, Append):
            joined = joining.join(post, arrived, placement)
            ticket = joined.ticket
            decision = Decision(
                verdict=joined.verdict, rule=joined.rule, reference=ticket.reference, level=ticket.level
            )
            return decision, ticket.id, reason, None
        # What a person lets pass, or lay there before, is no flood of this hour.
        flood = None if arrived.row.passed or arrived.row.silent else opening.flood(post, arrived)
        if flood is not None:
            words, ticket_id = flood
            return Decision(verdict=Verdict.SCREENED, rule="outsider-rate"), ticket_id, words, None
        ticket = opening.open_ticket(post, arrived, placement)
        decision = Decision(
            verdict=Verdict.TICKET, rule=arrived.screening.rule, reference=ticket.reference, level=ticket.level
        )
        return decision, ticket.id, reason, None

    def _trust(self) -> Trust:
        """Return whom this desk believes; with a profile nobody commands before the border is proved."""
        trust = self._desk.sender_trust
        if trust.profile is Profile.NONE:
            return trust
        with self._database.read() as connection:
            proof = letters.border_proof(connection, self._mailbox_id)
        return replace(trust, is_border_proved=proof == trust.border)

    def _place(self, post: Post, arrived: Arrival) -> Placement:
        candidates = self._candidates(post.connection, arrived.clues)
        return threads.place(
            arrived.clues,
            candidates,
            sender=arrived.mail.sender,
            standing=arrived.standing,
            trust=arrived.trust,
            keys=self._keys,
            now=post.now,
            only_thanks=self._needs_nothing(arrived),
        )

    def _needs_nothing(self, arrived: Arrival) -> bool:
        """Return whether the mail says thanks, or that it is solved, and nothing else: no ticket opens for that."""
        text = arrived.mail.new_text
        names = [arrived.author.name, *(one.name for one in self._desk.technicians)]
        return threads.says_only_thanks(text, names) or threads.requester_word(text, names) is threads.Word.SOLVED

    def _candidates(self, connection: Connection, clues: Clues) -> list[Candidate]:
        """Return the tickets that the clues name, and those that they were merged into."""
        remembered = ledger.tickets_of_message_ids(connection, self._mailbox_id, clues.references)
        references = [*clues.tags, *clues.mentions, *(token.reference for token in clues.reply_tokens)]
        wanted = {own.ticket for own in clues.own if own.ticket}
        wanted |= set(remembered.values())
        wanted |= tickets.ids_of(connection, self._mailbox_id, references)
        found: dict[int, Ticket] = {}
        while wanted:
            loaded = tickets.by_ids(connection, sorted(wanted), self._desk.level_names)
            found |= {one.id: one for one in loaded if one.mailbox == self._desk.name}
            wanted = {one.merged_into for one in loaded if one.merged_into is not None} - set(found)
        return [
            Candidate(
                id=one.id,
                reference=one.reference,
                status=one.status,
                requester=one.requester.address,
                participants=one.participants,
                merged_into=one.merged_into,
                closed_at=one.closed_at,
                message_ids=tuple(text for text, ticket_id in remembered.items() if ticket_id == one.id),
            )
            for one in found.values()
        ]

    # -- where the copy goes ---------------------------------------------------------------------------------------

    def _folder(self, verdict: Verdict) -> str:
        folders = self._desk.mailbox.folders
        if verdict is Verdict.SCREENED:
            return folders.screened
        return folders.quarantine if verdict is Verdict.QUARANTINED else folders.processed

    def _dedup_key(self, arrived: Arrival) -> str:
        """Return the unique key of this submission: the last guard against two events for one (I3)."""
        mail = arrived.mail
        if mail.message_id is not None:
            name = ledger.normal_message_id(mail.message_id)[:40]
            return f"{self._mailbox_id}:id:{name}:{mail.content_sha256 or arrived.trace_free_sha256}"
        if mail.date is not None:
            return f"{self._mailbox_id}:trace-free:{arrived.trace_free_sha256}"
        return f"{self._mailbox_id}:row:{arrived.row.id}"
