"""The keys that sign our Message-IDs and reply addresses, kept with the data that they prove.

In the database rather than in a file of their own: several daemons share them without being told, and a backup without
them would turn every open thread into strangers' mail.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection, insert, select

from supportd.core.tokens import Key, Keys
from supportd.db.engine import alone
from supportd.db.schema import signing_key

# RFC 2104 3: as long as the output of the hash.
_SECRET_BYTES = 32


def load(connection: Connection, now: datetime, draw: Callable[[int], bytes]) -> Keys:
    """Return the newest key, which signs, and the one before it; the first ever is drawn by *draw*."""
    found = _newest(connection)
    if not found:
        alone(connection)
        found = _newest(connection) or [_add(connection, 1, now, draw)]
    return Keys(current=found[0], previous=found[1] if len(found) > 1 else None)


def _newest(connection: Connection) -> list[Key]:
    rows = connection.execute(
        select(signing_key.c.version, signing_key.c.secret).order_by(signing_key.c.version.desc()).limit(2)
    )
    return [Key(version=row.version, secret=bytes(row.secret)) for row in rows]


def first(connection: Connection) -> bytes:
    """Return the first secret ever drawn: what must be recognised for good is signed with it."""
    found = connection.execute(select(signing_key.c.secret).order_by(signing_key.c.version).limit(1)).scalar_one()
    return bytes(found)


def _add(connection: Connection, version: int, now: datetime, draw: Callable[[int], bytes]) -> Key:
    secret = draw(_SECRET_BYTES)
    connection.execute(insert(signing_key).values(version=version, secret=secret, created_at=now))
    return Key(version=version, secret=secret)
