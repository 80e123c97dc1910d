"""What can be done to a ticket, by a technician's mail, from the shell, or by the daemon: one function an act.

Each act appends events that say who, when and by which way, brings the ticket's row up to date and queues the letters
that follow, all in the caller's transaction.  Whoever asks, the same code runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from supportd.compose import Incident
from supportd.core import sla
from supportd.core.commands import Command, Verb, Vocabulary
from supportd.core.explain import explain
from supportd.core.hours import CalendarEnds
from supportd.core.model import Address, Attachment, Deadlines, Event, EventKind, Status, Ticket
from supportd.db import tickets
from supportd.errors import UserError
from supportd.post import Post

LIVE = tickets.LIVE
# behaviour.md: next news of an incident by default 30 service minutes ahead.
NEWS_AFTER = timedelta(minutes=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts, and by which way: mail, shell or daemon.  *name* is what the requester may read."""

    address: str
    name: str = ""
    way: str = "mail"


DAEMON = Actor(address="supportd", way="daemon")


def load(post: Post, ticket_id: int) -> Ticket:
    """Return the ticket as it stands in this transaction."""
    return tickets.load(post.connection, ticket_id, post.desk.level_names)


def record(
    post: Post,
    ticket: Ticket,
    kind: EventKind,
    actor: Actor,
    *,
    text: str = "",
    details: Mapping[str, str] | None = None,
    message_id: int | None = None,
    at: datetime | None = None,
) -> int:
    """Append one event to the ticket and return its number; it happened at *at*, by default now."""
    told = tuple((details or {}).items())
    one = Event(kind=kind, at=at or post.now, by=actor.address, way=actor.way, text=text, details=told)
    return tickets.append(post.connection, ticket.id, one, message_id=message_id)


def apply(post: Post, ticket: Ticket, command: Command, actor: Actor, *, text: str = "") -> Ticket:
    """Do what *command* asks and return the ticket as it stands then; *text* is what the mail says below it.

    Raises:
        UserError: it cannot be done to this ticket; nothing was written for this command.
    """
    match command.verb:
        case Verb.ACK:
            take(post, ticket, actor)
        case Verb.ASSIGN:
            assign(post, ticket, actor, command.value)
        case Verb.SEVERITY:
            correct(post, ticket, actor, int(command.value))
        case Verb.WAIT:
            wait(post, ticket, actor)
        case Verb.NOTE:
            note(post, ticket, actor, "\n\n".join(part for part in (command.value, text) if part))
        case Verb.RESOLVE:
            resolve(post, ticket, actor, text)
        case Verb.CLOSE:
            close(post, ticket, actor)
        case Verb.REOPEN:
            reopen(post, ticket, actor)
        case Verb.MERGE:
            merge(post, ticket, actor, command.value)
        case Verb.SPAM:
            spam(post, ticket, actor)
        case Verb.FOR:
            hand_to(post, ticket, actor, command.value)
        case Verb.STATUS:
            announce(post, ticket, actor, command.value)
        case Verb.HELP:
            post.to_technician("help", f"help:{ticket.reference}:{post.now.isoformat()}", actor.address,
                               lambda envelope: post.composer.help(envelope, ticket), ticket=ticket)
    return load(post, ticket.id)


def take(post: Post, ticket: Ticket, actor: Actor) -> None:
    """Acknowledge the ticket as a person: the response clock stops and, if it was nobody's, it becomes the actor's."""
    _refuse_ended(ticket, "acknowledged")
    record(post, ticket, EventKind.TAKEN, actor)
    assignee = ticket.assignee or _technician_address(post, actor.address)
    tickets.change(post.connection, ticket.id, assignee=assignee, status=_at_least_open(ticket))
    recount(post, ticket.id)


def assign(post: Post, ticket: Ticket, actor: Actor, technician: str) -> None:
    """Hand the ticket to *technician* (an address), who is told."""
    _refuse_ended(ticket, "assigned")
    record(post, ticket, EventKind.ASSIGNED, actor, details={"technician": technician})
    tickets.change(post.connection, ticket.id, assignee=technician, status=_at_least_open(ticket))
    recount(post, ticket.id)
    if technician != actor.address:
        assigned = load(post, ticket.id)
        key = f"assigned:{ticket.reference}:{post.now.isoformat()}"
        post.to_technician(
            "alert", key, technician,
            lambda envelope: post.composer.alert(envelope, assigned, explanation=explanation(post, assigned)),
            ticket=assigned,
        )


