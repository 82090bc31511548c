"""Fisher forgetting: noise on the weights that the retained records do not hold in place."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from expunge.networks import State
from expunge.randomness import torch_generator
from expunge.training.curvature import true_fisher
from expunge.training.pruning import masks
from expunge.unlearning.empirical import Ground, carry_out, check_positive, forecast, needs_classes
from expunge.unlearning.method import ClaimKind, Deletion, Description, Forecast, Unlearned


@dataclass(frozen=True)
class FisherForgetting:
    """w + N(0, v), v = alpha min(1 / F, cap), F the diagonal of the Fisher matrix on the retained records.

    As in the published code the variance is averaged over the inputs of each output, is ten times as large in the last
    layer, and has a lower cap there. Where a whole class leaves, and only then, its row of the last layer is drawn anew
    around zero.

    **Arguments:** `alpha`: scale of the noise; `cap`, `cap_last`: of 1/F, in the body and in the last layer.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    alpha: float = 1e-7
    cap: float = 1e3
    cap_last: float = 1e2

    def __post_init__(self) -> None:
        check_positive(alpha=self.alpha, cap=self.cap, cap_last=self.cap_last)

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "fisher-forgetting",
            "Add noise to the weights, least where the retained records hold them in place.",
            ClaimKind.EMPIRICAL,
            "Golatkar et al., CVPR 2020; details as in the code of Jia et al., NeurIPS 2023",
        )

    def plan(self, deletion: Deletion) -> Forecast:
        """A gradient of every retained record for each class; raises as `run`."""
        needs_classes(self, deletion)
        return forecast(deletion, lambda ground: ground.classes * len(ground.retained))

    def run(self, deletion: Deletion) -> Unlearned:
        """Raises `ProgrammerError("method-unfit")` for regression."""
        needs_classes(self, deletion)
        return carry_out(self, deletion, self._states)

    def _states(self, ground: Ground) -> Iterator[State]:
        module = ground.module()
        diagonal = true_fisher(module, ground.retained.features)
        ground.charge(ground.classes * len(ground.retained))
        last = _last(module)
        generator = torch_generator(ground.seed, f"fisher-forgetting/{ground.name}")
        kept = masks(module) if ground.recipe.pruning is not None else {}
        state = dict(ground.state)
        for name, fisher in diagonal.items():
            noise = torch.randn(fisher.shape, generator=generator).to(fisher)
            moved = state[name] + noise * self._variance(fisher, name.rpartition(".")[0] == last).sqrt()
            if name.rpartition(".")[0] == last:
                moved = _without_gone_classes(moved, noise, ground)
            state[name] = moved * kept[name] if name in kept else moved
        yield state

    def _variance(self, fisher: Tensor, last: bool) -> Tensor:
        raw = self.alpha * (1 / (fisher + 1e-8)).clamp_max(self.cap_last if last else self.cap)
        if raw.dim() > 1:
            raw = raw.flatten(1).mean(1).view(-1, *[1] * (raw.dim() - 1)).expand_as(raw)
        return raw * 10 if last or raw.dim() == 1 else raw


def _last(module: nn.Module) -> str:
    """Name of the layer that gives the logits."""
    names: list[str] = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    return names[-1]


def _without_gone_classes(moved: Tensor, noise: Tensor, ground: Ground) -> Tensor:
    """Rows of classes that no retained record has are drawn around zero, with variance 1e-4."""
    left = set(ground.retained.targets.tolist())
    gone = [label for label in set(ground.forgotten.targets.tolist()) if label not in left]
    if not gone:
        return moved
    moved = moved.clone()
    moved[gone] = 0.01 * noise[gone]
    return moved
