"""An ONNX graph in the forms that ONNX Runtime computes fastest on a CPU; what it computes stays, but for rounding."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
import onnx_ir as ir
import torch
from onnx_ir.convenience import replace_nodes_and_values
from torch.nn import functional as F

_SMALL = 64
"""The largest side of an image that is resized by two products with matrices: they grow with it, as taps do not."""


def lowered(model: ir.Model, named: Collection[str]) -> None:
    """Rewrite a graph in place; the ``named`` values in it keep their names.

    - Convolutions over the whole of their input are products of matrices, and so are transposed ones of a single pixel.
    - Pools that cover their input exactly are not told to round its size up: that form has no fast kernel.
    - Small images are resized by two products of matrices.
    - Values are not reshaped twice, nor to the shape that they have.
    """
    rules = {"AveragePool": _floor, "Conv": _whole, "ConvTranspose": _single, "Resize": _resized}
    for node in list(model.graph):
        if node.op_type in rules:
            rules[node.op_type](model.graph, node)
    for node in list(model.graph):
        if node.op_type == "Reshape":
            _once(model.graph, node, named)


def _once(graph: ir.Graph, node: ir.Node, named: Collection[str]) -> None:
    """Take a reshaped value from before it was reshaped, and leave out a reshape to the shape that is there."""
    shape, given, out = _constant(node.inputs[1]), node.inputs[0], node.outputs[0]
    # A zero takes a side from the input as it is.
    if shape is None or given is None or (shape == 0).any():
        return
    before = given.producer()
    if before is not None and before.op_type == "Reshape" and before.inputs[0] is not None:
        node.replace_input_with(0, before.inputs[0])
        if not given.uses() and not given.is_graph_output():
            graph.remove(before, safe=True)
        given = node.inputs[0]
    if given is None or given.shape is None or given.shape != out.shape:
        return
    name, wanted = out.name, out.name in named or out.is_graph_output()
    if wanted and (given.name in named or given.producer() is None):
        return
    out.replace_all_uses_with(given, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    if wanted:
        given.name = name


def _sides(value: ir.Value | None) -> tuple[int, ...] | None:
    """Return channels and sides of a batch of images; None where they are not known."""
    if value is None or value.shape is None or len(value.shape) != 4:
        return None
    sides = tuple(value.shape)[1:]
    known = tuple(side for side in sides if isinstance(side, int))
    return known if len(known) == len(sides) else None


def _dilated(node: ir.Node) -> bool:
    return any(one != 1 for one in node.attributes.get_ints("dilations", ()))


def _floor(_: ir.Graph, node: ir.Node) -> None:
    sides, kernel = _sides(node.inputs[0]), node.attributes.get_ints("kernel_shape", ())
    if sides is None or any(node.attributes.get_ints("pads", ())) or _dilated(node):
        return
    strides = node.attributes.get_ints("strides", [1] * len(kernel))
    if all((side - one) % step == 0 for side, one, step in zip(sides[1:], kernel, strides, strict=True)):
        node.attributes["ceil_mode"] = ir.AttrInt64("ceil_mode", 0)


def _whole(graph: ir.Graph, node: ir.Node) -> None:
    sides, weight = _sides(node.inputs[0]), _own(node.inputs[1])
    plain = not any(node.attributes.get_ints("pads", ())) and node.attributes.get_int("group", 1) == 1
    if sides is None or weight is None or not plain or weight.shape[1:] != sides:
        return
    _product(graph, node, weight.reshape(len(weight), -1), (len(weight), 1, 1))


def _single(graph: ir.Graph, node: ir.Node) -> None:
    sides, weight = _sides(node.inputs[0]), _own(node.inputs[1])
    plain = not any(node.attributes.get_ints("pads", ())) and not any(node.attributes.get_ints("output_padding", ()))
    plain = plain and not _dilated(node)
    if sides is None or weight is None or not plain or sides[1:] != (1, 1) or node.attributes.get_int("group", 1) != 1:
        return
    outer = weight.shape[1:]
    bias = _constant(node.inputs[2]) if len(node.inputs) > 2 else None
    spread = None if bias is None else np.repeat(bias, math.prod(outer[1:]))
    _product(graph, node, weight.reshape(len(weight), -1).T, outer, spread)


def _product(
    graph: ir.Graph, node: ir.Node, matrix: np.ndarray, outer: Sequence[int], bias: np.ndarray | None = None
) -> None:
    """Put a product with a matrix [out, in], which keeps the weight's name, in the place of a convolution."""
    weight, out = node.inputs[1], node.outputs[0]
    assert weight is not None
    weight.const_value = ir.tensor(np.ascontiguousarray(matrix), name=weight.name)
    weight.shape = ir.Shape(matrix.shape)
    rows = ir.node("Reshape", [node.inputs[0], _new(graph, f"{out.name}_rows", np.array([-1, matrix.shape[1]]))])
    batch = out.shape[0] if out.shape is not None else None
    rows.outputs[0].shape, rows.outputs[0].type = ir.Shape([batch, matrix.shape[1]]), out.type
    others = [_new(graph, f"{out.name}_bias", bias)] if bias is not None else list(node.inputs[2:])
    product = ir.node("Gemm", [rows.outputs[0], weight, *others], {"transB": 1}, name=node.name)
    product.outputs[0].shape, product.outputs[0].type = ir.Shape([batch, len(matrix)]), out.type
    shape = _new(graph, f"{out.name}_shape", np.array([-1, *outer]))
    images = ir.node("Reshape", [product.outputs[0], shape])
    _put(graph, node, [rows, product, images])


