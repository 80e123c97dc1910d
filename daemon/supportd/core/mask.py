"""Secrets that people mail in, hidden before anything is stored, shown or relayed: the raw mail alone still has them.

The rules, in code order:

1. a word for a secret ("password", "PIN", "recovery code" ...), what leads over to it ("is", "to", ":", "="), then the
   value, unless the value is a word that people say about passwords ("expired", "not working");
2. recovery codes in a row, and ``otpauth:`` links;
3. payment cards, by length and check digit (ISO/IEC 7812);
4. national insurance numbers (HMRC NIM39110).

Linear in the text: every pattern has bounded quantifiers and is anchored at a word.
"""

from __future__ import annotations

import re

HIDDEN = "[hidden]"

_NAMES = (
    r"pass[ -]?words?|pass[ -]?phrases?|pass[ -]?codes?|pass ?wd|passwd|pwd|p/?w|pass|pin(?: ?(?:number|code|no))?|"
    r"(?:recovery|backup|access|security|verification|login|log-in|entry|door|alarm|activation|unlock|mfa|2fa|otp|"
    r"one[ -]time) ?(?:code|key|pin|password)s?|otp|"
    r"(?:wi-?fi|network|encryption|product|licence|license|api|secret) ?key|"
    r"secret|hasło|slaptažodis|senha|parola|contraseña|mot de passe|passwort|kennwort"
)
_SECRET = re.compile(rf"(?<![\w.@-])(?:{_NAMES})(?![\w-])", re.IGNORECASE)
# What may stand between the word and the value: "for the iPad", "(all lower case)", then a colon or a verb.
_LEAD = re.compile(
    r"(?P<aside>(?:[ \t]+(?:for|of|on|to)(?:[ \t]+[\w'’-]{1,20}){1,4}?)?(?:[ \t]*\([^()\n]{0,60}\))?)"
    r"(?P<lead>[ \t]*(?:[:=»>→]|[-–—]{1,2}>?)[ \t]*\n?[ \t]*|"
    r"['’]s[ \t]+|"
    r"[ \t]+(?:is|was|are|will be|should be|has been|now|changed|set|reset|back|currently|still|just|it's|its|to|as|be|"
    r"being|i use|we use|i used|used|jest|yra|es|est|ist|este|é)"
    r"(?:[ \t]+(?:is|now|set|to|changed|back|be|still|just|currently|reset|as|simply|all|the same:?|this:?)){0,3}"
    r"[ \t]*[:=]?[ \t]+|[ \t]+(?=[\"'“‘`*\[<]))",
    re.IGNORECASE,
)
_VALUE = re.compile(r"[\"“‘'`*<\[]?(?P<value>[^\s\"”“’`<>]{3,64})")
_QUOTED = re.compile(r"[\"“‘'`](?P<value>[^\"”’'`\n]{3,64})[\"”’'`]")

# What people say about a password and is none.
_TALK = frozenset(
    """
    a about accepted active again all almost already also always an and another any anymore anyone anything
    apparently are as asked asking at available awaiting back bad be because been before being below blank
    blocked broken but by called can cannot cant case changed changing checked coming completely complicated
    confidential correct date days definitely different disabled displayed does doesn done down due each easy
    either email empty enabled entered essential every everyone everything exactly expire expired expires
    expiring failed fails far fine for forgotten from fully get gets getting given going gone good had has
    have having he he's her here hers his however i i'm if ignored impossible in in-valid incorrect inside
    invalid is it it's its just kept known last later left like linked locked long longer lost mailed
    mandatory me mentioned mine missing more most my need needed needs never new no none nope not nothing now
    obviously of off ok okay old on one only or ours out over pending perfectly please policy problem prompt
    protected question quite ready recently refused rejected remembered request requests required required's
    reset resets resetting right safe same screen secure sent set shared she short should shown similar simple
    so someone something somewhere still stopped stored stuck suddenly supposed taken temporary than that the
    their them then there there's they this those tight to today tomorrow too two unavailable unchanged
    undefined under unhappy unknown until unusable up updated urgent used useless using usually very via
    visible wasn we weak well were what whatever when whenever where which who why will with won working
    working's works would written wrong yes yesterday yet you your yours
    """.split()  # noqa: SIM905 - a wall of quotes would be no easier to read
)
_CARD = re.compile(r"(?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d-])")
_NATIONAL_INSURANCE = re.compile(
    r"(?<![A-Za-z0-9])(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]"
    r" ?\d{2} ?\d{2} ?\d{2} ?[A-D](?![A-Za-z0-9])",
    re.IGNORECASE,
)
_OTPAUTH = re.compile(r"otpauth(?:-migration)?://[^\s\"'<>]{1,2000}", re.IGNORECASE)
_CODE_LINE = re.compile(r"[ \t]*(?:\d{1,2}[.)][ \t]*)?[A-Za-z0-9]{4,8}(?:[- ][A-Za-z0-9]{4,8}){0,4}[ \t]*")


