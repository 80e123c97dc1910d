"""supportd itself on the test servers: a folder with its configuration, the daemon as a process, and what it did."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from servers import HOST, PASSWORD, ServerProblem, wait_until
from servers.dovecot import Dovecot
from servers.postfix import Postfix
from servers.tokens import TokenDovecot
from supportd.config import load
from supportd.db import ledger, letters
from supportd.db.engine import Database
from supportd.db.letters import LetterState

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
SUPPORT = "support@allsaints.example"
TECHNICIAN = "sam.okafor@allsaints.example"
COMMAND = (sys.executable, "-c", "from supportd.cli.app import main; main()")


class House:
    """One supportd: change ``settings`` before the first command; afterwards the configuration file has them.

    The settings are those of ``config.example.yaml``, with the test servers, caps out of the way, and terms around
    today, so that every deadline is known on whatever day the tests run.
    """

    def __init__(self, folder: Path, dovecot: Dovecot, postfix: Postfix | TokenDovecot) -> None:
        self.folder = folder
        self.dovecot = dovecot
        self.file = folder / "config.yaml"
        self.log_file = folder / "daemon.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.settings: dict[str, Any] = YAML(typ="safe").load(EXAMPLE)
        account = {"user": SUPPORT, "password": {"env": "SUPPORTD_TEST_PASSWORD"}}
        account["ca_file"] = str(dovecot.certificates.authority)
        mailbox = self.settings["mailboxes"][0]
        mailbox["imap"] = {"host": HOST, "port": dovecot.imaps_port, "tls": "implicit", **account}
        mailbox["smtp"] = {"host": HOST, "port": postfix.submission_port, "tls": "starttls", **account}
        mailbox["smtp"]["per_minute"] = 100_000
        today = datetime.now(UTC).date()
        self.settings["calendar"]["terms"] = [
            {"name": "This term", "from": f"{today - timedelta(days=60)}", "to": f"{today + timedelta(days=90)}"}
        ]
        self.settings["limits"] |= dict.fromkeys(
            ("automatic_per_requester_10_minutes", "automatic_per_requester_day", "alerts_10_minutes",
             "outsider_address_hour", "outsider_domain_hour", "outsiders_hour",
             "breaker_10_minutes", "breaker_hard_10_minutes"),
            10_000,
        )  # fmt: skip
        # A resend of what may have arrived waits five minutes otherwise.
        self.settings["doubt_wait_seconds"] = 1

    def supportd(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command on this configuration to its end, with *given* as its standard input."""
        return subprocess.run(
            [*COMMAND, "-c", str(self._written()), *arguments],
            input=given, capture_output=True, text=True, timeout=100, env=self._environment(),
        )  # fmt: skip

    def answer(self, *arguments: str, given: str = "") -> Any:
        """Return the JSON that a command prints.

        Raises:
            AssertionError: it fails, or says something else.
        """
        result = self.supportd(*arguments, given=given)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def start(self) -> None:
        """Start the daemon, and return when it says that it has."""
        with self.log_file.open("ab") as log:
            known_bytes = log.tell()
            self.process = subprocess.Popen(
                [*COMMAND, "-c", str(self._written()), "run"], stdout=log, stderr=log, env=self._environment()
            )
        wait_until(
            lambda: b'"event": "started"' in self.log_file.read_bytes()[known_bytes:] or self.has_ended(),
            "the daemon has started",
        )
        if self.has_ended():
            raise ServerProblem(f"the daemon ended at once:\n{self.log_tail()}")

    def has_ended(self) -> bool:
        """Return whether the daemon's process is no more."""
        return self.process is None or self.process.poll() is not None

    def stop(self) -> None:
        """End the daemon by SIGTERM, within the ten seconds that it promises.

        Raises:
            subprocess.TimeoutExpired: it takes longer.
        """
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            status = self.process.wait(timeout=10)
            self.process = None
            assert status == 0, self.log_tail()

    def kill(self) -> None:
        """End the daemon at once, as a power cut would; its workers see that they are alone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def log(self) -> list[dict[str, Any]]:
        """Return what the daemon logged, oldest first."""
        entries = []
        for line in self.log_file.read_text().splitlines():
            # A line that was being written when the daemon was killed is half a line.
            with contextlib.suppress(ValueError):
                entries.append(json.loads(line))
        return entries

    def log_tail(self) -> str:
        """Return the last sixty lines that the daemon logged."""
        return "\n".join(self.log_file.read_text().splitlines()[-60:]) if self.log_file.exists() else ""

    def tickets(self) -> list[dict[str, Any]]:
        """Return all tickets, oldest first, as ``ticket list --json`` has them."""
        found: list[dict[str, Any]] = self.answer("ticket", "list", "--status", "all", "--limit", "100000", "--json")
        return found

    def wait_until_done(self, mails: int, timeout_seconds: float = 60) -> None:
        """Return when *mails* messages are decided and filed and every letter has been handed over."""
        config = load(self.file)
        database = Database(config.database_url)
        try:
            wait_until(
                lambda: self._is_done(database, config.mailboxes[0].name, mails),
                f"{mails} mails are decided and filed, all letters sent",
                timeout_seconds,
            )
        finally:
            database.close()

    def _is_done(self, database: Database, mailbox: str, mails: int) -> bool:
        with database.read() as connection:
            number = ledger.mailbox_id(connection, mailbox)
            decided = sum(ledger.verdict_counts(connection, [number]).values())
            states = letters.counts(connection)
        waiting = states.keys() & {LetterState.PENDING, LetterState.SENDING}
        return decided == mails and not waiting and self.dovecot.count(SUPPORT) == 0

    def _written(self) -> Path:
        if not self.file.exists():
            # JSON is YAML.
            self.file.write_text(json.dumps(self.settings, indent=1))
        return self.file

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "SUPPORTD_TEST_PASSWORD": PASSWORD}