def correct(post: Post, ticket: Ticket, actor: Actor, level: int, *, text: str = "") -> None:
    """Change the severity: clocks that still run are counted anew, and a later promise is corrected once."""
    if level == ticket.level:
        raise UserError(f"{ticket.reference} is at level {level} {ticket.level_name} already")
    record(post, ticket, EventKind.CORRECTED, actor, text=text, details={"level": str(level), "was": str(ticket.level)})
    tickets.change(post.connection, ticket.id, level=level)
    recount(post, ticket.id)
    tell_if_later(post, ticket.id, "we looked at it again and changed how serious we take it to be")


def vocabulary(post: Post, writer: str) -> Vocabulary:
    """Return the names that arguments of *writer*'s commands may use at this desk."""
    return Vocabulary(
        levels={name: level for level, name in post.desk.level_names.items()},
        technicians=tuple(Address(address=one.address, name=one.name) for one in post.desk.technicians),
        writer=writer,
        prefix=post.desk.mailbox.reference,
    )


def closes_at(post: Post, resolved_at: datetime) -> datetime | None:
    """Return when a ticket resolved at *resolved_at* closes by itself; None where the calendar ends first."""
    try:
        return post.desk.hours.add_business_days(resolved_at, post.desk.close_after_business_days)
    except CalendarEnds:
        return None


def recount_all(post: Post, reason: str) -> int:
    """Count every live ticket anew after a change of calendar or policy, correct later promises, return how many."""
    live = tickets.live(post.connection, post.mailbox_id, post.desk.level_names)
    for ticket in live:
        recount(post, ticket.id)
        tell_if_later(post, ticket.id, reason)
    return len(live)


def wait(post: Post, ticket: Ticket, actor: Actor) -> None:
    """Let the ticket wait on its requester: the resolution clock stands still."""
    if ticket.status is Status.WAITING:
        raise UserError(f"{ticket.reference} is waiting already")
    _refuse_ended(ticket, "set to waiting")
    record(post, ticket, EventKind.WAITING, actor)
    tickets.change(post.connection, ticket.id, status=Status.WAITING, waiting_since=post.now)
    recount(post, ticket.id)


def resume(post: Post, ticket: Ticket, actor: Actor) -> None:
    """Let the resolution clock of a waiting ticket run again."""
    record(post, ticket, EventKind.RESUMED, actor)
    tickets.change(post.connection, ticket.id, status=Status.OPEN, waiting_since=None)
    recount(post, ticket.id)


def note(post: Post, ticket: Ticket, actor: Actor, text: str, *, message_id: int | None = None) -> int:
    """Keep an internal note."""
    return record(post, ticket, EventKind.NOTED, actor, text=text, message_id=message_id)


def answer(
    post: Post,
    ticket: Ticket,
    actor: Actor,
    text: str,
    *,
    attachments: Sequence[Attachment] = (),
    message_id: int | None = None,
) -> None:
    """Send a technician's words to the requester and the colleagues who take part: the response."""
    number = record(post, ticket, EventKind.ANSWERED, actor, text=text, message_id=message_id)
    tickets.attach(post.connection, ticket.id, number, attachments)
    status = Status.OPEN if ticket.status is Status.NEW else ticket.status
    assignee = ticket.assignee or _technician_address(post, actor.address)
    tickets.change(post.connection, ticket.id, status=status, assignee=assignee)
    recount(post, ticket.id)
    for recipient in _readers(ticket, actor):
        post.to_requester(
            "answer",
            f"answer:{ticket.reference}:{number}",
            ticket,
            lambda envelope: post.composer.answer(
                envelope, ticket, author=actor.name, text=text, attachments=attachments
            ),
            recipient=recipient,
            capped=False,
        )


def resolve(post: Post, ticket: Ticket, actor: Actor, text: str) -> None:
    """Resolve the ticket and, with it, every live one of its incident: everyone who reported it is answered at once."""
    if ticket.status in (Status.RESOLVED, Status.CLOSED):
        raise UserError(f"{ticket.reference} is {ticket.status} already")
    resolve_one(post, ticket, actor, text)
    if ticket.incident is None:
        return
    for other in tickets.of_incident(post.connection, ticket.incident, post.desk.level_names):
        if other.id != ticket.id and other.status in LIVE:
            resolve_one(post, other, actor, text)
    tickets.change_incident(post.connection, ticket.incident, closed_at=post.now, news_due=None)


