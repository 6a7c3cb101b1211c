"""ONNX files: written by torch's exporter, run by ONNX Runtime on the CPU."""

from __future__ import annotations

import copy
import hashlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdcompress.errors import BundleError, InputError, KdcompressError
from kdcompress.exporting.exported import Array, Exported
from kdcompress.exporting.graph import INPUT, Traced
from kdcompress.exporting.metadata import HASH_KEY, KEY, SCORE_ANYWAY, Metadata, from_text, to_text

if TYPE_CHECKING:
    from onnx import ModelProto

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_QUIET = 4
"""ONNX Runtime's level for what ends the process: all else comes as an exception too."""


def check_installed() -> None:
    """Check that what ONNX files need is there.

    Raises:
        InputError: where it is not.
    """
    from importlib.util import find_spec

    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise InputError(f"ONNX files need {', '.join(missing)}: pip install 'kdcompress[export]'")


def model(traced: Traced, keep: int) -> ModelProto:
    """Return the graph as ONNX with its first ``keep`` outputs; what only the others need is left out.

    The others keep their names inside, where they are part of the way to an output.

    Raises:
        KdcompressError: where an operation has no form in ONNX, with the exporter's own words.
    """
    import torch
    from onnx_ir.passes import common as passes
    from onnx_ir.serde import serialize_model

    from kdcompress.exporting.lowered import lowered

    try:
        with _quiet():
            # 18 is the first that resizes as torch does, and ONNX Runtime's fast pools know no later one than 18.
            program = torch.onnx.export(
                traced.program,
                dynamo=True,
                input_names=[INPUT],
                output_names=list(traced.names),
                opset_version=18,
                verbose=False,
            )
    except Exception as error:
        said = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise KdcompressError(f"cannot be exported to ONNX: {said[0]}") from error
    assert program is not None
    found = program.model
    del found.graph.outputs[keep:]
    lowered(found, traced.names)
    passes.RemoveUnusedNodesPass()(found)
    passes.RemoveUnusedOpsetsPass()(found)
    # The exporter notes beside each node where its code lies on this machine.
    passes.ClearMetadataAndDocStringPass()(found)
    found.metadata_props.clear()
    plain: ModelProto = serialize_model(found)
    for value in (*plain.graph.value_info, *plain.graph.input, *plain.graph.output, *plain.graph.initializer):
        del value.metadata_props[:]
    return plain


def inner_of(traced: Traced, proto: ModelProto) -> dict[str, str]:
    """Return which outputs can be looked at inside, in order, by the names of their values."""
    return still_there({name: name for name in traced.names[1:]}, proto)


def still_there(inner: Mapping[str, str], proto: ModelProto) -> dict[str, str]:
    """Return those of the inner values that a graph has."""
    there = _values(proto)
    return {name: value for name, value in inner.items() if value in there}


def sealed(proto: ModelProto, metadata: Metadata) -> bytes:
    """Return the file: the graph with its metadata and, as the last thing in it, the hash of all that comes before.

    The hash is an entry of the metadata as well: protocol buffers may be continued by appending. So a device can check
    it with nothing but sha256.
    """
    whole = copy.deepcopy(proto)
    del whole.metadata_props[:]
    whole.metadata_props.add(key=KEY, value=to_text(metadata))
    body = bytes(whole.SerializeToString(deterministic=True))
    return body + trailer(hashlib.sha256(body).hexdigest())


def trailer(digest: str) -> bytes:
    """Return the entry of a model's metadata that holds a hash, as it stands in a file (field 14 of a model)."""
    key, value = HASH_KEY.encode(), digest.encode()
    entry = b"\x0a" + bytes([len(key)]) + key + b"\x12" + bytes([len(value)]) + value
    return b"\x72" + bytes([len(entry)]) + entry


