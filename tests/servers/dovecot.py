"""Dovecot: the support mailbox and everybody else's, by IMAP over TLS, STARTTLS or in the clear on loopback."""

from __future__ import annotations

import base64
import contextlib
import grp
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError

from servers import HOST, PASSWORD, ServerProblem, free_ports, is_root, private_directory, program, wait_until
from servers.certificates import Certificates

# Started by root, Dovecot insists on its own users and refuses root as the owner of mail.
CONFIGURATION = """
base_dir = {directory}/run
state_dir = {directory}/run
log_path = {directory}/dovecot.log
protocols = imap lmtp
listen = {host}
default_login_user = {login_user}
default_internal_user = {internal_user}
default_internal_group = {internal_group}
first_valid_uid = 0
mail_uid = {mail_uid}
mail_gid = {mail_gid}
mail_home = {directory}/home/%u
mail_location = maildir:{directory}/mail/%u
recipient_delimiter = +
ssl = yes
ssl_cert = <{certificates.certificate}
ssl_key = <{certificates.key}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
auth_username_format = %Lu
mail_max_userip_connections = 100
# Where the machine has no inotify instance left, IDLE looks by itself, every half minute by default.
mailbox_idle_check_interval = 1s
passdb {{
  driver = static
  mechanisms = plain login
  args = password={{PLAIN.b64}}{password}
}}
userdb {{
  driver = static
  args = uid={mail_uid} gid={mail_gid} home={directory}/home/%u allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    # Otherwise each failed login makes the next wait longer, up to 15 s.
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
service auth {{
  unix_listener postfix {{
    mode = 0666
  }}
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0666
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = {imaps_port}
    ssl = yes
  }}
}}
"""


class Dovecot:
    """One private Dovecot.  Mail lies in Maildirs of *mail_uid*; nothing but INBOX exists until it is created."""

    def __init__(self, certificates: Certificates) -> None:
        self._program = program("dovecot", "dovecot-imapd dovecot-lmtpd")
        self.certificates = certificates
        self._process: subprocess.Popen[bytes] | None = None
        self.directory = private_directory("dovecot")
        self.log = self.directory / "dovecot.log"
        self.auth_socket = self.directory / "run" / "postfix"
        self.lmtp_socket = self.directory / "run" / "lmtp"
        owner = pwd.getpwnam("nobody") if is_root() else pwd.getpwuid(os.getuid())
        self.mail_uid, self.mail_gid = owner.pw_uid, owner.pw_gid
        self.mail_directory = self.directory / "mail"
        for folder in (self.mail_directory, self.directory / "home"):
            folder.mkdir()
            os.chown(folder, self.mail_uid, self.mail_gid)
        self.imap_port = self.imaps_port = 0

    def start(self) -> None:
        """Start unless it runs, on the same ports as before if there was a before; return when a login succeeds.

        Raises:
            ServerProblem: it does not come up; the message ends with its log.
        """
        if self._process is not None:
            return
        attempts = 1 if self.imaps_port else 3
        for attempt in range(attempts):
            if attempts > 1:
                self.imap_port, self.imaps_port = free_ports(2)
            (self.directory / "dovecot.conf").write_text(self._configuration())
            self._process = subprocess.Popen(
                [self._program, "-F", "-c", str(self.directory / "dovecot.conf")],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                wait_until(self._answers, "Dovecot accepts a login")
            except ServerProblem as problem:
                self.kill()
                if attempt == attempts - 1:
                    raise ServerProblem(f"{problem}\n{self.log_tail()}") from problem
            else:
                return

    def _configuration(self) -> str:
        me = pwd.getpwuid(os.getuid()).pw_name
        group = grp.getgrgid(os.getgid()).gr_name
        return CONFIGURATION.format(
            directory=self.directory,
            host=HOST,
            login_user="dovenull" if is_root() else me,
            internal_user="dovecot" if is_root() else me,
            internal_group="dovecot" if is_root() else group,
            mail_uid=self.mail_uid,
            mail_gid=self.mail_gid,
            certificates=self.certificates,
            password=base64.b64encode(PASSWORD.encode()).decode(),
            imap_port=self.imap_port,
            imaps_port=self.imaps_port,
        )

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise ServerProblem("Dovecot ended as soon as it was started")
        try:
            # The port is open before the authentication service is: only a login proves that both are up.
            with self.imap("start@allsaints.example"):
                return True
        except (OSError, IMAPClientError):
            return False

    def stop(self) -> None:
        """End as an administrator would end it, with all connections; the mail stays."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGTERM)
            self._process.wait(timeout=20)
            # The master does not wait for the last of its children: a connection may outlive it for seconds.
            self.kill()

    def kill(self) -> None:
        """End every process of it at once, as a power cut would."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=20)
            self._process = None

    def remove(self) -> None:
        """Stop, and delete everything."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def log_tail(self) -> str:
        """Return the last forty lines that it logged."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:]) if self.log.exists() else ""

    def empty(self) -> None:
        """Delete all mail of all mailboxes; nobody may be logged in."""
        for folder in self.mail_directory.iterdir():
            shutil.rmtree(folder)

    def maildir(self, address: str) -> Path:
        """Return the Maildir of *address*."""
        return self.mail_directory / address.lower()

    def addresses(self) -> set[str]:
        """Return the addresses of all mailboxes that ever got mail or were logged in to, of whatever domain."""
        return {folder.name for folder in self.mail_directory.iterdir()}

    @contextlib.contextmanager
    def imap(self, address: str, password: str = PASSWORD) -> Iterator[IMAPClient]:
        """Yield a client logged in as *address*, over TLS."""
        client = IMAPClient(
            HOST, port=self.imaps_port, ssl=True, ssl_context=self.certificates.client_context(), timeout=20
        )
        client.normalise_times = False
        try:
            client.login(address, password)
            yield client
        finally:
            with contextlib.suppress(OSError, IMAPClientError):
                client.logout()

    def append(self, address: str, raw: bytes, *, folder: str = "INBOX", received_at: datetime | None = None) -> None:
        """Put the message *raw* into a mailbox with the INTERNALDATE *received_at*, without any mail server."""
        with self.imap(address) as client:
            client.append(folder, raw, msg_time=received_at)

    def messages(self, address: str, folder: str = "INBOX") -> list[bytes]:
        """Return the messages of a folder in their order; none when the folder does not exist."""
        with self.imap(address) as client:
            if not client.folder_exists(folder):
                return []
            client.select_folder(folder, readonly=True)
            found = client.fetch(client.search(), ["BODY.PEEK[]"])
            return [found[uid][b"BODY[]"] for uid in sorted(found)]

    def count(self, address: str, folder: str = "INBOX") -> int:
        """Return how many messages a folder holds; 0 when it does not exist."""
        with self.imap(address) as client:
            if not client.folder_exists(folder):
                return 0
            return int(client.folder_status(folder, ["MESSAGES"])[b"MESSAGES"])
