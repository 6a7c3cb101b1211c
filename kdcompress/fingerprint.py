"""What an object is, as a hash: its state and the code of the user's own functions and classes behind it."""

from __future__ import annotations

import dis
import hashlib
import pickle
import site
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

_PLACES = tuple(
    Path(place).resolve()
    for place in (
        *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        site.getusersitepackages(),
    )
)
_GLOBALS = {"LOAD_GLOBAL", "LOAD_NAME"}


def fingerprint(one: object) -> str | None:
    """Return a hash of what an object is; None where something behind it cannot be dumped.

    Of what is installed, names are hashed. Of the user's own functions: code, defaults, closures and the globals that
    they read, so that two of one text differ where what they read does. An object is pickled into the hash and never
    loaded.
    """
    stream = _Stream()
    try:
        _Dump(stream, protocol=5).dump(one)
    except Exception:  # noqa: BLE001 - what somebody else's __reduce__ raises
        return None
    return stream.hasher.hexdigest()


class _Stream:
    """A file that is hashed and not kept."""

    def __init__(self) -> None:
        self.hasher = hashlib.sha256()

    def write(self, data: Any) -> int:  # noqa: ANN401 - anything with bytes
        self.hasher.update(data)
        return memoryview(data).nbytes


class _Dump(pickle.Pickler):
    """Pickles what pickle leaves to a name, or refuses, by its content.

    Content is handed on as a state: then something is known already where its content leads back to it.
    """

    def reducer_override(self, one: Any) -> Any:  # noqa: ANN401
        """Return what is pickled in an object's place."""
        if isinstance(one, FunctionType):
            return NotImplemented if _named(one) else (str, (one.__qualname__,), _of_function(one))
        if isinstance(one, type):
            return NotImplemented if _named(one) else (str, (one.__qualname__,), _of_class(one))
        if isinstance(one, ModuleType):
            return str, (one.__name__,)
        if isinstance(one, CodeType):
            return str, (one.co_name,), _of_code(one)
        if isinstance(one, property | staticmethod | classmethod):
            parts = (one.fget, one.fset) if isinstance(one, property) else (one.__func__,)
            return str, (type(one).__name__,), parts
        if isinstance(one, Tensor):
            kept = one.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            return str, (str(one.dtype),), (tuple(one.shape), kept)
        if isinstance(one, torch.jit.ScriptModule):
            return str, ("ScriptModule",), bytes(one.save_to_buffer())
        if isinstance(one, nn.Module):
            return str, ("Module",), (type(one), _of_module(one))
        return NotImplemented


def _of_function(one: FunctionType) -> tuple[object, ...]:
    cells = [cell.cell_contents for cell in one.__closure__ or ()]
    return one.__code__, one.__defaults__, one.__kwdefaults__, cells, _read(one)


def _of_class(one: type) -> tuple[object, ...]:
    kept = {
        name: value
        for name, value in vars(one).items()
        if isinstance(value, FunctionType) or (not name.startswith("__") and name != "_abc_impl")
    }
    return one.__bases__, kept


def _of_code(one: CodeType) -> tuple[object, ...]:
    # The order of a set's constants is another in each process.
    constants = [sorted(map(repr, each)) if isinstance(each, frozenset) else each for each in one.co_consts]
    return one.co_code, constants, one.co_names, one.co_varnames, one.co_freevars


def _of_module(one: nn.Module) -> dict[str, object]:
    # A parametrised module refuses to be pickled for what would be lost in loading.
    state = vars(one) if is_parametrized(one) else cast(dict[str, object], one.__getstate__())
    # Hooks are kept by numbers that are counted through the whole process.
    return {
        name: list(value.values()) if "_hooks" in name and isinstance(value, Mapping) else value
        for name, value in state.items()
    }


def _read(one: FunctionType) -> dict[str, object]:
    """Return the globals that a function reads, and of modules of the user's own what it could take from them."""
    found: dict[str, object] = {}
    codes = list(_codes(one.__code__))
    names = {name for code in codes for name in code.co_names}
    for code in codes:
        for step in dis.get_instructions(code):
            if step.opname in _GLOBALS and step.argval in one.__globals__:
                found[step.argval] = one.__globals__[step.argval]
            if step.opname == "IMPORT_NAME" and step.argval in sys.modules:
                found[step.argval] = sys.modules[step.argval]
    for place, module in list(found.items()):
        if isinstance(module, ModuleType) and not _installed(module.__name__):
            found |= {f"{place}.{name}": vars(module)[name] for name in sorted(names & set(vars(module)))}
    return found


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _codes(one)


def _named(one: FunctionType | type) -> bool:
    """Say whether a function or a class is installed and can be told by its name."""
    if not _installed(one.__module__):
        return False
    found: object = sys.modules.get(one.__module__)
    for part in one.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is one


@cache
def _installed(module: str | None) -> bool:
    """Say whether a module is Python's own, a package that is installed or this one, and not the user's."""
    top = (module or "__main__").partition(".")[0]
    if top in {"kdcompress", *sys.builtin_module_names}:
        return True
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    return file is not None and any(Path(file).resolve().is_relative_to(place) for place in _PLACES)
