"""How sure we are who wrote a mail, from header fields that only the receiving server can have written.

The rules, in code order:

1. No From field that the strict grammar accepts: unverified, whatever else the mail says.
2. Profile ``none``: an address of a staff domain is taken at its word; everybody else is unverified.
3. Profile ``microsoft365``: mail that never left the tenant is vouched for by Exchange itself (``AuthAs: Internal``).
4. Otherwise the border's own Authentication-Results (RFC 8601) must hold exactly one DMARC result, a pass, for exactly
   the domain that we read in From.  A field counts only where the sender cannot have put it: see `_border_fields`.
5. Verified and of a staff domain: a member.  A configured technician with an aligned DKIM pass: a technician.
6. `with_token`: a technician whose mail carries the token that we mailed to him for this ticket may command.

ARC is not looked at: it repeats what a stranger says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from supportd.core.model import Mail

# RFC 8601 sets no limit; the field grows with each signature.  Ours are under 2 kB, and a longer one is not read.
_LONGEST_FIELD = 8192
# Mail passes a few hops inside; what stands below so many trace fields is not the border's.
_MOST_FIELDS = 200
_EXCHANGE_BORDER = ".mail.protection.outlook.com"
_EXCHANGE_INSIDE = (".outlook.com", ".office365.com")
_GOOGLE = "mx.google.com"
# RFC 5321 4.1.2 and RFC 6376: what a domain, an address or a signature excerpt in a result may be made of.
_VALUE_EXTRA = frozenset("-._@+/=:[]!#$%&*?^`{|}~<>'")


class Level(IntEnum):
    """Levels of evidence, weakest first (reliability.md 4.1: L0, L1, L2, L3, L3 with token)."""

    UNVERIFIED = 0
    VERIFIED = 1
    MEMBER = 2
    TECHNICIAN = 3
    COMMANDING = 4


class Profile(StrEnum):
    """Whose header fields are believed."""

    NONE = "none"
    RFC8601 = "rfc8601"
    GOOGLE = "google"
    MICROSOFT365 = "microsoft365"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom the configuration believes.  All names and addresses are in lower case, domains as A-labels.

    *authserv_id* is what the border calls itself (RFC 8601 2.5), *border_hosts* are the names it writes behind ``by``
    in its Received field; empty means that it uses its authserv-id there too.
    """

    profile: Profile = Profile.NONE
    authserv_id: str = ""
    border_hosts: frozenset[str] = frozenset()
    staff_domains: frozenset[str] = frozenset()
    technicians: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How sure we are who wrote a mail, and why.  *claims_technician*: its From is a technician's, proved or not."""

    level: Level
    reasons: tuple[str, ...]
    claims_technician: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One result of an Authentication-Results field: ``dkim=pass header.d=...`` with its properties in lower case."""

    method: str
    result: str
    properties: tuple[tuple[str, str], ...] = ()

    def values(self, name: str) -> tuple[str, ...]:
        """Return all values of the property *name*."""
        return tuple(value for key, value in self.properties if key == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticationResults:
    """One Authentication-Results field: who says it (empty: nobody, as Exchange Online does), and what."""

    authserv_id: str
    results: tuple[Result, ...]


def evidence(mail: Mail, trust: Trust) -> Standing:
    """Return how sure we are that the address in *mail*'s From field wrote it, with the reasons in words."""
    if mail.sender is None:
        reasons = mail.defects or ("there is no From field with exactly one plain address",)
        return Standing(level=Level.UNVERIFIED, reasons=reasons)
    address = mail.sender.address.lower()
    claims_technician = address in trust.technicians
    level, reasons = _level(mail, address, trust)
    return Standing(level=level, reasons=reasons, claims_technician=claims_technician)


