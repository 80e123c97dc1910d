"""The daemon's order of operations as a model, explored in full: it loses nothing, and it needs each of its guards.

It is a model of the protocol, not of the code: it shows that the order is right, and the crash tests show that the
code keeps to it.  A *state* is the mailbox, the database, what the SMTP server has accepted, and how far the daemon
is in its current piece of work.  From every state the daemon may take its next step, die (twice at most, beside the
deaths that a poisonous mail causes), or the world may do one of its events (twice at most).  A state in which the
daemon has nothing left to do must have every mail accounted for once, each acknowledgement sent, and an empty INBOX.
The commits have the names of the protocol: C2 capture, C3 attempt, C4 decision, C6 claim, C6b data, C7 sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import pytest

MOST_CRASHES = 2
MOST_EVENTS = 2
MOST_ATTEMPTS = 3
MOST_RESENDS = 2

# The mails, by what they are.  A and B came in the same second with the same size; C bears A's Message-ID; P kills
# whoever parses it; N comes when the server has wound its UIDs back, U when it gives a used UID to a new mail.
MESSAGE_ID = {"A": "a", "B": "b", "C": "a", "P": "p", "N": "n", "U": "u"}
SIZE_AND_DATE = {"A": 1, "B": 1, "C": 2, "P": 3, "N": 4, "U": 5}


class Copy(NamedTuple):
    """One message in INBOX."""

    uid: int
    mail: str
    is_seen: bool = False


class Row(NamedTuple):
    """One message in the ledger; *state* is captured, event, duplicate or quarantined."""

    epoch: int
    uid: int
    mail: str
    state: str = "captured"
    attempts: int = 0
    is_swept: bool = False


class Ack(NamedTuple):
    """One letter in the outbox; *state* is pending, connect, data, sent, suppressed or uncertain."""

    mail: str
    state: str = "pending"
    resends: int = 0


class Database(NamedTuple):
    """What is committed; *high_water* is for a daemon that trusts it in place of the rows."""

    rows: tuple[Row, ...] = ()
    outbox: tuple[Ack, ...] = ()
    high_water: int = 0


class State(NamedTuple):
    """The world, and the daemon's place in its work: *at* names the step done last, *item* what it is about."""

    inbox: tuple[Copy, ...]
    processed: tuple[str, ...] = ()
    epoch: int = 1
    next_uid: int = 9
    database: Database = Database()
    accepted: tuple[str, ...] = ()
    window_deaths: tuple[str, ...] = ()
    at: str = ""
    item: Copy | Row | Ack | None = None
    synced: Database | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """The rules of the protocol; each test of a guard takes one away."""

    captures_before_touching: bool = True
    captures_durably: bool = True
    counts_attempts: bool = True
    has_dedup_key: bool = True
    key_has_content: bool = True
    identity_has_epoch: bool = True
    identity_has_size_and_date: bool = True
    lists_against_the_ledger: bool = True
    ignores_seen: bool = True
    commits_event_and_ack_together: bool = True
    sends_after_the_commit: bool = True
    marks_sent_after_acceptance: bool = True
    resends_when_in_doubt: bool = True
    sweeps_processed: bool = True
    files_after_deciding: bool = True


def key(mail: str, guards: Guards) -> tuple[str, str]:
    """Return what two copies of one submission have in common."""
    return MESSAGE_ID[mail], mail if guards.key_has_content else ""


def is_known(copy: Copy, state: State, guards: Guards) -> bool:
    """Return whether the ledger has this message of INBOX."""
    if not guards.ignores_seen:
        return copy.is_seen
    if not guards.lists_against_the_ledger:
        return copy.uid <= state.database.high_water
    return any(
        (not guards.identity_has_epoch or row.epoch == state.epoch)
        and row.uid == copy.uid
        and (not guards.identity_has_size_and_date or SIZE_AND_DATE[row.mail] == SIZE_AND_DATE[copy.mail])
        for row in state.database.rows
    )


def changed(database: Database, old: Row | Ack, new: Row | Ack) -> Database:
    if isinstance(old, Row):
        return database._replace(rows=tuple(new if row == old else row for row in database.rows))  # type: ignore[misc]
    return database._replace(outbox=tuple(new if ack == old else ack for ack in database.outbox))  # type: ignore[misc]


def idle(state: State, database: Database | None = None) -> State:
    return state._replace(at="", item=None, database=state.database if database is None else database)


