"""The wording: every letter with every made-up ticket, hostile ones among them, and templates edited by people."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pytest
from click.testing import CliRunner
from selectolax.lexbor import LexborHTMLParser

import desk
from desk import NOW, composer, envelope, html_of, read, text_of, ticket
from supportd import samples
from supportd.cli.templates import templates as command
from supportd.config import Config, load
from supportd.core.model import Letter

COMPOSER = composer()
LETTERS = {sample.name: sample.write() for sample in samples.every(COMPOSER, desk.HOURS, desk.POLICY, NOW)}
# The hostile samples hold {{ 7*191 }}, which is 1337.
HOSTILE = {name: letter for name, letter in LETTERS.items() if name.endswith("-hostile")}
SHIPPED = resources.files("supportd.templates")


# Every letter with every sample.


def test_there_are_samples_for_each_level_hour_and_kind_of_person() -> None:
    hows = Counter(name.removeprefix("acknowledgement-") for name in LETTERS if name.startswith("acknowledgement-"))

    assert {f"{level}-{hour}" for level in range(1, 7) for hour in ("open", "closed", "holiday", "unknown")} <= set(
        hows
    )
    assert {"long", "rtl", "emoji", "hostile", "restricted", "unverified"} <= set(hows)


def test_the_text_says_what_the_html_says() -> None:
    assert {name: said for name, letter in LETTERS.items() if (said := _said_once(letter))} == {}


def _said_once(letter: Letter) -> set[str]:
    """Return the words that only one of the two parts has."""
    html = LexborHTMLParser(re.sub("(</(?:td|th|li|p|h1|h2|div)>|<br>)", r" \1", html_of(letter)))
    html.strip_tags(["head", "a"])
    assert html.body is not None
    in_html, in_text = _words(html.body.text(separator="")), _words(text_of(letter))
    # What a text has instead of boxes, and the address that the links of the HTML write to.
    only_text = {word for word in in_text - in_html if "@" not in word} - {"-", "|", "--", "write", "to"}
    return set(in_html - in_text) | only_text


def test_a_letter_is_short_enough_and_loads_nothing() -> None:
    assert "url(" not in SHIPPED.joinpath("style.css").read_text() + SHIPPED.joinpath("dark.css").read_text()
    for name, letter in LETTERS.items():
        html = html_of(letter)
        page = LexborHTMLParser(html)

        assert len(html.encode()) < 60_000, name
        assert page.css("script, link, iframe, object, embed, video, audio, form, input, base, svg") == [], name
        assert all((image.attributes["src"] or "").startswith("cid:") for image in page.css("img")), name
        assert all(image.attributes["alt"] for image in page.css("img")), name
        assert all((link.attributes["href"] or "").startswith("mailto:") for link in page.css("a")), name


def test_a_letter_reads_well_aloud() -> None:
    for name, letter in LETTERS.items():
        page = LexborHTMLParser(html_of(letter))

        assert page.css_first("html").attributes["lang"] == "en"
        assert page.css_first("title").text().strip()
        headings = [heading.tag for heading in page.css("h1, h2, h3, h4")]
        assert headings in ([], ["h1"]) or (headings[0] == "h1" and set(headings[1:]) == {"h2"}), name
        # A table is either mere layout, and says so, or has headers.
        assert all(
            table.attributes.get("role") == "presentation" or table.css("th[scope]") for table in page.css("table")
        )


def test_styles_are_written_into_the_letter_and_dark_rules_are_kept() -> None:
    html = html_of(LETTERS["acknowledgement-3-open"])

    assert 'class="card"' in html
    assert "background-color: #fffefb" in LexborHTMLParser(html).css_first(".card").attributes["style"]
    assert "@media (prefers-color-scheme: dark)" in html
    assert "[data-ogsc]" in html
    assert "<!--[if mso]>" in html


def test_lines_stay_lines_where_styles_are_ignored() -> None:
    html = html_of(COMPOSER.answer(envelope(), ticket(), author="Sam", text="one\n\ntwo <b>\n  three"))

    # Outlook, which draws with Word, knows no `white-space: pre-wrap`.
    assert ">one<br><br>two &lt;b&gt;<br>  three</div>" in html


def test_the_page_about_wording_names_files_that_exist() -> None:
    page = (Path(__file__).parents[1] / "docs" / "wording.md").read_text(encoding="utf-8")
    shipped = {file.name for file in SHIPPED.iterdir()}

    named = set(re.findall(r"`(_\w+|\w+\.(?:txt|html|css))`", page)) - {"NAME.txt", "NAME.html"}

    assert len(named) > 12
    assert {name for name in named if not {name, f"{name}.txt", f"{name}.html"} & shipped} == set()


def test_plain_text_fits_a_terminal() -> None:
    for name, letter in LETTERS.items():
        text = text_of(letter)

        assert "\n\n\n" not in text, name
        # Only a word that is itself too long (an address, a link) may stand out.
        assert all(len(line) <= 72 or len(line.split()) <= 2 for line in text.split("\n")), name


# Hostile texts.


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_words_never_become_markup(name: str) -> None:
    page = LexborHTMLParser(html_of(HOSTILE[name]))
    harmless = LexborHTMLParser(html_of(LETTERS[name.removesuffix("hostile") + "emoji"]))

    assert {node.tag for node in page.css("*")} <= {node.tag for node in harmless.css("*")} | {"p"}
    attributes = {attribute for node in page.css("*") for attribute in node.attributes}
    assert not {attribute for attribute in attributes if attribute.startswith("on")}
    assert page.css('[href^="javascript"]') == []
    assert [style.text() for style in page.css("style")] == [style.text() for style in harmless.css("style")]


@pytest.mark.parametrize("name", HOSTILE)
def test_template_syntax_in_a_mail_stays_as_it_was_written(name: str) -> None:
    whole = str(read(HOSTILE[name])["Subject"]) + text_of(HOSTILE[name]) + html_of(HOSTILE[name])

    assert "1337" not in whole
    assert "\u202e" not in whole
    assert "\u2066" not in whole


def test_autoescaping_is_on_in_every_html_template_and_what_it_includes() -> None:
    page = html_of(COMPOSER.alert(envelope(), ticket(subject="<b>&\"'", text="<i>&\"'")))

    assert "&lt;b&gt;&amp;" in page
    assert "&lt;i&gt;&amp;" in page
    assert "|safe" not in _all_wording()
    assert "| safe" not in _all_wording()
    assert "autoescape" not in _all_wording()


def test_a_text_partial_that_html_includes_shows_no_words_of_a_stranger() -> None:
    included = set(re.findall(r'include "(_\w+\.txt)"', _all_wording(".html")))

    for name in included:
        shown = set(re.findall(r"\{\{ ([^}]*) \}\}", SHIPPED.joinpath(name).read_text()))
        assert all(re.search(r'\| when$|^"|^(replies|fixes)\b', value) for value in shown), name


# Templates of the school's own.


def test_an_own_template_is_used_and_the_rest_stays_as_shipped(tmp_path: Path) -> None:
    _write(tmp_path, "closing.txt", '{% extends "layout.txt" %}{% block subject %}Bye{% endblock %}')
    _write(tmp_path, "_owl.html", "<p>the owl of {{ school }}</p>")
    _write(
        tmp_path, "closing.html", '{% extends "layout.html" %}{% block body %}{% include "_owl.html" %}{% endblock %}'
    )
    own = composer(tmp_path)

    letter = own.closing(envelope(), ticket())

    assert own.problems == ()
    assert read(letter)["Subject"] == "Bye"
    assert "the owl of All Saints' CofE" in html_of(letter)
    assert text_of(own.alert(envelope(), ticket())) == text_of(COMPOSER.alert(envelope(), ticket()))


def test_an_own_style_changes_how_letters_look(tmp_path: Path) -> None:
    _write(tmp_path, "style.css", "h1 { color: #123456; }")

    html = html_of(composer(tmp_path).closing(envelope(), ticket()))

    assert LexborHTMLParser(html).css_first("h1").attributes["style"] == "color: #123456;"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One that people make: what stands in which line of which file, and what they are told."""

    text: str
    line: int
    told: str
    file: str = "closing.txt"
    encoding: str = "utf-8"