def opened(data: bytes, path: Path, *, threads: int | None = None) -> Exported:
    """Return a file's detector, ready to run.

    Raises:
        BundleError: where the file is damaged, altered, not of this package, or keeps weights outside itself.
    """
    check_installed()
    proto = parsed(data, path)
    metadata = read_metadata(proto, path)
    digest = hashlib.sha256(data[: -len(trailer("0" * 64))]).hexdigest()
    if not data.endswith(trailer(digest)):
        raise BundleError(
            f"{path}: altered or damaged: the hash of its content is not the one that it was written with"
        )
    running = session(data, path, threads)
    names = [output.name for output in running.get_outputs()]

    def run(raw: Array) -> Mapping[str, Array]:
        return dict(zip(names, ran(running, names, raw, path), strict=True))

    def look(raw: Array) -> Mapping[str, Array]:
        wider = copy.deepcopy(proto)
        known = still_there(metadata.inner, proto)
        already = {output.name for output in wider.graph.output}
        for value in dict.fromkeys(known.values()):
            if value not in already:
                wider.graph.output.add(name=value)
        values = list(known.values())
        found = ran(session(wider.SerializeToString(), path, threads), values, raw, path)
        return dict(zip(known, found, strict=True))

    return Exported(metadata, run, look)


def read_metadata(proto: ModelProto, path: Path) -> Metadata:
    """Return what a model says of itself.

    Raises:
        BundleError: where it says nothing.
    """
    said = {one.key: one.value for one in proto.metadata_props}
    if KEY not in said:
        raise BundleError(
            f"{path}: an ONNX file, but not one that kdcompress wrote: it has no metadata of kdcompress "
            f"({SCORE_ANYWAY})"
        )
    return from_text(said[KEY], path)


def is_own(data: bytes, path: Path) -> bool:
    """Say whether this package wrote a file.

    Raises:
        BundleError: as `parsed`.
    """
    return bool({KEY, HASH_KEY} & {one.key for one in parsed(data, path).metadata_props})


def parsed(data: bytes, path: Path) -> ModelProto:
    """Return a file's model, if all of its weights are in it.

    Raises:
        BundleError: where it is damaged or keeps weights elsewhere.
    """
    import onnx

    try:
        proto: ModelProto = onnx.load_model_from_string(data)
    except Exception as error:  # noqa: BLE001 - an error of protobuf's, a package that is not named otherwise here
        raise BundleError(f"{path}: not an ONNX file, or a damaged one: {error}") from error
    if not proto.HasField("graph"):
        # Nothing is a protocol buffer too.
        raise BundleError(
            f"{path}: not an ONNX file, or a damaged one: {'no graph is in it' if data else 'it is empty'}"
        )
    for tensor in _tensors(proto):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise BundleError(f"{path}: refused: its weights '{tensor.name}' lie in another file")
    return proto


def _tensors(message: Any) -> Iterator[Any]:  # noqa: ANN401 - any protocol buffer
    """Return all tensors of a message, however deep."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in value if field.is_repeated else [value]:
                yield from _tensors(one)


def _values(proto: ModelProto) -> set[str]:
    return {one.name for one in proto.graph.initializer} | {name for node in proto.graph.node for name in node.output}


def session(data: bytes, path: Path, threads: int | None = None) -> Any:  # noqa: ANN401 - onnxruntime has no types
    """Return what runs a graph on the CPU; ``path`` is for messages.

    Raises:
        BundleError: where ONNX Runtime cannot run it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _QUIET
    if threads is not None:
        options.intra_op_num_threads = options.inter_op_num_threads = threads
    with _explained(path):
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def ran(running: Any, names: Sequence[str], raw: Array, path: Path) -> list[Array]:  # noqa: ANN401
    """Return outputs for raw data [N, ...].

    Raises:
        BundleError: where ONNX Runtime cannot compute them.
    """
    with _explained(path):
        return list(running.run(names, {INPUT: raw}))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise BundleError(f"{path}: ONNX Runtime cannot run it: {said[0]}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks on its own versions to itself."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [one.level for one in loggers]
    try:
        for one in loggers:
            one.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for one, level in zip(loggers, before, strict=True):
            one.setLevel(level)
