"""Reads a text as words with stems, sentences and clauses, and finds a technician's keywords among them.

A keyword is words with spaces between:

* ``whole/entire school`` a choice, ``the? server`` a word that may be absent, ``nobody .. log`` up to four words of any
  kind between; little words such as "the" and "our" may always stand between;
* ``<device>`` any word of that group; ``<one> <few> <many> <number>`` (1, 2 to 4, 5 and more, any) and ``<room>`` (a
  class or year: 3B, Y4, KS1) are always there;
* words are compared by their Snowball stem; ``=tripped`` is exact, and so is all that stands in double quotes.

Nothing of this becomes a regular expression: a phrase is a short row of sets, and is tried where its first word stands.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

import snowballstemmer

# "The whole of our school": so many little words may stand between two words of a keyword.
FILLER_REACH = 2
# ".." in a keyword; more would join what does not belong together.
GAP_REACH = 4
# A line shorter than this was ended by its writer, a longer one was wrapped by a program at 72 to 78 columns.
WRAPPED_LINE = 50

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[.!?…]+(?=\s|$)|\n[\n \t]*|[,;:()–]| - ")
_ROOM = re.compile(r"(?:y|yr)?[1-6][a-z]?$|(?:y|yr)r?$|ks[12]$|eyfs$|(?:y|yr)[1-6][a-z]+$")
_MARKS = str.maketrans(
    dict.fromkeys("\u00ad\u200b\u200c\u200d\ufeff\u2060", "")
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015", "-")
    | dict.fromkeys("\u2018\u2019\u02bc\u0060\u00b4", "'")
)
_COUNTED = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)
_NUMBERS = {word: value for value, word in enumerate(_COUNTED)} | {
    "both": 2, "couple": 2, "dozen": 12, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "hundred": 100,
}
# "But" and its like: what stands beyond speaks of something else.
_BREAKS = frozenset((
    "but", "although", "though", "while", "whilst", "whereas", "however", "except", "yet", "because", "unless",
    "apart", "otherwise",
))
# Groups that are always there: numbers by their size, and a class or year ("3B", "Y4", "KS1").
_CLASSES = frozenset(("one", "few", "many", "number", "room"))
_stem_word = snowballstemmer.stemmer("english").stemWord


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """Return the index key of a lower-case *word*: its stem, or the class of a number or a class's room."""
    if word.isdecimal() or word in _NUMBERS:
        number = number_of(word)
        return "#none" if number == 0 else "#one" if number == 1 else "#few" if number < 5 else "#many" if number < 1900 else "#year"
    if _ROOM.match(word):
        return "#room"
    plain = word[:-2] if word.endswith("'s") else word
    return str(_stem_word(plain))


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """One compiled keyword: *slots* hold the keys that fit, an empty one is a gap; *keyword* is the line."""

    keyword: str
    facet: str
    slots: tuple[frozenset[str], ...]


class Words:
    """The words of a mail in parallel lists: text, stem, exact key, sentence, place in the text."""

    __slots__ = (
        "body_at", "breaks", "commas", "exact", "questions", "sentences", "spans", "starts", "stems", "text", "words",
    )

    def __init__(self, subject: str, text: str) -> None:
        self.text = _plain(subject) + "\n\n" + _plain(text)
        self.words: list[str] = []
        self.stems: list[str] = []
        self.exact: list[str] = []
        self.sentences: list[int] = []
        self.spans: list[tuple[int, int]] = []
        # The first word of each sentence that has words, and the sentences that end in a question mark.
        self.starts: dict[int, int] = {}
        self.questions: set[int] = set()
        # Running counts of contrasts and commas before each word: the cost between two words is a difference.
        self.breaks: list[int] = []
        self.commas: list[int] = []
        self.body_at = 0
        sentence = breaks = commas = line_start = 0
        body_start = len(_plain(subject)) + 2
        for match in _WORD.finditer(self.text):
            token = match.group()
            first = token[0]
            start = match.start()
            if first.isalnum():
                word = token.lower()
                if word in _BREAKS:
                    breaks += 1
                if start < body_start:
                    self.body_at = len(self.words) + 1
                self.starts.setdefault(sentence, len(self.words))
                self.words.append(word)
                self.stems.append(stem(word))
                self.exact.append("=" + word)
                self.sentences.append(sentence)
                self.breaks.append(breaks)
                self.commas.append(commas)
                self.spans.append((start, match.end()))
            elif first == ",":
                commas += 1
            elif first in ":()–-; ":
                breaks += first == ";"
                commas += 2
            elif first == "\n":
                # A line that was only wrapped goes on; a short one, or an empty one after it, ends the sentence.
                if token.count("\n") > 1 or start - line_start < WRAPPED_LINE:
                    sentence += 1
                line_start = match.end()
            else:
                if "?" in token:
                    self.questions.add(sentence)
                sentence += 1


