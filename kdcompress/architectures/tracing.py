"""A network as Torch-Pruning sees it: which channels of which layers are read and added by which."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kdcompress.architectures.channels import Side, refused
from kdcompress.architectures.scoring import named
from kdcompress.errors import InputError

_NETWORK = "1."
"""What the names of a network's layers begin with behind its source."""


class At(NamedTuple):
    """A channel as Torch-Pruning's index mappings take it; ``root_idx`` stays what it was."""

    idx: int
    root_idx: int


@dataclass(frozen=True)
class Trace:
    """Torch-Pruning's dependency graph of a copy of a network.

    Attributes:
        graph: a ``torch_pruning.DependencyGraph``.
        network: the copy.
        names: of the layers that stand in the graph, and of parameters outside of known layers.
        shapes: of the network's outputs.
    """

    graph: Any
    network: nn.Module
    names: dict[Any, str]
    shapes: dict[str, tuple[int, ...]]

    def roots(self) -> list[Any]:
        """Return the layers that make channels."""
        kinds = (nn.modules.conv._ConvNd, nn.Linear, Recurrent)
        return [module for module in self.graph.module2node if isinstance(module, kinds)]

    def side(self, function: Any) -> Side:  # noqa: ANN401
        """Return the side that one of Torch-Pruning's functions cuts; ``out`` where both are one."""
        return "out" if self.graph.is_out_channel_pruning_fn(function) else "in"

    def fixed(self, module: Any) -> bool:  # noqa: ANN401
        """Say whether a node's channels are those of the network's input or of one of its outputs."""
        from torch_pruning import ops

        return isinstance(module, ops._OutputOp | _Source)


class _Through(torch.autograd.Function):
    """One step of the graph, whatever a layer computes within."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, found: Tensor) -> Tensor:  # noqa: ANN401
        return found.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> None:  # noqa: ANN401
        raise NotImplementedError("a trace has no gradients")


class _State(_Through):
    """The step from what a recurrent layer puts out to its last state."""


class _Source(nn.Module):
    """The network's input, as a layer whose channels cannot be cut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.ones((), device=x.device, requires_grad=True)


class Recurrent(nn.Module):
    """A recurrent layer that is one step of the graph: Torch-Pruning's own rule for LSTM cuts the wrong rows."""

    def __init__(self, layer: nn.RNNBase, name: str) -> None:
        super().__init__()
        self.layer, self.name = layer, name

    def forward(self, x: Any, state: Any = None) -> Any:  # noqa: ANN401
        """Return what the layer puts out, each as one step."""
        if not isinstance(x, Tensor) or state is not None:
            what = "packed sequences" if state is None else "a given first state"
            raise refused(self.layer, self.name, f"it is called with {what} (allowed: a tensor and nothing else)")
        with torch.no_grad():
            found, last = self.layer(x)
        y = _Through.apply(x, found)
        states = tuple(_State.apply(y, one) for one in (last if isinstance(last, tuple) else (last,)))
        return y, states if isinstance(last, tuple) else states[0]


class _Ends:
    """What Torch-Pruning asks of a layer that it does not know; nothing is ever cut by it."""

    pruning_dim = 1

    def prune_out_channels(self, layer: nn.Module, idxs: Sequence[int]) -> nn.Module:
        raise AssertionError("channels are cut by rules of ours")

    def prune_in_channels(self, layer: nn.Module, idxs: Sequence[int]) -> nn.Module:
        raise AssertionError("channels are cut by rules of ours")

    def get_out_channels(self, layer: Any) -> int:  # noqa: ANN401
        if isinstance(layer, _Source):
            return layer.channels
        return int(layer.layer.hidden_size * (1 + layer.layer.bidirectional))

    def get_in_channels(self, layer: Any) -> int:  # noqa: ANN401
        return layer.channels if isinstance(layer, _Source) else int(layer.layer.input_size)

    def get_out_channel_groups(self, layer: nn.Module) -> int:
        return 1

    get_in_channel_groups = get_out_channel_groups


