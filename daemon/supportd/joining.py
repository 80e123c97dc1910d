"""A mail that joins a ticket: a technician's answer and commands, a requester's reply, a claim, a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from supportd import failpoint, steering
from supportd.arrival import Arrival
from supportd.core import commands, screen, threads, tokens
from supportd.core.commands import Verb
from supportd.core.model import Address, Event, EventKind, Status, Ticket, Verdict
from supportd.core.safeguarding import tells_of_harm
from supportd.core.sender import Level
from supportd.core.threads import Append
from supportd.core.tokens import Role
from supportd.db import tickets
from supportd.errors import UserError
from supportd.opening import participants, tell_designated
from supportd.post import Post
from supportd.steering import DAEMON, Actor

# Technicians who steered a ticket within this hear of each other's commands.
_LATELY = timedelta(hours=1)
# Who gives a command so soon after a colleague's has not seen what that one did.
_JUST_NOW = timedelta(minutes=5)
# What an event says in the words of the commands, and which of its details stands behind.
_ACTS = {
    EventKind.TAKEN: ("#ack", ""),
    EventKind.ASSIGNED: ("#assign", "technician"),
    EventKind.CORRECTED: ("#severity", "level"),
    EventKind.WAITING: ("#wait", ""),
    EventKind.NOTED: ("#note", ""),
    EventKind.RESOLVED: ("#resolve", ""),
    EventKind.CLOSED: ("#close", ""),
    EventKind.REOPENED: ("#reopen", ""),
    EventKind.MERGED: ("#merge", "into"),
    EventKind.STATUS: ("#status", ""),
    EventKind.ANSWERED: ("an answer", ""),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What became of a mail that joined *ticket*; *rule* names why it did less than its writer may have meant."""

    ticket: Ticket
    verdict: Verdict = Verdict.REPLY
    rule: str | None = None


def join(post: Post, arrival: Arrival, placement: Append) -> Joined:
    """Add the mail to the ticket of *placement*, do what it may ask for, and return what became of it."""
    failpoint.hit("decide.appending")
    ticket = steering.load(post, placement.ticket)
    author = steering.actor_of(post, arrival.author)
    if placement.held:
        sure = {"sender": arrival.sender}
        steering.record(
            post, ticket, EventKind.UNVERIFIED, author, text=arrival.text, details=sure, message_id=arrival.row.id
        )
        _tell_technicians_of_claim(post, ticket, arrival, placement)
        return Joined(ticket=ticket, rule="held")
    if placement.as_note:
        steering.note(post, ticket, author, arrival.text, message_id=arrival.row.id)
        _tell_of_note(post, ticket, arrival)
        return Joined(ticket=ticket, rule="note")
    if placement.role is Role.TECHNICIAN and placement.level is Level.COMMANDING:
        return _obey(post, arrival, ticket, author)
    _hear(post, arrival, ticket, author, reopens=placement.reopens)
    return Joined(ticket=ticket)


def _obey(post: Post, arrival: Arrival, ticket: Ticket, author: Actor) -> Joined:
    """Do what a proved technician asks; one mistake, and nothing is done or relayed."""
    vocabulary = steering.vocabulary(post, author.address)
    read = commands.read(arrival.mail.new_text, vocabulary)
    asked = _confirmed(post, arrival, ticket)
    if asked and commands.says_yes(arrival.mail.new_text):
        # He answers our question: its commands are his, and what he wrote with them goes to nobody.
        read = commands.read(asked, vocabulary)
    if isinstance(read, commands.Mistake):
        _answer_mistake(post, arrival, ticket, author, read)
        return Joined(ticket=ticket, verdict=Verdict.COMMAND, rule="mistake")
    before = tickets.events(post.connection, ticket.id)
    savepoint = post.connection.begin_nested()
    todo = list(read.commands)
    try:
        while todo:
            ticket = steering.apply(post, ticket, todo[0], author, text=read.text)
            del todo[0]
    except UserError as error:
        savepoint.rollback()
        mistake = commands.Mistake(
            understood=tuple(str(command) for command in read.commands if command != todo[0]),
            problems=error.problems,
            example=commands.HELP[todo[0].verb].example,
        )
        _answer_mistake(post, arrival, steering.load(post, ticket.id), author, mistake)
        return Joined(ticket=ticket, verdict=Verdict.COMMAND, rule="mistake")
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
        return Joined(ticket=ticket)
    _tell_colleagues(post, arrival, ticket, author, read, before)
    return Joined(ticket=ticket, verdict=Verdict.COMMAND)


def _confirmed(post: Post, arrival: Arrival, ticket: Ticket) -> str:
    """Return the commands of the question that this mail answers, or an empty text."""
    if not any(own.kind == "confirmation" and own.ticket == ticket.id for own in arrival.clues.own):
        return ""
    asked = [one for one in tickets.events(post.connection, ticket.id) if one.kind is EventKind.ASKED]
    return asked[-1].detail("commands") if asked else ""


def _tell_colleagues(
    post: Post, arrival: Arrival, ticket: Ticket, author: Actor, read: commands.Read, before: Sequence[Event]
) -> None:
    """Tell technicians who steered this ticket lately what was done now, and its author what they did just *before*."""

    def tell(recipient: str, key: str, title: str) -> None:
        post.to_technician(
            "notice",
            key,
            recipient,
            lambda envelope: post.composer.notice(
                envelope,
                ticket,
                title=title,
                lines=(f"The ticket is now {ticket.status}, level {ticket.level} {ticket.level_name}.",),
            ),
            ticket=ticket,
        )

    done = ", ".join(str(command) for command in read.commands)
    acts = [one for one in before if one.by in post.desk.technician_addresses and one.by != author.address]
    for colleague in sorted({one.by for one in acts if one.at >= post.now - _LATELY}):
        tell(colleague, f"steered:{arrival.row.id}", f"{author.name or author.address} gave {done}")
    for act in acts:
        if act.at >= post.now - _JUST_NOW:
            name = steering.actor_of(post, Address(address=act.by)).name
            tell(author.address, f"steered-before:{act.number}", f"Just before you, {name} wrote: {_in_words(act)}")


