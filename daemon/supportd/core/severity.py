"""Decides how serious a mail is: words are evidence for facets, and a table of facets gives the level.

The steps, in code order:

1. A keyword is a line such as ``whole/entire school``; :func:`compile_keywords` turns all of them into one index.
2. The subject and the new text become words, each with its stem, its sentence and its clause.
3. One walk over the words finds every keyword.
4. Negation, questions of the kind "what if", planned work and "sorted now" take hits back or turn them round.
5. What is said of a service is tied to it: ``lost:internet``, ``works:internet``, ``slow:network``.
6. The first row of the table whose facets are all there fits; where none does, the level is the default.
7. Unless that row is sure, the points of its facets and of the single words and word pairs have the last word.

Every loop is bounded by the length of the text; nothing that a technician writes becomes a regular expression.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from supportd.core.model import DEFAULT_LEVEL, LEVELS, Evidence, Rating
from supportd.core.words import Hit, Index, Phrase, Words, number_of, slots_of

DEFAULT_ROW = "default"
# What the rating names as its row where the weights outweigh the table.
WEIGHED_ROW = "weighed"
# Missing an emergency costs more than a false alarm: this likelihood of levels 1 and 2 together is enough for them.
EMERGENCY_SHARE = 0.4
# That of a mail of about forty words: in a single line each word would else weigh like a whole mail.
LEAST_LENGTH = 30.0
# The words of one mail that an explanation shows for its level, and against it.
EVIDENCE_WORDS = 5
# What takes more changes than these is another mail.
MOST_CHANGES = 4
# More facets than these are no explanation.
EVIDENCE_FACETS = 6
# A call for help fits in this many times over; what is longer is a log that somebody pasted in.
READ_CHARACTERS = 20_000
# The longest line that RFC 5322 2.1.1 allows.
READ_SUBJECT_CHARACTERS = 998
# "The internet in the small building by the gate is down": a state further off than this speaks of something else.
STATE_REACH = 11
# A contrast ("but", "while") and a comma make the distance longer, in words.
BREAK_COST, COMMA_COST = 7, 1
NEGATION_REACH = 3
# "Not quite the whole school" denies the scope, "won't load for most of us" and "not working for all" do not.
SCOPE_NEGATION_REACH = 2
# "I don't think the server is really down": a verb of thinking carries its negation to the end of the clause.
OPINION_REACH = 9
# So many places in one sentence are the sender's way to say "everywhere": "Y2, Y5 and the office".
PLACES_FOR_SCHOOL = 3
# Nothing but the backbone takes so many services with it.
SEVERAL = 3
# A label and a value on a line: the writing of a machine.
MACHINE_LINES = 3

_MACHINE_LINE = re.compile(r"^[ \t]*[A-Za-z][A-Za-z0-9 /_-]{1,30}[:=][ \t]*\S", re.MULTILINE)
# "I don't think".
_OPINIONS = frozenset(("think", "believ", "suppos", "expect", "imagin"))
_DENIALS = frozenset(("not", "isn't", "isnt", "wasn't", "wasnt", "aren't", "arent", "never", "nor"))
_NEGATORS = frozenset((
    "not", "no", "never", "none", "nobody", "nothing", "neither", "nor", "without", "cannot", "hardly", "barely",
    "dont", "doesnt", "didnt", "isnt", "arent", "wasnt", "werent", "cant", "couldnt", "wont", "wouldnt", "havent",
    "hasnt", "hadnt", "aint", "zero", "0",
))
_QUESTION_WORDS = frozenset((
    "how", "what", "what's", "which", "who", "when", "where", "why", "is", "are", "do", "does", "did", "has", "have",
    "will", "should", "am",
))
# Only a person writes these, whatever his address is.
_PERSONAL = frozenset(("i", "my", "me", "thanks", "thank", "hi", "i'm", "i've", "i'd", "i'll", "we've", "we're", "us"))
_NUMBER_KEYS = frozenset(("#one", "#few", "#many"))
_SEVERAL_KEYS = frozenset(("#few", "#many"))
# Places of a school besides its classes.
_PLACES = frozenset((
    "office", "hall", "nursery", "reception", "library", "staffroom", "kitchen", "suite", "infants", "juniors",
    "gym", "studio", "church", "corridor",
))
NO_POINTS = (0.0,) * len(LEVELS)
_OPPOSITES = {"state:down": "state:ok", "state:off": "state:ok", "state:slow": "state:ok", "state:ok": "state:down"}
# The dimensions that say something by themselves; the others (who speaks, greetings, times) only lean.
_TELLING = frozenset(("lost", "works", "slow", "scope", "state", "kind", "harm", "data", "alarm", "fault"))
_TIES = {"state:down": "lost", "state:off": "lost", "state:ok": "works", "state:slow": "slow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the table: all of *needs* (each a choice of facets) and none of *unless* give *level*.

    A *sure* row decides by itself; another one may be outweighed.
    """

    name: str
    level: int
    needs: tuple[tuple[str, ...], ...]
    unless: tuple[str, ...] = ()
    sure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Keywords:
    """The compiled keyword list and table; immutable, and fit for any number of mails."""

    names: Mapping[int, str]
    rows: tuple[Row, ...]
    machines: frozenset[str]
    team: frozenset[str]
    services: tuple[str, ...]
    vital: frozenset[str]
    personal: frozenset[str]
    weights: Mapping[str, tuple[float, ...]] = field(repr=False)
    words: Mapping[str, tuple[float, ...]] = field(repr=False)
    index: Index = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All that was found in one mail, before the table is asked."""

    words: Words
    hits: tuple[Hit, ...]
    withdrawn: tuple[tuple[Hit, str], ...]
    facets: Mapping[str, tuple[Hit, ...]]
    terms: Mapping[str, int]


def compile_keywords(
    facets: Mapping[str, Sequence[str]],
    rows: Iterable[Row],
    *,
    names: Mapping[int, str],
    groups: Mapping[str, Collection[str]] | None = None,
    fillers: Collection[str] = (),
    machines: Collection[str] = (),
    team: Collection[str] = (),
    vital: Collection[str] = (),
    personal: Collection[str] = (),
    weights: Mapping[str, Sequence[float]] | None = None,
    words: Mapping[str, Sequence[float]] | None = None,
) -> Keywords:
    """Return the compiled form of a keyword list (facet -> keywords) and its table.

    A keyword is words with spaces between: ``a/b`` is a choice, ``word?`` may be absent, ``..`` is up to four words of
    any kind, ``<group>`` any word of that group; in double quotes it is exact.  The groups ``<one> <few> <many>
    <number>`` (1, 2 to 4, 5 and more, any) and ``<room>`` (a class or year) are always there.

    *weights* are the points of facets and rows for the levels 1 to 6.  *words* are a term's rarity and then its points;
    a term is a stem, or two that follow each other.

    Raises:
        ValueError: keywords cannot be read (empty, begins or ends with a gap, unknown group), or a row's level is none
            of 1 to 6; all of them, a line each.
    """
    problems: list[str] = []
    phrases: list[Phrase] = []
    for facet, keywords in facets.items():
        for keyword in keywords:
            try:
                phrases.extend(
                    Phrase(keyword=keyword, facet=facet, slots=slots) for slots in slots_of(keyword, groups or {})
                )
            except ValueError as error:
                problems.append(f"{facet}: {keyword!r} {error}")
    rows = tuple(rows)
    problems.extend(f"row {row.name!r}: level {row.level} is none of 1 to 6" for row in rows if row.level not in LEVELS)
    if problems:
        raise ValueError("\n".join(problems))
    return Keywords(
        names=dict(names),
        rows=rows,
        machines=frozenset(word.lower() for word in machines),
        team=frozenset(word.lower() for word in team),
        services=tuple(facet.removeprefix("service:") for facet in facets if facet.startswith("service:")),
        vital=frozenset(vital),
        personal=frozenset(personal),
        weights={facet: tuple(points) for facet, points in (weights or {}).items()},
        words={term: tuple(points) for term, points in (words or {}).items()},
        index=Index(phrases, fillers),
    )


def rate(
    subject: str, new_text: str, sender_address: str, keywords: Keywords, *, automatic: bool = False
) -> Rating:
    """Return the severity of a mail with its reasons; *new_text* is free of quotes, signature and footer.

    *automatic*: screening knows already that a machine wrote it.
    """
    return _rating(read(subject, new_text, sender_address, keywords, automatic=automatic), keywords)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What facets come to: the *row* that fits (None: no row), and the *points* of the levels 1 to 6, if weighed."""

    level: int
    row: Row | None
    points: tuple[float, ...] = ()


