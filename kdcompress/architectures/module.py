"""A network of the user's own as a detector, without an edit of its code."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from kdcompress.architectures import ARCHITECTURES, pretrained
from kdcompress.architectures.modules import MODULES
from kdcompress.architectures.pretrained import Checkpoint
from kdcompress.architectures.scoring import Preparation, Reconstruction, Score, named, offered, scored
from kdcompress.errors import InputError, unknown
from kdcompress.pinned import pinned
from kdcompress.types import Detector, Outputs, Pair


class Wrapped(Detector):
    """A network whose outputs, and those of its inner modules that are tapped, have names."""

    def __init__(
        self,
        network: nn.Module,
        *,
        score: Score | Callable[[Tensor, Outputs], Tensor],
        taps: Mapping[str, str] = {},  # noqa: B006 - never changed
        preparation: Callable[[Tensor], Tensor] = Preparation(),
        checkpoint: Checkpoint = None,
        heir: Callable[[Wrapped, Detector | None], None] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.how, self.preparation, self.taps, self.checkpoint = score, preparation, dict(taps), checkpoint
        self.heir = heir
        self.deputy: tuple[nn.Module, ...] = ()
        parts = dict(network.named_modules())
        for place in self.taps.values():
            if place not in parts or not place:
                raise InputError(f"taps: {unknown('inner module', place, [name for name in parts if name])}")

    def prepare(self, raw: Tensor) -> Tensor:
        """Return what the network sees."""
        return self.preparation(raw)

    def adapt(self, chunks: object) -> None:
        """Read the network's weights; a bundle has them, so only what is trained needs their file."""
        if self.checkpoint is not None:
            pretrained.fill_whole(self.network, self.checkpoint)

    def check_files(self) -> None:
        """Check that the file of the network's weights holds these."""
        # A bundle that was loaded knows the file's hash alone, and needs it no more.
        if self.checkpoint is not None and pinned(self.checkpoint).file is not None:
            pretrained.fitting(self.network, self.checkpoint)

    def inherit(self, teacher: Detector | None) -> None:
        """Take first weights from the teacher, where the network is one that does."""
        if self.heir is not None:
            self.heir(self, teacher)

    def forward(self, x: Tensor) -> Outputs:
        """Return the network's outputs by name, and what the tapped modules put out."""
        found: dict[str, Tensor] = {}
        network, on_meta = self.network, x.is_meta and bool(self.deputy)
        if on_meta:
            network, x = self.deputy[0], torch.zeros(x.shape, dtype=x.dtype, device="cpu")
        # A hook is the one way to an inner module's output that needs no edit of the network.
        hooks = [
            network.get_submodule(place).register_forward_hook(_keeping(found, name))
            for name, place in self.taps.items()
        ]
        try:
            # What is compared with the input may not have changed it in its place.
            outputs = named(network(x.clone() if isinstance(self.how, Reconstruction) else x))
        finally:
            for hook in hooks:
                hook.remove()
        if missing := [name for name in self.taps if name not in found]:
            raise InputError(f"taps: '{self.taps[missing[0]]}' puts out no tensor, or the network does not use it")
        if taken := [name for name in found if name in outputs]:
            raise InputError(
                f"taps: an output of the network is named '{taken[0]}' already: give the tap another name, as in "
                f"{{NAME: {self.taps[taken[0]]}}} (allowed: any but {', '.join(outputs)})"
            )
        every = {**outputs, **found}
        if on_meta:
            every = {name: value.to("meta") for name, value in every.items()}
        return offered(every, self.how) if not callable(self.how) else every

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the score [N], as it was said to come from the outputs."""
        return self.how(x, outputs) if callable(self.how) else scored(x, outputs, self.how)


def represented(detector: Wrapped, build: Callable[[], nn.Module], input_shape: tuple[int, ...]) -> Wrapped:
    """Return a detector of which one can plan without data, also where its network does not run without.

    On the meta device tensors have shapes alone. A network that looks at values, as in ``if x.max() > 1``, or makes
    tensors of its own on the CPU, is represented there by one on the CPU, which sees zeros. Elsewhere nothing is done.
    """
    if not torch.empty(0).is_meta:
        return detector
    kind = torch.uint8 if len(input_shape) == 3 else torch.float32  # noqa: PLR2004 - images
    raw = torch.empty((2, *input_shape), dtype=kind)
    mode = detector.training
    try:
        # Where it is planned with, tensors that it makes itself are on the CPU.
        with torch.device("cpu"), torch.no_grad():
            detector.eval()(detector.prepare(raw))
    except InputError:
        pass
    except Exception:  # noqa: BLE001 - what somebody else's code raises; if it is wrong anyway, it is said on the CPU
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):
            detector.deputy = (build().eval(),)
    detector.train(mode)
    return detector


def _keeping(found: dict[str, Tensor], name: str) -> Callable[[nn.Module, Any, Any], None]:
    def keep(module: nn.Module, given: Any, output: Any) -> None:  # noqa: ANN401
        first = next((one for one in output if isinstance(one, Tensor)), None) if isinstance(output, tuple) else output
        if isinstance(first, Tensor):
            found[name] = first

    return keep


def tapped(taps: Mapping[str, str] | Sequence[str]) -> dict[str, str]:
    """Return taps by the names of their outputs: their own where none are given."""
    return dict(taps) if isinstance(taps, Mapping) else {place: place for place in taps}


def made(of: str, width: float, option: str) -> nn.Module:
    """Return a registered network at a width, which stands in the named option.

    Raises:
        InputError: for an unknown network, or a width that it does not take.
    """
    if of not in MODULES:
        raise InputError(f"of: {unknown('module', of, MODULES)}; register it in a plug-in and give that with --plugin")
    build = MODULES[of]
    parameters = inspect.signature(build).parameters
    takes = "width" in parameters
    if needed := [one.name for one in parameters.values() if _needed(one) and one.name != "width"]:
        raise InputError(
            f"of: the function of module '{of}' needs {', '.join(needed)} (allowed: no argument but width; give the "
            "others defaults, or register a function for each network)"
        )
    if not takes and width != 1:
        raise InputError(f"{option}: the function of module '{of}' takes no width, so it has one size (allowed: 1)")
    network = build(width=width) if takes else build()
    if not isinstance(network, nn.Module):
        raise InputError(f"of: module '{of}' is a function that returned {type(network).__name__}, not a torch module")
    return network


def _needed(parameter: inspect.Parameter) -> bool:
    gathered = parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.default is inspect.Parameter.empty and not gathered


@ARCHITECTURES.register("module")
def module(
    input_shape: tuple[int, ...],
    *,
    of: str,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    checkpoint: Checkpoint = None,
    score: Score = "output",
    taps: dict[str, str] | tuple[str, ...] = (),
    preparation: Preparation = Preparation(),
) -> Pair:
    """A network of your own, from a plug-in, as it is.

    The plug-in registers a function that returns it, with ``@kd.MODULES.register(NAME)``. Its outputs have the names
    that it gives them in a mapping; a tensor is ``output``, those of a tuple ``output.0``, ``output.1``, ...

    Args:
        input_shape: of one raw sample.
        of: the network's registered name.
        width: handed to the function, where it takes one; else 1 is all it can be.
        checkpoint: file with its weights, safetensors or a state dict that torch.save wrote; unset, they are random.
        score: output that is the score, or {distance: [ONE, OTHER]} of two, or {reconstruction: ONE} of one and the
            input, both mean squares.
        taps: inner modules by their dotted names, whose outputs a student shall learn; as a mapping, under other names.
        preparation: what the network sees of raw data: scale (raw, unit, symmetric, imagenet), size, channels.

    Raises:
        InputError: for an unknown network, tap or output, or a width that it does not take.
    """
    network = made(of, width, "width")
    detector = Wrapped(network, score=score, taps=tapped(taps), preparation=preparation, checkpoint=checkpoint)
    return Pair(represented(detector, lambda: made(of, width, "width"), tuple(input_shape)))
