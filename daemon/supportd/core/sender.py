"""How sure we are who wrote a mail, from header fields that only the receiving server can have written.

The rules, in code order:

1. Not exactly one From field with one plain address in it: unverified, whatever else the mail says.
2. Profile ``none``: an address of a staff domain is taken at its word; everybody else is unverified.
3. Profile ``microsoft365``: mail that never left the tenant is vouched for by Exchange itself (``AuthAs: Internal``).
4. Otherwise the border's own Authentication-Results (RFC 8601) must hold exactly one DMARC result, a pass, for exactly
   the domain that we read in From.  A field counts only where no sender can have put it: see `_border_fields`.
5. Verified and of a staff domain: a member.  A configured technician with an aligned DKIM pass: a technician.
6. `with_token`: a technician whose mail carries the token that we mailed to him for this ticket may command.

ARC is not looked at: it repeats what a stranger says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum

from supportd.core import addresses
from supportd.core.model import Mail

# RFC 8601 sets no limit; the field grows with each signature.  Ours are under 2 kB, and a longer one is not read.
_LONGEST_FIELD = 8192
_EXCHANGE_BORDER = ".mail.protection.outlook.com"
_EXCHANGE_INSIDE = (".outlook.com", ".office365.com")
_GOOGLE_BORDER = "mx.google.com"
# Google's inner hops name themselves by an address out of 2002::/16.
_GOOGLE_INSIDE = "2002:"
# RFC 5321 4.1.2 and RFC 6376: what a domain, an address or the excerpt of a signature may be made of.  No semicolon, no
# bracket, no quote, no comma.
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

    *authserv_id* is what the border calls itself in its results (RFC 8601 2.5).  *border_hosts* are the names behind
    ``by`` in its Received fields; they are needed only where other servers of ours stand between it and the mailbox.
    *technicians* are all addresses that may steer tickets, *inboxes* those of them that several technicians read: a
    token mailed there is each technician's own.  *is_border_proved*: a test has shown that the border's fields cannot
    be forged; before that nobody commands with a profile.

    Raises:
        ValueError: the profile is ``rfc8601`` and there is no authserv-id.
    """

    profile: Profile = Profile.NONE
    authserv_id: str = ""
    border_hosts: frozenset[str] = frozenset()
    staff_domains: frozenset[str] = frozenset()
    technicians: frozenset[str] = frozenset()
    inboxes: frozenset[str] = frozenset()
    is_border_proved: bool = True

    def __post_init__(self) -> None:
        if self.profile is Profile.RFC8601 and not self.authserv_id:
            raise ValueError("profile rfc8601 needs the authserv-id")

    @property
    def border(self) -> str:
        """Return what the proof of the border is a proof of: another profile or another name wants a new one."""
        return " ".join((self.profile, self.authserv_id, *sorted(self.border_hosts)))

    @property
    def may_command(self) -> bool:
        """Return whether technicians may steer tickets by mail at all."""
        return self.profile is Profile.NONE or self.is_border_proved


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How sure we are who wrote a mail, and why.

    *claims_technician*: its From is a technician's, proved or not.  *is_plain*: From names exactly one plain address.
    """

    level: Level
    reasons: tuple[str, ...]
    claims_technician: bool = False
    is_plain: bool = True

    @property
    def in_words(self) -> str:
        """Return the level by its name, and the reasons."""
        return f"{self.level.name.lower()}: {'; '.join(self.reasons)}"


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
    address = "" if mail.sender is None else mail.sender.address.lower()
    claims_technician = address in trust.technicians
    problems = _from_problems(mail, address)
    if problems:
        return Standing(level=Level.UNVERIFIED, reasons=problems, claims_technician=claims_technician, is_plain=False)
    level, reasons = _level(mail, address, trust)
    return Standing(level=level, reasons=reasons, claims_technician=claims_technician)


def with_token(standing: Standing, trust: Trust) -> Standing:
    """Return *standing* after the mail has shown the token that we mailed to its From address for this ticket.

    With a profile the mail must already be proved a technician's; with ``none`` the token is the proof.
    """
    is_proof_enough = trust.profile is Profile.NONE and standing.claims_technician and standing.is_plain
    if standing.level < Level.TECHNICIAN and not is_proof_enough:
        return standing
    if not trust.may_command:
        return standing
    reasons = (*standing.reasons, "the technician's own token for this ticket")
    return replace(standing, level=Level.COMMANDING, reasons=reasons)


def _from_problems(mail: Mail, address: str) -> tuple[str, ...]:
    """Return why the From field names nobody beyond doubt; empty when it does.

    Stricter than the parser, which must read everything: a second address anywhere in the field is how one program is
    shown one author and another program another.
    """
    if not address:
        return ("there is no From field with an address",)
    fields = mail.header_all("From")
    if len(fields) != 1:
        return (f"there are {len(fields)} From fields; exactly one is expected",)
    defects = tuple(defect for defect in mail.defects if defect.lower().startswith("from:"))
    if defects:
        return defects
    name, bracket, rest = fields[0].rpartition("<")
    plain, closed, behind = rest.partition(">") if bracket else (fields[0], "", "")
    if plain.strip().lower() != address or bool(bracket) != bool(closed) or behind or not addresses.is_plain(address):
        return ("the From field is not one plain address, with a name before it or alone",)
    if "<" in name or ">" in name or any(_is_another(word, address) for word in name.split()):
        return ("the name in the From field looks like another address",)
    return ()


def _is_return_path_odd(mail: Mail) -> bool:
    """Return whether the sender's MAIL FROM holds more than an address.

    Borders repeat it in their results, and not all of them quote it: with a semicolon in it, it can bring a verdict.
    """
    return bool(mail.envelope_from) and not addresses.is_plain(mail.envelope_from or "")


def _is_another(word: str, address: str) -> bool:
    """Return whether *word* of a display name reads as an address other than *address*; "Jane @ school" does not."""
    return "@" in word.strip("@") and word.strip("\"'()").lower() != address


def _level(mail: Mail, address: str, trust: Trust) -> tuple[Level, tuple[str, ...]]:
    domain = address.rpartition("@")[2]
    is_staff = domain in trust.staff_domains
    if trust.profile is Profile.NONE:
        if is_staff:
            return Level.MEMBER, (f"{domain} is a staff domain, taken at its word (profile none)",)
        return Level.UNVERIFIED, (f"{domain} is not a staff domain (profile none)",)

    if is_vouched_for_by_exchange(mail, trust):
        verified = f"Exchange vouches for {domain}: the mail never left the tenant"
        aligned = True
    else:
        if _is_return_path_odd(mail):
            return Level.UNVERIFIED, (
                "the Return-Path is not one plain address; it could bring words into the results",
            )
        fields = believed(mail, trust)
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
    marks = tuple(value.strip().lower() for value in mail.header_all("X-MS-Exchange-Organization-AuthAs"))
    hops = [_hop(value) for value in mail.header_all("Received")]
    return marks == ("internal",) and bool(hops) and all(_is_inside_exchange(hop) for hop in hops)


def believed(mail: Mail, trust: Trust) -> tuple[AuthenticationResults, ...]:
    """Return what of *mail*'s Authentication-Results is taken for the border's own word."""
    return tuple(_border_fields(mail, trust))


def is_vouched_for_by_exchange(mail: Mail, trust: Trust) -> bool:
    """Return whether *mail* is taken for one that never left the Exchange tenant."""
    return trust.profile is Profile.MICROSOFT365 and _is_internal_to_exchange(mail)


def _border_fields(mail: Mail, trust: Trust) -> Iterator[AuthenticationResults]:
    """Yield the Authentication-Results fields that the border wrote.

    Each server puts its fields on top.  So, read from the top, everything is our own side's work down to the first
    Received field that tells of a hand-over from outside, and nothing below it need be.  A field there that cannot be
    read, a Received field too, ends the reading: a sender may have had a hand in it.
    """
    if trust.profile is Profile.GOOGLE:
        yield from _google_fields(mail)
        return
    # Exchange Online does not name itself in its results, and only the topmost are the last word.
    authserv_id = "" if trust.profile is Profile.MICROSOFT365 else trust.authserv_id.lower()
    found: list[AuthenticationResults] = []
    for name, value in mail.headers:
        key = name.lower()
        if key == "authentication-results":
            results = read_authentication_results(value)
            if results is None:
                return
            if results.authserv_id == authserv_id:
                found.append(results)
        elif key == "received" and not _is_inside(_hop(value), trust):
            yield from found[:1] if trust.profile is Profile.MICROSOFT365 else found
            return


def _google_fields(mail: Mail) -> Iterator[AuthenticationResults]:
    """Yield the results that Google wrote: it puts them directly below its own Received and Received-SPF fields."""
    is_below_border = False
    for name, value in mail.headers:
        key = name.lower()
        if key == "received":
            hop = _hop(value)
            is_border = hop is not None and hop.by == _GOOGLE_BORDER
            if is_below_border or not (is_border or (hop is not None and hop.by.startswith(_GOOGLE_INSIDE))):
                return
            is_below_border = is_border
        elif is_below_border and key == "authentication-results":
            results = read_authentication_results(value)
            if results is not None and results.authserv_id == _GOOGLE_BORDER:
                yield results
            return
        elif is_below_border and key != "received-spf":
            return


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hop:
    """One Received field (RFC 5321 4.4): the host behind ``by`` and the protocol behind ``with``, in lower case."""

    by: str
    protocol: str


def _hop(received: str) -> _Hop | None:
    """Return the hop that *received* tells of, or None when it does not name exactly one receiving host.

    The sender chooses what he says in HELO, which stands in this field, with words and brackets in it if he likes.
    """
    depth = 0
    words: list[str] = []
    for word in received[:_LONGEST_FIELD].replace("(", " ( ").replace(")", " ) ").replace(";", " ; ").split():
        depth += (word == "(") - (word == ")")
        if depth == 0 and word != ")":
            words.append(word.lower())
    clauses = words[: words.index(";")] if ";" in words else words
    if depth or clauses.count("by") != 1 or clauses.count("with") > 1 or clauses[-1] == "by":
        return None
    protocol = clauses[clauses.index("with") + 1] if "with" in clauses[:-1] else ""
    return _Hop(by=clauses[clauses.index("by") + 1], protocol=protocol)


def _is_inside(hop: _Hop | None, trust: Trust) -> bool:
    """Return whether *hop* is surely a hand-over among our own servers, so that we may read on below it."""
    if hop is None:
        return False
    if trust.profile is Profile.MICROSOFT365:
        return _is_inside_exchange(hop)
    # Nobody hands mail over from outside by LMTP (RFC 2033 5).
    return hop.protocol.startswith("lmtp") or (bool(trust.border_hosts) and hop.by not in trust.border_hosts)


def _is_inside_exchange(hop: _Hop | None) -> bool:
    return hop is not None and hop.by.endswith(_EXCHANGE_INSIDE) and not hop.by.endswith(_EXCHANGE_BORDER)


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