def decide(facets: Collection[str], keywords: Keywords, said: Sequence[float] = NO_POINTS) -> Decision:
    """Return the decision on *facets*: that of the first fitting row, unless the weights know the row and outweigh it.

    *said* are the points that the single words give to the levels.
    """
    row = next((row for row in keywords.rows if _fits(row, facets)), None)
    told = keywords.weights.get(row_facet(row))
    if told is None or (row and row.sure):
        return Decision(level=row.level if row else DEFAULT_LEVEL, row=row)
    points = [of_row + of_words for of_row, of_words in zip(told, said, strict=True)]
    for facet in facets:
        weights = keywords.weights.get(facet)
        if weights is not None:
            for index, weight in enumerate(weights):
                points[index] += weight
    return Decision(level=_likeliest(points), row=row, points=tuple(points))


def _likeliest(points: Sequence[float]) -> int:
    """Return the level of the most points, or of 1 and 2 the likelier where they are likely enough together."""
    highest = max(points)
    likely = [math.exp(point - highest) for point in points]
    if likely[0] + likely[1] >= EMERGENCY_SHARE * sum(likely):
        return 1 if likely[0] >= likely[1] else 2
    return LEVELS[likely.index(max(likely))]


def terms_of(words: Words) -> dict[str, int]:
    """Return every stem of a mail, and every two that follow each other in a sentence, with where it stands first."""
    terms: dict[str, int] = {}
    before, sentence = "", -1
    for position, stem in enumerate(words.stems):
        terms.setdefault(stem, position)
        if words.sentences[position] == sentence:
            terms.setdefault(f"{before} {stem}", position - 1)
        before, sentence = stem, words.sentences[position]
    return terms


