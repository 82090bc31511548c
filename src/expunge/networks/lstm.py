"""Long short-term memory over a sequence that stands in the columns of a table."""

from dataclasses import dataclass
from math import prod

from jaxtyping import Float
from torch import Tensor, nn

from expunge.errors import ProgrammerError


@dataclass(frozen=True)
class LSTM:
    """A recurrent network (Hochreiter and Schmidhuber, 1997) whose last state goes through one linear layer, added to a
    linear autoregression on all columns (LSTNet: Lai et al., SIGIR 2018, section 3.6): states saturate, levels do not.

    **Arguments:** `steps`, `channels`: the first `steps * channels` columns are the sequence, oldest step first, the
    channels of a step side by side; `hidden`: width of the state.
    """

    steps: int
    channels: int = 1
    hidden: int = 32

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
        self._steps, self._channels = shape.steps, shape.channels
        self.memory = nn.LSTM(shape.channels, shape.hidden, batch_first=True)
        self.head = nn.Linear(shape.hidden, outputs)
        self.linear = nn.Linear(columns, outputs)

    def forward(self, features: Float[Tensor, "records columns"]) -> Float[Tensor, "records outputs"]:
        """Head on the last state, and the linear part."""
        width = self._steps * self._channels
        sequence = features[:, :width].reshape(len(features), self._steps, self._channels)
        states, _ = self.memory(sequence)
        found: Tensor = self.head(states[:, -1]) + self.linear(features)
        return found
