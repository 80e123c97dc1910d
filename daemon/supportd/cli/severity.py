"""Rehearses keywords: why a mail got its level, levels for any mails, what looks wrong in the list."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from supportd.errors import UserError

if TYPE_CHECKING:
    from supportd.core.model import Rating
    from supportd.core.rehearsal import Past
    from supportd.core.severity import Keywords


@click.group()
def severity() -> None:
    """Rehearse keywords before they decide."""


@severity.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.pass_context
def explain(ctx: click.Context, file: Path) -> None:
    """Tell why the mail in FILE (.eml, or - for standard input) gets its level."""
    from supportd.core import severity as rating
    from supportd.core.model import Unparseable
    from supportd.core.parse import parse

    raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    mail = parse(raw)
    if isinstance(mail, Unparseable):
        raise UserError(f"{file}: cannot be read as a mail ({mail.reason})")
    sender = mail.sender.address if mail.sender else ""
    for line in rating.explain(mail.subject, mail.new_text, sender, _keywords(ctx)):
        click.echo(line)


@severity.command()
@click.option("--jsonl", is_flag=True, required=True, help="JSON lines from standard input to standard output.")
@click.pass_context
def classify(ctx: click.Context, jsonl: bool) -> None:
    """Rate mails: a line {"id", "from", "subject", "body"} in, a line {"id", "severity", "name", "evidence"} out."""
    from supportd.core.severity import rate

    keywords = _keywords(ctx)
    for mail in _mails(sys.stdin, "standard input"):
        rating = rate(mail["subject"], _new_text(mail["body"], mail["subject"]), mail["from"], keywords)
        click.echo(json.dumps({"id": mail["id"], **_answer(rating)}, ensure_ascii=False))


@severity.command("lint")
@click.argument("mails", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@click.pass_context
def lint_keywords(ctx: click.Context, mails: Path | None) -> None:
    """Name keywords that contradict each other, rows that never decide and, with a file of MAILS (JSON lines as for
    classify), keywords that none of them contains."""
    from supportd.core.rehearsal import lint

    past: Iterator[Past] = iter(())
    if mails is not None:
        past = _labelled(mails)
    problems = lint(_keywords(ctx), past)
    for problem in problems:
        click.echo(problem)
    ctx.exit(3 if problems else 0)


def _keywords(ctx: click.Context) -> Keywords:
    from supportd.config.keywords import KeywordsSection

    section: KeywordsSection = ctx.obj.config().keywords
    return section.compiled()


def _mails(lines: TextIO, name: str) -> Iterator[dict[str, Any]]:
    """Yield the mail of each line; empty lines are passed over.

    Raises:
        UserError: a line is no JSON object, or a key is missing or no text; with the number of the line.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            mail = json.loads(line)
        except ValueError as error:
            raise UserError(f"{name}:{number}: is not JSON ({error})") from error
        if not isinstance(mail, dict):
            raise UserError(f'{name}:{number}: is not an object; write {{"id": "1", "subject": "...", "body": "..."}}')
        if "id" not in mail:
            raise UserError(f'{name}:{number}: "id" is missing')
        for key in ("from", "subject", "body"):
            if not isinstance(mail.setdefault(key, ""), str):
                raise UserError(f'{name}:{number}: "{key}" is not a text')
        yield mail


def _labelled(path: Path) -> Iterator[Past]:
    from supportd.core.model import DEFAULT_LEVEL
    from supportd.core.rehearsal import Past

    with path.open(encoding="utf-8") as lines:
        for mail in _mails(lines, str(path)):
            yield Past(
                reference=str(mail["id"]),
                subject=mail["subject"],
                new_text=_new_text(mail["body"], mail["subject"]),
                sender_address=mail["from"],
                was=mail.get("severity", DEFAULT_LEVEL),
            )


def _new_text(body: str, subject: str) -> str:
    """Return what the sender wrote this time, without quotes and signature."""
    from supportd.core.quotes import split

    return split(body, subject=subject).new


def _answer(rating: Rating) -> dict[str, Any]:
    return {
        "severity": rating.level,
        "name": rating.name,
        "evidence": [{"words": hit.words, "field": hit.field, "facet": hit.facet} for hit in rating.evidence],
        "row": rating.row,
        "service": rating.service,
    }
