"""Linear lower and upper bounds of ReLU, and of the difference of two ReLUs, on intervals of their inputs.

With a the first copy's pre-activation, d the difference (second minus first) and a + d the second's:

    h = relu(a)                lower: slope * a                 upper: u (a - l) / (u - l)
    D = relu(a + d) - relu(a)  lower and upper, four ways: a + d and a bounded apart; the chords of min(0, d) and
                               max(0, d); and D at the ends of d, as a function of a, or of a + d (its mirror image)

Any slope in [0, 1] of a lower line is sound (Zhang et al., CROWN, 2018; Xu et al., alpha-CROWN, 2021), and so is any
convex mix of the four ways for D = s d, s in [0, 1] (the chords: Paulsen et al., ReluDiff, 2020). The last two say how
far s can be from 0 where a is low and from 1 where it is high, so that neurons are bounded together.
"""

from dataclasses import dataclass, fields

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
        return [self.own] + ([] if second is None else [getattr(second, each.name) for each in fields(second)])

    @staticmethod
    def of(tensors: list[Tensor]) -> "Slopes":
        """Back from `tensors`."""
        return Slopes(tensors[0], SecondSlopes(*tensors[1:]) if len(tensors) > 1 else None)


@dataclass(frozen=True)
class SecondSlopes:
    """Lower slopes of the second copy, and what counts in D's lower and upper line: the copies apart, the ends of d
    over a, the ends of d over a + d. Shares are these numbers over their sum, where that is above 1; chords get the
    rest."""

    own: Tensor
    apart_low: Tensor
    apart_up: Tensor
    here_low: Tensor
    here_up: Tensor
    there_low: Tensor
    there_up: Tensor


def default_slopes(layer: Interval) -> Slopes:
    """CROWN's choice: slope 1 where u > -l, else 0; for D the chords, or the copies apart where one of them has its
    sign and the other's gap is the smaller.

    Chords bound D by d alone: what the copies share cancels, and a smaller interval never loosens them. Where neither
    copy has its sign, the way apart makes whole networks' bounds worse however small its own gap is.
    """
    own, second = (layer.upper > -layer.lower).double(), layer.second
    if second is None:
        return Slopes(own)
    together = torch.maximum(second.move_upper.clamp(min=0), -second.move_lower.clamp(max=0))
    here, there = _gap(layer.lower, layer.upper), _gap(second.lower, second.upper)
    apart = ((torch.minimum(here, there) == 0) & (here + there < together)).double()
    none = torch.zeros_like(own)
    return Slopes(own, SecondSlopes((second.upper > -second.lower).double(), apart, apart, none, none, none, none))


def lines_of(layer: Interval, slopes: Slopes) -> Lines:
    """Sound for every choice of slopes in [0, 1]."""
    low, up, up_add = _relu(layer.lower, layer.upper, slopes.own)
    second, choice = layer.second, slopes.second
    if second is None or choice is None:
        return Lines(low, up, up_add)
    low2, up2, up2_add = _relu(second.lower, second.upper, choice.own)
    below, above = _ways_below(layer, second), _ways_above(layer, second)
    below = [(low2 - up, low2, -up_add), *below]
    above = [(up2 - low, up2, up2_add), *above]
    move = MoveLines(
        *_mixed(below, [choice.apart_low, choice.here_low, choice.there_low]),
        *_mixed(above, [choice.apart_up, choice.here_up, choice.there_up]),
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


Line = tuple[Tensor, Tensor, Tensor]
"""Coefficient of a, of d, and a constant; each [boxes, neurons]."""


def _mixed(ways: list[Line], counts: list[Tensor]) -> Line:
    """The convex mix: the last way gets what the others leave."""
    scale = torch.stack(counts).sum(0).clamp(min=1)
    shares = torch.stack(counts) / scale
    shares = torch.cat([shares, (1 - shares.sum(0, keepdim=True)).clamp(min=0)])
    on_a, on_d, add = (
        (shares * torch.stack([way[place].expand_as(scale) for way in ways])).sum(0) for place in range(3)
    )
    return on_a, on_d, add


def _ways_below(layer: Interval, second: SecondInterval) -> list[Line]:
    """D >= these: at d's lower end over a, at its upper end over a + d, and the chord of min(0, d)."""
    low, high = second.move_lower.clamp(max=0), second.move_upper.clamp(min=0)
    start, end = layer.lower.clamp(max=0), second.upper.clamp(min=0)
    down, down_add = _chord(layer, second, -low, high)
    here = low / (-low - start).clamp(min=1e-300)
    there = (high / end.clamp(min=1e-300)).clamp(max=1)
    nothing = torch.zeros_like(low)
    return [(here, nothing, -here * start), (there, 1 + there, -high), (nothing, down, -down_add)]


def _ways_above(layer: Interval, second: SecondInterval) -> list[Line]:
    """D <= these: at d's upper end over a, at its lower end over a + d, and the chord of max(0, d)."""
    low, high = second.move_lower.clamp(max=0), second.move_upper.clamp(min=0)
    start, end = layer.lower.clamp(max=0), second.upper.clamp(min=0)
    rise, rise_add = _chord(layer, second, high, -low)
    here = (high / (-start).clamp(min=1e-300)).clamp(max=1)
    there = -low / (end - low).clamp(min=1e-300)
    nothing = torch.zeros_like(low)
    return [(here, nothing, high), (-there, 1 - there, there * end), (nothing, rise, rise_add)]


def _chord(layer: Interval, second: SecondInterval, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and distance from 0 of a chord over d in [-near, far] or its mirror image; exact where s is known."""
    on = torch.minimum(layer.lower, second.lower) >= 0
    off = torch.maximum(layer.upper, second.upper) <= 0
    slope = near / (near + far).clamp(min=1e-300)
    return torch.where(on | off, on.double(), slope), torch.where(on | off, 0.0, slope * far)