def with_token(standing: Standing, trust: Trust) -> Standing:
    """Return *standing* after the mail has shown the token that we mailed to its From address for this ticket.

    With a profile the mail must already be proved a technician's; with ``none`` the token is the proof.
    """
    proved = standing.level >= Level.TECHNICIAN or (trust.profile is Profile.NONE and standing.claims_technician)
    if not proved:
        return standing
    return Standing(
        level=Level.COMMANDING,
        reasons=(*standing.reasons, "the technician's own token for this ticket"),
        claims_technician=standing.claims_technician,
    )


def _level(mail: Mail, address: str, trust: Trust) -> tuple[Level, tuple[str, ...]]:
    domain = address.rpartition("@")[2]
    is_staff = domain in trust.staff_domains
    if trust.profile is Profile.NONE:
        if is_staff:
            return Level.MEMBER, (f"{domain} is a staff domain, taken at its word (profile none)",)
        return Level.UNVERIFIED, (f"{domain} is not a staff domain (profile none)",)

    if trust.profile is Profile.MICROSOFT365 and _is_internal_to_exchange(mail):
        verified = f"Exchange vouches for {domain}: the mail never left the tenant"
        aligned = True
    else:
        fields = tuple(_border_fields(mail, trust))
        problem = _dmarc_problem(fields, domain)
        if problem:
            return Level.UNVERIFIED, (problem,)
        verified = f"the border says dmarc=pass for {domain}"
        aligned = any(_is_aligned_signature(result, domain) for found in fields for result in found.results)

    if not is_staff:
        return Level.VERIFIED, (verified, f"{domain} is not a staff domain")
    if address not in trust.technicians:
        return Level.MEMBER, (verified, f"{domain} is a staff domain")
    if not aligned:
        return Level.MEMBER, (verified, f"{address} is a technician's, but no DKIM signature of {domain} passed")
    return Level.TECHNICIAN, (verified, f"{address} is a technician's, and so proved")


def _dmarc_problem(fields: tuple[AuthenticationResults, ...], domain: str) -> str:
    """Return why *fields* do not prove *domain*, or an empty text when they do."""
    verdicts = [result for found in fields for result in found.results if result.method == "dmarc"]
    if not verdicts:
        return "the border wrote no DMARC result that can be read"
    if len(verdicts) > 1:
        return f"the border's fields hold {len(verdicts)} DMARC results; one is expected"
    verdict = verdicts[0]
    if verdict.result != "pass":
        return f"the border says dmarc={verdict.result}"
    # The border and we must have read the same From: a trick that shows each another address ends here.
    if verdict.values("header.from") != (domain,):
        return f"the border's DMARC pass is for {', '.join(verdict.values('header.from')) or 'no domain'}, not {domain}"
    return ""


def _is_aligned_signature(result: Result, domain: str) -> bool:
    """Return whether *result* is a passed DKIM signature of exactly *domain* (header.d, or Google's header.i)."""
    if result.method != "dkim" or result.result != "pass":
        return False
    signers = result.values("header.d") or tuple(value.rpartition("@")[2] for value in result.values("header.i"))
    return signers == (domain,)


def _is_internal_to_exchange(mail: Mail) -> bool:
    """Return whether Exchange Online marks *mail* as sent inside the tenant.

    The header firewall strips X-MS-Exchange-Organization-* from outside mail.  We do not lean on it alone: a mail that
    came through the border has a Received field by it, which its sender cannot take away.
    """
    if tuple(value.strip().lower() for value in mail.header_all("X-MS-Exchange-Organization-AuthAs")) != ("internal",):
        return False
    hosts = [_receiver(value) for value in mail.header_all("Received")]
    return bool(hosts) and all(
        host.endswith(_EXCHANGE_INSIDE) and not host.endswith(_EXCHANGE_BORDER) for host in hosts
    )


