"""The contract of dishonest providers: from all that a provider has, hand over something that looks like unlearning."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, runtime_checkable

from jaxtyping import Int
from torch import Tensor, nn

from expunge.networks import State, initialise, state_of
from expunge.records import Records
from expunge.training import Batches, Model, Recipe, Snapshot, Stage, deterministic
from expunge.training.engine import run_stage
from expunge.verification import Commitment, Proof, Submission, Track


@dataclass(frozen=True)
class Description:
    """An attack in words: `name` for tables, `summary` one sentence, `source` the paper."""

    name: str
    summary: str
    source: str


@dataclass(frozen=True, eq=False)
class Case:
    """What a provider has when a deletion is asked for.

    **Arguments:**

    - `records`: the training records, the forget set among them; `forget`: its ids.
    - `recipe`: what the provider is expected to retrain by: in committed verification its seed is the drawn one.
    - `original`: the proof of the original training, one checkpoint for each step.
    - `model`: the original model.
    - `every`: steps between the checkpoints that are asked for.
    - `commitment`, `nonce`: of committed verification; without them only the literature's verifiers are met.
    - `earlier`: a submission that was accepted before.
    """

    records: Records
    forget: frozenset[str]
    recipe: Recipe
    original: Proof
    model: Model
    every: int = 1
    commitment: Commitment | None = None
    nonce: str = ""
    earlier: Submission | None = None

    @cached_property
    def retained(self) -> Records:
        """The training records that are left."""
        return self.records.without(self.forget)

    @cached_property
    def stage(self) -> Stage:
        """The stage that honest retraining goes through."""
        return Stage("train", tuple(range(len(self.retained))), self.recipe.epochs)

    @property
    def steps(self) -> int:
        """Steps of honest retraining."""
        return self.stage.steps(self.recipe.batch_size)

    def module(self) -> nn.Module:
        """The network as honest retraining starts it."""
        part = self.retained
        return initialise(self.recipe.network, part.shape, part.classes, seed=self.recipe.seed, name="network")

    @cached_property
    def start(self) -> State:
        """Its weights."""
        return state_of(self.module())

    def proof(self, snapshots: tuple[Snapshot, ...], batches: Int[Tensor, "steps width"] | None = None) -> Proof:
        """A proof of retraining with these snapshots."""
        track = Track(self.stage, self.recipe.seed, snapshots, batches)
        return Proof(self.recipe, self.retained.ids, (track,), self.original.platform).thinned(self.every)

    def handed(self, proof: Proof, deployed: Model | None = None, evaluations: int = 0) -> "Handed":
        """What is handed over; the model is that of the last checkpoint."""
        made = self.model_of(proof.tracks[-1].snapshots[-1].state)
        return Handed(proof, made, deployed or made, evaluations)

    def model_of(self, state: State) -> Model:
        """A model of these weights."""
        return Model(self.recipe, self.retained.shape, self.retained.classes, (state,))


@dataclass(frozen=True, eq=False)
class Handed:
    """What a dishonest provider hands over.

    **Arguments:** `proof`; `model`: the one it says was unlearned; `deployed`: the one in use later;
    `evaluations`: gradients of single records that the deceit took.
    """

    proof: Proof
    model: Model
    deployed: Model
    evaluations: int = 0

    def submission(self, case: Case) -> Submission:
        """The same in the form that committed verification takes: the rows of the steps stay out, for they are drawn.

        The nonce is claimed to be the verifier's, whatever was used: another would be refused at once.
        """
        if case.commitment is None:
            raise TypeError("the case has no commitment")
        proof = _as_drawn(case, self.proof)
        return Submission(case.commitment, case.nonce, b"", proof, self.model.file)


@runtime_checkable
class DishonestProvider(Protocol):
    """A frozen dataclass whose fields are its knobs."""

    def describe(self) -> Description:
        """The attack in words."""

    def run(self, case: Case) -> Handed:
        """Deceive."""


def trained_on(
    case: Case,
    records: Records,
    batches: Callable[[nn.Module], Batches],
    *,
    snapshot: Snapshot | None = None,
    until: int | None = None,
) -> tuple[Snapshot, ...]:
    """Train as the case's recipe says, but on batches of one's own choosing; every snapshot, from the first one on.

    **Arguments:** `records`: what the batches' rows count in; `batches`: given the network as it is being trained.
    """
    module, kept = case.module(), list[Snapshot]()
    first = Snapshot(0, state_of(module), {}) if snapshot is None else snapshot
    with deterministic(1):
        run_stage(
            module,
            case.recipe,
            case.stage,
            case.recipe.seed,
            records.features,
            records.targets,
            snapshot=first,
            every=case.every,
            keep=kept.append,
            batches=batches(module),
            until=until,
        )
    last = [] if until is not None and until < case.steps else [Snapshot(case.steps, state_of(module), {})]
    return (first, *kept, *last)


def _as_drawn(case: Case, proof: Proof) -> Proof:
    """The proof in its strongest disguise: stages and seeds of the drawn schedule, and the drawn weights in front.

    Checkpoints of a run of another length are spread over the places where checkpoints must stand.
    """
    (track,) = proof.tracks
    wanted = [*range(0, case.steps, case.every), case.steps]
    scale = track.segments / (len(wanted) - 1)
    spread = [track.snapshots[round(number * scale)] for number in range(1, len(wanted))]
    inner = (Snapshot(step, each.state, each.optimiser) for step, each in zip(wanted[1:], spread, strict=True))
    first = Snapshot(0, case.start, track.snapshots[0].optimiser)
    claimed = Track(case.stage, case.recipe.seed, (first, *inner))
    return replace(proof, recipe=case.recipe, ids=case.retained.ids, tracks=(claimed,))