def step(state: State, guards: Guards) -> State | None:
    """Return the state after the daemon's next step, or None when it has nothing left to do."""
    match state.at:
        case "":
            return begin(state, guards)
        case "fetched":
            return capture(state, guards)
        case "touched":
            copy = state.item
            return capture(state, guards) if isinstance(copy, Copy) else None
        case "counted":
            return decide(state, guards)
        case "decided":
            return add_ack(state)
        case "acknowledged-early":
            return decide(state, guards)
        case _:
            return send(state, guards)


def begin(state: State, guards: Guards) -> State | None:
    """Take up the next piece of work: capture, decide, file, send, sweep, in this order."""
    database = state.database
    for copy in state.inbox:
        if not is_known(copy, state, guards):
            if not guards.captures_before_touching:
                return file(state, copy)._replace(at="touched", item=copy)
            return state._replace(at="fetched", item=copy)
    for row in database.rows:
        if row.state == "captured":
            if not guards.files_after_deciding:
                for copy in state.inbox:
                    if (copy.uid, copy.mail, state.epoch) == (row.uid, row.mail, row.epoch):
                        return file(state, copy)
            if row.attempts >= MOST_ATTEMPTS:
                return idle(state, changed(database, row, row._replace(state="quarantined")))
            counted = row._replace(attempts=row.attempts + 1) if guards.counts_attempts else row
            return state._replace(at="counted", item=counted, database=changed(database, row, counted))
    for copy in state.inbox:
        if is_known(copy, state, guards):
            return file(state, copy)
    for ack in database.outbox:
        if ack.state == "pending":
            claimed = ack._replace(state="connect" if guards.marks_sent_after_acceptance else "sent")
            return state._replace(at="claimed", item=claimed, database=changed(database, ack, claimed))
        if ack.state == "connect":
            return idle(state, changed(database, ack, ack._replace(state="pending")))
        if ack.state == "data":
            may_resend = guards.resends_when_in_doubt and ack.resends < MOST_RESENDS
            given_up = ack._replace(state="uncertain" if guards.resends_when_in_doubt else "sent")
            after = Ack(ack.mail, "pending", ack.resends + 1) if may_resend else given_up
            return idle(state, changed(database, ack, after))
    if guards.sweeps_processed:
        known = {row.mail for row in database.rows}
        for mail in state.processed:
            if mail not in known:
                row = Row(0, 0, mail, is_swept=True)
                return idle(state, database._replace(rows=(*database.rows, row)))
    return None


def file(state: State, copy: Copy) -> State:
    """Move *copy* to Processed."""
    rest = tuple(other for other in state.inbox if other != copy)
    return state._replace(inbox=rest, processed=tuple(sorted((*state.processed, copy.mail))))


def capture(state: State, guards: Guards) -> State:
    """Commit the raw bytes and the ledger row (C2)."""
    copy = state.item
    assert isinstance(copy, Copy)
    inbox = state.inbox
    if not guards.ignores_seen:
        inbox = tuple(other._replace(is_seen=True) if other == copy else other for other in inbox)
    row = Row(state.epoch, copy.uid, copy.mail)
    if not guards.captures_durably:
        # Kept in memory until the decision is committed.
        return state._replace(at="counted", item=row, inbox=inbox)
    database = state.database._replace(
        rows=(*state.database.rows, row), high_water=max(state.database.high_water, copy.uid)
    )
    return idle(state._replace(inbox=inbox), database)


def decide(state: State, guards: Guards) -> State:
    """Parse, which a poisonous mail does not let the daemon survive; commit event, letter and disposition (C4)."""
    row = state.item
    assert isinstance(row, Row)
    if row.mail == "P":
        return idle(state)
    if not guards.sends_after_the_commit and state.at == "counted":
        return state._replace(at="acknowledged-early", accepted=(*state.accepted, row.mail))
    database = state.database
    if row not in database.rows:
        database = database._replace(rows=(*database.rows, row))
    is_double = guards.has_dedup_key and any(
        other.state == "event" and key(other.mail, guards) == key(row.mail, guards) for other in database.rows
    )
    decided = row._replace(state="duplicate" if is_double else "event")
    database = changed(database, row, decided)
    if is_double or not guards.sends_after_the_commit:
        return idle(state, database)
    if not guards.commits_event_and_ack_together:
        return state._replace(at="decided", item=decided, database=database)
    return idle(state, with_ack(database, decided))


def with_ack(database: Database, row: Row) -> Database:
    return database._replace(
        outbox=tuple(sorted((*database.outbox, Ack(row.mail, "suppressed" if row.is_swept else "pending"))))
    )


