"""A network of your own, as it is: a function that returns it is all that kdcompress needs.

kdcompress distill examples/own_network.yaml --plugin examples/own_network.py
"""

import torch
from torch import Tensor, nn

import kdcompress as kd


class Skipping(nn.Module):
    """An autoencoder with a skip connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, channels, 3, 2, 1)
        self.block = nn.Sequential(nn.ReLU(), nn.Conv2d(channels, channels, 3, 1, 1))
        self.up = nn.ConvTranspose2d(channels, 1, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstruction."""
        inner = self.down(x)
        return torch.sigmoid(self.up(inner + self.block(inner)))


@kd.MODULES.register("skipping")
def skipping(width: float = 1.0) -> nn.Module:
    """Return an autoencoder with a skip connection."""
    return Skipping(max(1, round(32 * width)))
