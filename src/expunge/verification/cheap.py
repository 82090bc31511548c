"""Committed-schedule verification: all that can be checked of a submission without training anything."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import torch

from expunge.networks import State, initialise, state_of
from expunge.plain import decode
from expunge.records import Records
from expunge.training import Model, Recipe, model_header
from expunge.training.curvature import Series
from expunge.training.engine import optimiser_frame
from expunge.unlearning import ClaimKind, FineTune, L1Sparse, Method, Retrain, Sharded
from expunge.unlearning.fine_tune import Tuning
from expunge.verification.proof import Track, kinds, same_bytes, start_of
from expunge.verification.provable import WHOLE, Plan, Submission, plan_of, preparation_digest
from expunge.verification.schedule import Retained, drawn, schedule_seed, share_digest
from expunge.verification.segments import displacement_bound
from expunge.verification.verdict import demand

METHODS: Final = (Retrain, Sharded, FineTune, L1Sparse, *WHOLE, Series)
"""Classes that a commitment may name as its method."""


@dataclass(eq=False)
class CheapChecks:
    """What a submission says, against what the verifier has; arguments as of `SpotCheck.verify`.

    Each check stands on those before it, and leaves what it found: `method` and its `claim`, the `drawn` bytes, the old
    model (`before`), `recipe` and `plan` of the run; `degraded` is what fell short, one sentence each.
    """

    given: Submission
    retained: Retained
    nonce: str
    transcript: str | None
    deployed: bytes | None
    owners: Sequence[str]
    method: Method = field(init=False)
    drawn: bytes = field(init=False)
    before: Model | None = field(init=False)
    recipe: Recipe = field(init=False)
    plan: Plan | None = field(init=False)

    def __post_init__(self) -> None:
        self.claim: ClaimKind | None = None
        self.degraded: list[str] = []

    @property
    def steps(self) -> tuple[tuple[str, Callable[[], str]], ...]:
        """The checks by name, in order."""
        return (
            ("deletion", self._deletion),
            ("retained data", self._data),
            ("draw", self._draw),
            ("transcript", self._transcript),
            ("schedule", self._schedule),
            ("start", self._start),
            ("model", self._model),
            ("displacement", self._displacement),
        )

    def _deletion(self) -> str:
        demand(self.given.commitment.joins, "the data roots differ in more than tombstones")
        return "the retained data is the old data with tombstones and no other change"

    def _data(self) -> str:
        commitment, records = self.given.commitment, self.retained.records
        demand(tuple(records.shape) == commitment.shape, "the records have another shape than was committed to")
        demand(records.classes == commitment.classes, "the records have other classes than were committed to")
        demand(self.retained.size == commitment.size, "the tree has another size")
        demand(self.retained.root == commitment.root, "the retained records at hand are not those committed to")
        self.method = decode(commitment.method, METHODS)
        self.claim = self.method.describe().kind
        demand(
            preparation_digest(records) == commitment.preparation,
            "the column preparation is another than was committed to",
        )
        if records.raw is not None and not records.preparation["fitted"]:
            self.degraded.append(
                "The column preparation was declared, not fitted: that it owes nothing to the "
                "forgotten records is the provider's word."
            )
        left = set(self.owners) & set(records.owners)
        demand(not left, f"records of {len(left)} of the people named are still among the retained ones")
        if not self.owners:
            self.degraded.append("Whose records these were shows only to who may name the people: --owner.")
        refitted = isinstance(self.method, Tuning) or records.refit() is records
        demand(refitted, "the column preparation is not what the retained records alone call for")
        return f"{len(records)} records open the committed root"

    def _draw(self) -> str:
        given = self.given
        demand(given.nonce == self.nonce, "the run was made under another nonce")
        demand(share_digest(given.share) == given.commitment.share, "the provider's share is not the committed one")
        self.drawn = drawn(given.commitment.root, self.nonce, given.share)
        return "root, nonce and share give the seed; neither side chose it"

    def _transcript(self) -> str:
        wanted = self.given.transcript if self.transcript is None else self.transcript
        demand(self.given.transcript == wanted, "checkpoints or model are not those committed to")
        return "the checkpoints are those that were committed to before the segments were drawn"

    def _schedule(self) -> str:
        given, part = self.given, self.retained.records.train
        recipe = Recipe.from_json(given.commitment.recipe)
        self.before = self._old_model(recipe)
        self._shards(recipe)
        plan = plan_of(self.method, recipe, part, schedule_seed(self.drawn), given.commitment.touched, self.before)
        self.recipe, self.plan = recipe, plan
        if plan is None:
            demand(not given.proof.tracks, "a method that is replayed whole has no checkpoints")
            return "a short method: replayed whole"
        claimed = [(track.stage, track.seed) for track in given.proof.tracks]
        expected = [(stage, course.seed) for course in plan.todo for stage in course.stages]
        demand(claimed == expected, "the stages are not those of the drawn schedule")
        frame = _frame(plan.recipe, part)
        for track in given.proof.tracks:
            demand(
                _well_cut(track, plan.recipe, given.commitment.every), f"{track.stage.name}: checkpoints are missing"
            )
            demand(_fits(track, frame[0]), f"{track.stage.name}: a checkpoint does not fit the network")
            demand(_keeps(track, frame[1]), f"{track.stage.name}: the optimiser's state is no such state")
        demand(given.proof.ids == part.ids, "the rows count in other records")
        demand(bool(given.proof.segments), "there is no segment: nothing was trained, and nothing can be replayed")
        return f"{plan.steps} steps in {len(given.proof.segments)} segments, as drawn"

    def _start(self) -> str:
        if self.plan is None:
            return "replayed whole"
        part, tracks = self.retained.records.train, iter(self.given.proof.tracks)
        for course in self.plan.todo:
            state = start_of(self.plan.recipe, part, course)
            for stage in course.stages:
                track = next(tracks)
                demand(same_bytes(track.snapshots[0].state, state), f"{stage.name} does not start where it must")
                ends = (track.snapshots[0].optimiser, track.snapshots[-1].optimiser)
                demand(not any(ends), f"{stage.name} does not start and end with a fresh optimiser")
                state = track.snapshots[-1].state
        return "initial weights are the drawn ones, and the optimiser starts fresh"

    def _model(self) -> str:
        given = self.given
        if self.plan is not None:
            part = self.retained.records.train
            finals = {track.stage.name: track.snapshots[-1].state for track in given.proof.tracks}
            made = self.plan.model(part, finals, self.before)
            demand(made.file == given.model, "the model is not what the last checkpoints give")
            self._moved(made)
        deployed = given.model if self.deployed is None else self.deployed
        same = hashlib.sha256(deployed).digest() == hashlib.sha256(given.model).digest()
        demand(same, "another model is deployed than the one that was proven")
        return "the deployed file is the model of the last checkpoints"

    def _moved(self, made: Model) -> None:
        """Say so where following the procedure changed nothing: an empirical claim forbids no such recipe."""
        if self.before is not None and made.file == self.before.file:
            self.degraded.append(
                "The new model is the old one, byte for byte: following this procedure changed nothing."
            )

    def _displacement(self) -> str:
        proof = self.given.proof
        recipe = self.recipe if self.plan is None else self.plan.recipe
        for place, moved in proof.displacements.items():
            most = displacement_bound(proof, recipe, place)
            name, number = proof.tracks[place[0]].stage.name, place[1]
            demand(moved <= most, f"{name}, segment {number}: moved {moved:.3g}, at most {most:.3g} is possible")
        return "no segment moved further than its steps allow"

    def _old_model(self, recipe: Recipe) -> Model | None:
        start, bound = self.given.start, self.given.commitment.start
        if isinstance(self.method, Retrain):
            return None
        demand(
            start is not None and hashlib.sha256(start).hexdigest() == bound, "the old model is not the committed one"
        )
        written = model_header(start or b"").get("recipe")
        if written is None:
            self.degraded.append(
                "The old model's file names no recipe: that it was made by this one is the provider's word."
            )
        demand(written in (None, recipe.digest), "the old model was made by another recipe than the committed one")
        before = Model.from_file(recipe, start or b"")
        frame = state_of(initialise(recipe.network, before.shape, before.classes, seed=0, name="frame"))
        for state in before.constituents:  # what is left as it was is deployed again: it may carry nothing else along
            fits = state is None or (kinds(state) == kinds(frame) and _finite(state))
            demand(fits, "the old model holds tensors that are not of the network")
        return before

    def _shards(self, recipe: Recipe) -> None:
        """Every shard that held a named owner must be among those trained anew."""
        touched, sharding = self.given.commitment.touched, recipe.sharding
        if isinstance(self.method, Retrain) or sharding is None:
            wanted = set(range(1 if sharding is None else sharding.shards))
        else:
            wanted = {sharding.place(owner)[0] for owner in self.owners if sharding.by == "owner"}
            if not wanted:
                self.degraded.append("That the right shards were trained anew shows only to who may name the owners.")
        most = 1 if sharding is None else sharding.shards
        demand(bool(touched) and touched[-1] < most, "the constituents to work on are not those of the recipe")
        demand(wanted <= set(touched), "a shard that held forgotten records was left as it was")


def _well_cut(track: Track, recipe: Recipe, every: int) -> bool:
    """Whether the snapshots stand where the commitment says."""
    steps = track.stage.steps(recipe.batch_size)
    places = range(0, steps, every)  # no list: a proof may speak of any number of steps
    found = [snapshot.step for snapshot in track.snapshots]
    return len(found) == len(places) + 1 and found == [*places, steps]


def _frame(recipe: Recipe, part: Records) -> tuple[State, State]:
    """Weights and optimiser state as this recipe has them: names, types and shapes."""
    module = initialise(recipe.network, part.shape, part.classes, seed=0, name="frame")
    return state_of(module), optimiser_frame(module, recipe)


def _fits(track: Track, frame: State) -> bool:
    """Whether all checkpoints have the tensors of the network, finite ones."""
    return all(kinds(each.state) == kinds(frame) and _finite(each.state) for each in track.snapshots)


def _keeps(track: Track, frame: State) -> bool:
    """Whether all that is said of the optimiser is of its tensors, and finite."""
    known = kinds(frame).items()
    return all(kinds(each.optimiser).items() <= known and _finite(each.optimiser) for each in track.snapshots)


def _finite(state: State) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in state.values())
