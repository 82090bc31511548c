"""Long short-term memory over a sequence that stands in the columns of a table."""

from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.errors import ProgrammerError
from expunge.networks.trends import changes, mixed


@dataclass(frozen=True)
class LSTM:
    """A recurrent network (Hochreiter and Schmidhuber, 1997) whose last state goes through one linear layer, added to a
    linear autoregression on all columns (LSTNet: Lai et al., SIGIR 2018, section 3.6): states saturate, levels do not.
    Beside its channels each step sees the change of the first one since the step before, larger by `gain`.

    **Arguments:** `steps`, `channels`: the first `steps * channels` columns are the sequence, oldest step first, the
    channels of a step side by side; `hidden`: width of the state; `gain`: see `Trends`.
    """

    steps: int
    channels: int = 1
    hidden: int = 32
    gain: float = 6.0

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The module; raises `ProgrammerError("bad-hyperparameter")` for fewer columns than the sequence needs."""
        columns = prod(shape)
        if columns < self.steps * self.channels or min(self.steps, self.channels, self.hidden) < 1:
            raise ProgrammerError(
                "bad-hyperparameter", f"{self.steps} steps of {self.channels} channels do not fit {columns} columns"
            )
        return _Recurrent(self, columns, max(classes, 1))


class _Recurrent(nn.Module):
    def __init__(self, shape: LSTM, columns: int, outputs: int) -> None:
        super().__init__()
        self._shape = shape
        self.memory = nn.LSTM(shape.channels + 1, shape.hidden, batch_first=True)
        self.head = nn.Linear(shape.hidden, outputs)
        self.linear = nn.Linear(columns, outputs)
        mixed(self.linear, changes(columns, range(0, shape.steps * shape.channels, shape.channels), shape.gain))

    def forward(self, features: Float[Tensor, "records columns"]) -> Float[Tensor, "records outputs"]:
        """Head on the last state, and the linear part."""
        steps, channels = self._shape.steps, self._shape.channels
        sequence = features[:, : steps * channels].reshape(len(features), steps, channels)
        first = sequence[:, :, :1]
        moved = self._shape.gain * (first - torch.cat([first[:, :1], first[:, :-1]], 1))
        states, _ = self.memory(torch.cat([sequence, moved], 2))
        found: Tensor = self.head(states[:, -1]) + self.linear(features)
        return found
