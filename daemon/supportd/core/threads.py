"""Where a mail belongs: on a ticket that it proves it belongs to, or on a new one that links to the guess.

The clues, the first that holds for a sender who takes part in the ticket:

1. a Message-ID of ours, with its HMAC, in In-Reply-To or References (the last 20);
2. the secret part of the reply address;
3. the subject tag ``[AS-123]``, only for one who takes part;
4. a remembered Message-ID of an incoming mail (a reply-all that is faster than our acknowledgement).

Anything weaker opens a new ticket that links to the ticket it pointed at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from supportd.core import tokens
from supportd.core.model import Address, Mail, Status
from supportd.core.sender import Level, Standing, Trust, with_token
from supportd.core.tokens import Keys, OwnId, ReplyToken, Role

# reliability.md 4.2: References looked up, the last 20 ids.
_MOST_REFERENCES = 20
# A subject holds one tag; more than a few are a guess at tickets.
_MOST_TAGS = 3
# behaviour.md: a token is valid while its ticket is not closed and 30 days after.
TOKEN_OUTLIVES_TICKET = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clues:
    """What in a mail points at tickets, nearest first.

    *references* are Message-IDs of others, to be looked up among the incoming mail that is remembered.  *forged* have
    our shape and fail the HMAC: each counts against its sender's ten wrong tries an hour.
    """

    own: tuple[OwnId, ...] = ()
    reply_tokens: tuple[ReplyToken, ...] = ()
    tags: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    forged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A ticket that a clue points at, as the database knows it.

    *message_ids* are the remembered incoming Message-IDs of this ticket that the clues asked for.
    """

    id: int
    reference: str
    status: Status
    requester: str
    participants: tuple[str, ...] = ()
    merged_into: int | None = None
    closed_at: datetime | None = None
    message_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class New:
    """The mail opens a ticket.  *alarm* is a security event in words, for the digest, or empty."""

    reason: str
    alarm: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLinked:
    """The mail opens a ticket that links to the ticket *linked*."""

    linked: int
    reason: str
    alarm: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """The mail is added to the ticket *ticket*.

    *role* is as whom the sender writes here, and *level* what he may do here: only `Level.COMMANDING` steers a ticket
    and is relayed to its requester.  *held*: kept as an unverified note that technicians alone see, changing nothing
    else.  *as_note*: a technician without his token; kept as an internal note.  *reopens*: a resolved ticket opens
    again.
    """

    ticket: int
    role: Role
    level: Level
    reason: str
    alarm: str = ""
    held: bool = False
    as_note: bool = False
    reopens: bool = False


Placement = New | NewLinked | Append


def clues(mail: Mail, *, keys: Keys, addresses: Iterable[str], prefix: str) -> Clues:
    """Return what in *mail* points at tickets.

    *addresses* are the mailbox's own (``support@domain`` and its aliases), *prefix* is that of its references ("AS").
    """
    own: list[OwnId] = []
    others: list[str] = []
    forged: list[str] = []
    for reference in _nearest_first(mail):
        proof = tokens.verify(reference, keys)
        if proof is not None:
            own.append(proof)
        elif tokens.looks_like_ours(reference):
            forged.append(reference)
        else:
            others.append(reference)
    reply_tokens: list[ReplyToken] = []
    for address in addresses:
        for recipient in _recipients(mail):
            token = tokens.read_reply_address(recipient, address, keys)
            if token is not None and token not in reply_tokens:
                reply_tokens.append(token)
            elif token is None and _is_tagged(recipient, address):
                forged.append(recipient)
    return Clues(
        own=tuple(own),
        reply_tokens=tuple(reply_tokens),
        tags=tuple(_tags(mail.subject, prefix)),
        references=tuple(others),
        forged=tuple(forged),
    )


