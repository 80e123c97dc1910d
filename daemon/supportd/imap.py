"""The wire to the mailbox: one IMAP connection, every failure as Unavailable or Refused, and no mail-derived command.

No text that came in by mail ever enters an IMAP command (reliability.md IM24): messages are named by UID alone.
"""

from __future__ import annotations

import contextlib
import imaplib
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import imapclient
from imapclient.exceptions import IMAPClientAbortError, IMAPClientError, LoginError, ProtocolError

from supportd.errors import Declined, Refused, Unavailable

# A hung server may hold a thread no longer than this; the connect is quick or not at all.
_CONNECT_SECONDS = 15
_READ_SECONDS = 60
# RFC 2683 3.2.1.5 asks clients to keep a command line below 8000 octets; a UID has up to ten digits and a comma.
_LISTED_AT_ONCE = 500
# When a message came whose INTERNALDATE the server does not give, or gives as no date.
_UNDATED = datetime(1970, 1, 1, tzinfo=UTC)
# One literal at most: larger messages come in pieces, so that neither side holds them whole more than once.
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ImapAccount:
    """Where and as whom to sign in."""

    host: str
    port: int
    tls: str
    user: str | None
    password: str | None
    ca_file: Path | None = None
    # Gives an access token; then the sign-in is by XOAUTH2, or by OAUTHBEARER (RFC 7628) where only that is offered.
    token: Callable[[], str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One message of the selected folder: UID, size in bytes, INTERNALDATE in UTC."""

    uid: int
    size: int
    received_at: datetime


class ImapSession:
    """One signed-in connection.  After any Unavailable but Declined it is dead: close it and open another."""

    def __init__(self, account: ImapAccount) -> None:
        """Connect and sign in.

        Raises:
            Unavailable: the server cannot be reached, or its certificate is not trusted.
            Refused: it does not accept the user or the password.
        """
        context = tls_context(account.ca_file)
        self._can_move = False
        with _failures(f"imap {account.host}:{account.port}"):
            self._client = imapclient.IMAPClient(
                account.host,
                port=account.port,
                ssl=account.tls == "implicit",
                ssl_context=context,
                timeout=imapclient.SocketTimeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS),
            )
        try:
            with _failures(f"imap {account.host}:{account.port}"):
                # imaplib formats each literal for a debug log that is thrown away: 85% of the download's CPU.
                self._client._imap.debug = 0
                self._client.normalise_times = False
                if account.tls == "starttls":
                    # Raises when the server does not offer it: a stripped STARTTLS never goes on in the clear.
                    self._client.starttls(context)
                if account.token is not None:
                    self._authenticate(account.user or "", account.token())
                elif account.user is not None:
                    self._client.login(account.user, account.password)
                capabilities = self._client.capabilities()
                self._can_move = b"MOVE" in capabilities
                self._can_uid_expunge = b"UIDPLUS" in capabilities
                self._can_idle = b"IDLE" in capabilities
        except BaseException:
            self.close()
            raise

    def _authenticate(self, user: str, token: str) -> None:
        """Sign in with an access token; the server's own reason is told, which imapclient's own way would hide."""
        said: list[str] = []

        def answer(challenge: bytes) -> bytes:
            if challenge:
                said.append(challenge.decode("utf-8", "replace"))
                return b"" if mechanism == "XOAUTH2" else b"\x01"
            return sasl_token(mechanism, user, token).encode()

        mechanism = "XOAUTH2" if self._client.has_capability("AUTH=XOAUTH2") else "OAUTHBEARER"
        try:
            self._client.sasl_login(mechanism, answer)
        except IMAPClientError as error:
            raise Refused(f"imap: sign-in refused: {_words(error)} {' '.join(said)}".strip()) from error

    @property
    def can_idle(self) -> bool:
        """Return whether the server can tell us of new mail (RFC 2177)."""
        return self._can_idle

    def missing_folders(self, folders: Sequence[str]) -> list[str]:
        """Return those of *folders* that the mailbox does not have."""
        with _failures("imap folders"):
            present = {name for _flags, _delimiter, name in self._client.list_folders()}
        return [folder for folder in folders if folder not in present]

    def ensure_folders(self, folders: Sequence[str]) -> None:
        """Create those of *folders* that are missing."""
        for folder in self.missing_folders(folders):
            with _failures(f"imap folder {folder}"):
                self._client.create_folder(folder)
                self._client.subscribe_folder(folder)

    def select(self, folder: str, *, readonly: bool = False) -> int:
        """Select *folder* and return its UIDVALIDITY."""
        with _failures(f"imap folder {folder}"):
            uidvalidity = int(self._client.select_folder(folder, readonly=readonly)[b"UIDVALIDITY"])
            self._was_told_of_mail()
            return uidvalidity

    def listing(self, undated_at: datetime = _UNDATED, *, since: datetime | None = None) -> list[Listing]:
        """Return every message of the selected folder, in the order of UIDs; one without a date came *undated_at*.

        With *since* only those that arrived on that day or later, by the server's own calendar.
        """
        answer: dict[int, Any] = {}
        with _failures("imap listing"):
            self._was_told_of_mail()
            uids = self._client.search("ALL" if since is None else ["SINCE", since.date()])
            # imapclient takes no range such as 1:*; a command of so many UIDs stays below 8 KB.
            for start in range(0, len(uids), _LISTED_AT_ONCE):
                chunk = uids[start : start + _LISTED_AT_ONCE]
                answer.update(self._client.fetch(chunk, ["RFC822.SIZE", "INTERNALDATE"]))
        return [
            Listing(uid=uid, size=int(data[b"RFC822.SIZE"]), received_at=_utc(data.get(b"INTERNALDATE") or undated_at))
            for uid, data in sorted(answer.items())
            # Unsolicited FETCH answers carry flags alone (IM09).
            if b"RFC822.SIZE" in data
        ]

    def fetch(self, uids: Sequence[int]) -> dict[int, bytes]:
        """Return the bytes of those of *uids* that are still there, without marking them as read."""
        if not uids:
            return {}
        with _failures("imap fetch"):
            answer = self._client.fetch(list(uids), ["BODY.PEEK[]"])
        # A message expunged by another session answers None, or not at all.
        return {uid: answer[uid][b"BODY[]"] for uid in uids if answer.get(uid, {}).get(b"BODY[]") is not None}

    def fetch_large(self, uid: int) -> bytes | None:
        """Return the bytes of one large message, fetched in pieces of 1 MiB; None when it is gone.

        Beyond the end RFC 9051 6.4.5 wants an empty piece.  A shorter one may be all that the server gives at once,
        and none at all means that the message went in the midst of it: half a mail is never taken for a whole one.
        """
        pieces: list[bytes] = []
        start = 0
        while True:
            with _failures("imap fetch"):
                answer = self._client.fetch([uid], [f"BODY.PEEK[]<{start}.{_PIECE_BYTES}>"])
            piece = answer.get(uid, {}).get(f"BODY[]<{start}>".encode())
            if piece is None:
                return None
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
            start += len(piece)

    def fetch_header(self, uid: int) -> bytes | None:
        """Return the header block of one message, for a mail that is too large to read; None when it is gone."""
        with _failures("imap fetch"):
            answer = self._client.fetch([uid], ["BODY.PEEK[HEADER]"])
        header = answer.get(uid, {}).get(b"BODY[HEADER]")
        return header if isinstance(header, bytes) else None

    def move(self, uids: Sequence[int], folder: str) -> None:
        """Move *uids* to *folder*; one that is gone already is no error (S8 is repeated until the listing agrees).

        Without MOVE it copies and expunges just these UIDs (UIDPLUS).  A server with neither keeps the copy and its
        original flagged as deleted, and goes on listing that: a plain EXPUNGE would take other people's deleted mail
        with it (IM17).
        """
        with _failures(f"imap move to {folder}"):
            if self._can_move:
                self._client.move(list(uids), folder)
                return
            if not self._can_uid_expunge:
                flags = self._client.get_flags(list(uids))
                uids = [uid for uid in uids if b"\\Deleted" not in flags.get(uid, ())]
                if not uids:
                    return
            self._client.copy(list(uids), folder)
            self._client.delete_messages(list(uids))
            if self._can_uid_expunge:
                self._client.uid_expunge(list(uids))

    def append(self, folder: str, data: bytes, at: datetime) -> None:
        """Put a message into *folder* with the INTERNALDATE *at*."""
        with _failures(f"imap append to {folder}"):
            self._client.append(folder, data, (), at)

    def find(self, folder: str, message_id: str) -> bool:
        """Return whether *folder* holds a message of ours with that Message-ID."""
        self.select(folder, readonly=True)
        with _failures(f"imap search in {folder}"):
            return bool(self._client.search(["HEADER", "Message-ID", message_id]))

    def missing_rights(self, folder: str) -> str:
        """Return what the server does not let us do with the mails of *folder*, or an empty text.

        It says so in SELECT (RFC 3501 7.1: READ-ONLY, PERMANENTFLAGS), or by MYRIGHTS where it knows them (RFC 4314).
        """
        with _failures(f"imap folder {folder}"):
            try:
                answer = self._client.select_folder(folder)
            except imaplib.IMAP4.readonly:
                return "the server opens it for reading alone"
            flags = answer.get(b"PERMANENTFLAGS")
            if flags is not None and b"\\Deleted" not in flags:
                return "mails in it may not be deleted, so none can be moved away"
            if not self._client.has_capability("ACL"):
                return ""
            rights = self._client.my_rights(folder).decode()
        lacking = [word for right, word in (("t", "delete"), ("e", "expunge")) if right not in rights]
        return f"our rights there are {rights}: we may not {' or '.join(lacking)}" if lacking else ""

    def rehearse(self, folder: str, data: bytes) -> datetime:
        """Make *folder* and another, put *data* in, move it over, delete both; return the server's time of receipt.

        Raises:
            Unavailable: one of these steps is not allowed, which the text names.
        """
        other = f"{folder}-moved"
        for leftover in {folder, other} - set(self.missing_folders((folder, other))):
            with _failures(f"imap delete folder {leftover}"):
                self._client.delete_folder(leftover)
        self.ensure_folders((folder, other))
        try:
            with _failures(f"imap append to {folder}"):
                self._client.append(folder, data)
            self.select(folder)
            listed = self.listing()
            self.move([one.uid for one in listed], other)
            return max(one.received_at for one in listed)
        finally:
            with contextlib.suppress(IMAPClientError, OSError):
                # Dovecot hangs up on whoever deletes the folder that he has selected.
                self._client.select_folder("INBOX", readonly=True)
            for made in (folder, other):
                with contextlib.suppress(IMAPClientError, OSError):
                    self._client.unsubscribe_folder(made)
                    self._client.delete_folder(made)

    def idle(self, seconds: float) -> bool:
        """Wait in IDLE up to *seconds* and return whether the server said anything.

        Exactly one check per IDLE: on a dead connection a second one would return at once, for ever.  A server tells of
        new mail once: where it did so in its answer to a command after the listing began, this returns at once.
        """
        with _failures("imap idle"):
            if self._was_told_of_mail():
                return True
            self._client.idle()
            said = self._has_answers() or bool(self._client.idle_check(timeout=seconds))
            _text, late = self._client.idle_done()
            return said or any(b"EXISTS" in answer for answer in late if isinstance(answer, tuple))

    def _was_told_of_mail(self) -> bool:
        """Return whether an answer to any command since the last look told of new mail besides."""
        return bool(self._client._imap.untagged_responses.pop("EXISTS", None))

    def _has_answers(self) -> bool:
        """Return whether more has been received than was asked for so far.

        What arrives in one piece with the answer to IDLE, such as mail that came just before it, lies in imaplib's
        buffer; imapclient waits for the socket and would not see it before the wait is over.
        """
        connection = self._client._imap
        patience = connection.sock.gettimeout()
        connection.sock.settimeout(0)
        try:
            return bool(connection.file.peek(1))
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        finally:
            connection.sock.settimeout(patience)

    def interrupt(self) -> None:
        """End whatever the connection waits for, from another thread: the session is dead afterwards."""
        with contextlib.suppress(OSError):
            self._client.socket().shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Sign out if the server still listens; never raises."""
        try:
            self._client.logout()
        except (IMAPClientError, OSError, ValueError, AttributeError):
            with contextlib.suppress(IMAPClientError, OSError, AttributeError):
                self._client.shutdown()


def sasl_token(mechanism: str, user: str, token: str) -> str:
    """Return what is sent for *mechanism*: XOAUTH2 (Microsoft, Google) or OAUTHBEARER (RFC 7628 3.1)."""
    if mechanism == "XOAUTH2":
        return f"user={user}\x01auth=Bearer {token}\x01\x01"
    return f"n,a={user},\x01auth=Bearer {token}\x01\x01"


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that verifies certificate and name, against *ca_file* where one is given.

    Raises:
        Refused: the file cannot be read or holds no certificate.
    """
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise Refused(f"ca_file {ca_file} cannot be used: {error}") from error


# A server may announce a literal of any size, and imaplib asks for that much memory at once (gh-119511).
_TOO_LARGE = (MemoryError, OverflowError)


@contextlib.contextmanager
def _failures(what: str) -> Iterator[None]:
    try:
        yield
    except LoginError as error:
        raise Refused(f"{what}: sign-in refused: {_words(error)}") from error
    except (IMAPClientAbortError, ProtocolError, OSError, EOFError) as error:
        raise Unavailable(f"{what}: {_words(error)}") from error
    except IMAPClientError as error:
        raise Declined(f"{what}: {_words(error)}") from error
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, AssertionError, *_TOO_LARGE) as error:
        # imaplib and imapclient stumble over a garbled or half answer in these ways; the connection is unusable.
        raise Unavailable(f"{what}: the server's answer cannot be understood ({type(error).__name__})") from error


def _words(error: BaseException) -> str:
    text = str(error)
    if text.startswith("b'") and text.endswith("'"):
        text = text[2:-1]
    return " ".join(text.split())[:300] or type(error).__name__


def _utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
