"""Whether a mail tells of harm to a child: words that make a ticket restricted, never more or less serious.

A disclosure can reach an IT mailbox (KCSIE governs what people do then).  What is restricted is read by named people
alone, so a word stands here only if it tells of harm; the names of products and of the subject itself ("CPOMS",
"Smoothwall", "the safeguarding laptop") do not.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

# Each phrase is a run of words; a word that ends in * matches every word that begins so.
SHIPPED = (
    "self harm*", "selfharm*", "harming herself", "harming himself", "harming themselves", "cut herself", "cut himself",
    "cutting herself", "cutting himself", "suicid*", "kill herself", "kill himself", "kill themselves",
    "end her life", "end his life", "wants to die", "want to die", "abused", "abuse at home", "child abuse",
    "sexual abuse", "sexually", "sexting", "physical abuse", "emotional abuse", "domestic abuse", "domestic violence",
    "neglected", "grooming", "groomed", "indecent image*", "indecent photo*", "naked photo*", "nude*",
    "explicit photo*",
    "asking for photos", "asked for photos", "asking her for photos", "asking him for photos", "send him photos",
    "send her photos", "inappropriate touch*", "touched her", "touched him", "touching her", "touching him",
    "hit by her", "hit by his", "hits her", "hits him", "hurts her", "hurts him", "hurt at home", "scared to go home",
    "afraid to go home", "frightened to go home", "unsafe at home", "not safe at home", "bruise*", "disclosed to me",
    "made a disclosure", "a disclosure from", "child protection concern", "safeguarding concern", "cause for concern",
    "radicalis*", "county lines", "female genital", "fgm", "forced marriage", "honour based", "trafficked",
    "runaway", "ran away from home", "missing child", "mash referral", "phoning mash", "rang mash", "called mash",
    "social services have been called", "section 47", "strangulation", "upskirting",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrases:
    """A compiled list; *by_first* finds the phrases that can begin with a word by its first three letters."""

    by_first: dict[str, tuple[tuple[str, ...], ...]] = field(repr=False)


def compile_phrases(phrases: Iterable[str]) -> Phrases:
    """Return *phrases* ready for `tells_of_harm`.

    Raises:
        ValueError: a phrase holds no word.
    """
    found: dict[str, list[tuple[str, ...]]] = {}
    for phrase in phrases:
        words = tuple(part + "*" if star else part for part, star in _pattern(phrase))
        if not words:
            raise ValueError(f"{phrase!r} holds no word")
        found.setdefault(words[0][:3], []).append(words)
    return Phrases(by_first={first: tuple(each) for first, each in found.items()})


def tells_of_harm(text: str, phrases: Phrases) -> str:
    """Return the first phrase of *phrases* that stands in *text*, as a text, or an empty text; linear in *text*."""
    words = _words(text)
    for at, word in enumerate(words):
        for phrase in phrases.by_first.get(word[:3], ()):
            if len(phrase) <= len(words) - at and all(
                _matches(words[at + place], wanted) for place, wanted in enumerate(phrase)
            ):
                return " ".join(phrase)
    return ""


def _pattern(phrase: str) -> list[tuple[str, bool]]:
    return [(word.rstrip("*"), word.endswith("*")) for word in _words(phrase, keep="*")]


def _words(text: str, keep: str = "") -> list[str]:
    """Return the words of *text* in lower case; a hyphen parts words."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return "".join(char if char.isalnum() or char == "'" or char in keep else " " for char in folded).split()


def _matches(word: str, wanted: str) -> bool:
    return word.startswith(wanted[:-1]) if wanted.endswith("*") else word == wanted
