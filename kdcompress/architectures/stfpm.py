"""A network that imitates a frozen one's features on normals: where it does not succeed, there is an anomaly."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from kdcompress.architectures import ARCHITECTURES
from kdcompress.architectures.backbone import (
    BackboneName,
    FeatureDetector,
    Pyramid,
    by_level,
    channels_of,
    distances,
    enlarged,
    picture_of,
)
from kdcompress.architectures.pretrained import Weights
from kdcompress.pinned import Pinned
from kdcompress.types import Outputs, Pair


class Stfpm(FeatureDetector):
    """A frozen pyramid and a trained one of the same form; the anomaly map is the product of the levels' distances."""

    def __init__(
        self,
        image: tuple[int, int, int],
        size: int | None,
        name: BackboneName,
        weights: str | Pinned | None,
        width: float,
    ) -> None:
        super().__init__(image, size, name, weights)
        self.pyramid = Pyramid(name, width=width)
        # At every width, or the narrower of two networks could be the dearer one.
        self.heads = nn.ModuleList(
            nn.Conv2d(own, its, 1) for own, its in zip(channels_of(name, width), channels_of(name), strict=True)
        )

    def forward(self, x: Tensor) -> Outputs:
        """Return ``feature_distance`` [N, L], each level's mean distance from the frozen features.

        ``anomaly_map`` [N, 1, H, W] is the product over levels, in the raw image's size.
        """
        seen = self.backbone.standard(x)
        found = distances(
            [head(one) for head, one in zip(self.heads, self.pyramid(seen), strict=True)], self.backbone(seen)
        )
        levels = torch.cat([enlarged(one, self.shown) for one in found], 1)
        return {"feature_distance": by_level(found), "anomaly_map": levels.prod(1, keepdim=True)}

    def score_outputs(self, x: Tensor, outputs: Outputs) -> Tensor:
        """Return the largest value of the anomaly map (Wang et al., BMVC 2021, section 3.3)."""
        return outputs["anomaly_map"].amax((1, 2, 3))


@ARCHITECTURES.register("stfpm")
def stfpm(
    input_shape: tuple[int, ...],
    *,
    width: Annotated[float, Field(gt=0, le=16)] = 1.0,
    backbone: BackboneName = "resnet18",
    weights: Weights = None,
    size: Annotated[int, Field(ge=16, le=256)] | None = None,
) -> Pair:
    """Network that imitates a frozen one's features on normals; the score is how badly it does, at the worst place.

    Student-teacher feature pyramid matching (Wang et al., BMVC 2021); its teacher is part of the detector and stays
    whole. The trained network's maps go through a 1 x 1 convolution each, so that it may have any width. Trained alone
    by the strategy ``response``. Grey and colour images from 8 x 8 to 256 x 256.

    Args:
        input_shape: (C, H, W) of the raw uint8 images.
        width: factor on the trained network's channels; the backbone stays.
        backbone: torchvision's network that is imitated, and the form of the one that does.
        weights: the backbone's weights, a file (.safetensors, or a state dict by torch.save) or torchvision:NAME, as
            torchvision:DEFAULT; unset, random ones. A file counts by its content, a name by itself.
        size: side to which images are resized first; unset, they stay as they are.

    Raises:
        InputError: for input that is no image of a supported size, or weights that torchvision does not have.
    """
    return Pair(Stfpm(picture_of("stfpm", input_shape), size, backbone, weights, width))
