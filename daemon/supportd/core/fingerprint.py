"""F1 of reliability.md 3: the same bytes twice, whatever the servers on the way wrote on top of them."""

from __future__ import annotations

import hashlib

# Trace fields are added in transit and differ between two copies of one submission.
_TRACE = (
    b"received:",
    b"return-path:",
    b"delivered-to:",
    b"x-original-to:",
    b"authentication-results:",
    b"arc-",
    b"dkim-signature:",
    b"x-ms-",
    b"x-forefront-",
    b"x-google-",
)


def trace_free_sha256(raw: bytes) -> str:
    """Return the SHA-256, in hexadecimal, of *raw* without its trace fields, its line ends all one."""
    ends = [at for at in (raw.find(b"\r\n\r\n"), raw.find(b"\n\n")) if at >= 0]
    border = min(ends, default=len(raw))
    digest = hashlib.sha256()
    is_trace = False
    for line in raw[:border].replace(b"\r\n", b"\n").split(b"\n"):
        if not line.startswith((b" ", b"\t")):
            is_trace = line[:30].lower().startswith(_TRACE)
        if not is_trace:
            digest.update(line)
            digest.update(b"\n")
    digest.update(raw[border:].replace(b"\r\n", b"\n"))
    return digest.hexdigest()
