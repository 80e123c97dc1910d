"""Rehearses keywords on past mail: what would move, what looks wrong in a list, and how facets should be weighed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from supportd.core.model import LEVELS, Rating
from supportd.core.severity import (
    READ_CHARACTERS,
    READ_SUBJECT_CHARACTERS,
    Keywords,
    decide,
    length_of,
    rate,
    read,
    row_facet,
)
from supportd.core.words import Phrase, Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """One rated mail of the past: *was* is the level it got, *corrected* what a technician made of it, if he did."""

    reference: str
    subject: str
    new_text: str
    sender_address: str
    was: int
    corrected: int | None = None
    automatic: bool = False

    @property
    def truth(self) -> int:
        """Return the level that counts: the correction, else what stood uncorrected."""
        return self.was if self.corrected is None else self.corrected


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One mail that the keywords now rate otherwise than then."""

    past: Past
    rating: Rating

    @property
    def mends(self) -> bool:
        """Return whether the new level is what a technician said."""
        return self.past.corrected == self.rating.level


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What keywords make of past mail: *confusion* counts mails by (level that counts, level now)."""

    moves: tuple[Move, ...]
    confusion: Mapping[tuple[int, int], int]

    @property
    def accuracy(self) -> float:
        """Return the share of mails whose level now is the level that counts, 0 to 1."""
        total = sum(self.confusion.values())
        return sum(count for (truth, now), count in self.confusion.items() if truth == now) / total if total else 0.0

    @property
    def macro_f1(self) -> float:
        """Return the mean F1 of the levels that occur, 0 to 1: each level counts alike, however rare."""
        scores = []
        for level in LEVELS:
            right = self.confusion.get((level, level), 0)
            either = sum(n * ((truth == level) + (now == level)) for (truth, now), n in self.confusion.items())
            if either:
                scores.append(2 * right / either)
        return sum(scores) / len(scores) if scores else 0.0


def rehearse(past: Iterable[Past], keywords: Keywords) -> Rehearsal:
    """Return what *keywords* would make of *past* mail; lazily fed, so that a caller can show how far it is."""
    moves: list[Move] = []
    confusion: dict[tuple[int, int], int] = {}
    for mail in past:
        rating = rate(mail.subject, mail.new_text, mail.sender_address, keywords, automatic=mail.automatic)
        confusion[mail.truth, rating.level] = confusion.get((mail.truth, rating.level), 0) + 1
        if rating.level != mail.was:
            moves.append(Move(past=mail, rating=rating))
    return Rehearsal(moves=tuple(moves), confusion=confusion)


def rehearsal_of(judged: Iterable[tuple[int, int]]) -> Rehearsal:
    """Return the figures of pairs (the level that counts, the level given)."""
    return Rehearsal(moves=(), confusion=Counter(judged))


def confusion_lines(rehearsal: Rehearsal) -> tuple[str, ...]:
    """Return the confusion table as lines: a row each level that counts, a column each level given, and the figures."""
    lines = ["counts as | given " + "".join(f"{level:>6}" for level in LEVELS)]
    for truth in LEVELS:
        given = "".join(f"{rehearsal.confusion.get((truth, now), 0):>6}" for now in LEVELS)
        lines.append(f"{truth:>9} |       {given}")
    total = sum(rehearsal.confusion.values())
    lines.append(f"{total} mails, accuracy {rehearsal.accuracy:.3f}, macro-F1 {rehearsal.macro_f1:.3f}")
    return tuple(lines)


def most_corrected(past: Iterable[Past], keywords: Keywords, most: int = 10) -> tuple[tuple[str, int], ...]:
    """Return the words whose ratings technicians corrected most: (facet and words as written, how often).

    Only words that were evidence for a level that was corrected count.
    """
    blamed: Counter[str] = Counter()
    for mail in past:
        if mail.corrected is None or mail.corrected == mail.was:
            continue
        rating = rate(mail.subject, mail.new_text, mail.sender_address, keywords, automatic=mail.automatic)
        if rating.level == mail.was:
            blamed.update({f'{hit.facet} "{hit.words.casefold()}"' for hit in rating.evidence if hit.field != "from"})
    return tuple(blamed.most_common(most))


def lint(keywords: Keywords, past: Iterable[Past] = ()) -> tuple[str, ...]:
    """Return what looks wrong in a list, a line each: contradicting and doubled keywords, rows that can never decide.

    With *past* mail also the keywords that none of it contains.
    """
    problems: list[str] = []
    known: dict[tuple[frozenset[str], ...], Phrase] = {}
    for phrase in keywords.index.phrases:
        first = known.setdefault(phrase.slots, phrase)
        if first is phrase or phrase.facet.partition(":")[0] != first.facet.partition(":")[0]:
            continue
        if first.facet == phrase.facet:
            if first.keyword != phrase.keyword:
                problems.append(f"{phrase.facet}: {phrase.keyword!r} says the same as {first.keyword!r}")
        else:
            problems.append(f"{phrase.facet}: {phrase.keyword!r} contradicts {first.facet}: {first.keyword!r}")
    for number, row in enumerate(keywords.rows):
        for earlier in keywords.rows[:number]:
            if set(earlier.unless) <= set(row.unless) and all(
                any(set(need) <= set(wider) for need in row.needs) for wider in earlier.needs
            ):
                problems.append(f"row {row.name!r} never decides: {earlier.name!r} stands before it and asks for less")
                break
    used: set[tuple[str, str]] = set()
    mails = 0
    for mail in past:
        mails += 1
        found = keywords.index.find(Words(mail.subject[:READ_SUBJECT_CHARACTERS], mail.new_text[:READ_CHARACTERS]))
        used.update((hit.facet, hit.keyword) for hit in found)
    if mails:
        listed = dict.fromkeys((phrase.facet, phrase.keyword) for phrase in keywords.index.phrases)
        problems.extend(
            f"{facet}: {keyword!r} is in none of {mails} mails"
            for facet, keyword in listed
            if (facet, keyword) not in used
        )
    return tuple(problems)


# Pulls every weight towards nothing: the inverse variance of a weight before any mail is seen.  Values from 1 to 10
# differ by less than one mail in a hundred when judged on a writer that they were not fitted on.
RIDGE = 2.0
# Steps of the descent; the levels no longer move after about sixty.
STEPS = 80
# A term of a single mail says more about its writer than about severity.
LEAST_MAILS = 2
# How long the vector of a mail's words is, where a facet counts 1.  At 4 the words add little; from 8 to 12 the
# figures on other writers differ by less than two mails in a hundred.
WORDS_LENGTH = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What a fit gives: *facets* (and rows) with their points, and *words* with their rarity and points."""

    facets: Mapping[str, tuple[float, ...]]
    words: Mapping[str, tuple[float, ...]]

    def weigh(self, keywords: Keywords) -> Keywords:
        """Return *keywords* with these weights."""
        return replace(keywords, weights=self.facets, words=self.words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What is weighed of one mail: its facets and row, its terms, and the level that counts."""

    facets: tuple[str, ...]
    terms: tuple[str, ...]
    level: int


def example_of(mail: Past, keywords: Keywords) -> Example:
    """Return what is weighed of *mail*."""
    reading = read(mail.subject, mail.new_text, mail.sender_address, keywords, automatic=mail.automatic)
    row = row_facet(decide(reading.facets, keywords).row)
    return Example(facets=(*reading.facets, row), terms=tuple(reading.terms), level=mail.truth)


def fitted(mails: Sequence[Past], keywords: Keywords) -> Weights:
    """Return the weights of the facets, rows and words, fitted on the levels that count of *mails*.

    A term's rarity is its smoothed inverse document frequency, ln((1 + mails) / (1 + mails with it)) + 1.
    """
    examples = [example_of(mail, keywords) for mail in mails]
    found = Counter(term for example in examples for term in example.terms)
    rarity = {
        term: round(math.log((1 + len(examples)) / (1 + count)) + 1, 2)
        for term, count in sorted(found.items())
        if count >= LEAST_MAILS
    }
    counted = []
    for example in examples:
        values = {f"facet {facet}": 1.0 for facet in example.facets}
        rarities = {term: rarity[term] for term in example.terms if term in rarity}
        length = length_of(rarities.values())
        values.update((f"word {term}", WORDS_LENGTH * value / length) for term, value in rarities.items())
        counted.append((values, example.level))
    rows = [f"facet {row_facet(row)}" for row in (*keywords.rows, None) if row is None or not row.sure]
    points = fit(counted, names=rows)
    return Weights(
        facets={
            name.removeprefix("facet "): tuple(round(value, 2) for value in line)
            for name, line in points.items()
            if name.startswith("facet ")
        },
        words={
            term: (rare, *(round(WORDS_LENGTH * rare * value, 2) for value in points[f"word {term}"]))
            for term, rare in rarity.items()
        },
    )


def across(corpora: Mapping[str, Sequence[Past]], keywords: Keywords) -> Iterator[tuple[str, Past, int]]:
    """Yield each mail with its corpus and the level that weights fitted on all other corpora give it.

    Each corpus stands for another writer: this is the honest figure of a fit, where folds of one corpus would flatter.
    """
    for name, judged in corpora.items():
        others = [mail for other, mails in corpora.items() if other != name for mail in mails]
        weighed = fitted(others, keywords).weigh(keywords)
        for mail in judged:
            rating = rate(mail.subject, mail.new_text, mail.sender_address, weighed, automatic=mail.automatic)
            yield name, mail, rating.level


def fit(
    examples: Sequence[tuple[Mapping[str, float], int]], *, names: Collection[str] = (), steps: int = STEPS
) -> dict[str, list[float]]:
    """Return the weights that make the levels of *examples* (values by name, level) most likely: name -> six weights.

    This is multinomial logistic regression with a ridge penalty, found by accelerated descent (Nesterov 1983); the
    same examples give the same weights.  *names* are there although no example may have them.
    """
    known = sorted({name for values, _ in examples for name in values}.union(names))
    place = {name: index for index, name in enumerate(known)}
    lines = [([(place[name], value) for name, value in values.items()], level - 1) for values, level in examples]
    # No slope of a weight changes faster than this (a row of the Hessian, which is at most half of the values'
    # products), so no step goes too far, and rare words learn as quickly as common ones.
    steepness = [RIDGE] * len(known)
    for values, _ in lines:
        length = sum(value for _, value in values)
        for index, value in values:
            steepness[index] += 0.5 * value * length
    weights = [[0.0] * len(LEVELS) for _ in known]
    ahead = [[0.0] * len(LEVELS) for _ in known]
    momentum = 1.0
    for _ in range(steps):
        slopes = [[RIDGE * weight for weight in line] for line in ahead]
        for values, level in lines:
            _add_slope(values, level, ahead, slopes)
        following = (1.0 + math.sqrt(1.0 + 4.0 * momentum * momentum)) / 2.0
        push = (momentum - 1.0) / following
        for index, steep in enumerate(steepness):
            moved = [weight - slope / steep for weight, slope in zip(ahead[index], slopes[index], strict=True)]
            ahead[index] = [new + push * (new - old) for new, old in zip(moved, weights[index], strict=True)]
            weights[index] = moved
        momentum = following
    return dict(zip(known, weights, strict=True))


def _add_slope(
    values: Sequence[tuple[int, float]], level: int, weights: Sequence[list[float]], slopes: Sequence[list[float]]
) -> None:
    """Add to *slopes* what one example says: for each level, how much too likely it is.

    The six levels stand side by side instead of in a loop: this is nearly all the time that a fit takes.
    """
    a = b = c = d = e = f = 0.0
    for index, value in values:
        line = weights[index]
        a += value * line[0]
        b += value * line[1]
        c += value * line[2]
        d += value * line[3]
        e += value * line[4]
        f += value * line[5]
    highest = max(a, b, c, d, e, f)
    powers = [math.exp(point - highest) for point in (a, b, c, d, e, f)]
    total = sum(powers)
    errors = [power / total for power in powers]
    errors[level] -= 1.0
    a, b, c, d, e, f = errors
    for index, value in values:
        line = slopes[index]
        line[0] += value * a
        line[1] += value * b
        line[2] += value * c
        line[3] += value * d
        line[4] += value * e
        line[5] += value * f
