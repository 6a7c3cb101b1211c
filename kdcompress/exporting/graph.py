"""A detector as one graph from raw data to its score, traced with any number of samples."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from kdcompress.errors import InputError, KdcompressError, near
from kdcompress.types import SCORE, Detector, Scorer

INPUT = "input"
PREPARED = "prepared"
"""What the network gets: an inner output, for finding where two forms of a detector begin to differ."""

RECONSTRUCTION, ANOMALY_MAP = "reconstruction", "anomaly_map"
OPTIONAL = (RECONSTRUCTION, ANOMALY_MAP)
"""Outputs beside the score that a user may ask for."""

_IMAGES = 4
"""Dimensions of a batch of images."""


class Graph(nn.Module):
    """What is exported: `Scorer`, or the same computation where more than the score is asked for."""

    def __init__(self, detector: Detector, names: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.scorer = Scorer(detector)
        self.names = names

    def forward(self, input: Tensor) -> dict[str, Tensor]:  # noqa: A002 - the name that the graph's input gets
        """Return the score [N] and the named outputs."""
        if not self.names:
            return {SCORE: self.scorer(input)}
        detector = self.scorer.detector
        x = detector.prepare(input)
        found = detector(x)
        every = {PREPARED: x, **found}
        if RECONSTRUCTION in found and ANOMALY_MAP not in found:
            every[ANOMALY_MAP] = (found[RECONSTRUCTION] - x).square().mean(1, keepdim=True)
        return {SCORE: detector.score_outputs(x, found), **{name: every[name] for name in self.names}}


@dataclass(frozen=True)
class Traced:
    """A graph as torch knows it.

    Attributes:
        program: what was traced.
        names: of its outputs, the score first.
        values: the graph's own names of the outputs, in the same order.
    """

    program: ExportedProgram
    names: tuple[str, ...]
    values: tuple[str, ...]


def inner(detector: Detector, raw: Tensor) -> tuple[str, ...]:
    """Return the names of what lies between raw data and the score, in order; none where the score goes its own way."""
    if type(detector).score is not Detector.score:
        return ()
    with torch.no_grad():
        return (PREPARED, *detector(detector.prepare(raw)))


def check_wanted(wanted: tuple[str, ...], detector: Detector, raw: Tensor) -> None:
    """Check that a detector has the outputs that are asked for.

    Raises:
        InputError: where it has not.
    """
    own = inner(detector, raw)
    image = raw.ndim == _IMAGES
    offered = OPTIONAL if RECONSTRUCTION in own else tuple(name for name in OPTIONAL if name in own)
    there = tuple(name for name in offered if image or name != ANOMALY_MAP)
    for name in wanted:
        if name == ANOMALY_MAP and not image:
            raise InputError(
                f"--outputs: '{name}' is of images, [N, 1, H, W]; this detector takes samples of shape "
                f"{list(raw.shape[1:])} (allowed: {', '.join(there) or 'none'})"
            )
        if name not in there:
            raise InputError(
                f"--outputs: this detector has no '{name}' beside its score{near(name, there)} "
                f"(allowed: {', '.join(there) or 'none'})"
            )


def traced(detector: Detector, raw: Tensor, names: tuple[str, ...] = ()) -> Traced:
    """Trace a detector in eval mode; ``raw`` [2, ...] gives shape and type, and any N goes in later.

    Raises:
        KdcompressError: where torch cannot trace it, with torch's own words.
    """
    graph = Graph(detector, names).eval()
    try:
        with torch.no_grad():
            program = torch.export.export(graph, (raw,), dynamic_shapes=({0: Dim("batch")},))
    except Exception as error:
        hint = "; a batch's size is x.shape[0] in a graph, len(x) fixes it" if "batch" in str(error) else ""
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise KdcompressError(f"{type(detector).__name__} cannot be exported by torch: {said[0]}{hint}") from error
    # Where the code lies on this machine is nobody's business, and code for checks on sizes would be run on loading.
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return Traced(program, (SCORE, *names), tuple(map(str, program.graph_signature.user_outputs)))
