"""Weights and what flows between them in eight bits, by ONNX Runtime; what surrounds the network stays in float."""

from __future__ import annotations

import copy
import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from kdcompress.errors import KdcompressError
from kdcompress.exporting import onnx
from kdcompress.exporting.exported import Array
from kdcompress.exporting.graph import INPUT, PREPARED
from kdcompress.exporting.rounding import unrounded
from kdcompress.types import Detector

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

KINDS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""What has weights; else nothing is quantised but the ReLUs that are joined with them."""

WITHOUT_KERNEL = ("ConvTranspose",)
"""What ONNX Runtime computes in float on the CPU, of weights and inputs that are stored as eight bits."""

_BATCH = 64
_SCORER = "scorer.detector."

Layers: TypeAlias = Mapping[str, tuple[str, ...]]
"""Names of layers with those of their nodes: more than one where a layer is used more than once."""


@dataclass(frozen=True)
class Ranges:
    """The smallest and the largest number of each value in a graph, over the calibration's samples."""

    bounds: Mapping[str, tuple[Array, Array]]


def layers(proto: ModelProto, detector: Detector, inner: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return what can be quantised, in order: layers of the network between preparation and score.

    Args:
        proto: the graph in float.
        detector: that it was made of; its modules say what has to be exact.
        inner: the names of its inner values.
    """
    graph = proto.graph
    constants = {one.name for one in graph.initializer}
    before = _behind(graph, [inner[PREPARED]] if PREPARED in inner else [])
    # Outputs with names are the network's; what comes after the last of them is the score's arithmetic.
    outputs = [value for name, value in inner.items() if name != PREPARED]
    within = _behind(graph, outputs or [graph.output[0].name])
    exact = _exact(detector)
    found = defaultdict(list)
    for node in graph.node:
        if node.op_type not in KINDS or node.input[1] not in constants or node.input[0] in constants:
            continue
        name = _name(node)
        if node.name in within and node.name not in before and name not in exact:
            found[name].append(node.name)
    return {name: tuple(nodes) for name, nodes in found.items()}


def kinds(proto: ModelProto, chosen: Layers) -> dict[str, str]:
    """Return the operator of each layer."""
    operators = {node.name: node.op_type for node in proto.graph.node}
    return {name: operators[nodes[0]] for name, nodes in chosen.items()}


def ranges(proto: ModelProto, chosen: Layers, raw: Array, path: Path) -> Ranges:
    """Run the graph on raw samples [N, ...], and note between which bounds its values lie."""
    wanted = {name for nodes in chosen.values() for name in nodes}
    active = _nodes(proto.graph, wanted)
    constants = {one.name for one in proto.graph.initializer}
    values = {name for node in active for name in (node.input[0], *node.output) if name not in constants}
    asked = sorted(values - {INPUT})
    wider = copy.deepcopy(proto)
    already = {output.name for output in wider.graph.output}
    for name in asked:
        if name not in already:
            wider.graph.output.add(name=name)
    session = onnx.session(wider.SerializeToString(), path)
    low: dict[str, Array] = {}
    high: dict[str, Array] = {}
    for part in parts(raw):
        found = onnx.ran(session, asked, part, path)
        for name, value in zip(asked, found, strict=True):
            low[name] = np.minimum(low.get(name, np.float32(np.inf)), value.min())
            high[name] = np.maximum(high.get(name, np.float32(-np.inf)), value.max())
    return Ranges({name: (np.asarray(low[name]), np.asarray(high[name])) for name in asked})


def parts(raw: Array) -> Iterator[Array]:
    """Cut samples into batches, so that inner values of all of them need not be in memory."""
    for start in range(0, len(raw), _BATCH):
        yield np.ascontiguousarray(raw[start : start + _BATCH])


def quantised(proto: ModelProto, chosen: Layers, known: Ranges) -> ModelProto:
    """Return the graph with these layers in eight bits, weights by channel and symmetric.

    Weights use seven of the eight bits: processors of x86 without VNNI add two products in sixteen bits and saturate
    with eight, so that a file would score otherwise on them.

    Raises:
        KdcompressError: where ONNX Runtime cannot quantise the graph, with its own words.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    wanted = {name for nodes in chosen.values() for name in nodes}
    nodes = [node.name for node in _nodes(proto.graph, wanted)]
    try:
        with _quiet():
            quantizer = QDQQuantizer(
                copy.deepcopy(proto),
                per_channel=True,
                reduce_range=True,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QUInt8,
                tensors_range=TensorsData(CalibrationMethod.MinMax, dict(known.bounds)),
                nodes_to_quantize=nodes,
                nodes_to_exclude=[],
                op_types_to_quantize=[*KINDS, "Relu"],
                extra_options={"WeightSymmetric": True, "ActivationSymmetric": False},
            )
            quantizer.quantize_model()
    except Exception as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise KdcompressError(f"ONNX Runtime cannot quantise it: {said[0]}") from error
    found: ModelProto = quantizer.model.model
    del found.metadata_props[:]
    unrounded(found.graph, _after(proto.graph, nodes))
    return found


def _after(graph: GraphProto, wanted: Collection[str]) -> set[str]:
    """Return the names of the nodes that lead to none of these nodes: the score's arithmetic."""
    before = _behind(graph, [name for node in graph.node if node.name in wanted for name in node.output])
    return {node.name for node in graph.node} - before


def _nodes(graph: GraphProto, wanted: Collection[str]) -> list[NodeProto]:
    """Return nodes by their names, with ReLUs that alone take what they give: those become part of the rounding."""
    produced = {name for node in graph.node if node.name in wanted for name in node.output}
    used: dict[str, int] = defaultdict(int)
    for node in graph.node:
        for name in node.input:
            used[name] += 1
    outputs = {one.name for one in graph.output}

    def joined(node: NodeProto) -> bool:
        only = node.op_type == "Relu" and node.input[0] in produced and used[node.input[0]] == 1
        return only and node.input[0] not in outputs

    return [node for node in graph.node if node.name in wanted or joined(node)]


def _behind(graph: GraphProto, values: Collection[str]) -> set[str]:
    """Return the names of all nodes that values are computed by."""
    makers = {name: node for node in graph.node for name in node.output}
    found: set[str] = set()
    left = [makers[name] for name in values if name in makers]
    while left:
        node = left.pop()
        if node.name not in found:
            found.add(node.name)
            left += [makers[name] for name in node.input if name in makers]
    return found


def _exact(detector: Detector) -> set[str]:
    names = set()
    for prefix, module in detector.named_modules():
        if isinstance(module, Detector):
            names |= {f"{prefix}.{one}".lstrip(".") for one in module.exact}
    return names


def _name(node: NodeProto) -> str:
    """Return a layer's name: the module's, where the exporter has kept its weight's, else the node's."""
    weight = node.input[1]
    return weight.removeprefix(_SCORER).removesuffix(".weight") if weight.startswith(_SCORER) else node.name


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice, which goes to the root logger, to itself."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
