"""Access tokens for IMAP and SMTP: fetched from the provider, kept until shortly before they expire.

Microsoft by msal (client credentials: secret or certificate), Google by google-auth (service account or refresh token),
anybody else by the token endpoint of RFC 6749.  An expired secret is Refused: asking again will not mend it.
"""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from supportd.errors import Refused, Unavailable, UserError

# A token is replaced this long before its end, so that none expires between the look and the sign-in (OP01).
RENEW_BEFORE = timedelta(minutes=5)
# A refusal is not asked for again within this time, since asking does not mend an expired secret and a provider may
# lock an app that tries all day; a reload asks at once.
REFUSED_FOR = timedelta(minutes=15)
_SECONDS = 20
# RFC 6749 4.1.2.1 and 5.2: what a server says of itself under a status that otherwise speaks of us.
_PASSING = ("temporarily_unavailable", "server_error")
# Microsoft: the one scope of the client credentials flow for IMAP and SMTP together.
_MICROSOFT_SCOPE = "https://outlook.office365.com/.default"
_GOOGLE_SCOPE = "https://mail.google.com/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access token and when it ends, in UTC."""

    text: str = field(repr=False)
    expires_at: datetime


Fetch = Callable[[datetime], Token]


class Tokens:
    """The current token of one account; *fetch* asks the provider for a new one.  Safe to use from several threads."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._refusal: Refused | None = None
        self._refused_until: datetime | None = None

    def current(self, now: datetime) -> str:
        """Return a token that is good for some minutes yet.

        Raises:
            Refused: the provider does not accept our credentials: expired, revoked, or never right.  For a quarter of
                an hour the same refusal is raised again, without asking.
            Unavailable: the provider cannot be reached, or is in trouble itself.
        """
        with self._lock:
            if self._token is None or self._token.expires_at - now < RENEW_BEFORE:
                if self._refusal is not None and self._refused_until is not None and now < self._refused_until:
                    raise Refused(str(self._refusal))
                try:
                    self._token = self._fetch(now)
                except Refused as refusal:
                    self._refusal, self._refused_until = refusal, now + REFUSED_FOR
                    raise
                self._refusal = self._refused_until = None
            return self._token.text

    def ends_at(self) -> datetime | None:
        """Return when the token at hand expires, or None where there is none: the server ends the session then."""
        with self._lock:
            return None if self._token is None else self._token.expires_at

    def forget(self) -> None:
        """Drop the token: the server would not have it, so the next one is fetched anew."""
        with self._lock:
            self._token = None


def endpoint(url: str, form: Mapping[str, str]) -> Fetch:
    """Return how to ask the token endpoint *url* (RFC 6749 4.4 and 6) with the fields of *form*."""

    def fetch(now: datetime) -> Token:
        body = urllib.parse.urlencode(form).encode("ascii")
        request = urllib.request.Request(url, data=body, headers={"Accept": "application/json"})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310 - the configuration allows https alone
                return _granted(json.loads(answer.read(1_000_000)), now)
        except urllib.error.HTTPError as error:
            problem = _problem(error)
            if error.code in (400, 401, 403) and not any(word in problem for word in _PASSING):
                raise Refused(f"oauth: {problem}") from error
            raise Unavailable(f"oauth: {problem}") from error
        except (OSError, ValueError) as error:
            raise Unavailable(f"oauth: {url} gives no token: {error}") from error

    return fetch


def microsoft(tenant: str, client_id: str, credential: str | Mapping[str, str], *, http_client: Any = None) -> Fetch:
    """Return how to ask Microsoft for an app's own token; *credential* is its secret, or its certificate for msal.

    *http_client* carries the requests where the network is not to be used; by default msal's own.

    Raises:
        UserError: msal is not installed.
    """
    try:
        import msal
    except ImportError as error:
        raise UserError("oauth: Microsoft sign-in needs msal; install supportd[microsoft]") from error

    def fetch(now: datetime) -> Token:
        try:
            # Made anew each time: msal keeps a failure in its cache and repeats it after the server has recovered.
            application = msal.ConfidentialClientApplication(
                client_id,
                client_credential=credential,
                authority=f"https://login.microsoftonline.com/{tenant}",
                http_client=http_client,
            )
            answer: dict[str, Any] = application.acquire_token_for_client(scopes=[_MICROSOFT_SCOPE])
        except Exception as error:
            # msal raises its own and requests' errors, which share no root; each means that no token came.
            raise Unavailable(f"oauth: Microsoft gives no token: {error}") from error
        if "access_token" not in answer:
            words = str(answer.get("error_description") or answer.get("error") or "no reason given").splitlines()[0]
            if answer.get("error") in _PASSING:
                raise Unavailable(f"oauth: Microsoft gives no token: {words[:300]}")
            raise Refused(f"oauth: Microsoft refuses the app: {words[:300]}")
        return _granted(answer, now)

    return fetch


def google_service_account(info: Mapping[str, str], subject: str, *, request: Any = None) -> Fetch:
    """Return how to ask Google for a token for the mailbox *subject*, as a service account with domain-wide delegation.

    *request* carries the requests where the network is not to be used; by default google-auth's own.

    Raises:
        UserError: google-auth is not installed, or *info* is not a service account's key file.
    """
    try:
        import google.auth.exceptions
        import google.auth.transport.requests
        from google.oauth2 import service_account
    except ImportError as error:
        raise UserError("oauth: Google sign-in needs google-auth; install supportd[google]") from error
    try:
        credentials = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
            info, scopes=[_GOOGLE_SCOPE], subject=subject
        )
    except (ValueError, KeyError) as error:
        raise UserError(f"oauth: the service account's key cannot be used: {error}") from error

    def fetch(now: datetime) -> Token:
        try:
            credentials.refresh(request or google.auth.transport.requests.Request())
        except google.auth.exceptions.RefreshError as error:
            if error.retryable:
                raise Unavailable(f"oauth: Google gives no token: {error.args[0]}") from error
            raise Refused(f"oauth: Google refuses the service account: {error.args[0]}") from error
        except google.auth.exceptions.GoogleAuthError as error:
            raise Unavailable(f"oauth: Google gives no token: {error}") from error
        # google-auth writes its expiry as naive UTC.
        expires_at = credentials.expiry.replace(tzinfo=now.tzinfo) if credentials.expiry else now + timedelta(hours=1)
        return Token(text=credentials.token, expires_at=expires_at)

    return fetch


def _granted(answer: Mapping[str, Any], now: datetime) -> Token:
    """Return the token of a successful answer (RFC 6749 5.1); one without a lifetime is taken for an hour."""
    text = answer.get("access_token")
    if not isinstance(text, str) or not text:
        raise Unavailable("oauth: the answer holds no access token")
    try:
        lifetime = float(answer.get("expires_in", 3600))
    except (TypeError, ValueError):
        lifetime = 3600.0
    return Token(text=text, expires_at=now + timedelta(seconds=lifetime))


def _problem(error: urllib.error.HTTPError) -> str:
    """Return what the endpoint says (RFC 6749 5.2), in one line without anything of ours in it."""
    try:
        said = json.loads(error.read(100_000))
        words = f"{said.get('error', '')} {said.get('error_description', '')}".strip()
    except (ValueError, OSError, AttributeError):
        words = ""
    return f"the token endpoint answers {error.code} {words}".strip()[:300]
