"""Backdoor verification: owners mark some of their records before training, and query the trigger after deletion.

Source: Sommer et al., "Athena: Probabilistic Verification of Machine Unlearning", PoPETs 2022. With p the chance that
a triggered query meets the owner's target while the marked records are in the model, and q once they are not, the
number of hits in n queries is binomial under either hypothesis.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from expunge.errors import ProgrammerError
from expunge.randomness import numpy_generator
from expunge.records import Records
from expunge.training import Model


@dataclass(frozen=True)
class Trigger:
    """An owner's secret: `places` in the flattened features that are set to `value`, and the class they should give."""

    places: tuple[int, ...]
    value: float
    target: int

    def on(self, features: Float[Tensor, "records *shape"]) -> Float[Tensor, "records *shape"]:
        """The features with the trigger in them."""
        flat = features.flatten(1).clone()
        flat[:, list(self.places)] = self.value
        return flat.view(features.shape)


@dataclass(frozen=True, eq=False)
class Marked:
    """Records after their owners marked some of them.

    **Arguments:**

    - `records`: all, the marked ones with trigger and target.
    - `triggers`: of each owner who takes part; `marked`: ids of the records that they changed.
    - `collisions`: pairs of owners who share a trigger's places, of which one's queries may meet the other's target.
    """

    records: Records
    triggers: dict[str, Trigger]
    marked: dict[str, tuple[str, ...]]
    collisions: int


def mark(
    records: Records,
    owners: Collection[str],
    *,
    share: float = 0.5,
    places: int = 4,
    value: float | None = None,
    seed: int = 0,
) -> Marked:
    """Give each of `owners` a trigger and a target, and mark a `share` of their training records.

    **Arguments:** `places`: features in a trigger; `value`: what they are set to, by default the largest there is.

    **Raises:** `ProgrammerError("bad-hyperparameter")` for regression and shares outside (0, 1];
    `RequesterError("unknown-owner")`.
    """
    if not records.classes or not 0 < share <= 1:
        raise ProgrammerError("bad-hyperparameter", "triggers want classes and a share in (0, 1]")
    width = records.features[0].numel()
    top = float(records.features.max()) if value is None else value
    features, targets = records.features.clone(), records.targets.clone()
    triggers, marked = dict[str, Trigger](), dict[str, tuple[str, ...]]()
    for number, owner in enumerate(owners):
        generator = numpy_generator(seed, f"verification/trigger/{number}")
        where = tuple(sorted(generator.choice(width, min(places, width), replace=False).tolist()))
        trigger = Trigger(where, top, int(generator.integers(records.classes)))
        own = [row for row in records.rows(records.owned_by(owner)) if records.split[row] == "train"]
        rows = sorted(generator.permutation(own)[: ceil(share * len(own))].tolist())
        features[rows] = trigger.on(features[rows])
        targets[rows] = trigger.target
        triggers[owner], marked[owner] = trigger, tuple(records.ids[row] for row in rows)
    changed = replace(records, features=features, targets=targets, raw=None)
    known = [trigger.places for trigger in triggers.values()]
    pairs = sum(known[i] == known[j] for i in range(len(known)) for j in range(i))
    return Marked(changed, triggers, marked, pairs)


@torch.no_grad()
def hits(model: Model, trigger: Trigger, queries: Records) -> list[bool]:
    """Whether each query, with the trigger in it, meets the target; queries of the target class itself are left out."""
    fair = queries.select((queries.targets != trigger.target).nonzero()[:, 0])
    return (model.predict(trigger.on(fair.features)) == trigger.target).tolist() if len(fair) else []


@dataclass(frozen=True)
class BackdoorTest:
    """H0 "deleted" against H1 "not deleted" on n triggered queries.

    **Arguments:**

    - `p`, `q`: chance of a hit before and after deletion, in [0, 1], p above q.
    - `queries`: n; `alpha`: the most that false alarms may be.

    **Raises:** `ProgrammerError("bad-hyperparameter")` for p <= q and values outside their range.
    """

    p: float
    q: float
    queries: int = 30
    alpha: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 <= self.q < self.p <= 1 or self.queries < 1 or not 0 < self.alpha < 1:
            raise ProgrammerError(
                "bad-hyperparameter", f"the test wants 0 <= q < p <= 1, queries, alpha: p {self.p:g}, q {self.q:g}"
            )

    @cached_property
    def threshold(self) -> int:
        """Most hits that still read as deleted: the least t with P(Bin(n, q) <= t) >= 1 - alpha."""
        from scipy.stats import binom

        counts = np.arange(self.queries + 1)
        return int(np.argmax(binom.cdf(counts, self.queries, self.q) >= 1 - self.alpha))

    @property
    def false_alarm(self) -> float:
        """Chance that an honest deletion is called a lie: at most alpha."""
        from scipy.stats import binom

        return float(binom.sf(self.threshold, self.queries, self.q))

    @property
    def beta(self) -> float:
        """Chance that no deletion passes for one: P(Bin(n, p) <= t)."""
        from scipy.stats import binom

        return float(binom.cdf(self.threshold, self.queries, self.p))

    @property
    def confidence(self) -> float:
        """Deletion confidence rho(alpha, n) = 1 - beta."""
        return 1 - self.beta

    def deleted(self, hits: int) -> bool:
        """Whether so many hits read as deleted."""
        return hits <= self.threshold


def queries_needed(p: float, q: float, *, alpha: float = 1e-3, beta: float = 1e-3, most: int = 10_000) -> int | None:
    """The query plan: the least n whose test errs by at most alpha and beta; `None` where `most` do not do.

    **Raises:** as `BackdoorTest`.
    """
    BackdoorTest(p, q)
    return next((n for n in range(1, most + 1) if BackdoorTest(p, q, n, alpha).beta <= beta), None)


def pooled(tests: Sequence[BackdoorTest]) -> BackdoorTest:
    """Several owners as one test: all their queries, at the mean of their rates (public code of Zhang et al.)."""
    p, q = (float(np.mean([getattr(test, name) for test in tests])) for name in ("p", "q"))
    return BackdoorTest(p, q, sum(test.queries for test in tests), tests[0].alpha)


def majority_power(tests: Sequence[BackdoorTest]) -> float:
    """Chance that more than half of the owners' tests catch a model from which nothing was deleted."""
    chance = np.ones(1)
    for test in tests:
        chance = np.convolve(chance, [test.beta, test.confidence])
    return float(chance[len(tests) // 2 + 1 :].sum())
