"""Who is measured: how each is set up, what command drains the mailbox, and how many tickets it made of it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from corpus import SUPPORT, staff
from servers import HOST, PASSWORD

BENCH = Path(__file__).parent
ROOT = BENCH.parent
VENVS = BENCH / ".venvs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The servers that all contenders talk to."""

    imap_port: int
    smtp_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What drains the mailbox."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


class NotInstalled(Exception):
    """A peer cannot be had here; the message says why."""


class Supportd:
    """``supportd once``: all safety on, synchronous=FULL, screening, templates, workers."""

    name = "supportd"
    acknowledges = True

    def prepare(self, folder: Path, site: Site) -> Command:
        """Write its configuration into *folder*, and make an empty database, as the peers have one."""
        (folder / "config.yaml").write_text(json.dumps(settings(site)))
        # The command that pip installs; python -m would import the package twice.
        start = (str(Path(sys.executable).with_name("supportd")), "-c", str(folder / "config.yaml"))
        environment = {"SUPPORTD_BENCH_PASSWORD": PASSWORD}
        _run([*start, "db", "upgrade"], environment)
        return Command(arguments=(*start, "once"), environment=environment)

    def tickets(self, folder: Path) -> int:
        """Return how many tickets there are."""
        return _count(folder / "supportd.db", "ticket")


class FloorWhole:
    """The plainest script for the whole job."""

    name = "floor, whole job"
    acknowledges = True

    def prepare(self, folder: Path, site: Site) -> Command:
        """Nothing to prepare."""
        script, database = str(BENCH / "floor_whole.py"), str(folder / "floor.db")
        account = (HOST, str(site.imap_port), SUPPORT, PASSWORD)
        return Command(arguments=(sys.executable, script, *account, str(site.smtp_port), database))

    def tickets(self, folder: Path) -> int:
        """Return how many tickets there are."""
        return _count(folder / "floor.db", "ticket")


class FloorRead:
    """Raw batched download and parse."""

    name = "floor, download and parse"
    acknowledges = False

    def prepare(self, folder: Path, site: Site) -> Command:
        """Nothing to prepare."""
        account = (HOST, str(site.imap_port), SUPPORT, PASSWORD)
        return Command(arguments=(sys.executable, str(BENCH / "floor_read.py"), *account))

    def tickets(self, folder: Path) -> int:
        """Return how many mails it read, by its own word."""
        return int((folder / "output.log").read_text() or "0")


class Helpdesk:
    """django-helpdesk 2.6: ``get_email`` on SQLite, stock or with a write-ahead log."""

    acknowledges = True

    def __init__(self, *, wal: bool) -> None:
        self.name = "django-helpdesk, WAL" if wal else "django-helpdesk, stock"
        self._environment = {"DJANGO_SETTINGS_MODULE": "helpdesk_site", "PYTHONPATH": str(BENCH)}
        self._environment |= {"BENCH_WAL": "1"} if wal else {}
        self._model: Path | None = None

    def prepare(self, folder: Path, site: Site) -> Command:
        """Copy an empty, migrated site with one queue; made at the first call.

        Raises:
            NotInstalled: it cannot be installed or set up.
        """
        python = peer("helpdesk", "django-helpdesk")
        environment = {**self._environment, "BENCH_SMTP_PORT": str(site.smtp_port)}
        if self._model is None:
            model = folder.parent / f"model {self.name}"
            model.mkdir()
            there = {**environment, "BENCH_FOLDER": str(model)}
            _run([python, "-m", "django", "migrate"], there)
            _run([python, "-m", "django", "loaddata", "emailtemplate.json"], there)
            queue = str(BENCH / "helpdesk_queue.py")
            _run([python, queue, HOST, str(site.imap_port), SUPPORT, PASSWORD], there)
            self._model = model
        shutil.copytree(self._model, folder, dirs_exist_ok=True)
        return Command(
            arguments=(python, "-m", "django", "get_email", "--quiet"),
            environment={**environment, "BENCH_FOLDER": str(folder)},
        )

    def tickets(self, folder: Path) -> int:
        """Return how many tickets there are."""
        return _count(folder / "helpdesk.db", "helpdesk_ticket")


