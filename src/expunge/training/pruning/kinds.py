"""Which weights go: global, unstructured, over the weights of all convolutions and linear layers together.

A pruned network is trained in three steps that are one stage of its course: find the mask, go back to the weights that
the kind of pruning starts from, train under the mask. From then on a weight that is zero stays zero.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from expunge.errors import ProgrammerError


@runtime_checkable
class Pruning(Protocol):
    """A frozen dataclass whose fields say how much goes and by which rule."""

    @property
    def looks_at_records(self) -> bool:
        """Whether the mask depends on the training records."""

    def densities(self) -> tuple[float, ...]:
        """Share of the weights that stays after each round."""

    def extra(self, steps: int, width: int, records: int) -> int:
        """Gradients of single records beyond those of `steps` steps of `width` records each, of so many records."""


def _check(sparsity: float) -> None:
    if not 0 < sparsity < 1:
        raise ProgrammerError("bad-hyperparameter", f"sparsity must lie in (0, 1), not be {sparsity}")


@dataclass(frozen=True)
class Magnitude:
    """One-shot magnitude pruning with rewind (OMP): train densely, keep the largest, go back, train again.

    Source: Jia et al., NeurIPS 2023; rewinding of Frankle et al., ICML 2020. After the rewind the rest of the schedule
    runs, so that the sparse network is trained exactly as long as the dense one.

    **Arguments:** `sparsity`: share of the weights that goes; `rewind`: epochs after which the weights are those that
    training goes back to.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    sparsity: float = 0.9
    rewind: float = 2

    def __post_init__(self) -> None:
        _check(self.sparsity)
        if self.rewind < 0:
            raise ProgrammerError("bad-hyperparameter", f"rewind must not be negative: {self.rewind}")

    @property
    def looks_at_records(self) -> bool:
        """The weights that are ranked were trained on them."""
        return True

    def densities(self) -> tuple[float, ...]:
        """One round."""
        return (1 - self.sparsity,)

    def extra(self, steps: int, width: int, records: int) -> int:
        """The dense training, less the rewound steps that the sparse one does not repeat."""
        return (steps - rewound_steps(self.rewind, steps, width, records)) * width


@dataclass(frozen=True)
class Iterative:
    """Lottery tickets: `rounds` of magnitude pruning, each taking `rate` of what is left, each trained to the end.

    Source: Frankle and Carbin, ICLR 2019; with `rewind` epochs, Frankle et al., ICML 2020 (0 goes back to the initial
    weights). The density in the end is (1 - rate)^rounds.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    rounds: int = 10
    rate: float = 0.2
    rewind: float = 2

    def __post_init__(self) -> None:
        _check(self.rate)
        if self.rounds < 1 or self.rewind < 0:
            raise ProgrammerError("bad-hyperparameter", "rounds >= 1 and rewind >= 0 are needed")

    @property
    def looks_at_records(self) -> bool:
        """The weights that are ranked were trained on them."""
        return True

    def densities(self) -> tuple[float, ...]:
        """(1 - rate)^k after round k."""
        return tuple((1 - self.rate) ** done for done in range(1, self.rounds + 1))

    def extra(self, steps: int, width: int, records: int) -> int:
        """One training a round; only the first begins at step 0."""
        return self.rounds * (steps - rewound_steps(self.rewind, steps, width, records)) * width


@dataclass(frozen=True)
class SynFlow:
    """Synaptic flow (Tanaka et al., NeurIPS 2020): |w dR/dw| at the initial weights, in `rounds`; reads no record.

    R is the sum of the outputs for an input of ones with all weights replaced by their absolute values.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    sparsity: float = 0.9
    rounds: int = 100

    def __post_init__(self) -> None:
        _check(self.sparsity)
        if self.rounds < 1:
            raise ProgrammerError("bad-hyperparameter", f"rounds must be at least 1: {self.rounds}")

    @property
    def looks_at_records(self) -> bool:
        """No."""
        return False

    def densities(self) -> tuple[float, ...]:
        """An exponential course: every round takes the same share of what is left."""
        return tuple((1 - self.sparsity) ** (done / self.rounds) for done in range(1, self.rounds + 1))

    def extra(self, steps: int, width: int, records: int) -> int:
        """One gradient a round."""
        del steps, width, records
        return self.rounds


@dataclass(frozen=True)
class SNIP:
    """|w dL/dw| at the initial weights, on one class-balanced batch (Lee et al., ICLR 2019, equation 6).

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    sparsity: float = 0.9
    batch: int = 256

    def __post_init__(self) -> None:
        _check(self.sparsity)
        if self.batch < 1:
            raise ProgrammerError("bad-hyperparameter", f"batch must be at least 1: {self.batch}")

    @property
    def looks_at_records(self) -> bool:
        """The batch is of training records."""
        return True

    def densities(self) -> tuple[float, ...]:
        """One round."""
        return (1 - self.sparsity,)

    def extra(self, steps: int, width: int, records: int) -> int:
        """One gradient of the batch."""
        del steps, width
        return min(self.batch, records)


@dataclass(frozen=True)
class GraSP:
    """Keep what the gradient's flow needs: the score of a weight is w (H g), at the initial weights.

    Source: Wang et al., ICLR 2020, equation 8: they remove the largest of -w (H g). Logits are divided by
    `temperature`.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    sparsity: float = 0.9
    batch: int = 256
    temperature: float = 200.0

    def __post_init__(self) -> None:
        _check(self.sparsity)
        if self.batch < 1 or self.temperature <= 0:
            raise ProgrammerError("bad-hyperparameter", "batch and temperature must be positive")

    @property
    def looks_at_records(self) -> bool:
        """The batch is of training records."""
        return True

    def densities(self) -> tuple[float, ...]:
        """One round."""
        return (1 - self.sparsity,)

    def extra(self, steps: int, width: int, records: int) -> int:
        """A gradient and a product with the Hessian, which costs two."""
        del steps, width
        return 3 * min(self.batch, records)


@dataclass(frozen=True)
class RandomPruning:
    """Weights drawn at random go: the control.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    sparsity: float = 0.9

    def __post_init__(self) -> None:
        _check(self.sparsity)

    @property
    def looks_at_records(self) -> bool:
        """No."""
        return False

    def densities(self) -> tuple[float, ...]:
        """One round."""
        return (1 - self.sparsity,)

    def extra(self, steps: int, width: int, records: int) -> int:
        """Nothing."""
        del steps, width, records
        return 0


def rewound_steps(rewind: float, steps: int, width: int, records: int) -> int:
    """The optimiser step whose weights training goes back to; the last one stays to be run again."""
    return max(0, min(math.ceil(rewind * records / width) if width else 0, steps - 1))
