"""The convex head: softmax regression on fixed features, solved to its optimum and measured there."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from expunge.errors import ProgrammerError
from expunge.networks import State
from expunge.training.curvature.conjugate_gradient import conjugate_gradient

CHUNK = 1024
"""Records in one pass through the fixed features: the same cut always, for rounding depends on it."""

SEEN = 2048
"""Records that the preconditioner is made from."""


@dataclass(frozen=True, eq=False)
class Head:
    """F(W) = mean cross-entropy of softmax(X W) + (l2/2) |W|^2 in double precision; l2-strongly convex.

    **Arguments:** `features`: `[records, width + 1]`, the last column ones; `targets`: class numbers.
    """

    features: Float[Tensor, "records columns"]
    targets: Int[Tensor, " records"]
    classes: int
    l2: float

    def gradient(self, weights: Float[Tensor, "columns classes"]) -> Float[Tensor, "columns classes"]:
        """Of F, penalty included."""
        return self._gradient(weights, self._shares(weights))

    def product(
        self, shares: Float[Tensor, "records classes"]
    ) -> Callable[[Float[Tensor, " parameters"]], Float[Tensor, " parameters"]]:
        """Hessian of F where the softmax gives `shares`, times the vector that lists a matrix row by row.

        In single precision: it only steers. What is claimed is the gradient, which is in double precision.
        """
        single, width = shares.float(), self.features.shape[1]

        def times(vector: Tensor) -> Tensor:
            direction = vector.view(width, self.classes)
            moved = single * nn.functional.linear(self._single, direction.T.float().contiguous())
            curved = torch.addcmul(moved, single, moved.sum(1, keepdim=True), value=-1)
            mean = _turned_product(self._single, curved).double() / len(self.targets)
            return (mean + self.l2 * direction).reshape(-1)

        return times

    @cached_property
    def _single(self) -> Tensor:
        return self.features.float()

    @cached_property
    def _axes(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues and eigenvectors of the features' second moments, from at most `SEEN` records or so."""
        seen = self._single[:: max(1, len(self.targets) // SEEN)]
        values, vectors = _eigh(seen.T @ seen / len(seen))
        return values.clamp_min(0), vectors

    def precondition(
        self, shares: Float[Tensor, "records classes"]
    ) -> Callable[[Float[Tensor, " parameters"]], Float[Tensor, " parameters"]]:
        """About the inverse Hessian: features and output curvature taken for independent (as Martens and Grosse 2015).

        Speed only, and in single precision; the certificate looks at the gradient alone.
        """
        middle = (torch.diag(shares.mean(0)) - shares.T @ shares / len(shares)).float()
        (along, axes), (across, turns) = self._axes, _eigh(middle)
        scale = across.clamp_min(0)[:, None] * along[None, :] + self.l2

        def times(vector: Tensor) -> Tensor:
            turned = turns.T @ vector.view(len(along), -1).T.float() @ axes / scale
            back: Tensor = turns @ turned @ axes.T
            return back.T.flatten().double()

        return times

    def distance_bound(self, weights: Float[Tensor, "columns classes"]) -> float:
        """|W - W*| is at most |grad F(W)| / l2: computed, not estimated (strong convexity; Guo et al. 2020)."""
        return float(self.gradient(weights).norm()) / self.l2

    def _shares(self, weights: Tensor) -> Tensor:
        return nn.functional.linear(self.features, weights.T.contiguous()).softmax(1)

    def _gradient(self, weights: Tensor, shares: Tensor) -> Tensor:
        errors = shares - nn.functional.one_hot(self.targets, self.classes)
        return _turned_product(self.features, errors) / len(self.targets) + self.l2 * weights

    def look(self, weights: Float[Tensor, "columns classes"]) -> "Look":
        """Softmax, gradient and its norm at `weights`: one pass."""
        shares = self._shares(weights)
        gradient = self._gradient(weights, shares)
        return Look(weights, shares, gradient, float(gradient.norm()))


@dataclass(frozen=True, eq=False)
class Look:
    """Where a solver stands, in double precision."""

    weights: Float[Tensor, "columns classes"]
    shares: Float[Tensor, "records classes"]
    gradient: Float[Tensor, "columns classes"]
    norm: float


@dataclass(frozen=True, eq=False)
class HeadSolution:
    """Weights, the gradient's norm there, and passes over the records that it took; `path`: weights after each step."""

    weights: Float[Tensor, "columns classes"]
    gradient_norm: float
    passes: int
    path: tuple[tuple[int, Tensor], ...] = ()


def solve_head(
    head: Head,
    start: Float[Tensor, "columns classes"] | None = None,
    *,
    gradient_norm: float = 1e-6,
    passes: int = 1000,
    steps: int = 100,
) -> HeadSolution:
    """Newton's method with conjugate gradient, until |grad F| <= `gradient_norm` or out of passes.

    A product and a look count one pass each. The caller looks at `gradient_norm` of the result: nothing is claimed
    here.
    """
    begin = torch.zeros(head.features.shape[1], head.classes, dtype=torch.float64) if start is None else start.clone()
    now, used, path = head.look(begin), 1, []
    for _ in range(steps):
        if now.norm <= gradient_norm or used >= passes:
            break
        # Superlinear, and never more accurate than the last step needs (Eisenstat and Walker 1996).
        wanted = max(min(0.3, math.sqrt(now.norm)), 0.8 * gradient_norm / now.norm)
        found = conjugate_gradient(
            head.product(now.shares),
            -now.gradient.reshape(-1),
            tolerance=wanted,
            limit=max(1, passes - used),
            precondition=head.precondition(now.shares),
            closing=False,  # the next look at the gradient says more
        )
        now, looks = _stepped(head, now, found.x.view_as(now.weights))
        used += found.products + looks
        path.append((used, now.weights))
        if looks > HALVINGS:
            break
    return HeadSolution(now.weights, now.norm, used, tuple(path))


HALVINGS = 30
"""Of a step before it is given up."""


def _stepped(head: Head, now: Look, direction: Tensor) -> tuple[Look, int]:
    """The Newton step, halved until the gradient's norm falls (Eisenstat and Walker 1994), and the looks it took."""
    for halvings in range(HALVINGS):
        after = head.look(now.weights + direction / 2**halvings)
        if after.norm <= (1 - 1e-4 / 2**halvings) * now.norm:
            return after, halvings + 1
    return now, HALVINGS + 1


def _eigh(symmetric: Float[Tensor, "n n"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n n"]]:
    """Eigenvalues and vectors; single precision gives up on some matrices with many features that are always zero."""
    try:
        values, vectors = torch.linalg.eigh(symmetric)
    except RuntimeError:  # LinAlgError, which torch does not export to type checkers
        values, vectors = torch.linalg.eigh(symmetric.double())
    return values.to(symmetric.dtype), vectors.to(symmetric.dtype)


def _turned_product(features: Tensor, errors: Tensor) -> Tensor:
    """features' transpose times errors: six times faster this way round, for both factors are read along their rows."""
    return (errors.T @ features).T


def head_of(module: nn.Module) -> tuple[str, nn.Linear] | None:
    """Name and module of the only trained layer, where that is the linear end of a sequence; else `None`."""
    if not isinstance(module, nn.Sequential) or not len(module):
        return None
    name, last = list(module.named_children())[-1]
    if not isinstance(last, nn.Linear) or last.bias is None:
        return None
    before = [part for child in list(module)[:-1] for part in child.parameters()]
    return None if any(part.requires_grad for part in before) else (name, last)


def fixed_features(module: nn.Module, features: Float[Tensor, "records *shape"]) -> Float[Tensor, "records columns"]:
    """What the last layer of `module` sees, with a column of ones, in double precision.

    **Raises:** `ProgrammerError("method-unfit")` where more than the last layer is trained.
    """
    if head_of(module) is None or not isinstance(module, nn.Sequential):
        raise ProgrammerError("method-unfit", "more than a last linear layer is trained: there is no convex head")
    body = module[:-1].eval()
    with torch.no_grad():
        parts = [body(part).flatten(1).double() for part in features.split(CHUNK)]
    joined = torch.cat(parts)
    return torch.cat([joined, torch.ones(len(joined), 1, dtype=torch.float64)], 1)


def read_head(state: State, name: str) -> Float[Tensor, "columns classes"]:
    """The last layer's weights and bias as one matrix in double precision."""
    return torch.cat([state[f"{name}.weight"], state[f"{name}.bias"][:, None]], 1).T.double().contiguous()


def write_head(state: State, name: str, weights: Float[Tensor, "columns classes"]) -> State:
    """A copy of `state` with this last layer, rounded to its precision."""
    kind = state[f"{name}.weight"].dtype
    matrix = weights.T.to(kind)
    new: dict[str, Tensor] = {f"{name}.weight": matrix[:, :-1].contiguous(), f"{name}.bias": matrix[:, -1].contiguous()}
    return {**state, **new}


def accuracies(head: Head, path: Sequence[tuple[int, Tensor]]) -> list[tuple[int, float]]:
    """(passes, share right on the head's records) along the way of a solution."""
    return [
        (used, float(((head.features @ weights).argmax(1) == head.targets).double().mean())) for used, weights in path
    ]
