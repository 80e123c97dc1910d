"""The rooms behind one mailbox on a real SQLite, without the wire: mail goes in, the clock ticks, letters lie there.

The clock is an argument of every call; nothing here reads or sleeps.
"""

from __future__ import annotations

import email
import email.policy
import email.utils
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from email.message import EmailMessage
from importlib import resources
from pathlib import Path

from sqlalchemy import func, select

from supportd.compose import Composer
from supportd.config import Config, Desk, document
from supportd.core.model import Address, Ticket
from supportd.core.parse import parse
from supportd.core.tokens import Key, Keys
from supportd.db import ledger, tickets
from supportd.db.engine import Connection, Database
from supportd.db.ledger import Captured, Listed
from supportd.db.migrate import upgrade
from supportd.db.schema import incident, letter, notice, slot, ticket
from supportd.decide import Decider, Decision
from supportd.lease import Lease
from supportd.post import Post
from supportd.remind import Reminder
from supportd.steering import Actor

EXAMPLE = resources.files("supportd").joinpath("config.example.yaml").read_text(encoding="utf-8")
DOMAIN = "allsaints.example"
SAM, ANN = f"sam.okafor@{DOMAIN}", f"ann.reid@{DOMAIN}"
LEAD, IT, NIGHT = f"it.lead@{DOMAIN}", f"it@{DOMAIN}", f"on.call@{DOMAIN}"
# Two technicians, and somebody who may be woken.
PEOPLE = {
    "  - {name: Sam Okafor, address: sam.okafor@allsaints.example}": (
        f"  - {{name: Sam Okafor, address: {SAM}}}\n  - {{name: Ann Reid, address: {ANN}}}"
    ),
    "on_call: []": f"on_call: [{NIGHT}]",
}


