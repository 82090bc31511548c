"""What audits read off a model: posterior, loss and confidence of each record, in double precision."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from expunge.records import Records
from expunge.training import Model, aggregate


@dataclass(frozen=True, eq=False)
class Outputs:
    """A model's answers to some records.

    **Arguments:**

    - `logs`: `[records, classes]` logarithms of the posterior; for regression `[records, 1]`, the predictions.
    - `targets`: `[records]` class numbers, or numbers for regression.
    - `classes`: 0 for regression.
    """

    logs: Float[np.ndarray, "records outputs"]
    targets: Int[np.ndarray, " records"] | Float[np.ndarray, " records"]
    classes: int

    @property
    def finite(self) -> bool:
        """Whether no output is NaN."""
        return not bool(np.isnan(self.logs).any())

    @cached_property
    def own(self) -> Float[np.ndarray, " records"]:
        """Posterior probability of each record's true class."""
        return np.asarray(np.exp(self._own_logs))

    @cached_property
    def correct(self) -> Bool[np.ndarray, " records"]:
        """Whether the likeliest class is the true one; the first of equals counts as the likeliest."""
        return np.asarray(self.logs.argmax(1) == self.targets)

    @cached_property
    def loss(self) -> Float[np.ndarray, " records"]:
        """Cross-entropy in nats; squared error for regression."""
        return np.asarray(-self._own_logs if self.classes else (self.logs[:, 0] - self.targets) ** 2)

    @cached_property
    def confidence(self) -> Float[np.ndarray, " records"]:
        """log(p / (1 - p)) of the true class p: nearly normal over models (Carlini et al. 2022, section IV-C).

        1 - p is the sum over the other classes, so that certainty does not saturate. For regression the negative
        absolute error: larger means better known, as above.
        """
        if not self.classes:
            return np.asarray(-np.abs(self.logs[:, 0] - self.targets))
        others = self.logs.copy()
        others[np.arange(len(others)), self.targets] = -np.inf
        with np.errstate(invalid="ignore"):  # outputs that are not numbers stay so, and are reported
            return np.asarray(self._own_logs - np.logaddexp.reduce(others, axis=1))

    @property
    def _own_logs(self) -> Float[np.ndarray, " records"]:
        return np.asarray(self.logs[np.arange(len(self.logs)), self.targets])


def constituent_outputs(model: Model, records: Records) -> dict[int, Float[Tensor, "records outputs"]]:
    """Outputs of each constituent network that exists, by its number (its shard)."""
    recipe = replace(model.recipe, sharding=None)
    alone = {n: Model(recipe, model.shape, model.classes, (s,)) for n, s in enumerate(model.constituents) if s}
    return {number: each.logits(records.features).double() for number, each in alone.items()}


def merged(
    parts: Sequence[Float[Tensor, "records outputs"]], records: Records, aggregation: Literal["mean", "vote"] = "mean"
) -> Outputs:
    """One answer from those of all constituents: their posteriors aggregated; for regression, the mean prediction."""
    stack = torch.stack(tuple(parts))
    if not records.classes:
        logs = stack.mean(0)
    elif len(stack) == 1:
        logs = stack[0].log_softmax(1)
    else:
        logs = aggregate(stack.softmax(2), aggregation).clamp_min(torch.finfo(torch.float64).tiny).log()
    return Outputs(logs.numpy(), records.targets.numpy(), records.classes)


def outputs(model: Model, records: Records) -> Outputs:
    """The model's answers to `records`."""
    return merged(list(constituent_outputs(model, records).values()), records, aggregation(model))


def aggregation(model: Model) -> Literal["mean", "vote"]:
    """How the model's constituents are joined."""
    sharding = model.recipe.sharding
    return "mean" if sharding is None else sharding.aggregation
