"""One message with everything that the pure rooms say of it, before the ledger is asked."""

from __future__ import annotations

from dataclasses import dataclass, replace

from supportd.config import Desk
from supportd.core import fingerprint, screen, sender, severity, threads, tokens
from supportd.core.mask import mask
from supportd.core.model import Address, Mail, Rating, Screening
from supportd.core.sender import Standing, Trust
from supportd.core.threads import Clues
from supportd.core.tokens import Keys
from supportd.db.ledger import Row

# 1 MB of text is kept searchable; the raw bytes hold the rest (reliability.md 4.2).
_TEXT_LIMIT = 1_000_000
_OVERSIZE_TEXT = "(This message is too large to read here; it lies whole in the mailbox.)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One message with everything that the pure rooms say of it before the ledger is asked."""

    row: Row
    mail: Mail
    trust: Trust
    standing: Standing
    screening: Screening
    clues: Clues
    rating: Rating
    trace_free_sha256: str

    @property
    def text(self) -> str:
        """Return what the sender wrote this time, secrets hidden, or what stands in its place."""
        if self.mail.oversize:
            return _OVERSIZE_TEXT
        return mask((self.mail.new_text or self.mail.text or self.mail.forwarded)[:_TEXT_LIMIT])

    @property
    def subject(self) -> str:
        """Return the subject with any secret in it hidden."""
        return mask(self.mail.subject)

    @property
    def sender(self) -> str:
        """Return how sure we are who wrote it, and why, in words."""
        return self.standing.in_words

    @property
    def author(self) -> Address:
        """Return the sender; a mail without one that can be read is from nobody."""
        return self.mail.sender or Address(address="")


def read(row: Row, mail: Mail, desk: Desk, keys: Keys, trust: Trust) -> Arrival:
    """Return what the pure rooms say of the message *row*, read as *mail*, at *desk*; *trust* is whom it believes."""
    settings = replace(desk.screen_settings, is_own_message_id=lambda text: tokens.verify(text, keys) is not None)
    screening = screen.judge(mail, settings)
    return Arrival(
        row=row,
        mail=mail,
        trust=trust,
        standing=sender.evidence(mail, trust),
        screening=screening,
        clues=threads.clues(
            mail, keys=keys, addresses=sorted(desk.own_addresses), prefix=desk.mailbox.reference
        ),
        rating=severity.rate(
            mail.subject,
            mail.new_text or mail.forwarded or mail.text,
            mail.sender.address if mail.sender else "",
            desk.keywords,
            automatic=screening.automatic,
        ),
        trace_free_sha256=fingerprint.trace_free_sha256(row.data),
    )