def _border_fields(mail: Mail, trust: Trust) -> Iterator[AuthenticationResults]:
    """Yield the Authentication-Results fields that the border wrote.

    Trace fields are put on top, so nothing that a sender wrote can stand above the border's first Received field.
    Google writes its results just below its own Received field: there they are the first such field before the next
    Received field, and nothing of the sender's stands between.  An unreadable field of the border proves nothing, and
    neither does what stands beside it.
    """
    found: list[AuthenticationResults] = []
    passed_border = False
    for name, value in mail.headers[:_MOST_FIELDS]:
        key = name.lower()
        if key == "received":
            if passed_border:
                return
            if _is_border(_receiver(value), trust):
                passed_border = True
                if trust.profile is not Profile.GOOGLE:
                    yield from found
                    return
        elif key == "authentication-results":
            results = read_authentication_results(value)
            if results is None:
                return
            if trust.profile is Profile.GOOGLE:
                if passed_border and results.authserv_id == _GOOGLE:
                    yield results
                    return
            elif trust.profile is Profile.MICROSOFT365:
                if not results.authserv_id and not found:
                    found.append(results)
            elif results.authserv_id == trust.authserv_id.lower():
                found.append(results)


def _is_border(host: str, trust: Trust) -> bool:
    match trust.profile:
        case Profile.GOOGLE:
            return host == _GOOGLE
        case Profile.MICROSOFT365:
            return host.endswith(_EXCHANGE_BORDER)
        case _:
            return host in (trust.border_hosts or {trust.authserv_id.lower()})


def _receiver(received: str) -> str:
    """Return the host behind ``by`` in a Received field (RFC 5321 4.4), in lower case, or an empty text."""
    depth = 0
    previous = ""
    for word in received[:_LONGEST_FIELD].replace("(", " ( ").replace(")", " ) ").split():
        if word == "(":
            depth += 1
        elif word == ")":
            depth = max(0, depth - 1)
        elif depth == 0:
            if previous.lower() == "by":
                return word.rstrip(";").lower()
            previous = word
    return ""


def read_authentication_results(value: str) -> AuthenticationResults | None:
    """Return the unfolded field body *value* read strictly (RFC 8601 2.2), or None when any part of it is odd.

    Strict because a sender chooses some of its words: a MAIL FROM or a ``d=`` with a quote, a bracket or a semicolon in
    it is the known way to smuggle a result of one's own into an honest field.
    """
    pieces = _split(value)
    if pieces is None:
        return None
    first, *rest = pieces
    authserv_id = ""
    if (len(first) == 1 and "=" not in first[0]) or (len(first) == 2 and first[1] == "1"):
        authserv_id = first[0].lower()
    elif first:
        # Exchange Online starts with the first result and names nobody.
        rest = pieces
    results: list[Result] = []
    for words in rest:
        if not words or words == ["none"]:
            continue
        pairs = [_pair(word) for word in words]
        if any(not key or not result for key, result in pairs):
            return None
        (method, result), *properties = pairs
        # RFC 8601 2.2: a method may carry its version, as in "dkim/1".
        results.append(Result(method=method.partition("/")[0], result=result, properties=tuple(properties)))
    return AuthenticationResults(authserv_id=authserv_id, results=tuple(results))


def _pair(word: str) -> tuple[str, str]:
    key, _, value = word.lower().partition("=")
    return key, value


def _split(value: str) -> list[list[str]] | None:
    """Return *value* as words between semicolons, comments dropped, or None where quoting or brackets are odd."""
    if len(value) > _LONGEST_FIELD or not value.isascii():
        return None
    pieces: list[list[str]] = [[]]
    word: list[str] = []
    depth = 0
    is_quoted = False
    for char in value + ";":
        if depth:
            if char in '"\\':
                return None
            depth += (char == "(") - (char == ")")
        elif char == '"':
            is_quoted = not is_quoted
        elif char.isalnum() or char in _VALUE_EXTRA or (is_quoted and char == " "):
            word.append(char)
        elif is_quoted:
            return None
        elif char == "(":
            depth = 1
        elif char in " \t\n\r;":
            if word:
                pieces[-1].append("".join(word))
                word = []
            if char == ";":
                pieces.append([])
        else:
            return None
    return None if depth or is_quoted else pieces[:-1]
