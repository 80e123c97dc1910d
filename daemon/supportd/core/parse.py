"""Raw bytes of a message -> Mail: a total function, linear in its input, with a limit to everything.

The header block is read in `headers`.  Parts are split here, iteratively and within limits: the standard library's tree
recurses once per level, copies every line several times, and mail-parser on it lets attached mails leak into the body.

- body: text/plain parts outside attachments, else HTML as text; an attached mail stays closed
- attachments: every other leaf, decoded, with a safe name; nothing is unpacked but Outlook's winmail.dat
- beyond a limit the rest is kept as one opaque attachment, and *defects* says so
"""

from __future__ import annotations

import hashlib
import mimetypes
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from email.message import Message

from supportd.core import clean, decode, headers, markup, quotes, winmail
from supportd.core.model import Attachment, AttachmentKind, DeliveryReport, Mail, Unparseable

# The limits of reliability.md 4.2 (those of the header block: `headers`).  Real mail stays far below each.
PARTS = 200
DEPTH = 20
ATTACHMENTS = 100
TEXT_BYTES = 1024 * 1024
# The standard library reads parameters in quadratic time (17 ms for 16 KB of ";"); long RFC 2231 names need some 3 KB.
PARAMETER_FIELD_BYTES = 4 * 1024
# What a person writes ends long before this; a pasted log behind it is kept as text, not taken apart.
SPLIT_CHARS = 256 * 1024
NAME_CHARS = 120