def resolve_one(post: Post, ticket: Ticket, actor: Actor, text: str) -> None:
    """Resolve this ticket alone, which meets both clocks; the requester and who takes part are told what was done."""
    if ticket.status is Status.WAITING:
        record(post, ticket, EventKind.RESUMED, actor)
    number = record(post, ticket, EventKind.RESOLVED, actor, text=text)
    assignee = ticket.assignee or _technician_address(post, actor.address)
    tickets.change(
        post.connection, ticket.id, status=Status.RESOLVED, resolved_at=post.now, waiting_since=None, assignee=assignee
    )
    recount(post, ticket.id)
    if ticket.automatic:
        return
    for recipient in _readers(ticket, actor):
        post.to_requester(
            "resolution",
            f"resolution:{ticket.reference}:{number}",
            ticket,
            lambda envelope: post.composer.resolution(
                envelope, ticket, text=text, author=actor.name, closes_at=closes_at(post, post.now)
            ),
            recipient=recipient,
            capped=False,
        )


def close(post: Post, ticket: Ticket, actor: Actor) -> None:
    """Close the ticket; a later reply opens a new one that links to it."""
    if ticket.status is Status.CLOSED:
        raise UserError(f"{ticket.reference} is closed already")
    record(post, ticket, EventKind.CLOSED, actor)
    tickets.change(post.connection, ticket.id, status=Status.CLOSED, closed_at=post.now, waiting_since=None)
    recount(post, ticket.id)
    if ticket.status is not Status.RESOLVED and not ticket.automatic and ticket.verified:
        # Who was told that it is solved need not hear that it is closed.
        post.to_requester(
            "closing",
            f"closing:{ticket.reference}:{post.now.isoformat()}",
            ticket,
            lambda envelope: post.composer.closing(envelope, ticket),
        )


def reopen(post: Post, ticket: Ticket, actor: Actor, *, text: str = "") -> None:
    """Open a resolved or closed ticket again, with a fresh resolution target from now."""
    if ticket.status in LIVE:
        raise UserError(f"{ticket.reference} is {ticket.status}: it need not be reopened")
    record(post, ticket, EventKind.REOPENED, actor, text=text)
    tickets.change(post.connection, ticket.id, status=Status.OPEN, resolved_at=None, closed_at=None)
    recount(post, ticket.id)


def merge(post: Post, ticket: Ticket, actor: Actor, reference: str) -> None:
    """Join the ticket to another: its people take part there, its replies go there, and it is closed."""
    target_id = tickets.id_of(post.connection, reference)
    if target_id is None:
        raise UserError(f"there is no ticket {reference}")
    target = load(post, target_id)
    if target.id == ticket.id or target.merged_into == ticket.id:
        raise UserError(f"{ticket.reference} cannot be merged into itself")
    if target.mailbox != ticket.mailbox:
        raise UserError(f"{reference} belongs to another mailbox")
    record(post, ticket, EventKind.MERGED, actor, details={"into": target.reference})
    record(post, target, EventKind.LINKED, actor, details={"ticket": ticket.reference})
    tickets.add_participants(post.connection, target.id, (ticket.requester.address, *ticket.participants))
    tickets.change(
        post.connection, ticket.id, status=Status.CLOSED, closed_at=post.now, merged_into=target.id, waiting_since=None
    )
    recount(post, ticket.id)


def spam(post: Post, ticket: Ticket, actor: Actor) -> None:
    """Put the ticket away as no call for help: closed, and out of every report."""
    record(post, ticket, EventKind.SPAM, actor)
    tickets.change(
        post.connection, ticket.id, status=Status.CLOSED, closed_at=post.now, spam=True, waiting_since=None
    )
    recount(post, ticket.id)


def hand_to(post: Post, ticket: Ticket, actor: Actor, address: str, *, name: str = "") -> None:
    """Make *address* the requester of the ticket; one of the school's people is acknowledged as any other."""
    if address == ticket.requester.address:
        raise UserError(f"{ticket.reference} is {address}'s already")
    record(post, ticket, EventKind.NOTED, actor, text=f"the requester is {address}, not {ticket.requester.address}")
    tickets.change(post.connection, ticket.id, requester=address, requester_name=name)
    tickets.add_participants(post.connection, ticket.id, (address,))
    handed = load(post, ticket.id)
    if handed.requester.domain in post.desk.staff_domains:
        acknowledge(post, handed)


