"""Several daemons share one PostgreSQL: they take over from each other, and nothing is done twice."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import figures
from campaign import TEACHERS, Campaign, check, mail, note_hits
from servers import wait_until
from servers.dovecot import Dovecot
from servers.house import SUPPORT, House
from servers.nursery import Nursery, is_running
from servers.postfix import Postfix
from servers.postgresql import PostgreSQL
from supportd import config
from supportd.db import ledger
from supportd.db.engine import Database
from supportd.lease import LEASE


@pytest.fixture
def house(tmp_path: Path, dovecot: Dovecot, postfix: Postfix, postgresql_url: str) -> House:
    house = House(tmp_path, dovecot, postfix)
    house.settings["database"] = {"url": postgresql_url}
    return house


@pytest.fixture
def nursery(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nursery]:
    monkeypatch.setenv("SUPPORTD_TEST_PASSWORD", "correct horse")
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture
def database(house: House) -> Iterator[Database]:
    database = Database(config.load(house._written()).database_url)
    yield database
    database.close()


def deliver(postfix: Postfix, campaign: Campaign, number: int) -> None:
    sender = TEACHERS[number % len(TEACHERS)]
    one = mail(number, sender)
    postfix.deliver(bytes(one), SUPPORT, sender=sender)
    campaign.senders[str(one["Message-ID"])] = sender


@pytest.mark.parametrize("mails", [60, pytest.param(2000, marks=[pytest.mark.release, pytest.mark.timeout(7200)])])
def test_two_daemons_of_which_one_is_always_dying_lose_and_double_nothing(
    house: House, nursery: Nursery, database: Database, dovecot: Dovecot, postfix: Postfix, mails: int
) -> None:
    chance, campaign = random.Random(mails), Campaign()
    # Both at once on an empty database: who makes the tables is a race too.
    daemons = [nursery.run(house.file, house.log_file) for _ in range(2)]
    try:
        kills = 0
        for number in range(mails):
            deliver(postfix, campaign, number)
            time.sleep(chance.uniform(0, 0.2))
            if number % 20 == 19:
                victim = chance.randrange(2)
                nursery.kill(daemons[victim])
                note_hits(campaign, database, postfix)
                daemons[victim] = nursery.run(house.file, house.log_file)
                kills += 1
        house.wait_until_done(mails, timeout_seconds=120)
        assert all(map(is_running, daemons))
    finally:
        for daemon in daemons:
            nursery.stop(daemon)

    counts = {"mails": mails, "kills": kills, **check(house, dovecot, database, campaign)}
    if mails > 1000:
        figures.add("Two daemons", "on one PostgreSQL", counts, "make release-test PART=two_daemons")


def test_another_daemon_takes_over_within_thirty_seconds_and_the_sleeper_does_nothing_twice(
    house: House, nursery: Nursery, database: Database, dovecot: Dovecot, postfix: Postfix
) -> None:
    campaign = Campaign()
    # Asleep, its process is alive, as one on another machine would seem: only the lease tells.
    sleeper = nursery.run(house.file, house.log_file)
    wait_until(lambda: '"event": "started"' in house.log_tail(), "the first daemon has started")
    wait_until(lambda: has_holder(database), "it serves the mailbox")
    other = nursery.run(house.file, house.log_file)
    try:
        deliver(postfix, campaign, 0)
        house.wait_until_done(1)
        os.kill(sleeper, signal.SIGSTOP)
        asleep_at = time.monotonic()
        deliver(postfix, campaign, 1)
        house.wait_until_done(2)
        taken_over_after = time.monotonic() - asleep_at
        os.kill(sleeper, signal.SIGCONT)
        for number in range(2, 10):
            deliver(postfix, campaign, number)
        house.wait_until_done(10)
    finally:
        os.kill(sleeper, signal.SIGCONT)
        nursery.stop(sleeper)
        nursery.stop(other)

    check(house, dovecot, database, campaign)
    assert LEASE.total_seconds() / 2 < taken_over_after < 30


def has_holder(database: Database) -> bool:
    """Return whether somebody serves the mailbox."""
    with database.read() as connection:
        return any(one.owner for one in ledger.lease_holders(connection))


def test_a_database_that_dies_in_the_midst_of_anything_costs_time_alone(
    house: House, nursery: Nursery, database: Database, dovecot: Dovecot, postfix: Postfix, postgresql: PostgreSQL
) -> None:
    chance, campaign = random.Random(4), Campaign()
    daemon = nursery.run(house.file, house.log_file)
    wait_until(lambda: '"event": "started"' in house.log_tail(), "the daemon has started")
    try:
        for number in range(40):
            deliver(postfix, campaign, number)
            time.sleep(chance.uniform(0, 0.1))
            if number % 10 == 9:
                postgresql.kill()
                postgresql.start()
        house.wait_until_done(40, timeout_seconds=100)
        assert is_running(daemon)
    finally:
        nursery.stop(daemon)

    # The daemon lived through it all, so that not one letter may have gone out twice.
    assert check(house, dovecot, database, campaign)["letters twice"] == 0
