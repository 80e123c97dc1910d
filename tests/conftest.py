"""The servers that tests ask for by name, one of each for every test process; a failure shows their logs."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

from servers import remove_leftovers
from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.faulty_smtp import FaultySmtp
from servers.postfix import Postfix
from servers.postgresql import PostgreSQL

# The same examples each time, so that a build is red for what was changed; HYPOTHESIS_SEARCH=1 looks for new ones.
settings.register_profile("repeatable", derandomize=True, database=None)
if not os.environ.get("HYPOTHESIS_SEARCH"):
    settings.load_profile("repeatable")

SERVERS = ("dovecot", "postfix", "postgresql")
running = pytest.StashKey[list[Dovecot | Postfix | PostgreSQL]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[running] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a server by what it asks for, so that nobody can forget to."""
    for item in items:
        if isinstance(item, pytest.Function) and set(SERVERS) & set(item.fixturenames):
            item.add_marker("servers")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for server in item.config.stash[running]:
            report.sections.append((f"log of {type(server).__name__} ({server.directory})", server.log_tail()))
    return report


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return the private certificate authority that all servers of this test run share."""
    remove_leftovers()
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def dovecot_server(certificates: Certificates, pytestconfig: pytest.Config) -> Iterator[Dovecot]:
    server = Dovecot(certificates)
    pytestconfig.stash[running].append(server)
    yield server
    server.remove()


@pytest.fixture(scope="session")
def postfix_server(
    certificates: Certificates, dovecot_server: Dovecot, pytestconfig: pytest.Config
) -> Iterator[Postfix]:
    server = Postfix(certificates, dovecot_server)
    pytestconfig.stash[running].append(server)
    yield server
    server.remove()


@pytest.fixture(scope="session")
def postgresql_server(pytestconfig: pytest.Config) -> Iterator[PostgreSQL]:
    server = PostgreSQL()
    pytestconfig.stash[running].append(server)
    yield server
    server.remove()


@pytest.fixture
def dovecot(dovecot_server: Dovecot) -> Dovecot:
    """Return a running Dovecot without any mail; the test may stop and kill it."""
    dovecot_server.start()
    dovecot_server.empty()
    return dovecot_server


@pytest.fixture
def postfix(postfix_server: Postfix, dovecot: Dovecot) -> Postfix:
    """Return a running Postfix with an empty queue, in front of ``dovecot``; the test may stop and kill it."""
    postfix_server.start()
    postfix_server.empty()
    return postfix_server


@pytest.fixture
def postgresql(postgresql_server: PostgreSQL) -> PostgreSQL:
    """Return a running PostgreSQL; the test may stop and kill it.  Most tests want only ``postgresql_url``."""
    postgresql_server.start()
    return postgresql_server


@pytest.fixture
def postgresql_url(postgresql: PostgreSQL) -> Iterator[str]:
    """Yield the URL of a new, empty PostgreSQL database."""
    url = postgresql.new_database()
    yield url
    postgresql.drop_database(url)


@pytest.fixture
def faulty_smtp() -> Iterator[FaultySmtp]:
    """Yield an SMTP server that refuses or breaks off where the test tells it to."""
    server = FaultySmtp()
    server.start()
    yield server
    server.stop()
