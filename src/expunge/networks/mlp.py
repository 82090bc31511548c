"""Multilayer perceptron."""

from dataclasses import dataclass
from itertools import pairwise
from math import prod

from torch import nn


@dataclass(frozen=True)
class MLP:
    """Fully connected ReLU network on flattened features; `hidden` are the widths, `()` is a linear model."""

    hidden: tuple[int, ...] = (64,)
    batch_norm: bool = False

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """`Flatten, (Linear, [BatchNorm1d,] ReLU)*, Linear`."""
        widths = (prod(shape), *self.hidden)
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(widths):
            layers.append(nn.Linear(before, after))
            if self.batch_norm:
                layers.append(nn.BatchNorm1d(after))
            layers.append(nn.ReLU())
        return nn.Sequential(*layers, nn.Linear(widths[-1], max(classes, 1)))
