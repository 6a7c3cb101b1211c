"""Networks with one thing each that makes slicing hard."""

import torch
from torch import nn


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(1, 8, 3, padding=1)
        self.b = nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
        self.up = nn.ConvTranspose2d(8, 1, 4, 2, 1)

    def forward(self, x):
        inner = self.a(x)
        return self.up(inner + self.b(inner))


class Concatenating(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 4, 1), nn.Conv2d(13, 2, 1)

    def forward(self, x):
        inner = self.a(x)
        return self.c(torch.cat([self.b(inner), x, inner], 1))


class Splitting(nn.Module):
    """Both halves are added to something, and read by different layers."""

    def __init__(self):
        super().__init__()
        self.a, self.e = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(1, 4, 1)
        self.c, self.d = nn.Conv2d(4, 1, 1), nn.Conv2d(4, 1, 1)

    def forward(self, x):
        one, other = self.a(x).chunk(2, 1)
        return self.c(one + self.e(x)) - self.d(other)


class Grouped(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.g = nn.Conv2d(1, 8, 1), nn.Conv2d(8, 8, 3, groups=2, padding=1)
        self.t = nn.ConvTranspose2d(8, 8, 2, 2, groups=2)
        self.depth, self.turned = nn.Conv2d(8, 8, 3, groups=8, padding=1), nn.ConvTranspose2d(8, 8, 2, 2, groups=8)
        self.norm, self.c = nn.InstanceNorm2d(8, affine=True), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        return self.c(self.norm(self.turned(self.depth(self.t(self.g(self.a(x)))))))


class Flattening(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.inner = nn.Conv2d(1, 8, 3, 2, 1), nn.Linear(8 * 16, 6)
        self.back, self.up = nn.Linear(6, 4 * 16), nn.ConvTranspose2d(4, 1, 4, 2, 1)

    def forward(self, x):
        inner = self.inner(torch.relu(self.a(x)).flatten(1))
        return self.up(self.back(inner).view(len(x), -1, 4, 4))


class Attending(nn.Module):
    """Gates for each channel and for each place, a scale that is no layer, and a learned slope."""

    def __init__(self):
        super().__init__()
        self.a, self.slope, self.scale = (
            nn.Conv2d(1, 8, 3, padding=1),
            nn.PReLU(8),
            nn.Parameter(torch.ones(1, 8, 1, 1)),
        )
        self.squeeze, self.excite, self.where = nn.Linear(8, 4), nn.Linear(4, 8), nn.Conv2d(8, 1, 1)
        self.c = nn.Conv2d(8, 1, 1)

    def forward(self, x):
        inner = self.slope(self.a(x)) * self.scale
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(inner.mean((2, 3))))))
        return self.c(inner * gate[:, :, None, None] * torch.sigmoid(self.where(inner)))


class Recurring(nn.Module):
    def __init__(self, kind, ways=1, norm=False):
        super().__init__()
        self.first = nn.Linear(3, 6)
        self.cells = kind(6, 4, num_layers=2, batch_first=True, bidirectional=ways == 2)
        self.norm = nn.LayerNorm(4 * ways) if norm else nn.Identity()
        self.last = nn.Linear(4 * ways, 2)

    def forward(self, x):
        return self.last(self.norm(self.cells(self.first(x))[0]))


class Encoding(nn.Module):
    """A sequence into its last state and back."""

    def __init__(self, bidirectional=False):
        super().__init__()
        self.inner = nn.LSTM(3, 4, batch_first=True, bidirectional=bidirectional)
        self.outer, self.last = nn.GRU(4, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x):
        _, (state, _) = self.inner(x)
        return self.last(self.outer(state[-1].unsqueeze(1).expand(-1, x.shape[1], -1))[0])


