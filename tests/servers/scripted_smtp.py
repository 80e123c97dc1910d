"""An SMTP server by hand, which misbehaves at the stage where it is told to, once, in ways that no library would."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time

from servers import HOST

STAGES = ("greeting", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "END", "RSET", "QUIT")
# What stands for no reply at all.
CLOSE = b""
SILENCE = b"(silence)"

_REPLIES = {
    "greeting": b"220 mail.example ESMTP\r\n",
    "EHLO": b"250-mail.example\r\n250-AUTH PLAIN\r\n250 8BITMIME\r\n",
    "HELO": b"250 mail.example\r\n",
    "AUTH": b"235 welcome\r\n",
    "DATA": b"354 go on\r\n",
    "QUIT": b"221 bye\r\n",
}


class ScriptedSmtp:
    """*stage* gets *reply* instead of what is due, once; *accepted* are the messages that it has kept."""

    def __init__(self) -> None:
        self.stage = ""
        self.reply = b""
        self.keeps_doubtful = False
        self.accepted: list[bytes] = []
        self.is_used = False
        handler = type("Handler", (_Handler,), {"script": self})
        self._server = socketserver.ThreadingTCPServer((HOST, 0), handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()

    def reply_at(self, stage: str) -> bytes:
        """Return the reply at *stage*: the wrong one the first time, where that is the stage."""
        if stage == self.stage and not self.is_used:
            self.is_used = True
            return self.reply
        return _REPLIES.get(stage, b"250 fine\r\n")


class _Handler(socketserver.StreamRequestHandler):
    script: ScriptedSmtp

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            if not self._say("greeting"):
                return
            while line := self.rfile.readline():
                stage = line.split()[0].decode("ascii", "replace").upper() if line.split() else "?"
                if not self._say(stage):
                    return
                if stage == "DATA" and self._is_ready and not self._receive():
                    return
                if stage == "QUIT":
                    return

    def _receive(self) -> bool:
        lines = []
        while line := self.rfile.readline():
            if line == b".\r\n":
                break
            lines.append(line)
        else:
            return False
        said = self.script.reply_at("END")
        if said[:1] == b"2" or (self.script.keeps_doubtful and said[:1] not in (b"4", b"5")):
            self.script.accepted.append(b"".join(lines))
        return self._utter(said)

    def _say(self, stage: str) -> bool:
        said = self.script.reply_at(stage)
        self._is_ready = said[:3] == b"354"
        return self._utter(said)

    def _utter(self, said: bytes) -> bool:
        """Say it and return whether the conversation goes on."""
        if said == SILENCE:
            time.sleep(2)
            return False
        self.wfile.write(said)
        if not said.endswith(b"\r\n") or said.startswith(b"421"):
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return False
        return True
