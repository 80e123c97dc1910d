"""``supportd templates``: every letter as a person will see it, and what is wrong with the school's own templates."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

if TYPE_CHECKING:
    from supportd.compose import Composer
    from supportd.config import Config, Desk
    from supportd.core.model import Letter


@click.group()
def templates() -> None:
    """The letters: every one with made-up tickets, and what is wrong with your own templates."""


@templates.command()
@click.argument("name", required=False)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("letters"), show_default=True)
@click.pass_context
def preview(context: click.Context, name: str | None, out: Path) -> None:
    """Write every letter (or the letter NAME) with made-up tickets into a folder, as .txt, .html and .eml.

    The page index.html in it shows them side by side, at the width of a phone.
    """
    from supportd.samples import NAMES

    if name is not None and name not in NAMES:
        raise click.UsageError(f"there is no letter called {name}; there are {', '.join(NAMES)}")
    now = datetime.now(UTC)  # noqa: TID251 -- the command line reads the clock.
    written = write_all(context.obj.config(), out, now, name)
    click.echo(f"{written} letters; open {out / 'index.html'}")


@templates.command()
@click.pass_context
def check(context: click.Context) -> None:
    """Render every letter with every made-up ticket; name each mistake in your own templates as file:line."""
    now = datetime.now(UTC)  # noqa: TID251 -- the command line reads the clock.
    problems = tuple(dict.fromkeys(one for desk in context.obj.config().desks for one in mistakes(desk, now)))
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        click.echo("the shipped templates are used instead, until these are put right", err=True)
        context.exit(3)
    click.echo("every letter renders with every made-up ticket")


def write_all(config: Config, folder: Path, now: datetime, name: str | None = None) -> int:
    """Write the letters (all, or those called *name*) and index.html into *folder*; return how many there are."""
    from supportd.samples import showcase

    folder.mkdir(parents=True, exist_ok=True)
    desk = config.desks[0]
    written = []
    for sample in showcase(_composer(desk), desk.hours, desk.policy, now):
        letter = sample.write()
        if name is None or letter.kind == name:
            written.append((sample.name, _write(folder / sample.name, letter)))
    (folder / "index.html").write_text(_index(written), encoding="utf-8")
    return len(written)


def mistakes(desk: Desk, now: datetime) -> tuple[str, ...]:
    """Return what is wrong with the templates of *desk*, as ``file:line: what``, after rendering every sample."""
    from supportd.samples import every

    composer = _composer(desk)
    for sample in every(composer, desk.hours, desk.policy, now):
        sample.write()
    return composer.problems


def _composer(desk: Desk) -> Composer:
    from supportd.compose import Composer
    from supportd.core.model import Address

    return Composer(
        hours=desk.hours,
        policy=desk.policy,
        support=Address(address=desk.mailbox.address, name=desk.mailbox.display_name),
        school=desk.school,
        staff_domains=tuple(desk.staff_domains),
        templates=desk.templates,
    )


def _write(stem: Path, letter: Letter) -> str:
    """Write the letter beside *stem* as .eml, .txt and .html, its pictures inlined; return its text."""
    message = message_from_bytes(letter.data, policy=policy.default)
    text, page = _part(message, "plain"), _part(message, "html")
    for part in message.walk():
        if part.get_content_type() == "image/png" and part["Content-ID"]:
            data = base64.b64encode(cast(bytes, part.get_payload(decode=True))).decode()
            page = page.replace(f"cid:{part['Content-ID'].strip('<>')}", f"data:image/png;base64,{data}")
    stem.with_name(f"{stem.name}.eml").write_bytes(letter.data)
    stem.with_name(f"{stem.name}.txt").write_text(f"Subject: {message['Subject']}\n\n{text}", encoding="utf-8")
    stem.with_name(f"{stem.name}.html").write_text(page, encoding="utf-8")
    return f"Subject: {message['Subject']}\n\n{text}"


def _part(message: EmailMessage, subtype: str) -> str:
    body = message.get_body(preferencelist=(subtype,))
    return cast(str, body.get_content()).replace("\r\n", "\n") if body is not None else ""


def _index(written: Iterable[tuple[str, str]]) -> str:
    """Return a page that shows the HTML of each letter, as wide as a phone, beside its text."""
    letters = "\n".join(
        f"<section><h2 id={name!r}>{html.escape(name)}</h2><p><a href='{name}.eml'>{html.escape(name)}.eml</a></p>"
        f"<div><iframe src='{name}.html' title='{html.escape(name)}' loading='lazy'></iframe>"
        f"<pre>{html.escape(text)}</pre></div></section>"
        for name, text in written
    )
    return f"{_INDEX_HEAD}{letters}\n</body></html>\n"


_INDEX_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Every letter</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<style>
body { margin: 0 auto; max-width: 1080px; padding: 24px 16px; font: 16px/1.5 system-ui, sans-serif; }
div { display: flex; flex-wrap: wrap; gap: 20px; align-items: flex-start; }
iframe { width: 375px; max-width: 100%; height: 680px; border: 1px solid #9aa5ab; border-radius: 12px; }
pre { flex: 1 1 300px; min-width: 0; margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; }
h2 { margin: 36px 0 4px 0; font-size: 18px; }
p { margin: 0 0 10px 0; font-size: 14px; }
</style></head><body>
<h1>Every letter</h1>
"""