def mask(text: str) -> str:
    """Return *text* with the values of secrets replaced by ``[hidden]``; everything else stays as it is."""
    text = _OTPAUTH.sub(HIDDEN, text)
    text = _CARD.sub(lambda found: HIDDEN if _is_card(found.group()) else found.group(), text)
    text = _NATIONAL_INSURANCE.sub(HIDDEN, text)
    pieces: list[str] = []
    at = 0
    for name in _SECRET.finditer(text):
        if name.start() < at:
            continue
        span = _value_after(text, name)
        if span is not None:
            pieces += [text[at : span[0]], HIDDEN]
            at = span[1]
    pieces.append(text[at:])
    return "".join(pieces)


def _value_after(text: str, name: re.Match[str]) -> tuple[int, int] | None:
    """Return where the value of the secret called *name* begins and ends, or None when none follows."""
    lead = _LEAD.match(text, name.end())
    if lead is not None and text.startswith(HIDDEN, lead.end()):
        return None
    if lead is None:
        return _value_beside(text, name.end())
    is_marked = any(sign in lead.group("lead") for sign in ":=»>→")
    quoted = _QUOTED.match(text, lead.end())
    if quoted is not None:
        return quoted.span("value")
    if is_marked and name.group().lower().endswith(("codes", "code", "keys")):
        end = _codes_end(text, lead.end())
        if end is not None:
            return lead.end(), end
    found = _VALUE.match(text, lead.end())
    if found is None:
        return None
    value = found.group("value").rstrip(".,;)]*")
    start = found.start("value")
    if not _is_secret(value, is_marked=is_marked, follows=text[start + len(value) : start + len(value) + 2]):
        return None
    return start, start + len(value)


def _value_beside(text: str, at: int) -> tuple[int, int] | None:
    """Return where a value stands right behind the word ("password hunter2"): only letters and digits mixed count."""
    found = _VALUE.match(text, at + 1) if text[at : at + 1] == " " else None
    if found is None:
        return None
    value = found.group("value").rstrip(".,;:)]*!?")
    has_both = any(char.isdigit() for char in value) and any(char.isalpha() for char in value)
    return (found.start("value"), found.start("value") + len(value)) if has_both and len(value) >= 5 else None


def _is_secret(value: str, *, is_marked: bool, follows: str) -> bool:
    """Return whether *value* is a secret and not what people say about one."""
    bare = value.strip("'’!?").lower().replace("’", "'")
    if len(bare) < 3 or bare in _TALK or bare.split("'")[0] in _TALK or value == HIDDEN:
        return False
    if bare.startswith(("http:", "https:")) or ("@" in bare and "." in bare.rpartition("@")[2]):
        return False
    if any(char.isdigit() or (not char.isalnum() and char not in "'’-") for char in value.strip("'’!?")):
        return True
    if any(char.isupper() for char in value[1:]) and any(char.islower() for char in value):
        return True
    if is_marked:
        return True
    # A plain word is a secret only where the sentence ends with it: "the password is banana."
    return value.rstrip("!?").isalpha() and (not follows.strip() or follows[0] in ".,\n;)")


def _codes_end(text: str, start: int) -> int | None:
    """Return where a list of recovery codes ends that begins at *start*, or None when no code stands there."""
    at = start
    end = None
    # Providers print eight to sixteen codes, one or two on a line.
    for _ in range(20):
        line_end = text.find("\n", at)
        stop = len(text) if line_end < 0 else line_end
        if not _CODE_LINE.fullmatch(text, at, stop) or not any(char.isdigit() for char in text[at:stop]):
            break
        end = stop
        if line_end < 0:
            break
        at = line_end + 1
    return end


def _is_card(text: str) -> bool:
    """Return whether the digits of *text* are a payment card's: 13 to 19 of them, the last the Luhn check digit."""
    digits = [int(char) for char in text if char.isdigit()]
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1 or digits[0] not in (2, 3, 4, 5, 6):
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = digit * 2 if place % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0
