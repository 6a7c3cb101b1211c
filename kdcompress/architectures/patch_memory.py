"""A memory of normal patches: an image is as anomalous as the patch of it that is farthest from all of them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.backbone import BackboneName, FeatureDetector, channels_of, enlarged, picture_of
from kdcompress.architectures.blocks import scaled
from kdcompress.architectures.pretrained import Weights
from kdcompress.architectures.rows import Product
from kdcompress.pinned import Pinned
from kdcompress.types import Outputs, Pair

_CANDIDATES = 2**18
"""Patches, drawn evenly from all normals, that the memory is chosen from at most."""

_PROJECTED = 128
"""Numbers of a patch while the memory is chosen; distances stay nearly the same (Johnson and Lindenstrauss, 1984)."""

_PRODUCT = 2**26
"""Distances that are held at once at most."""


class PatchMemory(FeatureDetector):
    """Patches of two or more levels of a frozen backbone, and a memory of normal ones."""

    fitted = True
    exact = ("memory",)

    def __init__(
        self,
        image: tuple[int, int, int],
        size: int | None,
        name: BackboneName,
        weights: str | Pinned | None,
        levels: tuple[int, ...],
        patches: int,
    ) -> None:
        super().__init__(image, size, name, weights, max(levels))
        self.levels = sorted(set(levels))
        # Until it is calibrated, places at random: scores differ, as an untrained network's do.
        self.memory = Product(torch.randn(patches, sum(channels_of(name)[level - 1] for level in self.levels)))

    def forward(self, x: Tensor) -> Outputs:
        """Return ``patch_distance`` [N, h, w] from the nearest normal patch, and as ``anomaly_map`` [N, 1, H, W]."""
        patches = self._patches(x)
        at_once = max(1, _PRODUCT // len(self.memory.weight))
        # Not in bfloat16: which patch is the nearest can be a small difference of large numbers.
        with _in_float32(x.device):
            rows = patches.flatten(0, 2).float()
            # In parts, an exported graph would be of one batch size.
            parts = (rows,) if torch.compiler.is_exporting() else rows.split(at_once)
            nearest = torch.cat([self._distance(part) for part in parts])
        found = nearest.unflatten(0, patches.shape[:3])
        return {"patch_distance": found, "anomaly_map": enlarged(found[:, None], self.shown)}

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the largest distance of a patch (Roth et al., CVPR 2022, eq. 6)."""
        return outputs["patch_distance"].amax((1, 2))

    def calibrate(self, chunks: Iterable[Tensor]) -> None:
        """Keep normal patches: all, or as many as there is room for, chosen to be far apart."""
        found = _drawn((self._patches(x).flatten(0, 2).float() for x in chunks), _CANDIDATES)
        room = len(self.memory.weight)
        chosen = farthest(found, min(room, len(found)))
        # Fewer patches than places stand there several times, which changes no distance.
        self.memory.weight.copy_(found[chosen.repeat(-(-room // len(chosen)))[:room]])

    def _patches(self, x: Tensor) -> Tensor:
        """Return features [N, h, w, C] of patches: averaged over neighbours, all levels at the finest one's places."""
        maps = self.backbone(self.backbone.standard(x))
        maps = [F.avg_pool2d(maps[level - 1], 3, 1, 1, count_include_pad=False) for level in self.levels]
        size = (maps[0].shape[2], maps[0].shape[3])
        return torch.cat([maps[0], *(enlarged(one, size) for one in maps[1:])], 1).permute(0, 2, 3, 1)

    def _distance(self, rows: Tensor) -> Tensor:
        """Return the distance of rows [M, C] from the nearest in memory."""
        kept = self.memory.weight
        # |a - b|^2 = |a|^2 - 2ab + |b|^2, where |a|^2 does not matter to which is the nearest: one matrix product.
        nearest = (kept.square().sum(1) - 2 * self.memory(rows)).argmin(1)
        # Only that one's distance is taken from the difference itself, so that the distance from itself is 0.
        return (rows - kept[nearest]).square().sum(1).sqrt()


def _in_float32(device: torch.device) -> AbstractContextManager[object]:
    """Return the context without lower precision; there is none where nothing is computed, or a graph is exported."""
    known = torch.amp.is_autocast_available(device.type) and not torch.compiler.is_exporting()
    return torch.autocast(device.type, enabled=False) if known else nullcontext()


def _drawn(chunks: Iterable[Tensor], most: int) -> Tensor:
    """Return rows of all chunks: all of them, or so many at random, the same ones each time, in their order."""
    generator = torch.Generator().manual_seed(0)
    kept: Tensor | None = None
    keys = torch.empty(0)
    for chunk in chunks:
        kept = chunk if kept is None else torch.cat([kept, chunk])
        keys = torch.cat([keys, torch.rand(len(chunk), generator=generator)])
        if len(kept) > most:
            staying = keys.argsort()[:most].sort().values
            kept, keys = kept[staying.to(kept.device)], keys[staying]
    assert kept is not None, "there are training samples"
    return kept


def farthest(rows: Tensor, count: int) -> Tensor:
    """Return the places [count] of rows of which each is the farthest from those before it (Gonzalez, 1985).

    No choice of so many has less than half of their largest distance from a row that is left out. Distances are those
    of a random projection.
    """
    if rows.shape[1] > _PROJECTED:
        generator = torch.Generator().manual_seed(0)
        rows = rows @ torch.randn(rows.shape[1], _PROJECTED, generator=generator).to(rows)
    # Around 0, where the difference of squares below loses fewest digits.
    rows = rows - rows.mean(0)
    squares = rows.square().sum(1)
    gaps = torch.full((len(rows),), torch.inf, device=rows.device)
    chosen = torch.zeros(count, dtype=torch.int64, device=rows.device)
    for place in range(count):
        index = gaps.argmax()
        chosen[place] = index
        # A product, as in `_distance`: ten times as fast as the square of the difference.
        gaps = torch.minimum(gaps, squares - 2 * (rows @ rows[index]) + squares[index])
        # Not again, although copies of it are as near.
        gaps[index] = -torch.inf
    return chosen


@ARCHITECTURES.register("patch_memory")
def patch_memory(
    input_shape: tuple[int, ...],
    *,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    backbone: BackboneName = "resnet18",
    weights: Weights = None,
    levels: Annotated[tuple[Literal[1, 2, 3], ...], Field(min_length=1)] = (2, 3),
    patches: Annotated[int, Field(ge=1, le=1_000_000)] = 1024,
    size: Annotated[int, Field(ge=16, le=256)] | None = None,
) -> Pair:
    """Distance of an image's oddest patch from normal ones, by a frozen network's features; nothing to train.

    PatchCore (Roth et al., CVPR 2022) without its weighting of neighbours and its smoothing. It is fitted by the
    strategy ``fitted``. Grey and colour images from 8 x 8 to 256 x 256.

    Args:
        input_shape: (C, H, W) of the raw uint8 images.
        width: factor on the patches that are kept; the backbone stays.
        backbone: torchvision's network whose features are compared.
        weights: its weights, a file (.safetensors, or a state dict by torch.save) or torchvision:NAME, as
            torchvision:DEFAULT; unset, random ones. A file counts by its content, a name by itself.
        levels: whose features are compared, from 1, at a quarter of the image's side, to 3, at a sixteenth.
        patches: normal ones that are kept, at width 1.
        size: side to which images are resized first; unset, they stay as they are.

    Raises:
        InputError: for input that is no image of a supported size, or weights that torchvision does not have.
    """
    image = picture_of("patch_memory", input_shape)
    return Pair(PatchMemory(image, size, backbone, weights, levels, scaled(patches, width)))
