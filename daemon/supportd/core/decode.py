"""Bytes from mail -> text: charsets as mailers really use them, transfer encodings, encoded words, flowed lines.

Every function is total (any input, no exception) and linear in its input.
"""

from __future__ import annotations

import binascii
import codecs
import re

# Names that mailers write, and the charset that they mean: the supersets of the WHATWG Encoding Standard, since Outlook
# calls cp1252 "iso-8859-1", Chinese mailers call gb18030 "gb2312", Japanese ones call cp932 "shift_jis".
_MEANT = {
    "iso-8859-1": "cp1252",
    "latin-1": "cp1252",
    "latin1": "cp1252",
    "iso8859-1": "cp1252",
    "iso-8859-9": "cp1254",
    "iso-8859-11": "cp874",
    "tis-620": "cp874",
    "windows-874": "cp874",
    "iso-8859-8-i": "iso-8859-8",
    "gb2312": "gb18030",
    "gb_2312-80": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601": "cp949",
    "euc-kr": "cp949",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "x-sjis": "cp932",
    "iso-2022-jp": "iso2022_jp_ext",
    "unicode-1-1-utf-7": "utf-7",
    "x-mac-roman": "mac_roman",
    "macintosh": "mac_roman",
}
# "No idea": UTF-8 where the bytes are UTF-8, else cp1252.
_UNTOLD = frozenset(
    ("", "us-ascii", "ascii", "ansi_x3.4-1968", "unknown", "unknown-8bit", "x-unknown", "default", "none")
)
# Codecs that are no charset of any mail; punycode also needs quadratic time.
_NO_CHARSET = frozenset(("punycode", "idna", "unicode-escape", "raw-unicode-escape", "undefined", "charmap", "mbcs"))
_CHARSET_NAME = re.compile(r"[a-z0-9][a-z0-9._:+-]{0,39}")
_PADDED_SOFT_LINE_END = re.compile(rb"=[ \t]{1,80}(?=\r?\n)")
# A reset or set of ISO 2022 lies between these; seven-bit text that holds one is not plain ASCII.
_ESCAPE = b"\x1b"


def _byte_as_cp1252(error: UnicodeError) -> tuple[str, int]:
    """Return the offending bytes read as cp1252, and where to go on: one stray byte must not spoil its neighbours."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    bad = error.object[error.start : error.end]
    return bad.decode("cp1252", "replace"), error.end


codecs.register_error("supportd-cp1252", _byte_as_cp1252)


def text(data: bytes, charset: str | None = None) -> str:
    """Return *data* as text, in *charset* if that can be right, else as UTF-8 with single bytes read as cp1252."""
    name = (charset or "").strip(" \t\"'").lower().partition("*")[0].removeprefix("3d").strip(" \t\"'")
    if data.isascii() and _ESCAPE not in data and name in _UNTOLD | {"utf-8", "utf8", "iso-8859-1"}:
        return data.decode("ascii")
    meant = _MEANT.get(name, name)
    if meant in _UNTOLD:
        meant = _guessed(data) or meant
    if meant in _UNTOLD or meant in ("utf-8", "utf8", "cp1252"):
        # Text that calls itself Latin-1 and is valid UTF-8 is UTF-8: by chance that does not happen to real Latin-1.
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            if meant == "cp1252" or (meant in _UNTOLD and not _mostly_utf8(data)):
                return data.decode("cp1252", "replace")
        return data.decode("utf-8", "supportd-cp1252")
    if meant.replace("_", "-") not in _NO_CHARSET and _CHARSET_NAME.fullmatch(meant):
        try:
            return data.decode(meant, "replace")
        except (LookupError, UnicodeError, ValueError):
            pass  # No such charset here, or a codec that cannot replace: fall through to the guess.
    return data.decode("utf-8", "supportd-cp1252")


def _guessed(data: bytes) -> str:
    """Return the charset that *data* names by itself: a byte order mark, or the escapes of ISO-2022-JP."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if b"\x1b$B" in data or b"\x1b$@" in data:
        return "iso2022_jp_ext"
    return ""


def _mostly_utf8(data: bytes) -> bool:
    """Return whether more of the non-ASCII characters of *data* are UTF-8 sequences than stray bytes."""
    guess = data[:4096].decode("utf-8", "replace")
    strays = guess.count("\ufffd")
    return sum(char > "\x7f" for char in guess) > 2 * strays


