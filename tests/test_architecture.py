"""The dependency rule: arrows of import point down, the core is pure, each library lives in one room."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "daemon" / "supportd"

# From the door to the cellar: a room imports rooms that stand below it, and itself.
FLOORS = (
    ("cli",),
    ("service",),
    ("station",),
    ("reconcile",),
    ("capture", "decide", "remind", "outbox", "sent"),
    ("audit", "joining"),
    ("opening",),
    ("arrival", "steering"),
    ("accounts", "lease", "post", "privacy", "publish", "report", "samples"),
    ("compose", "config", "db", "health", "oauth", "parsing", "smtp"),
    ("imap",),
    ("core",),
    ("errors", "failpoint", "log"),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# The wire reaches the middle only as arguments.
WIRES, WIRED = {"imap", "smtp"}, {"accounts", "audit", "cli", "service", "smtp", "station"}

HOMES = {
    "PIL": "compose",
    "aiosmtpd": "cli",
    "alembic": "db",
    "apscheduler": "service",
    "click": "cli",
    "css_inline": "compose",
    "holidays": "config",
    "icalendar": "config",
    "imapclient": "imap",
    "jinja2": "compose",
    "mailparser": "core",
    "google": "oauth",
    "msal": "oauth",
    "pebble": "parsing",
    "prometheus_client": "health",
    "pydantic": "config",
    "recurring_ical_events": "config",
    "rich": "cli",
    "ruamel": "config",
    "selectolax": "core",
    "snowballstemmer": "core",
    "sqlalchemy": "db",
    "structlog": "log",
    "tnefparse": "core",
}


def room_of(module: Path) -> str:
    """Return the room that the file *module* belongs to: its package, or its own name."""
    return module.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(tree: ast.AST, types_only: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield the dotted names that *tree* imports, and whether only a type checker imports them."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.Import(names=names):
                yield from ((alias.name, types_only) for alias in names)
            case ast.ImportFrom(module="supportd", names=names):
                yield from ((f"supportd.{alias.name}", types_only) for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module, types_only
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                yield from imports(node, types_only=True)
            case _:
                yield from imports(node, types_only)


def trespasses(room: str, source: str) -> list[str]:
    """Return what the module *source* of *room* imports against the rule."""
    found = []
    for name, types_only in imports(ast.parse(source)):
        library, _, rest = name.partition(".")
        if library == "supportd":
            # supportd itself holds nothing but its version, and the folder of its data.
            target = rest.partition(".")[0]
            below = target == room or target not in FLOOR or FLOOR[target] > FLOOR[room]
            if not below or (target in WIRES and room not in WIRED and not types_only):
                found.append(name)
        elif library not in sys.stdlib_module_names and HOMES.get(library) != room:
            found.append(name)
    return found


@pytest.mark.parametrize("module", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_imports_only_what_stands_below_it(module: Path) -> None:
    room = room_of(module)

    assert room in FLOOR or module == SOURCE / "__init__.py", "a new room: give it its floor"
    assert trespasses(room, module.read_text()) == []


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("core", "import sqlalchemy"),
        ("core", "from supportd.config import Config"),
        ("core", "from supportd import log\nfrom supportd import db"),
        ("db", "from supportd import compose"),
        ("decide", "def late():\n    from supportd.imap import ImapSession"),
        ("decide", "import supportd.service"),
        ("capture", "import imapclient.exceptions"),
        ("errors", "from supportd.core import clean"),
        ("service", "import requests"),
    ],
)
def test_a_trespass_is_noticed(room: str, line: str) -> None:
    assert len(trespasses(room, line)) == 1


def test_every_library_named_here_is_used() -> None:
    used = {
        name.partition(".")[0] for module in SOURCE.rglob("*.py") for name, _ in imports(ast.parse(module.read_text()))
    }

    assert set(HOMES) - used == set()
