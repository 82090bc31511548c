"""Networks whose features never saw a record: fixed from the seed alone, and only the last layer is trained.

With cross-entropy and an L2 penalty the training problem is then strongly convex, with every constant known: what a
theorem needs. All features of a record together have norm `SIZE`, by the record alone.
"""

import math
from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.networks.cnn import image_channels

SIZE = 10.0
"""Euclidean norm of a record's features."""


@dataclass(frozen=True)
class RandomFeatures:
    """Random cosine features (Rahimi and Recht, NeurIPS 2007) of the flattened record, then one linear layer.

    **Arguments:** `width`: number of features; `frequency`: of the cosines, in radians over the typical length of a
    standardised record.
    """

    width: int = 600
    frequency: float = 1.5

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """`Features, Linear`; draws frequencies and phases as initial weights are drawn."""
        length = prod(shape)
        frequencies = torch.randn(self.width, length) * (self.frequency / math.sqrt(length))
        body = _Cosines(frequencies, 2 * math.pi * torch.rand(self.width))
        return nn.Sequential(body, nn.Linear(self.width, max(classes, 1)))


@dataclass(frozen=True)
class OrientedFilters:
    """Moduli of Gabor wavelets, pooled to a grid, then one linear layer: for images from 16 x 16 on.

    The first layer of a scattering transform (Bruna and Mallat, TPAMI 2013); nothing in it is random or learnt.

    **Arguments:** `orientations`; `scales`: standard deviations of the envelopes in pixels; `grid`: cells a side;
    `stride`: pixels from one response to the next, of which there should be `grid` a side or more.
    """

    orientations: int = 6
    scales: tuple[float, ...] = (1.2, 2.4)
    grid: int = 6
    stride: int = 2

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """`Features, Linear`; features are `[channels, height, width]`; raises `ProgrammerError("bad-shape")`."""
        body = _Moduli(wavelets(self.orientations, self.scales), self.grid, self.stride)
        width = len(body.filters) // 2 * self.grid**2 * image_channels(shape)
        return nn.Sequential(body, nn.Linear(width, max(classes, 1)))


def wavelets(orientations: int, scales: tuple[float, ...]) -> Float[Tensor, "filters 1 side side"]:
    """Gabor filters of unit norm and mean zero: for each scale and orientation an even one, then an odd one."""
    side = 2 * math.ceil(1.3 * max(scales)) + 1
    axis = torch.arange(side) - side // 2
    down, along = torch.meshgrid(axis, axis, indexing="ij")
    found = []
    for scale in scales:
        envelope = torch.exp(-(down**2 + along**2) / (2 * scale**2))
        for number in range(orientations):
            angle = math.pi * number / orientations
            wave = 2 / scale * (along * math.cos(angle) + down * math.sin(angle))
            for carrier in (wave.cos(), wave.sin()):
                filtered = envelope * (carrier - (envelope * carrier).sum() / envelope.sum())
                found.append(filtered / filtered.norm())
    return torch.stack(found)[:, None]


class _Cosines(nn.Module):
    """Cosine features; buffers, for they are never trained."""

    def __init__(self, frequencies: Tensor, phases: Tensor) -> None:
        super().__init__()
        self.register_buffer("frequencies", frequencies)
        self.register_buffer("phases", phases)
        self.frequencies: Tensor
        self.phases: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Features `[records, frequencies]` of length one."""
        return _sized(torch.cos(x.flatten(1) @ self.frequencies.T + self.phases))


class _Moduli(nn.Module):
    """Modulus of even and odd responses, averaged over the cells of a grid."""

    def __init__(self, filters: Tensor, grid: int, stride: int) -> None:
        super().__init__()
        self.register_buffer("filters", filters)
        self.filters: Tensor
        self.grid, self.stride = grid, stride

    def forward(self, x: Tensor) -> Tensor:
        """Features `[records, cells]` of length one."""
        records, channels = x.shape[:2]
        planes = x.reshape(records * channels, 1, *x.shape[2:])
        border = self.filters.shape[-1] // 2
        answers = nn.functional.conv2d(planes, self.filters, stride=self.stride, padding=border)
        moduli = (answers[:, 0::2].square() + answers[:, 1::2].square() + 1e-12).sqrt()
        pooled = nn.functional.adaptive_avg_pool2d(moduli, self.grid)
        return _sized(pooled.reshape(records, -1))


def _sized(features: Tensor) -> Tensor:
    return SIZE * nn.functional.normalize(features, dim=1)