def acknowledge(post: Post, ticket: Ticket, *, outsider: bool = False) -> None:
    """Tell the requester that we have it, and record what she was promised."""
    if tickets.has_bounced(post.connection, post.mailbox_id, ticket.requester.address):
        return
    incident = incident_view(post, ticket)
    is_told = post.to_requester(
        "acknowledgement",
        f"acknowledgement:{ticket.reference}",
        ticket,
        lambda envelope: post.composer.acknowledgement(envelope, ticket, incident=incident, outsider=outsider),
    )
    if is_told:
        promise(post, ticket)


def announce(post: Post, ticket: Ticket, actor: Actor, text: str) -> None:
    """Publish news: on the ticket's incident, whose reporters all get it, or to the one requester."""
    record(post, ticket, EventKind.STATUS, actor, text=text)
    members = [ticket]
    if ticket.incident is not None:
        tickets.change_incident(post.connection, ticket.incident, status_text=text, news_due=next_news_at(post))
        members = tickets.of_incident(post.connection, ticket.incident, post.desk.level_names)
    for member in members:
        view = incident_view(post, member) or Incident(
            service=member.service, reports=1, since=member.received_at, news=text
        )
        if member.status in LIVE and not member.automatic and member.verified:
            post.to_requester(
                "news",
                f"news:{member.reference}:{post.now.isoformat()}",
                member,
                partial(post.composer.news, ticket=member, incident=view),
                capped=False,
            )


def split(post: Post, ticket: Ticket, actor: Actor) -> None:
    """Take the ticket out of its incident."""
    if ticket.incident is None:
        raise UserError(f"{ticket.reference} belongs to no incident")
    record(post, ticket, EventKind.GATHERED, actor, details={"incident": ""})
    tickets.change(post.connection, ticket.id, incident_id=None)


def join(post: Post, ticket: Ticket, actor: Actor, reference: str) -> None:
    """Gather the ticket under the incident of the ticket *reference*, which opens one when it has none."""
    other_id = tickets.id_of(post.connection, reference)
    if other_id is None or other_id == ticket.id:
        raise UserError(f"there is no other ticket {reference}")
    other = load(post, other_id)
    if other.mailbox != ticket.mailbox:
        raise UserError(f"{reference} belongs to another mailbox")
    incident = other.incident or tickets.open_incident(
        post.connection, post.mailbox_id, service=other.service, now=post.now, news_due=next_news_at(post)
    )
    for member in (other, ticket):
        if member.incident != incident:
            record(post, member, EventKind.GATHERED, actor, details={"incident": str(incident)})
            tickets.change(post.connection, member.id, incident_id=incident)


def clocks(post: Post, ticket: Ticket) -> sla.Clocks:
    """Return both clocks of the ticket, counted from its events."""
    past = tickets.history_of(ticket.received_at, ticket.level, tickets.events(post.connection, ticket.id))
    return sla.clocks(past, post.desk.policy, post.desk.hours, post.now)


def recount(post: Post, ticket_id: int) -> None:
    """Bring deadlines, outcomes and the next look at the ticket up to date with its events."""
    ticket = load(post, ticket_id)
    counted = clocks(post, ticket)
    deadlines = counted.deadlines
    tickets.write_clocks(post.connection, ticket_id, counted.all)
    first_response = next((clock for clock in counted.all if clock.kind is sla.Kind.RESPONSE), None)
    tickets.change(
        post.connection,
        ticket_id,
        response_due=deadlines.response_due,
        resolution_due=deadlines.resolution_due,
        due_reason=deadlines.reason,
        responded_at=first_response.met_at if first_response is not None else None,
        next_check_at=None if ticket.status is Status.CLOSED else post.now,
    )


def promise(post: Post, ticket: Ticket) -> int:
    """Record what the requester was told: the deadlines in force now."""
    dues = {"response_due": ticket.response_due, "resolution_due": ticket.resolution_due}
    details = {name: at.isoformat() for name, at in dues.items() if at is not None}
    if ticket.due_reason:
        details["unknown"] = ticket.due_reason
    return record(post, ticket, EventKind.PROMISED, DAEMON, details=details)


