"""An SMTP server that refuses or breaks off where it is told to, and keeps the bytes of what it accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from servers import HOST, free_ports


class FaultySmtp:
    """Give *answers* per recipient, each used once, in order: ``RCPT 450 ...``, ``DATA 451 ...``, ``END drop``.

    ``RCPT`` answers the recipient, ``DATA`` refuses after the final dot with a reply, ``END drop`` accepts the message
    and closes the connection instead of replying: the sender cannot know.
    """

    def __init__(self) -> None:
        [self.port] = free_ports(1)
        self.answers: Mapping[str, list[str]] = {}
        self.accepted: list[tuple[str, bytes]] = []
        self._controller = Controller(_Handler(self), hostname=HOST, port=self.port, ready_timeout=10)

    def start(self) -> None:
        """Listen."""
        self._controller.start()

    def stop(self) -> None:
        """Listen no more."""
        self._controller.stop()

    def accepted_by(self, recipient: str) -> list[bytes]:
        """Return the messages that *recipient* was sent, oldest first."""
        return [data for address, data in self.accepted if address == recipient]

    def next_answer(self, recipient: str, step: str) -> str:
        """Return and use up what *recipient* is answered at *step*, or an empty text."""
        waiting = self.answers.get(recipient, [])
        if waiting and waiting[0].startswith(step + " "):
            return waiting.pop(0).partition(" ")[2]
        return ""


class _Handler:
    def __init__(self, server: FaultySmtp) -> None:
        self._server = server

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self._server.next_answer(address, "RCPT")
        if answer:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        recipient = envelope.rcpt_tos[0]
        answer = self._server.next_answer(recipient, "DATA")
        if answer:
            return answer
        content: Any = envelope.content
        self._server.accepted.append((recipient, bytes(content)))
        if self._server.next_answer(recipient, "END") == "drop":
            assert server.transport is not None
            server.transport.abort()
            await asyncio.sleep(0)
        return "250 kept"
