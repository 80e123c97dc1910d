"""``supportd inspect``: how the pipeline sees mails, without a mailbox, a database or a secret."""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from supportd.config import Config
    from supportd.core.model import Mail, Unparseable
    from supportd.parsing import Reader

# Files that are read ahead while the line before them is written: enough for two workers, little to hold in memory.
READ_AHEAD = 4


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(allow_dash=True, path_type=Path))
@click.pass_context
def inspect(context: click.Context, files: tuple[Path, ...]) -> None:
    """Print how each .eml of FILES (- for standard input) is seen: a JSON line each, in their order; touches nothing.

    A file that cannot be read costs its own line ("verdict": "quarantined", with the reason), never the run.
    """
    from supportd.parsing import Reader

    config = context.obj.config()
    describe = _describer(config)
    with Reader(workers=min(2, len(files)), message_bytes=config.limits.message_megabytes * 1_000_000) as reader:
        for line in answers(files, reader, describe):
            # A file name may hold bytes that are no UTF-8; escaped so, they are valid JSON.
            sys.stdout.buffer.write(json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")
            sys.stdout.buffer.flush()


def answers(
    files: tuple[Path, ...], reader: Reader, describe: Callable[[Mail], dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield the answer for each of *files*, in their order."""
    from supportd.core.model import Mail
    from supportd.parsing import WorkerDied

    ahead: deque[tuple[Path, Future[Mail | Unparseable] | str]] = deque()
    waiting = iter(files)
    while True:
        for file in waiting:
            ahead.append((file, _submitted(file, reader)))
            if len(ahead) >= READ_AHEAD:
                break
        if not ahead:
            return
        file, task = ahead.popleft()
        try:
            outcome = task if isinstance(task, str) else task.result()
        except WorkerDied as death:
            outcome = f"the worker that read it died ({death})"
        if isinstance(outcome, Mail):
            yield {"file": str(file), **describe(outcome)}
        else:
            reason = outcome if isinstance(outcome, str) else outcome.reason
            yield {"file": str(file), "verdict": "quarantined", "rule": None, "reason": reason}


def _submitted(file: Path, reader: Reader) -> Future[Mail | Unparseable] | str:
    """Return the future of reading *file*, or why it cannot be opened; an oversize file gives its headers only."""
    try:
        if str(file) == "-":
            return reader.submit(sys.stdin.buffer.read())
        with file.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > reader.message_bytes:
                return reader.submit_envelope(stream.read(reader.header_bytes), size)
            return reader.submit(stream.read())
    except OSError as error:
        return f"the file cannot be read: {error.strerror or error}"


def _describer(config: Config) -> Callable[[Mail], dict[str, Any]]:
    """Return the function that screens and rates a mail, and tells all of it, under *config*."""
    from supportd.core import screen
    from supportd.core import sender as senders
    from supportd.core.severity import rate

    desks = config.desks
    settings = screen.Settings(
        own_addresses=frozenset().union(*(desk.own_addresses for desk in desks)),
        staff_domains=frozenset(config.staff_domains).union(*(desk.staff_domains for desk in desks)),
        blocked=frozenset(config.blocked),
        machine_senders=frozenset(config.machines),
    )
    keywords = config.compiled_keywords
    # Without a mailbox, staff are those whom the top of the file names.
    trust = desks[0].sender_trust if desks else senders.Trust(staff_domains=frozenset(config.staff_domains))

    def describe(mail: Mail) -> dict[str, Any]:
        screening = screen.judge(mail, settings)
        standing = senders.evidence(mail, trust)
        sender = mail.sender.address if mail.sender else ""
        rating = rate(mail.subject, mail.new_text, sender, keywords, automatic=screening.automatic)
        return {
            "verdict": screening.verdict.value,
            "rule": screening.rule,
            "automatic": screening.automatic,
            "bounce": screening.bounce,
            "from": mail.sender.address if mail.sender else None,
            "from_name": mail.sender.name if mail.sender else "",
            "to": [address.address for address in mail.to],
            "subject": mail.subject,
            "message_id": mail.message_id,
            "date": mail.date.isoformat() if mail.date else None,
            "text": mail.text,
            "new_text": mail.new_text,
            "attachments": [{"name": item.name, "type": item.type, "size": item.size} for item in mail.attachments],
            "severity": rating.level,
            "evidence": [{"words": hit.words, "field": hit.field, "facet": hit.facet} for hit in rating.evidence],
            "reason": screening.reason,
            "sender": {"level": standing.level.name.lower(), "reasons": list(standing.reasons)},
            "cc": [address.address for address in mail.cc],
            "forwarded": mail.forwarded,
            "defects": list(mail.defects),
            "oversize": mail.oversize,
        }

    return describe
