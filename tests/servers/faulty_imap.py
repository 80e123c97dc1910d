"""An IMAP server that holds one mailbox in memory and answers well, but for the faults that a test gives it.

A fault is a pattern of commands and what becomes of the answer to them: changed bytes, a cut after so many, silence.
Each is used up by one command unless it says otherwise.
"""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from servers import HOST

CAPABILITIES = b"IMAP4rev1 UIDPLUS MOVE IDLE"


@dataclass(slots=True, kw_only=True)
class Stored:
    """One message of a folder."""

    uid: int
    data: bytes
    date: str = "24-Nov-2026 09:00:00 +0000"
    flags: set[str] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class Fault:
    """What becomes of the answer to a command that *pattern* finds: *change* returns other bytes, *cut* closes after.

    *times* commands are answered so; -1 means every one.
    """

    pattern: str
    change: Callable[[bytes], bytes] = bytes
    cut: bool = False
    times: int = 1


@dataclass(slots=True, kw_only=True)
class Folder:
    """One folder and its life."""

    uidvalidity: int = 1
    uidnext: int = 1
    messages: list[Stored] = field(default_factory=list)

    def add(self, data: bytes) -> int:
        """Add a message and return its UID."""
        self.messages.append(Stored(uid=self.uidnext, data=data))
        self.uidnext += 1
        return self.uidnext - 1


class FaultyImap:
    """The server; *folders* and *faults* are the test's to change, *commands* is what was asked."""

    def __init__(self) -> None:
        self.folders = {"INBOX": Folder()}
        self.faults: list[Fault] = []
        self.commands: list[str] = []
        self.capabilities = CAPABILITIES
        handler = type("Handler", (_Handler,), {"mailbox": self})
        self._server = socketserver.ThreadingTCPServer((HOST, 0), handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def start(self) -> None:
        """Listen."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fault_for(self, command: str) -> Fault | None:
        """Return and use up the first fault whose pattern *command* matches."""
        for fault in self.faults:
            if fault.times and re.search(fault.pattern, command):
                fault.times -= 1
                return fault
        return None


class _Handler(socketserver.StreamRequestHandler):
    mailbox: FaultyImap
    selected: Folder

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self._converse()

    def _converse(self) -> None:
        self.wfile.write(b"* OK ready\r\n")
        while line := self.rfile.readline():
            text = line.decode("ascii", "replace").rstrip("\r\n")
            tag, _, command = text.partition(" ")
            self.mailbox.commands.append(command)
            answer = self._answer(command) + tag.encode() + b" " + self._status(command) + b"\r\n"
            fault = self.mailbox.fault_for(command)
            self.wfile.write(answer if fault is None else fault.change(answer))
            if command == "LOGOUT" or (fault is not None and fault.cut):
                with contextlib.suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)
                return

    def _status(self, command: str) -> bytes:
        word = command.split()[0].upper() if command.split() else ""
        return b"OK done" if word else b"BAD what?"

    def _answer(self, command: str) -> bytes:
        words = command.split()
        name = " ".join(words[:2]).upper() if words and words[0].upper() == "UID" else words[0].upper()
        if name == "CAPABILITY":
            return b"* CAPABILITY " + self.mailbox.capabilities + b"\r\n"
        if name == "LIST":
            return b"".join(f'* LIST () "/" "{one}"\r\n'.encode() for one in self.mailbox.folders)
        if name == "CREATE":
            self.mailbox.folders.setdefault(words[1].strip('"'), Folder(uidvalidity=1))
            return b""
        if name in ("SELECT", "EXAMINE"):
            self.selected = self.mailbox.folders[words[1].strip('"')]
            return (
                f"* FLAGS ()\r\n* {len(self.selected.messages)} EXISTS\r\n"
                f"* OK [UIDVALIDITY {self.selected.uidvalidity}] lives\r\n"
            ).encode()
        if name == "UID SEARCH":
            return f"* SEARCH {' '.join(str(one.uid) for one in self.selected.messages)}\r\n".encode()
        if name == "UID FETCH":
            return b"".join(
                self._fetched(number, one, command)
                for number, one in enumerate(self.selected.messages, 1)
                if one.uid in _uids(words[2])
            )
        if name == "UID COPY":
            for one in self.selected.messages:
                if one.uid in _uids(words[2]):
                    self.mailbox.folders[words[3].strip('"')].add(one.data)
            return b""
        if name == "UID STORE":
            for one in self.selected.messages:
                if one.uid in _uids(words[2]):
                    one.flags.add(words[4].strip("()"))
            return b""
        if name == "UID EXPUNGE":
            named = _uids(words[2])
            self.selected.messages = [
                one for one in self.selected.messages if one.uid not in named or "\\Deleted" not in one.flags
            ]
            return b""
        if name == "UID MOVE":
            gone = [one for one in self.selected.messages if one.uid in _uids(words[2])]
            target = self.mailbox.folders[words[3].strip('"')]
            for one in gone:
                self.selected.messages.remove(one)
                target.add(one.data)
            return b""
        return b""

    def _fetched(self, number: int, one: Stored, command: str) -> bytes:
        if "RFC822.SIZE" in command:
            listed = f"UID {one.uid} RFC822.SIZE {len(one.data)}"
            return f'* {number} FETCH ({listed} INTERNALDATE "{one.date}")\r\n'.encode()
        if "FLAGS" in command:
            return f"* {number} FETCH (UID {one.uid} FLAGS ({' '.join(one.flags)}))\r\n".encode()
        data, name = one.data, "BODY[]"
        if partial := re.search(r"<(\d+)\.(\d+)>", command):
            start, length = int(partial[1]), int(partial[2])
            data, name = data[start : start + length], f"BODY[]<{start}>"
        return f"* {number} FETCH (UID {one.uid} {name} {{{len(data)}}}\r\n".encode() + data + b")\r\n"


def _uids(text: str) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        low, _, high = part.partition(":")
        found |= set(range(int(low), int(high or low) + 1))
    return found