def _resized(graph: ir.Graph, node: ir.Node) -> None:
    inner, outer = _sides(node.inputs[0]), _sides(node.outputs[0])
    said = {name: one.value for name, one in node.attributes.items()}
    plain = said.get("mode") == "linear" and said.get("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    # Of a size alone: a factor that was given keeps places which the ratio of the sides has not.
    plain = plain and len(node.inputs) > 3 and node.inputs[3] is not None and node.outputs[0].dtype == ir.DataType.FLOAT
    if inner is None or outer is None or not plain or inner[0] != outer[0] or max(*inner[1:], *outer[1:]) > _SMALL:
        return
    down, right = (
        _weights(one, other, antialias=bool(said.get("antialias")))
        for one, other in zip(inner[1:], outer[1:], strict=True)
    )
    name = node.outputs[0].name
    wide = ir.node("MatMul", [node.inputs[0], _new(graph, f"{name}_columns", np.ascontiguousarray(right.T))])
    high = ir.node("MatMul", [_new(graph, f"{name}_rows", down), wide.outputs[0]])
    _put(graph, node, [wide, high])


def _weights(inner: int, outer: int, *, antialias: bool) -> np.ndarray:
    """Return the matrix [outer, inner] that resizes a column: what torch makes of the columns of the identity."""
    columns = torch.eye(inner, dtype=torch.float64)[None, None]
    found: np.ndarray = (
        F.interpolate(columns, (outer, inner), mode="bilinear", antialias=antialias)[0, 0].float().numpy()
    )
    return found


def _constant(value: ir.Value | None) -> np.ndarray | None:
    return None if value is None or value.const_value is None else value.const_value.numpy()


def _own(value: ir.Value | None) -> np.ndarray | None:
    """Return a constant that a single node takes; None where there is none, or others take it as it is."""
    return _constant(value) if value is not None and len(value.uses()) == 1 else None


def _new(graph: ir.Graph, name: str, content: np.ndarray) -> ir.Value:
    value = ir.val(name, const_value=ir.tensor(content, name=name))
    graph.register_initializer(value)
    return value


def _put(graph: ir.Graph, old: ir.Node, new: Sequence[ir.Node]) -> None:
    """Put nodes in the place of one, whose output's name the last one's gets."""
    replace_nodes_and_values(graph, old, [old], new, old.outputs, new[-1].outputs)
