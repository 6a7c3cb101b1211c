"""A network of the user's own with fewer channels: the student is the teacher's network, narrowed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.coupling import Coupling
from kdcompress.architectures.importance import importance
from kdcompress.architectures.module import Wrapped, made, tapped
from kdcompress.architectures.modules import MODULES
from kdcompress.architectures.narrowing import narrow, understood, verified
from kdcompress.architectures.scoring import Preparation, Score
from kdcompress.errors import InputError
from kdcompress.types import Detector, Pair


@dataclass(frozen=True)
class Slices:
    """How a narrowed network takes its weights from a whole one."""

    coupling: Coupling
    width: float

    def __deepcopy__(self, memo: dict[int, Any]) -> Slices:
        """Return the same: nothing in it changes."""
        return self

    def __call__(self, student: Wrapped, teacher: Detector | None) -> None:
        """Copy the slices of the teacher's most important channels; on the meta device only look whether they fit.

        Raises:
            InputError: where the teacher is no such network.
        """
        if said := self._unfit(teacher):
            raise InputError(f"student.start: sliced takes the slices of the teacher's own network, {said}; or: random")
        assert isinstance(teacher, Wrapped), "what fits is one"
        if any(one.is_meta for one in (*student.parameters(), *teacher.parameters())):
            return
        # With the student's taps: they decide what can be cut.
        whole = Wrapped(copy.deepcopy(teacher.network).cpu(), score=student.how, taps=student.taps)
        narrow(whole, self.coupling.gone(self.width, importance(whole, self.coupling)))
        student.load_state_dict(whole.state_dict())

    def _unfit(self, teacher: Detector | None) -> str:
        if teacher is None:
            return "and there is no teacher"
        if not isinstance(teacher, Wrapped):
            return "and this one's is no module (allowed: the adapter module, or a wrapped one)"
        found = {name: tuple(value.shape) for name, value in teacher.state_dict().items()}
        wanted = self.coupling.state
        other = [name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)]
        if not other:
            return ""
        name = min(other)
        return f"and this one's {name} is {found.get(name, 'missing')}, not {wanted.get(name, 'there')}"


@lru_cache(maxsize=64)
def _coupling(
    build: Callable[..., nn.Module],
    of: str,
    full: float,
    input_shape: tuple[int, ...],
    score: Score,
    taps: tuple[tuple[str, str], ...],
    preparation: Preparation,
) -> Coupling:
    """Return what can be cut from a registered network; ``build`` is what has the name now."""
    with torch.device("cpu"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole = Wrapped(made(of, full, "full"), score=score, taps=dict(taps))
        return understood(whole, preparation(torch.rand(2, *input_shape)))


@ARCHITECTURES.register("sliced")
def sliced(
    input_shape: tuple[int, ...],
    *,
    of: str,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    start: Literal["sliced", "random"] = "sliced",
    full: Annotated[float, Field(gt=0, le=16)] = 1.0,
    score: Score = "output",
    taps: dict[str, str] | tuple[str, ...] = (),
    preparation: Preparation = Preparation(),
) -> Pair:
    """A network of your own with fewer channels: a student of the same network.

    Of each set of channels that can stand in for each other, as many stay as the width says; what an output or a tap
    has keeps its shape. The shape is the same however it starts. A student of a teacher that is a ``module`` has
    the teacher's ``of``, ``score``, ``taps``, ``preparation``, and its width as ``full``, where it sets none.

    Args:
        input_shape: of one raw sample.
        of: the network's registered name.
        width: share of the channels that stay, one at least; above 1 none are added.
        start: sliced: weights of the teacher's most important channels, for the student and its control; random:
            each layer as it begins by itself.
        full: handed to the network's function, where it takes a width.
        score: output that is the score, or {distance: [ONE, OTHER]} of two, or {reconstruction: ONE} of one and the
            input, both mean squares.
        taps: inner modules by their dotted names, whose outputs a student shall learn; as a mapping, under other names.
        preparation: what the network sees of raw data: scale (raw, unit, symmetric, imagenet), size, channels.

    Raises:
        InputError: for an unknown network, tap or output, or a layer that cannot be narrowed.
    """
    network, places = made(of, full, "full"), tapped(taps)
    coupling = _coupling(MODULES[of], of, full, tuple(input_shape), score, tuple(places.items()), preparation)
    heir = Slices(coupling, width) if start == "sliced" else None
    detector = Wrapped(network, score=score, taps=places, preparation=preparation, heir=heir)
    for layer in narrow(detector, coupling.gone(width)):
        # A layer's first weights depend on how many channels it has.
        if callable(reset := getattr(layer, "reset_parameters", None)):
            reset()
    verified(detector, coupling)
    return Pair(detector)
