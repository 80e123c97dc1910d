"""Which words speak for which severity: the shipped list, and what ``keywords:`` in the configuration changes of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from supportd.config import document
from supportd.config.document import Section
from supportd.core.severity import Keywords, Row, compile_keywords

# The names of the seed's table; a configuration that renames its levels passes its own.
NAMES = {1: "outage", 2: "urgent", 3: "high", 4: "medium", 5: "low", 6: "informational"}


def _words(value: object) -> object:
    """Return a text of words as a list of them: the long groups read better as running text."""
    return value.split() if isinstance(value, str) else value


WordList = Annotated[tuple[str, ...], BeforeValidator(_words)]
Points = Annotated[tuple[float, ...], Field(min_length=6, max_length=6)]
Weights = Mapping[str, Points]
Facets = Mapping[str, tuple[str, ...]]


class RowSection(Section):
    """One row of the table: in a cell ``a/b`` is a choice, ``lost:internet/server`` one of two services."""

    name: str = Field(min_length=1)
    level: int = Field(ge=1, le=6)
    sure: bool = False
    needs: tuple[str, ...] = Field(alias="if", min_length=1)
    unless: tuple[str, ...] = ()

    def row(self) -> Row:
        """Return the row as the core knows it."""
        unless = tuple(facet for cell in self.unless for facet in _choices(cell))
        needs = tuple(_choices(cell) for cell in self.needs)
        return Row(name=self.name, level=self.level, needs=needs, unless=unless, sure=self.sure)


def _terms(value: object) -> object:
    """Return the words of a text of lines "rarity points-of-1 ... points-of-6 word"; YAML lists would load slowly."""
    if not isinstance(value, str):
        return value
    terms: dict[str, tuple[float, ...]] = {}
    for number, line in enumerate(value.splitlines(), start=1):
        *points, term = line.split(maxsplit=7) or [""]
        try:
            terms[term] = tuple(map(float, points))
        except ValueError:
            points = []
        if len(points) != 7:
            raise ValueError(f"line {number} is not a rarity, six points and a word")
    return terms


class WeightList(Section):
    """A file that ``severity fit`` wrote: what each facet, row and word speaks for and against."""

    weights: Weights
    words: Annotated[Mapping[str, tuple[float, ...]], BeforeValidator(_terms)] = Field(default_factory=dict)


class KeywordList(Section):
    """A whole keyword file: groups of words, senders, facets with their keywords, and the table."""

    groups: Mapping[str, WordList] = Field(default_factory=dict)
    fillers: WordList = ()
    machines: WordList = ()
    team: WordList = ()
    vital: WordList = ()
    personal: WordList = ()
    facets: Facets
    table: tuple[RowSection, ...] = Field(min_length=1)
    weights: Weights = Field(default_factory=dict)
    words: Mapping[str, tuple[float, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _compiles(self) -> KeywordList:
        self.compiled()
        return self

    def compiled(self, names: Mapping[int, str] = NAMES) -> Keywords:
        """Return the compiled list.

        Raises:
            ValueError: a keyword cannot be read, or names a group that does not exist.
        """
        return compile_keywords(
            self.facets,
            [row.row() for row in self.table],
            groups=self.groups,
            names=names,
            fillers=self.fillers,
            machines=self.machines,
            team=self.team,
            vital=self.vital,
            personal=self.personal,
            weights=self.weights,
            words=self.words,
        )


class KeywordsSection(Section):
    """What the configuration changes of the shipped list; empty, the shipped list is in force as it stands.

    *file* takes the place of the whole shipped list, and then weights nothing unless *weights* names a file that
    ``severity fit`` wrote; *add* and *remove* change single keywords; *rows* stand before the table and decide by
    themselves, and *drop_rows* names rows that no longer do.
    """

    file: Path | None = None
    weights: Path | None = None
    add: Facets = Field(default_factory=dict)
    remove: Facets = Field(default_factory=dict)
    machines: WordList = ()
    team: WordList = ()
    rows: tuple[RowSection, ...] = ()
    drop_rows: tuple[str, ...] = ()

    @field_validator("file", "weights")
    @classmethod
    def _counts_from_the_folder(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        folder = (info.context or {}).get("folder", Path())
        return None if value is None else folder / value.expanduser()

    @model_validator(mode="after")
    def _fits_the_list(self) -> KeywordsSection:
        if self.model_fields_set:
            self.compiled()
        return self

    def changed(self) -> KeywordList:
        """Return the list in force.

        Raises:
            ValueError: something is removed that is not there, or an added keyword cannot be read.
            UserError: *file* has problems, each with its line.
        """
        listed = shipped() if self.file is None else document.load(KeywordList, self.file)
        fitted = listed if self.weights is None else document.load(WeightList, self.weights)
        facets = {facet: list(keywords) for facet, keywords in listed.facets.items()}
        for facet, keywords in self.remove.items():
            for keyword in keywords:
                if keyword not in facets.get(facet, ()):
                    raise ValueError(f"remove: {facet} has no keyword {keyword!r}; see `supportd severity lint --list`")
                facets[facet].remove(keyword)
        for facet, keywords in self.add.items():
            facets.setdefault(facet, []).extend(keywords)
        known = {row.name for row in listed.table}
        unknown = next((name for name in self.drop_rows if name not in known), None)
        if unknown is not None:
            raise ValueError(f"drop_rows: the table has no row {unknown!r}")
        kept = tuple(row for row in listed.table if row.name not in self.drop_rows)
        return KeywordList.model_construct(
            groups=listed.groups,
            fillers=listed.fillers,
            machines=(*listed.machines, *self.machines),
            team=(*listed.team, *self.team),
            vital=listed.vital,
            personal=listed.personal,
            facets={facet: tuple(keywords) for facet, keywords in facets.items()},
            table=(*self.rows, *kept),
            weights=fitted.weights,
            words=fitted.words,
        )

    def compiled(self, names: Mapping[int, str] = NAMES) -> Keywords:
        """Return the list in force, compiled; *names* are the levels' names."""
        return self.changed().compiled(names)


@lru_cache(maxsize=1)
def shipped() -> KeywordList:
    """Return the keyword list that ships with the program, with its weights."""
    folder = resources.files("supportd")
    words = folder.joinpath("keywords.yaml").read_text(encoding="utf-8")
    listed = document.parse(KeywordList, words, name="keywords.yaml")
    weights = folder.joinpath("weights.yaml").read_text(encoding="utf-8")
    fitted = document.parse(WeightList, weights, name="weights.yaml")
    return listed.model_copy(update={"weights": fitted.weights, "words": fitted.words})


def _choices(cell: str) -> tuple[str, ...]:
    """Return the facets a cell stands for: ``lost:internet/server`` is ``lost:internet`` or ``lost:server``."""
    dimension = ""
    facets = []
    for part in cell.split("/"):
        if ":" in part:
            dimension = part.partition(":")[0] + ":"
            facets.append(part)
        else:
            facets.append(part if part == "fault" else dimension + part)
    return tuple(facets)
