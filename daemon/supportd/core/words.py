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
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

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
# A number from 1900 on is a year, or a part of some other name.
_NUMBER_CLASSES = ((1, "#none"), (2, "#one"), (5, "#few"), (1900, "#many"), (1_000_000, "#other"))
_stem_word = snowballstemmer.stemmer("english").stemWord


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """Return the index key of a lower-case *word*: its stem, or the class of a number or a class's room."""
    if word.isdecimal() or word in _NUMBERS:
        number = number_of(word)
        return next(name for limit, name in _NUMBER_CLASSES if number < limit)
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


class Hit(NamedTuple):
    """One facet found in the text: word numbers *start* to *end* (exclusive), and the keyword that found it.

    A tuple, since hundreds are made for each mail.
    """

    facet: str
    start: int
    end: int
    keyword: str = ""


class Words:
    """The words of a mail in parallel lists: text, stem, sentence, contrasts and commas so far, place in the text."""

    __slots__ = ("body_at", "breaks", "commas", "questions", "sentences", "spans", "starts", "stems", "text", "words")

    def __init__(self, subject: str, text: str) -> None:
        subject = _plain(subject)
        self.text = subject + "\n\n" + _plain(text)
        self.words: list[str] = []
        self.sentences: list[int] = []
        self.spans: list[tuple[int, int]] = []
        # The first word of each sentence that has words, and the sentences that end in a question mark.
        self.starts: dict[int, int] = {}
        self.questions: set[int] = set()
        # Running counts of contrasts and commas before each word: the cost between two words is a difference.
        self.breaks: list[int] = []
        self.commas: list[int] = []
        sentence = breaks = commas = line_start = 0
        for match in _WORD.finditer(self.text):
            token = match.group()
            first = token[0]
            if first.isalnum():
                word = token.lower()
                if word in _BREAKS:
                    breaks += 1
                if sentence not in self.starts:
                    self.starts[sentence] = len(self.words)
                self.words.append(word)
                self.sentences.append(sentence)
                self.breaks.append(breaks)
                self.commas.append(commas)
                self.spans.append(match.span())
            elif first == ",":
                commas += 1
            elif first in ":()–-; ":
                breaks += first == ";"
                commas += 2
            elif first == "\n":
                # A line that was only wrapped goes on; a short one, or an empty one after it, ends the sentence.
                if token.count("\n") > 1 or match.start() - line_start < WRAPPED_LINE:
                    sentence += 1
                line_start = match.end()
            else:
                if "?" in token:
                    self.questions.add(sentence)
                sentence += 1
        self.stems = [stem(word) for word in self.words]
        # How many words the subject has.
        self.body_at = sum(1 for start, _ in self.spans[: len(subject)] if start < len(subject))


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
    """Return the keys of one choice: a class of numbers or rooms, else its words by stem, or as they are.

    A number or room that is written out ("three", "KS1") means itself, never its whole class.
    """
    if choice.startswith("#"):
        return [choice]
    exact = exact or choice.startswith("=")
    words = [match.group().lower() for match in _WORD.finditer(_plain(choice)) if match.group()[0].isalnum()]
    keys = [(word, stem(word)) for word in words]
    return ["=" + word if exact or key.startswith("#") else key for word, key in keys]


class _Entry:
    """The phrases that begin with one word, by the word that must follow: at once, or after a gap."""

    __slots__ = ("after_gap", "alone", "at_once")

    def __init__(self) -> None:
        self.alone: list[Phrase] = []
        self.at_once: dict[str, list[Phrase]] = {}
        self.after_gap: dict[str, list[Phrase]] = {}


class Index:
    """All phrases, ready to be found in one walk over a text; the cost of a word is that of a few look-ups."""

    __slots__ = ("_entries", "_exact", "_fillers", "phrases")

    def __init__(self, phrases: Iterable[Phrase], fillers: Iterable[str]) -> None:
        self.phrases = tuple(phrases)
        self._fillers = frozenset(stem(word) for word in fillers)
        self._entries: dict[str, _Entry] = {}
        for phrase in self.phrases:
            slots = phrase.slots
            for key in slots[0]:
                entry = self._entries.setdefault(key, _Entry())
                if len(slots) == 1:
                    entry.alone.append(phrase)
                    continue
                following = entry.at_once if slots[1] else entry.after_gap
                for second in slots[1] or slots[2]:
                    following.setdefault(second, []).append(phrase)
        keys = {key for phrase in self.phrases for slot in phrase.slots for key in slot}
        self._exact = frozenset(key[1:] for key in keys if key.startswith("="))

    def find(self, words: Words) -> list[Hit]:
        """Return every hit, by start."""
        hits: list[Hit] = []
        entries, exact = self._entries, self._exact
        for at, key in enumerate(words.stems):
            entry = entries.get(key)
            if entry is not None:
                self._find_at(entry, at, words, hits)
            if words.words[at] in exact:
                entry = entries.get("=" + words.words[at])
                if entry is not None:
                    self._find_at(entry, at, words, hits)
        return hits

    def _find_at(self, entry: _Entry, at: int, words: Words, hits: list[Hit]) -> None:
        """Add the hits of the phrases of *entry*, whose first word stands at *at*."""
        for phrase in entry.alone:
            hits.append(Hit(phrase.facet, at, at + 1, phrase.keyword))
        if not entry.at_once and not entry.after_gap:
            return
        stems, sentences = words.stems, words.sentences
        found: set[int] = set()
        is_near = bool(entry.at_once)
        reach = FILLER_REACH + (GAP_REACH if entry.after_gap else 0)
        for position in range(at + 1, min(at + 2 + reach, len(stems))):
            if sentences[position] != sentences[at] or not (is_near or entry.after_gap):
                return
            word = words.words[position]
            for key in (stems[position], "=" + word) if word in self._exact else (stems[position],):
                for phrase in entry.at_once.get(key, ()) if is_near else ():
                    self._finish(phrase, 2, at, position, words, hits, found)
                for phrase in entry.after_gap.get(key, ()):
                    self._finish(phrase, 3, at, position, words, hits, found)
            is_near = is_near and stems[position] in self._fillers and position - at <= FILLER_REACH

    def _finish(
        self, phrase: Phrase, slot: int, at: int, position: int, words: Words, hits: list[Hit], found: set[int]
    ) -> None:
        """Add a hit if the slots of *phrase* from *slot* on fit the words after *position*, once for each start."""
        end = position + 1 if slot == len(phrase.slots) else self._end(phrase.slots[slot:], position + 1, words)
        if end and id(phrase) not in found:
            found.add(id(phrase))
            hits.append(Hit(phrase.facet, at, end, phrase.keyword))

    def _end(self, slots: tuple[frozenset[str], ...], position: int, words: Words) -> int:
        """Return the end of the rest of a phrase, or 0; little words between may be passed over."""
        stems, sentences = words.stems, words.sentences
        sentence = sentences[position - 1]
        gap = 0
        for slot in slots:
            if not slot:
                gap = GAP_REACH
                continue
            spare = FILLER_REACH
            while True:
                if position >= len(stems) or sentences[position] != sentence:
                    return 0
                if stems[position] in slot or "=" + words.words[position] in slot:
                    break
                if gap:
                    gap -= 1
                elif spare and stems[position] in self._fillers:
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
