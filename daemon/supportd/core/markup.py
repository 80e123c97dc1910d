"""HTML of a mail -> readable text, in linear time, without what its sender hid and, apart, without what it quotes.

The tree is Lexbor's (it repairs as browsers do); the walk is iterative, since mails nest 20,000 deep.

- hidden: comments, scripts, styles, ``hidden``, ``display:none``, ``mso-hide:all`` and the like never become text
- blocks nested more than 1,000 deep are flattened to line breaks
- paragraphs, lists, table cells and links stay readable; a cited block is marked with ``>``
- quote containers of the mail programs are known by their marks, so that *own* is the text without them
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from selectolax.lexbor import LexborHTMLParser, LexborNode

# For each block Lexbor looks through the blocks around it, so that depth costs the square; replies of replies of real
# threads nest a few hundred deep.
NESTING = 1000
# What a person writes is far below this; the rest of a larger document is cut off before it costs anything.
LIMIT_CHARS = 512 * 1024

# Elements whose content is no text for a reader.
_SILENT = frozenset(
    {
        *("script", "style", "head", "title", "template", "svg", "math", "object", "iframe", "noframes"),
        *("select", "datalist", "audio", "video", "canvas", "textarea"),
    }
)
_PARAGRAPH = frozenset(("p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "dl", "pre", "blockquote"))
_BLOCK = frozenset(
    {
        *("address", "article", "aside", "body", "caption", "center", "dd", "details", "div", "dt", "fieldset"),
        *("figcaption", "figure", "footer", "form", "header", "html", "legend", "li", "main", "nav", "section"),
        *("summary", "tbody", "tr"),
    }
)
_HIDING = ("display:none", "visibility:hidden", "mso-hide:all", "font-size:0;", "font-size:0px", "font-size:0pt")
_NESTING_TAG = re.compile(
    r"<(/?)(address|article|aside|blockquote|center|details|dialog|dir|div|dl|fieldset|figure|footer|form|header|main|menu"
    r"|nav|ol|section|ul)(?=[\s/>])",
    re.IGNORECASE,
)
_HTML_SPACES = re.compile(r"[ \t\n\f\r]+")
# The line that Outlook draws between an answer and what it answers, as its own plain text shows it.
RULE = "_" * 32
_DEPTH_SHOWN = 10  # Deeper lists and quotes are shown as this deep, or the marks would outgrow the text.

# Containers of quoted history: Gmail, Yahoo, Thunderbird, Proton, Tuta, Airmail; by name those of GMX and Spark.
_QUOTE_CLASSES = frozenset(
    {
        *("gmail_attr", "gmail_quote", "yahoo_quoted", "moz-cite-prefix", "protonmail_quote", "tutanota_quote"),
        *("airmail_quote",),
    }
)
_QUOTE_NAMES = frozenset(("quote", "messageReplySection"))
# Where all that follows in the document is the old mail: Outlook desktop, web and mobile, Zimbra, old Hotmail.
_HISTORY_STARTS = frozenset(
    ("divRplyFwdMsg", "appendonsend", "mail-editor-reference-message-container", "zwchr", "stopSpelling")
)
_HISTORY_COMMENT = "originalMessage"  # Samsung
# A look for these, in lower case, tells whether any of them can be there.
_QUOTE_MARKS = (
    *(name.lower() for name in (*_QUOTE_CLASSES, *_HISTORY_STARTS, _HISTORY_COMMENT, "messageReplySection")),
    *("cite", 'name="quote', "name=quote", "name='quote", "#e1e1e1", "#b5c4df"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Markup:
    """What an HTML body says: all of it, and without its quote containers (None where it has none)."""

    text: str
    own: str | None = None


def may_quote(html: str) -> bool:
    """Return whether *html* shows any mark of a quote container; to look is far cheaper than to read."""
    folded = html.lower()
    return any(mark in folded for mark in _QUOTE_MARKS)


def read(html: str) -> Markup:
    """Return the text of *html*; the part beyond 512 Ki characters is not read."""
    html = _shallow(html[:LIMIT_CHARS])
    tree = LexborHTMLParser(html)
    if tree.root is None:
        return Markup(text="")
    writer = _Writer()
    own = _Writer() if may_quote(html) else None
    if not _walk(tree.root, writer, own) or own is None:
        return Markup(text=writer.text())
    # Outlook on the web draws its rule in front of the mark.
    return Markup(text=writer.text(), own=own.text().removesuffix(RULE).rstrip())


def _shallow(html: str) -> str:
    """Return *html* with at most NESTING blocks inside each other; deeper ones become line breaks, no word is lost."""
    if html.count("<") <= NESTING:
        return html
    depth = 0
    open_tags: Counter[str] = Counter()
    flattened: Counter[str] = Counter()

    def tag(found: re.Match[str]) -> str:
        nonlocal depth
        name = found[2].lower()
        if not found[1]:
            if depth >= NESTING:
                flattened[name] += 1
                return "<br"
            depth += 1
            open_tags[name] += 1
        elif flattened[name]:
            flattened[name] -= 1
            return "</br"
        elif open_tags[name]:
            open_tags[name] -= 1
            depth -= 1
        return found[0]

    return _NESTING_TAG.sub(tag, html)


class _Writer:
    """Collects text as a page of lines: white space collapses, blocks begin on lines of their own."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._line_is_empty = True
        self._breaks = 2  # line ends written or due since the last text; a page starts without blank lines
        self._due = 0
        self._space_due = False
        self._gap_cited = 0  # the citation depth of the blank lines that are due
        self._lines = 0
        self._row_line: int | None = None  # the line on which the open table row began; None before its first text
        self._in_row = False
        self._cell_is_fresh = False  # on the line of its row, without text so far: its first block stays there
        self._link_start = 0
        self.cited = 0

    def words(self, text: str) -> None:
        """Write the words of *text*, as running text."""
        flat = _HTML_SPACES.sub(" ", text)
        if not flat or flat == " ":
            self._space_due = self._space_due or bool(flat)
            return
        if flat[0] == " ":
            self._space_due = True
            flat = flat[1:]
        self.verbatim(flat.rstrip(" "))
        self._space_due = flat[-1] == " "

    def verbatim(self, text: str) -> None:
        """Write *text*, a part of one line, with its own white space."""
        if self._due:
            self._pieces.append(("\n" + _mark(self._gap_cited).rstrip()) * (self._due - 1) + "\n")
            self._lines += 1
            self._line_is_empty = True
        if self._line_is_empty:
            self._pieces.append(_mark(self.cited))
        elif self._space_due:
            self._pieces.append(" ")
        self._pieces.append(text)
        if self._in_row and self._row_line is None:
            self._row_line = self._lines
        self._due = self._breaks = 0
        self._space_due = self._line_is_empty = self._cell_is_fresh = False
        self._gap_cited = self.cited

    def lines(self, text: str) -> None:
        """Write preformatted *text*, line by line."""
        for number, line in enumerate(text.split("\n")):
            if number:
                self.line_break()
            if line:
                self.verbatim(line)

    def block(self, breaks: int) -> None:
        """Have what follows begin after at least *breaks* line ends."""
        self._space_due = False
        self._gap_cited = min(self._gap_cited, self.cited)
        if self._breaks < breaks and not self._cell_is_fresh:
            self._due += breaks - self._breaks
            self._breaks = breaks

    def line_break(self) -> None:
        """End the line here, once more if it has ended (``<br>``); at most two blank lines in a row."""
        self._space_due = False
        self._gap_cited = min(self._gap_cited, self.cited)
        if self._breaks < 3:
            self._due += 1
            self._breaks += 1

    def open_link(self) -> None:
        """Remember that a link begins here."""
        self._link_start = len(self._pieces)

    def close_link(self, target: str) -> None:
        """Write the *target* of the link that ends here, unless its text says so already."""
        shown = "".join(self._pieces[self._link_start :]).strip().casefold().removesuffix("/")
        self._link_start = len(self._pieces)
        if shown and shown not in target.casefold():
            self._space_due = True
            self.words(f"<{target}>")

    def item(self, bullet: str) -> None:
        """Begin a list item; its text follows on the same line."""
        self.verbatim(bullet)

    def row(self) -> None:
        """Begin a table row; rows of one line each follow each other without blank lines."""
        self._cell_is_fresh = False
        if self._row_line == self._lines:
            self._due = self._breaks = 1
        else:
            self.block(1)
        self._in_row, self._row_line = True, None

    def cell(self) -> None:
        """Begin a table cell: on the line of the row, as long as no cell of it has needed a second line."""
        if self._row_line == self._lines:
            self._due = self._breaks = 0
            self._pieces.append("  ")
            self._space_due = False
        else:
            self.block(1)
        self._cell_is_fresh = self._row_line in (None, self._lines)

    def end_table(self) -> None:
        """End a table, and with it the row of a table around it."""
        self._in_row, self._row_line, self._cell_is_fresh = False, None, False

    def text(self) -> str:
        """Return the page."""
        lines = "".join(self._pieces).replace("\xa0", " ").split("\n")
        return "\n".join(line.rstrip() for line in lines).strip("\n")