def _in_words(act: Event) -> str:
    """Return what a technician did as the line that he wrote, or its like."""
    verb, detail = _ACTS.get(act.kind, (str(act.kind), ""))
    return f"{verb} {act.detail(detail) if detail else ''}".rstrip()


def _answer_mistake(
    post: Post, arrival: Arrival, ticket: Ticket, author: Actor, mistake: commands.Mistake
) -> None:
    post.to_technician(
        "mistake",
        f"mistake:{arrival.row.id}",
        author.address,
        lambda envelope: post.composer.mistake(
            envelope, ticket, problems=_problems(mistake), text=arrival.mail.new_text
        ),
        ticket=ticket,
        in_reply_to=arrival.mail.message_id or "",
    )


def _hear(post: Post, arrival: Arrival, ticket: Ticket, author: Actor, *, reopens: bool) -> None:
    """Add what the requester, or a colleague who takes part, wrote again, and pass it to the technicians."""
    mail = arrival.mail
    number = steering.record(
        post,
        ticket,
        EventKind.REPLIED,
        author,
        text=arrival.text,
        details={"sender": arrival.sender},
        message_id=arrival.row.id,
    )
    tickets.attach(post.connection, ticket.id, number, mail.attachments)
    tickets.add_participants(post.connection, ticket.id, participants(post, arrival))
    if not ticket.restricted and tells_of_harm(arrival.text, post.desk.harm):
        # From here on nobody is shown what this ticket says; the words below travel no further either.
        tickets.change(post.connection, ticket.id, restricted=True)
        ticket = steering.load(post, ticket.id)
        tell_designated(post, ticket)
    names = (author.name, *(one.name for one in post.desk.technicians))
    is_hers = author.address == ticket.requester.address
    word = threads.requester_word(mail.new_text, names) if is_hers else None
    if word is threads.Word.STATUS:
        _do_as_told(post, ticket, author, word, number)
        return
    if word is threads.Word.SOLVED and ticket.status in steering.LIVE:
        _do_as_told(post, ticket, author, word, number)
    elif reopens:
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
            lambda envelope: post.composer.relay(
                envelope,
                ticket,
                author=arrival.author,
                text=arrival.text,
                attachments=mail.attachments,
                reopened=reopens,
            ),
            ticket=ticket,
        )


def _do_as_told(post: Post, ticket: Ticket, author: Actor, word: threads.Word, number: int) -> None:
    """Do what the requester asks for in one word: "solved" resolves her ticket, "status" tells how it stands."""
    if word is threads.Word.SOLVED:
        # Hers alone: what others have reported is not solved because she says so.
        steering.resolve_one(post, ticket, author, "")
        lines: tuple[str, ...] = ("We take it as solved, as you wrote. If it is not, just reply.",)
    else:
        lines = steering.standing(post, ticket)
    post.to_requester(
        "notice",
        f"word:{ticket.reference}:{number}",
        ticket,
        lambda envelope: post.composer.notice(
            envelope, ticket, title=f"{ticket.reference}: {word.value}", lines=lines
        ),
    )


def _tell_technicians_of_claim(
    post: Post, ticket: Ticket, arrival: Arrival, placement: Append
) -> None:
    """Tell that somebody wrote to the ticket without proof; his words stay where the shell shows them."""
    for recipient in post.technicians_of(ticket):
        post.to_technician(
            "notice",
            f"held:{arrival.row.id}",
            recipient,
            lambda envelope: post.composer.notice(
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


def _tell_of_note(post: Post, ticket: Ticket, arrival: Arrival) -> None:
    """Tell a technician that his mail went to nobody, and what would send it on."""
    cure = (
        "Answer a letter that we wrote to you for this ticket: it carries the proof."
        if arrival.trust.may_command
        else "Answers and commands by mail are off until this was run: supportd check --auth"
    )
    post.to_technician(
        "notice",
        f"noted:{arrival.row.id}",
        arrival.author.address,
        lambda envelope: post.composer.notice(
            envelope, ticket, title="Kept as a note: your mail steered nothing and went to nobody", lines=(cure,)
        ),
        ticket=ticket,
        in_reply_to=arrival.mail.message_id or "",
    )


def note_report(post: Post, arrival: Arrival) -> int | None:
    """Note a bounce of, or an automatic answer to, a letter of ours on its ticket; without our proof, nothing."""
    report = screen.report_of(arrival.mail) if arrival.screening.bounce else None
    named = [report.original_message_id] if report is not None and report.original_message_id else []
    own = [proof for text in named if (proof := tokens.verify(text, post.keys)) is not None]
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
        if not tokens.is_for(known, recipient, post.keys):
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
        if not tokens.is_for(known, arrival.author.address, post.keys):
            # Somebody else's programme answers a letter that we did not write to it.
            return None
        steering.record(
            post, ticket, EventKind.AUTO_REPLIED, steering.actor_of(post, arrival.author), message_id=arrival.row.id
        )
    return ticket.id


def _problems(mistake: commands.Mistake) -> tuple[str, ...]:
    """Return what was wrong, what was understood, and an example, as lines for the letter."""
    understood = (f"understood, but not done: {', '.join(mistake.understood)}",) if mistake.understood else ()
    return (*mistake.problems, *understood, f"for example: {mistake.example}")
