"""An isolation forest as tensors: scikit-learn grows the trees, and torch reads them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.blocks import scaled
from kdcompress.architectures.rows import RowDetector, row_size
from kdcompress.signature import AtMostNormals
from kdcompress.types import Outputs, Pair

_EULER = 0.5772156649015329


def path_length(samples: float) -> float:
    """Return c(n), the mean depth of n samples in a random tree (Liu, Ting, Zhou, ICDM 2008, eq. 1)."""
    if samples <= 1:
        return 0.0
    return 1.0 if samples == 2 else 2 * (math.log(samples - 1) + _EULER) - 2 * (samples - 1) / samples


class IsolationForest(RowDetector):
    """Trees as arrays [T, nodes]; a leaf is its own child, so that a fixed number of steps ends in one."""

    fitted = True
    feature: Tensor
    cut: Tensor
    left: Tensor
    right: Tensor
    depth: Tensor
    typical: Tensor

    def __init__(self, size: int, trees: int, samples: int, seed: int) -> None:
        super().__init__(size)
        self.trees, self.samples, self.seed = trees, samples, seed
        self.steps = max(1, math.ceil(math.log2(samples)))
        nodes = 2 * samples - 1
        own = torch.arange(nodes, dtype=torch.int32).expand(trees, nodes)
        # Until it is calibrated, a single random cut in each tree: scores differ, as an untrained network's do.
        self.register_buffer("feature", torch.randint(size, (trees, nodes), dtype=torch.int32))
        self.register_buffer("cut", torch.randn(trees, nodes))
        self.register_buffer("left", own.clone())
        self.register_buffer("right", own.clone())
        self.register_buffer("depth", torch.rand(trees, nodes))
        self.register_buffer("typical", torch.ones(()))
        if nodes > 2:
            self.left[:, 0], self.right[:, 0] = 1, 2

    def forward(self, x: Tensor) -> Outputs:
        """Return ``depth`` [N], the mean path through the trees in units of that of a random tree."""
        node = torch.zeros(x.shape[0], self.trees, dtype=torch.int64, device=x.device)
        tree = torch.arange(self.trees, device=x.device)
        for _ in range(self.steps):
            below = x.gather(1, self.feature[tree, node].long()) <= self.cut[tree, node]
            node = torch.where(below, self.left[tree, node], self.right[tree, node]).long()
        return {"depth": self.depth[tree, node].mean(1) / self.typical}

    def calibrate(self, chunks: Iterable[Tensor]) -> None:
        """Grow the trees on training normals, each on a random sample of them."""
        # scikit-learn takes long to load, and only this needs it.
        from sklearn.ensemble import IsolationForest as Grower

        rows = torch.cat([chunk.clone() for chunk in chunks]).cpu().numpy()
        used = min(self.samples, len(rows))
        grown = Grower(n_estimators=self.trees, max_samples=used, random_state=self.seed, n_jobs=1).fit(rows)
        for index, one in enumerate(grown.estimators_):
            tree = one.tree_
            count, inner = tree.node_count, tree.children_left >= 0
            own = np.arange(count)
            fields = {
                "feature": np.where(inner, tree.feature, 0),
                # scikit-learn compares float32 with a float64 cut: rounded down, float32 decides alike.
                "cut": _rounded_down(tree.threshold),
                "left": np.where(inner, tree.children_left, own),
                "right": np.where(inner, tree.children_right, own),
                "depth": _depths(tree) + [path_length(n) for n in tree.n_node_samples],
            }
            for name, values in fields.items():
                buffer = getattr(self, name)
                buffer[index, :count].copy_(torch.as_tensor(values).to(buffer.dtype))
        self.typical.fill_(path_length(used) or 1.0)

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return 2^(-depth), in (0, 1]; about 0.5 is usual (Liu, Ting, Zhou, ICDM 2008, eq. 2)."""
        return torch.exp2(-outputs["depth"])


def _rounded_down(cuts: np.ndarray) -> np.ndarray:
    plain = cuts.astype(np.float32)
    return np.where(plain > cuts, np.nextafter(plain, np.float32(-np.inf)), plain)


def _depths(tree: object) -> np.ndarray:
    """Return how many cuts lie above each node; parents stand before their children."""
    left, right = tree.children_left, tree.children_right  # type: ignore[attr-defined]
    depths = np.zeros(len(left))
    for node in np.flatnonzero(left >= 0):
        depths[[left[node], right[node]]] = depths[node] + 1
    return depths


@ARCHITECTURES.register("isolation_forest")
def isolation_forest(
    input_shape: tuple[int, ...],
    *,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    trees: Annotated[int, Field(ge=1, le=10_000)] = 100,
    samples: Annotated[int, Field(ge=2, le=65_536), AtMostNormals()] = 256,
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0,
) -> Pair:
    """Trees of random cuts; the score is how soon they set a row apart. Nothing to train.

    Isolation forest (Liu, Ting, Zhou, ICDM 2008), grown by scikit-learn and kept as tensors. Samples of any shape are
    rows of numbers. It is fitted by the strategy ``fitted``. It has no multiply-accumulates: what it costs is its time.

    Args:
        input_shape: of one raw sample, e.g. (D,).
        width: factor on the number of trees.
        trees: how many, at width 1.
        samples: normals that each tree is grown on, at most.
        seed: of the cuts.

    Raises:
        InputError: for samples of no or too many numbers.
    """
    size = row_size("isolation_forest", input_shape)
    return Pair(IsolationForest(size, scaled(trees, width), samples, seed))