def traced(network: nn.Module, x: Tensor) -> Trace:
    """Trace a network with an example input on its device; it stays as it is.

    Raises:
        InputError: where Torch-Pruning is missing or cannot follow the network.
    """
    try:
        import torch_pruning
    except ImportError as error:
        raise InputError(f"narrowing needs Torch-Pruning ({error}); run: pip install 'kdcompress[prune]'") from error
    own = copy.deepcopy(network).eval().requires_grad_(True)
    names = {module: name for name, module in own.named_modules()}
    standing = {id(one): Recurrent(one, name) for one, name in names.items() if isinstance(one, nn.RNNBase)}
    own = replaced(own, lambda _, module: standing.get(id(module), module))
    whole = nn.Sequential(_Source(x.shape[1] if x.ndim > 1 else 1), own)
    shapes: dict[str, tuple[int, ...]] = {}

    def outputs(model: nn.Module, given: Tensor) -> list[Tensor]:
        found = named(model(given))
        shapes.update({name: tuple(value.shape[1:]) for name, value in found.items()})
        # A step after each output: the last layer is none itself.
        ends = [one * 1 for one in found.values() if one.grad_fn is not None]
        if not ends:
            raise InputError("cannot narrow a network whose outputs have no gradient")
        return ends

    graph = torch_pruning.DependencyGraph()
    with torch.enable_grad(), torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            graph.build_dependency(
                whole,
                x,
                forward_fn=outputs,
                customized_pruners={_Source: _Ends(), Recurrent: _Ends()},
                verbose=False,
            )
        except InputError:
            raise
        except Exception as error:  # whatever the user's network or the tracer raises
            if place := _astray(graph, names):
                why = "what it puts out is moved between channels, as a shuffle does, in a way that is not followed"
                raise refused(*place, why) from error
            raise InputError(f"Torch-Pruning cannot follow the network: {type(error).__name__}: {error}") from error
    _order(graph)
    known = {id(module): name for module, name in names.items()}
    found = {one: known[id(one)] for one in graph.module2node if id(one) in known}
    found |= {one: one.name for one in graph.module2node if isinstance(one, Recurrent)}
    found |= {one: name.removeprefix(_NETWORK) for one, name in graph._param_to_name.items()}
    for node in graph.module2node.values():
        maker = node.inputs[0].module if type(node.grad_fn).__name__ == "_StateBackward" else None
        if isinstance(maker, Recurrent) and maker.layer.bidirectional:
            raise refused(maker.layer, maker.name, "bidirectional, and its last state is used (allowed: its outputs)")
    return Trace(graph, own, found, shapes)


def _astray(graph: Any, names: dict[nn.Module, str]) -> tuple[nn.Module, str] | None:  # noqa: ANN401
    """Return the layer before the step through which Torch-Pruning cannot follow channels; None where it is no step."""
    from torch_pruning.dependency import index_mapping

    nodes = getattr(graph, "module2node", {})
    for module, node in nodes.items():
        graph.module2node = {module: node}
        try:
            index_mapping.update_index_mapping(graph)
        except Exception:  # noqa: BLE001 - whatever the tracer raises
            waiting, seen = [node], set()
            while waiting:
                one = waiting.pop(0)
                if one.module in names:
                    return one.module, names[one.module]
                waiting += [given for given in one.inputs if id(given) not in seen]
                seen |= {id(given) for given in one.inputs}
        finally:
            graph.module2node = nodes
    return None


def _order(graph: Any) -> None:  # noqa: ANN401
    """Put what reads the parts of a split tensor in the order of the parts; Torch-Pruning has that of its search."""
    from torch_pruning import ops
    from torch_pruning.dependency import index_mapping

    for node in graph.module2node.values():
        if isinstance(node.module, ops._SplitOp | ops._UnbindOp):
            part = {
                id(reader): [number for function, number in reader.grad_fn.next_functions if function is node.grad_fn]
                for reader in node.outputs
                if hasattr(reader.grad_fn, "next_functions")
            }
            node.outputs.sort(key=lambda reader: part.get(id(reader), []))
    index_mapping.update_index_mapping(graph)


def replaced(network: nn.Module, swap: Callable[[str, nn.Module], nn.Module]) -> nn.Module:
    """Return a network, changed in place, with what is returned for each of its layers instead of it."""
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if name and (new := swap(name, module)) is not module:
            above, _, last = name.rpartition(".")
            setattr(network.get_submodule(above), last, new)
    return swap("", network)
