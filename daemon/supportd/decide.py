"""One captured mail -> one decision -> one transaction.  Read this first: it is the table of contents of the product.

The steps, each a value from a pure room; what follows from them is written all at once or not at all (C4):

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

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from supportd import failpoint, log, steering
from supportd.compose import Composer
from supportd.config import Desk
from supportd.core import commands, fingerprint, forwards, incidents, screen, sender, severity, sla, threads, tokens
from supportd.core.commands import Verb
from supportd.core.model import (
    Address,
    EventKind,
    Mail,
    Rating,
    Screening,
    Status,
    Ticket,
    Unparseable,
    Verdict,
)
from supportd.core.sender import Level, Standing
from supportd.core.threads import Append, Candidate, Clues, NewLinked, Placement
from supportd.core.tokens import Keys, Role
from supportd.db import ledger, letters, tickets
from supportd.db.engine import Connection, Database
from supportd.db.ledger import Row
from supportd.errors import UserError
from supportd.lease import Lease
from supportd.post import Post
from supportd.steering import DAEMON, Actor

_log = log.get("decide")

# The second alert of an incident carries the count, after this long.
_INCIDENT_COUNT_AFTER = timedelta(minutes=3)
# Technicians who steered a ticket within this hear of each other's commands.
_LATELY = timedelta(hours=1)
# A mail whose worker died this often, not by a limit of its own, is kept for a person (reliability.md CR03).
MOST_ATTEMPTS = 3
# 1 MB of text is kept searchable; the raw bytes hold the rest (reliability.md 4.2).
_TEXT_LIMIT = 1_000_000
_OVERSIZE_TEXT = "(This message is too large to read here; it lies whole in the mailbox.)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What became of one message, for the log and the summary."""

    verdict: Verdict
    rule: str | None = None
    reference: str = ""
    level: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrival:
    """One message with everything that the pure rooms say of it before the ledger is asked."""

    row: Row
    mail: Mail
    standing: Standing
    screening: Screening
    clues: Clues
    rating: Rating
    trace_free_sha256: str

    @property
    def text(self) -> str:
        """Return what the sender wrote this time, or what stands in its place."""
        if self.mail.oversize:
            return _OVERSIZE_TEXT
        return (self.mail.new_text or self.mail.text or self.mail.forwarded)[:_TEXT_LIMIT]

    @property
    def author(self) -> Address:
        """Return the sender; a mail without one that can be read is from nobody."""
        return self.mail.sender or Address(address="")


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
        self._trust = desk.sender_trust
        self._settings = replace(
            desk.screen_settings, is_own_message_id=lambda text: tokens.verify(text, keys) is not None
        )

    def decide(self, row: Row, reading: Mail | Unparseable, now: datetime) -> Decision | None:
        """Decide one captured message and return what became of it; None when another daemon was faster.

        Raises:
            Unavailable: the database cannot be reached; the message stays undecided.
        """
        trace_free = fingerprint.trace_free_sha256(row.data)
        if isinstance(reading, Unparseable):
            return self.quarantine(row, reading.reason, now, trace_free_sha256=trace_free)
        arrival = self._read(row, reading, trace_free)
        failpoint.hit("decide.read")
        with self._database.write() as connection:
            self._lease.confirm(connection)
            if not ledger.is_undecided(connection, row.id):
                return None
            post = Post(connection, self._desk, self._composer, self._keys, self._mailbox_id, now)
            failpoint.hit("decide.begun")
            decision, ticket_id, reason, duplicate_of = self._decide(post, arrival)
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
                message_id=arrival.mail.message_id,
                sender=arrival.author.address or None,
                trace_free_sha256=trace_free,
                content_sha256=arrival.mail.content_sha256 or None,
                dedup_key=None if duplicate_of is not None else self._dedup_key(arrival),
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
            message_id=arrival.mail.message_id,
        )
        return decision

    def quarantine(
        self, row: Row, reason: str, now: datetime, *, trace_free_sha256: str | None = None
    ) -> Decision | None:
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
                trace_free_sha256=trace_free_sha256,
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

    def _read(self, row: Row, mail: Mail, trace_free_sha256: str) -> _Arrival:
        """Return what the pure rooms say; nothing here asks the database."""
        screening = screen.judge(mail, self._settings)
        address = mail.sender.address if mail.sender else ""
        return _Arrival(
            row=row,
            mail=mail,
            standing=sender.evidence(mail, self._trust),
            screening=screening,
            clues=threads.clues(
                mail,
                keys=self._keys,
                addresses=sorted(self._desk.own_addresses),
                prefix=self._desk.mailbox.reference,
            ),
            rating=severity.rate(
                mail.subject,
                mail.new_text or mail.forwarded or mail.text,
                address,
                self._desk.keywords,
                automatic=screening.automatic,
            ),
            trace_free_sha256=trace_free_sha256,
        )

    def _decide(self, post: Post, arrival: _Arrival) -> tuple[Decision, int | None, str, int | None]:
        """Return the decision, its ticket, the reason in words, and the message it is a copy of."""
        mail = arrival.mail
        duplicate_of, is_reused = ledger.same_submission(
            post.connection,
            self._mailbox_id,
            arrival.row.id,
            message_id=mail.message_id,
            trace_free_sha256=arrival.trace_free_sha256,
            content_sha256=mail.content_sha256,
            has_date=mail.date is not None,
        )
        if duplicate_of is not None:
            return Decision(verdict=Verdict.DUPLICATE), None, f"a copy of message {duplicate_of}", duplicate_of
        if arrival.screening.verdict is Verdict.SCREENED and not arrival.row.passed:
            ticket_id = self._note_report(post, arrival)
            decision = Decision(verdict=Verdict.SCREENED, rule=arrival.screening.rule)
            return decision, ticket_id, arrival.screening.reason, None
        placement = self._place(post, arrival)
        if placement.alarm:
            tickets.record_security_event(
                post.connection,
                self._mailbox_id,
                at=post.now,
                kind="unproved",
                address=arrival.author.address,
                message_id=arrival.row.id,
                text=placement.alarm,
            )
        reason = placement.reason + ("; the Message-ID was used before by another message" if is_reused else "")
        if isinstance(placement, Append):
            decision, ticket_id = self._append(post, arrival, placement)
            return decision, ticket_id, reason, None
        flood = self._flood(post, arrival)
        if flood is not None:
            return Decision(verdict=Verdict.SCREENED, rule="outsider-rate"), None, flood, None
        decision, ticket_id = self._open(post, arrival, placement)
        return decision, ticket_id, reason, None

    def _place(self, post: Post, arrival: _Arrival) -> Placement:
        candidates = self._candidates(post.connection, arrival.clues)
        return threads.place(
            arrival.clues,
            candidates,
            sender=arrival.mail.sender,
            standing=arrival.standing,
            trust=self._trust,
            keys=self._keys,
            now=post.now,
            only_thanks=threads.says_only_thanks(
                arrival.mail.new_text, [arrival.author.name, *(one.name for one in self._desk.technicians)]
            ),
        )

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

    # -- a new ticket ----------------------------------------------------------------------------------------------

    def _open(self, post: Post, arrival: _Arrival, placement: Placement) -> tuple[Decision, int]:
        mail, row = arrival.mail, arrival.row
        history = sla.History(received_at=row.received_at, level=arrival.rating.level)
        clocks = sla.clocks(history, self._desk.policy, self._desk.hours, post.now)
        is_verified = arrival.standing.level >= Level.VERIFIED
        reference = tickets.next_reference(post.connection, self._desk.mailbox.reference)
        ticket_id = tickets.open_ticket(
            post.connection,
            mailbox_id=self._mailbox_id,
            reference=reference,
            subject=mail.subject,
            requester=arrival.author,
            text=arrival.text,
            rating=arrival.rating,
            deadlines=clocks.deadlines,
            received_at=row.received_at,
            next_check_at=post.now,
            automatic=arrival.screening.automatic,
            verified=is_verified,
            restricted=False,
            participants=self._participants(arrival),
            origin_message_id=mail.message_id,
            origin_references=mail.references,
        )
        failpoint.hit("decide.opened")
        tickets.write_clocks(post.connection, ticket_id, clocks.all)
        ticket = steering.load(post, ticket_id)
        author = steering.actor_of(post, arrival.author)
        number = steering.record(post, ticket, EventKind.RECEIVED, author, text=arrival.text, message_id=row.id)
        tickets.attach(post.connection, ticket_id, number, mail.attachments)
        rated = {"level": str(arrival.rating.level), "row": arrival.rating.row}
        steering.record(post, ticket, EventKind.RATED, DAEMON, details=rated)
        if isinstance(placement, NewLinked):
            linked = steering.load(post, placement.linked)
            steering.record(post, ticket, EventKind.LINKED, DAEMON, details={"ticket": linked.reference})
        ticket = steering.load(post, ticket_id)
        incident = self._gather(post, ticket)
        if not self._pass_on(post, arrival, ticket):
            self._acknowledge(post, arrival, ticket)
        failpoint.hit("decide.acknowledged")
        if not row.silent:
            self._alert(post, arrival, ticket, incident)
        decision = Decision(
            verdict=Verdict.TICKET, rule=arrival.screening.rule, reference=reference, level=ticket.level
        )
        return decision, ticket_id

    def _pass_on(self, post: Post, arrival: _Arrival, ticket: Ticket) -> bool:
        """Give a ticket that a technician passed on to the one who wrote it; return whether that was done.

        He names the requester (``#for``), or the mail holds one original whose author is clear.  With a profile he is
        proved, and obeyed; under ``none`` he is asked once, and his reply, which carries our token, is the proof.
        """
        if not arrival.standing.claims_technician:
            return False
        read = commands.read(arrival.mail.new_text, self._vocabulary(arrival.author.address))
        named = (
            next((one.value for one in read.commands if one.verb is Verb.FOR), None)
            if isinstance(read, commands.Read)
            else None
        )
        ours = {*self._desk.technician_addresses, *self._desk.own_addresses, self._desk.it_inbox or ""}
        found = forwards.original_sender(arrival.mail, ours)
        requester = Address(address=named) if named else found
        if requester is None:
            return False
        author = steering.actor_of(post, arrival.author)
        if arrival.standing.level >= Level.TECHNICIAN:
            steering.hand_to(post, ticket, author, requester.address, name=requester.name)
            return True
        asked = f"#for {requester.address}"
        steering.record(post, ticket, EventKind.ASKED, DAEMON, details={"commands": asked})
        post.to_technician(
            "confirmation",
            f"confirmation:{ticket.reference}",
            arrival.author.address,
            lambda envelope: self._composer.confirmation(envelope, commands=(asked,), subject=ticket.subject),
            ticket=ticket,
            in_reply_to=arrival.mail.message_id or "",
        )
        return False

    def _participants(self, arrival: _Arrival) -> list[str]:
        """Return who takes part: the sender and, of a believed one, the staff addresses that he copied in."""
        ours = (*self._desk.own_addresses, self._desk.it_inbox or "")
        copied = threads.copied_in(arrival.mail, arrival.standing.level, self._trust, ours)
        return [arrival.author.address, *copied] if arrival.author.address else list(copied)

    def _acknowledge(self, post: Post, arrival: _Arrival, ticket: Ticket) -> None:
        """Answer the requester at once, unless a machine, an unproved outsider or a silent import wrote."""
        may_answer = (
            arrival.standing.level >= Level.VERIFIED
            and not arrival.screening.automatic
            and not arrival.row.silent
            and ticket.requester.address
        )
        if may_answer:
            steering.acknowledge(
                post, steering.load(post, ticket.id), outsider=arrival.standing.level < Level.MEMBER
            )

    def _alert(self, post: Post, arrival: _Arrival, ticket: Ticket, incident: int | None) -> None:
        """Tell the technicians: levels 1 to 3 at once, 4 to 6 quietly and while the service is open."""
        if incident is not None:
            # The first report's alert has gone; one more with the count follows, once for the incident.
            for recipient in post.serious_recipients():
                letters.note(
                    post.connection,
                    key=f"incident:{incident}:{recipient}",
                    mailbox_id=self._mailbox_id,
                    kind="incident",
                    ticket_id=ticket.id,
                    recipient=recipient,
                    due_at=post.now + _INCIDENT_COUNT_AFTER,
                )
            return
        is_open = self._desk.hours.is_open(post.now)
        is_serious = ticket.level <= 3
        recipients: Sequence[str] = post.serious_recipients() if is_serious else post.quiet_recipients()
        if is_serious and not is_open:
            recipients = tuple(dict.fromkeys((*recipients, *self._desk.on_call)))
        explained = steering.explanation(post, ticket)
        for recipient in recipients:
            due_at = self._fold_until(post, recipient, is_serious)
            if due_at is None and not is_serious and not is_open:
                # At the next opening; when the calendar ends first, the digest's warning has said so for 60 days.
                due_at = self._desk.hours.next_open(post.now) or post.now
            if due_at is not None:
                letters.note(
                    post.connection,
                    key=f"alert:{ticket.reference}:{recipient}",
                    mailbox_id=self._mailbox_id,
                    kind="alert",
                    ticket_id=ticket.id,
                    recipient=recipient,
                    due_at=due_at,
                )
                continue
            post.to_technician(
                "alert",
                f"alert:{ticket.reference}",
                recipient,
                lambda envelope: self._composer.alert(
                    envelope, ticket, explanation=explained, attachments=arrival.mail.attachments
                ),
                ticket=ticket,
            )

    def _fold_until(self, post: Post, recipient: str, is_serious: bool) -> datetime | None:
        """Return until when an alert is held so that many fold into one, or None when it goes by itself."""
        recent = letters.queued_since(
            post.connection, post.now - timedelta(minutes=10), recipient=recipient, kinds=("alert", "alerts")
        )
        if recent < self._desk.limits.alerts_10_minutes:
            return None
        # A serious one among many still comes soon; quiet ones wait for the ten minutes to pass.
        return post.now + timedelta(minutes=1 if is_serious else 10)

    def _gather(self, post: Post, ticket: Ticket) -> int | None:
        """Return the incident that the new ticket is one more report of, opened if this is the second."""
        if ticket.level > 3 or not ticket.service:
            return None
        recent = tickets.gathering(
            post.connection, self._mailbox_id, ticket.received_at - incidents.NEAR, self._desk.level_names
        )
        gathering = incidents.gathers(ticket, recent)
        if gathering is None:
            return None
        incident = gathering.incident or tickets.open_incident(
            post.connection,
            self._mailbox_id,
            service=ticket.service,
            now=post.now,
            news_due=steering.next_news_at(post),
        )
        for member in (*gathering.tickets, ticket.id):
            one = steering.load(post, member)
            if one.incident != incident:
                tickets.change(post.connection, member, incident_id=incident)
                steering.record(post, one, EventKind.GATHERED, DAEMON, details={"incident": str(incident)})
        return incident

    def _flood(self, post: Post, arrival: _Arrival) -> str | None:
        """Return which cap an outsider is over, or None; staff are never screened for their rate."""
        if arrival.standing.level >= Level.MEMBER or arrival.author.domain in self._desk.staff_domains:
            return None
        limits, since = self._desk.limits, post.now - timedelta(hours=1)
        address, domain = arrival.author.address, arrival.author.domain

        def count(**of: str) -> int:
            return ledger.outsiders_since(
                post.connection, self._mailbox_id, since, staff_domains=self._desk.staff_domains, **of
            )

        if address and count(address=address) >= limits.outsider_address_hour:
            return f"more than {limits.outsider_address_hour} tickets an hour from one address outside"
        if domain and count(domain=domain) >= limits.outsider_domain_hour:
            return f"more than {limits.outsider_domain_hour} tickets an hour from one domain outside"
        if count() >= limits.outsiders_hour:
            return f"more than {limits.outsiders_hour} tickets an hour from outside"
        return None

    # -- an existing ticket ----------------------------------------------------------------------------------------

    def _append(self, post: Post, arrival: _Arrival, placement: Append) -> tuple[Decision, int]:
        failpoint.hit("decide.appending")
        ticket = steering.load(post, placement.ticket)
        author = steering.actor_of(post, arrival.author)
        if placement.held:
            steering.record(
                post, ticket, EventKind.UNVERIFIED, author, text=arrival.text, message_id=arrival.row.id
            )
            self._tell_technicians_of_claim(post, ticket, arrival, placement)
            return Decision(verdict=Verdict.REPLY, rule="held", reference=ticket.reference), ticket.id
        if placement.as_note:
            steering.note(post, ticket, author, arrival.text, message_id=arrival.row.id)
            return Decision(verdict=Verdict.REPLY, rule="note", reference=ticket.reference), ticket.id
        if placement.role is Role.TECHNICIAN and placement.level is Level.COMMANDING:
            return self._obey(post, arrival, ticket, author), ticket.id
        self._hear(post, arrival, ticket, author, reopens=placement.reopens)
        return Decision(verdict=Verdict.REPLY, reference=ticket.reference, level=ticket.level), ticket.id

    def _obey(self, post: Post, arrival: _Arrival, ticket: Ticket, author: Actor) -> Decision:
        """Do what a proved technician asks; one mistake, and nothing is done or relayed."""
        vocabulary = self._vocabulary(author.address)
        read = commands.read(arrival.mail.new_text, vocabulary)
        asked = self._confirmed(post, arrival, ticket)
        if asked and commands.says_yes(arrival.mail.new_text):
            # He answers our question: its commands are his, and what he wrote with them goes to nobody.
            read = commands.read(asked, vocabulary)
        decision = Decision(verdict=Verdict.COMMAND, reference=ticket.reference, level=ticket.level)
        if isinstance(read, commands.Mistake):
            self._answer_mistake(post, arrival, ticket, author, read)
            return replace(decision, rule="mistake")
        savepoint = post.connection.begin_nested()
        try:
            for command in read.commands:
                ticket = steering.apply(post, ticket, command, author, text=read.text)
        except UserError as error:
            savepoint.rollback()
            mistake = commands.Mistake(
                understood=tuple(str(command) for command in read.commands),
                problems=error.problems,
                example=commands.HELP[read.commands[0].verb].example,
            )
            self._answer_mistake(post, arrival, steering.load(post, ticket.id), author, mistake)
            return replace(decision, rule="mistake")
        savepoint.commit()
        verbs = {command.verb for command in read.commands}
        says_something = bool(read.text.strip()) and not read.is_internal and not verbs & {Verb.RESOLVE, Verb.HELP}
        if says_something:
            steering.answer(
                post,
                ticket,
                author,
                read.text,
                attachments=arrival.mail.attachments,
                message_id=arrival.row.id,
            )
        if not read.commands:
            return replace(decision, verdict=Verdict.REPLY)
        self._tell_colleagues(post, arrival, ticket, author, read)
        return decision

    def _vocabulary(self, writer: str) -> commands.Vocabulary:
        return commands.Vocabulary(
            levels={name: level for level, name in self._desk.level_names.items()},
            technicians=tuple(Address(address=one.address, name=one.name) for one in self._desk.technicians),
            writer=writer,
            prefix=self._desk.mailbox.reference,
        )

    def _confirmed(self, post: Post, arrival: _Arrival, ticket: Ticket) -> str:
        """Return the commands of the question that this mail answers, or an empty text."""
        if not any(own.kind == "confirmation" and own.ticket == ticket.id for own in arrival.clues.own):
            return ""
        asked = [one for one in tickets.events(post.connection, ticket.id) if one.kind is EventKind.ASKED]
        return asked[-1].detail("commands") if asked else ""

    def _tell_colleagues(
        self, post: Post, arrival: _Arrival, ticket: Ticket, author: Actor, read: commands.Read
    ) -> None:
        """Tell other technicians who steered this ticket lately what was done now: two at once must not surprise."""
        since = post.now - _LATELY
        lately = {
            one.by
            for one in tickets.events(post.connection, ticket.id)
            if one.at >= since and one.by in self._desk.technician_addresses and one.by != author.address
        }
        done = ", ".join(str(command) for command in read.commands)
        for colleague in sorted(lately):
            post.to_technician(
                "notice",
                f"steered:{arrival.row.id}",
                colleague,
                lambda envelope: self._composer.notice(
                    envelope,
                    ticket,
                    title=f"{author.name or author.address} gave {done}",
                    lines=(f"The ticket is now {ticket.status}, level {ticket.level} {ticket.level_name}.",),
                ),
                ticket=ticket,
            )

    def _answer_mistake(
        self, post: Post, arrival: _Arrival, ticket: Ticket, author: Actor, mistake: commands.Mistake
    ) -> None:
        post.to_technician(
            "mistake",
            f"mistake:{arrival.row.id}",
            author.address,
            lambda envelope: self._composer.mistake(
                envelope, ticket, problems=_problems(mistake), text=arrival.mail.new_text
            ),
            ticket=ticket,
            in_reply_to=arrival.mail.message_id or "",
        )

    def _hear(self, post: Post, arrival: _Arrival, ticket: Ticket, author: Actor, *, reopens: bool) -> None:
        """Add what the requester, or a colleague who takes part, wrote again, and pass it to the technicians."""
        mail = arrival.mail
        number = steering.record(
            post, ticket, EventKind.REPLIED, author, text=arrival.text, message_id=arrival.row.id
        )
        tickets.attach(post.connection, ticket.id, number, mail.attachments)
        tickets.add_participants(post.connection, ticket.id, self._participants(arrival))
        word = threads.requester_word(mail.new_text) if author.address == ticket.requester.address else None
        if word is not None and ticket.status in steering.LIVE:
            self._do_as_told(post, ticket, author, word, number)
            return
        if reopens:
            steering.reopen(post, ticket, author)
        elif ticket.status is Status.WAITING:
            steering.resume(post, ticket, author)
        ticket = steering.load(post, ticket.id)
        # A reply may raise a ticket, never lower it.
        if arrival.rating.level < ticket.level and arrival.rating.evidence and ticket.status in steering.LIVE:
            steering.correct(post, ticket, DAEMON, arrival.rating.level)
            ticket = steering.load(post, ticket.id)
        for recipient in post.technicians_of(ticket):
            if recipient == author.address:
                continue
            post.to_technician(
                "relay",
                f"relay:{ticket.reference}:{number}",
                recipient,
                lambda envelope: self._composer.relay(
                    envelope,
                    ticket,
                    author=arrival.author,
                    text=arrival.text,
                    attachments=mail.attachments,
                    reopened=reopens,
                ),
                ticket=ticket,
            )

    def _do_as_told(self, post: Post, ticket: Ticket, author: Actor, word: threads.Word, number: int) -> None:
        """Do what the requester asks for in one word: "solved" resolves her ticket, "status" tells how it stands."""
        if word is threads.Word.SOLVED:
            steering.resolve(post, ticket, author, "")
            lines: tuple[str, ...] = ("We take it as solved, as you wrote. If it is not, just reply.",)
        else:
            lines = steering.standing(post, ticket)
        post.to_requester(
            "notice",
            f"word:{ticket.reference}:{number}",
            ticket,
            lambda envelope: self._composer.notice(
                envelope, ticket, title=f"{ticket.reference}: {word.value}", lines=lines
            ),
        )

    def _tell_technicians_of_claim(
        self, post: Post, ticket: Ticket, arrival: _Arrival, placement: Append
    ) -> None:
        """Tell that somebody wrote to the ticket without proof; his words stay where the shell shows them."""
        for recipient in post.technicians_of(ticket):
            post.to_technician(
                "notice",
                f"held:{arrival.row.id}",
                recipient,
                lambda envelope: self._composer.notice(
                    envelope,
                    ticket,
                    title="A message without proof was added to this ticket and changed nothing",
                    lines=(
                        placement.alarm or placement.reason,
                        f"Read it with: supportd ticket show {ticket.reference}",
                    ),
                ),
                ticket=ticket,
            )

    def _note_report(self, post: Post, arrival: _Arrival) -> int | None:
        """Note a bounce of, or an automatic answer to, a letter of ours on its ticket; without our proof, nothing."""
        report = screen.report_of(arrival.mail) if arrival.screening.bounce else None
        named = [report.original_message_id] if report is not None and report.original_message_id else []
        own = [proof for text in named if (proof := tokens.verify(text, self._keys)) is not None]
        own += list(arrival.clues.own)
        known = next((proof for proof in own if proof.ticket), None)
        if known is None:
            return None
        try:
            ticket = steering.load(post, known.ticket)
        except KeyError:
            return None
        if arrival.screening.bounce and report is not None:
            recipient = report.recipient.lower()
            if not tokens.is_for(known, recipient, self._keys):
                # Somebody's letter came back to an address that we did not write to, or the report is forged.
                return None
            steering.record(
                post,
                ticket,
                EventKind.BOUNCED,
                DAEMON,
                message_id=arrival.row.id,
                details={"recipient": recipient, "status": report.status, "action": report.action},
            )
        elif not arrival.screening.bounce:
            steering.record(
                post, ticket, EventKind.AUTO_REPLIED, steering.actor_of(post, arrival.author), message_id=arrival.row.id
            )
        return ticket.id

    # -- where the copy goes ---------------------------------------------------------------------------------------

    def _folder(self, verdict: Verdict) -> str:
        folders = self._desk.mailbox.folders
        if verdict is Verdict.SCREENED:
            return folders.screened
        return folders.quarantine if verdict is Verdict.QUARANTINED else folders.processed

    def _dedup_key(self, arrival: _Arrival) -> str:
        """Return the unique key of this submission: the last guard against two events for one (I3)."""
        mail = arrival.mail
        if mail.message_id is not None:
            name = ledger.normal_message_id(mail.message_id)[:40]
            return f"{self._mailbox_id}:id:{name}:{mail.content_sha256 or arrival.trace_free_sha256}"
        if mail.date is not None:
            return f"{self._mailbox_id}:trace-free:{arrival.trace_free_sha256}"
        return f"{self._mailbox_id}:row:{arrival.row.id}"


def _problems(mistake: commands.Mistake) -> tuple[str, ...]:
    """Return what was wrong, what was understood, and an example, as lines for the letter."""
    understood = (f"understood, but not done: {', '.join(mistake.understood)}",) if mistake.understood else ()
    return (*mistake.problems, *understood, f"for example: {mistake.example}")
