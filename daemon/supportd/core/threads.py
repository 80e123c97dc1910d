"""Where a mail belongs: on a ticket that it proves it belongs to, or on a new one that links to the guess.

The clues, the first that holds for a sender who takes part in the ticket:

1. a Message-ID of ours, with its HMAC, in In-Reply-To or References (the last 20);
2. the secret part of the reply address;
3. the subject tag ``[AS-123]``;
4. a remembered Message-ID of an incoming mail (a reply-all that is faster than our acknowledgement).

Who takes part: the requester, whom a participant copied in, a technician.  Merged tickets are followed.  On a closed
ticket a reply opens a new one; thanks open nothing.  An unverified sender with clue 1 or 2 leaves a note that only
technicians see.  Anything weaker opens a new ticket that links to the one it pointed at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from supportd.core import addresses as plain_addresses
from supportd.core import tokens
from supportd.core.model import Address, Mail, Status
from supportd.core.sender import Level, Standing, Trust, with_token
from supportd.core.tokens import Keys, OwnId, ReplyToken, Role

# reliability.md 4.2: References looked up, the last 20 ids.
_MOST_REFERENCES = 20
# A subject holds one tag; more than a few are a guess at tickets.
_MOST_TAGS = 3
# A mail to the whole staff must not make sixty people party to one ticket.
_MOST_COPIED_IN = 20
# behaviour.md: a token is valid while its ticket is not closed and 30 days after.
TOKEN_OUTLIVES_TICKET = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clues:
    """What in a mail points at tickets, nearest first.

    *tags* stand in square brackets in the subject, *mentions* without; both as we write references ("AS-123").
    *references* are the Message-IDs without our proof, to be looked up among those that are remembered.  *forged* have
    our shape and fail the check: somebody tries, or a key is gone, which a person wants to know.
    """

    own: tuple[OwnId, ...] = ()
    reply_tokens: tuple[ReplyToken, ...] = ()
    tags: tuple[str, ...] = ()
    mentions: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    forged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A ticket that a clue points at, as the database knows it.

    *message_ids* are those of the clues' *references* that mails of this ticket bear.
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
    references: list[str] = []
    forged: list[str] = []
    for reference in _nearest_first(mail):
        proof = tokens.verify(reference, keys)
        if proof is not None:
            own.append(proof)
            continue
        # One of ours by a key that is gone is still remembered: nobody could have guessed it.
        references.append(reference)
        if tokens.looks_like_ours(reference):
            forged.append(reference)
    reply_tokens: list[ReplyToken] = []
    recipients = tuple(dict.fromkeys(_recipients(mail)))
    for address in addresses:
        for recipient in recipients:
            token = tokens.read_reply_address(recipient, address, keys)
            if token is not None:
                reply_tokens.append(token)
            elif _has_plus_part(recipient, address) and "." in recipient.rpartition("@")[0].rpartition("+")[2]:
                forged.append(recipient)
    tags, mentions = _tags(mail.subject, prefix)
    return Clues(
        own=tuple(own),
        reply_tokens=tuple(dict.fromkeys(reply_tokens)),
        tags=tags,
        mentions=mentions,
        references=tuple(references),
        forged=tuple(forged),
    )


def is_own(message_id: str, keys: Keys) -> bool:
    """Return whether *message_id* is that of a letter of ours, proved by its HMAC."""
    return tokens.verify(message_id, keys) is not None


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
    address = "" if sender is None else sender.address.lower()
    writer = _Writer(address=address, standing=standing, trust=trust, keys=keys, only_thanks=only_thanks)
    guess: tuple[int, str] | None = None
    for candidate, proof, reason in _pointed_at(found, known):
        target = _follow(candidate, known)
        has_token = _has_token(writer, found, target, known, now)
        placement = _believed(writer, candidate, target, proof is not None, has_token, reason)
        if placement is not None:
            return placement
        guess = guess or (
            target.id,
            f"{reason}, but the sender takes no part in {target.reference}, or does not prove it",
        )
    guess = guess or _mentioned(found, known)
    forged = "identifiers in our shape that fail their check" if found.forged else ""
    if guess is not None:
        return NewLinked(linked=guess[0], reason=guess[1], alarm=forged or _unproved(writer))
    return New(reason="nothing points at a ticket", alarm=forged)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writer:
    """Who wrote, as far as it is known."""

    address: str
    standing: Standing
    trust: Trust
    keys: Keys
    only_thanks: bool


def _unproved(writer: _Writer) -> str:
    """Return the alarm for a technician's address without proof, or an empty text."""
    if not writer.standing.claims_technician or writer.standing.level >= Level.TECHNICIAN:
        return ""
    return f"{writer.address} is a technician's, and the mail does not prove it"


