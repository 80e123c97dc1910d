"""Name and values -> subject, text and HTML of one letter, by Jinja2.

1. Every value is escaped in HTML and is never rendered a second time; the sandbox lets a template read, not do.
2. A file of the school's own that fails is left aside for the shipped one, and is named with its line.
3. Styles are written into the elements, where every mail program reads them; the dark rules stay.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import css_inline
from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    StrictUndefined,
    Template,
    TemplateNotFound,
    TemplateSyntaxError,
    meta,
    nodes,
    pass_context,
)
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from supportd.compose.message import Content
from supportd.core import clean
from supportd.core.sla import counted

# One letter, rendered; far above any honest one, and far below what would hurt (the sandbox does not limit memory).
RENDERED_LIMIT_CHARACTERS = 256_000
_Rendered = TypeVar("_Rendered", Content, str)


class Wording:
    """The templates: the school's own file by file where they work, else the shipped ones.

    *problems* are what is wrong with own files, by their names; such a file is out of use until the next start.
    """

    def __init__(self, folder: Path | None) -> None:
        shipped = PackageLoader("supportd.templates", "")
        self._shipped = self._own = _environment(shipped)
        self._styles = self._own_styles = _inliner(self._shipped)
        self._folder = folder if folder is not None and folder.is_dir() else None
        self.problems: dict[str, str] = {}
        if folder is not None and self._folder is None:
            self.problems[str(folder)] = f"{folder}: there is no such folder; the shipped templates are used"
        elif folder is not None:
            self._own = _environment(ChoiceLoader([_OwnFiles(folder, self.problems), shipped]))
            self.problems.update(_mistakes(folder, self._shipped))
            self._own_styles = _inliner(self._own)

    def render(self, name: str, context: Mapping[str, object]) -> Content:
        """Return subject, text and HTML of the letter *name*; each round takes one failing own file out of use."""
        return self._in_force(name, lambda environment, styles: self._render(environment, styles, name, context))

    def page(self, name: str, context: Mapping[str, object]) -> str:
        """Return the HTML of the page *name*, which is for a browser: its styles and pictures stand in it."""
        file = f"{name}.html"
        return clean.block(
            self._in_force(file, lambda environment, _: _bounded(environment.get_template(file), context))
        )

    def _in_force(
        self, name: str, render: Callable[[ImmutableSandboxedEnvironment, css_inline.CSSInliner], _Rendered]
    ) -> _Rendered:
        while self._folder is not None and name not in self.problems:
            try:
                return render(self._own, self._own_styles)
            except Exception as error:  # noqa: BLE001 -- an edited template may fail in any way; the letter must go out.
                file, line = _place(error, self._folder)
                # Not in an own file, yet caused by one (an own layout without its block): the letter as shipped.
                culprit = file if file and file not in self.problems else name
                self.problems[culprit] = f"{self._folder / culprit}:{line}: {_reason(error)}"
                if self._own.cache is not None:
                    self._own.cache.clear()
        return render(self._shipped, self._styles)

    def _render(
        self,
        environment: ImmutableSandboxedEnvironment,
        styles: css_inline.CSSInliner,
        name: str,
        context: Mapping[str, object],
    ) -> Content:
        subject, text = _split_subject(_bounded(environment.get_template(f"{name}.txt"), context), f"{name}.txt")
        html = _bounded(environment.get_template(f"{name}.html"), {**context, "subject": subject})
        return Content(subject=subject, text=_wrapped(clean.block(text)), html=styles.inline(clean.block(html)))


class _OwnFiles(FileSystemLoader):
    """The files of the school's own folder, without those that have *problems*."""

    def __init__(self, folder: Path, problems: Mapping[str, str]) -> None:
        super().__init__(folder)
        self._problems = problems

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        if template in self._problems:
            raise TemplateNotFound(template)
        return super().get_source(environment, template)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja2's sandbox, in which a text cannot be multiplied either: ``{{ "x" * 10 ** 9 }}`` would take a gigabyte."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" or not (isinstance(left, int) and isinstance(right, int)):
            raise SecurityError(f"`{operator}` is for small numbers only")
        return super().call_binop(context, operator, left, right)


