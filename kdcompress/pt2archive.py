"""What a file of `torch.export` may hold so that loading it cannot run code.

`torch.export.load` unpickles what a file says is pickled, looks functions up by any name below ``torch``, and evaluates
expressions and guards. What kdcompress writes needs none of it: files that have it are refused before torch sees them.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from kdcompress.errors import BundleError

_MEMBERS = re.compile(
    r"data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|data/sample_inputs/model\.pt|models/model\.json|archive_format|archive_version|byteorder"
    r"|extra/kdcompress\.(json|sha256)|\.data/(version|serialization_id|alignment)|\.format_version|\.storage_alignment"
)
_SAMPLES = "data/sample_inputs/model.pt"
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_OPERATOR = re.compile(
    r"torch\.ops\.aten\.\w+\.\w+|_operator\.(add|sub|mul|floordiv|mod|neg|getitem|eq|ne|lt|le|gt|ge)"
)
_WORDS = {"Symbol", "positive", "integer", "True", "False", "Integer", "Max", "Min", "Mod", "FloorDiv", "Add", "Mul"}
_WORD = re.compile(r"[A-Za-z_]\w*")
_EXPRESSION = re.compile(r"[\w\s'(),=+*/<>-]*")
_SYMBOL = re.compile(r"[su]\d+")
_NAME = re.compile(r"[\w.]*")


def members(archive: zipfile.ZipFile) -> dict[str, bytes]:
    """Return the content of an archive by name, below its one top folder."""
    return {info.filename.partition("/")[2]: archive.read(info) for info in archive.infolist()}


def refuse_code(data: bytes, path: Path) -> Mapping[str, bytes]:
    """Return the members of a file of `torch.export` in which nothing could run code.

    Raises:
        BundleError: where it is no such file, or something could.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [info.filename for info in archive.infolist()]
            content = members(archive)
        if len(content) != len(names):
            raise BundleError(f"{path}: refused: two of its members have one name")
        problem = next(_problems(content), None)
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, NotImplementedError, RecursionError) as error:
        raise BundleError(f"{path}: not a file of torch.export, or a damaged one: {error}") from error
    if problem is not None:
        raise BundleError(f"{path}: refused: {problem}, which kdcompress never writes: loading it could run code")
    return content


def without_samples(data: bytes) -> bytes:
    """Return a file of `torch.export` without the inputs that it was traced with: the one thing that is pickled in all.

    Raises:
        BundleError: where it is no such file.
    """
    written = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(written, "w") as kept:
            for info in archive.infolist():
                pickled = info.filename.partition("/")[2] == _SAMPLES
                kept.writestr(info.filename, b"" if pickled else archive.read(info))
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        raise BundleError(f"not a file of torch.export, or a damaged one: {error}") from error
    return written.getvalue()


def _problems(content: Mapping[str, bytes]) -> Iterator[str]:
    for name in content:
        if not _MEMBERS.fullmatch(name):
            yield f"it has a member '{name[:80]}'"
    if content["archive_format"] != b"pt2":
        yield "it is of an older format"
    if content.get(_SAMPLES):
        yield "it has pickled sample inputs"
    for name in _CONFIGS:
        config = json.loads(content[name])["config"]
        for key, entry in config.items():
            kind = "weight" if "weights" in name else "tensor"
            if entry.get("use_pickle") is not False or not re.fullmatch(kind + r"_\d+", entry["path_name"]):
                yield f"its '{key[:80]}' is pickled"
    yield from _in_graph(json.loads(content["models/model.json"]))


def _in_graph(found: object) -> Iterator[str]:
    """Return what is wrong with any part of the graph's JSON, however deep."""
    if isinstance(found, list):
        for one in found:
            yield from _in_graph(one)
    if not isinstance(found, dict):
        return
    for key, value in found.items():
        if key == "target" and not (isinstance(value, str) and _OPERATOR.fullmatch(value)):
            yield f"it calls '{str(value)[:80]}'"
        elif key == "expr_str" and not _harmless(value):
            yield f"it evaluates '{str(value)[:80]}'"
        elif key == "guards_code" and value:
            yield "it has guards"
        elif key == "name" and isinstance(value, str) and not _NAME.fullmatch(value):
            yield f"it has a value named '{value[:80]}'"
        elif key == "range_constraints" and not all(_SYMBOL.fullmatch(one) for one in value):
            yield "it has constraints on something else than sizes"
        elif key in {"as_custom_obj", "custom_obj"}:
            yield "it has an object of its own"
        yield from _in_graph(value)


def _harmless(expression: object) -> bool:
    """Say whether an expression is arithmetic on sizes."""
    if not isinstance(expression, str) or not _EXPRESSION.fullmatch(expression):
        return False
    return all(word in _WORDS or _SYMBOL.fullmatch(word) for word in _WORD.findall(expression))