def add_ack(state: State) -> State:
    row = state.item
    assert isinstance(row, Row)
    return idle(state, with_ack(state.database, row))


def send(state: State, guards: Guards) -> State:
    """Take the next step of sending: claimed (C6), data (C6b), accepted by the server, sent (C7)."""
    ack = state.item
    assert isinstance(ack, Ack)
    if state.at == "claimed":
        data = ack._replace(state="data") if guards.marks_sent_after_acceptance else ack
        return state._replace(at="data", item=data, database=changed(state.database, ack, data))
    if state.at == "data":
        return state._replace(at="accepted", accepted=tuple(sorted((*state.accepted, ack.mail))))
    return idle(state, changed(state.database, ack, ack._replace(state="sent")))


def death(state: State) -> State:
    """Return the state after the daemon has died: what is not committed is gone."""
    window = state.window_deaths
    if state.at == "accepted" and isinstance(state.item, Ack):
        window = tuple(sorted((*window, state.item.mail)))
    return idle(state)._replace(window_deaths=window)


def events(state: State, guards: Guards) -> Iterator[State]:
    """Yield what the world, the server or a person may do to the mailbox."""
    # UIDVALIDITY changes: all get new numbers, in another order; a message half fetched is asked for again.
    renumbered = tuple(Copy(uid, copy.mail, copy.is_seen) for uid, copy in enumerate(reversed(state.inbox), 1))
    interrupted = idle(state) if isinstance(state.item, Copy) else state
    yield interrupted._replace(epoch=state.epoch + 1, inbox=renumbered, next_uid=9)

    # A person reads a mail first.  A daemon that does not look at flags cannot tell the states apart, nor need we.
    for copy in state.inbox:
        if not copy.is_seen and not guards.ignores_seen:
            seen = tuple(other._replace(is_seen=True) if other == copy else other for other in state.inbox)
            yield state._replace(inbox=seen)

    # A person drags a filed mail back.
    for mail in set(state.processed):
        rest = list(state.processed)
        rest.remove(mail)
        yield delivered(state._replace(processed=tuple(rest)), mail)

    # A second copy of A arrives; a mail with A's Message-ID arrives; a poisonous one.
    for mail in ("A", "C", "P"):
        if mail == "A" or not is_delivered(state, mail):
            yield delivered(state, mail)

    # The server gives the next mail a UID that it has given before, or one below all that it has given.
    used = {row.uid for row in state.database.rows if row.epoch == state.epoch} - {copy.uid for copy in state.inbox}
    if used and not is_delivered(state, "U"):
        yield state._replace(inbox=tuple(sorted((*state.inbox, Copy(min(used), "U")))))
    if not is_delivered(state, "N"):
        yield state._replace(inbox=(Copy(0, "N"), *state.inbox))


def power(state: State) -> Iterator[State]:
    """Yield what a disk that lies may do: from some moment on nothing is written, then the power fails."""
    if state.synced is None:
        yield state._replace(synced=state.database)
    else:
        yield idle(state, state.synced)._replace(synced=None)


def delivered(state: State, mail: str) -> State:
    inbox = tuple(sorted((*state.inbox, Copy(state.next_uid, mail))))
    return state._replace(inbox=inbox, next_uid=state.next_uid + 1)


def is_delivered(state: State, mail: str) -> bool:
    return (
        any(copy.mail == mail for copy in state.inbox)
        or mail in state.processed
        or any(row.mail == mail for row in state.database.rows)
    )


def violations(state: State, *, has_power_failures: bool) -> set[str]:
    """Return what is wrong with *state*, in which the daemon has nothing left to do.

    What the sweep finds gets no acknowledgement: after a power failure that is the price, at any other time a fault.
    """
    found = set()
    tickets = Counter(row.mail for row in state.database.rows if row.state == "event")
    quarantined = {row.mail for row in state.database.rows if row.state == "quarantined"}
    if not {copy.mail for copy in state.inbox} | set(state.processed) <= set(tickets) | quarantined:
        found.add("lost")
    if max(tickets.values(), default=0) > 1:
        found.add("doubled")
    if state.inbox:
        found.add("unfiled")
    if not has_power_failures:
        sent = Counter(state.accepted)
        deaths = Counter(state.window_deaths)
        # After three deaths in the middle of one letter a person is told that it is uncertain.
        uncertain = {ack.mail for ack in state.database.outbox if ack.state == "uncertain"}
        if not all(sent[mail] for mail in set(tickets) - uncertain):
            found.add("acknowledgement missing")
        if any(count > 1 + deaths[mail] for mail, count in sent.items()):
            found.add("acknowledgement doubled")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """How many states there are, and what is wrong with any that the daemon comes to rest in."""

    states: int
    violations: frozenset[str]