def place(
    found: Clues,
    candidates: Iterable[Candidate],
    *,
    sender: Address | None,
    standing: Standing,
    trust: Trust,
    keys: Keys,
    now: datetime,
    only_thanks: bool = False,
) -> Placement:
    """Return where the mail of *sender* with the clues *found* belongs.

    *candidates* are the tickets that the clues name, and those that they were merged into.  *only_thanks* is what
    `says_only_thanks` answers for the new text.
    """
    known = {candidate.id: candidate for candidate in candidates}
    alarm = "identifiers in our shape that fail their check" if found.forged else ""
    guess: NewLinked | None = None
    for candidate, proof, reason in _pointed_at(found, known):
        target = _follow(candidate, known)
        address = "" if sender is None else sender.address.lower()
        writer = _Writer(address=address, standing=standing, trust=trust, keys=keys, only_thanks=only_thanks)
        placement = _by_clue(writer, candidate, target, proof, reason, now)
        if isinstance(placement, Append):
            return placement
        guess = guess or placement
    if guess is not None:
        return guess
    return New(reason="nothing points at a ticket", alarm=alarm)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writer:
    """Who wrote, as far as it is known."""

    address: str
    standing: Standing
    trust: Trust
    keys: Keys
    only_thanks: bool


def _by_clue(
    writer: _Writer,
    candidate: Candidate,
    target: Candidate,
    proof: OwnId | ReplyToken | None,
    reason: str,
    now: datetime,
) -> Append | NewLinked:
    """Return the placement on *target*, to which *candidate* (perhaps itself) leads, when one clue is believed."""
    level = writer.standing.level
    is_own_proof = proof is not None and writer.address != "" and tokens.is_for(proof, writer.address, writer.keys)
    is_fresh = target.closed_at is None or now - target.closed_at <= TOKEN_OUTLIVES_TICKET

    # A technician with the token that we mailed to him for this ticket.
    if proof is not None and proof.role is Role.TECHNICIAN and is_own_proof and is_fresh:
        commanding = with_token(writer.standing, writer.trust)
        if commanding.level is Level.COMMANDING:
            return Append(ticket=target.id, role=Role.TECHNICIAN, level=commanding.level, reason=reason)

    # The requester, or somebody whom a participant copied in.
    people = (candidate.requester, *candidate.participants, target.requester, *target.participants)
    if writer.address and writer.address in (person.lower() for person in people):
        return _as_participant(writer, target, reason)

    # A technician, proved, but without his own token: what he writes is kept, and steers nothing.
    if level >= Level.TECHNICIAN:
        return Append(
            ticket=target.id, role=Role.TECHNICIAN, level=level, reason=f"{reason}, without his token", as_note=True
        )

    # A technician's address without proof.  What answers a mail of ours is kept for technicians to see.
    if writer.standing.claims_technician:
        alarm = f"{writer.address} is a technician's, but the mail does not prove it"
        if proof is not None and level is Level.UNVERIFIED:
            return Append(
                ticket=target.id,
                role=Role.TECHNICIAN,
                level=level,
                reason=f"{reason}, unproved",
                alarm=alarm,
                held=True,
            )
        return NewLinked(linked=target.id, reason=f"{reason}, but the sender is not proved", alarm=alarm)
    return NewLinked(linked=target.id, reason=f"{reason}, but the sender takes no part in {target.reference}")


def _as_participant(writer: _Writer, target: Candidate, reason: str) -> Append | NewLinked:
    level = writer.standing.level
    if level is Level.UNVERIFIED:
        return Append(
            ticket=target.id, role=Role.REQUESTER, level=level, reason=f"{reason}; the sender is unverified", held=True
        )
    if target.status is Status.CLOSED and not writer.only_thanks:
        return NewLinked(linked=target.id, reason=f"{reason}, but {target.reference} is closed")
    reopens = target.status is Status.RESOLVED and not writer.only_thanks
    return Append(ticket=target.id, role=Role.REQUESTER, level=level, reason=reason, reopens=reopens)


def _pointed_at(
    found: Clues, known: dict[int, Candidate]
) -> Iterator[tuple[Candidate, OwnId | ReplyToken | None, str]]:
    """Yield each ticket that a clue points at with the proof and the reason, in the order of the module's list."""
    by_reference = {tokens.plain_reference(candidate.reference): candidate for candidate in known.values()}
    for own in found.own:
        if own.ticket in known:
            yield known[own.ticket], own, "answers a mail of ours"
    for token in found.reply_tokens:
        if token.reference in by_reference:
            yield by_reference[token.reference], token, "sent to the ticket's own address"
    for tag in found.tags:
        if tokens.plain_reference(tag) in by_reference:
            yield by_reference[tokens.plain_reference(tag)], None, f"subject tag [{tag}]"
    for reference in found.references:
        for candidate in known.values():
            if reference in candidate.message_ids:
                yield candidate, None, "answers a mail that came in for the ticket"