def shares(terms: Iterable[str], keywords: Keywords) -> dict[str, tuple[float, ...]]:
    """Return the points that each known term gives to the levels: less in a long mail, where each says less.

    A mail's terms are divided by the length of the vector of their rarities (the cosine normalisation of tf-idf).
    """
    known = {term: keywords.words[term] for term in terms if term in keywords.words}
    length = length_of(points[0] for points in known.values())
    return {term: tuple(point / length for point in points[1:]) for term, points in known.items()}


def length_of(rarities: Iterable[float]) -> float:
    """Return the length of the vector of *rarities*, that of a short mail at least."""
    return max(LEAST_LENGTH, math.sqrt(sum(rarity * rarity for rarity in rarities)))


def _said(terms: Iterable[str], keywords: Keywords) -> tuple[float, ...]:
    columns = zip(*shares(terms, keywords).values(), strict=True)
    return tuple(sum(column) for column in columns) or NO_POINTS


def row_facet(row: Row | None) -> str:
    """Return the name under which a row, or the absence of one, is weighed like a facet."""
    return f"row:{row.name if row else DEFAULT_ROW}"


def _fits(row: Row, facets: Collection[str]) -> bool:
    return all(any(facet in facets for facet in need) for need in row.needs) and not any(
        facet in facets for facet in row.unless
    )


def _rating(reading: Reading, keywords: Keywords) -> Rating:
    decision = decide(reading.facets, keywords, _said(reading.terms, keywords))
    row = decision.row
    facets = [facet for need in row.needs for facet in need if facet in reading.facets] if row else []
    words: list[Hit] = []
    if row is None or row.level != decision.level:
        facets = _weightiest(reading.facets, decision.level, keywords)
        words = _telling_words(reading, decision.level, keywords)
        if not facets and not words:
            facets = list(reading.facets)
    chosen = [*words, *(hit for facet in facets for hit in reading.facets[facet])]
    seen: dict[tuple[int, int, str], Evidence] = {}
    for hit in sorted(chosen, key=lambda hit: (hit.start, hit.end, hit.facet)):
        seen.setdefault((hit.start, hit.end, hit.facet), _evidence(hit, reading.words))
    return Rating(
        level=decision.level,
        name=keywords.names.get(decision.level, str(decision.level)),
        evidence=tuple(seen.values()),
        row=row.name if row and row.level == decision.level else WEIGHED_ROW if decision.points else DEFAULT_ROW,
        service=_service(reading.facets, keywords),
    )


def _service(facets: Collection[str], keywords: Keywords) -> str:
    """Return the service that is lost or slow, the first in the order of the list; personal things are none."""
    impaired = (name for name in keywords.services if f"lost:{name}" in facets or f"slow:{name}" in facets)
    return next((name for name in impaired if name not in keywords.personal), "")


