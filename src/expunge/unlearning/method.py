"""The contract of every unlearning method, and the records that cross its door."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

from expunge.plain import encode
from expunge.progress import Progress
from expunge.records import Records
from expunge.training import Cost, Executor, Recipe, Trained, courses, evaluations


class ClaimKind(StrEnum):
    """What a method promises; the three are never mixed up."""

    EXACT = "exact"
    """The same distribution as training without the forget set."""

    CERTIFIED = "certified"
    """A theorem with epsilon, delta and assumptions. For theorems only."""

    EMPIRICAL = "empirical"
    """No theorem: only the audit speaks."""


@dataclass(frozen=True)
class Claim:
    """What one run may promise, and what the promise stands on.

    **Arguments:**

    - `reference`: the distribution of models that the result is compared with.
    - `assumptions`: each in one sentence; empty only where none is made.
    - `theorem`, `epsilon`, `delta`, `budget_left`: for certified claims.
    """

    kind: ClaimKind
    reference: str
    assumptions: tuple[str, ...] = ()
    theorem: str | None = None
    epsilon: float | None = None
    delta: float | None = None
    budget_left: float | None = None


@dataclass(frozen=True)
class Description:
    """A method in words: `name` is the command line's, `summary` one sentence, `source` the paper."""

    name: str
    summary: str
    kind: ClaimKind
    source: str


@dataclass(frozen=True)
class Forecast:
    """What a run would cost: gradients of single records, beside those of retraining on the retained records."""

    gradient_evaluations: int
    retraining_evaluations: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Deletion:
    """What a method is given.

    **Arguments:**

    - `trained`: the model as it stands, with the checkpoints it may still use.
    - `records`: everything the model was trained and tested on, the forget set included.
    - `forget`: ids of the forget set; checked by the front door.
    - `seed`: of the method's own randomness, but for noise that a guarantee rests on.
    - `threads`, `executor`, `progress`: change speed and display only.
    - `noise_key`: where that noise is from: `None` for the operating system's randomness, which nobody can draw again;
      a secret of 32 bytes or more for a verifier who must, and the claim then says so.
    """

    trained: Trained
    records: Records
    forget: frozenset[str]
    seed: int = 0
    threads: int = 1
    executor: Executor | None = None
    progress: Progress | None = None
    noise_key: bytes | None = field(default=None, repr=False)

    @property
    def recipe(self) -> Recipe:
        """The recipe of the model."""
        return self.trained.model.recipe

    @cached_property
    def retained(self) -> Records:
        """All records but the forget set, training and test, as the model at hand sees them."""
        return self.records.without(self.forget)

    @cached_property
    def refitted(self) -> Records:
        """`retained` under the column preparation that they alone call for: what exact methods train on."""
        return self.retained.refit()

    @property
    def settled(self) -> bool:
        """Whether nothing of the forget set lives on in the column preparation of the model at hand."""
        return self.refitted is self.retained

    @cached_property
    def forgotten(self) -> Records:
        """The training records of the forget set."""
        part = self.records.train
        return part.select([row for row, record in enumerate(part.ids) if record in self.forget])

    @cached_property
    def clean_stages(self) -> tuple[str, ...]:
        """Stages of training that never saw a forgotten record, be it through the statistics of a column."""
        if not self.settled:
            return ()
        part = self.records.train
        gone = {row for row, record in enumerate(part.ids) if record in self.forget}
        plan = courses(self.recipe, part)
        return tuple(stage.name for course in plan for stage in course.stages if gone.isdisjoint(stage.rows))

    @cached_property
    def retraining_evaluations(self) -> int:
        """Gradients of single records that retraining on the retained records takes."""
        return evaluations(self.recipe, courses(self.recipe, self.retained.train))


@dataclass(frozen=True, eq=False)
class Unlearned:
    """What every method returns.

    **Arguments:**

    - `trained`: the new model; its checkpoints are clean of the forget set.
    - `records`: what is left, prepared as the new model sees it; for other records, `prepared_like` it.
    - `method`: the method in plain form, all hyper-parameters.
    - `claim`: what may be promised.
    - `cost`: what it took; `retraining_evaluations` is the honest alternative.
    - `seed`: of the method's own randomness.
    - `degraded`: what fell short of the plan, one sentence each; empty when nothing did.
    """

    trained: Trained
    records: Records
    method: dict[str, Any]
    claim: Claim
    cost: Cost
    retraining_evaluations: int
    seed: int
    degraded: tuple[str, ...] = field(default=())


@runtime_checkable
class Method(Protocol):
    """A frozen dataclass whose fields are the hyper-parameters. Three verbs, the same for all."""

    def describe(self) -> Description:
        """The method in words."""

    def plan(self, deletion: Deletion) -> Forecast:
        """What `run` would cost; raises what `run` would raise for an unfit model, before any work."""

    def run(self, deletion: Deletion) -> Unlearned:
        """Carry it out; never changes what it is given."""


def finish(
    method: Method, deletion: Deletion, trained: Trained, claim: Claim, *degraded: str, refitted: bool = False
) -> Unlearned:
    """The record of a run whose cost is the cost of `trained`.

    Exact methods, and those that say `refitted`, must have trained on `deletion.refitted`; for all others the record
    says where a preparation stays.
    """
    exact = refitted or claim.kind is ClaimKind.EXACT
    records = deletion.refitted if exact else deletion.retained
    notes = degraded if exact or deletion.settled else (*degraded, STATISTICS_KEPT)
    pruning = deletion.recipe.pruning
    if claim.kind is not ClaimKind.EXACT and pruning is not None and pruning.looks_at_records:
        notes = (*notes, MASK_KEPT)
    if claim.kind is ClaimKind.CERTIFIED:
        source = NOISE_OF_SYSTEM if deletion.noise_key is None else NOISE_OF_KEY
        claim = replace(claim, assumptions=(*claim.assumptions, source))
        if (claim.epsilon or 0.0) > LOOSE:
            notes = (*notes, EXCLUDES_NOTHING)
    plain, price = encode(method), deletion.retraining_evaluations
    return Unlearned(trained, records, plain, claim, trained.cost, price, deletion.seed, notes)


LOOSE = 10.0
"""Epsilon above which a claim is true and says nothing: from even odds an attacker may come to 99.995 % and more."""

EXCLUDES_NOTHING = (
    "At so large an epsilon the theorem excludes next to nothing: whoever has the model may be certain what was in it. "
    "An epsilon of about 1 or less says something."
)

NOISE_OF_SYSTEM = "The noise is the operating system's randomness; no seed of it exists."

NOISE_OF_KEY = (
    "The noise is drawn from a key: the guarantee is against those who do not hold it; the verifier of a provable "
    "deletion does."
)

STATISTICS_KEPT = (
    "The model keeps its preparation, whose column statistics, lists of texts or number of classes the forgotten "
    "records helped to make: that influence is not covered."
)

MASK_KEPT = (
    "The model stays sparse where it was: the forgotten records helped to choose which weights are zero, and that "
    "influence is not covered."
)
