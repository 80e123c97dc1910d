"""A mail that opens a ticket: its severity and deadlines, its incident, the acknowledgement and the alerts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from supportd import failpoint, steering
from supportd.arrival import Arrival
from supportd.core import commands, forwards, incidents, severity, sla, threads
from supportd.core.commands import Verb
from supportd.core.explain import explain
from supportd.core.model import DEFAULT_LEVEL, Address, Attachment, Event, EventKind, Rating, Ticket
from supportd.core.safeguarding import tells_of_harm
from supportd.core.sender import Level
from supportd.core.threads import NewLinked, Placement
from supportd.core.tokens import Role
from supportd.db import ledger, letters, tickets
from supportd.post import Post
from supportd.steering import DAEMON, Actor

# The second alert of an incident carries the count, after this long.
_INCIDENT_COUNT_AFTER = timedelta(minutes=3)
# An automatic answer without any marker comes within minutes of our letter; an hour allows for slow mail.
_ECHO_WITHIN = timedelta(hours=1)


def open_ticket(post: Post, arrival: Arrival, placement: Placement) -> Ticket:
    """Open a ticket for the mail, with its events and letters, and return it."""
    mail, row = arrival.mail, arrival.row
    ticket, clocks = _enter(
        post,
        steering.actor_of(post, arrival.author),
        subject=arrival.subject,
        requester=arrival.author,
        text=arrival.text,
        rating=arrival.rating,
        received_at=row.received_at,
        automatic=arrival.screening.automatic,
        verified=arrival.standing.level >= Level.VERIFIED,
        participants=participants(post, arrival),
        attachments=mail.attachments,
        origin_message_id=mail.message_id,
        origin_references=mail.references,
        message_id=row.id,
        details={"sender": arrival.sender},
    )
    if isinstance(placement, NewLinked):
        linked = steering.load(post, placement.linked)
        steering.record(post, ticket, EventKind.LINKED, DAEMON, details={"ticket": linked.reference})
    ticket = replace(ticket, incident=_gather(post, ticket))
    if not _pass_on(post, arrival, ticket):
        _acknowledge(post, arrival, ticket)
    failpoint.hit("decide.acknowledged")
    if not row.silent:
        _alert(post, ticket, clocks, mail.attachments, warnings=(placement.alarm,) if placement.alarm else ())
    return ticket


def open_by_hand(post: Post, actor: Actor, requester: Address, subject: str, text: str) -> Ticket:
    """Open a ticket for somebody who rang or came by, and return it; one of the school's people is acknowledged."""
    ticket, clocks = _enter(
        post,
        actor,
        subject=subject,
        requester=requester,
        text=text,
        rating=severity.rate(subject, text, requester.address, post.desk.keywords, automatic=False),
        received_at=post.now,
        participants=(requester.address,),
    )
    ticket = replace(ticket, incident=_gather(post, ticket))
    if requester.domain in post.desk.staff_domains:
        steering.acknowledge(post, ticket)
    _alert(post, ticket, clocks, ())
    return steering.load(post, ticket.id)


def _enter(
    post: Post,
    actor: Actor,
    *,
    subject: str,
    requester: Address,
    text: str,
    rating: Rating,
    received_at: datetime,
    automatic: bool = False,
    verified: bool = True,
    participants: Iterable[str] = (),
    attachments: Sequence[Attachment] = (),
    origin_message_id: str | None = None,
    origin_references: Sequence[str] = (),
    message_id: int | None = None,
    details: Mapping[str, str] | None = None,
) -> tuple[Ticket, sla.Clocks]:
    """Enter a new ticket under the next reference with its first two events, and return it with its clocks."""
    history = sla.History(received_at=received_at, level=rating.level)
    clocks = sla.clocks(history, post.desk.policy, post.desk.hours, post.now)
    ticket_id = tickets.open_ticket(
        post.connection,
        mailbox_id=post.mailbox_id,
        reference=tickets.next_reference(post.connection, post.desk.mailbox.reference),
        subject=subject,
        requester=requester,
        text=text,
        rating=rating,
        deadlines=clocks.deadlines,
        received_at=received_at,
        next_check_at=post.now,
        automatic=automatic,
        verified=verified,
        restricted=bool(tells_of_harm(f"{subject}\n{text}", post.desk.harm)),
        participants=participants,
        origin_message_id=origin_message_id,
        origin_references=origin_references,
    )
    failpoint.hit("decide.opened")
    tickets.write_clocks(post.connection, ticket_id, clocks.all, is_new=True)
    told = tuple((details or {}).items())
    received = Event(kind=EventKind.RECEIVED, at=post.now, by=actor.address, way=actor.way, text=text, details=told)
    number = tickets.append(post.connection, ticket_id, received, message_id=message_id)
    tickets.attach(post.connection, ticket_id, number, attachments)
    ticket = steering.load(post, ticket_id)
    steering.record(post, ticket, EventKind.RATED, DAEMON, details={"level": str(rating.level), "row": rating.row})
    if ticket.restricted:
        tell_designated(post, ticket)
    return ticket, clocks