class Twice(nn.Module):
    """One encoder for the input and its reconstruction."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 3, 4)
        )
        self.decoder = nn.Sequential(nn.ConvTranspose2d(3, 8, 4), nn.ReLU(), nn.ConvTranspose2d(8, 1, 4, 2, 1))

    def forward(self, x):
        latent = self.encoder(x)
        rebuilt = self.decoder(latent)
        return {"latent": latent, "rebuilt": rebuilt, "again": self.encoder(rebuilt)}


class Added(nn.Module):
    """The input is added to the output, and a depthwise layer reads the input."""

    def __init__(self):
        super().__init__()
        self.depth, self.a, self.b = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x):
        return x + self.b(torch.relu(self.a(self.depth(x))))


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm, self.c = nn.Conv2d(1, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.Conv2d(8, 1, 1)

    def forward(self, x):
        return self.c(torch.relu(self.norm(self.a(x))))


class Last(nn.LayerNorm):
    """A norm of one's own, over the channels of an image, and one that is no layer."""

    def forward(self, x):
        x = super().forward(x.permute(0, 2, 3, 1))
        return nn.functional.layer_norm(x, x.shape[-1:]).permute(0, 3, 1, 2)


class NormedLast(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm, self.c = nn.Conv2d(1, 8, 3, padding=1), Last(8), nn.Conv2d(8, 1, 1)

    def forward(self, x):
        return self.c(torch.relu(self.norm(self.a(x))))


class Shuffled(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(1, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 1, 1)

    def forward(self, x):
        inner = self.a(x)
        count, channels, *sides = inner.shape
        return self.c(self.b(inner.view(count, 2, channels // 2, *sides).transpose(1, 2).reshape(inner.shape)))


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.heads, self.c = nn.Linear(3, 8), nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 2)

    def forward(self, x):
        inner = self.a(x)
        return self.c(self.heads(inner, inner, inner)[0])


class Numbered(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.c = nn.Conv2d(1, 8, 1), nn.Conv2d(8, 1, 1)

    def forward(self, x):
        return self.c(self.a(x).view(len(x), 8, *x.shape[2:]))


class Larger(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.c = nn.Conv2d(1, 16, 1), nn.Conv2d(4, 1, 1)

    def forward(self, x):
        return self.c(nn.functional.pixel_shuffle(self.a(x), 2))


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 8), nn.Linear(3, 8), nn.Linear(8, 2)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.c(self.a(x) + self.b(x))


class Product(nn.Module):
    """A weight that is no layer's."""

    def __init__(self):
        super().__init__()
        self.a, self.weight, self.c = nn.Linear(3, 8), nn.Parameter(torch.randn(8, 8)), nn.Linear(8, 2)

    def forward(self, x):
        return self.c(self.a(x) * self.weight[: len(x)])


class Started(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells, self.last = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.cells(x, torch.zeros(1, len(x), 4))[0])


class Flattened(nn.Module):
    """Channels come last where it is flattened."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(20, 2)

    def forward(self, x):
        return self.last(self.first(x).flatten(1))


class Shuffling(nn.Module):
    """A block of ShuffleNet V2: half of the channels pass, and then both halves are interleaved."""

    def __init__(self, first):
        super().__init__()
        self.aside = nn.Conv2d(8, 8, 1) if first else None
        self.branch = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=8))

    def forward(self, x):
        one, other = (self.aside(x), x) if self.aside is not None else x.chunk(2, 1)
        y = torch.cat((one, self.branch(other)), 1)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


class ShuffleNet(nn.Module):
    """Blocks of ShuffleNet V2, one after another."""

    def __init__(self, blocks):
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.blocks = nn.Sequential(*(Shuffling(number == 0) for number in range(blocks)))
        self.last = nn.Conv2d(16, 1, 1)

    def forward(self, x):
        return self.last(self.blocks(self.first(x)))


class Tied(nn.Module):
    """A decoder that is its encoder, transposed."""

    def __init__(self):
        super().__init__()
        self.first, self.code, self.last = nn.Linear(3, 8), nn.Linear(8, 6), nn.Linear(8, 3)

    def forward(self, x):
        code = torch.relu(self.code(torch.relu(self.first(x))))
        return self.last(torch.relu(code @ self.code.weight))
