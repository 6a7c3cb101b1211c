"""Names for the things that recipes choose from."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from kdcompress.errors import InputError, unknown

T = TypeVar("T")

_NOTED: ContextVar[list[tuple[Registry[Any], str]] | None] = ContextVar("_NOTED", default=None)


@dataclass(frozen=True)
class Entry:
    """A built-in thing: where its code is, and one line that says what it is."""

    target: str
    description: str

    @property
    def module(self) -> str:
        """The module that registers it."""
        return self.target.partition(":")[0]


class Registry(Generic[T]):
    """A table of names of one kind.

    Built-ins stand in a lazy table, so that listing them imports nothing heavy; a module that is imported
    registers what it defines under the same names. The two are compared by a contract test.
    """

    def __init__(self, kind: str, builtins: Mapping[str, Entry], elsewhere: Mapping[str, str] = {}) -> None:  # noqa: B006
        """Make a table; ``elsewhere`` says of names that are looked for in it, and are none, where the thing is."""
        self.kind = kind
        self._elsewhere = elsewhere
        self._builtins = dict(builtins)
        self._items: dict[str, T] = {}
        self._descriptions = {name: entry.description for name, entry in builtins.items()}

    def register(self, name: str, description: str | None = None) -> Callable[[T], T]:
        """Return a decorator that files its argument under an explicit name; a taken name raises.

        The description is one line; without it, the first line of the docstring.
        """

        def file(item: T) -> T:
            if name in self._builtins:
                # Complete when a plug-in takes a built-in's name, a no-op while the built-in's own module runs.
                importlib.import_module(self._builtins[name].module)
            if name in self._items:
                raise InputError(f"{self.kind} '{name}' is registered already; choose another name")
            self._items[name] = item
            # A loss is a record around its function.
            documented = getattr(item, "compute", item)
            said = description or (getattr(documented, "__doc__", None) or "").strip().partition("\n")[0]
            self._descriptions.setdefault(name, said)
            noted = _NOTED.get()
            if noted is not None and name not in self._builtins:
                noted.append((self, name))
            return item

        return file

    def __getitem__(self, name: str) -> T:
        if name not in self._items:
            if name not in self._builtins:
                raise InputError(self.refusal(name))
            importlib.import_module(self._builtins[name].module)
        return self._items[name]

    def __contains__(self, name: object) -> bool:
        return name in self._items or name in self._builtins

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._builtins, *self._items}))

    def __len__(self) -> int:
        return len({*self._builtins, *self._items})

    def describe(self, name: str) -> str:
        """Return the one line that says what a name stands for, without importing it."""
        if name not in self:
            raise InputError(self.refusal(name))
        return self._descriptions[name]

    def refusal(self, name: str) -> str:
        """Say that a name is not known, what the nearest one is and which ones exist, or where else the thing is."""
        place = self._elsewhere.get(name.casefold())
        return unknown(self.kind, name, self) + (f"; {place}" if place else "")

    def options(self, name: str) -> tuple[str, ...]:
        """Return the names of a builder's options, its keyword-only parameters; built-ins are not imported for it."""
        if name in self._items:
            found = inspect.signature(self._items[name]).parameters.values()  # type: ignore[arg-type]
            return tuple(one.name for one in found if one.kind is one.KEYWORD_ONLY)
        return _keywords(self._builtins[name].target)

    def builtins(self) -> Mapping[str, Entry]:
        """Return the lazy table, for the test that compares it with the modules."""
        return dict(self._builtins)

    def _forget(self, name: str) -> None:
        del self._items[name], self._descriptions[name]


@cache
def _keywords(target: str) -> tuple[str, ...]:
    """Return the keyword-only parameters of a function as its source has them."""
    module, _, function = target.partition(":")
    spec = importlib.util.find_spec(module)
    nodes = ast.parse(Path(spec.origin).read_bytes()).body if spec is not None and spec.origin is not None else []
    built = next(one for one in nodes if isinstance(one, ast.FunctionDef) and one.name == function)
    return tuple(one.arg for one in built.args.kwonlyargs)


@contextmanager
def noting() -> Iterator[list[tuple[Registry[Any], str]]]:
    """Collect what is registered meanwhile beside the built-ins; where that raises, it is taken back."""
    noted: list[tuple[Registry[Any], str]] = []
    token = _NOTED.set(noted)
    try:
        yield noted
    except BaseException:
        for registry, name in noted:
            registry._forget(name)
        raise
    finally:
        _NOTED.reset(token)
