"""Random labels: teach wrong answers about the forgotten records, then the right ones about the rest."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from expunge.errors import ProgrammerError
from expunge.networks import State
from expunge.randomness import torch_generator
from expunge.unlearning.empirical import Ground, Part, carry_out, check_positive, forecast, needs_classes
from expunge.unlearning.method import ClaimKind, Deletion, Description, Forecast, Unlearned
from expunge.unlearning.walk import Walk


@dataclass(frozen=True)
class RandomLabels:
    """Each round: one pass over the forgotten records under wrong labels, drawn anew, then one over the retained.

    The classes that are drawn from are those that still occur. It forgets readily, and often too much: forgotten
    records end less confident than records that were never seen.

    **Arguments:** `rounds`; `lr`, `None` for the recipe's own.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    rounds: int = 2
    lr: float | None = 0.01

    def __post_init__(self) -> None:
        check_positive(rounds=self.rounds, lr=self.lr)

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "random-labels",
            "Teach wrong answers about the forgotten records, then the right ones about the rest.",
            ClaimKind.EMPIRICAL,
            "Golatkar et al., CVPR 2020; in rounds as in Fan et al., ICLR 2024",
        )

    def plan(self, deletion: Deletion) -> Forecast:
        """Rounds over both sides.

        **Raises:** `ProgrammerError("method-unfit")` for regression.
        """
        needs_classes(self, deletion)
        return forecast(deletion, lambda ground: relabelling_work(ground, self.rounds))

    def run(self, deletion: Deletion) -> Unlearned:
        """Raises what `plan` raises, and `ProgrammerError("method-unfit")` where no other class is left."""
        needs_classes(self, deletion)
        return carry_out(self, deletion, lambda ground: relabelled(ground, self.rounds, self.lr, "random-labels"))


def relabelling_work(ground: Ground, rounds: int) -> int:
    """Gradients of single records."""
    return rounds * (ground.evaluations(ground.forgotten, 1) + ground.evaluations(ground.retained, 1))


def relabelled(
    ground: Ground, rounds: int, lr: float | None, name: str, salient: Mapping[str, Tensor] | None = None
) -> Iterator[State]:
    """The network after each round; only `salient` weights move, where given."""
    walk = Walk(ground, lr, name, salient)
    for number in range(rounds):
        wrong = Part(ground.forgotten.features, wrong_labels(ground, f"{name}/labels/{number}"))
        for batch in ground.batches(wrong, 1, f"{name}/forgotten/{number}"):
            walk.step(walk.loss(batch, retained=False), len(batch))
        for batch in ground.batches(ground.retained, 1, f"{name}/retained/{number}"):
            walk.step(walk.loss(batch, retained=True), len(batch))
        yield walk.state


def wrong_labels(ground: Ground, name: str) -> Int[Tensor, " records"]:
    """For each forgotten record a class that it does not have, uniformly among those that still occur.

    **Raises:** `ProgrammerError("method-unfit")` where there is none.
    """
    left, own = ground.retained.targets.unique(), ground.forgotten.targets
    allowed = (left[None, :] != own[:, None]).double()
    if bool((allowed.sum(1) == 0).any()):
        raise ProgrammerError("method-unfit", "no other class is left to take wrong labels from")
    drawn = torch.multinomial(allowed, 1, generator=torch_generator(ground.seed, f"{name}/{ground.name}"))
    found: Tensor = left[drawn[:, 0]]
    return found
