"""Linear lower and upper bounds of ReLU, and of the difference of two ReLUs, on intervals of their inputs.

With a the first copy's pre-activation, d the difference (second minus first) and a + d the second's:

    h = relu(a)                lower: slope * a                 upper: u (a - l) / (u - l)
    D = relu(a + d) - relu(a)  lower and upper: a + d and a bounded apart, or the chords of min(0, d) and max(0, d)

Any slope in [0, 1] of a lower line is sound (Zhang et al., CROWN, 2018; Xu et al., alpha-CROWN, 2021), and so is any
mix of the two ways for D: relu(a + d) - relu(a) = s d with s in [0, 1] (Paulsen et al., ReluDiff, 2020).
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Interval:
    """Bounds of one layer's pre-activations a on each box, [boxes, neurons]; `second` where there are two copies."""

    lower: Tensor
    upper: Tensor
    second: "SecondInterval | None" = None


@dataclass(frozen=True)
class SecondInterval:
    """Bounds of d (the second copy's pre-activation less the first's) and of a + d, [boxes, neurons]."""

    move_lower: Tensor
    move_upper: Tensor
    lower: Tensor
    upper: Tensor


@dataclass(frozen=True)
class Lines:
    """One layer's lines, each [boxes, neurons]: low * a <= h <= up * a + up_add; `move` holds those of D."""

    low: Tensor
    up: Tensor
    up_add: Tensor
    move: "MoveLines | None" = None

    def pull(self, on_h: Tensor, on_move: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor]:
        """A lower bound of on_h . h + on_move . D as coefficients of a, of d, and a constant.

        Shapes: [boxes, specs, neurons] twice, [boxes, specs].
        """
        plus, minus = on_h.clamp(min=0), on_h.clamp(max=0)
        on_a = plus * self.low.unsqueeze(1) + minus * self.up.unsqueeze(1)
        constant = _dot(minus, self.up_add)
        if on_move is None or self.move is None:
            return on_a, None, constant
        plus, minus, move = on_move.clamp(min=0), on_move.clamp(max=0), self.move
        on_a = on_a + plus * move.low_a.unsqueeze(1) + minus * move.up_a.unsqueeze(1)
        on_d = plus * move.low_d.unsqueeze(1) + minus * move.up_d.unsqueeze(1)
        return on_a, on_d, constant + _dot(plus, move.low_add) + _dot(minus, move.up_add)


@dataclass(frozen=True)
class MoveLines:
    """low_a a + low_d d + low_add <= D <= up_a a + up_d d + up_add, and the second copy's activation between
    own_low (a + d) and own_up (a + d) + own_up_add; each [boxes, neurons]."""

    low_a: Tensor
    low_d: Tensor
    low_add: Tensor
    up_a: Tensor
    up_d: Tensor
    up_add: Tensor
    own_low: Tensor
    own_up: Tensor
    own_up_add: Tensor


@dataclass(frozen=True)
class Slopes:
    """What may be chosen in one layer, all in [0, 1], [boxes, neurons]: lower slopes of h, and choices for D."""

    own: Tensor
    second: "SecondSlopes | None" = None

    def tensors(self) -> list[Tensor]:
        """All of them."""
        second = self.second
        return [self.own] + ([] if second is None else [second.own, second.apart_low, second.apart_up])

    @staticmethod
    def of(tensors: list[Tensor]) -> "Slopes":
        """Back from `tensors`."""
        return Slopes(tensors[0], SecondSlopes(*tensors[1:]) if len(tensors) > 1 else None)


@dataclass(frozen=True)
class SecondSlopes:
    """Lower slopes of the second copy, and the share of D's lower and upper line that bounds the copies apart."""

    own: Tensor
    apart_low: Tensor
    apart_up: Tensor


def default_slopes(layer: Interval) -> Slopes:
    """CROWN's choice: slope 1 where u > -l, else 0; for D the way with the smaller gap."""
    own = (layer.upper > -layer.lower).double()
    second = layer.second
    if second is None:
        return Slopes(own)
    together = torch.maximum(second.move_upper.clamp(min=0), -second.move_lower.clamp(max=0))
    apart = _gap(layer.lower, layer.upper) + _gap(second.lower, second.upper)
    choice = (apart < together).double()
    return Slopes(own, SecondSlopes((second.upper > -second.lower).double(), choice, choice))


def lines_of(layer: Interval, slopes: Slopes) -> Lines:
    """Sound for every choice of slopes in [0, 1]."""
    low, up, up_add = _relu(layer.lower, layer.upper, slopes.own)
    second, choice = layer.second, slopes.second
    if second is None or choice is None:
        return Lines(low, up, up_add)
    low2, up2, up2_add = _relu(second.lower, second.upper, choice.own)
    down, down_add, rise, rise_add = _chords(layer, second)
    mix, mix_up = choice.apart_low, choice.apart_up
    move = MoveLines(
        mix * (low2 - up),
        mix * low2 + (1 - mix) * down,
        (1 - mix) * down_add - mix * up_add,
        mix_up * (up2 - low),
        mix_up * up2 + (1 - mix_up) * rise,
        mix_up * up2_add + (1 - mix_up) * rise_add,
        low2,
        up2,
        up2_add,
    )
    return Lines(low, up, up_add, move)


def _dot(rows: Tensor, vector: Tensor) -> Tensor:
    """[boxes, specs, neurons] . [boxes, neurons]."""
    return torch.matmul(rows, vector.unsqueeze(2)).squeeze(2)


def _gap(lower: Tensor, upper: Tensor) -> Tensor:
    """Largest distance between ReLU and its upper line."""
    return -lower.clamp(max=0) * upper.clamp(min=0) / (upper - lower).clamp(min=1e-300)


def _relu(lower: Tensor, upper: Tensor, slope: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Lower slope, upper slope, upper constant; exact where the sign is known."""
    low, high = lower.clamp(max=0), upper.clamp(min=0)
    up = high / (high - low).clamp(min=1e-300)
    return torch.where(lower >= 0, 1.0, torch.where(upper <= 0, 0.0, slope)), up, -up * low


def _chords(layer: Interval, second: SecondInterval) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Slope and constant of a lower line of min(0, d) and of an upper line of max(0, d), exact where s is known."""
    low, high = second.move_lower.clamp(max=0), second.move_upper.clamp(min=0)
    width = (high - low).clamp(min=1e-300)
    on = torch.minimum(layer.lower, second.lower) >= 0
    off = torch.maximum(layer.upper, second.upper) <= 0
    known, value = on | off, on.double()
    down, rise = torch.where(known, value, -low / width), torch.where(known, value, high / width)
    return down, torch.where(known, 0.0, -down * high), rise, torch.where(known, 0.0, -rise * low)
