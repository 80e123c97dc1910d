"""Postfix: mail from outside (SMTP), mail of people who log in (submission), all of it delivered to Dovecot by LMTP.

Nothing leaves the machine: an address of any domain is a mailbox, with or without ``+something``.  Two kinds are not:
``unknown.*`` is refused while the sender waits (550), ``gone.*`` is accepted and bounces.
"""

from __future__ import annotations

import contextlib
import smtplib
from collections.abc import Sequence

from servers import (
    HOST,
    PASSWORD,
    ServerProblem,
    as_root,
    free_ports,
    is_listening,
    private_directory,
    program,
    wait_until,
)
from servers.certificates import Certificates
from servers.dovecot import Dovecot

MAIN = """
compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
maillog_file = {directory}/postfix.log
maillog_file_prefixes = {directory}
inet_interfaces = {host}
inet_protocols = ipv4
myhostname = mail.allsaints.example
mydestination =
mynetworks = 127.0.0.0/8
local_recipient_maps =
alias_maps =
virtual_mailbox_domains = static:all
virtual_mailbox_maps = regexp:{directory}/mailboxes
virtual_transport = lmtp:unix:{lmtp_socket}
# One recipient a delivery, so that Delivered-To names him.
lmtp_destination_recipient_limit = 1
transport_maps = regexp:{directory}/transports
mailbox_size_limit = 0
message_size_limit = 60000000
# A missing Message-ID or Date stays missing, as in mail that comes from elsewhere.
local_header_rewrite_clients =
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_tls_security_level = may
smtpd_tls_cert_file = {certificates.certificate}
smtpd_tls_key_file = {certificates.key}
smtpd_sasl_type = dovecot
smtpd_sasl_path = {auth_socket}
smtpd_client_connection_count_limit = 0
smtpd_peername_lookup = no
# What could not be delivered is tried again at once: a test does not wait five minutes.
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
"""

MAILBOXES = r"""
!/^unknown\./ mailbox
"""

TRANSPORTS = r"""
/^gone\./ gone:
"""

# 67 is EX_NOUSER of sysexits.h, which pipe(8) turns into a bounce 5.1.1.
MASTER = """
{smtp_port}        inet n - n - - smtpd
{submission_port}  inet n - n - - smtpd
    -o syslog_name=postfix/submission -o smtpd_tls_security_level=encrypt -o smtpd_sasl_auth_enable=yes
    -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
{submissions_port} inet n - n - - smtpd
    -o syslog_name=postfix/submissions -o smtpd_tls_wrappermode=yes -o smtpd_sasl_auth_enable=yes
    -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
tlsmgr    unix - - n 1000? 1 tlsmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
flush     unix n - n 1000? 0 flush
proxymap  unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
error     unix - - n - - error
retry     unix - - n - - error
lmtp      unix - - n - - lmtp
gone      unix - n n - - pipe user=nobody argv=/bin/sh -c {{exit 67}}
anvil     unix - - n - 1 anvil
postlog   unix-dgram n - n - 1 postlogd
showq     unix n - n - - showq
"""


class Postfix:
    """One private Postfix in front of one Dovecot.  It needs root, or sudo without a password."""

    def __init__(self, certificates: Certificates, dovecot: Dovecot) -> None:
        self._program = program("postfix", "postfix")
        self._certificates = certificates
        self._dovecot = dovecot
        self.directory = private_directory("postfix")
        self.log = self.directory / "postfix.log"
        # Made beforehand, so that it is ours to read: Postfix would make it root's.
        self.log.touch(0o644)
        # The configuration is ours, the queue root's: Postfix warns of the first and insists on the second.
        as_root("install", "--directory", "--owner=root", str(self.directory / "queue"))
        as_root("install", "--directory", "--owner=postfix", "--mode=0700", str(self.directory / "data"))
        self.smtp_port = self.submission_port = self.submissions_port = 0

    def start(self) -> None:
        """Start unless it runs, on the same ports as before if there was a before; return when it greets.

        Raises:
            ServerProblem: it does not come up; the message ends with its log.
        """
        if self._is_running():
            return
        attempts = 1 if self.smtp_port else 3
        for attempt in range(attempts):
            if attempts > 1:
                self.smtp_port, self.submission_port, self.submissions_port = free_ports(3)
            self._write_configuration()
            try:
                as_root(self._program, "-c", str(self.directory), "start")
                wait_until(self._answers, "Postfix greets on all three ports")
            except ServerProblem as problem:
                self.kill()
                if attempt == attempts - 1:
                    raise ServerProblem(f"{problem}\n{self.log_tail()}") from problem
            else:
                return

    def _write_configuration(self) -> None:
        values = {
            "directory": self.directory,
            "host": HOST,
            "lmtp_socket": self._dovecot.lmtp_socket,
            "auth_socket": self._dovecot.auth_socket,
            "certificates": self._certificates,
            "smtp_port": self.smtp_port,
            "submission_port": self.submission_port,
            "submissions_port": self.submissions_port,
        }
        (self.directory / "main.cf").write_text(MAIN.format(**values))
        (self.directory / "master.cf").write_text(MASTER.format(**values))
        (self.directory / "mailboxes").write_text(MAILBOXES)
        (self.directory / "transports").write_text(TRANSPORTS)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, smtplib.SMTPException), smtplib.SMTP(HOST, self.smtp_port, timeout=5):
            return is_listening(self.submission_port) and is_listening(self.submissions_port)
        return False

    def _is_running(self) -> bool:
        # Not by its process id: where nobody collects the dead, a killed process keeps its number for a while.
        return self.smtp_port != 0 and is_listening(self.smtp_port)

    def stop(self) -> None:
        """End as an administrator would end it; the queue stays."""
        if self._is_running():
            as_root(self._program, "-c", str(self.directory), "stop")

    def kill(self) -> None:
        """End every process of it at once, as a power cut would."""
        if self._is_running():
            # master(8) leads a process group of everything that it started.
            leader = as_root("cat", str(self.directory / "queue/pid/master.pid")).stdout.strip()
            as_root("kill", "-KILL", "--", f"-{leader}")
            wait_until(lambda: not self._is_running(), "Postfix is gone")

    def remove(self) -> None:
        """Stop, and delete everything."""
        self.stop()
        as_root("rm", "-rf", str(self.directory))

    def log_tail(self) -> str:
        """Return the last sixty lines that it logged."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-60:])

    def empty(self) -> None:
        """Delete what waits in the queue."""
        as_root(program("postsuper", "postfix"), "-c", str(self.directory), "-d", "ALL")

    def queued(self) -> int:
        """Return how many messages wait in the queue."""
        listing = as_root(program("postqueue", "postfix"), "-c", str(self.directory), "-j").stdout
        return len(listing.splitlines())

    def deliver(self, raw: bytes, recipients: str | Sequence[str], sender: str = "someone@outside.example") -> None:
        """Hand over the message *raw* as a mail server from outside would; it is in the mailbox a moment later."""
        with smtplib.SMTP(HOST, self.smtp_port, timeout=30) as client:
            client.sendmail(sender, recipients, raw)

    def submit(self, raw: bytes, recipients: str | Sequence[str], sender: str) -> None:
        """Hand over the message *raw* as *sender*'s own mail program would: STARTTLS, login, MAIL FROM."""
        with smtplib.SMTP("localhost", self.submission_port, timeout=30) as client:
            client.starttls(context=self._certificates.client_context())
            client.login(sender, PASSWORD)
            client.sendmail(sender, recipients, raw)
