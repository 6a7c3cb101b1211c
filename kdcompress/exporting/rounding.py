"""Values as they were before they were rounded: the quantiser gives all who take a value its rounded form."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

_ROUNDS, _BACK = "QuantizeLinear", "DequantizeLinear"
_ALWAYS, _SHARED = ("Conv",), ("Gemm", "MatMul")
"""What ONNX Runtime computes in integers only where its output is rounded; the latter where others take it rounded."""


def unrounded(graph: GraphProto, after: Collection[str]) -> None:
    """Give nodes, by their names, and outputs of the graph values as they were before they were rounded.

    Values stay rounded where the node that they come from would be computed in float otherwise.
    """
    makers = _makers(graph)
    for output in [one.name for one in graph.output]:
        if (plain := _plain(output, makers, _takers(graph, after))) is not None:
            # The quantiser has moved the output's name behind the rounding.
            _rename(graph, output, f"{output}_rounded")
            _rename(graph, plain, output)
            makers = _makers(graph)
    taken = _takers(graph, after)
    for node in graph.node:
        if node.name in after:
            for place, name in enumerate(node.input):
                if (plain := _plain(name, makers, taken)) is not None:
                    node.input[place] = plain
    _drop_unused(graph)


def _makers(graph: GraphProto) -> dict[str, NodeProto]:
    return {name: node for node in graph.node for name in node.output}


def _takers(graph: GraphProto, after: Collection[str]) -> set[str]:
    """Return the names of values that other nodes take than those."""
    return {name for node in graph.node if node.name not in after for name in node.input}


def _plain(name: str, makers: dict[str, NodeProto], taken: Collection[str]) -> str | None:
    """Return what a value was before it was rounded; None where it was not, or has to be."""
    back = makers.get(name)
    if back is None or back.op_type != _BACK:
        return None
    rounds = makers.get(back.input[0])
    if rounds is None or rounds.op_type != _ROUNDS:
        return None
    plain: str = rounds.input[0]
    kind = makers[plain].op_type if plain in makers else ""
    return None if kind in _ALWAYS or (kind in _SHARED and name in taken) else plain


def _rename(graph: GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new


def _drop_unused(graph: GraphProto) -> None:
    """Take away roundings that nobody takes, and constants with them."""
    while True:
        used = {name for node in graph.node for name in node.input} | {one.name for one in graph.output}
        idle = [node for node in graph.node if node.op_type in (_ROUNDS, _BACK) and node.output[0] not in used]
        if not idle:
            break
        for node in idle:
            graph.node.remove(node)
    kept = [one for one in graph.initializer if one.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
