"""The network of the suite `starts`: an autoencoder of one's own with a skip connection in its encoder."""

import torch
from torch import Tensor, nn

import kdcompress as kd


class Skipping(nn.Module):
    """Image [N, C, H, W] in [0, 1] to its reconstruction, through a few channels at a quarter of the side."""

    def __init__(self, image_channels: int, channels: int, inner: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(image_channels, channels, 3, 2, 1), nn.BatchNorm2d(channels), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1), nn.BatchNorm2d(channels), nn.ReLU())
        self.code = nn.Conv2d(channels, inner, 3, 2, 1)
        self.up = nn.Sequential(nn.ConvTranspose2d(inner, channels, 4, 2, 1), nn.BatchNorm2d(channels), nn.ReLU())
        self.last = nn.ConvTranspose2d(channels, image_channels, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstruction."""
        first = self.first(x)
        return torch.sigmoid(self.last(self.up(self.code(first + self.block(first)))))


@kd.MODULES.register("starts-network")
def network() -> nn.Module:
    """Return the network for grey images."""
    return Skipping(1, 48, 4)
