"""Plug-ins: one Python file, or an installed module, that registers things of its own (no torch).

Code is imported only where the user says so: by ``--plugin FILE``, by ``plugins=`` in Python, by installing a
distribution with an entry point in the group ``kdcompress.plugins``, or by naming a folder in the environment variable
``KDCOMPRESS_PLUGINS`` (several are parted as in ``PATH``), from which recipes may then load. A recipe and a bundle,
wherever they come from, only say which plug-in they want.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from types import ModuleType

from kdcompress.errors import InputError, KdcompressError, RecipeError, near
from kdcompress.registry import noting

GROUP = "kdcompress.plugins"
FOLDERS = "KDCOMPRESS_PLUGINS"


@dataclass(frozen=True)
class Origin:
    """A plug-in by its file's name (a module's, where it is installed) and the hash of its content."""

    name: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name} (sha256 {self.sha256[:12]})"


@dataclass(frozen=True)
class Plugin:
    """A plug-in that is loaded: what it registered, as (kind, name)."""

    origin: Origin
    path: Path
    registered: tuple[tuple[str, str], ...]


_LOADED: list[Plugin] = []


def loaded() -> tuple[Plugin, ...]:
    """Return the plug-ins of this process in the order in which they were loaded."""
    return tuple(_LOADED)


def source(kind: str, name: str) -> Plugin | None:
    """Return the plug-in that registered a name of a kind; None for a built-in."""
    return next((one for one in _LOADED if (kind, name) in one.registered), None)


def owner(kind: str, name: str) -> Origin | None:
    """Return the name and hash of the plug-in that registered a name of a kind; None for a built-in."""
    found = source(kind, name)
    return found.origin if found is not None else None


def load(file: str | Path) -> Plugin:
    """Import a plug-in from its file, once per process, and return it.

    It has the file alone: what lies beside it cannot be imported, so the hash is of all its code.

    Raises:
        InputError: where it cannot be read, raises, takes a name that is taken, or registers nothing.
    """
    path = _resolved(file)
    content = _content(file)
    origin = Origin(path.name, hashlib.sha256(content).hexdigest())
    for one in _LOADED:
        if one.origin.sha256 == origin.sha256:
            return one
        if one.path == path:
            raise InputError(f"{file}: the plug-in changed since it was loaded; start Python anew")
    module = ModuleType(f"kdcompress_plugin_{path.stem}_{origin.sha256[:12]}")
    module.__file__ = str(path)

    def run() -> None:
        sys.modules[module.__name__] = module
        exec(compile(content, str(path), "exec"), module.__dict__)

    try:
        return _registered(str(file), origin, [path], run)
    except InputError:
        sys.modules.pop(module.__name__, None)
        raise


def load_installed() -> tuple[Plugin, ...]:
    """Import what installed distributions offer as plug-ins, once per process.

    Raises:
        InputError: as `load`.
    """
    return tuple(_load_entry(entry) for entry in importlib.metadata.entry_points(group=GROUP))


def _load_entry(entry: importlib.metadata.EntryPoint) -> Plugin:
    for one in _LOADED:
        if one.origin.name == entry.module:
            return one
    where = f"entry point {entry.name} of {entry.dist.name if entry.dist else GROUP} ({entry.value})"
    # The whole package, for the module may use all of it; a spec of the module itself would import its parents.
    spec = importlib.util.find_spec(entry.module.partition(".")[0])
    if spec is None or spec.origin is None:
        raise InputError(f"{where}: there is no such module")
    path = Path(spec.origin)
    files = sorted(path.parent.rglob("*.py")) if spec.submodule_search_locations else [path]
    hashes = [hashlib.sha256(_content(one)).hexdigest() for one in files]
    total = hashlib.sha256("".join(hashes).encode()).hexdigest()
    return _registered(where, Origin(entry.module, total), files, entry.load)


def admit(wanted: Sequence[tuple[str, str | None]], where: str) -> tuple[Plugin, ...]:
    """Return the plug-ins that a recipe wants, as (file, sha256 or None); import only those that the user allows.

    A plug-in that is loaded already serves if it is the same file, or another one of the same name.

    Raises:
        RecipeError: with every plug-in that is not there, not allowed, or has another content than wanted, and every
            folder in ``KDCOMPRESS_PLUGINS`` from which nothing can be loaded.
    """
    found, problems = [], []
    usable, useless = _folders()
    for index, (file, sha256) in enumerate(wanted):
        path = _resolved(Path(where).parent / file)
        plugin = _served(path, sha256)
        if plugin is None and _there(path) and any(path.is_relative_to(folder) for folder in usable):
            plugin = load(path)
        if plugin is None:
            problems.append(f"plugins.{index}: {_wanting(file, path, sha256)}")
        elif sha256 is not None and plugin.origin.sha256 != sha256:
            problems.append(f"plugins.{index}: wants {Origin(file, sha256)}, but what is loaded is {plugin.origin}")
        else:
            found.append(plugin)
    if problems:
        # What the variable names in vain is said where something is missing: else it does no harm.
        raise RecipeError(where, [*problems, *useless])
    return tuple(found)


def _served(path: Path, sha256: str | None) -> Plugin | None:
    tests: tuple[Callable[[Plugin], bool], ...] = (
        lambda one: one.origin.sha256 == sha256,
        lambda one: one.path == path,
        lambda one: one.origin.name == path.name,
    )
    return next((one for test in tests for one in _LOADED if test(one)), None)


def _folders() -> tuple[list[Path], list[str]]:
    """Return the folders from which the user lets recipes load, and those that he names in vain, with the reason."""
    usable, useless = [], []
    for named in filter(None, os.environ.get(FOLDERS, "").split(os.pathsep)):
        if why := _useless(named):
            useless.append(f"{FOLDERS}: '{named}' {why}")
        else:
            usable.append(_resolved(named))
    return usable, useless


def _useless(named: str) -> str:
    """Say why recipes cannot load from a folder; an empty string where they can."""
    try:
        folder = Path(named).expanduser()
        if not folder.is_absolute():
            # It would be another folder wherever a command runs, perhaps one that somebody else filled.
            return f"is relative; give it in full, e.g. {folder.absolute()}"
        with os.scandir(folder):
            return "" if os.access(folder, os.X_OK) else "cannot be read: Permission denied"
    except FileNotFoundError:
        return f"is not there{near(folder.name, [one.name for one in folder.parent.glob('*/')])}"
    except (OSError, RuntimeError) as error:
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"


def _wanting(file: str, path: Path, sha256: str | None) -> str:
    there = _there(path)
    sha256 = sha256 or (hashlib.sha256(_content(path)).hexdigest() if there else None)
    which = Origin(file, sha256) if sha256 else file
    how = f"--plugin {path}" if there else f"--plugin FILE ({path} is not there)"
    return f"wants the plug-in {which}; a recipe imports no code by itself: give {how}, or name its folder in {FOLDERS}"


def _there(path: Path) -> bool:
    """Say whether a file is there; not where its folder is closed."""
    try:
        return path.is_file()
    except OSError:
        return False


def _resolved(file: str | Path) -> Path:
    try:
        return Path(file).expanduser().resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"plug-in {str(file)[:80]!r}: {error}") from error


def _content(file: str | Path) -> bytes:
    path = _resolved(file)
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        beside = [one.name for one in path.parent.glob("*.py")]
        raise InputError(f"{file}: no such plug-in file{near(path.name, beside)}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot read the plug-in: {getattr(error, 'strerror', None) or error}") from error


def _registered(where: str, origin: Origin, files: Sequence[Path], run: Callable[[], object]) -> Plugin:
    """Run a plug-in's code; where it fails, nothing that it registered stays."""
    try:
        with noting() as noted:
            run()
            if not noted:
                raise InputError('registers nothing; a plug-in has e.g. @kdcompress.LOSSES.register("mine")')
    except (Exception, SystemExit) as error:
        raise InputError(f"{where}{_line(error, files)}: {_said(error)}") from error
    plugin = Plugin(origin, files[0], tuple((registry.kind, name) for registry, name in noted))
    _LOADED.append(plugin)
    return plugin


def fault(error: BaseException) -> str:
    """Return the plug-in and the line in it where an error arose, or an empty string where it arose in none."""
    return next((f"{one.path}{line}" for one in _LOADED if (line := _line(error, [one.path]))), "")


def _said(error: BaseException) -> str:
    if isinstance(error, KdcompressError):
        return str(error)
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}"


def _line(error: BaseException, files: Sequence[Path]) -> str:
    """Return the innermost line of the plug-in that an error went through."""
    own = {str(file): f", {file}" if len(files) > 1 else "" for file in files}
    frames = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename is not None and error.lineno is not None:
        frames.append((error.filename, error.lineno))
    return next((f"{own[name]}, line {line}" for name, line in reversed(frames) if name in own), "")
