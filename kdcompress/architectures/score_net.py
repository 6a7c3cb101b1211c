"""One number in one pass: what learns any teacher's scores."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.blocks import image_of, ladder, pooled, prepared, scaled, with_features
from kdcompress.architectures.rows import RowDetector, dense, row_size
from kdcompress.types import Detector, Outputs, Pair


class _RowScore(RowDetector):
    """Rows to a number."""

    def __init__(self, size: int, hidden: list[int]) -> None:
        super().__init__(size)
        self.network = dense([size, *hidden, 1])

    def forward(self, x: Tensor) -> Outputs:
        """Return the ``logit`` [N] of an anomaly."""
        return {"logit": self.network(x).squeeze(1)}

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the logit."""
        return outputs["logit"]


class _ImageScore(Detector):
    """Images to a number."""

    def __init__(self, channels: list[int], size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        self.network = pooled(channels, 1)

    def prepare(self, raw: Tensor) -> Tensor:
        """Scale uint8 images [N, C, H, W] to [-1, 1] and, where the detector's size differs, resize them."""
        return prepared(raw, self.size)

    def forward(self, x: Tensor) -> Outputs:
        """Return the ``logit`` [N] of an anomaly, and as ``features`` [N, H, W, C] the innermost map."""
        logit, features = with_features(self.network, 3, x)
        return {"logit": logit.squeeze(1), "features": features}

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the logit."""
        return outputs["logit"]


@ARCHITECTURES.register("score_net")
def score_net(
    input_shape: tuple[int, ...],
    *,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    base: Annotated[int, Field(ge=1, le=4096)] = 32,
    depth: Annotated[int, Field(ge=1, le=7)] = 2,
    size: Annotated[int, Field(ge=8, le=256)] | None = None,
) -> Pair:
    """One number in one pass: what learns any teacher's scores, whatever the teacher does for them.

    Convolutions for images, dense layers for everything else, which is scaled by the training normals. Alone it learns
    to tell normals from queries made of them (Steinwart, Hush, Scovel, JMLR 2005), so that it needs a strategy with
    queries.

    Args:
        input_shape: (C, H, W) of raw uint8 images, or of one row, e.g. (D,).
        width: factor on every inner layer.
        base: channels of the first level at width 1, doubling up to eight times; numbers in each dense layer.
        depth: levels, each halving the map; inner dense layers.
        size: side to which images are resized first; unset, they stay as they are.

    Raises:
        InputError: for input of a shape that is not supported.
    """
    if len(input_shape) != 3:
        return Pair(_RowScore(row_size("score_net", input_shape), [scaled(base, width)] * depth))
    channels, height, breadth = image_of("score_net", input_shape)
    outer = (height, breadth) if size is None else (size, size)
    return Pair(_ImageScore([channels, *ladder(base, depth, width)], outer))