def promised(post: Post, ticket: Ticket) -> Deadlines | None:
    """Return what the requester was told last (*reason*: that it is not known yet), or None for nothing."""
    told = [one for one in tickets.events(post.connection, ticket.id) if one.kind is EventKind.PROMISED]
    if not told:
        return None
    response, resolution = told[-1].detail("response_due"), told[-1].detail("resolution_due")
    return Deadlines(
        response_due=datetime.fromisoformat(response) if response else None,
        resolution_due=datetime.fromisoformat(resolution) if resolution else None,
        reason=told[-1].detail("unknown") or None,
    )


def tell_if_later(post: Post, ticket_id: int, reason: str) -> None:
    """Send the requester one correction when a running deadline is later than promised, or is known at last."""
    ticket = load(post, ticket_id)
    told = promised(post, ticket)
    if told is None or ticket.automatic:
        return
    pairs = (
        (told.response_due, ticket.response_due, ticket.responded_at),
        (told.resolution_due, ticket.resolution_due, ticket.resolved_at),
    )
    is_later = any(was is not None and met is None and (due is None or due > was) for was, due, met in pairs)
    is_known_at_last = told.reason is not None and ticket.due_reason is None
    if not is_later and not is_known_at_last:
        return
    number = promise(post, ticket)
    post.to_requester(
        "correction",
        f"correction:{ticket.reference}:{number}",
        ticket,
        lambda envelope: post.composer.correction(envelope, ticket, promised=told, reason=reason),
    )


def standing(post: Post, ticket: Ticket) -> tuple[str, ...]:
    """Return how the ticket stands, as lines for its requester."""
    zone = post.desk.hours.zone

    def when(at: datetime) -> str:
        return at.astimezone(zone).strftime("%A %d %B, %H:%M")

    lines = [f"It is {ticket.status}."]
    if ticket.responded_at is None and ticket.response_due is not None:
        lines.append(f"We answer by {when(ticket.response_due)}.")
    if ticket.resolution_due is not None and ticket.status is not Status.WAITING:
        lines.append(f"It should be fixed by {when(ticket.resolution_due)}.")
    if ticket.status is Status.WAITING:
        lines.append("We are waiting for your answer.")
    return tuple(lines)


def explanation(post: Post, ticket: Ticket) -> tuple[str, ...]:
    """Return the deadline of the ticket as lines that a person can follow with a finger on the calendar."""
    return explain(clocks(post, ticket), post.desk.policy, post.desk.hours, post.now)


def next_news_at(post: Post) -> datetime:
    """Return when there is news of an incident next: half an hour of service time ahead, or when the service opens."""
    try:
        return post.desk.hours.add(post.now, NEWS_AFTER)
    except CalendarEnds:
        return post.now + NEWS_AFTER


def incident_view(post: Post, ticket: Ticket) -> Incident | None:
    """Return the incident that the ticket is gathered under as the letters show it."""
    if ticket.incident is None:
        return None
    row = tickets.load_incident(post.connection, ticket.incident)
    return Incident(
        service=row.service, reports=row.reports, since=row.opened_at, news=row.news, next_news_at=row.news_due
    )


def actor_of(post: Post, address: Address, way: str = "mail") -> Actor:
    """Return *address* as an actor, under the name that the configuration gives a technician."""
    known = {technician.address: technician.name for technician in post.desk.technicians}
    return Actor(address=address.address, name=known.get(address.address, address.name), way=way)


def _readers(ticket: Ticket, actor: Actor) -> tuple[str, ...]:
    """Return who gets what the actor wrote: the requester first, then who takes part; never the actor himself."""
    people = dict.fromkeys((ticket.requester.address, *ticket.participants))
    return tuple(person for person in people if person and person != actor.address)


def _technician_address(post: Post, address: str) -> str:
    return address if address in post.desk.technician_addresses else ""


def _at_least_open(ticket: Ticket) -> Status:
    return Status.OPEN if ticket.status is Status.NEW else ticket.status


def _refuse_ended(ticket: Ticket, what: str) -> None:
    if ticket.status in (Status.RESOLVED, Status.CLOSED):
        raise UserError(f"{ticket.reference} is {ticket.status} and cannot be {what}; reopen it first")