def words(value: str) -> str:
    """Return the header *value* with its encoded words (RFC 2047) decoded, broken ones too where the meaning is plain.

    Read beyond the letter of the RFC, as senders need it: words inside quotes, words glued to text, spaces inside a
    word, a missing end, a character cut in two between adjacent words of one charset.
    """
    if "=?" not in value:
        return value
    pieces: list[tuple[str, bytes | str]] = []  # (charset, bytes) of a word, or ("", text) between words
    position = 0
    while True:
        start = value.find("=?", position)
        word = _word(value, start) if start >= 0 else None
        if start >= 0 and word is None:
            pieces.append(("", value[position : start + 2]))
            position = start + 2
            continue
        gap = value[position:start] if word else value[position:]
        # White space between two encoded words is not part of the text (RFC 2047 6.2).
        if gap and not (word and gap.isspace() and pieces and pieces[-1][0]):
            pieces.append(("", gap))
        if word is None:
            break
        charset, data, position = word
        if pieces and pieces[-1][0] == charset:
            joined = pieces[-1][1]
            assert isinstance(joined, bytes)
            pieces[-1] = (charset, joined + data)
        else:
            pieces.append((charset, data))
    return "".join(piece if isinstance(piece, str) else text(piece, charset) for charset, piece in pieces)


def _word(value: str, start: int) -> tuple[str, bytes, int] | None:
    """Return (charset, bytes, end) of the encoded word of *value* at *start*, or None if there is none."""
    charset_end = value.find("?", start + 2, start + 80)
    charset = value[start + 2 : charset_end].partition("*")[0].lower()
    encoding = value[charset_end + 1 : charset_end + 3].lower()
    if charset_end < 0 or not _CHARSET_NAME.fullmatch(charset) or encoding not in ("q?", "b?"):
        return None
    content = charset_end + 3
    end = value.find("?=", content)
    if encoding == "q?" and end == content and value.startswith("?==", end):
        end = value.find("?=", end + 2)  # "?q?=41?=": the first encoded octet looks like an end
    following = value.find("=?", content, end if end >= 0 else len(value))
    if following >= 0 and encoding == "b?":
        end, after = following, following  # the end is missing, another word begins
    elif end < 0:
        end = after = len(value)
    else:
        after = end + 2
    body = value[content:end].encode("latin-1", "ignore")
    if encoding == "q?":
        return charset, binascii.a2b_qp(body, header=True), after
    return charset, base64(body), after


def transfer(data: bytes, encoding: str) -> bytes:
    """Return *data* without its Content-Transfer-Encoding (RFC 2045 6); an unknown one leaves it as it is."""
    name = encoding.strip().lower()
    if name.startswith("base64"):
        # Scripts promise base64 and send words; base64 has no blanks within its lines.
        return data if data.count(b" ") * 20 > len(data) else base64(data)
    if name.startswith("quoted-printable"):
        # Blanks that a gateway added behind a soft line end are not part of it (RFC 2045 6.7 rule 3).
        return binascii.a2b_qp(_PADDED_SOFT_LINE_END.sub(b"=", data) if b"= " in data or b"=\t" in data else data)
    return data


def base64(data: bytes) -> bytes:
    """Return the bytes that base64 *data* stands for; foreign characters are skipped, a cut end is made up for."""
    try:
        return binascii.a2b_base64(data)
    except binascii.Error:
        pass
    alphabet = re.sub(rb"[^A-Za-z0-9+/]", b"", data)
    whole = alphabet[: len(alphabet) - (len(alphabet) % 4 == 1)]
    return binascii.a2b_base64(whole + b"=" * (-len(whole) % 4))


def unflow(flowed: str, delete_space: bool = False) -> str:
    """Return format=flowed text with its paragraphs whole again (RFC 3676 4); *delete_space* is DelSp=yes."""
    lines: list[str] = []
    paragraph: list[str] = []
    depth_open = -1
    for line in flowed.split("\n"):
        content = line.lstrip(">")
        depth = len(line) - len(content)
        content = content.removeprefix(" ")
        if paragraph and (depth != depth_open or content == "-- "):
            lines.append("".join(paragraph))
            paragraph = []
        if not paragraph and depth:
            paragraph.append(">" * depth + " ")
        if content.endswith(" ") and content != "-- ":
            paragraph.append(content[:-1] if delete_space else content)
            depth_open = depth
        else:
            lines.append("".join((*paragraph, content)))
            paragraph = []
    if paragraph:
        lines.append("".join(paragraph))
    return "\n".join(lines)