def _weightiest(facets: Collection[str], level: int, keywords: Keywords) -> list[str]:
    """Return the facets that speak for *level*, the strongest first, at most as many as a person reads."""
    weights = {facet: keywords.weights[facet][level - 1] for facet in facets if facet in keywords.weights}
    strongest = sorted(weights, key=lambda facet: -weights[facet])
    return [facet for facet in strongest if weights[facet] > 0][:EVIDENCE_FACETS]


def _telling_words(reading: Reading, level: int, keywords: Keywords) -> list[Hit]:
    """Return the words that speak most for *level*, as many as a person reads."""
    given = shares(reading.terms, keywords)
    strongest = sorted(given, key=lambda term: -given[term][level - 1])[:EVIDENCE_WORDS]
    return [
        Hit(facet="word", start=reading.terms[term], end=reading.terms[term] + 1 + term.count(" "), keyword=term)
        for term in strongest
        if given[term][level - 1] > 0
    ]


def _evidence(hit: Hit, words: Words) -> Evidence:
    if hit.start >= hit.end:
        return Evidence(words=hit.keyword, field="from", facet=hit.facet)
    text = words.text[words.spans[hit.start][0] : words.spans[hit.end - 1][1]]
    field = "subject" if hit.end <= words.body_at else "body"
    return Evidence(words=" ".join(text.split()), field=field, facet=hit.facet)


def read(
    subject: str, new_text: str, sender_address: str, keywords: Keywords, *, automatic: bool = False
) -> Reading:
    """Return all that is found in a mail: hits in force, hits taken back with the reason, and the facets they make."""
    words = Words(subject[:READ_SUBJECT_CHARACTERS], new_text[:READ_CHARACTERS])
    found = _without_contained(keywords.index.find(words))
    hits, withdrawn = _settle(words, found)
    facets: dict[str, list[Hit]] = {}
    for hit in (*hits, *_sender(words, sender_address, keywords, automatic), *_counted(words), *_questions(words)):
        facets.setdefault(hit.facet, []).append(hit)
    for hit in _tie(words, hits):
        facets.setdefault(hit.facet, []).append(hit)
    lost = [facet for facet in facets if facet.startswith("lost:") and facet[5:] in keywords.vital]
    if len(lost) >= SEVERAL:
        facets["lost:several"] = [hit for facet in lost for hit in facets[facet]]
    return Reading(
        words=words,
        hits=hits,
        withdrawn=withdrawn,
        facets={facet: tuple(found) for facet, found in facets.items()},
        terms=terms_of(words),
    )


def _without_contained(hits: list[Hit]) -> list[Hit]:
    """Return *hits* without those inside a longer one of the same dimension, or of ``ignore``."""
    reach: dict[str, tuple[int, int]] = {}
    kept: list[Hit] = []
    for hit in sorted(hits, key=lambda hit: (hit.start, -hit.end)):
        dimension = hit.facet.partition(":")[0]
        if hit.end <= reach.get("ignore", (0, 0))[1]:
            continue
        start, end = reach.get(dimension, (0, 0))
        if hit.end <= end and (hit.start, hit.end) != (start, end):
            continue
        if hit.end > end:
            reach[dimension] = (hit.start, hit.end)
        kept.append(hit)
    return [hit for hit in kept if hit.facet != "ignore"]


def _settle(words: Words, hits: Sequence[Hit]) -> tuple[tuple[Hit, ...], tuple[tuple[Hit, str], ...]]:
    """Return the hits in force, and those taken back each with its reason."""
    supposed = {words.sentences[hit.start] for hit in hits if hit.facet == "state:hypothetical"}
    planned = {words.sentences[hit.start] for hit in hits if hit.facet == "state:planned"}
    turned: list[Hit] = []
    withdrawn: list[tuple[Hit, str]] = []
    for hit in hits:
        dimension, _, value = hit.facet.partition(":")
        sentence = words.sentences[hit.start]
        if dimension in ("state", "scope", "harm", "alarm") and value not in ("hypothetical", "planned"):
            if sentence in supposed:
                withdrawn.append((hit, "only supposed"))
                continue
            if sentence in planned:
                withdrawn.append((hit, "only planned"))
                continue
            if _negated(words, hit):
                opposite = _OPPOSITES.get(hit.facet)
                if opposite is None:
                    withdrawn.append((hit, "denied"))
                    continue
                hit = Hit(facet=opposite, start=hit.start, end=hit.end, keyword=hit.keyword)
        turned.append(hit)
    return _without_the_past(words, turned, withdrawn)