def _has_token(writer: _Writer, found: Clues, target: Candidate, known: dict[int, Candidate], now: datetime) -> bool:
    """Return whether the mail carries the token that we mailed to its technician for *target*."""
    if not writer.address or (target.closed_at is not None and now - target.closed_at > TOKEN_OUTLIVES_TICKET):
        return False
    return any(
        proof is not None
        and proof.role is Role.TECHNICIAN
        and _follow(candidate, known).id == target.id
        and any(tokens.is_for(proof, person, writer.keys) for person in (writer.address, *writer.trust.inboxes))
        for candidate, proof, _ in _pointed_at(found, known)
    )


def _believed(
    writer: _Writer, candidate: Candidate, target: Candidate, has_proof: bool, has_token: bool, reason: str
) -> Append | NewLinked | None:
    """Return the placement on *target*, to which *candidate* (perhaps itself) leads, or None if it is not believed.

    *has_proof*: the clue bears our HMAC; *has_token*: among the clues is the writer's own technician's token.
    """
    level = writer.standing.level

    # A technician with the token that we mailed to him for this ticket.
    commanding = with_token(writer.standing, writer.trust).level if has_token else level
    if commanding is Level.COMMANDING:
        return Append(ticket=target.id, role=Role.TECHNICIAN, level=commanding, reason=reason)

    people = (candidate.requester, *candidate.participants, target.requester, *target.participants)
    takes_part = writer.address != "" and writer.address in (person.lower() for person in people)

    # Whoever says that he takes part, without proof that he is who he says.
    if level is Level.UNVERIFIED:
        if not has_proof or not (takes_part or writer.standing.claims_technician):
            return None
        return Append(
            ticket=target.id,
            role=Role.REQUESTER if takes_part else Role.TECHNICIAN,
            level=level,
            reason=f"{reason}; the sender is not verified",
            alarm=_unproved(writer),
            held=True,
        )

    # The requester, or somebody whom a participant copied in.
    if takes_part:
        if target.status is Status.CLOSED and not writer.only_thanks:
            return NewLinked(linked=target.id, reason=f"{reason}, but {target.reference} is closed")
        reopens = target.status is Status.RESOLVED and not writer.only_thanks
        return Append(ticket=target.id, role=Role.REQUESTER, level=level, reason=reason, reopens=reopens)

    # A technician, proved, but without his own token: what he writes is kept, and steers nothing.
    if level >= Level.TECHNICIAN:
        return Append(ticket=target.id, role=Role.TECHNICIAN, level=level, reason=f"{reason}; no token", as_note=True)
    return None


def _mentioned(found: Clues, known: dict[int, Candidate]) -> tuple[int, str] | None:
    """Return the first ticket that the subject merely mentions, with the reason, or None."""
    mentioned = [tokens.plain_reference(mention) for mention in found.mentions]
    for candidate in known.values():
        if tokens.plain_reference(candidate.reference) in mentioned:
            return _follow(candidate, known).id, f"the subject mentions {candidate.reference}"
    return None


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
                yield candidate, None, "answers a mail of the ticket"


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


def _has_plus_part(recipient: str, address: str) -> bool:
    local, _, domain = address.lower().rpartition("@")
    return recipient.lower().startswith(local + "+") and recipient.lower().endswith("@" + domain)


