"""Deadlines -> letters: what the clock tick sends by itself, each exactly once, however long the daemon slept.

1. notices that are due: alerts of the night, folded alerts, the count of an incident
2. reminders: of several missed steps only the latest, each step once whoever reads it
3. resolved tickets that nobody answered are closed
4. the digest at the opening of each business day; a heartbeat in a week without one

A digest takes up what happened since the last one, not since a date: after a fortnight's sleep, or a clock that was
wrong, nothing has fallen between two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from functools import partial
from itertools import groupby

from supportd import failpoint, log, report, steering
from supportd.compose import Composer, Digest, Item, Report, Screened, Undelivered
from supportd.config import Desk
from supportd.core import sla
from supportd.core.model import EventKind, Status, Ticket
from supportd.core.sla import Clock, Kind, Step
from supportd.core.tokens import Keys, Role
from supportd.db import ledger, letters, tickets
from supportd.db.engine import Connection, Database
from supportd.errors import Unavailable
from supportd.post import Post
from supportd.steering import DAEMON

_log = log.get("remind")

# A digest or a heartbeat at least this often: silence is the alarm.
_SILENCE = timedelta(days=7)
# A ticket whose check failed is looked at again after this long.
_AFTER_A_FAILURE = timedelta(hours=1)
# The heartbeat comes at an hour when somebody may read it, also in holidays.
_HEARTBEAT_HOUR = 8
# A digest is read on a phone.
_MOST_WARNINGS = 10
# A ticket whose calendar has ended is looked at again after a day, or at once when new terms are loaded.
_LOOK_AGAIN = timedelta(days=1)


class Reminder:
    """The clock's work for one mailbox."""

    def __init__(self, database: Database, desk: Desk, composer: Composer, keys: Keys, mailbox_id: int) -> None:
        self._database = database
        self._desk = desk
        self._composer = composer
        self._keys = keys
        self._mailbox_id = mailbox_id

    def tick(self, now: datetime) -> bool:
        """Do all that is due at *now* and return whether a letter may have been queued.

        Raises:
            Unavailable: the database cannot be reached; the next tick finds the rest.
        """
        failpoint.hit("remind.tick")
        did = self._tell_notices(now)
        with self._database.read() as connection:
            due = tickets.due_for_check(connection, self._mailbox_id, now)
        for ticket_id in due:
            try:
                with self._database.write() as connection:
                    self._check(self._post(connection, now), ticket_id)
                    failpoint.hit("remind.committing")
            except (Unavailable, failpoint.Stumble):
                raise
            except Exception:  # noqa: BLE001 - whatever one ticket breaks, the others are looked at
                # One ticket that cannot be counted holds up no other (I9); it is looked at again later.
                _log.exception("reminder failed", ticket_id=ticket_id)
                with self._database.write() as connection:
                    tickets.change(connection, ticket_id, next_check_at=now + _AFTER_A_FAILURE)
            failpoint.hit("remind.committed")
            did = True
        did = self._remind_of_news(now) or did
        return self._digest(now) or self._heartbeat(now) or did

    def recount_if_changed(self, now: datetime) -> int:
        """Count live tickets anew when calendar or policy differ from those of the last start; return how many.

        Raises:
            Unavailable: the database cannot be reached.
        """
        in_force = self._desk.promise_sha256
        with self._database.write() as connection:
            name = f"promise:{self._mailbox_id}"
            before = letters.setting(connection, name)
            if before == in_force:
                return 0
            letters.change_setting(connection, name, in_force)
            if not before:
                return 0
            count = steering.recount_all(self._post(connection, now), "the service calendar has changed")
            opening = self._desk.hours.next_open(now)
            if opening is not None:
                letters.bring_forward(connection, self._mailbox_id, opening)
        _log.info("recounted", mailbox=self._desk.name, tickets=count)
        return count

    def _post(self, connection: Connection, now: datetime) -> Post:
        return Post(connection, self._desk, self._composer, self._keys, self._mailbox_id, now)

    # -- notices ---------------------------------------------------------------------------------------------------

    def _tell_notices(self, now: datetime) -> bool:
        with self._database.read() as connection:
            due = letters.due_notices(connection, self._mailbox_id, now)
        did = False
        for recipient, group in groupby(sorted(due, key=lambda one: one.recipient), key=lambda one: one.recipient):
            with self._database.write() as connection:
                did = self._tell(self._post(connection, now), recipient, list(group)) or did
                failpoint.hit("remind.telling")
        return did

    def _tell(self, post: Post, recipient: str, group: list[letters.Notice]) -> bool:
        """Tell *recipient* of the tickets of *group*: each by itself, or folded into one letter where they are many.

        Return whether there was anything to tell.
        """
        found = {one.ticket_id: steering.load(post, one.ticket_id) for one in group}
        if not self._desk.hours.is_open(post.now) and self._desk.hours.next_open(post.now) is not None:
            # A closure came between: a quiet alert waits for the opening that the calendar names now.
            group = [one for one in group if one.kind != "alert" or found[one.ticket_id].level <= 3]
        if not group:
            return False
        new = [found[one.ticket_id] for one in group if one.kind == "alert" and found[one.ticket_id].status in LIVE]
        for one in group:
            if one.kind == "incident":
                self._tell_incident(post, recipient, found[one.ticket_id])
        if len(new) > self._desk.limits.alerts_10_minutes:
            items = tuple(self._item(post, ticket, recipient) for ticket in new)
            first = group[0].id
            post.to_technician(
                "alerts",
                f"alerts:{first}",
                recipient,
                lambda envelope: self._composer.alerts(envelope, items),
                role=Role.READER,
            )
        else:
            for ticket in new:
                self._alert(post, recipient, ticket)
        letters.notices_done(post.connection, [one.id for one in group], post.now)
        return True

    def _alert(self, post: Post, recipient: str, ticket: Ticket, *, repeat: int = 0) -> None:
        explained = steering.explanation(post, ticket)
        attachments = tickets.first_contents(post.connection, ticket.id)
        key = f"alert:{ticket.reference}" + (f":repeat-{repeat}" if repeat else "")
        post.to_technician(
            "alert",
            key,
            recipient,
            lambda envelope: self._composer.alert(
                envelope, ticket, explanation=explained, attachments=attachments, repeat=repeat
            ),
            ticket=ticket,
        )

    def _tell_incident(self, post: Post, recipient: str, ticket: Ticket) -> None:
        incident = steering.incident_view(post, ticket)
        if incident is None:
            return
        post.to_technician(
            "alert",
            f"incident:{ticket.incident}",
            recipient,
            lambda envelope: self._composer.alert(envelope, ticket, incident=incident),
            ticket=ticket,
        )

    def _remind_of_news(self, now: datetime) -> bool:
        """Tell the technicians that news of an incident are due: its reporters were told by when."""
        if not self._desk.hours.is_open(now):
            return False
        with self._database.read() as connection:
            due = tickets.news_due(connection, self._mailbox_id, now)
        for number in due:
            with self._database.write() as connection:
                post = self._post(connection, now)
                members = tickets.of_incident(connection, number, self._desk.level_names)
                tickets.change_incident(connection, number, news_due=steering.next_news_at(post))
                if not any(member.status in LIVE for member in members):
                    tickets.change_incident(connection, number, news_due=None, closed_at=now)
                    continue
                first = members[0]
                for recipient in post.technicians_of(first):
                    post.to_technician(
                        "notice",
                        f"news-due:{number}:{now.isoformat()}",
                        recipient,
                        partial(
                            self._composer.notice,
                            ticket=first,
                            title="News is due on this incident",
                            lines=("Who reported it was told to expect news now.", "Answer with: #status a sentence"),
                        ),
                        ticket=first,
                    )
        return bool(due)

    # -- one ticket ------------------------------------------------------------------------------------------------

    def _check(self, post: Post, ticket_id: int) -> None:
        """Send what is due for the ticket and record when to look again."""
        ticket = steering.load(post, ticket_id)
        if ticket.status is Status.CLOSED:
            tickets.change(post.connection, ticket_id, next_check_at=None)
            return
        if ticket.status is Status.RESOLVED:
            self._close_if_quiet(post, ticket)
            return
        clocks = steering.clocks(post, ticket)
        nexts: list[datetime] = []
        for clock in (clocks.response, clocks.resolution):
            if clock is None:
                continue
            steps = sla.ladder(clock, self._desk.hours, post.now)
            step = sla.step_due(steps, (), post.now)
            if step is not None and self._desk.hours.is_open(post.now):
                self._remind(post, ticket, clock, step)
            following = sla.next_step_at(steps, post.now)
            if step is not None and not self._desk.hours.is_open(post.now):
                # Missed while the daemon slept, and now it is closed: the step goes out at the next opening.
                following = min(filter(None, (following, self._desk.hours.next_open(post.now))), default=None)
            if following is not None:
                nexts.append(following)
            elif clock.met_at is None and not clock.is_waiting and clock.due is None:
                nexts.append(post.now + _LOOK_AGAIN)
        nexts += self._repeat_on_call(post, ticket)
        tickets.change(post.connection, ticket_id, next_check_at=min(nexts, default=None))

    def _remind(self, post: Post, ticket: Ticket, clock: Clock, step: Step) -> None:
        assert clock.due is not None
        if self._is_reminded_by_another(post, ticket, clock.kind):
            return
        due_at = clock.due
        name = _SPOKEN.get(step.name, "daily")
        key = f"remind:{ticket.reference}:{clock.key}:{step.name}"
        if letters.has_reason(post.connection, ticket.id, f"{self._desk.name}:{key}:"):
            # Told already; who took the ticket over since then was told so.
            return
        assignee = self._desk.deputy_of(ticket.assignee, post.now) if ticket.assignee else ""
        recipients = (assignee,) if assignee else post.serious_recipients()
        for recipient in recipients:
            post.to_technician(
                "reminder",
                key,
                recipient,
                lambda envelope: self._composer.reminder(envelope, ticket, clock=clock.kind, step=name, due_at=due_at),
                ticket=ticket,
            )
        # From the third step the IT lead reads along (behaviour.md).
        if step.rung >= 3 and self._desk.it_lead and self._desk.it_lead not in recipients:
            post.to_technician(
                "escalation",
                key,
                self._desk.it_lead,
                lambda envelope: self._composer.escalation(
                    envelope, ticket, clock=clock.kind, step=name, due_at=due_at
                ),
                ticket=ticket,
                role=Role.READER,
            )

    def _is_reminded_by_another(self, post: Post, ticket: Ticket, kind: Kind) -> bool:
        """Return whether the same clock of an earlier report of its incident runs: ten reports want one reminder."""
        if ticket.incident is None:
            return False
        members = tickets.of_incident(post.connection, ticket.incident, self._desk.level_names)
        return any(other.id < ticket.id and _runs(other, kind) for other in members)

    def _repeat_on_call(self, post: Post, ticket: Ticket) -> list[datetime]:
        """Repeat a severity 1 alert to on_call while it is closed and nobody answers; return what is next."""
        if ticket.level != 1 or ticket.responded_at is not None or not self._desk.on_call:
            return []
        alerted_at = letters.first_queued_at(post.connection, ticket.id, "alert")
        if alerted_at is None:
            return []
        steps = sla.on_call_repeats(alerted_at, self._desk.hours)
        step = sla.step_due(steps, (), post.now)
        if step is not None and not self._desk.hours.is_open(post.now):
            for recipient in self._desk.on_call:
                self._alert(post, recipient, ticket, repeat=step.rung)
        following = sla.next_step_at(steps, post.now)
        return [] if following is None else [following]

    def _close_if_quiet(self, post: Post, ticket: Ticket) -> None:
        """Close a resolved ticket after the set number of business days without a reply."""
        assert ticket.resolved_at is not None
        closes_at = steering.closes_at(post, ticket.resolved_at)
        if closes_at is None:
            tickets.change(post.connection, ticket.id, next_check_at=post.now + _LOOK_AGAIN)
            return
        if post.now < closes_at:
            tickets.change(post.connection, ticket.id, next_check_at=closes_at)
            return
        steering.record(post, ticket, EventKind.CLOSED, DAEMON)
        tickets.change(post.connection, ticket.id, status=Status.CLOSED, closed_at=post.now, next_check_at=None)

    # -- the morning -----------------------------------------------------------------------------------------------

    def _digest(self, now: datetime) -> bool:
        """Send the digest of the current business day once it has opened; nothing to say, nothing sent."""
        hours = self._desk.hours
        today = hours.local(now).date()
        opening = hours.opening_of(today)
        if opening is None or now < opening or not self._desk.it_inbox:
            return False
        with self._database.read() as connection:
            if tickets.is_decided(connection, self._mailbox_id, "digest", today.isoformat()):
                return False
        with self._database.write() as connection:
            post = self._post(connection, now)
            digest = self.worklist(post)
            slept = self._slept(connection, today)
            outcome = "sent" if digest != Digest() else "empty"
            if not tickets.reserve_slot(connection, self._mailbox_id, "digest", today.isoformat(), now, outcome):
                return False
            for day in slept:
                tickets.reserve_slot(connection, self._mailbox_id, "digest", day.isoformat(), now, "slept")
            if outcome == "empty":
                return False
            post.to_technician(
                "digest",
                f"digest:{today}",
                self._desk.it_inbox,
                lambda envelope: self._composer.digest(envelope, digest),
                role=Role.READER,
            )
            failpoint.hit("digest.committing")
        failpoint.hit("digest.committed")
        _log.info("digest", mailbox=self._desk.name, day=today.isoformat())
        return True

    def _slept(self, connection: Connection, today: date) -> tuple[date, ...]:
        """Return the business days before *today* on which nobody was awake to decide the digest: today's says it."""
        last = tickets.last_slot(connection, self._mailbox_id, "digest", today.isoformat())
        if last is None:
            return ()
        return self._desk.hours.business_days(date.fromisoformat(last) + timedelta(days=1), today - timedelta(days=1))

    def worklist(self, post: Post) -> Digest:
        """Return what the digest says at *post.now*: lists one can act from, and warnings."""
        hours, now = self._desk.hours, post.now
        today = hours.local(now).date()
        live = tickets.live(post.connection, self._mailbox_id, self._desk.level_names)
        past = hours.business_days(today - timedelta(days=30), today - timedelta(days=1))
        told_at = letters.last_queued_at(post.connection, self._mailbox_id, ("digest",))
        since = told_at or ledger.started_at(post.connection, self._mailbox_id) or now - timedelta(days=1)
        decided = tickets.last_slot(post.connection, self._mailbox_id, "digest", today.isoformat())
        has_slept = bool(past) and decided is not None and decided < past[-1].isoformat()
        since_closing = since if has_slept or not past else hours.last_closing_of(past[-1]) or since

        def due(ticket: Ticket) -> list[datetime]:
            waits = ticket.status is Status.WAITING
            pairs = ((ticket.response_due, ticket.responded_at), (None if waits else ticket.resolution_due, None))
            return [at for at, met in pairs if at is not None and met is None]

        overdue = [one for one in live if any(at < now for at in due(one))]
        today_due = [
            one for one in live if one not in overdue and any(hours.local(at).date() == today for at in due(one))
        ]
        listed = {one.id for one in (*overdue, *today_due)}
        return Digest(
            overdue=self._items(post, overdue),
            due_today=self._items(post, today_due),
            at_risk=self._items(post, [one for one in live if one.id not in listed and self._is_at_risk(post, one)]),
            overnight=self._items(post, [one for one in live if one.received_at >= since_closing]),
            waiting=self._items(post, [one for one in live if one.status is Status.WAITING]),
            resolved=self._items(
                post, tickets.resolved_since(post.connection, self._mailbox_id, since, self._desk.level_names)
            ),
            screened=_folded(ledger.screened_since(post.connection, self._mailbox_id, since)),
            quarantined=tuple(
                Screened(number=one.id, sender=one.sender, reason=one.reason, at=one.at)
                for one in ledger.quarantined(post.connection, self._mailbox_id)
            ),
            undelivered=tuple(
                Undelivered(kind=one.kind, recipient=one.recipient, reply=one.reply, reference=one.reference)
                for one in letters.given_up_since(post.connection, self._mailbox_id, since)
            ),
            warnings=self._warnings(post, since),
            report=self._report(post, today),
        )

    def _is_at_risk(self, post: Post, ticket: Ticket) -> bool:
        """Return whether more than half of a promise's time is used up, though it is not due today."""
        counted = steering.clocks(post, ticket)
        running = (
            clock
            for clock in (counted.response, counted.resolution)
            if clock is not None and clock.met_at is None and not clock.is_waiting
        )
        halves = (sla.half_at(clock, self._desk.hours) for clock in running)
        return any(half is not None and half <= post.now for half in halves)

    def _report(self, post: Post, today: date) -> Report | None:
        """Return the report that the week's first digest carries; weeks in which nothing was asked have none."""
        last = tickets.last_slot(post.connection, self._mailbox_id, "digest", today.isoformat())
        weeks = report.unreported(self._desk, post.now, date.fromisoformat(last) if last else None)
        if weeks is None:
            return None
        found = report.between(post.connection, self._desk, self._mailbox_id, *weeks, post.now)
        return found if any(row.tickets for row in found.rows) else None

    def _warnings(self, post: Post, since: datetime) -> tuple[str, ...]:
        events = tickets.security_events_since(post.connection, self._mailbox_id, since)
        return (
            *sla.warnings(self._desk.hours, post.now),
            *self._desk.calendar_problems,
            *self._desk.secret_warnings(post.now),
            *(f"the template {problem}" for problem in self._composer.problems),
            *_told_once(events),
        )

    def _heartbeat(self, now: datetime) -> bool:
        """Send one line when a week has passed without a digest, also in holidays."""
        local = self._desk.hours.local(now)
        if local.hour < _HEARTBEAT_HOUR or not self._desk.it_inbox:
            return False
        with self._database.read() as connection:
            started = ledger.started_at(connection, self._mailbox_id)
            last = letters.last_queued_at(connection, self._mailbox_id, ("digest", "heartbeat"))
        last = last or started
        # A clock that was ahead left a letter in the future; it is no sign of life.
        if last is None or timedelta() <= now - last < _SILENCE:
            return False
        day = local.date().isoformat()
        with self._database.write() as connection:
            if not tickets.reserve_slot(connection, self._mailbox_id, "heartbeat", day, now, "sent"):
                return False
            post = self._post(connection, now)
            count = len(tickets.live(connection, self._mailbox_id, self._desk.level_names))
            post.to_technician(
                "heartbeat",
                f"heartbeat:{day}",
                self._desk.it_inbox,
                lambda envelope: self._composer.heartbeat(envelope, open_tickets=count),
                role=Role.READER,
            )
        return True

    def _items(self, post: Post, found: Iterable[Ticket]) -> tuple[Item, ...]:
        assert self._desk.it_inbox is not None
        return tuple(self._item(post, ticket, self._desk.it_inbox) for ticket in found)

    def _item(self, post: Post, ticket: Ticket, recipient: str) -> Item:
        return Item(ticket=ticket, reply_to=post.reply_to(recipient, Role.TECHNICIAN, ticket))