def _pass_on(post: Post, arrival: Arrival, ticket: Ticket) -> bool:
    """Give a ticket that a technician passed on to the one who wrote it; return whether that was done.

    He names the requester (``#for``), or the mail holds one original whose author is clear.  With a profile he is
    proved, and obeyed; under ``none`` he is asked once, and his reply, which carries our token, is the proof.
    """
    # Unproved, his words go to nobody, not even back to him; and no yes can be believed before the border is.
    if not arrival.standing.claims_technician or arrival.standing.level < Level.MEMBER or not arrival.trust.may_command:
        return False
    read = commands.read(arrival.mail.new_text, steering.vocabulary(post, arrival.author.address))
    named = (
        next((one.value for one in read.commands if one.verb is Verb.FOR), None)
        if isinstance(read, commands.Read)
        else None
    )
    ours = {*post.desk.technician_addresses, *post.desk.own_addresses, post.desk.it_inbox or ""}
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
        lambda envelope: post.composer.confirmation(envelope, commands=(asked,), subject=ticket.subject),
        ticket=ticket,
        in_reply_to=arrival.mail.message_id or "",
    )
    return False


def tell_designated(post: Post, ticket: Ticket) -> None:
    """Give the designated people the reference alone: what it says is read where it is kept."""
    for recipient in post.desk.designated:
        post.to_technician(
            "notice",
            f"restricted:{ticket.reference}",
            recipient,
            lambda envelope: post.composer.notice(
                envelope,
                title=f"{ticket.reference} may concern safeguarding",
                lines=("Nobody else is shown what it says.", f"Read it with: supportd ticket show {ticket.reference}"),
            ),
            role=Role.READER,
        )


def participants(post: Post, arrival: Arrival) -> list[str]:
    """Return who takes part: the sender and, of a believed one, the staff addresses that he copied in."""
    ours = (*post.desk.own_addresses, post.desk.it_inbox or "")
    copied = threads.copied_in(arrival.mail, arrival.standing.level, arrival.trust, ours)
    return [arrival.author.address, *copied] if arrival.author.address else list(copied)


def _acknowledge(post: Post, arrival: Arrival, ticket: Ticket) -> None:
    """Answer the requester at once, unless a machine, an unproved outsider or a silent import wrote."""
    may_answer = (
        arrival.standing.level >= Level.VERIFIED
        and not arrival.screening.automatic
        and not arrival.row.silent
        and ticket.requester.address
    )
    if may_answer and tickets.has_said_before(post.connection, ticket, post.now - _ECHO_WITHIN):
        words = "not acknowledged: the same words came before within the hour, as an automatic answer sends them"
        steering.record(post, ticket, EventKind.NOTED, DAEMON, text=words)
    elif may_answer:
        steering.acknowledge(post, ticket, outsider=arrival.standing.level < Level.MEMBER)


