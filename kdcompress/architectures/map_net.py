"""One pass to a map of where an image is odd: what learns a teacher's anomaly maps."""

from __future__ import annotations

import itertools
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.blocks import image_of, ladder, prepared
from kdcompress.types import Detector, Outputs, Pair


class MapNet(Detector):
    """Image to a number for each place of a coarse map."""

    def __init__(self, channels: list[int], shown: tuple[int, int], size: tuple[int, int]) -> None:
        super().__init__()
        self.shown, self.size = shown, size
        layers: list[nn.Module] = []
        for inner, outer in itertools.pairwise(channels):
            layers += [nn.Conv2d(inner, outer, 3, 2, 1, bias=False), nn.BatchNorm2d(outer), nn.LeakyReLU(0.1)]
        self.network = nn.Sequential(*layers, nn.Conv2d(channels[-1], 1, 3, 1, 1))

    def prepare(self, raw: Tensor) -> Tensor:
        """Scale uint8 images [N, C, H, W] to [-1, 1] and, where the detector's size differs, resize them."""
        return prepared(raw, self.size)

    def forward(self, x: Tensor) -> Outputs:
        """Return the ``anomaly_map`` [N, 1, H, W] in the raw image's size, and its largest place as ``logit`` [N]."""
        coarse = self.network(x)
        whole = F.interpolate(coarse, self.shown, mode="bilinear", align_corners=False)
        return {"logit": coarse.amax((1, 2, 3)), "anomaly_map": whole}

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the logit."""
        return outputs["logit"]


@ARCHITECTURES.register("map_net")
def map_net(
    input_shape: tuple[int, ...],
    *,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    base: Annotated[int, Field(ge=1, le=1024)] = 16,
    depth: Annotated[int, Field(ge=1, le=5)] = 3,
    size: Annotated[int, Field(ge=8, le=256)] | None = None,
) -> Pair:
    """One pass to a map of where an image is odd; the score is its largest place.

    What learns the maps of a teacher that has some (strategy ``maps``), or any teacher's scores. Alone it learns to
    tell normals from queries made of them, so that it needs a strategy with queries.

    Args:
        input_shape: (C, H, W) of the raw uint8 images.
        width: factor on every inner layer.
        base: channels of the first level at width 1; they double from level to level up to eight times.
        depth: levels, each halving the map.
        size: side to which images are resized first; unset, they stay as they are.

    Raises:
        InputError: for input of a shape that is not supported.
    """
    channels, height, breadth = image_of("map_net", input_shape)
    outer = (height, breadth) if size is None else (size, size)
    return Pair(MapNet([channels, *ladder(base, depth, width)], (height, breadth), outer))
