"""The proof in our Message-IDs and reply addresses: which ticket, for whom, in which role, written by us.

A Message-ID of ours is ``<sd.{kind}.{claim}.{mac}@{domain}>``, a reply address ``support+AS123.{token}@{domain}``.
Both carry what they claim in the clear and an 80-bit HMAC over all of it, so that "is it ours, and what for" needs no
database.  Everything is base32 in lower case: mail programs and gateways change the case of addresses.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

# 80 bits, reliability.md 4.2: at a thousand wrong mails a second a guess takes longer than the sun shines.
_MAC_BYTES = 10
# 48 bits tell any two correspondents of a school apart; the tag is itself under the MAC, so a clash gains nothing.
_PERSON_BYTES = 6
_TICKET_BYTES = 6
_ID_CLAIM_BYTES = 1 + 1 + _TICKET_BYTES + _PERSON_BYTES + 16
_TOKEN_BYTES = 1 + 1 + _PERSON_BYTES + _MAC_BYTES
# RFC 5322 2.1.1 limits a line to 998; a Message-ID of ours is about 100 long, and nothing longer is looked at.
_LONGEST_MESSAGE_ID = 400
# RFC 2104 3: a key shorter than the hash output weakens it.
_SHORTEST_SECRET_BYTES = 32


class Role(StrEnum):
    """As what a person was written to: only a technician's letter gives a technician's rights."""

    REQUESTER = "requester"
    TECHNICIAN = "technician"
    READER = "reader"  # digests, reports: no reply to them steers a ticket


_ROLE_NUMBERS = {Role.REQUESTER: 1, Role.TECHNICIAN: 2, Role.READER: 3}
_ROLES = {number: role for role, number in _ROLE_NUMBERS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One secret and its *version* (0 to 255), which travels in each token.

    Raises:
        ValueError: the secret is shorter than 32 bytes, or the version does not fit one byte.
    """

    version: int
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.version <= 255:
            raise ValueError(f"key version {self.version} is not between 0 and 255")
        if len(self.secret) < _SHORTEST_SECRET_BYTES:
            raise ValueError(f"the token key has {len(self.secret)} bytes; it needs at least {_SHORTEST_SECRET_BYTES}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The key that signs and, while a rotation lasts, the one before it, which still verifies."""

    current: Key
    previous: Key | None = None

    def find(self, version: int) -> Key | None:
        """Return the key of *version*, or None."""
        known = (self.current, self.previous)
        return next((key for key in known if key is not None and key.version == version), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnId:
    """A Message-ID that we wrote: its letter's *kind* and *uuid*, the *ticket* (0: none), *role* and *person*."""

    kind: str
    uuid: UUID
    ticket: int
    role: Role
    person: bytes
    key_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyToken:
    """The secret part of a reply address that we wrote: the ticket's *reference* ("as123"), *role* and *person*."""

    reference: str
    role: Role
    person: bytes
    key_version: int


def message_id(*, keys: Keys, domain: str, kind: str, ticket: int, person: str, role: Role, uuid: UUID) -> str:
    """Return the Message-ID, in angle brackets, of the letter *uuid* to *person* about *ticket* (0: none).

    Raises:
        ValueError: *kind* is not made of lower-case ASCII letters and hyphens.
    """
    if not _is_kind(kind):
        raise ValueError(f"letter kind {kind!r} is not made of lower-case letters and hyphens")
    key = keys.current
    claim = (
        bytes((key.version, _ROLE_NUMBERS[role]))
        + ticket.to_bytes(_TICKET_BYTES, "big")
        + person_tag(key, person)
        + uuid.bytes
    )
    mac = _mac(key, "message-id", kind.encode(), claim)
    return f"<sd.{kind}.{_encode(claim)}.{_encode(mac)}@{domain.lower()}>"


def verify(message_id: str, keys: Keys) -> OwnId | None:
    """Return what *message_id* (with or without angle brackets, any case) proves, or None when it is not ours.

    The domain is not looked at: the HMAC is the proof, and the school may change its domain.
    """
    if len(message_id) > _LONGEST_MESSAGE_ID:
        return None
    parts = message_id.strip().strip("<>").lower().partition("@")[0].split(".")
    if len(parts) != 4 or parts[0] != "sd" or not _is_kind(parts[1]):
        return None
    _, kind, encoded_claim, encoded_mac = parts
    claim = _decode(encoded_claim, _ID_CLAIM_BYTES)
    mac = _decode(encoded_mac, _MAC_BYTES)
    if claim is None or mac is None:
        return None
    key = keys.find(claim[0])
    role = _ROLES.get(claim[1])
    if key is None or role is None or not hmac.compare_digest(mac, _mac(key, "message-id", kind.encode(), claim)):
        return None
    person_at = 2 + _TICKET_BYTES
    uuid_at = person_at + _PERSON_BYTES
    return OwnId(
        kind=kind,
        uuid=UUID(bytes=claim[uuid_at:]),
        ticket=int.from_bytes(claim[2:person_at], "big"),
        role=role,
        person=claim[person_at:uuid_at],
        key_version=key.version,
    )


def looks_like_ours(message_id: str) -> bool:
    """Return whether *message_id* has our shape; one that does and fails `verify` is forged, or by a lost key."""
    return message_id.strip().lstrip("<").lower().startswith("sd.") and message_id.count(".") >= 3


def reply_address(*, keys: Keys, address: str, reference: str, person: str, role: Role) -> str:
    """Return ``support+AS123.TOKEN@domain`` for *address* (``support@domain``), for mail of *person* on *reference*."""
    key = keys.current
    head = bytes((key.version, _ROLE_NUMBERS[role])) + person_tag(key, person)
    mac = _mac(key, "reply-address", plain_reference(reference).encode(), head)
    local, _, domain = address.rpartition("@")
    return f"{local}+{plain_reference(reference).upper()}.{_encode(head + mac)}@{domain}"


def read_reply_address(candidate: str, address: str, keys: Keys) -> ReplyToken | None:
    """Return what the recipient *candidate* proves as a reply address of the mailbox *address*, or None."""
    local, _, domain = candidate.lower().rpartition("@")
    own_local, _, own_domain = address.lower().rpartition("@")
    if domain != own_domain or not local.startswith(own_local + "+"):
        return None
    reference, _, encoded = local.removeprefix(own_local + "+").rpartition(".")
    token = _decode(encoded, _TOKEN_BYTES)
    if token is None:
        return None
    head, mac = token[:-_MAC_BYTES], token[-_MAC_BYTES:]
    key = keys.find(head[0])
    role = _ROLES.get(head[1])
    if key is None or role is None:
        return None
    if not hmac.compare_digest(mac, _mac(key, "reply-address", reference.encode(), head)):
        return None
    return ReplyToken(reference=reference, role=role, person=head[2:], key_version=key.version)


def is_for(proof: OwnId | ReplyToken, person: str, keys: Keys) -> bool:
    """Return whether *proof* was mailed to the address *person*."""
    key = keys.find(proof.key_version)
    return key is not None and hmac.compare_digest(proof.person, person_tag(key, person))


def person_tag(key: Key, person: str) -> bytes:
    """Return the keyed digest that stands for the address *person*, so that an identifier tells nobody's address."""
    return _mac(key, "person", person.strip().lower().encode())[:_PERSON_BYTES]


def plain_reference(reference: str) -> str:
    """Return *reference* as it stands in an address: letters and digits in lower case ("AS-123" is "as123")."""
    return "".join(char for char in reference.lower() if char.isascii() and char.isalnum())


def _is_kind(kind: str) -> bool:
    return bool(kind) and all("a" <= char <= "z" or char == "-" for char in kind)


def _mac(key: Key, purpose: str, *parts: bytes) -> bytes:
    """Return the HMAC over *purpose* and *parts*, each with its length, so that no two inputs read the same."""
    code = hmac.new(key.secret, digestmod=hashlib.sha256)
    for part in (purpose.encode(), *parts):
        code.update(len(part).to_bytes(4, "big"))
        code.update(part)
    return code.digest()[:_MAC_BYTES]


def _encode(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").rstrip("=").lower()


def _decode(text: str, size: int) -> bytes | None:
    """Return the *size* bytes that *text* stands for, or None unless it is the one spelling that `_encode` gives."""
    if not text.isascii() or len(text) != -(-size * 8 // 5):
        return None
    try:
        data = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except binascii.Error:
        return None
    return data if _encode(data) == text else None
