"""Three counters of one definition of MACs, parameters and bytes; the only module that imports thop and fvcore.

MACs are multiply-accumulates of one input in convolutions, transposed convolutions (by their input size) and matrix
products; no bias, norm or activation. FLOPs = 2 x MACs. The counters look at different things: fvcore at a traced
graph, torch at the operators that run, thop at modules. A product that no module makes (``F.conv2d``, ``@``) is
therefore invisible to thop.
"""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from math import prod
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from kdcompress.errors import InputError
from kdcompress.profiling import COUNTERS
from kdcompress.profiling.formulas import TRACED_RULES, dispatched_macs, plain_kernels
from kdcompress.profiling.subject import batch, subject
from kdcompress.results import Count

ThopRule = Callable[[Any, Any, Any], None]

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_MAC_MODULES = (nn.modules.conv._ConvNd, nn.Linear, *_RECURRENT)


def params(module: nn.Module) -> int:
    """Return the number of all parameters, trained or frozen, a shared one once; buffers are not counted."""
    return sum(parameter.numel() for parameter in module.parameters())


def tensor_bytes(module: nn.Module) -> int:
    """Return the bytes of all tensors of the state dict (parameters and buffers), a shared one once.

    A file of it is larger by its header.
    """
    stored = module.state_dict(keep_vars=True).values()
    distinct = {id(tensor): tensor for tensor in stored if isinstance(tensor, Tensor)}
    return sum(tensor.numel() * tensor.element_size() for tensor in distinct.values())


def macs(module: nn.Module, raw: Tensor) -> int:
    """Return the MACs of raw data [N, ...] by torch's counter alone, without a copy of the module.

    With both on the meta device nothing is computed: a search over many widths calls this. The module runs in eval
    mode and gets its modes back.
    """
    modes = [(part, part.training) for part in module.modules()]
    try:
        module.eval()
        return sum(dispatched_macs(lambda: module(raw)).values())
    finally:
        for part, training in modes:
            part.training = training


@COUNTERS.register("torch")
def torch_counter(module: nn.Module, raw: Tensor) -> Count:
    """Count with ``torch.utils.flop_counter``, halved; operators without a formula add nothing and leave no trace."""
    measured, one = subject(module), batch(raw, 1)
    by_operator = dispatched_macs(lambda: measured(one))
    return Count(macs=sum(by_operator.values()), operators=by_operator)


@COUNTERS.register("fvcore")
def fvcore(module: nn.Module, raw: Tensor) -> Count:
    """Count a traced graph with fvcore; what it has no rule for, such as ``aten::leaky_relu``, is ``uncounted``.

    Its rules for products are replaced, because some are missing (attention, recurrent nets) and some are not
    exact (einsum, broadcast products); norms, pooling and resizing keep fvcore's own rules and are ``other_ops``.
    """
    with _deprecations_ignored():
        from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(subject(module), (batch(raw, 1),)).set_op_handle(**TRACED_RULES)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    with plain_kernels(), torch.no_grad():
        counted = analysis.by_operator()
    products = {kind.removeprefix("aten::") for kind in TRACED_RULES}
    by_operator = {name: int(count) for name, count in counted.items() if name in products}
    return Count(
        macs=sum(by_operator.values()),
        operators=by_operator,
        other_ops=int(sum(count for name, count in counted.items() if name not in products)),
        uncounted=dict(analysis.unsupported_ops()),
    )


@COUNTERS.register("thop")
def thop(module: nn.Module, raw: Tensor) -> Count:
    """Count modules with thop; modules with parameters of their own and no rule are ``uncounted``.

    thop's rule for transposed convolutions (by output size) and for recurrent nets (with bias and gates) is replaced.
    Raises ``InputError`` where thop is missing or comes from the AGPL distribution ``ultralytics-thop``.
    """
    library = _thop_library()
    # A copy, because thop leaves buffers behind in modules that it visits more than once.
    measured = subject(module, "cpu")
    rules = {type(part): _thop_rule(library, part) for part in measured.modules()}
    counted, uncounted = _MacTally(), Tally[str]()
    for part in measured.modules():
        if rules[type(part)] is None and any(True for _ in part.parameters(recurse=False)):
            part.register_forward_hook(lambda part, x, y: uncounted.update([type(part).__name__]))
    custom = {kind: counted.observed(rule) for kind, rule in rules.items() if rule is not None}
    with plain_kernels():
        library.profile(measured, inputs=(batch(raw, 1, "cpu"),), custom_ops=custom, verbose=False)
    return Count(
        macs=sum(counted.macs.values()),
        operators=dict(counted.macs),
        other_ops=counted.other_ops,
        uncounted=dict(uncounted),
    )


class _MacTally:
    """Sorts what thop's rules add by module type; thop itself only returns their sum."""

    def __init__(self) -> None:
        self.macs: Tally[str] = Tally()
        self.other_ops = 0
        self._latest: dict[nn.Module, object] = {}

    def observed(self, rule: ThopRule) -> ThopRule:
        """Return the rule with its result noted down."""

        def note(part: Any, x: Any, y: Any) -> None:  # noqa: ANN401
            if self._latest.get(part) is y:
                return  # thop hooks a module once for every parent that shares it
            self._latest[part] = y
            before = part.total_ops.clone()
            rule(part, x, y)
            added = round((part.total_ops - before).item())
            if isinstance(part, _MAC_MODULES):
                self.macs[_kind(part)] += added
            else:
                self.other_ops += added

        return note


def _kind(part: nn.Module) -> str:
    """Name a module by its torch class, also where a subclass (e.g. a parametrised one) stands in for it."""
    return next(kind.__name__ for kind in type(part).__mro__ if kind.__module__.startswith("torch.nn.modules"))


def _thop_rule(library: ModuleType, part: nn.Module) -> ThopRule | None:
    """Return the rule for a module, which unlike in thop also holds for its subclasses."""
    if isinstance(part, _TRANSPOSED):
        return _transposed
    if isinstance(part, _RECURRENT):
        return _recurrent
    known: dict[type, ThopRule] = library.register_hooks
    return next((known[kind] for kind in type(part).__mro__ if kind in known), None)


def _transposed(part: Any, x: tuple[Tensor, ...], y: Tensor) -> None:  # noqa: ANN401
    """Each weight [in, out / groups, ...] meets each position of the input [N, in, ...]."""
    part.total_ops += x[0].numel() // part.in_channels * prod(part.weight.shape)


def _recurrent(part: Any, x: tuple[Tensor, ...], y: object) -> None:  # noqa: ANN401
    """Each weight matrix meets each step of each sequence once."""
    weights = sum(weight.numel() for name, weight in part.named_parameters() if name.startswith("weight"))
    steps = x[0].numel() // x[0].shape[-1]
    part.total_ops += steps * weights


def _thop_library() -> ModuleType:
    try:
        distribution("ultralytics-thop")
    except PackageNotFoundError:
        pass
    else:
        raise InputError(
            "the module 'thop' comes from the distribution 'ultralytics-thop' (AGPL-3.0), which kdcompress does"
            " not use; run: pip uninstall ultralytics-thop && pip install --force-reinstall --no-deps thop"
        )
    try:
        with _deprecations_ignored():
            # By name, because the package hides this module behind its function of the same name.
            return importlib.import_module("thop.profile")
    except ImportError as error:
        raise InputError(f"counter 'thop' cannot be loaded ({error}); run: pip install thop setuptools") from error


@contextlib.contextmanager
def _deprecations_ignored() -> Iterator[None]:
    """Keep quiet what the counters' libraries use of old at import: distutils, ``torch.jit``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield
