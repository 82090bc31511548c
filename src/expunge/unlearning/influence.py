"""Influence unlearning: one second-order step to where training without the forgotten records would have ended."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vmap

from expunge.errors import ProgrammerError
from expunge.networks import State, layout
from expunge.randomness import torch_generator
from expunge.training import CrossEntropy, SquaredError
from expunge.training.curvature import Curvature, CurvatureKind, conjugate_gradient
from expunge.training.pruning import masks
from expunge.unlearning.empirical import Ground, Part, carry_out, check_positive, forecast
from expunge.unlearning.method import ClaimKind, Deletion, Description, Forecast, Unlearned


@dataclass(frozen=True)
class Influence:
    """w + scale (H + damping)^-1 v, with v = (1/N) sum over D_f of grad l - (N_f / (N N_r)) sum over D_r of grad l.

    The sign is plus: records that leave stop pulling. H is the Gauss-Newton matrix of the retained records, which is
    never indefinite; the published code's recursion recycles one vector, and what it gives is a scaled gradient.

    **Arguments:**

    - `scale`: 1 is the theory's; beyond the quadratic model more forgets more.
    - `damping`: added to H. `records`: retained records that H is made from.
    - `solver`: `cg`, conjugate gradient of at most `products` products; `woodbury`, the exact recursion over the
      empirical Fisher matrix of `rank` records (`woodbury_inverse`).

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    scale: float = 4.0
    damping: float = 1e-2
    products: int = 30
    records: int = 2000
    solver: Literal["cg", "woodbury"] = "cg"
    rank: int = 200

    def __post_init__(self) -> None:
        check_positive(
            scale=self.scale, damping=self.damping, products=self.products, records=self.records, rank=self.rank
        )
        if self.solver not in ("cg", "woodbury"):
            raise ProgrammerError("bad-hyperparameter", f"solver is cg or woodbury, not {self.solver!r}")

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "influence",
            "One second-order step to where training without the forgotten records would have ended.",
            ClaimKind.EMPIRICAL,
            "Koh and Liang, ICML 2017; IU of Jia et al., NeurIPS 2023",
        )

    def plan(self, deletion: Deletion) -> Forecast:
        """An upper bound: a gradient of every record, and all products that are allowed."""
        note = "At most so many: conjugate gradient stops as soon as it is there."
        return replace(forecast(deletion, self._work), notes=(note,))

    def run(self, deletion: Deletion) -> Unlearned:
        """Raises nothing of its own."""
        return carry_out(self, deletion, self._states)

    def _work(self, ground: Ground) -> int:
        seen = min(self.records, len(ground.retained))
        second = self.products * seen if self.solver == "cg" else min(self.rank, len(ground.retained))
        return len(ground.forgotten) + len(ground.retained) + second

    def _states(self, ground: Ground) -> Iterator[State]:
        module = ground.module()
        plan = layout(module)
        hold = _hold(ground, plan.flatten)
        step = self.scale * self._solved(ground, hold * _difference(ground))
        moved = plan.unflatten(plan.flatten(ground.state) + hold * step)
        yield {**ground.state, **moved}

    def _solved(self, ground: Ground, rhs: Tensor) -> Tensor:
        order = torch.randperm(len(ground.retained), generator=torch_generator(ground.seed, f"influence/{ground.name}"))
        if self.solver == "woodbury":
            part = ground.retained.on(order[: self.rank])
            ground.charge(len(part))
            return woodbury_inverse(single_gradients(ground, part), self.damping, rhs)
        part = ground.retained.on(order[: self.records])
        curvature = _curvature(ground, part, self.damping)
        hold = _hold(ground, curvature.layout.flatten)
        found = conjugate_gradient(
            lambda vector: hold * curvature.product(hold * vector) + (1 - hold) * vector,
            rhs,
            tolerance=1e-4,
            limit=max(1, self.products - 1),  # one more measures what is left
        )
        ground.charge(found.products * len(part))
        return found.x


