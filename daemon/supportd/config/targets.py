"""The ``severities:`` section -> the table of targets that the service clock enforces and the school publishes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from supportd.config.document import Section
from supportd.core.model import LEVELS
from supportd.core.sla import BusinessDays, Immediate, Level, Policy, ServiceTime, Target

_FORMS = "`immediate`, `30 minutes`, `2 hours`, `5 business days` or `none`"
# Five digits are more hours than any calendar holds, and keep every sum inside Python's range of dates.
_AMOUNT = re.compile(r"(\d{1,5}) {1,3}(minutes?|hours?|business {1,3}days?)")
DEFAULT_WITHIN_MINUTES = 5


def _target(value: object) -> Target | None:
    if not isinstance(value, str):
        raise ValueError(f"is not a target; write {_FORMS}")
    words = value.strip().lower()
    if words == "immediate":
        return Immediate(within=timedelta(minutes=DEFAULT_WITHIN_MINUTES))
    if words == "none":
        return None
    match = _AMOUNT.fullmatch(words)
    if match is None:
        raise ValueError(f"is not a target; {_cure(words)}")
    count, unit = int(match[1]), match[2]
    if count == 0:
        raise ValueError("is no time at all; write `immediate`, or `none` for no target")
    if unit.startswith("business"):
        return BusinessDays(count=count)
    return ServiceTime(amount=timedelta(minutes=count) if unit.startswith("minute") else timedelta(hours=count))


def _cure(words: str) -> str:
    if "week" in words:
        return "write weeks as `5 business days`, and keep the words that people read under `labels:`"
    if "day" in words:
        return "write `1 business day`: days are always business days here"
    if "." in words or "," in words or " and " in words:
        return "write one whole number and one unit, such as `90 minutes`"
    return f"write {_FORMS}"


def _minutes(value: object) -> int:
    """Return the minutes of service time that *value* ("5 minutes", "1 hour") stands for; none at all is allowed."""
    match = _AMOUNT.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    if match is None or match[2].startswith("business"):
        raise ValueError("is not a length of service time; write it like `5 minutes` or `1 hour`")
    return int(match[1]) * (60 if match[2].startswith("hour") else 1)


def _label(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise ValueError("is empty; write the words that the school publishes, or take the key out")
    return value


# A duration is a text in the file, which the JSON Schema must say.
TargetText = Annotated[Target | None, PlainValidator(_target), WithJsonSchema({"type": "string"})]
MinutesText = Annotated[int, PlainValidator(_minutes), WithJsonSchema({"type": "string"})]
Label = Annotated[str, BeforeValidator(_label)]


class Labels(Section):
    """The words in which a target is published, where they differ from the rule that the clock follows."""

    response: Label | None = None
    resolution: Label | None = None


class SeveritySection(Section):
    """One level of the table."""

    level: int = Field(ge=LEVELS[0], le=LEVELS[-1])
    name: str = Field(min_length=1, pattern=r"^\S(.*\S)?$")
    response: TargetText
    resolution: TargetText
    labels: Labels = Labels()


def _complete(table: tuple[SeveritySection, ...]) -> tuple[SeveritySection, ...]:
    """Return *table* in the order of its levels, when each stands there once and under a name of its own."""
    levels = [row.level for row in table]
    for level in LEVELS:
        if levels.count(level) != 1:
            what = "stands twice; keep one of them" if level in levels else "is missing; add a line for it"
            raise ValueError(f"level {level} {what}")
    names = [row.name.casefold() for row in table]
    for row in table:
        if names.count(row.name.casefold()) > 1:
            raise ValueError(f"level {row.level} shares its name with another; give each its own")
    return tuple(sorted(table, key=lambda row: row.level))


Severities = Annotated[tuple[SeveritySection, ...], AfterValidator(_complete)]


def policy(table: Sequence[SeveritySection], immediate_within_minutes: int = DEFAULT_WITHIN_MINUTES) -> Policy:
    """Return the policy of *table*; ``immediate`` means so many minutes of service time after the next opening.

    Raises:
        ValueError: a level is missing or stands twice, or two levels share a name.
    """
    within = timedelta(minutes=immediate_within_minutes)

    def target(written: Target | None) -> Target | None:
        return Immediate(within=within) if isinstance(written, Immediate) else written

    def label(words: str | None, written: Target | None) -> str:
        return words or (str(written) if written else "none")

    return Policy(
        levels=tuple(
            Level(
                level=row.level,
                name=row.name,
                response=target(row.response),
                resolution=target(row.resolution),
                response_label=label(row.labels.response, row.response),
                resolution_label=label(row.labels.resolution, row.resolution),
            )
            for row in _complete(tuple(table))
        )
    )
