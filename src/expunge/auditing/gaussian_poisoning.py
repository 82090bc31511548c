"""Gaussian poisoning: noise added to records before training, and looked for after the deletion, without shadow models.

Source: Pawelczyk et al., ICLR 2025. Whoever trained on x + xi has a loss that falls towards xi; whoever never saw xi
has a gradient independent of it, and the statistic is then standard normal, exactly.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from expunge.errors import ProgrammerError, RequesterError
from expunge.randomness import torch_generator
from expunge.records import Records
from expunge.training import Model

LIMIT = 2.6
"""Two-sided 99 % of a standard normal: a method that claims removal must be inside."""


@dataclass(frozen=True, eq=False)
class Marked:
    """Records with marked ones among them, and what only the auditor keeps.

    **Arguments:** `records`: to train on; `ids`: of the marked; `clean`: those records without noise; `noise`: theirs.
    """

    records: Records
    ids: tuple[str, ...]
    clean: Records
    noise: Float[Tensor, "marked *shape"]


@dataclass(frozen=True)
class PoisonScore:
    """The statistic, standard normal for a model that never saw the noise; negative where it remembers."""

    z: float
    marked: int

    @property
    def consistent_with_removal(self) -> bool:
        """Whether |z| stays below 2.6."""
        return abs(self.z) < LIMIT


@dataclass(frozen=True)
class GaussianPoisoning:
    """Mark records with N(0, spread^2) noise on every feature, labels kept; later ask a model for it.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    spread: float = 0.5

    def __post_init__(self) -> None:
        if not self.spread > 0:
            raise ProgrammerError("bad-hyperparameter", f"spread must be positive, not {self.spread}")

    def mark(self, records: Records, ids: tuple[str, ...], *, seed: int) -> Marked:
        """Mark the records `ids`; the seed is the auditor's secret.

        **Raises:** `RequesterError("nothing-to-audit" | "unknown-record")`.
        """
        rows = records.rows(ids)
        if not rows:
            raise RequesterError("nothing-to-audit", "no record is to be marked")
        clean = records.select(rows)
        generator = torch_generator(seed, "audit/gaussian-poisoning")
        noise = self.spread * torch.randn(clean.features.shape, generator=generator)
        features = records.features.clone()
        features[rows] += noise
        return Marked(replace(records, features=features, raw=None), clean.ids, clean, noise)

    def score(self, model: Model, marked: Marked) -> PoisonScore:
        """Sum over the marked of <noise, unit gradient of the loss by the clean record> / spread, over root count.

        **Raises:** `ProgrammerError("bad-subject")` for a model of several networks.
        """
        if not model.is_single:
            raise ProgrammerError("bad-subject", "Gaussian poisoning asks one network for its gradient")
        features = marked.clean.features.clone().requires_grad_()
        state = next(each for each in model.constituents if each is not None)
        outputs = functional_call(model.module(), state, (features,))
        loss = model.recipe.loss.per_record(outputs, marked.clean.targets).sum()
        slope = torch.autograd.grad(loss, features)[0].flatten(1).double()
        size = slope.norm(dim=1)
        told = size > 0
        parts = (slope * marked.noise.flatten(1).double()).sum(1)[told] / (size[told] * self.spread)
        return PoisonScore(float(parts.sum() / max(int(told.sum()), 1) ** 0.5), int(told.sum()))
