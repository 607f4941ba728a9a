"""The rooms of the library import only from rooms above them, and what is light to import stays light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rgru_lab

PACKAGE = Path(rgru_lab.__file__).parent
HEAVY = ("torch", "matplotlib", "ipywidgets")


def _rooms() -> list[str]:
    """The rooms in the order of the package's docstring: name, two or more spaces, purpose."""
    return re.findall(r"^ {4}(\w+) {2,}\S", rgru_lab.__doc__, flags=re.MULTILINE)


def _room(path: Path) -> str:
    """The room that a file belongs to: its module, or its sub-package."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def _imports(source: str, package: tuple[str, ...]) -> set[str]:
    """The rooms that a module of `package` imports, wherever in the code; absolute or relative."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [alias.name for alias in node.names]
            found |= {f"{module}.{name}" for name in names} if module == "rgru_lab" else {module}
    parts = [name.split(".") for name in found]
    return {p[1] for p in parts if p[0] == "rgru_lab" and len(p) > 1 and not p[1].startswith("__v")}


def _complaints(room: str, source: str, rooms: list[str], package: tuple[str, ...] = ("rgru_lab",)) -> list[str]:
    """What is wrong with a module of this room."""
    if room not in rooms:
        return [f"{room} is not in the list of rooms in rgru_lab/__init__.py"]
    allowed = rooms[: rooms.index(room)]
    wrong = _imports(source, package) - set(allowed) - {room}
    return [f"{room} imports {other}, which is not above it" for other in sorted(wrong)]


MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def test_the_docstring_lists_each_room_once_from_config_to_the_command_line():
    rooms = _rooms()
    assert len(rooms) == len(set(rooms)) >= 15
    assert (rooms[0], rooms[-1]) == ("config", "__main__")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_a_room_imports_only_from_rooms_above_it(path):
    package = ("rgru_lab", *path.relative_to(PACKAGE).parent.parts)
    assert _complaints(_room(path), path.read_text(encoding="utf-8"), _rooms(), package) == []


def test_the_package_itself_imports_none_of_its_rooms():
    assert _imports((PACKAGE / "__init__.py").read_text(encoding="utf-8"), ("rgru_lab",)) == set()


@pytest.mark.parametrize(
    "source",
    [
        "import rgru_lab.training",
        "from rgru_lab import config, training",
        "from rgru_lab.training import Trainer",
        "from . import training",
        "from .training import Trainer",
        "def f():\n    from rgru_lab.training import Trainer",
    ],
)
def test_an_import_from_below_would_be_noticed(source):
    assert _complaints("codec", source, _rooms()) == ["codec imports training, which is not above it"]


def test_an_import_from_below_out_of_a_sub_package_would_be_noticed():
    package = ("rgru_lab", "viewer")
    for source in ("from .. import __main__", "from ..__main__ import main", "import rgru_lab.__main__"):
        assert _complaints("viewer", source, _rooms(), package) == ["viewer imports __main__, which is not above it"]
    assert _complaints("viewer", "from . import frames\nfrom .. import codec", _rooms(), package) == []


def test_a_module_that_is_not_in_the_list_would_be_noticed():
    assert _complaints("attic", "", _rooms()) == ["attic is not in the list of rooms in rgru_lab/__init__.py"]


def test_imports_from_above_and_from_elsewhere_are_allowed():
    source = "import torch\nfrom rgru_lab import __version__, config\nfrom rgru_lab.images import load"
    assert _complaints("codec", source, _rooms()) == []


def _loaded_by(module: str) -> list[str]:
    """The heavy packages that a fresh Python has loaded after importing a module."""
    code = f"import sys, {module}; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    "module",
    ["rgru_lab", "rgru_lab.config", "rgru_lab.images", "rgru_lab.metrics", "rgru_lab.commands", "rgru_lab.__main__"],
)
def test_importing_the_package_loads_nothing_heavy(module):
    assert _loaded_by(module) == []


def test_the_check_for_heavy_imports_would_notice_torch():
    assert _loaded_by("rgru_lab.model") == ["torch"]
