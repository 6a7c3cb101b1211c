"""Files of `torch.export`: for programs that have torch, in Python or C++."""

from __future__ import annotations

import hashlib
import io
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdcompress.errors import BundleError, KdcompressError
from kdcompress.exporting.exported import Array, Exported
from kdcompress.exporting.graph import Traced
from kdcompress.exporting.metadata import HASH_KEY, KEY, SCORE_ANYWAY, Metadata, from_text, to_text
from kdcompress.pt2archive import members, refuse_code

_METADATA = f"{KEY}.json"


def inner_of(whole: Traced, kept: Traced) -> dict[str, str]:
    """Return which outputs of one tracing can be looked at in another, in order, by the names of their values."""
    there = {node.name for node in kept.program.graph.nodes}
    return {name: value for name, value in zip(whole.names[1:], whole.values[1:], strict=True) if value in there}


def sealed(traced: Traced, metadata: Metadata) -> bytes:
    """Return the file, with its metadata and the hash of everything else in it as extra files.

    Raises:
        KdcompressError: where torch cannot write the graph, with its own words.
    """
    program = traced.program
    # Sample inputs are the one thing in the file that torch would pickle.
    program.example_inputs = None
    said = {_METADATA: to_text(metadata)}
    first = _saved(traced, said)
    whole = _saved(traced, {**said, HASH_KEY: _hash(first)})
    if _hash(whole) != _hash(first):
        raise KdcompressError("cannot be exported to pt2: torch does not write the same content twice")
    refuse_code(whole, Path("the exported file"))
    return whole


def is_own(data: bytes, path: Path) -> bool:
    """Say whether this package wrote a file.

    Raises:
        BundleError: where it is no archive.
    """
    try:
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    except (zipfile.BadZipFile, ValueError) as error:
        raise BundleError(f"{path}: not a file of torch.export, or a damaged one: {error}") from error
    return any(name.endswith((f"extra/{_METADATA}", f"extra/{HASH_KEY}")) for name in names)


def opened(data: bytes, path: Path, *, threads: int | None = None) -> Exported:
    """Return a file's detector, ready to run on torch's own threads; nothing in it is unpickled or evaluated.

    Raises:
        BundleError: where the file is damaged, altered, not of this package, or has what could run code.
    """
    content = refuse_code(data, path) if is_own(data, path) else {}
    if f"extra/{_METADATA}" not in content or f"extra/{HASH_KEY}" not in content:
        raise BundleError(
            f"{path}: a file of torch.export, but not one that kdcompress wrote: it has no metadata of kdcompress "
            f"({SCORE_ANYWAY})"
        )
    if _hash(data) != content[f"extra/{HASH_KEY}"].decode("ascii", "replace"):
        raise BundleError(
            f"{path}: altered or damaged: the hash of its content is not the one that it was written with"
        )
    metadata = from_text(content[f"extra/{_METADATA}"].decode("utf-8", "replace"), path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module: Any = torch.export.load(io.BytesIO(data)).module(check_guards=False)
    except Exception as error:  # noqa: BLE001 - torch raises anything on files of other versions
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise BundleError(f"{path}: torch {torch.__version__} cannot load it: {said[0]}") from error

    def run(raw: Array) -> Mapping[str, Array]:
        with torch.inference_mode():
            return {name: value.numpy() for name, value in module(torch.from_numpy(raw)).items()}

    def look(raw: Array) -> Mapping[str, Array]:
        wanted = {value: name for name, value in metadata.inner.items()}
        found: dict[str, Tensor] = {}

        class Watch(torch.fx.Interpreter):
            def run_node(self, n: torch.fx.Node) -> Any:  # noqa: ANN401 - what a node gives
                value = super().run_node(n)
                if n.name in wanted:
                    found[wanted[n.name]] = value
                return value

        with torch.inference_mode():
            Watch(module).run(torch.from_numpy(raw))
        return {name: found[name].numpy() for name in metadata.inner if name in found}

    return Exported(metadata, run, look)


def _saved(traced: Traced, extra: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    try:
        torch.export.save(traced.program, buffer, extra_files=extra)
    except Exception as error:  # noqa: BLE001 - what cannot be written is told by many errors
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise KdcompressError(f"cannot be exported to pt2: {said[0]}") from error
    return buffer.getvalue()


def _hash(data: bytes) -> str:
    """Return the hash of all members of an archive but the hash itself and torch's own check sums."""
    hasher = hashlib.sha256()
    for name, content in sorted(members(zipfile.ZipFile(io.BytesIO(data))).items()):
        if name != f"extra/{HASH_KEY}" and not name.startswith(".data/"):
            hasher.update(f"{name} {len(content)}\n".encode())
            hasher.update(content)
    return hasher.hexdigest()
