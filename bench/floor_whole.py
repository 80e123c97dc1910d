"""The plainest script that does the whole job: mail in, ticket, acknowledgement out, mail filed.

One commit per mail, synchronous=FULL; no screening, no templates, no safety from crashes.  It is the yardstick of
bench/run.py and nothing to be used: a death between the commit and the letter loses the acknowledgement.

python bench/floor_whole.py HOST IMAP_PORT USER PASSWORD SMTP_PORT DATABASE
"""

from __future__ import annotations

import smtplib
import sys
from datetime import UTC, datetime
from email.message import EmailMessage

import mailparser
from imapclient import IMAPClient
from sqlalchemy import ForeignKey, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship


class Model(DeclarativeBase):
    """The tables."""


class Ticket(Model):
    """One mail, as a ticket."""

    __tablename__ = "ticket"
    id: Mapped[int] = mapped_column(primary_key=True)
    message_id: Mapped[str] = mapped_column(index=True)
    sender: Mapped[str]
    subject: Mapped[str]
    text: Mapped[str]
    received_at: Mapped[datetime]
    raw: Mapped[bytes]
    attachments: Mapped[list[Attachment]] = relationship(back_populates="ticket")


class Attachment(Model):
    """What came with it."""

    __tablename__ = "attachment"
    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("ticket.id"))
    name: Mapped[str]
    data: Mapped[str]
    ticket: Mapped[Ticket] = relationship(back_populates="attachments")


def main() -> None:
    """Drain the inbox."""
    host, imap_port, user, password, smtp_port, database = sys.argv[1:]
    engine = create_engine(f"sqlite:///{database}")

    @event.listens_for(engine, "connect")
    def safely(connection, _record):  # type: ignore[no-untyped-def]
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    Model.metadata.create_all(engine)
    with IMAPClient(host, port=int(imap_port), ssl=False) as inbox, smtplib.SMTP(host, int(smtp_port)) as post:
        inbox.login(user, password)
        if not inbox.folder_exists("Processed"):
            inbox.create_folder("Processed")
        inbox.select_folder("INBOX")
        with Session(engine) as session:
            for uid in inbox.search():
                raw = inbox.fetch([uid], ["BODY.PEEK[]"])[uid][b"BODY[]"]
                mail = mailparser.parse_from_bytes(raw)
                sender = mail.from_[0][1]
                files = [Attachment(name=one["filename"], data=one["payload"]) for one in mail.attachments]
                ticket = Ticket(
                    message_id=mail.message_id, sender=sender, subject=mail.subject, text=mail.body, raw=raw,
                    received_at=datetime.now(UTC), attachments=files,
                )  # fmt: skip
                session.add(ticket)
                session.commit()
                letter = EmailMessage()
                letter["From"] = user
                letter["To"] = sender
                letter["Subject"] = f"[#{ticket.id}] {' '.join(mail.subject.split())}"
                letter["In-Reply-To"] = mail.message_id
                letter.set_content(f"We have your mail.  Your ticket is #{ticket.id}.\n")
                post.send_message(letter)
                inbox.move([uid], "Processed")


if __name__ == "__main__":
    main()
