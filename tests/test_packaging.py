"""What is installed is what stands in the tree: no folder forgotten, no template, example or migration left behind."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
# Where each package lies in the tree, by pyproject's own mapping.
SOURCES = {"supportd": ROOT / "daemon" / "supportd", "supportd.templates": ROOT / "templates"}


def packages_in_the_tree() -> set[str]:
    """Return the dotted names of all folders that hold Python modules."""
    return {
        ".".join((package, *init.parent.relative_to(folder).parts))
        for package, folder in SOURCES.items()
        for init in folder.rglob("__init__.py")
    }


def files_in_the_tree() -> set[str]:
    """Return the paths that an installation must have, as they lie below site-packages."""
    return {
        str(Path(*package.split("."), file.relative_to(folder)))
        for package, folder in SOURCES.items()
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Return the wheel, built from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    # The copy keeps setuptools' build folder out of the tree, where a file deleted since would be packed again.
    sources = [ROOT / "daemon", ROOT / "templates", ROOT / "pyproject.toml", ROOT / "config.example.yaml"]
    subprocess.run(["cp", "--recursive", *sources, *ROOT.glob("*.md"), folder], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, folder]
    built = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert built.returncode == 0, built.stderr
    [path] = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_list_of_packages_is_the_tree() -> None:
    assert set(SETUPTOOLS["packages"]) == packages_in_the_tree()


def test_the_wheel_holds_every_file_of_the_tree(wheel: zipfile.ZipFile) -> None:
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert packed == files_in_the_tree()


def test_the_wheel_holds_what_no_installation_can_do_without(wheel: zipfile.ZipFile) -> None:
    packed = set(wheel.namelist())

    assert {"supportd/config.example.yaml", "supportd/keywords.yaml", "supportd/demo/config.yaml"} <= packed
    assert {"supportd/py.typed", "supportd/templates/acknowledgement.html"} <= packed
    assert any(name.startswith("supportd/db/migrations/versions/v0001") for name in packed)