class Roundup:
    """Roundup 2.6: ``roundup-mailgw``, the classic tracker on SQLite; its authors get a copy of what they open."""

    name = "Roundup, stock"
    acknowledges = True

    def __init__(self) -> None:
        self._model: Path | None = None

    def prepare(self, folder: Path, site: Site) -> Command:
        """Copy an initialised tracker that knows the staff; made at the first call.

        Raises:
            NotInstalled: it cannot be installed or set up.
        """
        python = peer("roundup", "roundup")
        if self._model is None:
            model = folder.parent / "model Roundup"
            admin = [str(Path(python).with_name("roundup-admin")), "-i", str(model)]
            told = f"mail_host={HOST},mail_domain=allsaints.example,tracker_email=support,tracker_web=http://{HOST}/"
            _run([*admin, "install", "classic", "sqlite", told], {})
            ini = model / "config.ini"
            told = ini.read_text().replace("messages_to_author = no", "messages_to_author = new")
            ini.write_text(told.replace("\nport = 25\n", f"\nport = {site.smtp_port}\n"))
            _run([*admin, "initialise", "bench"], {})
            _run([python, str(BENCH / "roundup_people.py"), str(model), *(one.address for one in staff())], {})
            self._model = model
        shutil.copytree(self._model, folder / "tracker")
        # Its command takes no port, and imaplib's own default is the only place where one can be told.
        start = (
            f"import imaplib; imaplib.IMAP4.__init__.__defaults__ = ('', {site.imap_port}, None); "
            "from roundup.scripts.roundup_mailgw import run; run()"
        )
        account = f"{SUPPORT}:{PASSWORD}@{HOST}"
        return Command(arguments=(python, "-c", start, str(folder / "tracker"), "imap", account))

    def tickets(self, folder: Path) -> int:
        """Return how many issues there are."""
        return _count(folder / "tracker" / "db" / "db", "_issue")


Contender = Supportd | FloorWhole | FloorRead | Helpdesk | Roundup


def contenders() -> list[Contender]:
    """Return everybody, supportd first."""
    return [Supportd(), FloorWhole(), FloorRead(), Helpdesk(wal=False), Helpdesk(wal=True), Roundup()]


def settings(site: Site) -> dict[str, Any]:
    """Return supportd's shipped configuration on these servers, with caps out of the way and terms around today."""
    found: dict[str, Any] = YAML(typ="safe").load(ROOT / "config.example.yaml")
    mailbox = found["mailboxes"][0]
    account = {"host": HOST, "tls": "none"}
    password = {"env": "SUPPORTD_BENCH_PASSWORD"}
    mailbox["imap"] = {**account, "port": site.imap_port, "user": SUPPORT, "password": password}
    mailbox["smtp"] = {**account, "port": site.smtp_port, "per_minute": 100_000}
    today = datetime.now(UTC).date()
    found["calendar"]["terms"] = [
        {"name": "This term", "from": f"{today - timedelta(days=60)}", "to": f"{today + timedelta(days=90)}"}
    ]
    caps = [name for name in found["limits"] if name != "message_megabytes"]
    found["limits"] |= dict.fromkeys(caps, 1_000_000)
    return found


def peer(name: str, package: str) -> str:
    """Return the Python of the peer *name*, installed at the first call from bench/requirements.txt.

    Raises:
        NotInstalled: the registry does not have it, or cannot be reached.
    """
    python = VENVS / name / "bin" / "python"
    stamp = VENVS / name / ".installed"
    if not stamp.exists():
        print(f"Installing {package} into bench/.venvs/{name} ...", file=sys.stderr)
        _run([sys.executable, "-m", "venv", "--clear", str(VENVS / name)], {})
        uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--system-certs", "--compile-bytecode"]
        pins = str(BENCH / "requirements.txt")
        _run([*uv, "--quiet", "--python", str(python), "--constraint", pins, package], {})
        stamp.touch()
    return str(python)


def _run(command: list[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise NotInstalled(f"{' '.join(command[:4])} ...: {words[-1] if words else 'failed'}")


def _count(database: Path, table: str) -> int:
    if not database.exists():
        return 0
    with sqlite3.connect(database) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
