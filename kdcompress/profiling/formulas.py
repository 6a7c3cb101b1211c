"""MACs by formula: what torch's counter runs with, and the rules for fvcore's traced operators.

MACs are convolutions, transposed convolutions (by their input size) and matrix products; no bias, norm or activation.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

Rule = Callable[[Sequence[Any], Sequence[Any]], int]
"""(inputs, outputs) of a traced operator, both ``torch._C.Value``, to MACs."""

aten = torch.ops.aten

# torch's own table knows products of matrices, but none with a vector.
_VECTOR_PRODUCTS = {
    aten.mv: lambda matrix, _vector, **_: 2 * prod(matrix),
    aten.addmv: lambda _bias, matrix, _vector, **_: 2 * prod(matrix),
    aten.dot: lambda vector, _other, **_: 2 * prod(vector),
    aten.addbmm: lambda _bias, left, right, **_: 2 * prod(left) * right[-1],
}


@contextlib.contextmanager
def plain_kernels() -> Iterator[None]:
    """Keep fused kernels (transformer layers, attention, recurrent nets) from hiding matrix products."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # oneDNN warns of Intel GPUs when its flags are saved
            with sdpa_kernel(SDPBackend.MATH), torch.backends.mkldnn.flags(enabled=False):
                yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def dispatched_macs(call: Callable[[], object]) -> dict[str, int]:
    """Run a call and return its MACs by the operators that torch dispatched; works on the meta device."""
    counter = FlopCounterMode(display=False, custom_mapping=dict(_VECTOR_PRODUCTS))
    with plain_kernels(), torch.no_grad(), counter:
        call()
    by_operator = counter.get_flop_counts().get("Global", {})
    return {str(operator): int(flops) // 2 for operator, flops in by_operator.items()}


def _shape(value: Any) -> list[int]:  # noqa: ANN401  (torch._C.Value has no public type)
    if value.isCompleteTensor():
        return list(value.type().sizes())
    return list(value.toIValue().shape)  # a tensor that is an attribute and not a buffer is traced as a constant


def _inner(left: int) -> Rule:
    """Return the rule of a product: elements of the result times the length that is summed over."""
    return lambda inputs, outputs: prod(_shape(outputs[0])) * _shape(inputs[left])[-1]


def _addbmm(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    return prod(_shape(inputs[1])) * _shape(inputs[2])[-1]


def _convolution(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Each weight [out, in / groups, ...] meets each output position; transposed: each input position."""
    x, weight, result = _shape(inputs[0]), _shape(inputs[1]), _shape(outputs[0])
    # `_convolution_mode` (padding by name) has no such argument and is never transposed.
    transposed = len(inputs) > 7 and bool(inputs[6].toIValue())
    return x[0] * prod(weight) * prod((x if transposed else result)[2:])


def _attention(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    query, key, value = (_shape(tensor) for tensor in inputs[:3])
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _argument(value: Any) -> Any:  # noqa: ANN401
    if value.node().kind() == "prim::ListConstruct":
        return [_argument(item) for item in value.node().inputs()]
    if value.isCompleteTensor():
        return torch.empty(value.type().sizes(), dtype=value.type().dtype(), device="meta")
    return value.toIValue()


def _replayed(name: str) -> Rule:
    """Return the rule of an operator that torch builds from products: run it on the meta device and count those."""
    operator = getattr(aten, name)
    # einsum's third input is a contraction path, which only opt_einsum sets and which can be passed by name alone.
    wanted = 2 if name == "einsum" else None

    def replay(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
        arguments = [_argument(value) for value in inputs[:wanted]]
        return sum(dispatched_macs(lambda: operator(*arguments)).values())

    return replay


_COMPOSITES = ("einsum", "tensordot", "inner", "lstm", "gru", "rnn_tanh", "rnn_relu")

TRACED_RULES: dict[str, Rule] = {
    "aten::_convolution": _convolution,
    "aten::_convolution_mode": _convolution,
    "aten::linear": _inner(0),
    "aten::matmul": _inner(0),
    "aten::mm": _inner(0),
    "aten::bmm": _inner(0),
    "aten::mv": _inner(0),
    "aten::dot": _inner(0),
    "aten::addmm": _inner(1),
    "aten::addmv": _inner(1),
    "aten::baddbmm": _inner(1),
    "aten::addbmm": _addbmm,
    "aten::scaled_dot_product_attention": _attention,
    **{f"aten::{name}": _replayed(name) for name in _COMPOSITES},
}
"""Traced operators whose count is MACs; every other one is ``other_ops`` or uncounted."""