def explore(
    mails: str,
    guards: Guards,
    *,
    has_power_failures: bool = False,
    most_crashes: int = MOST_CRASHES,
    most_events: int = MOST_EVENTS,
) -> Exploration:
    """Return what is found in all states that *mails* in INBOX can lead to; where a guard is away, stop at a fault.

    States are visited in the order of what has happened to them, so that a state that comes up again after more crashes
    and events has nothing new to show.
    """
    following: dict[State, State | None] = {}
    spent: dict[State, list[tuple[int, int]]] = {}
    found: set[str] = set()
    waiting: list[list[tuple[State, int, int]]] = [[] for _ in range(most_crashes + most_events + 1)]
    waiting[0].append((State(inbox=tuple(Copy(uid, mail) for uid, mail in enumerate(mails, 1))), 0, 0))
    for stage in waiting:
        while stage:
            state, crashes, happened = stage.pop()
            before = spent.setdefault(state, [])
            if any(one <= crashes and other <= happened for one, other in before):
                continue
            before.append((crashes, happened))
            if state not in following:
                following[state] = step(state, guards)
                if following[state] is None:
                    found |= violations(state, has_power_failures=has_power_failures)
                    if found and guards != Guards():
                        return Exploration(states=len(following), violations=frozenset(found))
            after = following[state]
            if after is not None:
                stage.append((after, crashes, happened))
            if crashes < most_crashes:
                waiting[crashes + happened + 1].append((death(state), crashes + 1, happened))
            if happened < most_events:
                for changed_state in power(state) if has_power_failures else events(state, guards):
                    waiting[crashes + happened + 1].append((changed_state, crashes, happened + 1))
    if runs_in_circles(following):
        found.add("runs in circles")
    return Exploration(states=len(following), violations=frozenset(found))


def runs_in_circles(following: dict[State, State | None]) -> bool:
    """Return whether the daemon, left undisturbed, never comes to rest from some state."""
    comes_to_rest: set[State] = set()
    for state in following:
        path: dict[State, None] = {}
        at: State | None = state
        while at is not None and at not in comes_to_rest:
            if at in path:
                return True
            path[at] = None
            at = following[at]
        comes_to_rest.update(path)
    return False


@pytest.mark.parametrize("most_crashes", [MOST_CRASHES, pytest.param(3, marks=pytest.mark.release)])
@pytest.mark.parametrize("mails", ["AB", "APB"])
def test_the_protocol_loses_nothing_and_doubles_nothing(mails: str, most_crashes: int) -> None:
    found = explore(mails, Guards(), most_crashes=most_crashes)

    assert found.violations == frozenset()
    assert found.states > 100_000


def test_a_disk_that_lies_loses_nothing_that_is_still_in_a_folder() -> None:
    assert explore("AB", Guards(), has_power_failures=True).violations == frozenset()


@pytest.mark.parametrize(
    ("guard", "mails", "violation"),
    [
        ("captures_before_touching", "AB", "acknowledgement missing"),
        ("captures_durably", "APB", "runs in circles"),
        ("counts_attempts", "APB", "runs in circles"),
        ("has_dedup_key", "AB", "doubled"),
        ("key_has_content", "AB", "lost"),
        ("identity_has_epoch", "AB", "acknowledgement missing"),
        ("identity_has_size_and_date", "AB", "acknowledgement missing"),
        ("lists_against_the_ledger", "AB", "acknowledgement missing"),
        ("ignores_seen", "AB", "acknowledgement missing"),
        ("commits_event_and_ack_together", "AB", "acknowledgement missing"),
        ("sends_after_the_commit", "AB", "acknowledgement doubled"),
        ("marks_sent_after_acceptance", "AB", "acknowledgement missing"),
        ("resends_when_in_doubt", "AB", "acknowledgement missing"),
    ],
)
def test_without_one_of_its_guards_the_protocol_fails(guard: str, mails: str, violation: str) -> None:
    assert violation in explore(mails, replace(Guards(), **{guard: False})).violations


def test_without_the_sweep_a_disk_that_lies_loses_mail() -> None:
    assert "lost" in explore("AB", Guards(sweeps_processed=False), has_power_failures=True).violations


def test_when_a_captured_mail_is_filed_is_not_a_matter_of_safety() -> None:
    assert explore("AB", Guards(files_after_deciding=False), most_events=1).violations == frozenset()
