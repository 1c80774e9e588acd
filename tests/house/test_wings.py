"""A folder is one idea: few modules, a sentence, and imports that run one way."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.house import measure

REPOSITORY = Path(__file__).parents[2]
MOST_MODULES = 12
DEEPEST = 2
"""Folders below a package."""
FLOORS = [floor for package in measure(REPOSITORY) for floor in package.floors]


@pytest.mark.parametrize("floor", FLOORS, ids=lambda floor: floor.folder)
def test_a_folder_is_a_wing(floor):
    assert floor.modules <= MOST_MODULES
    assert floor.folder.count(".") <= DEEPEST
    assert not floor.circles
    first = (REPOSITORY / floor.folder.replace(".", "/") / "__init__.py").read_text().splitlines()[0]
    assert first.startswith('"""')
    assert first.rstrip('"').endswith(".")


@pytest.mark.parametrize("place", ["tests", "benchmarks"])
def test_tests_and_benchmarks_have_wings_too(place):
    folders = {path.parent for path in (REPOSITORY / place).rglob("*.py")}
    crowded = {folder: count for folder in folders if (count := len(modules(folder))) > MOST_MODULES}
    assert not crowded


def modules(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.py") if path.name != "__init__.py"]


FACES = sorted(path.relative_to(REPOSITORY) for path in REPOSITORY.glob("[a-z]*/**/__init__.pyi"))


@pytest.mark.parametrize("face", FACES, ids=lambda face: str(face.parent))
def test_what_a_face_names_is_there_whatever_was_imported_before(face):
    """A name that is also a module's would be that module as soon as anybody has imported it."""
    package = ".".join(face.parent.parts)
    for module in modules(REPOSITORY / face.parent):
        import_module(f"{package}.{module.stem}")
    named = import_module(package)
    assert named.__all__
    assert [name for name in named.__all__ if isinstance(getattr(named, name), ModuleType)] == []
