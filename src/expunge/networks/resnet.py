"""Small residual network (He et al. 2016, CIFAR form)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from expunge.networks.cnn import image_channels


@dataclass(frozen=True)
class ResNet:
    """Three stages of `blocks` basic blocks, widths `width`, 2 x, 4 x; batch normalisation; 1 block: ResNet-8."""

    width: int = 16
    blocks: int = 1

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """Features are `[channels, height, width]`; raises `ProgrammerError("bad-shape")` for anything else."""
        widths = [self.width, self.width, 2 * self.width, 4 * self.width]
        layers: list[nn.Module] = [
            _convolution(image_channels(shape), self.width, 1),
            nn.BatchNorm2d(self.width),
            nn.ReLU(),
        ]
        for stage in range(3):
            for block in range(self.blocks):
                first = block == 0
                stride = 2 if first and stage > 0 else 1
                layers.append(_Block(widths[stage] if first else widths[stage + 1], widths[stage + 1], stride))
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], max(classes, 1)))


class _Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(before, after, stride),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            _convolution(after, after, 1),
            nn.BatchNorm2d(after),
        )
        same = before == after and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(before, after, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """What the convolutions add to the shortcut, cut off below zero."""
        return torch.relu(self.body(x) + self.shortcut(x))


def _convolution(before: int, after: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
