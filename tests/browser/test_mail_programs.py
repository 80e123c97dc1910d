"""Letters in mail programs: mutt shows the text part, and what Gmail keeps of the HTML still says everything."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
from pathlib import Path

import nh3
import pytest
from selectolax.lexbor import LexborHTMLParser

import desk
from desk import NOW, composer, html_of
from supportd import samples
from supportd.core.model import Letter

pytestmark = pytest.mark.browser
LETTERS = {sample.name: sample.write() for sample in samples.showcase(composer(), desk.HOURS, desk.POLICY, NOW)}

# What Gmail is known to keep (developers.google.com/workspace/gmail/design/css), here without its style element: the
# application for phones throws that away for an account that is not Google's.
_TAGS = """
    a abbr b bdi blockquote br center code div em font h1 h2 h3 hr i img li ol p pre s small span strong sub sup table
    tbody td tfoot th thead tr u ul
"""
_ATTRIBUTES = {
    "*": {"align", "bgcolor", "class", "dir", "height", "lang", "style", "title", "valign", "width"},
    "a": {"href"},
    "img": {"alt", "src"},
    "table": {"border", "cellpadding", "cellspacing", "role"},
    "th": {"scope"},
}
_STYLES = """
    background-color border border-bottom border-collapse border-left border-radius border-right border-top color
    display font-family font-size font-style font-weight height letter-spacing line-height margin margin-bottom
    margin-left margin-right margin-top max-width padding padding-bottom padding-left padding-right padding-top
    text-align text-decoration vertical-align white-space width word-break
"""


def _words(html: str) -> list[str]:
    page = LexborHTMLParser(html)
    page.strip_tags(["head"])
    assert page.body is not None
    return page.body.text(separator=" ").split()


def test_what_gmail_keeps_of_a_letter_still_says_everything() -> None:
    for name, letter in LETTERS.items():
        html = html_of(letter)

        kept = nh3.clean(
            html,
            tags=set(_TAGS.split()),
            attributes=_ATTRIBUTES,
            url_schemes={"mailto", "cid"},
            filter_style_properties=set(_STYLES.split()),
            clean_content_tags={"title", "style", "script"},
            link_rel=None,
        )

        assert _words(kept) == _words(html), name
        links, kept_links = LexborHTMLParser(html).css("a[href]"), LexborHTMLParser(kept).css("a[href]")
        assert [link.attributes["href"] for link in kept_links] == [link.attributes["href"] for link in links], name
        assert "background-color:#fffefb" in kept.replace(" ", ""), name


def test_mutt_shows_the_text_of_an_acknowledgement(tmp_path: Path) -> None:
    shown = _in_mutt(LETTERS["acknowledgement-3-open"], tmp_path)

    head, _, body = shown.partition("\n\n")
    assert "Subject: Re: [AS-123] Smartboard in Oak class is dead" in head
    assert body.split("\n")[0] == "We have your message. Your reference is AS-123."
    assert "We answer by:        today 09:55" in body
    assert "<table" not in shown


@pytest.mark.parametrize("kind", ["rtl", "emoji", "hostile"])
def test_mutt_shows_names_and_texts_of_any_script(kind: str, tmp_path: Path) -> None:
    shown = _in_mutt(LETTERS[f"alert-{kind}"], tmp_path)

    told = {"rtl": "الطابعة لا تعمل منذ الصباح.", "emoji": "It says 日本語", "hostile": "<script>alert(1)</script>"}
    assert told[kind] in shown
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", shown)


def _in_mutt(letter: Letter, folder: Path) -> str:
    """Return what mutt shows of the letter, opened from a mailbox in a terminal of 80 columns."""
    mutt = shutil.which("mutt")
    assert mutt is not None, "mutt is missing; install it with: apt-get install mutt"
    mailbox, shown = folder / "mailbox", folder / "shown.txt"
    mailbox.write_bytes(
        b"From support@allsaints.example Tue Nov 24 14:52:00 2026\n" + letter.data.replace(b"\r\n", b"\n")
    )
    settings = folder / "muttrc"
    settings.write_text(
        f"set pipe_decode=yes wait_key=no charset=utf-8 folder={folder} quit=yes\n"
        "ignore *\nunignore from: subject: to:\n"
        f'push "<pipe-message>cat > {shown}<enter><exit>"\n'
    )
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [mutt, "-n", "-R", "-F", str(settings), "-f", str(mailbox)],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        env={"HOME": str(folder), "TERM": "xterm", "LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"], "COLUMNS": "80"},
    )
    os.close(terminal)
    try:
        while os.read(controller, 65536):
            pass
    except OSError:
        pass  # The terminal is gone when mutt has ended.
    finally:
        os.close(controller)
    assert process.wait(timeout=20) == 0
    return shown.read_text(encoding="utf-8")