def woodbury_inverse(
    gradients: Float[Tensor, "rank parameters"], damping: float, rhs: Float[Tensor, " parameters"]
) -> Float[Tensor, " parameters"]:
    """(damping I + (1/n) sum g g')^-1 rhs, by the Sherman-Morrison-Woodbury recursion over the gradients.

    F_k^-1 = F_{k-1}^-1 - (F_{k-1}^-1 g)(F_{k-1}^-1 g)' / (n + g' F_{k-1}^-1 g) needs F_{k-1}^-1 g for each *new* g.
    Those vectors lie in the span of the gradients, so that the recursion can run on their Gram matrix: there it is the
    Cholesky factorisation of n damping I + G G', whose k-th pivot is damping times the k-th denominator.
    """
    count = len(gradients)
    gram = gradients @ gradients.T
    gram.diagonal().add_(count * damping)
    weights = torch.cholesky_solve((gradients @ rhs)[:, None], torch.linalg.cholesky(gram))[:, 0]
    return (rhs - gradients.T @ weights) / damping


def single_gradients(ground: Ground, part: Part) -> Float[Tensor, "records parameters"]:
    """The gradient of each record's loss, as rows in the order of `networks.layout`; zeros of a sparse network stay."""
    module = ground.module()
    plan, loss = layout(module), ground.recipe.loss
    values = {name: value.detach() for name, value in module.named_parameters()}

    def single(values: dict[str, Tensor], row: Tensor, target: Tensor) -> Tensor:
        return loss.per_record(functional_call(module, values, (row[None],)), target[None])[0]

    found = vmap(grad(single), in_dims=(None, 0, 0), chunk_size=64)(values, part.features, part.targets)
    rows: Tensor = vmap(plan.flatten)(found)
    return rows * _hold(ground, plan.flatten)


def record_slopes(
    module: nn.Module,
    features: Float[Tensor, "records *shape"],
    targets: Shaped[Tensor, " records"],
    loss: CrossEntropy | SquaredError,
    direction: Float[Tensor, " parameters"],
) -> Float[Tensor, " records"]:
    """grad l_i . direction for every record i, in one forward-mode pass: with H^-1 v as direction, its influence."""
    plan = layout(module)
    values = {name: value.detach() for name, value in module.named_parameters()}

    def losses(point: dict[str, Tensor]) -> Tensor:
        return loss.per_record(functional_call(module, point, (features,)), targets)

    with warnings.catch_warnings():  # torch's own first use of forward mode warns of its own internals
        warnings.simplefilter("ignore", DeprecationWarning)
        found: Tensor = jvp(losses, (values,), (plan.unflatten(direction),))[1]
    return found


def _curvature(ground: Ground, part: Part, damping: float) -> Curvature:
    module = ground.module()
    point = layout(module).flatten(ground.state)
    kind = CurvatureKind.GAUSS_NEWTON
    return Curvature(module, point, part.features, part.targets, ground.recipe.loss, damping, kind)


def _difference(ground: Ground) -> Tensor:
    """v: mean gradients of the two sides, each weighed by the forgotten share."""
    gone, left = (_curvature(ground, part, 0.0).gradient for part in (ground.forgotten, ground.retained))
    share = len(ground.forgotten) / (len(ground.forgotten) + len(ground.retained))
    ground.charge(len(ground.forgotten) + len(ground.retained))
    return share * (gone - left)


def _hold(ground: Ground, flatten: Callable[[Mapping[str, Tensor]], Tensor]) -> Tensor:
    """Zero where a sparse network has no weight, one elsewhere."""
    module = ground.module()
    ones = {name: torch.ones_like(value) for name, value in module.named_parameters()}
    found = masks(module) if ground.recipe.pruning is not None else {}
    return flatten({**ones, **{name: mask.to(ones[name]) for name, mask in found.items()}})
