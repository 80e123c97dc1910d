"""Rehearses keywords on past mail: what would move, what looks wrong in a list, and how facets should be weighed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from supportd.core.model import LEVELS, Rating
from supportd.core.severity import READ_CHARACTERS, READ_SUBJECT_CHARACTERS, Keywords, decide, rate, read, row_facet
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


# Pulls every weight towards nothing: the inverse variance of a weight before any mail is seen.  Values from 0.3 to 3
# differ by less than one mail in a hundred in cross-validation.
RIDGE = 3.0
# Steps of the descent; the loss no longer moves in its fourth place after about two hundred.
STEPS = 250
# Nine tenths of the mails are nearly all of them, and ten fits take seconds.
FOLDS = 10


def facets_of(mail: Past, keywords: Keywords) -> tuple[str, ...]:
    """Return what is weighed of one mail: its facets, and the row of the table that fits."""
    reading = read(mail.subject, mail.new_text, mail.sender_address, keywords, automatic=mail.automatic)
    return (*reading.facets, row_facet(decide(reading.facets, keywords).row))


def fitted(mails: Sequence[Past], keywords: Keywords) -> dict[str, tuple[float, ...]]:
    """Return the weights of every facet and row of *keywords*, fitted on the levels that count of *mails*."""
    return fit(_examples(mails, keywords), rows=_rows_of(keywords))


def cross_validated(mails: Sequence[Past], keywords: Keywords, folds: int = FOLDS) -> Iterator[tuple[Past, int]]:
    """Yield each mail with the level that weights fitted on the other folds give it: an honest figure of a fit."""
    examples = _examples(mails, keywords)
    for fold in range(folds):
        weights = fit(
            [example for index, example in enumerate(examples) if index % folds != fold], rows=_rows_of(keywords)
        )
        weighed = replace(keywords, weights=weights)
        for index in range(fold, len(mails), folds):
            yield mails[index], decide(examples[index][0], weighed).level


def _examples(mails: Iterable[Past], keywords: Keywords) -> list[tuple[tuple[str, ...], int]]:
    return [(facets_of(mail, keywords), mail.truth) for mail in mails]


def _rows_of(keywords: Keywords) -> list[str]:
    return [row_facet(row) for row in (*keywords.rows, None) if row is None or not row.sure]


def fit(
    examples: Sequence[tuple[Collection[str], int]], *, rows: Collection[str] = (), steps: int = STEPS
) -> dict[str, tuple[float, ...]]:
    """Return the weights that make the levels of *examples* (facets, level) most likely: facet -> points of 1 to 6.

    This is multinomial logistic regression with a ridge penalty, found by accelerated descent; the same examples give
    the same weights.  *rows* are named although no example may have them, so that they too are weighed.
    """
    names = sorted({facet for facets, _ in examples for facet in facets}.union(rows))
    place = {name: index for index, name in enumerate(names)}
    rows_of = [([place[facet] for facet in facets], level - 1) for facets, level in examples]
    weights = [[0.0] * len(LEVELS) for _ in names]
    ahead = [[0.0] * len(LEVELS) for _ in names]
    # The loss is never steeper than this (a quarter of the summed squared lengths of the examples, and the ridge), so
    # no step goes too far.
    rate_of_step = 1.0 / (RIDGE + 0.25 * sum(len(facets) for facets, _ in rows_of))
    momentum = 1.0
    for _ in range(steps):
        slopes = [[RIDGE * value for value in line] for line in ahead]
        for facets, level in rows_of:
            points = [sum(ahead[facet][index] for facet in facets) for index in range(len(LEVELS))]
            highest = max(points)
            powers = [math.exp(point - highest) for point in points]
            total = sum(powers)
            errors = [power / total for power in powers]
            errors[level] -= 1.0
            for facet in facets:
                line = slopes[facet]
                for index, error in enumerate(errors):
                    line[index] += error
        following = (1.0 + math.sqrt(1.0 + 4.0 * momentum * momentum)) / 2.0
        push = (momentum - 1.0) / following
        for name in range(len(names)):
            for index in range(len(LEVELS)):
                moved = ahead[name][index] - rate_of_step * slopes[name][index]
                ahead[name][index] = moved + push * (moved - weights[name][index])
                weights[name][index] = moved
        momentum = following
    return {name: tuple(round(value, 2) for value in weights[index]) for index, name in enumerate(names)}
