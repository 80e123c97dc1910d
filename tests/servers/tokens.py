"""Sign-in by access tokens: a token endpoint that issues real JWTs, and a Dovecot that validates them by itself.

Dovecot believes a token with the right signature, issuer, audience and time, for the mailbox that it names; it offers
IMAP and submission, and hands what is submitted to a relay.  Its configuration is that of Dovecot 2.3.
"""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt

from servers import HOST, free_ports, program
from servers.certificates import Certificates
from servers.dovecot import Dovecot

KEY = "throw-away-test-key-not-a-secret-0123456789abcdef"
ISSUER = "https://issuer.test/"
AUDIENCE = "mail.allsaints.example"
CLIENT, CLIENT_SECRET = "supportd", "canary-client-secret"

OAUTH = """
auth_mechanisms = plain login {mechanisms}
passdb {{
  driver = oauth2
  mechanisms = {mechanisms}
  args = {directory}/oauth2.conf.ext
}}
protocols = imap lmtp submission
service submission-login {{
  chroot =
  inet_listener submission {{
    port = {submission_port}
  }}
}}
submission_relay_host = {host}
submission_relay_port = {relay_port}
"""

VALIDATION = """
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={directory}/keys/
username_attribute = upn
issuers = {issuer}
active_attribute = aud
active_value = {audience}
"""


def token(
    user: str, *, lifetime_seconds: float = 3600, issuer: str = ISSUER, audience: str = AUDIENCE, scope: str = "mail"
) -> str:
    """Return a signed access token for the mailbox *user*, with a negative lifetime an expired one."""
    now = int(time.time())
    claims = {"sub": user, "upn": user, "iss": issuer, "aud": audience, "scope": scope}
    return jwt.encode({**claims, "iat": now, "nbf": now - 3600, "exp": now + int(lifetime_seconds)}, KEY, "HS256")


class TokenDovecot(Dovecot):
    """A Dovecot with *mechanisms* (XOAUTH2, OAUTHBEARER) beside passwords, and a submission server with STARTTLS."""

    def __init__(self, certificates: Certificates, mechanisms: str, relay_port: int) -> None:
        super().__init__(certificates)
        program("/usr/lib/dovecot/submission", "dovecot-submissiond")
        self._mechanisms, self._relay_port = mechanisms, relay_port
        [self.submission_port] = free_ports(1)
        keys = self.directory / "keys" / "default" / "HS256"
        keys.mkdir(parents=True)
        (keys / "default").write_bytes(base64.b64encode(KEY.encode()))
        validation = VALIDATION.format(directory=self.directory, issuer=ISSUER, audience=AUDIENCE)
        (self.directory / "oauth2.conf.ext").write_text(validation)

    def end_sessions(self, user: str) -> None:
        """End every connection of *user* from the server's side, with a BYE."""
        command = [program("doveadm", "dovecot-core"), "-c", str(self.directory / "dovecot.conf"), "kick", user]
        subprocess.run(command, capture_output=True, timeout=20)

    def _configuration(self) -> str:
        return super()._configuration() + OAUTH.format(
            mechanisms=self._mechanisms.lower(),
            directory=self.directory,
            host=HOST,
            submission_port=self.submission_port,
            relay_port=self._relay_port,
        )


class TokenEndpoint:
    """``POST /token`` of RFC 6749 for one client; ``answers`` are used up in order, then every answer is ``always``.

    good; expired, wrong-audience, wrong-issuer (issued, but no server believes them); revoked, expired-secret (refused
    with 4xx); slow (good after two seconds); 503; busy (the same with 400); garbage.  Whoever asks with a wrong secret
    is refused in any case.
    """

    def __init__(self, user: str) -> None:
        self.user = user
        self.answers: deque[str] = deque()
        self.always = "good"
        # What the answer says, and how long the token really lives.
        self.lifetime_seconds: float = 3600
        self.true_lifetime_seconds: float | None = None
        self.requests: list[Mapping[str, str]] = []
        [port] = free_ports(1)
        self._server = ThreadingHTTPServer((HOST, port), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://{HOST}:{port}/token"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, form: Mapping[str, str]) -> tuple[int, Any]:
        """Return status and body for a request with the fields of *form*."""
        self.requests.append(form)
        what = self.answers.popleft() if self.answers else self.always
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT, CLIENT_SECRET) or what == "expired-secret":
            return 401, {"error": "invalid_client", "error_description": "AADSTS7000222: the client secret is expired."}
        if what == "revoked":
            return 400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
        if what in ("503", "busy"):
            return 503 if what == "503" else 400, {"error": "temporarily_unavailable"}
        if what == "garbage":
            return 200, "<html>Sign in to the school's web filter</html>"
        if what == "slow":
            time.sleep(2)
        true_lifetime = self.lifetime_seconds if self.true_lifetime_seconds is None else self.true_lifetime_seconds
        text = token(
            self.user,
            lifetime_seconds=-60 if what == "expired" else true_lifetime,
            issuer="https://elsewhere.test/" if what == "wrong-issuer" else ISSUER,
            audience="calendar.allsaints.example" if what == "wrong-audience" else AUDIENCE,
        )
        return 200, {"access_token": text, "token_type": "Bearer", "expires_in": self.lifetime_seconds}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                code, answer = endpoint.answer({name: values[0] for name, values in parse_qs(body).items()})
                data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *arguments: object) -> None:
                """Say nothing."""

        return Handler


def oauth_settings(endpoint: TokenEndpoint, folder: Path) -> dict[str, Any]:
    """Return the ``oauth:`` section for *endpoint*, its secret in a file in *folder*."""
    secret = folder / "oauth-secret"
    secret.write_text(CLIENT_SECRET)
    secret.chmod(0o600)
    return {"provider": "endpoint", "url": endpoint.url, "client_id": CLIENT, "secret": {"file": str(secret)}}