def _without_the_past(
    words: Words, hits: Sequence[Hit], withdrawn: list[tuple[Hit, str]]
) -> tuple[tuple[Hit, ...], tuple[tuple[Hit, str], ...]]:
    """Return the hits without troubles that a later "sorted now" ends, unless they are said to be back."""
    relapsed_at = max((hit.start for hit in hits if hit.facet == "state:relapsed"), default=-1)
    restored = [hit for hit in hits if hit.facet == "state:restored" and hit.start > relapsed_at]
    last = restored[-1] if restored else None
    kept: list[Hit] = []
    for hit in hits:
        if hit.facet == "state:restored" and hit.start <= relapsed_at:
            withdrawn.append((hit, "it came back"))
        elif (
            last is not None
            and hit.facet in ("state:down", "state:off", "state:slow")
            and hit.start < last.start
            and not (
                words.sentences[hit.start] == words.sentences[last.start]
                and words.breaks[hit.start] != words.breaks[last.start]
            )
        ):
            withdrawn.append((hit, "over since"))
        else:
            kept.append(hit)
    return tuple(kept), tuple(withdrawn)


def _is_negator(word: str) -> bool:
    return word in _NEGATORS or word.endswith("n't")


def _negated(words: Words, hit: Hit) -> bool:
    """Return whether a negation before the hit, in its clause, speaks of it; a keyword's own does not count."""
    at = hit.start
    is_scope = hit.facet.startswith("scope:")
    for position in range(at - 1, max(at - OPINION_REACH, 0) - 1, -1):
        if (
            words.sentences[position] != words.sentences[at]
            or words.breaks[position] != words.breaks[at]
            or words.commas[position] != words.commas[at]
        ):
            return False
        word = words.words[position]
        if not _is_negator(word):
            continue
        if is_scope and word not in _DENIALS and words.stems[position + 1] not in _OPINIONS:
            continue
        after = words.words[position + 1]
        if after in ("just", "only", "sure", "merely", "simply", "longer"):
            if after == "longer" and at - position <= NEGATION_REACH:
                return True
            continue
        reach = SCOPE_NEGATION_REACH if is_scope else NEGATION_REACH
        if words.stems[position + 1] in _OPINIONS:
            reach = OPINION_REACH
        elif not is_scope and word in ("none", "nobody", "nothing", "neither", "never"):
            reach = 2 * NEGATION_REACH
        if at - position <= reach:
            return True
    return False


def _tie(words: Words, hits: Sequence[Hit]) -> Iterable[Hit]:
    """Yield what is said of each service by the nearest state in its sentence; a contrast or a comma adds distance."""
    states: dict[int, list[tuple[int, str, Hit | None]]] = {}
    services = [hit for hit in hits if hit.facet.startswith("service:")]
    for hit in hits:
        if hit.facet in _TIES:
            states.setdefault(words.sentences[hit.start], []).append((hit.start, _TIES[hit.facet], hit))
            if hit.facet in ("state:down", "state:slow"):
                yield Hit(facet="fault", start=hit.start, end=hit.end, keyword=hit.keyword)
    for hit in services:
        missing = _missing(words, hit)
        if missing is not None:
            states.setdefault(words.sentences[hit.start], []).append((missing, "lost", None))
            yield Hit(facet="fault", start=missing, end=hit.end, keyword=hit.keyword)
    for hit in services:
        near = states.get(words.sentences[hit.start])
        if not near:
            continue
        cost, tie, state = min(
            ((_distance(words, hit, position), tie, state) for position, tie, state in near), key=lambda item: item[0]
        )
        if cost <= STATE_REACH:
            facet = f"{tie}:{hit.facet[8:]}"
            yield Hit(facet=facet, start=hit.start, end=hit.end, keyword=hit.keyword)
            if state is not None:
                yield Hit(facet=facet, start=state.start, end=state.end, keyword=state.keyword)


def _distance(words: Words, hit: Hit, position: int) -> int:
    first, last = sorted((position, hit.start))
    return (
        last
        - first
        + BREAK_COST * (words.breaks[last] - words.breaks[first])
        + COMMA_COST * (words.commas[last] - words.commas[first])
    )


