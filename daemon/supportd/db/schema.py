"""The tables.  Instants are UTC; raw bytes stay bytes; a text from mail has been cleaned at the parse boundary."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UTCInstant(TypeDecorator[datetime]):
    """An aware instant in UTC; SQLite would drop the offset without a word, so a naive one is refused."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Return timestamptz on PostgreSQL, naive UTC text elsewhere."""
        return dialect.type_descriptor(DateTime(timezone=dialect.name == "postgresql"))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return *value* in UTC.

        Raises:
            ValueError: *value* is naive.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive instant {value!r}")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the stored instant, aware, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# SQLite gives a 64-bit rowid only to a column of type INTEGER.
Id = BigInteger().with_variant(Integer, "sqlite")

mailbox = Table(
    "mailbox",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("started_at", UTCInstant),  # first start: what arrived long before is preexisting
    Column("lease_owner", String(100)),
    Column("lease_until", UTCInstant),
    Column("fence", Id, nullable=False, server_default=text("0")),
)

# One life of one folder on the server: UIDs mean nothing outside it (RFC 9051 2.3.1.1).
epoch = Table(
    "epoch",
    metadata,
    Column("id", Id, primary_key=True),
    Column("mailbox_id", Id, ForeignKey("mailbox.id"), nullable=False),
    Column("folder", String(255), nullable=False),
    Column("uidvalidity", BigInteger, nullable=False),
    UniqueConstraint("mailbox_id", "folder", "uidvalidity"),
)

