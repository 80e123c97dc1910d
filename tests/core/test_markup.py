"""HTML of real mail programs, and of people who mean harm."""

from __future__ import annotations

import time

import pytest

from supportd.core.markup import LIMIT_CHARS, NESTING, read


def test_paragraphs_and_line_breaks_are_kept() -> None:
    page = read("<p>Hello,</p><p>the <b>projector</b>\n is off.<br>Room 6</p><div>Thanks</div><div>Jane</div>")

    assert page.text == "Hello,\n\nthe projector is off.\nRoom 6\n\nThanks\nJane"
    assert page.own is None


def test_lists_are_marked_and_numbered() -> None:
    page = read("<ul><li>mouse<li>cable<ol><li>short<li>long</ol></ul>")

    assert page.text == "* mouse\n* cable\n  1. short\n  2. long"


def test_the_cells_of_a_row_stay_on_its_line() -> None:
    page = read("<table><tr><th>Room<th>Device<tr><td>6<td>printer</table>")

    assert page.text == "Room  Device\n6  printer"


def test_cells_of_word_tables_with_paragraphs_stay_on_their_line() -> None:
    row = "<tr><td><p>{}</p></td><td><p>{}</p></td></tr>"

    page = read(f"<table>{row.format('Room', 'Device')}{row.format(6, 'printer')}</table>")

    assert page.text == "Room  Device\n6  printer"


def test_a_cell_of_several_lines_ends_the_line_of_its_row() -> None:
    page = read("<table><tr><td>one<br>two<td>three<tr><td><table><tr><td>a<td>b</table><td>c</table>")

    assert page.text == "one\ntwo\nthree\na  b\n\nc"


def test_a_link_shows_where_it_leads_unless_its_text_says_so() -> None:
    page = read(
        '<a href="https://school.example/form">the form</a>, <a href="https://school.example/">https://school.example</a>,'
        ' <a href="mailto:jane@school.example">Jane</a>'
    )

    assert page.text == "the form <https://school.example/form>, https://school.example, Jane"


def test_preformatted_text_keeps_its_lines() -> None:
    assert read("<pre>error:\n  line 2\n\ndone</pre>").text == "error:\n  line 2\n\ndone"


def test_emoji_sent_as_pictures_are_text_and_other_pictures_are_not() -> None:
    assert read('Thanks <img alt="😀" src="x"><img alt="Company logo" src="cid:1">').text == "Thanks 😀"


@pytest.mark.parametrize(
    "hidden",
    [
        '<div style="display: none">URGENT</div>',
        '<span style="mso-hide:all">URGENT</span>',
        '<p style="visibility:hidden">URGENT</p>',
        '<font style="FONT-SIZE: 0px">URGENT</font>',
        "<p hidden>URGENT</p>",
        "<style>URGENT</style>",
        "<script>URGENT</script>",
        "<title>URGENT</title>",
        "<!-- URGENT -->",
        "<!--[if mso]>URGENT<![endif]-->",
        "<template>URGENT</template>",
        '<img alt="URGENT" src="x">',
    ],
)
def test_what_the_sender_hid_is_not_read(hidden: str) -> None:
    page = read(f"<p>The mouse sticks.</p>{hidden}<p>Jane</p>")

    assert "URGENT" not in page.text
    assert page.text.startswith("The mouse sticks.")
    assert page.text.endswith("Jane")


@pytest.mark.parametrize(
    "quote",
    [
        "<div class=gmail_quote><div class=gmail_attr>IT:</div><blockquote class=gmail_quote>old</blockquote></div>",
        '<div class="gmail_quote">---------- Forwarded message ---------<br>old</div>',
        '<div class="moz-cite-prefix">Am 23.11. schrieb IT:</div><blockquote type="cite">old</blockquote>',
        '<blockquote type="cite">old</blockquote>',
        '<div class="yahoo_quoted">old</div>',
        '<div class="protonmail_quote">old</div>',
        '<div name="quote">old</div>',
        '<div name="messageReplySection">On Monday IT wrote:<br>old</div>',
        '<blockquote class="tutanota_quote">old</blockquote>',
        '<hr id="zwchr"><div><b>From: </b>IT</div><div>old</div>',
        '<hr style="width:98%" tabindex="-1"><div id="x_divRplyFwdMsg"><b>Feladó:</b> IT</div><div>old</div>',
        "<div><!-- originalMessage --><div>-------- Original message --------</div>old</div>",
        '<div id="appendonsend"></div><hr><div id="divRplyFwdMsg"><b>From:</b> IT</div><div>old</div>',
        '<div id="divRplyFwdMsg"><b>Od:</b> IT</div>old',
        '<div id="mail-editor-reference-message-container">old</div>',
        '<div style="border:none;border-top:solid #E1E1E1 1.0pt"><p><b>Von:</b> IT</p></div><p>old</p>',
        '<div style="border:none;border-top:solid #B5C4DF 1.0pt"><p><b>De:</b> IT</p></div><p>old</p>',
    ],
)
def test_own_is_the_text_without_the_quote_containers(quote: str) -> None:
    page = read(f"<html><body><div>It works now.</div>{quote}</body></html>")

    assert page.own == "It works now."
    assert "old" in page.text


def test_an_answer_between_quoted_blocks_is_own() -> None:
    page = read(
        "<div class=gmail_quote><div class=gmail_attr>On Mon, IT wrote:</div>"
        "<blockquote class=gmail_quote>Which room?</blockquote><div>Room 6.</div>"
        "<blockquote class=gmail_quote>Since when?</blockquote><div>Monday.</div></div>"
    )

    assert page.own == "Room 6.\nMonday."
    assert page.text == "On Mon, IT wrote:\n\n> Which room?\n\nRoom 6.\n\n> Since when?\n\nMonday."


def test_a_blockquote_that_only_indents_is_own_and_unmarked() -> None:
    page = read('<blockquote style="margin:0 0 0 40px;border:none"><div>my list</div></blockquote>')

    assert page.text == "my list"
    assert page.own is None


def test_text_in_blocks_too_deep_to_nest_is_not_lost() -> None:
    page = read("<div>" * (NESTING * 20) + "help<p>me" + "</div>" * (NESTING * 20) + "<div>after</div>")

    assert page.text.split() == ["help", "me", "after"]


def test_what_lies_beyond_the_limit_is_not_read() -> None:
    page = read("<p>first</p>" + " " * LIMIT_CHARS + "<p>last</p>")

    assert page.text == "first"


@pytest.mark.parametrize(
    "unit",
    [
        "<div>", "<a ", "<!--", "<ul><li>", "<dl><dd>", "<form><div>", "<p><div>", "<table><tr><td>", "<b><i><p>x",
        "<blockquote type=cite>", "<div class=gmail_quote>", "<svg><g>", "<select><option>", "&nbsp;", "<br>", "<h1>",
        "<a href=http://x>", "</p>", "<font a=1>", "<template>", "<p id=appendonsend>x",
    ],
)  # fmt: skip
def test_half_a_megabyte_of_one_tag_is_read_in_linear_time(unit: str) -> None:
    html = unit * (LIMIT_CHARS // len(unit))
    start = time.process_time()

    read(html)

    # In a tenth of this on an idle machine; what was quadratic took 36 s and more.
    assert time.process_time() - start < 10