HEAD = "Subject: [{{ ticket.reference }}] done\n\n"
MISTAKES = {
    "a misspelt value": Mistake(text=HEAD + "{{ tiket.reference }}\n", line=3, told="did you mean 'ticket'"),
    "a misspelt value where it is seldom used": Mistake(
        text=HEAD + "{% if ticket.level == 9 %}\n{{ schol }}{% endif %}\n", line=4, told="did you mean 'school'"
    ),
    "a misspelt part of a value": Mistake(text=HEAD + "a\n{{ ticket.referense }}\n", line=4, told="referense"),
    "an if that never ends": Mistake(text=HEAD + "{% if ticket %}\nhello\n", line=4, told="endif"),
    "an end without a beginning": Mistake(text=HEAD + "{% endif %}\n", line=3, told="endif"),
    "a brace too few": Mistake(text=HEAD + "{{ ticket.reference }\n", line=3, told="unexpected '}'"),
    "a filter that does not exist": Mistake(text=HEAD + "{{ school | upcase }}\n", line=3, told="upcase"),
    "a file that does not exist": Mistake(text=HEAD + '{% include "_logo.txt" %}\n', line=3, told="_logo.txt"),
    "no subject": Mistake(text="Hello {{ ticket.reference }}\n", line=1, told="Subject:"),
    "a number added to a text": Mistake(text=HEAD + "{{ school + 1 }}\n", line=3, told="str"),
    "a file saved in another encoding": Mistake(text=HEAD + "café\n", line=3, told="UTF-8", encoding="cp1252"),
    "a file name that no letter has": Mistake(
        text=HEAD, line=1, told="did you mean 'closing.txt'", file="closeing.txt"
    ),
    "a way out of the sandbox": Mistake(text=HEAD + "{{ ticket.__class__.__mro__ }}\n", line=3, told="unsafe"),
    "a text as long as a book": Mistake(text=HEAD + "{{ '%300000d' | format(1) }}\n", line=1, told="longer than"),
    "a loop for its own sake": Mistake(text=HEAD + "{% for n in range(9) %}{% endfor %}\n", line=3, told="'range'"),
    "a text multiplied": Mistake(text=HEAD + "{{ 'x' * 1000000000 }}\n", line=3, told="small numbers"),
    "a layout without an end": Mistake(text="<html>{% block body %}\n", line=1, told="end", file="layout.html"),
    "a partial that fails": Mistake(text="\n{{ ticket.colour }}\n", line=2, told="colour", file="layout.txt"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_with_file_and_line_and_the_letter_goes_out_as_shipped(
    mistake: Mistake, tmp_path: Path
) -> None:
    _write(tmp_path, mistake.file, mistake.text, mistake.encoding)
    own = composer(tmp_path)

    letter = own.closing(envelope(), ticket())

    assert letter == COMPOSER.closing(envelope(), ticket())
    (problem,) = own.problems
    assert problem.startswith(f"{tmp_path / mistake.file}:{mistake.line}: ")
    assert mistake.told in problem


def test_a_folder_that_is_not_there_is_named_and_letters_go_out(tmp_path: Path) -> None:
    own = composer(tmp_path / "wordings")

    assert own.closing(envelope(), ticket()) == COMPOSER.closing(envelope(), ticket())
    assert own.problems == (f"{tmp_path / 'wordings'}: there is no such folder; the shipped templates are used",)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "closing.txt").mkdir()

    own = composer(tmp_path)

    assert own.problems == (f"{tmp_path / 'closing.txt'}:1: cannot be read (Is a directory)",)
    assert own.closing(envelope(), ticket()) == COMPOSER.closing(envelope(), ticket())


def test_one_broken_file_does_not_put_the_others_aside(tmp_path: Path) -> None:
    _write(tmp_path, "closing.txt", HEAD + "{{ ticket.referense }}\n")
    _write(tmp_path, "closing.html", "<!doctype html><p>the owl</p>")
    own = composer(tmp_path)

    letter = own.closing(envelope(), ticket())

    assert "the owl" in html_of(letter)
    assert text_of(letter) == text_of(COMPOSER.closing(envelope(), ticket()))


# The command line.


@pytest.fixture
def configured(tmp_path: Path) -> Config:
    path = tmp_path / "config.yaml"
    path.write_text(
        "school: All Saints\n"
        "it_inbox: it@allsaints.example\n"
        "mailboxes:\n"
        "  - address: support@allsaints.example\n"
        "    imap: {host: localhost, tls: none}\n"
        "    smtp: {host: localhost, tls: none}\n"
        "calendar:\n"
        "  timezone: Europe/London\n"
        '  hours: {mon-fri: ["08:00-16:00"]}\n'
        "  terms: [{name: Always, from: 2020-01-01, to: 2040-12-31}]\n"
        "  bank_holidays: null\n"
        "severities:\n"
        "  - {level: 1, name: outage, response: immediate, resolution: 30 minutes}\n"
        "  - {level: 2, name: urgent, response: 30 minutes, resolution: 1 hour}\n"
        "  - {level: 3, name: high, response: 1 hour, resolution: 2 hours}\n"
        "  - {level: 4, name: medium, response: 3 hours, resolution: 1 business day}\n"
        "  - {level: 5, name: low, response: 1 business day, resolution: 5 business days}\n"
        "  - {level: 6, name: informational, response: 2 business days, resolution: none}\n"
        "templates: wording\n",
        encoding="utf-8",
    )
    (tmp_path / "wording").mkdir()
    return load(path)


class Shell:
    """What the commands are given: a way to the configuration."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def config(self) -> Config:
        return self._config


def test_preview_writes_each_letter_three_times_and_a_page_of_all(configured: Config, tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["preview", "--out", str(tmp_path / "out")], obj=Shell(configured))

    assert result.exit_code == 0, result.output
    names = {path.stem for path in (tmp_path / "out").glob("*.eml")}
    assert {name.split("-")[0] for name in names} == set(samples.NAMES)
    assert all((tmp_path / "out" / f"{name}.{kind}").stat().st_size for name in names for kind in ("txt", "html"))
    index = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert all(f"src='{name}.html'" in index for name in names)


def test_preview_of_one_letter_writes_only_that(configured: Config, tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["preview", "digest", "--out", str(tmp_path / "out")], obj=Shell(configured))

    assert result.exit_code == 0, result.output
    assert {path.name.split("-")[0] for path in (tmp_path / "out").glob("*.eml")} == {"digest"}


def test_preview_of_an_unknown_letter_is_wrong_usage(configured: Config) -> None:
    result = CliRunner().invoke(command, ["preview", "poem"], obj=Shell(configured))

    assert result.exit_code == 2
    assert "acknowledgement" in result.output


def test_check_is_content_with_the_shipped_templates(configured: Config) -> None:
    result = CliRunner().invoke(command, ["check"], obj=Shell(configured))

    assert result.exit_code == 0, result.output


def test_check_names_every_mistake_at_once_and_exits_with_3(configured: Config, tmp_path: Path) -> None:
    _write(tmp_path / "wording", "closing.txt", HEAD + "{{ ticket.referense }}\n")
    _write(tmp_path / "wording", "_about.html", "\n{% if %}\n")
    _write(tmp_path / "wording", "alert.html", "{{ tickets }}")

    result = CliRunner().invoke(command, ["check"], obj=Shell(configured))

    assert result.exit_code == 3
    for place in ("closing.txt:3: ", "_about.html:2: ", "alert.html:1: "):
        assert place in result.output
    assert "Traceback" not in result.output


def _words(text: str) -> Counter[str]:
    return Counter(word.strip(".,:;()<>") or word for word in re.split(r"[\s\u00a0]+", text) if word)


def _all_wording(*suffixes: str) -> str:
    files = [file for file in SHIPPED.iterdir() if file.name.endswith(suffixes or (".txt", ".html"))]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def _write(folder: Path, name: str, text: str, encoding: str = "utf-8") -> None:
    (folder / name).write_bytes(text.encode(encoding))
