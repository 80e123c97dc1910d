"""Rehearses keywords: why a mail got its level, levels for any mails, what looks wrong in the list."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from supportd.errors import UserError

if TYPE_CHECKING:
    from supportd.core.model import Rating
    from supportd.core.rehearsal import Past, Weights
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
    # JSON is UTF-8 (RFC 8259 8.1), whatever the locale says.
    lines = (line.decode("utf-8", "replace") for line in sys.stdin.buffer)
    for mail in _mails(lines, "standard input"):
        rating = rate(mail["subject"], _new_text(mail["body"], mail["subject"]), mail["from"], keywords)
        click.echo(json.dumps({"id": mail["id"], **_answer(rating)}, ensure_ascii=False))


@severity.command("lint")
@click.argument("mails", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1)
@click.pass_context
def lint_keywords(ctx: click.Context, mails: tuple[Path, ...]) -> None:
    """Name keywords that contradict each other, rows that never decide and, with files of MAILS (JSON lines as for
    classify), keywords that none of them contains."""
    from supportd.core.rehearsal import lint

    problems = lint(_keywords(ctx), _labelled(mails))
    for problem in problems:
        click.echo(problem)
    ctx.exit(3 if problems else 0)


@severity.command("fit")
@click.argument("mails", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1, required=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Where the weights go.")
@click.pass_context
def fit_weights(ctx: click.Context, mails: tuple[Path, ...], out: Path | None) -> None:
    """Fit the weights of facets and words on the files MAILS (JSON lines as for classify, each with its "severity"),
    and say how each file fares with weights that were fitted on the others."""
    from dataclasses import replace

    from supportd.core.rehearsal import across, confusion_lines, fitted, rehearsal_of

    keywords = replace(_keywords(ctx), weights={}, words={})
    corpora = {str(path): list(_labelled([path])) for path in mails}
    past = [mail for corpus in corpora.values() for mail in corpus]
    if len(corpora) > 1:
        judged: dict[str, list[tuple[int, int]]] = {name: [] for name in corpora}
        with click.progressbar(length=len(past), label="judging each file by the others", file=sys.stderr) as bar:
            for name, mail, level in across(corpora, keywords):
                judged[name].append((mail.truth, level))
                bar.update(1)
        for name, pairs in judged.items():
            click.echo(f"{name}, fitted on the others:")
            for line in confusion_lines(rehearsal_of(pairs)):
                click.echo(line)
    if out is not None:
        _write_weights(out, fitted(past, keywords), len(past))
        click.echo(f"{out}: written; read it, and name it in the configuration as keywords: {{weights: {out.name}}}")


def _write_weights(path: Path, weights: Weights, mails: int) -> None:
    """Write a weights file: a line each facet and word, the points it gives to levels 1 to 6."""
    lines = [
        f"# Fitted by `supportd severity fit` on {mails} labelled mails: what each facet, each row of the table and",
        "# each word speaks for (+) and against (-), in points for levels 1 to 6.  The most points decide.",
        "weights:",
    ]
    width = max(len(facet) for facet in weights.facets) + 3
    for facet, given in weights.facets.items():
        quoted = '"' + facet + '":'
        lines.append(f"  {quoted:<{width}} [{', '.join(f'{value:5.2f}' for value in given)}]")
    lines += [
        "",
        "# Stems, and two that follow each other: how rare, points for levels 1 to 6, the word.  The words of a mail",
        "# share: their points are divided by the root of the sum of the squared rarities of those that it has.",
        "words: |2",
    ]
    for term, (rarity, *points) in weights.words.items():
        lines.append(f"  {rarity:5.2f} {' '.join(f'{value:6.2f}' for value in points)}  {term}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _keywords(ctx: click.Context) -> Keywords:
    from supportd.config.keywords import KeywordsSection

    config = ctx.obj.config()
    section: KeywordsSection = config.keywords
    return section.compiled({level.level: level.name for level in config.severities})


def _mails(lines: Iterable[str], name: str) -> Iterator[dict[str, Any]]:
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


def _labelled(paths: Iterable[Path]) -> Iterator[Past]:
    """Yield the labelled mails of the files; a mail without "severity" counts as the default."""
    from supportd.core.model import DEFAULT_LEVEL, LEVELS
    from supportd.core.rehearsal import Past

    for path in paths:
        with path.open(encoding="utf-8") as lines:
            for mail in _mails(lines, str(path)):
                level = mail.get("severity", DEFAULT_LEVEL)
                if level not in LEVELS:
                    raise UserError(f'{path}: mail {mail["id"]}: "severity" is none of 1 to 6')
                yield Past(
                    reference=str(mail["id"]),
                    subject=mail["subject"],
                    new_text=_new_text(mail["body"], mail["subject"]),
                    sender_address=mail["from"],
                    was=level,
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
