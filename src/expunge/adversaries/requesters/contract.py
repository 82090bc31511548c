"""The contract of malicious requesters: from what a requester knows, choose records to delete, or craft copies."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from expunge.errors import ProgrammerError
from expunge.randomness import torch_generator
from expunge.records import Records
from expunge.training import Model, Trained, accuracy_on_test, train
from expunge.unlearning import Method, Unlearned, unlearn


@dataclass(frozen=True)
class Description:
    """An attack in words: `name` for tables, `summary` one sentence, `source` the paper."""

    name: str
    summary: str
    source: str


@dataclass(frozen=True, eq=False)
class Task:
    """What a requester has and wants.

    **Arguments:**

    - `records`: everything the model was trained and tested on; `trained`: the model. Columns stay prepared as they
      are: a deletion that moved their statistics would show targets to the new model in another shape.
    - `method`: the unlearner that will carry the request out.
    - `targets`: records that are to be misclassified; none of them trains.
    - `budget`: the most records that the request may name.
    - `wanted`: labels that the targets are to get; `None` where any wrong one will do.
    - `pool`: ids that the requester owns; `None` for every training record.
    - `surrogate`: the model that the requester computes on; `None` for white box. Of several networks nobody can
      differentiate the vote: the requester then trains one on the same records.
    - `damping`: added to the Gauss-Newton matrix; `products`: of it, at most, for one linear system.
    - `seed`: of the attack's own randomness.
    """

    records: Records
    trained: Trained
    method: Method
    targets: Records
    budget: int
    wanted: Int[Tensor, " targets"] | None = None
    pool: frozenset[str] | None = None
    surrogate: Model | None = None
    damping: float = 1e-2
    products: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.records.classes or not len(self.targets):
            raise ProgrammerError("method-unfit", "an attack needs classes and at least one target")
        if not 0 < self.budget < len(self.records.train):
            raise ProgrammerError("bad-hyperparameter", f"a budget of {self.budget} records")
        if self.records.raw is not None:
            object.__setattr__(self, "records", replace(self.records, raw=None))

    @cached_property
    def known(self) -> Model:
        """The single network that the requester computes on."""
        if self.surrogate is not None:
            return self.surrogate
        model = self.trained.model
        return model if model.is_single else train(replace(model.recipe, sharding=None), self.records).model

    @cached_property
    def owned(self) -> Bool[Tensor, " records"]:
        """Which training records the requester may name."""
        ids = self.records.train.ids
        return torch.tensor([self.pool is None or record in self.pool for record in ids])

    def best(self, scores: Float[Tensor, " records"], count: int | None = None) -> list[int]:
        """Rows of the owned training records with the highest scores, the highest first; ties go to the lower row."""
        found = scores.masked_fill(~self.owned, -torch.inf).sort(descending=True, stable=True).indices
        return found[: min(count or self.budget, int(self.owned.sum()))].tolist()

    def ids(self, rows: list[int]) -> frozenset[str]:
        """Ids of training records."""
        return frozenset(self.records.train.ids[row] for row in rows)

    def carried_out(self, crafted: "Crafted") -> Unlearned:
        """What a server without a gate does: unlearn the records as they were submitted."""
        return unlearn(self.trained, crafted.submitted(self.records), crafted.forget, self.method, seed=self.seed)

    def outcome(self, crafted: "Crafted") -> "Outcome":
        """The attack's success under the true unlearner, over the targets that were right before."""
        after, before = self.carried_out(crafted).trained.model, self.trained.model
        right = before.predict(self.targets.features) == self.targets.targets
        found = after.predict(self.targets.features)
        wrong = found != self.targets.targets if self.wanted is None else found == self.wanted
        fell = self.goal(before) - self.goal(after)
        tested = self.records
        return Outcome(
            int((wrong & right).sum()),
            int(right.sum()),
            accuracy_on_test(before, tested),
            accuracy_on_test(after, tested),
            crafted.predicted,
            fell,
        )

    def goal(self, model: Model) -> float:
        """Sum of the targets' margins: what attacks push down."""
        return float(margins(model.logits(self.targets.features), self.targets.targets, self.wanted).sum())


def grey_box(task: Task, share: float = 0.5) -> Task:
    """The task of a requester who knows the recipe, and trains it on a share of the records under another seed."""
    train_ids = task.records.train.ids
    order = torch.randperm(len(train_ids), generator=torch_generator(task.seed, "requesters/grey box"))
    kept = [train_ids[row] for row in order[: max(1, round(share * len(train_ids)))].tolist()]
    recipe = replace(task.trained.model.recipe, sharding=None, seed=task.trained.model.recipe.seed + 1)
    return replace(task, surrogate=train(recipe, task.records.select(task.records.rows(kept))).model)


@dataclass(frozen=True, eq=False)
class Crafted:
    """A crafted request.

    **Arguments:** `forget`: ids it names; `copies`: altered copies, under the ids of the originals, or `None`;
    `predicted`: by how much the sum of the targets' margins should fall, 0 where nothing was predicted;
    `evaluations`: gradients of single records, and products with them, that the attack took.
    """

    forget: frozenset[str]
    copies: Records | None = None
    predicted: float = 0.0
    evaluations: int = 0

    def submitted(self, records: Records) -> Records:
        """The records with the copies in the originals' places: what a server sees that trusts its requesters."""
        if self.copies is None:
            return records
        features, targets = records.features.clone(), records.targets.clone()
        rows = [records.row_of[each] for each in self.copies.ids]
        features[rows], targets[rows] = self.copies.features, self.copies.targets
        return replace(records, features=features, targets=targets, raw=None)


@dataclass(frozen=True)
class Outcome:
    """What a request did.

    **Arguments:** `flips` of `targets` that were right before; accuracies in [0, 1]; the fall of the sum of the
    targets' margins as `predicted` and as it was (`fell`).
    """

    flips: int
    targets: int
    accuracy_before: float
    accuracy_after: float
    predicted: float
    fell: float

    @property
    def rate(self) -> float | None:
        """Share of targets that were flipped; `None` where none was right before."""
        return self.flips / self.targets if self.targets else None


@runtime_checkable
class Requester(Protocol):
    """A frozen dataclass whose fields are its hyper-parameters."""

    def describe(self) -> Description:
        """The attack in words."""

    def run(self, task: Task) -> Crafted:
        """Craft the request; changes nothing."""


@runtime_checkable
class Preconditioned(Requester, Protocol):
    """A requester whose attack begins before the request: with records contributed to training, or with a trigger."""

    def prepared(self, task: Task) -> Task:
        """The task as it then stands: the model trained with what was planted, the targets with the trigger on."""


def margins(
    logits: Float[Tensor, "records classes"],
    targets: Int[Tensor, " records"],
    wanted: Int[Tensor, " records"] | None = None,
) -> Float[Tensor, " records"]:
    """Logit of the true class minus the highest other; with `wanted`, the highest other minus the wanted one."""
    label = targets if wanted is None else wanted
    own = logits.gather(1, label[:, None])[:, 0]
    other = logits.scatter(1, label[:, None], -torch.inf).amax(1)
    return own - other if wanted is None else other - own