def _missing(words: Words, hit: Hit) -> int | None:
    """Return where "no", "without" or "lost" stands just before the service, or None."""
    for position in range(hit.start - 1, max(hit.start - 1 - NEGATION_REACH, -1), -1):
        if words.sentences[position] != words.sentences[hit.start]:
            return None
        word = words.words[position]
        if word in ("no", "without", "lost", "losing", "0", "zero"):
            return position
        if word not in ("the", "any", "our", "or", "all", "and", "working", "main", "its", "their", "whole"):
            return None
    return None


def _counted(words: Words) -> Iterable[Hit]:
    """Yield what numbers say: "11 of 14", and one sentence that names many places."""
    for position, key in enumerate(words.stems):
        if key not in _SEVERAL_KEYS:
            continue
        for other in range(position + 2, min(position + 5, len(words.stems))):
            if words.stems[other] not in _SEVERAL_KEYS or "of" not in words.words[position:other]:
                continue
            part, whole = number_of(words.words[position]), number_of(words.words[other])
            if whole >= 5 and part * 2 >= whole and words.sentences[position] == words.sentences[other]:
                facet = "scope:all" if part == whole else "scope:most"
                yield Hit(facet=facet, start=position, end=other + 1, keyword="so many of so many")
            break
    places: dict[int, dict[str, int]] = {}
    for position, key in enumerate(words.stems):
        word = words.words[position]
        if key in _NUMBER_KEYS and position and words.words[position - 1] in ("yr", "year", "years", "y"):
            word = "y" + word
        elif key != "#room" and word not in _PLACES:
            continue
        places.setdefault(words.sentences[position], {}).setdefault(word, position)
    for named in places.values():
        if len(named) >= PLACES_FOR_SCHOOL:
            first, last = min(named.values()), max(named.values())
            yield Hit(facet="scope:places", start=first, end=last + 1, keyword="many places")


def _is_machine(part: str, machines: Collection[str]) -> bool:
    """Return whether a *part* of an address is a machine's word, or begins or ends with a long one ("hypervwatch")."""
    if part in machines:
        return True
    return any(len(word) > 4 and (part.startswith(word) or part.endswith(word)) for word in machines)


def _reads_like_a_machine(words: Words) -> bool:
    """Return whether the text is mostly labels with values."""
    return sum(1 for _ in _MACHINE_LINE.finditer(words.text)) >= MACHINE_LINES


def _sender(words: Words, address: str, keywords: Keywords, automatic: bool) -> Iterable[Hit]:
    """Yield who writes: the IT team, a machine, or a person."""
    address = address.lower()
    parts = [part for part in re.split(r"[^a-z0-9]+", address) if part]
    local = address.partition("@")[0]
    if address in keywords.team or local in keywords.team:
        facet = "sender:team"
    elif automatic or (
        _PERSONAL.isdisjoint(words.words)
        and (any(_is_machine(part, keywords.machines) for part in parts) or _reads_like_a_machine(words))
    ):
        facet = "sender:machine"
    else:
        facet = "sender:person"
    yield Hit(facet=facet, start=0, end=0, keyword=address)


def _questions(words: Words) -> Iterable[Hit]:
    """Yield the sentences that ask for an answer, and whether the mail does little else."""
    asked = [sentence for sentence in sorted(words.questions) if sentence in words.starts]
    for sentence in asked:
        first = words.starts[sentence]
        end = min(first + 3, len(words.words))
        yield Hit(facet="shape:question", start=first, end=end, keyword="?")
        if not _QUESTION_WORDS.isdisjoint(words.words[first:end]):
            yield Hit(facet="kind:asks", start=first, end=end, keyword="?")
    # The subject, the greeting and the name below are sentences too.
    if asked and 2 * len(asked) >= len(words.starts) - 3:
        first = words.starts[asked[0]]
        yield Hit(facet="shape:questions", start=first, end=min(first + 3, len(words.words)), keyword="?")



