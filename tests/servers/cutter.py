"""A wire that breaks: passes bytes between the daemon and a server, and cuts both off after so many in one way."""

from __future__ import annotations

import contextlib
import socket
import threading

from servers import HOST

DIRECTIONS = ("up", "down")  # towards the server, towards the daemon


class Cutter:
    """Listens on ``port`` for the server on *target*, counts what passes, cuts once, and is whole afterwards."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self.passed = dict.fromkeys(DIRECTIONS, 0)
        self._cut: tuple[str, int] | None = None
        threading.Thread(target=self._listen, daemon=True).start()

    def cut_after(self, direction: str, count: int) -> None:
        """Count anew, and cut when *count* bytes have passed in *direction*."""
        with self._lock:
            self.passed = dict.fromkeys(DIRECTIONS, 0)
            self._cut = (direction, count)

    def stay_whole(self) -> None:
        """Count anew, and cut nothing."""
        with self._lock:
            self.passed = dict.fromkeys(DIRECTIONS, 0)
            self._cut = None

    @property
    def has_cut(self) -> bool:
        """Return whether the cut has been made."""
        return self._cut is None

    def close(self) -> None:
        """Listen no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                daemon, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection((HOST, self._target), timeout=10)
            except OSError:
                daemon.close()
                continue
            server.settimeout(None)
            for direction, source, sink in (("up", daemon, server), ("down", server, daemon)):
                threading.Thread(target=self._pass, args=(direction, source, sink), daemon=True).start()

    def _pass(self, direction: str, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                allowed, is_cut = self._allow(direction, len(data))
                sink.sendall(data[:allowed])
                if is_cut:
                    break
        # An end of one side is an end of both, cut or not.
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        source.close()

    def _allow(self, direction: str, count: int) -> tuple[int, bool]:
        """Return how many of *count* bytes may pass, and whether the wire breaks after them."""
        with self._lock:
            before = self.passed[direction]
            self.passed[direction] += count
            if self._cut is None or self._cut[0] != direction or before + count < self._cut[1]:
                return count, False
            allowed = self._cut[1] - before
            self._cut = None
            return allowed, True
