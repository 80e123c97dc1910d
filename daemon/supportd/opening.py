"""A mail that opens a ticket: its severity and deadlines, its incident, the acknowledgement and the alerts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from supportd import failpoint, steering
from supportd.arrival import Arrival
from supportd.core import commands, forwards, incidents, sla, threads
from supportd.core.commands import Verb
from supportd.core.explain import explain
from supportd.core.model import DEFAULT_LEVEL, Address, Event, EventKind, Rating, Ticket
from supportd.core.sender import Level
from supportd.core.threads import NewLinked, Placement
from supportd.db import ledger, letters, tickets
from supportd.post import Post
from supportd.steering import DAEMON

# The second alert of an incident carries the count, after this long.
_INCIDENT_COUNT_AFTER = timedelta(minutes=3)


def open_ticket(post: Post, arrival: Arrival, placement: Placement) -> Ticket:
    """Open a ticket for the mail, with its events and letters, and return it."""
    mail, row = arrival.mail, arrival.row
    history = sla.History(received_at=row.received_at, level=arrival.rating.level)
    clocks = sla.clocks(history, post.desk.policy, post.desk.hours, post.now)
    is_verified = arrival.standing.level >= Level.VERIFIED
    reference = tickets.next_reference(post.connection, post.desk.mailbox.reference)
    ticket_id = tickets.open_ticket(
        post.connection,
        mailbox_id=post.mailbox_id,
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
        participants=participants(post, arrival),
        origin_message_id=mail.message_id,
        origin_references=mail.references,
    )
    failpoint.hit("decide.opened")
    tickets.write_clocks(post.connection, ticket_id, clocks.all, is_new=True)
    author = steering.actor_of(post, arrival.author)
    received = Event(kind=EventKind.RECEIVED, at=post.now, by=author.address, way=author.way, text=arrival.text)
    number = tickets.append(post.connection, ticket_id, received, message_id=row.id)
    tickets.attach(post.connection, ticket_id, number, mail.attachments)
    ticket = steering.load(post, ticket_id)
    rated = {"level": str(arrival.rating.level), "row": arrival.rating.row}
    steering.record(post, ticket, EventKind.RATED, DAEMON, details=rated)
    if isinstance(placement, NewLinked):
        linked = steering.load(post, placement.linked)
        steering.record(post, ticket, EventKind.LINKED, DAEMON, details={"ticket": linked.reference})
    incident = _gather(post, ticket)
    ticket = replace(ticket, incident=incident)
    if not _pass_on(post, arrival, ticket):
        _acknowledge(post, arrival, ticket)
    failpoint.hit("decide.acknowledged")
    if not row.silent:
        _alert(post, arrival, ticket, clocks)
    return ticket


def _pass_on(post: Post, arrival: Arrival, ticket: Ticket) -> bool:
    """Give a ticket that a technician passed on to the one who wrote it; return whether that was done.

    He names the requester (``#for``), or the mail holds one original whose author is clear.  With a profile he is
    proved, and obeyed; under ``none`` he is asked once, and his reply, which carries our token, is the proof.
    """
    if not arrival.standing.claims_technician:
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


def participants(post: Post, arrival: Arrival) -> list[str]:
    """Return who takes part: the sender and, of a believed one, the staff addresses that he copied in."""
    ours = (*post.desk.own_addresses, post.desk.it_inbox or "")
    copied = threads.copied_in(arrival.mail, arrival.standing.level, post.desk.sender_trust, ours)
    return [arrival.author.address, *copied] if arrival.author.address else list(copied)


def _acknowledge(post: Post, arrival: Arrival, ticket: Ticket) -> None:
    """Answer the requester at once, unless a machine, an unproved outsider or a silent import wrote."""
    may_answer = (
        arrival.standing.level >= Level.VERIFIED
        and not arrival.screening.automatic
        and not arrival.row.silent
        and ticket.requester.address
    )
    if may_answer:
        steering.acknowledge(post, ticket, outsider=arrival.standing.level < Level.MEMBER)


def _alert(post: Post, arrival: Arrival, ticket: Ticket, clocks: sla.Clocks) -> None:
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
                envelope, ticket, explanation=explained, attachments=arrival.mail.attachments
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
    history = sla.History(received_at=arrival.row.received_at, level=DEFAULT_LEVEL)
    clocks = sla.clocks(history, post.desk.policy, post.desk.hours, post.now)
    ticket_id = tickets.open_ticket(
        post.connection,
        mailbox_id=post.mailbox_id,
        reference=tickets.next_reference(post.connection, post.desk.mailbox.reference),
        subject="Flood of mail from outside",
        requester=Address(address=post.desk.mailbox.address),
        text=f"{reason}. What comes beyond it is screened; see: supportd quarantine list --screened",
        rating=Rating(level=DEFAULT_LEVEL, name=post.desk.level_names[DEFAULT_LEVEL], row="flood"),
        deadlines=clocks.deadlines,
        received_at=arrival.row.received_at,
        next_check_at=post.now,
        automatic=True,
        verified=True,
        restricted=False,
        participants=(),
        origin_message_id=None,
        origin_references=(),
    )
    tickets.write_clocks(post.connection, ticket_id, clocks.all)
    ticket = steering.load(post, ticket_id)
    steering.record(post, ticket, EventKind.RECEIVED, DAEMON, text=ticket.text)
    steering.record(post, ticket, EventKind.RATED, DAEMON, details={"level": str(DEFAULT_LEVEL), "row": "flood"})
    _alert(post, arrival, ticket, clocks)
    return reason, ticket_id


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