def _tags(subject: str, prefix: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the references in square brackets of *subject* and those without, as we write them, at most three each."""
    tags: list[str] = []
    outside: list[str] = []
    for piece in "]".join(("", subject)).split("["):
        inside, closed, behind = piece.partition("]")
        if closed:
            tags.append(inside)
            outside.extend(behind.split())
        else:
            outside.extend(piece.split())
    mentions = [word.strip(".,:;!?()'\"") for word in outside]
    return (
        tuple(dict.fromkeys(_references(tags, prefix)))[:_MOST_TAGS],
        tuple(dict.fromkeys(_references((word for word in mentions if "-" in word), prefix)))[:_MOST_TAGS],
    )


def _references(words: Iterable[str], prefix: str) -> Iterator[str]:
    for word in words:
        # 14: the prefix, a hyphen, spaces and a number that a database can hold.
        digits = tokens.plain_reference(word).removeprefix(prefix.lower()) if len(word) <= len(prefix) + 14 else ""
        if digits.isdigit() and tokens.plain_reference(word) != digits:
            yield f"{prefix}-{int(digits)}"


def copied_in(mail: Mail, level: Level, trust: Trust, ours: Iterable[str]) -> tuple[str, ...]:
    """Return whom *mail* brings into the ticket by To and Cc (reliability.md 4.2: add participants by Cc).

    A member of staff brings in staff, a technician with his token anybody; *ours* (lower case) are the mailbox's own
    addresses, which never take part, and neither does the writer himself.
    """
    if level < Level.MEMBER:
        return ()
    own = set(ours) | ({mail.sender.address} if mail.sender else set())
    people = dict.fromkeys(person.address for person in (*mail.to, *mail.cc))
    allowed = [
        person
        for person in people
        if person not in own
        and not any(_has_plus_part(person, address) for address in own)
        and (level is Level.COMMANDING or person.rpartition("@")[2] in trust.staff_domains)
        and plain_addresses.is_plain(person)
    ]
    return tuple(allowed[:_MOST_COPIED_IN])


# Words that a mail of thanks is made of; a single other word makes it more than thanks.
_POLITE_WORDS = """
    thanks thank thankyou thx ta cheers you u so very much many a lot all again for the your help quick speedy fast
    prompt reply response that that's thats this it its it's is was works working now sorted fixed solved resolved done
    great brilliant perfect lovely wonderful amazing fantastic excellent super good ok okay fab legend star you're youre
    kind regards best wishes hi hello dear team and
"""
_POLITE = frozenset(_POLITE_WORDS.split())
_GRATEFUL = frozenset(
    {"thanks", "thank", "thankyou", "thx", "ta", "cheers", "great", "brilliant", "perfect", "lovely", "fantastic"}
)
# Longer texts say more than thanks.
_LONGEST_THANKS_WORDS = 25


def says_only_thanks(new_text: str, names: Iterable[str] = ()) -> bool:
    """Return whether *new_text* says thanks and nothing else: every word is of a short list or one of the *names*.

    *names* are those of the requester and the technicians ("Thanks Sam, Jane").
    """
    words = _words(new_text, _LONGEST_THANKS_WORDS + 1)
    if not words or words[0] in ("is", "was"):
        return False
    return _is_polite(new_text, names) and not _GRATEFUL.isdisjoint(words)


def _is_polite(text: str, names: Iterable[str]) -> bool:
    """Return whether every word of *text* is a polite one or of *names*, and nothing is asked."""
    words = _words(text, _LONGEST_THANKS_WORDS + 1)
    known = _POLITE.union(*(name.lower().split() for name in names))
    return "?" not in text and len(words) <= _LONGEST_THANKS_WORDS and known.issuperset(words)


class Word(StrEnum):
    """What a requester may ask for in a word."""

    SOLVED = "solved"
    STATUS = "status"


# Not "done": that answers "please restart it".
_SOLVED = frozenset({"solved", "resolved", "sorted", "fixed", "close", "closed"})


def requester_word(new_text: str, names: Iterable[str] = ()) -> Word | None:
    """Return the request when the first line of *new_text* is that one word ("solved", "status"), or None.

    "Solved" counts only where nothing follows but thanks and *names*: a "but" below it is a call for help.
    """
    first_line, _, rest = new_text.strip().partition("\n")
    words = _words(first_line, 2)
    if words == ["status"]:
        return Word.STATUS
    is_solved = len(words) == 1 and words[0] in _SOLVED and "?" not in first_line
    return Word.SOLVED if is_solved and _is_polite(rest, names) else None


def _words(text: str, limit: int) -> list[str]:
    """Return up to *limit* words of *text* in lower case, punctuation and emoji aside."""
    plain = "".join(char if char.isalnum() or char == "'" else " " for char in text[:2000].replace("’", "'").lower())
    return plain.split()[:limit]
