"""What is published is what is promised: the pages say the school's own targets and hours, and the configuration's."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from supportd import config
from supportd.compose import Composer
from supportd.config import Desk
from supportd.core.model import Address
from supportd.publish import PublicIncident, pages, write

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
# The school's published page, as it stands on its website.
SEED = Path(__file__).with_name("published-targets.txt").read_text(encoding="utf-8")
HOSTILE = "<script>alert(1)</script> {{7*7}} \u202e" + "x" * 10_000


@pytest.fixture(scope="module")
def desk() -> Desk:
    return config.load(Path(__file__).parents[1] / "config.example.yaml").desks[0]


def composer(desk: Desk) -> Composer:
    support = Address(address=desk.mailbox.address, name=desk.mailbox.display_name)
    return Composer(hours=desk.hours, policy=desk.policy, support=support, school=desk.school)


def words(page: str) -> str:
    """Return the words of an HTML page, white space collapsed."""
    body = page.partition("<body>")[2]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_the_article_has_each_target_and_the_hours_of_the_schools_own_page(desk: Desk) -> None:
    article = words(pages(desk, composer(desk), NOW, timedelta(minutes=15))["index.html"])

    rows = article[article.index("1. Outage") : article.index("Every target counts")]
    for number, name, response, resolution in (
        (1, "Outage", "Immediate", "30 Minutes"),
        (2, "Urgent", "Within 30 Minutes", "1 Hour"),
        (3, "High", "Within 1 Hour", "2 Hours"),
        (4, "Medium", "Within 3 Hours", "1 Business Day"),
        (5, "Low", "Within 1 business day", "1 Week"),
        (6, "Informational", "Within 48 hours", "No target"),
    ):
        assert f"{number}. {name}" in SEED
        row = rows[rows.index(f"{number}. {name}") :].lower()
        assert row.index(response.lower()) < row.index(resolution.lower())
        assert response.lower().replace("1 business", "one business") in SEED.lower()
        assert resolution == "No target" or resolution in SEED
    assert "between the hours of 8am - 4pm Monday to Friday" in article
    assert "between the hours of 8am - 4pm Monday to Friday term time only" in SEED


def test_the_headings_stand_in_the_order_of_the_schools_own_page(desk: Desk) -> None:
    article = words(pages(desk, composer(desk), NOW, timedelta(minutes=15))["index.html"])

    headings = ("Response Time Targets", "Hours of Service", "Questions?")
    assert [article.index(heading) for heading in headings] == sorted(article.index(one) for one in headings)
    assert all(heading in SEED for heading in headings)


def test_a_changed_policy_changes_the_page(desk: Desk) -> None:
    levels = tuple(replace(one, resolution_label="90 minutes") if one.level == 1 else one for one in desk.policy.levels)
    changed = Composer(
        hours=desk.hours,
        policy=replace(desk.policy, levels=levels),
        support=Address(address=desk.mailbox.address),
        school=desk.school,
    )
    other = config.load(Path(__file__).parents[1] / "config.example.yaml").desks[0]
    other.policy = replace(desk.policy, levels=levels)

    article = words(pages(other, changed, NOW, timedelta(minutes=15))["index.html"])

    assert "90 minutes" in article


def test_the_status_says_whether_it_is_open_and_until_when_it_holds(desk: Desk) -> None:
    open_now = words(pages(desk, composer(desk), NOW, timedelta(minutes=15))["status.html"])
    closed = words(pages(desk, composer(desk), NOW + timedelta(days=33), timedelta(minutes=15))["status.html"])

    assert "IT support is open now, until today 16:00." in open_now
    assert "valid until Tue 24 Nov 2026, 10:15" in open_now
    assert "IT support is closed now" in closed
    assert "It opens Mon 4 Jan 2027, 08:00." in closed


def test_declared_incidents_are_on_the_page_and_in_the_feed_and_hostile_words_are_harmless(desk: Desk) -> None:
    incidents = [
        PublicIncident(number=2, news=HOSTILE, since=NOW - timedelta(hours=1)),
        PublicIncident(number=1, news="Printing was down", since=NOW - timedelta(2), until=NOW - timedelta(1)),
    ]

    made = pages(desk, composer(desk), NOW, timedelta(minutes=15), incidents)

    assert "<script>alert" not in made["status.html"]
    assert "{{7*7}}" in words(made["status.html"])
    assert "\u202e" not in made["status.html"]
    assert "Printing was down" in made["status.html"]
    feed = ElementTree.fromstring(made["incidents.atom"])
    assert len(feed.findall("{http://www.w3.org/2005/Atom}entry")) == 2


def test_pages_are_written_whole(desk: Desk, tmp_path: Path) -> None:
    made = pages(desk, composer(desk), NOW, timedelta(minutes=15))

    write(tmp_path / "www", made)

    assert {file.name for file in (tmp_path / "www").iterdir()} == set(made)
    assert (tmp_path / "www" / "index.html").read_text(encoding="utf-8") == made["index.html"]


@pytest.mark.browser
def test_no_page_scrolls_sideways_on_a_phone_or_loads_anything(desk: Desk, tmp_path: Path) -> None:
    incidents = [PublicIncident(number=1, news=HOSTILE, since=NOW)]
    write(tmp_path, pages(desk, composer(desk), NOW, timedelta(minutes=15), incidents))
    requests: list[str] = []

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport={"width": 375, "height": 700}, color_scheme=scheme)
            page.on("request", lambda request: requests.append(request.url))
            for name in ("index", "calendar", "status"):
                page.goto((tmp_path / f"{name}.html").as_uri())
                assert page.evaluate("document.documentElement.scrollWidth") <= 375, name
        browser.close()

    assert all(url.startswith("file:") for url in requests)