def _follow(candidate: Candidate, known: dict[int, Candidate]) -> Candidate:
    """Return the ticket that *candidate* was merged into, through any number of merges, as far as *known* reaches."""
    seen = {candidate.id}
    while candidate.merged_into is not None and candidate.merged_into in known and candidate.merged_into not in seen:
        candidate = known[candidate.merged_into]
        seen.add(candidate.id)
    return candidate


def _nearest_first(mail: Mail) -> Iterator[str]:
    """Yield the ids of In-Reply-To, then those of References from the last (RFC 5322 3.6.4), 20 at most, each once."""
    ids = (*mail.in_reply_to[:_MOST_REFERENCES], *reversed(mail.references[-_MOST_REFERENCES:]))
    yield from list(dict.fromkeys(ids))[:_MOST_REFERENCES]


def _recipients(mail: Mail) -> Iterator[str]:
    for recipient in (*mail.to, *mail.cc):
        yield recipient.address
    # A mail that reached us by Bcc or by an alias shows the address only here.
    for name in ("Delivered-To", "X-Original-To"):
        yield from (value.strip().strip("<>") for value in mail.header_all(name))


def _is_tagged(recipient: str, address: str) -> bool:
    local, _, domain = address.lower().rpartition("@")
    return recipient.lower().startswith(local + "+") and recipient.lower().endswith("@" + domain)


def _tags(subject: str, prefix: str) -> Iterator[str]:
    """Yield the references in square brackets of *subject* ("AS-123"), as we write them, at most three."""
    count = 0
    for piece in subject.split("[")[1:]:
        inside, closed, _ = piece.partition("]")
        plain = tokens.plain_reference(inside)
        digits = plain.removeprefix(prefix.lower())
        if closed and len(inside) <= len(prefix) + 14 and plain != digits and digits.isdigit():
            yield f"{prefix}-{int(digits)}"
            count += 1
            if count == _MOST_TAGS:
                return


# Words that a mail of thanks is made of; a single other word makes it more than thanks.
_POLITE_WORDS = """
    thanks thank thankyou thx ta cheers you u so very much many a lot all again for the your help quick speedy fast
    prompt reply response that this it its it's is was works working now sorted fixed solved resolved done great
    brilliant perfect lovely wonderful amazing fantastic excellent super good ok okay fab legend star you're youre kind
    regards best wishes hi hello dear team and
"""
_POLITE = frozenset(_POLITE_WORDS.split())
_GRATEFUL = frozenset(
    {"thanks", "thank", "thankyou", "thx", "ta", "cheers", "great", "brilliant", "perfect", "lovely", "fantastic"}
)
# Longer texts say more than thanks.
_LONGEST_THANKS_WORDS = 25


def says_only_thanks(new_text: str) -> bool:
    """Return whether *new_text* says thanks and nothing else: every word is one of a short list."""
    if "?" in new_text:
        return False
    words = _words(new_text, _LONGEST_THANKS_WORDS + 1)
    return 0 < len(words) <= _LONGEST_THANKS_WORDS and _POLITE.issuperset(words) and not _GRATEFUL.isdisjoint(words)


class Word(StrEnum):
    """What a requester may ask for in a word."""

    SOLVED = "solved"
    STATUS = "status"


_SOLVED = frozenset({"solved", "resolved", "sorted", "fixed", "close", "closed", "done"})


def requester_word(new_text: str) -> Word | None:
    """Return the request when the first line of *new_text* is that one word ("solved", "status"), or None."""
    first_line = next((line for line in new_text.splitlines()[:20] if line.strip()), "")
    words = _words(first_line, 2)
    if words == ["status"]:
        return Word.STATUS
    return Word.SOLVED if len(words) == 1 and words[0] in _SOLVED else None


def _words(text: str, limit: int) -> list[str]:
    """Return up to *limit* words of *text* in lower case, punctuation and emoji aside."""
    plain = "".join(char if char.isalnum() or char == "'" else " " for char in text[:2000].replace("’", "'").lower())
    return plain.split()[:limit]
