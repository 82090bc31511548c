"""LeNet-like convolutional network."""

from dataclasses import dataclass

import torch
from torch import nn

from expunge.errors import ProgrammerError


@dataclass(frozen=True)
class CNN:
    """Two 5 x 5 convolutions of stride 2, one hidden layer: 114,314 parameters on 28 x 28 digits.

    Strided convolutions instead of pooling: the same accuracy on digits at half the time on a CPU.
    """

    channels: tuple[int, int] = (16, 32)
    hidden: int = 64

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """Features are `[channels, height, width]`.

        **Raises:** `ProgrammerError("bad-shape")` for anything else.
        """
        body = nn.Sequential(
            nn.Conv2d(image_channels(shape), self.channels[0], 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(*self.channels, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Flatten(),
        )
        with torch.no_grad():
            width = body(torch.zeros(1, *shape)).shape[1]
        return nn.Sequential(*body, nn.Linear(width, self.hidden), nn.ReLU(), nn.Linear(self.hidden, max(classes, 1)))


def image_channels(shape: tuple[int, ...]) -> int:
    """Number of channels of image features; refuses features that are no images."""
    if len(shape) != 3:
        raise ProgrammerError(
            "bad-shape", f"a convolutional network needs [channels, height, width], not {list(shape)}"
        )
    return shape[0]