LIVE = tickets.LIVE
# The ladder's steps in the words of the templates; every later one is "daily".
_SPOKEN = {"half": "half", "soon": "soon", "due": "due", "hour-after": "overdue"}


def _told_once(events: Iterable[tuple[datetime, str, str]]) -> tuple[str, ...]:
    """Return security events in words, the same one of the same address once with its count, the most frequent first.

    Whoever sends a thousand forged mails gets one line, and all who do get no more than a digest can hold.
    """
    counts = Counter(text if address and address in text else f"{address or 'somebody'}: {text}"
                     for _at, address, text in events)
    lines = [f"{words} ({count} times)" if count > 1 else words for words, count in counts.most_common(_MOST_WARNINGS)]
    more = len(counts) - len(lines)
    return (*lines, f"and {more} more claims without proof") if more else tuple(lines)


def _runs(ticket: Ticket, kind: Kind) -> bool:
    """Return whether the ticket has a clock of *kind* that somebody is reminded of."""
    if ticket.status not in LIVE:
        return False
    if kind is Kind.RESPONSE:
        return ticket.responded_at is None and ticket.response_due is not None
    return ticket.status is not Status.WAITING and ticket.resolution_due is not None


def _folded(screened: Iterable[ledger.SetAside]) -> tuple[Screened, ...]:
    """Return screened mail with copies of one sender and reason folded into one line with their count."""
    found: dict[tuple[str, str], list[ledger.SetAside]] = {}
    for one in screened:
        found.setdefault((one.sender, one.reason), []).append(one)
    return tuple(
        Screened(number=same[0].id, sender=sender, reason=reason, at=same[0].at, count=len(same))
        for (sender, reason), same in found.items()
    )
