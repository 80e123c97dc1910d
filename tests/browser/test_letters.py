"""Every letter in real Chromium: as wide as a phone and as a desk, light and dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

import desk
from desk import NOW, composer, html_of
from supportd import samples

pytestmark = pytest.mark.browser
SCREENS = {"phone": 375, "desk": 1024}
_COMPOSER = composer()
LETTERS = {sample.name: html_of(sample.write()) for sample in samples.showcase(_COMPOSER, desk.HOURS, desk.POLICY, NOW)}

# WCAG 2.2 1.4.3: the ratio of the luminances of each text and what lies behind it.
CONTRAST = """() => {
  const rgb = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => {
    const [R, G, B] = [r, g, b].map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * R + 0.7152 * G + 0.0722 * B;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    if (!text) continue;
    const element = walker.currentNode.parentElement;
    const [one, two] = [luminance(rgb(getComputedStyle(element).color)), luminance(behind(element))];
    found.push([text.slice(0, 60), (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05)]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path is not None, "Chromium is missing; install it with: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _page(chromium: Browser, width: int, scheme: Any = "light") -> Page:
    return chromium.new_context(viewport={"width": width, "height": 700}, color_scheme=scheme).new_page()


@pytest.mark.parametrize("screen", SCREENS)
def test_no_letter_scrolls_sideways(chromium: Browser, screen: str) -> None:
    page = _page(chromium, SCREENS[screen])
    widths = {}
    for name, html in LETTERS.items():
        page.set_content(html)
        widths[name] = page.evaluate("document.documentElement.scrollWidth")

    assert {name: width for name, width in widths.items() if width > SCREENS[screen]} == {}


def test_every_word_stands_out_from_what_is_behind_it(chromium: Browser, scheme: str) -> None:
    page = _page(chromium, SCREENS["phone"], scheme)
    faint = {}
    for name, html in LETTERS.items():
        page.set_content(html)
        measured = page.evaluate(CONTRAST)
        assert measured, name
        faint.update({f"{name}: {text}": ratio for text, ratio in measured if ratio < 4.5})

    assert faint == {}


def test_axe_finds_nothing_to_mend(chromium: Browser, scheme: str) -> None:
    page = _page(chromium, SCREENS["phone"], scheme)
    one_of_each = {name.split("-")[0]: html for name, html in LETTERS.items() if name.endswith("-open")}
    found = {}
    for name, html in one_of_each.items():
        page.set_content(html)
        report = Axe().run(page)
        found.update({f"{name}: {broken['id']}": broken["help"] for broken in report.response["violations"]})

    assert set(one_of_each) == set(samples.NAMES)
    assert found == {}


def test_no_colour_is_pure_black_or_white(chromium: Browser, scheme: str) -> None:
    page = _page(chromium, SCREENS["phone"], scheme)
    colours = set()
    for html in LETTERS.values():
        page.set_content(html)
        colours |= set(
            page.evaluate(
                "[...document.body.querySelectorAll('*')].flatMap(element => {"
                "const style = getComputedStyle(element); return [style.color, style.backgroundColor]})"
            )
        )

    assert not colours & {"rgb(0, 0, 0)", "rgb(255, 255, 255)"}


def test_dark_is_dark_and_light_is_light(chromium: Browser, scheme: str) -> None:
    page = _page(chromium, SCREENS["phone"], scheme)
    page.set_content(LETTERS["acknowledgement-3-open"])

    background = page.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor")

    assert background == {"light": "rgb(255, 254, 251)", "dark": "rgb(29, 37, 43)"}[scheme]


def test_what_a_finger_taps_is_large_enough(chromium: Browser) -> None:
    page = _page(chromium, SCREENS["phone"])
    page.set_content(LETTERS["digest-open"])

    heights = page.evaluate("[...document.querySelectorAll('a')].map(link => link.getBoundingClientRect().height)")

    # WCAG 2.2 2.5.8 asks for 24 pixels.
    assert heights
    assert min(heights) >= 24


def test_opening_a_letter_asks_no_server_for_anything(chromium: Browser) -> None:
    page = _page(chromium, SCREENS["desk"])
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for html in LETTERS.values():
        page.set_content(html)

    assert [url for url in asked if not url.startswith(("cid:", "data:", "about:"))] == []


def test_a_letter_whose_styles_were_thrown_away_still_says_what_matters_first(chromium: Browser) -> None:
    page = _page(chromium, SCREENS["phone"])
    page.set_content(LETTERS["acknowledgement-3-open"])
    page.evaluate("document.querySelectorAll('style').forEach(style => style.remove())")
    page.evaluate("document.querySelectorAll('[style]').forEach(element => element.removeAttribute('style'))")

    text = page.inner_text("body").strip()

    assert text.startswith("We have your message. Your reference is\u00a0AS-123.")
    assert "today 09:55" in text
