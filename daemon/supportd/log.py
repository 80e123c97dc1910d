"""Logging: structlog through the standard library; for people on a terminal, JSON elsewhere, never a body or secret."""

from __future__ import annotations

import logging
import sys

import structlog

# Libraries that would log what they carry: imapclient writes mail content at DEBUG, apscheduler every tick at INFO.
_QUIET = {"imapclient": logging.INFO, "apscheduler": logging.WARNING, "alembic": logging.WARNING}


def configure(*, verbose: bool = False, colours: bool | None = None) -> None:
    """Send all log lines to standard error: readable on a terminal, one JSON object a line elsewhere."""
    on_terminal = sys.stderr.isatty() if colours is None else colours
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if on_terminal:
        renderer: structlog.typing.Processor = structlog.dev.ConsoleRenderer(colors=True)
        exceptions: list[structlog.typing.Processor] = []
    else:
        renderer = structlog.processors.JSONRenderer()
        # show_locals would put mail texts and secrets into the journal.
        exceptions = [
            structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
        ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *exceptions, renderer],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(level)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def get(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger *name*; its events are short words, everything else stands in keys."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