# The ledger: one row for every message the daemon ever saw in a watched folder.
message = Table(
    "message",
    metadata,
    Column("id", Id, primary_key=True),
    Column("mailbox_id", Id, ForeignKey("mailbox.id"), nullable=False),
    Column("epoch_id", Id, ForeignKey("epoch.id"), nullable=False),
    Column("uid", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("received_at", UTCInstant, nullable=False),  # IMAP INTERNALDATE
    Column("captured_at", UTCInstant, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("silent", Boolean, nullable=False, server_default=text("false")),  # imported or swept: no acknowledgement
    Column("oversize", Boolean, nullable=False, server_default=text("false")),
    Column("passed", Boolean, nullable=False, server_default=text("false")),  # a person lets it pass screening
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("message_id", Text),
    Column("trace_free_sha256", String(64)),  # F1 of reliability.md 3
    Column("content_sha256", String(64)),  # F2
    Column("dedup_key", String(200), unique=True),
    Column("sender", String(320)),
    Column("verdict", String(20)),
    Column("rule", String(60)),
    Column("reason", Text),
    Column("duplicate_of", Id, ForeignKey("message.id")),
    Column("ticket_id", Id, ForeignKey("ticket.id")),
    Column("decided_at", UTCInstant),
    Column("folder", String(255)),  # where the mailbox's copy belongs; null: leave it where it is
    Column("filed_at", UTCInstant),
    UniqueConstraint("epoch_id", "uid", "size", "received_at"),
    Index("ix_message_undecided", "mailbox_id", "id", sqlite_where=text("verdict IS NULL"),
          postgresql_where=text("verdict IS NULL")),
    Index("ix_message_unfiled", "epoch_id", "id",
          sqlite_where=text("filed_at IS NULL AND folder IS NOT NULL"),
          postgresql_where=text("filed_at IS NULL AND folder IS NOT NULL")),
    Index("ix_message_quarantined", "mailbox_id", "id", sqlite_where=text("verdict = 'quarantined'"),
          postgresql_where=text("verdict = 'quarantined'")),
    Index("ix_message_trace_free", "mailbox_id", "trace_free_sha256"),
    Index("ix_message_sender", "mailbox_id", "sender", "captured_at"),
    Index("ix_message_decided", "mailbox_id", "decided_at"),
    Index("ix_message_ticket", "ticket_id"),
)

# Message-IDs can be of any length and case; they are found by the SHA-256 of their normal form.
message_id_index = Table(
    "message_id_index",
    metadata,
    Column("mailbox_id", Id, ForeignKey("mailbox.id"), primary_key=True),
    Column("hash", String(64), primary_key=True),
    Column("message_id", Id, ForeignKey("message.id"), primary_key=True),
)

raw = Table(
    "raw",
    metadata,
    Column("message_id", Id, ForeignKey("message.id"), primary_key=True),
    Column("data", LargeBinary, nullable=False),  # zlib
)

# What was looked at in the Sent folder: only that, since it is not ours to keep.
sent_item = Table(
    "sent_item",
    metadata,
    Column("epoch_id", Id, ForeignKey("epoch.id"), primary_key=True),
    Column("uid", BigInteger, primary_key=True),
    Column("size", BigInteger, primary_key=True),
    Column("received_at", UTCInstant, primary_key=True),
)

counter = Table(
    "counter",
    metadata,
    Column("name", String(60), primary_key=True),
    Column("value", Id, nullable=False),
)

ticket = Table(
    "ticket",
    metadata,
    Column("id", Id, primary_key=True),
    Column("mailbox_id", Id, ForeignKey("mailbox.id"), nullable=False),
    Column("reference", String(40), nullable=False, unique=True),
    Column("subject", Text, nullable=False),
    Column("requester", String(320), nullable=False),
    Column("requester_name", Text, nullable=False),
    Column("level", Integer, nullable=False),
    Column("status", String(20), nullable=False),
    Column("received_at", UTCInstant, nullable=False),
    Column("text", Text, nullable=False),
    Column("evidence", JSON, nullable=False),
    Column("row", Text, nullable=False),
    Column("service", String(60), nullable=False),
    Column("automatic", Boolean, nullable=False),
    Column("verified", Boolean, nullable=False),
    Column("restricted", Boolean, nullable=False),
    Column("spam", Boolean, nullable=False, server_default=text("false")),
    Column("assignee", String(320), nullable=False),
    Column("response_due", UTCInstant),
    Column("resolution_due", UTCInstant),
    Column("due_reason", Text),
    Column("responded_at", UTCInstant),
    Column("resolved_at", UTCInstant),
    Column("closed_at", UTCInstant),
    Column("waiting_since", UTCInstant),
    Column("next_check_at", UTCInstant),  # when the reminder tick must look again
    Column("incident_id", Id),
    Column("merged_into", Id, ForeignKey("ticket.id")),
    # What the requester's mail carried, so that every letter to her lands in her thread.
    Column("origin_message_id", Text),
    Column("origin_references", JSON, nullable=False),
    Index("ix_ticket_open", "mailbox_id", "status", "received_at"),
    Index("ix_ticket_check", "mailbox_id", "next_check_at", sqlite_where=text("next_check_at IS NOT NULL"),
          postgresql_where=text("next_check_at IS NOT NULL")),
    Index("ix_ticket_requester", "mailbox_id", "requester", "received_at"),
    Index("ix_ticket_received", "mailbox_id", "received_at"),
    Index("ix_ticket_resolved", "mailbox_id", "resolved_at"),
    Index("ix_ticket_incident", "incident_id"),
    # Our Message-IDs name a ticket by its id for ever, so that none is given out twice.
    sqlite_autoincrement=True,
)

event = Table(
    "event",
    metadata,
    Column("id", Id, primary_key=True),
    Column("ticket_id", Id, ForeignKey("ticket.id"), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("at", UTCInstant, nullable=False),
    Column("by", String(320), nullable=False),
    Column("way", String(20), nullable=False),
    Column("text", Text, nullable=False),
    Column("details", JSON, nullable=False),
    Column("message_id", Id, ForeignKey("message.id")),
    Index("ix_event_ticket", "ticket_id", "id"),
    Index("ix_event_failed", "id", sqlite_where=text("kind = 'failed'"), postgresql_where=text("kind = 'failed'")),
    Index("ix_event_bounced", "id", sqlite_where=text("kind = 'bounced'"), postgresql_where=text("kind = 'bounced'")),
)

# Each clock that a ticket ever had, as its events say; rewritten whole when the ticket is counted anew.
clock = Table(
    "clock",
    metadata,
    Column("ticket_id", Id, ForeignKey("ticket.id"), primary_key=True),
    Column("kind", String(12), primary_key=True),
    Column("round", Integer, primary_key=True),
    Column("level", Integer, nullable=False),
    Column("due", UTCInstant),
    Column("met_at", UTCInstant),
    Column("late_seconds", BigInteger),  # service time past due when it stopped; negative when early
    Column("paused_seconds", BigInteger, nullable=False),
    Column("is_missed", Boolean, nullable=False),
    Column("is_waiting", Boolean, nullable=False),
)

participant = Table(
    "participant",
    metadata,
    Column("ticket_id", Id, ForeignKey("ticket.id"), primary_key=True),
    Column("address", String(320), primary_key=True),
)

blob = Table(
    "blob",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

attachment = Table(
    "attachment",
    metadata,
    Column("id", Id, primary_key=True),
    Column("ticket_id", Id, ForeignKey("ticket.id"), nullable=False),
    Column("event_id", Id, ForeignKey("event.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("type", String(255), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), ForeignKey("blob.sha256"), nullable=False),
    Index("ix_attachment_event", "event_id"),
    Index("ix_attachment_ticket", "ticket_id"),
    Index("ix_attachment_sha256", "sha256"),
)

# The outbox.  data, recipient and message_id never change after the commit that queued the letter.
letter = Table(
    "letter",
    metadata,
    Column("id", Id, primary_key=True),
    Column("uuid", String(32), nullable=False, unique=True),
    Column("key", String(300), nullable=False, unique=True),
    Column("mailbox_id", Id, ForeignKey("mailbox.id"), nullable=False),
    Column("ticket_id", Id, ForeignKey("ticket.id")),
    Column("kind", String(30), nullable=False),
    Column("recipient", String(320), nullable=False),
    Column("envelope_from", String(320), nullable=False),
    Column("message_id", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("stage", String(10), nullable=False, server_default=text("''")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("doubts", Integer, nullable=False, server_default=text("0")),
    Column("queued_at", UTCInstant, nullable=False),
    Column("not_before", UTCInstant, nullable=False),
    Column("lease_owner", String(100)),
    Column("lease_until", UTCInstant),
    Column("reply", Text),
    Column("sent_at", UTCInstant),
    # Whole and not partial: SQLite takes a partial index for `state IN (...)` only where the states stand in the query.
    Index("ix_letter_state", "state", "mailbox_id", "not_before"),
    Index("ix_letter_kind", "mailbox_id", "kind"),
    Index("ix_letter_recipient", "recipient", "queued_at"),
    Index("ix_letter_sent", "sent_at"),
    Index("ix_letter_ticket", "ticket_id"),
)

# Something to say later that must not be frozen before: quiet alerts of the night, folded alerts.
notice = Table(
    "notice",
    metadata,
    Column("id", Id, primary_key=True),
    Column("key", String(300), nullable=False, unique=True),
    Column("mailbox_id", Id, ForeignKey("mailbox.id"), nullable=False),
    Column("kind", String(30), nullable=False),
    Column("ticket_id", Id, ForeignKey("ticket.id"), nullable=False),
    Column("recipient", String(320), nullable=False),
    Column("due_at", UTCInstant, nullable=False),
    Column("done_at", UTCInstant),
    Index("ix_notice_due", "mailbox_id", "due_at", sqlite_where=text("done_at IS NULL"),
          postgresql_where=text("done_at IS NULL")),
)

# Each digest, report and heartbeat is decided once: the primary key is the guard (reliability.md I12).
slot = Table(
    "slot",
    metadata,
    Column("mailbox_id", Id, ForeignKey("mailbox.id"), primary_key=True),
    Column("job", String(40), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("decided_at", UTCInstant, nullable=False),
    Column("outcome", String(20), nullable=False),
)

incident = Table(
    "incident",
    metadata,
    Column("id", Id, primary_key=True),
    Column("mailbox_id", Id, ForeignKey("mailbox.id"), nullable=False),
    Column("service", String(60), nullable=False),
    Column("opened_at", UTCInstant, nullable=False),
    Column("closed_at", UTCInstant),
    Column("news_due", UTCInstant),
    Column("status_text", Text, nullable=False, server_default=text("''")),
    Index("ix_incident_open", "mailbox_id", "service", "opened_at"),
)

# What a security-minded person wants to read in the digest: forged technicians, wrong tokens.
security_event = Table(
    "security_event",
    metadata,
    Column("id", Id, primary_key=True),
    Column("mailbox_id", Id, ForeignKey("mailbox.id"), nullable=False),
    Column("at", UTCInstant, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("address", String(320), nullable=False),
    Column("message_id", Id, ForeignKey("message.id")),
    Column("text", Text, nullable=False),
    Index("ix_security_event_at", "mailbox_id", "at"),
)

# The keys that sign our Message-IDs and reply addresses; the newest signs, the two newest verify.
signing_key = Table(
    "signing_key",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("secret", LargeBinary, nullable=False),
    Column("created_at", UTCInstant, nullable=False),
)

# Whom a person asked to be erased, as a keyed hash: nothing restored or swept up brings her back unseen.
tombstone = Table(
    "tombstone",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("erased_at", UTCInstant, nullable=False),
)

setting = Table(
    "setting",
    metadata,
    Column("name", String(60), primary_key=True),
    Column("value", Text, nullable=False),
)