def _plain(text: str) -> str:
    """Return *text* with one kind of hyphen and apostrophe and no zero-width characters (NFKC leaves both)."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", text).translate(_MARKS)


def slots_of(keyword: str, groups: Mapping[str, Collection[str]]) -> list[tuple[frozenset[str], ...]]:
    """Return every slot sequence that *keyword* stands for: one, or two for each word that may be absent."""
    exact = len(keyword) > 2 and keyword[0] == keyword[-1] == '"'
    variants: list[tuple[frozenset[str], ...]] = [()]
    for part in keyword.strip('"').split():
        if part == "..":
            variants = [(*variant, frozenset()) for variant in variants]
            continue
        optional = part.endswith("?")
        choices = [
            _keys(word, exact=exact)
            for choice in part.rstrip("?").split("/")
            for word in (_group(choice, groups) if choice.startswith("<") else (choice,))
        ]
        if not choices or not all(choices):
            raise ValueError("has a place without a word")
        if any(len(choice) > 1 for choice in choices):
            if len(choices) > 1:
                raise ValueError("has a hyphen inside a choice; write it as two keywords")
            added = tuple(frozenset((key,)) for key in choices[0])
        else:
            keys = {key for choice in choices for key in choice}
            if "#number" in keys:
                keys |= {"#one", "#few", "#many"}
            added = (frozenset(keys),)
        variants = [(*variant, *added) for variant in variants] + (variants if optional else [])
    if any(not variant or not variant[0] or not variant[-1] for variant in variants):
        raise ValueError("must begin and end with a word")
    return variants


def _group(choice: str, groups: Mapping[str, Collection[str]]) -> Collection[str]:
    name = choice.strip("<>")
    if name in _CLASSES:
        return ("#" + name,)
    if name not in groups:
        raise ValueError(f"names the group <{name}>, which does not exist")
    return groups[name]


def _keys(choice: str, *, exact: bool) -> list[str]:
    if choice.startswith("#"):
        return [choice]
    exact = exact or choice.startswith("=")
    words = [match.group().lower() for match in _WORD.finditer(_plain(choice)) if match.group()[0].isalnum()]
    return ["=" + word for word in words] if exact else [stem(word) for word in words]


def phrase_end(slots: tuple[frozenset[str], ...], at: int, words: Words, fillers: frozenset[str]) -> int:
    """Return the end of a phrase whose first word stands at *at*, or 0; little words between may be passed over."""
    stems, exact, sentences = words.stems, words.exact, words.sentences
    position = at + 1
    gap = 0
    for slot in slots[1:]:
        if not slot:
            gap = GAP_REACH
            continue
        spare = FILLER_REACH
        while True:
            if position >= len(stems) or sentences[position] != sentences[at]:
                return 0
            if stems[position] in slot or exact[position] in slot:
                break
            if gap:
                gap -= 1
            elif spare and stems[position] in fillers:
                spare -= 1
            else:
                return 0
            position += 1
        position += 1
        gap = 0
    return position


def number_of(word: str) -> int:
    """Return the value of a *word* whose stem says that it is a number."""
    return _NUMBERS[word] if word in _NUMBERS else int(word[:6])