def _mark(depth: int) -> str:
    """Return what stands before a line that is cited *depth* times."""
    return ">" * min(depth, _DEPTH_SHOWN) + " " if depth else ""


def _walk(root: LexborNode, whole: _Writer, own: _Writer | None) -> bool:
    """Write the tree below *root* to *whole* and, outside quote containers, to *own*; return whether any was met."""
    writers = (whole,) if own is None else (whole, own)
    open_elements: list[tuple[LexborNode, str, bool, str]] = []  # node, tag, writers narrowed here, link target
    counters: list[int] = []  # next number of each open list; -1 for bullets
    preformatted = 0
    met = False
    node: LexborNode | None = root
    while node is not None:
        tag = node.tag or ""
        descend = False
        if tag == "-text":
            content = node.text_content or ""
            for writer in writers:
                if preformatted:
                    writer.lines(content)
                else:
                    writer.words(content)
        elif tag == "-comment":
            if len(writers) == 2 and (node.comment_content or "").strip() == _HISTORY_COMMENT:
                writers, met = (whole,), True
        elif tag not in _SILENT:
            attributes = node.attributes
            if not attributes or not _is_hidden(attributes):
                narrowed = False
                if len(writers) == 2 and attributes:
                    if _starts_history(attributes):
                        writers, met = (whole,), True
                    elif _is_quote(node, tag, attributes):
                        writers, narrowed, met = (whole,), True, True
                preformatted += tag == "pre"
                link = _link(tag, attributes)
                for writer in writers:
                    _enter(writer, tag, attributes, counters)
                if tag in ("ul", "ol"):
                    counters.append(1 if tag == "ol" else -1)
                elif tag == "li" and counters and counters[-1] > 0:
                    counters[-1] += 1
                open_elements.append((node, tag, narrowed, link))
                descend = True
        following = node.child if descend else node.next
        while following is None and open_elements:
            closed, tag, narrowed, link = open_elements.pop()
            preformatted -= tag == "pre"
            if tag in ("ul", "ol") and counters:
                counters.pop()
            for writer in writers:
                _leave(writer, tag, closed, link, bool(counters))
            if narrowed and own is not None:
                writers = (whole, own)
            following = closed.next if open_elements else None
        node = following
    return met


