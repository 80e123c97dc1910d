"""The wire out: one SMTP connection that hands over one letter at a time and says exactly how far it came."""

from __future__ import annotations

import contextlib
import smtplib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from supportd.errors import Doubtful, Refused, Unavailable
from supportd.imap import sasl_token, tls_context

_CONNECT_SECONDS = 15
# RFC 5321 4.5.3.2.6: wait ten minutes for the reply to the final dot, since giving up early makes duplicates.
_DATA_REPLY_SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpAccount:
    """Where and as whom letters are handed over."""

    host: str
    port: int
    tls: str
    user: str | None
    password: str | None
    local_hostname: str
    ca_file: Path | None = None
    # Gives an access token; then the sign-in is by XOAUTH2, or by OAUTHBEARER where only that is offered.
    token: Callable[[], str] | None = field(default=None, repr=False)


class SmtpSession:
    """One connection, reused while it answers.  After any exception but Refused it is dead: open another."""

    def __init__(self, account: SmtpAccount) -> None:
        """Connect, greet, secure and sign in.

        Raises:
            Unavailable: the server cannot be reached or does not want us now.
            Refused: it does not accept the user or the password, or cannot do TLS as configured.
        """
        context = tls_context(account.ca_file)
        with _failures(f"smtp {account.host}:{account.port}"):
            if account.tls == "implicit":
                self._server: smtplib.SMTP = smtplib.SMTP_SSL(
                    account.host,
                    account.port,
                    local_hostname=account.local_hostname,
                    timeout=_CONNECT_SECONDS,
                    context=context,
                )
            else:
                self._server = smtplib.SMTP(
                    account.host, account.port, local_hostname=account.local_hostname, timeout=_CONNECT_SECONDS
                )
        try:
            with _failures(f"smtp {account.host}:{account.port}"):
                if account.tls == "starttls":
                    self._server.starttls(context=context)
                self._server.ehlo_or_helo_if_needed()
                if account.token is not None:
                    self._authenticate(account.user or "", account.token())
                elif account.user is not None and account.password is not None:
                    self._server.login(account.user, account.password)
        except BaseException:
            self.close()
            raise

    def _authenticate(self, user: str, token: str) -> None:
        """Sign in with an access token, sent after the server's 334: a long one does not fit on the AUTH line."""
        offered = self._server.esmtp_features.get("auth", "").upper().split()
        mechanism = "XOAUTH2" if "XOAUTH2" in offered or "OAUTHBEARER" not in offered else "OAUTHBEARER"

        said: list[str] = []

        def answer(challenge: bytes | None = None) -> str:
            if not challenge:
                return sasl_token(mechanism, user, token)
            # The first challenge is empty; a later one holds the server's reason, and wants an empty answer.
            said.append(challenge.decode("utf-8", "replace"))
            return "" if mechanism == "XOAUTH2" else "\x01"

        try:
            self._server.auth(mechanism, answer, initial_response_ok=False)
        except smtplib.SMTPAuthenticationError as error:
            reason = " ".join((_text(error.smtp_error), *said))
            raise smtplib.SMTPAuthenticationError(error.smtp_code, reason) from error

    def send(
        self, envelope_from: str, recipient: str, data: bytes, *, entering_data: Callable[[], None] | None = None
    ) -> str:
        """Hand over one letter and return the server's acceptance.

        *entering_data* is called between the server's 354 and the first byte: what it commits separates "certainly
        not sent" from "in doubt" (reliability.md T3).

        Raises:
            Unavailable: certainly not accepted; may be tried again.
            Refused: certainly not accepted, for good; the connection can be used further.
            Doubtful: the connection died before the reply to the final dot.
        """
        with _failures("smtp"):
            self._expect(self._server.mail(envelope_from), "MAIL FROM", permanent=False)
            self._expect(self._server.rcpt(recipient), "RCPT TO", permanent=True)
            code, reply = self._server.docmd("DATA")
            if code != 354:
                self._expect((code, reply), "DATA", permanent=True)
                raise Unavailable(f"smtp DATA: answered {code} where 354 is due")
            if entering_data is not None:
                try:
                    entering_data()
                except BaseException:
                    # The server waits for a message: anything said on this connection would be taken for one.
                    self._server.close()
                    raise
        try:
            assert self._server.sock is not None
            self._server.sock.settimeout(_DATA_REPLY_SECONDS)
            self._server.send(_dotted(data))
            code, reply = self._server.getreply()
            self._server.sock.settimeout(_CONNECT_SECONDS)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise Doubtful(f"smtp: no reply to the final dot: {_words(error)}") from error
        if code // 100 not in (2, 4, 5):
            raise Doubtful(f"smtp: the reply to the final dot cannot be understood: {code}")
        self._expect((code, reply), "message", permanent=True)
        return f"{code} {_text(reply)}"

    def is_alive(self) -> bool:
        """Return whether the server still answers on this connection."""
        try:
            return self._server.noop()[0] == 250
        except (smtplib.SMTPException, OSError, ValueError):
            return False

    def close(self) -> None:
        """Say goodbye if the server still listens; never raises."""
        try:
            self._server.quit()
        except (smtplib.SMTPException, OSError, ValueError, AttributeError):
            with contextlib.suppress(OSError, AttributeError):
                self._server.close()

    def interrupt(self) -> None:
        """End whatever the connection waits for, from another thread."""
        with contextlib.suppress(OSError, AttributeError):
            if self._server.sock is not None:
                self._server.sock.shutdown(socket.SHUT_RDWR)

    def _expect(self, answer: tuple[int, bytes], step: str, *, permanent: bool) -> None:
        """Raise unless *answer* accepts.  A 5yz to MAIL FROM is our configuration's fault, so the letter is kept."""
        code, reply = answer
        if 200 <= code < 300:
            return
        words = f"smtp {step}: {code} {_text(reply)}"
        if code != 421 and code >= 0:
            with contextlib.suppress(smtplib.SMTPException, OSError):
                self._server.rset()
        if code >= 500 and permanent:
            raise Refused(words)
        raise Unavailable(words)


def _dotted(data: bytes) -> bytes:
    """Return *data* as DATA carries it (RFC 5321 4.5.2): leading dots doubled, ended by a dot alone on its line."""
    stuffed = data.replace(b"\r\n.", b"\r\n..")
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    if not stuffed.endswith(b"\r\n"):
        stuffed += b"\r\n"
    return stuffed + b".\r\n"


@contextlib.contextmanager
def _failures(what: str) -> Iterator[None]:
    try:
        yield
    except smtplib.SMTPAuthenticationError as error:
        # 454 and other 4yz are a passing trouble of the server's (RFC 4954 6), not a wrong password.
        kind = Refused if error.smtp_code >= 500 else Unavailable
        raise kind(f"{what}: sign-in refused: {error.smtp_code} {_text(error.smtp_error)}") from error
    except smtplib.SMTPNotSupportedError as error:
        raise Refused(f"{what}: {error}") from error
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise Unavailable(f"{what}: {_words(error)}") from error


def _text(reply: bytes | str) -> str:
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:500]


def _words(error: BaseException) -> str:
    return _text(str(error)) or type(error).__name__