def _environment(loader: BaseLoader) -> ImmutableSandboxedEnvironment:
    environment = _Sandbox(
        loader=loader,
        undefined=StrictUndefined,
        # The whole name decides: jinja2's select_autoescape() lets "ack.html.j2" through unescaped.
        autoescape=lambda name: name is not None and name.endswith(".html"),
        auto_reload=False,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(when=_when, day=_day, hours=_hours, size=_size, lines=str.splitlines)
    # No range(): a letter repeats what it is given, and two nested ranges could keep the daemon busy for hours.
    environment.globals = {"command": _command, "counted": counted}
    return environment


def _mistakes(folder: Path, shipped: Environment) -> dict[str, str]:
    """Return what can be seen to be wrong in the files of *folder* without rendering them, by their names."""
    assert shipped.loader is not None
    names = shipped.loader.list_templates()
    known = {
        name
        for file in names
        if file.endswith((".txt", ".html"))
        for name in meta.find_undeclared_variables(shipped.parse(shipped.loader.get_source(shipped, file)[0]))
    }
    files = sorted(file for file in folder.iterdir() if file.suffix in (".txt", ".html", ".css"))
    found = {file.name: _mistake(file, names, known | {"subject"}, shipped) for file in files}
    return {name: f"{folder / name}:{mistake}" for name, mistake in found.items() if mistake}


def _mistake(file: Path, names: Sequence[str], known: Iterable[str], shipped: Environment) -> str:
    """Return the first mistake in *file* as ``line: what``, or an empty text."""
    if file.name not in names and not file.name.startswith("_"):
        return f"1: no letter uses this file{_meant(file.name, names)}"
    try:
        data = file.read_bytes()
    except OSError as error:
        return f"1: cannot be read ({error.strerror})"
    try:
        tree = shipped.parse(data.decode("utf-8"), file.name)
        unknown = meta.find_undeclared_variables(tree) - set(known)
    except UnicodeDecodeError as error:
        return f"{data[: error.start].count(10) + 1}: not UTF-8; save the file in that encoding"
    except TemplateSyntaxError as error:
        return f"{error.lineno}: {error.message}"
    for node in tree.find_all(nodes.Name):
        if node.name in unknown:
            return f"{node.lineno}: {node.name!r} is not known{_meant(node.name, known)}"
    return ""


def _meant(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _inliner(environment: ImmutableSandboxedEnvironment) -> css_inline.CSSInliner:
    """Return what writes the rules of style.css into ``style`` attributes, and keeps the dark rules as they stand.

    It runs on the finished letter, so it is right for every selector and value; 0.1 ms of the 1.5 ms a letter may cost.
    """
    assert environment.loader is not None
    style, _, _ = environment.loader.get_source(environment, "style.css")
    return css_inline.CSSInliner(
        extra_css=style, inline_style_tags=False, keep_style_tags=True, load_remote_stylesheets=False
    )


def _bounded(template: Template, context: Mapping[str, object]) -> str:
    """Return the rendered template.

    Raises:
        TemplateSyntaxError: It is longer than any letter can be.
    """
    pieces: list[str] = []
    length = 0
    for piece in template.generate(context):
        pieces.append(piece)
        length += len(piece)
        if length > RENDERED_LIMIT_CHARACTERS:
            raise TemplateSyntaxError(
                f"the letter is longer than {RENDERED_LIMIT_CHARACTERS:,} characters", 1, name=template.name
            )
    return "".join(pieces)


def _split_subject(rendered: str, file: str) -> tuple[str, str]:
    """Return the subject, which a text template gives in its first line, and the text below it."""
    first, _, rest = rendered.partition("\n")
    if not first.startswith("Subject: "):
        raise TemplateSyntaxError("the first line of a text template must be `Subject: ...`", 1, name=file)
    return clean.line(first.removeprefix("Subject: "), 300), rest


def _place(error: Exception, folder: Path) -> tuple[str, int]:
    """Return the file of *folder* and the line in which *error* arose; an empty name where it is none of its files."""
    if isinstance(error, TemplateSyntaxError):
        return (error.name or "", error.lineno) if (folder / (error.name or "")).is_file() else ("", error.lineno)
    found = ("", 1)
    trace = error.__traceback__
    while trace is not None:
        # Jinja2 rewrites the traceback, so that its frames carry the file and the line of the template.
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.parent == folder and file.suffix in (".txt", ".html"):
            found = (file.name, trace.tb_lineno)
        trace = trace.tb_next
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, TemplateNotFound):
        return f"there is no file {error}"
    return f"{error}" or type(error).__name__


# Mail in plain text is read in windows of 72 to 80 columns; the quoting of a reply takes two more each time.
_COLUMNS = 72


def _wrapped(text: str) -> str:
    """Return *text* with long lines broken at spaces, the indent (and that of a list) kept; long words stay whole.

    One empty line at most stands between two others: a template may leave a part out without leaving a hole.
    """
    lines: list[str] = []
    for line in text.strip("\n").split("\n"):
        for part in _wrapped_line(line):
            if part or (lines and lines[-1]):
                lines.append(part)
    return "\n".join(lines) + "\n"


def _wrapped_line(line: str) -> Iterable[str]:
    if len(line) <= _COLUMNS:
        return (line if line == "-- " else line.rstrip(),)
    content = line.lstrip(" ")
    indent = " " * (len(line) - len(content))
    hanging = indent + ("  " if content.startswith(("- ", "> ", "| ")) else "")
    if content.startswith("| "):
        hanging = indent + "| "
    lines: list[str] = []
    current = indent
    for word in content.split(" "):
        candidate = f"{current}{word}" if not current.strip() else f"{current} {word}"
        if len(candidate) > _COLUMNS and current.strip():
            lines.append(current.rstrip())
            candidate = hanging + word
        current = candidate
    return (*lines, current.rstrip())


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@pass_context
def _when(context: Context, instant: datetime) -> str:
    """Return *instant* as people at the school say it: "today 15:40", "tomorrow, Tue 25 Nov, 09:00"."""
    local = instant.astimezone(context["zone"])
    today = context["now"].astimezone(context["zone"]).date()
    clock = f"{local:%H:%M}"
    away = (local.date() - today).days
    if away == 0:
        return f"today {clock}"
    if away == -1:
        return f"yesterday {clock}"
    named = _day(context, local.date())
    return f"tomorrow, {named}, {clock}" if away == 1 else f"{named}, {clock}"


@pass_context
def _day(context: Context, day: date) -> str:
    """Return "Mon 30 Nov", with the year where it is another one than now."""
    named = f"{_DAYS[day.weekday()]} {day.day} {_MONTHS[day.month - 1]}"
    return named if day.year == context["now"].astimezone(context["zone"]).year else f"{named} {day.year}"


def _hours(service_time: timedelta) -> str:
    """Return service time in hours and minutes: a day of it is not a day of the calendar, so there are no days."""
    minutes = max(0, int(service_time.total_seconds() // 60))
    parts = [f"{number} {unit}" for number, unit in ((minutes // 60, "h"), (minutes % 60, "min")) if number]
    return " ".join(parts) or ("0 min" if not service_time else "under 1 min")


def _size(octets: int) -> str:
    """Return a file's size in words."""
    if octets < 1_000:
        return f"{octets} bytes"
    return f"{octets / 1_000:.0f} kB" if octets < 1_000_000 else f"{octets / 1_000_000:.1f} MB"


def _command(reply_to: str, reference: str, line: str) -> str:
    """Return a ``mailto:`` link (RFC 6068) to a letter that gives the command *line* for the ticket *reference*."""
    subject, body = quote(f"[{reference}]"), quote(f"{line}\r\n")
    return f"mailto:{quote(reply_to, safe='@+')}?subject={subject}&body={body}"