_WORD_OF_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,80}/[a-z0-9!#$&^_.+-]{1,80}")
# What stands in plain text for a picture (Outlook, Gmail), and behind the words of a link.
_PICTURE = re.compile(r"\[(?:cid|image):[^\]]{0,200}\]")
_LINK = re.compile(r"<(?:mailto:|tel:|https?:)")
# Names that Windows takes for devices, whatever their extension.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)", re.I)
# The same text once more, for programs that can show it; the plain or HTML text stands for them.
_OTHER_ALTERNATIVES = frozenset(("text/x-amp-html", "text/enriched", "text/richtext", "text/watch-html"))
# What delivery reports are made of (RFC 3464, RFC 6522, RFC 6533).
_STATUS_TYPES = frozenset(("message/delivery-status", "message/global-delivery-status"))
_RETURNED_TYPES = frozenset(("message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers"))
# The built-in table, so that no file of the machine is read; Office came after it.
_EXTENSIONS = mimetypes.MimeTypes(filenames=())
for _kind, _extension in (("wordprocessingml.document", ".docx"), ("spreadsheetml.sheet", ".xlsx")):
    _EXTENSIONS.add_type(f"application/vnd.openxmlformats-officedocument.{_kind}", _extension)
_EXTENSIONS.add_type("application/vnd.openxmlformats-officedocument.presentationml.presentation", ".pptx")


@dataclass(slots=True)
class _Part:
    """One node of the MIME tree: fields and where its body lies in the message."""

    fields: list[tuple[str, str]]
    start: int
    end: int
    depth: int = 0
    attached: bool = False  # below a container that is itself an attachment
    alternative: int = 0  # the number of the multipart/alternative around it, 0 for none
    is_alternative: bool = False  # directly in one
    default_type: str = "text/plain"
    parameters: Message = field(default_factory=Message)
    type: str = ""
    disposition: str = ""

    def first(self, name: str) -> str:
        """Return the first value of the field *name*, lower case, or an empty text."""
        return next((value for key, value in self.fields if key.lower() == name), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """One part of the body: plain text, or HTML.  *alternative* tells which other parts say the same."""

    text: str
    is_html: bool
    alternative: int
    content: bytes = b""
    attachments_before: int = 0


@dataclass(slots=True)
class _Harvest:
    """What a walk over the parts has gathered."""

    pages: list[_Page] = field(default_factory=list)
    enclosed_pages: list[_Page] = field(default_factory=list)  # of a winmail.dat: the body where there is no other
    attachments: list[Attachment] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)
    report_parts: list[tuple[str, bytes]] = field(default_factory=list)


def parse(raw: bytes) -> Mail | Unparseable:
    """Return the message *raw* as a Mail, or why it cannot be read; never raises."""
    try:
        return _parse(raw)
    except MemoryError:
        return Unparseable(reason="reading it takes more memory than there is for one mail")
    except Exception as error:  # noqa: BLE001 - a total function: what no case foresaw is quarantined with its name
        return Unparseable(reason=f"the parser failed: {type(error).__name__}: {clean.line(str(error), 200)}")


def envelope(block: bytes, size: int) -> Mail:
    """Return the Mail for an oversize message from its header *block* alone; *size* is that of the whole, in bytes."""
    note = f"This mail is too large to read ({size / 1_000_000:.1f} MB); only its headers were taken."
    defects: list[str] = []
    fields, _ = headers.fields(block, headers.beginning(block), len(block), defects)
    mail = headers.mail(fields, defects)
    return _with_fingerprint(
        replace(mail, text=note, new_text=note, oversize=True, defects=(*defects, "larger than the limit of a message"))
    )


def _parse(raw: bytes) -> Mail | Unparseable:
    """Return the message, or Unparseable when there is nothing in it."""
    if not raw.strip(b"\0\r\n\t "):
        return Unparseable(reason="the message is empty")
    if b"\n" not in raw:
        raw = raw.replace(b"\r", b"\n")
    defects: list[str] = []
    fields, body_at = headers.fields(raw, headers.beginning(raw), len(raw), defects)
    root = _typed(_Part(fields, body_at, len(raw)))
    harvest = _Harvest(defects=defects)
    for part in _leaves(raw, root, defects):
        if len(harvest.attachments) == ATTACHMENTS - 1:
            defects.append(f"more than {ATTACHMENTS} attachments: the rest is kept as one")
            _gather(raw, _opaque(part.start, len(raw)), harvest)
            break
        _gather(raw, part, harvest)
    mail = headers.mail(fields, defects)
    text, own = _body(harvest)
    flag = _cannot_read(root, text)
    if flag:
        defects.append(flag)
    split = quotes.split(text[:SPLIT_CHARS], own and own[:SPLIT_CHARS], mail.subject)
    mail = replace(
        mail,
        content_type=root.type,
        text=text,
        new_text=split.new,
        quoted=split.quoted,
        forwarded=split.forwarded,
        attachments=tuple(harvest.attachments),
        defects=tuple(dict.fromkeys(defects)),
        report=_report(harvest.report_parts),
    )
    return _with_fingerprint(mail)


def _leaves(raw: bytes, root: _Part, defects: list[str]) -> Iterator[_Part]:
    """Yield the leaf parts in their order; beyond the limits the rest comes as one opaque leaf."""
    waiting = [root]
    seen = alternatives = 0
    while waiting:
        part = waiting.pop()
        seen += 1
        if seen > PARTS:
            defects.append(f"more than {PARTS} parts: the rest is kept unread")
            yield _opaque(part.start, len(raw))
            return
        if not part.type.startswith("multipart/"):
            yield part
            continue
        if part.depth >= DEPTH:
            defects.append(f"more than {DEPTH} levels of parts: the rest is kept unread")
            yield _opaque(part.start, part.end)
            continue
        sections = _sections(raw, part, PARTS + 2 - seen)
        if not sections:
            # No delimiter anywhere: what a sender wrote there is still text.
            defects.append("a multipart without its parts")
            part.type = "text/plain"
            yield part
            continue
        if part.type == "multipart/alternative":
            alternatives += 1
        children = []
        for start, end in sections:
            fields, body_at = headers.fields(raw, start, end, defects)
            child = _Part(fields, body_at, end, part.depth + 1)
            child.default_type = "message/rfc822" if part.type == "multipart/digest" else "text/plain"
            child.attached = part.attached or part.disposition == "attachment"
            child.is_alternative = part.type == "multipart/alternative"
            child.alternative = alternatives if child.is_alternative else part.alternative
            children.append(_typed(child))
        waiting.extend(reversed(children))


def _opaque(start: int, end: int) -> _Part:
    """Return a leaf for what is not looked into."""
    return _Part([], start, end, attached=True, type="application/octet-stream", disposition="attachment")


def _typed(part: _Part) -> _Part:
    """Return *part* with its media type, disposition and parameters read (RFC 2045 5, RFC 2183, RFC 2231)."""
    content_type = part.first("content-type")[:PARAMETER_FIELD_BYTES].replace("\0", "")
    disposition = part.first("content-disposition")[:PARAMETER_FIELD_BYTES].replace("\0", "")
    part.parameters["Content-Type"] = content_type
    part.parameters["Content-Disposition"] = disposition
    word = (content_type.partition(";")[0].split() or [""])[0].lower()
    if _WORD_OF_TYPE.fullmatch(word):
        part.type = word
    else:
        # "text" alone means text/plain (RFC 2045 5.2 says so of what cannot be understood).
        part.type = "text/plain" if content_type.strip() else part.default_type
    part.disposition = disposition.partition(";")[0].strip().lower()
    return part


def _sections(raw: bytes, part: _Part, most: int) -> list[tuple[int, int]]:
    """Return (start, end) of the body parts of a multipart (RFC 2046 5.1), at most *most*."""
    boundary = _parameter(part.parameters, "boundary").encode("utf-8", "replace").rstrip()
    if not boundary:
        guess = re.search(rb"^--([!-~]{1,70})[ \t]*\r?$", raw[part.start : min(part.end, part.start + 4096)], re.M)
        if guess is None:
            return []
        boundary = guess[1]
    # The line end before a delimiter belongs to it (RFC 2046 5.1.1); another boundary may begin with this one.
    delimiter = re.compile(rb"\n--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r?(?:\n|\Z))")
    sections: list[tuple[int, int]] = []
    opened = -1
    # The blank line that ends the fields stands in front of a part; a body at the very start has none.
    for found in delimiter.finditer(raw, max(part.start - 1, 0), part.end):
        if opened >= 0:
            end = found.start() - (raw[found.start() - 1 : found.start()] == b"\r")
            sections.append((opened, max(opened, end)))
            opened = -1
        if found[1] or len(sections) >= most:
            return sections
        line_end = raw.find(b"\n", found.end(), part.end)
        opened = line_end + 1 if line_end >= 0 else part.end
    if 0 <= opened < part.end:
        sections.append((opened, part.end))
    return sections


def _parameter(parameters: Message, name: str, header: str = "content-type") -> str:
    """Return the parameter *name*, decoded by RFC 2231, by RFC 2047 where a sender used that, or an empty text."""
    try:
        found = parameters.get_params([], header)
    except (ValueError, LookupError, TypeError, IndexError):
        return ""
    values: list[str | tuple[str | None, str | None, str]] = [value for key, value in found if key.lower() == name]
    # Beside an extended value the plain one is a makeshift for old readers (RFC 6266 4.3).
    extended = next((value for value in values if isinstance(value, tuple)), None)
    if extended is None:
        # A quotation mark is left where a cut field lost its other one.
        return decode.words(str(values[0])).strip(' "') if values else ""
    charset, _, content = extended
    try:
        return decode.text(content.encode("latin-1"), charset)
    except UnicodeEncodeError:
        return content  # raw UTF-8 where percent signs should be


def _gather(raw: bytes, part: _Part, harvest: _Harvest) -> None:
    """Take one leaf: as text of the body, as HTML of the body, or as an attachment."""
    name = _parameter(part.parameters, "filename", "content-disposition") or _parameter(part.parameters, "name")
    is_first = not (harvest.pages or harvest.attachments)
    is_body = (
        part.type in ("text/plain", "text/html")
        and not part.attached
        and part.disposition != "attachment"
        and (not name or part.is_alternative or (is_first and part.disposition != "inline"))
    )
    content = raw[part.start : part.end]
    encoding = part.first("content-transfer-encoding")
    if encoding:
        content = decode.transfer(content, encoding)
    if is_body:
        room = max(0, TEXT_BYTES - sum(len(page.content) for page in harvest.pages))
        harvest.pages.append(_page(part, content, room, len(harvest.attachments)))
    elif not (part.is_alternative and part.type in _OTHER_ALTERNATIVES and part.disposition != "attachment"):
        _attach(part, name, content, harvest)


def _page(part: _Part, content: bytes, room: int, attachments_before: int) -> _Page:
    """Return a part of the body as text, from its first *room* bytes."""
    charset = _parameter(part.parameters, "charset")
    if part.type == "text/html":
        declared = None if charset else headers.CHARSET.search(content[:2048])
        text = decode.text(content[:room], declared[1].decode("ascii") if declared else charset)
    else:
        text = clean.block(decode.text(content[:room], charset)).strip("\n")
        if _parameter(part.parameters, "format").lower() == "flowed":
            text = decode.unflow(text, _parameter(part.parameters, "delsp").lower() == "yes")
    return _Page(
        text=text,
        is_html=part.type == "text/html",
        alternative=part.alternative,
        content=content,
        attachments_before=attachments_before,
    )


def _attach(part: _Part, name: str, content: bytes, harvest: _Harvest) -> None:
    """Keep a leaf as an attachment, and what a delivery report is made of for reading it."""
    if part.type == "application/ms-tnef" or name.lower() == "winmail.dat":
        opened = winmail.read(content)
        if opened is not None:
            if opened.text.strip():
                text = clean.block(opened.text).strip("\n")
                harvest.enclosed_pages.append(_Page(text=text, is_html=False, alternative=0))
            elif opened.html:
                harvest.enclosed_pages.append(_Page(text=opened.html, is_html=True, alternative=0))
            for file_name, file_content in opened.files[: ATTACHMENTS - 1 - len(harvest.attachments)]:
                file_type = _EXTENSIONS.guess_type(file_name)[0] or "application/octet-stream"
                harvest.attachments.append(_attachment(file_name, file_type, file_content, AttachmentKind.FILE, ""))
            return
        harvest.defects.append("winmail.dat could not be opened")
    kind = AttachmentKind.FILE
    content_id = clean.line(part.first("content-id"), 200).strip("<> ")
    if part.type in ("message/rfc822", "message/global"):
        kind = AttachmentKind.MAIL
        name = name or _subject(content)
    elif part.type == "text/calendar":
        kind = AttachmentKind.CALENDAR
        name = name or "invitation.ics"
    elif part.type.startswith("image/") and part.disposition != "attachment" and (part.disposition or content_id):
        kind = AttachmentKind.INLINE
    elif part.type == "message/partial":
        harvest.defects.append("a fragment of a longer mail (message/partial): never put together")
    if part.type in _STATUS_TYPES or part.type in _RETURNED_TYPES:
        harvest.report_parts.append((part.type, content))
    harvest.attachments.append(_attachment(name, part.type, content, kind, content_id))


def _attachment(name: str, media_type: str, content: bytes, kind: AttachmentKind, content_id: str) -> Attachment:
    """Return an attachment with a name that is safe to show and to save under."""
    return Attachment(
        name=_safe_name(name, media_type),
        type=media_type,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        kind=kind,
        content=content,
        content_id=content_id,
    )


def _safe_name(name: str, media_type: str) -> str:
    """Return *name* without path, controls and what file systems refuse; made up from the type if nothing is left."""
    visible = clean.line(name, PARAMETER_FIELD_BYTES).replace("\\", "/").rstrip("/").rpartition("/")[2]
    visible = "".join(char for char in visible if char not in "\u200b\u200c\u200d\u2060\u00ad")
    visible = visible.strip(" .")
    if len(visible) > NAME_CHARS:
        stem, dot, extension = visible.rpartition(".")
        keep = f".{extension}" if dot and len(extension) <= 10 else ""
        visible = (stem if keep else visible)[: NAME_CHARS - len(keep)] + keep
    if not visible:
        return "attachment" + (_EXTENSIONS.guess_extension(media_type) or "")
    return "_" + visible if _DEVICE.match(visible) else visible


def _subject(content: bytes) -> str:
    """Return a name for an attached mail: its subject."""
    fields, _ = headers.fields(content, headers.beginning(content), min(len(content), headers.BLOCK_BYTES), [])
    subject = next((value for name, value in fields if name.lower() == "subject"), "")
    shown = clean.line(decode.words(subject), 100).replace("/", "_").replace("\\", "_")
    return f"{shown or 'attached mail'}.eml"


def _body(harvest: _Harvest) -> tuple[str, str | None]:
    """Return the body as text, and its part outside quote containers where it came from HTML that has some.

    Plain text stands for all HTML but for the case that HTML comes first and no plain part is its alternative: then the
    plain part is a footer that some gateway or list has added.
    """
    pages = [page for page in harvest.pages or harvest.enclosed_pages if page.text.strip()]
    plain = [page for page in pages if not page.is_html]
    said = {page.alternative for page in plain if page.alternative}
    if plain and not (pages[0].is_html and pages[0].alternative not in said):
        text = "\n\n".join(page.text for page in plain)[:TEXT_BYTES]
        own = _own_part(text, [page.text for page in pages if page.is_html])
        _attach_unsaid(text, [page for page in pages if page.is_html and page.alternative not in said], harvest)
        return text, own
    read = [markup.read(page.text) if page.is_html else markup.Markup(text=page.text) for page in pages]
    own = None
    if any(page.own is not None for page in read):
        own = clean.block("\n\n".join(page.text if page.own is None else page.own for page in read))
    return clean.block("\n\n".join(page.text for page in read))[:TEXT_BYTES], own


def _attach_unsaid(plain: str, pages: list[_Page], harvest: _Harvest) -> None:
    """Keep HTML that stands beside the plain text, instead of for it, as an attachment; its words must not get lost."""
    said = "".join(map(_bare, plain.split()))
    for page in reversed(pages):
        if "".join(map(_bare, markup.read(page.text).text.split())) not in said:
            kept = _attachment("", "text/html", page.content, AttachmentKind.FILE, "")
            harvest.attachments.insert(page.attachments_before, kept)


def _own_part(plain: str, html: list[str]) -> str | None:
    """Return how far *plain* says what its HTML alternative says outside quote containers; None if that cannot be told.

    Outlook's plain text shows where history begins only in the language of the sender, its HTML in all.
    """
    if len(html) != 1 or not markup.may_quote(html[0]):
        return None
    own = markup.read(html[0]).own
    wanted = [word for word in map(_bare, (own or "").split()) if word]
    if not wanted:
        return None
    reached = 0
    shown = _PICTURE.sub(lambda found: " " * len(found[0]), plain[:SPLIT_CHARS])
    for token in re.finditer(r"\S+", shown):
        word = _bare(token[0])
        if not word:
            continue
        if word != wanted[reached]:
            return None
        reached += 1
        if reached == len(wanted):
            return plain[: token.end()]
    return None


def _bare(word: str) -> str:
    """Return *word* without what plain text and HTML write differently: punctuation, and where links lead."""
    if word.isalnum():
        return word
    word = _LINK.split(word, maxsplit=1)[0]
    return "" if "://" in word else "".join(filter(str.isalnum, word))


def _cannot_read(root: _Part, text: str) -> str:
    """Return why the text of a whole mail stays closed to us (S/MIME, PGP), or an empty text."""
    if root.type == "multipart/encrypted" or "-----BEGIN PGP MESSAGE-----" in text:
        return "encrypted (PGP): cannot be read"
    if root.type in ("application/pkcs7-mime", "application/x-pkcs7-mime"):
        is_signed = _parameter(root.parameters, "smime-type").lower() == "signed-data"
        return f"{'signed in one piece' if is_signed else 'encrypted'} (S/MIME): cannot be read"
    return ""


def _report(parts: list[tuple[str, bytes]]) -> DeliveryReport | None:
    """Return what a delivery status says (RFC 3464), with the letter that came back; None where there is no status.

    Of several recipients the first failed one counts, and the address as we wrote it, before aliases.
    """
    recipients: list[dict[str, str]] = []
    original = ""
    for media_type, content in parts:
        if media_type in _STATUS_TYPES:
            groups = [
                _named_fields(group) for group in re.split(rb"\n[ \t\r]{0,80}\n", content[: 4 * headers.FIELD_BYTES])
            ]
            recipients += [group for group in groups if "final-recipient" in group or "original-recipient" in group]
        else:
            found = headers.IDENTIFIER.search(_named_fields(content).get("message-id", ""))
            original = original or (found[0] if found else "")
    if not any(media_type in _STATUS_TYPES for media_type, _ in parts):
        return None
    failed = next((group for group in recipients if group.get("action", "").lower() == "failed"), None)
    group = failed or (recipients[0] if recipients else {})
    recipient = group.get("original-recipient") or group.get("final-recipient", "")
    address = recipient.rpartition(";")[2].strip(" <>").lower()
    return DeliveryReport(
        recipient=address,
        action=group.get("action", "").split(" ")[0].lower(),
        status=group.get("status", "").split(" ")[0],
        diagnostic=group.get("diagnostic-code", "").partition(";")[2].strip() or group.get("diagnostic-code", ""),
        original_message_id=original,
    )


def _named_fields(block: bytes) -> dict[str, str]:
    """Return the first value of each field of a block, by its name in lower case."""
    fields, _ = headers.fields(block, headers.beginning(block), len(block), [])
    named: dict[str, str] = {}
    for name, value in fields:
        named.setdefault(name.lower(), clean.line(decode.words(value)))
    return named


def _with_fingerprint(mail: Mail) -> Mail:
    """Return *mail* with its content fingerprint, F2 of reliability.md 3."""
    digest = hashlib.sha256()

    def add(values: Iterable[str]) -> None:
        for value in values:
            digest.update(value.encode("utf-8", "replace") + b"\0")

    add((mail.header("from") or "", mail.header("date") or "", mail.subject, " ".join(mail.text.split())))
    add(f"{size} {sha256}" for size, sha256 in sorted((item.size, item.sha256) for item in mail.attachments))
    return replace(mail, content_sha256=digest.hexdigest())