def _alert(
    post: Post,
    ticket: Ticket,
    clocks: sla.Clocks,
    attachments: Sequence[Attachment],
    warnings: Sequence[str] = (),
) -> None:
    """Tell the technicians: levels 1 to 3 at once, 4 to 6 quietly and while the service is open."""
    if ticket.incident is not None:
        # The first report's alert has gone; one more with the count follows, once for the incident.
        for recipient in post.serious_recipients():
            letters.note(
                post.connection,
                key=f"incident:{ticket.incident}:{recipient}",
                mailbox_id=post.mailbox_id,
                kind="incident",
                ticket_id=ticket.id,
                recipient=recipient,
                due_at=post.now + _INCIDENT_COUNT_AFTER,
            )
        return
    is_open = post.desk.hours.is_open(post.now)
    is_serious = ticket.level <= 3
    recipients: Sequence[str] = post.serious_recipients() if is_serious else post.quiet_recipients()
    if is_serious and not is_open:
        recipients = tuple(dict.fromkeys((*recipients, *post.desk.on_call)))
    explained = explain(clocks, post.desk.policy, post.desk.hours, post.now)
    for recipient in recipients:
        due_at = _fold_until(post, recipient, is_serious)
        if due_at is None and not is_serious and not is_open:
            # At the next opening; when the calendar ends first, the digest's warning has said so for 60 days.
            due_at = post.desk.hours.next_open(post.now) or post.now
        if due_at is not None:
            letters.note(
                post.connection,
                key=f"alert:{ticket.reference}:{recipient}",
                mailbox_id=post.mailbox_id,
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
            lambda envelope: post.composer.alert(
                envelope, ticket, explanation=explained, warnings=warnings, attachments=attachments
            ),
            ticket=ticket,
        )


def _fold_until(post: Post, recipient: str, is_serious: bool) -> datetime | None:
    """Return until when an alert is held so that many fold into one, or None when it goes by itself."""
    recent = letters.queued_since(
        post.connection, post.now - timedelta(minutes=10), recipient=recipient, kinds=("alert", "alerts")
    )
    if recent < post.desk.limits.alerts_10_minutes:
        return None
    # A serious one among many still comes soon; quiet ones wait for the ten minutes to pass.
    return post.now + timedelta(minutes=1 if is_serious else 10)


def _gather(post: Post, ticket: Ticket) -> int | None:
    """Return the incident that the new ticket is one more report of, opened if this is the second."""
    if ticket.level > 3 or not ticket.service:
        return None
    recent = tickets.gathering(
        post.connection,
        post.mailbox_id,
        ticket.received_at - incidents.NEAR,
        incidents.same_services(ticket.service),
        post.desk.level_names,
    )
    gathering = incidents.gathers(ticket, recent)
    if gathering is None:
        return None
    incident = gathering.incident or tickets.open_incident(
        post.connection,
        post.mailbox_id,
        service=ticket.service,
        now=post.now,
        news_due=steering.next_news_at(post),
    )
    gathered = {*gathering.tickets, ticket.id}
    for member in recent:
        if member.id in gathered and member.incident != incident:
            tickets.change(post.connection, member.id, incident_id=incident)
            steering.record(post, member, EventKind.GATHERED, DAEMON, details={"incident": str(incident)})
    return incident


def flood(post: Post, arrival: Arrival) -> tuple[str, int | None] | None:
    """Return which cap an outsider is over and the hour's one flood ticket, or None; staff have no such cap."""
    reason = _over_cap(post, arrival)
    if reason is None:
        return None
    hour = f"{post.now:%m-%dT%H}"
    if not tickets.reserve_slot(post.connection, post.mailbox_id, "flood", hour, post.now, "opened"):
        return reason, None
    ticket, clocks = _enter(
        post,
        DAEMON,
        subject="Flood of mail from outside",
        requester=Address(address=post.desk.mailbox.address),
        text=f"{reason}. What comes beyond it is screened; see: supportd quarantine list --screened",
        rating=Rating(level=DEFAULT_LEVEL, name=post.desk.level_names[DEFAULT_LEVEL], row="flood"),
        received_at=arrival.row.received_at,
        automatic=True,
    )
    _alert(post, ticket, clocks, ())
    return reason, ticket.id


def _over_cap(post: Post, arrival: Arrival) -> str | None:
    """Return which cap an outsider is over, or None."""
    if arrival.standing.level >= Level.MEMBER or arrival.author.domain in post.desk.staff_domains:
        return None
    limits, since = post.desk.limits, post.now - timedelta(hours=1)
    address, domain = arrival.author.address, arrival.author.domain

    def count(**of: str) -> int:
        return ledger.outsiders_since(
            post.connection, post.mailbox_id, since, staff_domains=post.desk.staff_domains, **of
        )

    if address and count(address=address) >= limits.outsider_address_hour:
        return f"more than {limits.outsider_address_hour} tickets an hour from one address outside"
    if domain and count(domain=domain) >= limits.outsider_domain_hour:
        return f"more than {limits.outsider_domain_hour} tickets an hour from one domain outside"
    if count() >= limits.outsiders_hour:
        return f"more than {limits.outsiders_hour} tickets an hour from outside"
    return None
