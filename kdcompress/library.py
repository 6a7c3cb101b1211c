"""The files that recipes come from: shipped ones by name, others by path (no torch, no pydantic)."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from kdcompress import document
from kdcompress.errors import InputError, RecipeError, near, unknown

DEFAULT = "digits"


def shipped() -> dict[str, Path]:
    """Return the shipped recipes by name."""
    folder = Path(str(resources.files("kdcompress.recipes")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find(name: str) -> Path:
    """Return the file of a recipe given by path or by the name of a shipped one.

    Raises:
        InputError: where there is neither.
    """
    path = Path(name)
    if exists(path.is_file):
        return path
    if exists(path.is_dir) and name and name not in shipped():
        raise InputError(f"{name}: a folder, not a recipe{near(str(path), map(str, path.glob('*.y*ml')))}")
    if path.suffix in {".yaml", ".yml"}:
        beside = {one.name: one for one in path.parent.glob("*.y*ml")} if exists(path.parent.is_dir) else {}
        raise InputError(f"{name}: no such recipe file{near(path.name, beside)}")
    recipes = shipped()
    if name not in recipes:
        raise InputError(unknown("recipe", name, recipes) + "; or give the path of a .yaml file")
    return recipes[name]


def exists(question: Callable[[], bool]) -> bool:
    """Ask about a path that may be none at all: too long, with a null byte, in a closed folder."""
    try:
        return question()
    except (OSError, ValueError):
        return False


def read(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; duplicate keys are an error.

    Raises:
        RecipeError: where it does not parse, with line and column.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError(str(path), [f"cannot read it: {error.strerror or error}"]) from error
    except UnicodeDecodeError as error:
        raise RecipeError(str(path), [f"not a text file in UTF-8: byte {error.start} is none"]) from error
    plain = document.parse(text, str(path))
    if not isinstance(plain, dict):
        raise RecipeError(str(path), ["expected a mapping of keys such as data, teacher, student"])
    return plain