def explain(
    subject: str, new_text: str, sender_address: str, keywords: Keywords, *, automatic: bool = False
) -> tuple[str, ...]:
    """Return lines that tell why a mail got its level, and what would have made it a level higher or lower."""
    reading = read(subject, new_text, sender_address, keywords, automatic=automatic)
    said = _said(reading.terms, keywords)
    decision = decide(reading.facets, keywords, said)
    name = keywords.names.get(decision.level, "")
    lines = [f"level {decision.level}, {name}", f"table: {_row_told(decision.row, keywords)}"]
    if not reading.hits:
        lines.append("no keyword was found, so it is the default")
    if decision.points:
        ranked = sorted(LEVELS, key=lambda level: -decision.points[level - 1])
        told = ", ".join(f"level {level}: {decision.points[level - 1]:.1f}" for level in ranked[:3])
        lines.append(f"points: {told}")
    lines.append("found:")
    weighed = [row_facet(decision.row), *sorted(reading.facets)] if decision.points else sorted(reading.facets)
    width = max(len(facet) for facet in weighed)
    for facet in weighed:
        words = dict.fromkeys(_shown(_evidence(hit, reading.words)) for hit in reading.facets.get(facet, ()))
        points = keywords.weights.get(facet) if decision.points else None
        counted = f"  {points[decision.level - 1]:+.1f}" if points else "      " if decision.points else ""
        lines.append(f"  {facet:<{width}}{counted}  {', '.join(words)}".rstrip())
    if decision.points:
        lines.extend(_words_told(reading, decision.level, keywords))
    if reading.withdrawn:
        lines.append("taken back:")
        for hit, reason in reading.withdrawn:
            lines.append(f"  {hit.facet}  {_shown(_evidence(hit, reading.words))}: {reason}")
    lines.extend(_what_would_move(reading, decision, keywords, said))
    return tuple(lines)


def _words_told(reading: Reading, level: int, keywords: Keywords) -> list[str]:
    """Return the words that speak most for *level* and against it, with their points."""
    given = shares(reading.terms, keywords)
    ranked = sorted(given, key=lambda term: -given[term][level - 1])
    lines = []
    for word, terms in (("for", ranked[:EVIDENCE_WORDS]), ("against", ranked[: -EVIDENCE_WORDS - 1 : -1])):
        told = []
        for term in terms:
            first = reading.terms[term]
            start, end = reading.words.spans[first][0], reading.words.spans[first + term.count(" ")][1]
            told.append(f'"{" ".join(reading.words.text[start:end].split())}" {given[term][level - 1]:+.2f}')
        if told:
            lines.append(f"words {word} it: {', '.join(told)}")
    return lines


def _shown(evidence: Evidence) -> str:
    return f'"{evidence.words}" ({evidence.field})'


def _row_told(row: Row | None, keywords: Keywords) -> str:
    if row is None:
        return "no row fits, which means the default"
    needs = " and ".join("/".join(need) for need in row.needs)
    unless = f", unless {'/'.join(row.unless)}" if row.unless else ""
    return f'row {keywords.rows.index(row) + 1}, "{row.name}", means level {row.level} ({needs}{unless})'


def _what_would_move(
    reading: Reading, decision: Decision, keywords: Keywords, said: Sequence[float]
) -> list[str]:
    """Return a line each for higher and lower: the fewest changes of facets that lead to the nearest such level.

    Facets are added and taken away and the whole decision taken again: what is told is what happens.
    """
    lines = []
    for word, levels in (("higher", range(decision.level - 1, 0, -1)), ("lower", range(decision.level + 1, 7))):
        changes: list[str] = []
        for level in levels:
            changes = _changes_to(level, reading, keywords, said)
            if changes:
                lines.append(f"{word}: level {level} {' and '.join(changes)}")
                break
        if not levels:
            lines.append(f"{word}: there is no such level")
        elif not changes:
            lines.append(f"{word}: not by {MOST_CHANGES} facets more or less")
    return lines


def _changes_to(level: int, reading: Reading, keywords: Keywords, said: Sequence[float]) -> list[str]:
    """Return the changes, the most telling first, after which the decision is *level*; none if it takes too many."""
    rows = (facet for row in keywords.rows for need in row.needs for facet in need)
    known = {*(phrase.facet for phrase in keywords.index.phrases), *rows, *reading.facets}
    movable = sorted(facet for facet in known if facet.partition(":")[0] in _TELLING)
    facets = set(reading.facets)
    changes: list[str] = []
    while len(changes) < MOST_CHANGES:
        best = max(movable, key=lambda facet: _lead(level, decide(facets ^ {facet}, keywords, said)))
        changes.append(f"{'without' if best in facets else 'with'} {best}")
        facets ^= {best}
        movable.remove(best)
        if decide(facets, keywords, said).level == level:
            return changes
    return []


def _lead(level: int, decision: Decision) -> float:
    """Return by how much *level* leads the others, negative where it trails."""
    if not decision.points:
        return float(decision.level == level)
    return decision.points[level - 1] - max(points for at, points in enumerate(decision.points, 1) if at != level)
