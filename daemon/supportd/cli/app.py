"""The command line: ``supportd [-c FILE] COMMAND``; a command's code is imported when it is called, not for --help."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supportd import __version__
from supportd.errors import Refused, Unavailable, UserError

if TYPE_CHECKING:
    from supportd.config import Config

# Command -> the module and the name it is found by, and its line in the help.
_COMMANDS: Mapping[str, tuple[str, str, str]] = {
    "init": ("supportd.cli.init", "init", "A few questions, or flags, and a configuration is written."),
    "run": ("supportd.cli.app", "run", "The daemon: fetch, decide, answer, remind, until it is told to stop."),
    "once": ("supportd.cli.app", "once", "One pass: drain the mailbox, remind, drain the outbox."),
    "check": ("supportd.cli.check", "check", "Is everything in order?  A line for each thing, with the cure."),
    "demo": ("supportd.cli.demo", "demo", "A school morning on throw-away servers."),
    "ticket": ("supportd.cli.tickets", "ticket", "List, show and steer tickets."),
    "status": ("supportd.cli.admin", "status", "How the service is."),
    "outbox": ("supportd.cli.admin", "outbox", "Letters waiting, failed, held by the breaker."),
    "quarantine": ("supportd.cli.admin", "quarantine", "Mail that could not be read, or was screened wrongly."),
    "why": ("supportd.cli.admin", "why", "The whole path of one mail, by its Message-ID."),
    "audit": ("supportd.cli.admin", "audit", "Is every message accounted for?"),
    "reconcile": ("supportd.cli.admin", "reconcile", "Take back filed mail that the database does not know."),
    "db": ("supportd.cli.admin", "db", "Upgrade, back up, check and restore the database."),
    "retention": ("supportd.cli.privacy", "retention", "What goes by its age, and when."),
    "export": ("supportd.cli.privacy", "export", "Everything about a person, as a readable folder."),
    "erase": ("supportd.cli.privacy", "erase", "Take a person's words and address out, for good."),
    "sla": ("supportd.cli.clock", "sla", "Deadlines: for any instants, and why."),
    "calendar": ("supportd.cli.clock", "calendar", "When the service is open."),
    "severity": ("supportd.cli.severity", "severity", "Rehearse the keywords."),
    "inspect": ("supportd.cli.rehearse", "inspect", "How the pipeline sees .eml files; touches nothing."),
    "templates": ("supportd.cli.templates", "templates", "Look at every letter, and check your own wording."),
    "publish": ("supportd.cli.publish", "publish", "The response times, dates and status as static pages."),
    "digest": ("supportd.cli.admin", "digest", "The digest as it would go out now."),
}


class Session:
    """What a command is called with: the file named by -c, and the configuration it holds, read on first use."""

    def __init__(self, chosen: Path | None) -> None:
        self._chosen = chosen

    def config(self) -> Config:
        """Return the configuration in force: the shipped example where no file is found, which a line on stderr says.

        Raises:
            UserError: the file has problems.
        """
        return self._config

    def own_config(self) -> Config:
        """Return the configuration of the file, for commands that cannot do with the example.

        Raises:
            UserError: no file is found, or it has problems.
        """
        if self.path is None:
            raise UserError(
                "no configuration file: looked at -c, $SUPPORTD_CONFIG, ./config.yaml and /etc/supportd/config.yaml; "
                "write one with: supportd init, or copy config.example.yaml"
            )
        return self._config

    @cached_property
    def path(self) -> Path | None:
        """Return the configuration file in force, or None."""
        from supportd import config

        return config.find(self._chosen)

    @cached_property
    def _config(self) -> Config:
        from supportd import config

        if self.path is None:
            click.echo("no configuration file found: the shipped example is in force", err=True)
            return config.shipped()
        return config.load(self.path)


class _Commands(click.Group):
    """Lists every command without importing it, and prints our errors as lists, without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = _COMMANDS.get(cmd_name)
        if found is None:
            return None
        module, name, _ = found
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            cure = f"did you mean `{near[0]}`?" if near else "`supportd --help` lists them"
            raise click.UsageError(f"there is no command `{args[0]}`; {cure}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in _COMMANDS.items()])


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="For example:  supportd -c /etc/supportd/config.yaml check",
)
@click.version_option(__version__, prog_name="supportd")
@click.option(
    "-c",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The configuration; else $SUPPORTD_CONFIG, ./config.yaml, /etc/supportd/config.yaml.",
)
@click.option("-v", "--verbose", is_flag=True, help="Also log what is only of interest when something is wrong.")
@click.pass_context
def app(context: click.Context, config_file: Path | None, verbose: bool) -> None:
    """The help desk behind a school's support@ mailbox."""
    context.obj = Session(config_file)
    context.meta["verbose"] = verbose


def main() -> None:
    """Run the command line: exit 0 fine, 1 a problem to mend, 2 wrong usage, 3 a check found something."""
    try:
        app(standalone_mode=True)
    except UserError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        sys.exit(1)
    except (Unavailable, Refused) as error:
        click.echo(str(error), err=True)
        sys.exit(1)


def _since(_context: click.Context, _parameter: click.Parameter, value: datetime | None) -> datetime | None:
    return None if value is None else value.replace(tzinfo=UTC)


_import_since = click.option(
    "--import-since",
    type=click.DateTime(["%Y-%m-%d"]),
    callback=_since,
    metavar="DATE",
    help="On the first start, open tickets without an acknowledgement for older mail since DATE (YYYY-MM-DD, UTC).",
)


@click.command()
@_import_since
@click.pass_context
def run(context: click.Context, import_since: datetime | None) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Example:  supportd -c /etc/supportd/config.yaml run
    """
    from supportd import log
    from supportd.config import load
    from supportd.service import Service

    log.configure(verbose=context.meta.get("verbose", False))
    config: Config | None = context.obj.own_config()
    path = context.obj.path
    good: Config | None = None
    running: Service | None = None
    while config is not None:
        try:
            service = Service(config, import_since=import_since)
        except (UserError, Unavailable) as error:
            if good is None:
                raise
            # The file is right, but what it names is not there: a secret, a database.  The old one goes on.
            log.get("service").error("configuration refused", problems=str(error).splitlines())
            config, good = good, None
            continue
        for problem in (*config.calendar_problems, *config.keep_calendar_files()):
            log.get("service").warning("calendar", problem=problem)
        if running is not None:
            service.health.take_over(running.health)
        good, running = config, service
        config = service.run(lambda: load(path))


@click.command()
@_import_since
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
@click.pass_context
def once(context: click.Context, import_since: datetime | None, as_json: bool) -> None:
    """One pass: capture and decide until the folder is drained, remind, digest if due, drain the outbox.

    Example:  supportd once --json
    """
    import dataclasses

    from supportd import log
    from supportd.service import Service

    log.configure(verbose=context.meta.get("verbose", False))
    service = Service(context.obj.own_config(), import_since=import_since)
    try:
        summary = dataclasses.asdict(service.once())
    finally:
        service.close()
    if as_json or not sys.stdout.isatty():
        click.echo(json.dumps(summary))
    else:
        click.echo("  ".join(f"{count} {name}" for name, count in summary.items()))