def _is_hidden(attributes: dict[str, str | None]) -> bool:
    """Return whether an element with these *attributes* is not shown: hidden text must not drive a severity."""
    if "hidden" in attributes:
        return True
    style = attributes.get("style")
    if not style:
        return False
    flat = style.lower().replace(" ", "") + ";"
    return any(mark in flat for mark in _HIDING)


def _starts_history(attributes: dict[str, str | None]) -> bool:
    """Return whether all that follows in the document is the old mail (Outlook in its many forms)."""
    if (attributes.get("id") or "").removeprefix("x_") in _HISTORY_STARTS:
        return True
    style = (attributes.get("style") or "").lower().replace(" ", "")
    return "border-top:solid#e1e1e1" in style or "border-top:solid#b5c4df" in style


def _is_quote(node: LexborNode, tag: str, attributes: dict[str, str | None]) -> bool:
    """Return whether the element holds quoted history and nothing else."""
    if tag == "blockquote" and (attributes.get("type") or "").lower() == "cite":
        return True
    classes = (attributes.get("class") or "").split()
    if "gmail_quote" in classes and tag == "div":
        # An answer written between the quoted lines stands in this container, next to the blockquotes.
        child = node.child
        while child is not None and child.tag != "blockquote":
            child = child.next
        return child is None
    return not _QUOTE_CLASSES.isdisjoint(classes) or (tag == "div" and attributes.get("name") in _QUOTE_NAMES)


def _enter(writer: _Writer, tag: str, attributes: dict[str, str | None], counters: list[int]) -> None:
    """Write what opens an element."""
    if tag == "br":
        writer.line_break()
    elif tag == "li":
        writer.block(1)
        number = counters[-1] if counters else -1
        indent = "  " * min(len(counters) - 1, _DEPTH_SHOWN)
        writer.item(indent + (f"{number}. " if number > 0 else "* "))
    elif tag == "a":
        writer.open_link()
    elif tag in ("td", "th"):
        writer.cell()
    elif tag == "tr":
        writer.row()
    elif tag == "hr":
        writer.block(1)
        writer.words(RULE)
        writer.block(1)
    elif tag == "img":
        # Mail programs send emoji as pictures with the character as the alternative text.
        alternative = attributes.get("alt") or ""
        if len(alternative) <= 4 and not alternative.isascii():
            writer.words(alternative)
    elif tag in _PARAGRAPH:
        writer.block(1 if counters else 2)
        writer.cited += tag == "blockquote" and _is_citation(attributes)
    elif tag in _BLOCK:
        writer.block(1)


def _leave(writer: _Writer, tag: str, node: LexborNode, link: str, nested: bool) -> None:
    """Write what closes an element."""
    if link:
        writer.close_link(link)
    if tag in _PARAGRAPH:
        if tag == "table":
            writer.end_table()
        if tag == "blockquote":
            writer.cited -= writer.cited > 0 and _is_citation(node.attributes)
        writer.block(1 if nested else 2)
    elif tag in _BLOCK:
        writer.block(1)


def _is_citation(attributes: dict[str, str | None]) -> bool:
    """Return whether a blockquote cites another mail (many only indent)."""
    return (attributes.get("type") or "").lower() == "cite" or "gmail_quote" in (attributes.get("class") or "")


def _link(tag: str, attributes: dict[str, str | None]) -> str:
    """Return the target of a link that a reader should see, or an empty text."""
    target = (attributes.get("href") or "").strip() if tag == "a" else ""
    return target if target.lower().startswith(("http://", "https://")) and len(target) <= 200 else ""
