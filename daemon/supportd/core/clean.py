"""Texts from strangers, made safe for the database, a terminal, a log line, a CSV cell and HTML.

Total functions: any text in, a clean text out.  Applied once, at the parse boundary; nothing later has to remember it.
"""

from __future__ import annotations

import re
import unicodedata

# Bidirectional controls (Unicode TR 9) can make a name read as another name; they carry no meaning in a help request.
BIDI_CONTROLS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
# C0 and C1 controls but tab and line feed, NUL among them (PostgreSQL refuses it), lone surrogates, bidi controls.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff" + BIDI_CONTROLS + "]")
_LINE_ENDS = re.compile("\r\n|\r|\x0b|\x0c|\x85|\u2028|\u2029")
_SPACES = re.compile(r"\s+")


def block(text: str) -> str:
    """Return *text* with ``\\n`` line ends and without control characters, bidi overrides and lone surrogates."""
    return _UNSAFE.sub("", _LINE_ENDS.sub("\n", text))


def line(text: str, limit: int = 998) -> str:
    """Return *text* as one clean line of at most *limit* characters (998: RFC 5322 2.1.1), runs of space collapsed."""
    flat = _SPACES.sub(" ", block(text)).strip()
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"


def cell(text: str) -> str:
    """Return *text* for a CSV cell: a leading ``= + - @`` or tab would be a formula, so it gets an apostrophe."""
    flat = line(text)
    return "'" + flat if flat[:1] in ("=", "+", "-", "@", "\t") else flat


def visible_name(text: str) -> str:
    """Return *text* as a display name: one line, compatibility forms folded (NFKC), zero-width characters dropped."""
    folded = unicodedata.normalize("NFKC", line(text, 200))
    return "".join(char for char in folded if unicodedata.category(char) != "Cf").strip()
