"""The daemon is killed again and again, at no chosen place, while mail runs through real Postfix and Dovecot.

What must hold after any number of deaths (reliability.md G1): no mail lost, no ticket doubled, no acknowledgement
missing; and a letter goes out twice only when a death fell between the server's acceptance and our record of it (R6),
byte for byte the same.  Those deaths are counted without any failpoint: the letter stands in stage ``data``, and
Postfix has queued it.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import figures
from campaign import TEACHERS, Campaign, check, mail, note_hits
from servers.dovecot import Dovecot
from servers.house import SUPPORT, House
from servers.nursery import Nursery
from servers.postfix import Postfix
from supportd import config
from supportd.db.engine import Database

# Ten in CI fit its time; a slice of the long run takes some minutes, and as many slices as wanted add up.
KILLS_IN_CI = 10
KILLS_IN_A_SLICE = int(os.environ.get("SUPPORTD_KILLS", "100"))
# A life ends within this: the shortest die before they have signed in, the longest have sent what there was.
_LONGEST_LIFE_SECONDS = 2.5
_MAILS_PER_KILL = 2


@pytest.fixture
def house(tmp_path: Path, dovecot: Dovecot, postfix: Postfix) -> House:
    return House(tmp_path, dovecot, postfix)


@pytest.fixture(params=["sqlite", "postgresql"])
def any_house(request: pytest.FixtureRequest, house: House) -> House:
    if request.param == "postgresql":
        house.settings["database"] = {"url": request.getfixturevalue("postgresql_url")}
    return house


@pytest.fixture
def nursery(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nursery]:
    monkeypatch.setenv("SUPPORTD_TEST_PASSWORD", "correct horse")
    nursery = Nursery()
    yield nursery
    nursery.close()


def kill_again_and_again(
    house: House, nursery: Nursery, database: Database, postfix: Postfix, kills: int, seed: int
) -> Campaign:
    """Return the campaign of *kills* deaths, two mails handed in during each life."""
    chance, campaign = random.Random(seed), Campaign()
    for number in range(kills):
        pid = nursery.run(house.file, house.log_file)
        try:
            ends_at = time.monotonic() + chance.uniform(0, _LONGEST_LIFE_SECONDS)
            for one in range(_MAILS_PER_KILL):
                sender = chance.choice(TEACHERS)
                wanted = mail(number * _MAILS_PER_KILL + one, sender)
                postfix.deliver(bytes(wanted), SUPPORT, sender=sender)
                campaign.senders[str(wanted["Message-ID"])] = sender
            time.sleep(max(0.0, ends_at - time.monotonic()))
        finally:
            nursery.kill(pid)
        note_hits(campaign, database, postfix)
    return campaign


def campaign_on(
    house: House, nursery: Nursery, dovecot: Dovecot, postfix: Postfix, kills: int, seed: int
) -> dict[str, int]:
    database = Database(config.load(house._written()).database_url)
    first = nursery.run(house.file, house.log_file)
    time.sleep(_LONGEST_LIFE_SECONDS)
    nursery.kill(first)
    campaign = kill_again_and_again(house, nursery, database, postfix, kills, seed)
    last = nursery.run(house.file, house.log_file)
    try:
        house.wait_until_done(len(campaign.senders), timeout_seconds=120)
    finally:
        nursery.stop(last)
    counts = check(house, dovecot, database, campaign)
    database.close()
    return {"kills": kills, "mails": len(campaign.senders), **counts}


def test_ten_deaths_at_no_chosen_place_lose_and_double_nothing(
    any_house: House, nursery: Nursery, dovecot: Dovecot, postfix: Postfix
) -> None:
    counts = campaign_on(any_house, nursery, dovecot, postfix, KILLS_IN_CI, seed=7)

    assert counts["mails"] == KILLS_IN_CI * _MAILS_PER_KILL


@pytest.mark.release
@pytest.mark.timeout(7200)
def test_a_slice_of_ten_thousand_kills_loses_and_doubles_nothing(
    any_house: House, nursery: Nursery, dovecot: Dovecot, postfix: Postfix, request: pytest.FixtureRequest
) -> None:
    counts = campaign_on(any_house, nursery, dovecot, postfix, KILLS_IN_A_SLICE, seed=random.randrange(1 << 30))

    row = f"random kill -9, {request.node.callspec.params['any_house']}"
    figures.add("Kills", row, counts, "make release-test PART=kills")
