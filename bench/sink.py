"""An SMTP server that accepts everything at once and only counts, so that it measures whoever sends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter

from servers import HOST


class Sink:
    """Counts letters by recipient, lower case; *arrived_at* has the monotonic instant of each, in order."""

    def __init__(self) -> None:
        self.letters: Counter[str] = Counter()
        self.arrived_at: list[tuple[float, str]] = []
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(self._loop.create_server(lambda: _Session(self), HOST, 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, name="sink", daemon=True)
        self._thread.start()

    def clear(self) -> None:
        """Forget what was counted."""
        self.letters.clear()
        self.arrived_at.clear()

    def count(self, recipients: set[str]) -> int:
        """Return how many letters went to one of *recipients*."""
        return sum(count for recipient, count in self.letters.items() if recipient in recipients)

    def close(self) -> None:
        """Stop listening."""
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


class _Session(asyncio.Protocol):
    """One connection."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._buffer = b""
        self._in_data = False
        self._recipients: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._say(b"220 sink ESMTP")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            end = b"\r\n.\r\n" if self._in_data else b"\r\n"
            found, separator, rest = self._buffer.partition(end)
            if not separator:
                return
            self._buffer = rest
            if self._in_data:
                self._in_data = False
                now = time.monotonic()
                for recipient in self._recipients:
                    self._sink.letters[recipient] += 1
                    self._sink.arrived_at.append((now, recipient))
                self._recipients = []
                self._say(b"250 2.0.0 counted")
            else:
                self._command(found)

    def _command(self, line: bytes) -> None:
        verb = line[:4].upper()
        if verb == b"EHLO":
            self._say(b"250-sink\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES")
        elif verb == b"DATA":
            self._in_data = True
            self._say(b"354 go on")
        elif verb == b"QUIT":
            self._say(b"221 2.0.0 bye")
            self._transport.close()
        else:
            if verb == b"RCPT":
                self._recipients.append(line.partition(b"<")[2].partition(b">")[0].decode("ascii", "replace").lower())
            self._say(b"250 2.0.0 ok")

    def _say(self, reply: bytes) -> None:
        self._transport.write(reply + b"\r\n")