def config(changed: Mapping[str, str] | None = None) -> Config:
    """Return the example configuration with the PEOPLE and with each key of *changed* replaced in its text."""
    text = EXAMPLE
    for old, new in {**PEOPLE, **(changed or {})}.items():
        assert old in text, f"{old!r} does not stand in the example"
        text = text.replace(old, new, 1)
    return document.parse(Config, text, name="config.yaml", context={"folder": Path()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """One letter in the outbox."""

    id: int
    kind: str
    key: str
    recipient: str
    queued_at: datetime
    data: bytes

    @property
    def text(self) -> str:
        """Return the text that a plain mail program shows."""
        body = email.message_from_bytes(self.data, policy=email.policy.default).get_body(("plain",))
        assert body is not None
        return str(body.get_content())

    @property
    def subject(self) -> str:
        return str(email.message_from_bytes(self.data, policy=email.policy.default)["Subject"])


class Rooms:
    """One mailbox with its database in *folder*, served from *started_at* on."""

    def __init__(self, folder: Path, started_at: datetime, settings: Config | None = None) -> None:
        self.database = Database(f"sqlite:///{folder / 'supportd.db'}")
        upgrade(self.database)
        self.keys = Keys(current=Key(version=1, secret=b"k" * 32), previous=None)
        self._uid = 0
        self._read = 0
        self.configure(settings or config())
        self.lease = Lease(self.database, self.mailbox_id)
        self.lease.take(started_at)
        with self.database.write() as connection:
            self.epoch_id = ledger.ensure_epoch(connection, self.mailbox_id, "INBOX", 1)
            ledger.first_start(connection, self.mailbox_id, started_at)

    def configure(self, settings: Config) -> None:
        """Put *settings* in force, as a start or a reload does before it counts anew."""
        self.config = settings
        self.desk: Desk = settings.desks[0]
        with self.database.write() as connection:
            self.mailbox_id = ledger.ensure_mailbox(connection, self.desk.name)
        self.composer = Composer(
            hours=self.desk.hours,
            policy=self.desk.policy,
            support=Address(address=self.desk.mailbox.address, name=self.desk.mailbox.display_name),
            school=self.desk.school,
            staff_domains=tuple(self.desk.staff_domains),
        )
        self.reminder = Reminder(self.database, self.desk, self.composer, self.keys, self.mailbox_id)

    def receive(
        self,
        subject: str,
        text: str,
        *,
        sender: str = f"jane.smith@{DOMAIN}",
        received_at: datetime,
        now: datetime | None = None,
        answers: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Decision:
        """Capture and decide one mail that the server received at *received_at*; *now* is when we look at it."""
        self._uid += 1
        mail = EmailMessage(policy=email.policy.SMTP)
        mail["From"], mail["To"], mail["Subject"] = sender, self.desk.mailbox.address, subject
        mail["Date"] = email.utils.format_datetime(received_at)
        mail["Message-ID"] = f"<{self._uid}.{received_at:%Y%m%d%H%M%S}@mail.example>"
        if answers:
            mail["In-Reply-To"] = mail["References"] = answers
        for name, value in (headers or {}).items():
            mail[name] = value
        mail.set_content(text)
        data = bytes(mail)
        listed = Listed(uid=self._uid, size=len(data), received_at=received_at)
        now = now or received_at
        with self.database.write() as connection:
            ledger.capture(connection, self.mailbox_id, self.epoch_id, [Captured(listed=listed, data=data)], now)
        with self.database.read() as connection:
            number = ledger.undecided(connection, self.mailbox_id, limit=1)[0]
            row = ledger.load(connection, number)
        assert row is not None
        decider = Decider(self.database, self.desk, self.composer, self.keys, self.mailbox_id, self.lease)
        decision = decider.decide(row, parse(row.data), now)
        assert decision is not None
        return decision

    def post(self, connection: Connection, now: datetime) -> Post:
        return Post(connection, self.desk, self.composer, self.keys, self.mailbox_id, now)

    def tick(self, now: datetime) -> list[Queued]:
        """Let the clock tick at *now* and return the letters that it queued."""
        self.fresh()
        self.reminder.tick(now)
        return self.fresh()

    def fresh(self) -> list[Queued]:
        """Return the letters that were queued since the last look, oldest first."""
        found = self.queued(after=self._read)
        self._read = max((one.id for one in found), default=self._read)
        return found

    def queued(self, *, after: int = 0) -> list[Queued]:
        """Return the letters of the outbox with an id above *after*, oldest first."""
        with self.database.read() as connection:
            rows = connection.execute(select(letter).where(letter.c.id > after).order_by(letter.c.id)).all()
        return [
            Queued(
                id=row.id, kind=row.kind, key=row.key, recipient=row.recipient, queued_at=row.queued_at, data=row.data
            )
            for row in rows
        ]

    def ticket(self, reference: str) -> Ticket:
        with self.database.read() as connection:
            number = tickets.id_of(connection, reference)
            assert number is not None
            return tickets.load(connection, number, self.desk.level_names)

    def slots(self, job: str) -> dict[str, str]:
        """Return the outcome of each decided slot of *job* by its local date."""
        with self.database.read() as connection:
            rows = connection.execute(select(slot.c.day, slot.c.outcome).where(slot.c.job == job).order_by(slot.c.day))
            return {row.day: row.outcome for row in rows}

    def next_look_at(self, now: datetime) -> datetime:
        """Return the next instant after *now* at which the clock may have something to do.

        What is due already and held, waits for an opening; those are named here too, and eight o'clock of every day.
        """
        hours = self.desk.hours
        tomorrow = (hours.local(now) + timedelta(days=1)).date()
        instants = [
            hours.opening_of(hours.local(now).date()),
            hours.opening_of(tomorrow),
            datetime.combine(tomorrow, time(8), hours.zone).astimezone(UTC),
        ]
        with self.database.read() as connection:
            for wanted in (
                select(func.min(ticket.c.next_check_at)).where(ticket.c.next_check_at > now),
                select(func.min(notice.c.due_at)).where(notice.c.done_at.is_(None), notice.c.due_at > now),
                select(func.min(incident.c.news_due)).where(
                    incident.c.closed_at.is_(None), incident.c.news_due > now
                ),
            ):
                instants.append(connection.execute(wanted).scalar())
        return min(one for one in instants if one is not None and one > now)


def technician(address: str) -> Actor:
    return Actor(address=address, name=address.partition(".")[0].capitalize())
