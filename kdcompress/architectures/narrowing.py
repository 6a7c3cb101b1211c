"""A network with fewer channels: which stay, what is cut, and whether what is left is right."""

from __future__ import annotations

import copy
import inspect
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from kdcompress.architectures import layer_rules
from kdcompress.architectures.borrowed import borrowed
from kdcompress.architectures.channels import Side, cut, long, refused
from kdcompress.architectures.coupling import Coupling, Gone, coupled
from kdcompress.architectures.scoring import named
from kdcompress.errors import InputError


def narrow(network: nn.Module, gone: Gone) -> list[nn.Module]:
    """Cut channels from a network in place, and return the layers that are others now.

    Raises:
        InputError: where what is left of a layer's groups is unequal.
    """
    changed = []
    sides: dict[str, dict[Side, set[int]]] = defaultdict(dict)
    for (name, side), indices in gone.items():
        sides[name][side] = set(indices)
    for name, cuts in sides.items():
        layer = _find(network, name)
        if isinstance(layer, nn.Parameter):
            above, _, last = name.rpartition(".")
            cut(network.get_submodule(above), last, long(layer), _left(layer.numel(), cuts["out"]))
            continue
        rule = layer_rules.checked(layer, name)
        left: dict[Side, list[int]] = {}
        for side in ("out", "in"):
            size, blocks = rule.size(layer, side), rule.blocks(layer, side)
            left[side] = _left(size, cuts.get(side, set()))
            if len(set(Counter(one // (size // blocks) for one in left[side]).values())) > 1:
                raise refused(layer, name, f"unequally many channels are left of its {blocks} groups")
        rule.narrow(layer, left["out"], left["in"])
        changed.append(layer)
    return changed


def _left(size: int, gone: Iterable[int]) -> list[int]:
    return sorted(set(range(size)) - set(gone))


def _find(network: nn.Module, name: str) -> nn.Module | nn.Parameter:
    above, _, last = name.rpartition(".")
    owner = network.get_submodule(above)
    own = owner._parameters.get(last)
    return own if own is not None else network.get_submodule(name)


def understood(network: nn.Module, x: Tensor) -> Coupling:
    """Return what can be cut from a network, once it is seen that cutting does what it should.

    With random weights, the network without some channels has to compute what it computes as a whole when no layer
    listens to them; norms over channels, whose statistics change with them, only scale for that.

    Raises:
        InputError: with the kind and the name of the first layer that computes something else.
    """
    try:
        return _understood(network, x)
    except InputError as error:
        if not (said := borrowed(network, x)):
            raise
        raise InputError(f"{error}; {said}") from error


def _understood(network: nn.Module, x: Tensor) -> Coupling:
    found = coupled(network, x)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        whole = copy.deepcopy(network).eval()
        _scramble(whole)
        draw = {channel: float(torch.rand(())) for family in found.families for channel in family}
        gone = found.gone(0.5, draw)
        less = copy.deepcopy(whole)
        narrow(less, gone)
        for (name, side), indices in gone.items():
            layer = _find(whole, name)
            if isinstance(layer, nn.Module):
                layer_rules.checked(layer, name).ignore(layer, side, indices)
        _compare(whole, less, gone, x)
    return found


def verified(network: nn.Module, coupling: Coupling) -> None:
    """Run a narrowed network once, where its weights are, and look at the shapes that come out.

    Raises:
        InputError: with the last layer that ran, where it stops, and with the output that has another shape.
    """
    weight = next(network.parameters())
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        found = _run(network, torch.zeros(coupling.given, device=weight.device), [])
    for name, shape in coupling.shapes.items():
        if (own := tuple(found[name].shape[1:])) != shape:
            raise InputError(f"cannot narrow the network: its output '{name}' would be {own}, not {shape}")


def _run(network: nn.Module, x: Tensor, heard: list[tuple[str, nn.Module, Tensor]]) -> dict[str, Tensor]:
    """Return a network's outputs in eval mode, and what its layers put out in the order in which they ran."""
    modes = [(part, part.training) for part in network.modules()]
    entered = ["the network"]

    def entering(name: str) -> Any:  # noqa: ANN401
        return lambda module, given: entered.append(f"{type(module).__name__} '{name}'")

    def leaving(name: str) -> Any:  # noqa: ANN401
        def keep(module: nn.Module, given: Any, output: Any) -> None:  # noqa: ANN401
            first = output[0] if isinstance(output, tuple) else output
            if isinstance(first, Tensor):
                heard.append((name, module, first))

        return keep

    parts = [(name, module) for name, module in network.named_modules() if name]
    hooks = [module.register_forward_pre_hook(entering(name)) for name, module in parts]
    hooks += [module.register_forward_hook(leaving(name)) for name, module in parts]
    try:
        return named(network.eval()(x))
    except (RuntimeError, ValueError, IndexError, TypeError, AssertionError) as error:
        raise InputError(
            f"cannot narrow {entered[-1]}: behind it, or in it, the network does not run with fewer channels: "
            f"{str(error).partition(chr(10))[0]} (as where a number of channels stands in its code)"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
        for part, training in modes:
            part.training = training


class _Scaling(TorchFunctionMode):
    """Norms over channels without their statistics, wherever they are called."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        if func not in (nn.functional.layer_norm, nn.functional.group_norm):
            return func(*args, **kwargs)
        given = inspect.signature(func).bind(*args, **kwargs).arguments
        x, weight, bias = given["input"], given.get("weight"), given.get("bias")
        shape = (1, -1, *(1,) * (x.ndim - 2)) if func is nn.functional.group_norm else None
        for one, joined in ((weight, torch.mul), (bias, torch.add)):
            if one is not None:
                x = joined(x, one.view(shape) if shape is not None else one)
        return x


def _compare(whole: nn.Module, less: nn.Module, gone: Gone, x: Tensor) -> None:
    heard: tuple[list[tuple[str, nn.Module, Tensor]], list[tuple[str, nn.Module, Tensor]]] = ([], [])
    outputs = []
    for network, list_ in zip((whole, less), heard, strict=True):
        torch.manual_seed(1)
        with _Scaling():
            outputs.append(_run(network, x, list_))
    for (name, layer, one), (_, _, other) in zip(*heard, strict=False):
        # Layers differ in which dimension has the channels: it is the one that became shorter.
        shorter = [dim for dim, sizes in enumerate(zip(one.shape, other.shape, strict=False)) if sizes[0] != sizes[1]]
        if len(shorter) == 1 and (name, "out") in gone:
            left = _left(one.shape[shorter[0]], gone[name, "out"])
            one = one.index_select(shorter[0], torch.tensor(left))
        # What has no channels of its own is looked at by what reads it.
        if one.shape == other.shape and not _close(one, other):
            raise refused(layer, name, _ASTRAY)
    if not all(_close(one, outputs[1][name]) for name, one in outputs[0].items()):
        raise InputError(f"cannot narrow the network: {_ASTRAY}")


_ASTRAY = (
    "without some of the channels before it, it computes something else: what lies between moves channels, or mixes "
    "them outside of layers (as attention does)"
)


def _close(one: Tensor, other: Tensor) -> bool:
    # Sums over other numbers of channels round otherwise.
    scale = float(one.abs().max()) if one.numel() else 0.0
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=1e-4 * scale, equal_nan=True)


def _scramble(network: nn.Module) -> None:
    """Give a network weights that hide nothing: no zeros, as those that residual branches often begin with."""
    for name, tensor in network.named_parameters():
        if tensor.ndim > 1:
            tensor.copy_(torch.randn(tensor.shape) * (tensor.shape[0] / tensor.numel()) ** 0.5)
        else:
            tensor.copy_(torch.randn(tensor.shape) * 0.1 if name.endswith("bias") else torch.rand(tensor.shape) + 0.5)
    for name, buffer in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand(buffer.shape) + 0.5)
