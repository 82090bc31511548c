"""Provable unlearning, the provider's side: commit, take a nonce, run what it draws, hand the proof over."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from expunge.errors import ProgrammerError
from expunge.ledger import strict_json
from expunge.plain import encode
from expunge.records import DataTree, Records, subtree_root
from expunge.training import Course, HeadSolver, MemoryCheckpoints, Model, Recipe, Trained, courses, fingerprint, train
from expunge.training.log import training_log
from expunge.unlearning import (
    CertifiedHead,
    Claim,
    ClaimKind,
    Deletion,
    Method,
    Newton,
    NoisyFineTuning,
    OutputPerturbation,
    Retrain,
    Sharded,
    Unlearned,
)
from expunge.unlearning.empirical import EMPIRICAL
from expunge.unlearning.fine_tune import Tuning
from expunge.unlearning.method import finish
from expunge.unlearning.retrain import EXACT
from expunge.unlearning.sharded import ASSUMPTIONS
from expunge.verification.proof import Proof, prove_courses
from expunge.verification.schedule import Commitment, drawn, noise_key, noise_seed, schedule_seed, share_digest

SEGMENTS: Final = 128
"""Segments that a run is cut into unless a number of steps is named: one part in ten is then twelve of them."""

WHOLE: Final = (CertifiedHead, Newton, NoisyFineTuning, OutputPerturbation)
"""Short methods that are replayed whole: they need nothing of the forgotten records, and their noise is drawn."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What a drawn schedule asks for.

    **Arguments:**

    - `recipe`: of the steps; `model_recipe`: that the model is made by.
    - `courses`: one for each constituent; `None` where it stays as it was.
    """

    recipe: Recipe
    model_recipe: Recipe
    courses: tuple[Course | None, ...]

    @property
    def todo(self) -> tuple[Course, ...]:
        """The courses that are run: those of constituents that have records."""
        return tuple(course for course in self.courses if course is not None and course.stages[-1].rows)

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return sum(stage.steps(self.recipe.batch_size) for course in self.todo for stage in course.stages)

    def model(self, part: Records, finals: Mapping[str, Any], before: Model | None) -> Model:
        """The model from the final state of each stage, and the old constituents where there is no course."""
        kept = (None,) * len(self.courses) if before is None else before.constituents
        states = [
            old if course is None else finals.get(course.stages[-1].name)
            for course, old in zip(self.courses, kept, strict=True)
        ]
        return Model(self.model_recipe, part.shape, part.classes, tuple(states))


def plan_of(
    method: Method, recipe: Recipe, part: Records, seed: int, touched: tuple[int, ...], before: Model | None
) -> Plan | None:
    """The courses that a method asks for under the drawn `seed`; `None` for methods that are replayed whole.

    **Arguments:** `part`: the retained training records; `touched`: constituents to work on; `before`: the model that
    the method starts from.

    **Raises:** `ProgrammerError("method-unfit")` for methods that cannot be replayed from retained records.
    """
    seeded = replace(recipe, seed=seed)
    if recipe.pruning is not None and not isinstance(method, Tuning):
        raise ProgrammerError("method-unfit", "finding a pruned network's mask cannot be replayed yet")
    if isinstance(method, Retrain) and not isinstance(recipe.optimiser, HeadSolver):
        return Plan(seeded, seeded, courses(seeded, part))
    if isinstance(method, Sharded) and before is not None:
        plan = courses(seeded, part)
        return Plan(seeded, recipe, tuple(c if n in touched else None for n, c in enumerate(plan)))
    if isinstance(method, Tuning) and before is not None:
        finals = [course.stages[-1] for course in courses(recipe, part)]
        pairs = enumerate(zip(finals, before.constituents, strict=True))
        tuned = [None if s is None or n not in touched else method.course(f, seed, s) for n, (f, s) in pairs]
        return Plan(method.tuning(recipe), recipe, tuple(tuned))
    if isinstance(method, (*WHOLE, Retrain)):
        return None
    name = method.describe().name
    raise ProgrammerError("method-unfit", f"{name} cannot be replayed from the retained records alone")


def starts_from_model(method: Method) -> bool:
    """Whether a method needs the model before the deletion, which the verifier then has to be given."""
    return not isinstance(method, Retrain)


def run_whole(
    method: Method, recipe: Recipe, records: Records, draw: bytes, before: Model | None, threads: int = 1
) -> Unlearned:
    """A short method, from the retained records and the draw alone: what provider and verifier both run."""
    if isinstance(method, Retrain):
        trained = train(replace(recipe, seed=schedule_seed(draw)), records, threads=threads)
        return finish(method, _nothing_gone(trained, records, 0), trained, EXACT)
    if before is None:
        raise ProgrammerError("bad-shape", "this method starts from the model before the deletion")
    log = training_log(before, records.train, MemoryCheckpoints(), threads)
    trained = Trained(before, log, _no_cost(), MemoryCheckpoints())
    blind = _nothing_gone(trained, records, noise_seed(draw))
    return method.run(replace(blind, threads=threads, noise_key=noise_key(draw)))


def grounds(method: Method, deletion: Deletion) -> Records:
    """The records that a method works on: fine-tuning keeps the old column preparation, all others refit."""
    return deletion.retained if isinstance(method, Tuning) else deletion.refitted


def preparation_digest(records: Records) -> str:
    """SHA-256, in hex, of how columns become features: the leaves hold the columns, and another scale another run."""
    return hashlib.sha256(json.dumps(records.preparation, sort_keys=True).encode()).hexdigest()


def commit(
    method: Method, deletion: Deletion, tree: DataTree, *, every: int | None = None, share: bytes = b""
) -> Commitment:
    """What the provider commits to before it learns the nonce.

    **Arguments:**

    - `tree`: commitments to `deletion.records`, in which the forget set is buried.
    - `every`: steps between checkpoints; by default as many as cut the run into `SEGMENTS`.
    - `share`: the provider's part of the draw, secret where noise hangs on it.

    **Raises:** as `plan_of`, and `ProgrammerError("bad-hyperparameter")` for a recipe that has no plain form.
    """
    places = sorted(tree.live[row] for row in deletion.records.rows(deletion.forget))
    before = deletion.trained.model if starts_from_model(method) else None
    touched = _touched(method, deletion)
    if not touched:
        raise ProgrammerError("method-unfit", "no training record leaves: there is nothing that a proof could show")
    ground = grounds(method, deletion)
    plan = plan_of(method, deletion.recipe, ground.train, 0, touched, before)
    steps = plan.steps if plan is not None else 1
    return Commitment(
        old_root=tree.root.hex(),
        root=tree.bury(places).root.hex(),
        size=len(tree.leaves),
        deletion=tree.proof(places).to_json(),
        recipe=deletion.recipe.to_json(),
        method=encode(method),
        every=every or max(1, steps // SEGMENTS),
        start=before.digest if before is not None else "",
        touched=touched,
        share=share_digest(share),
        platform=fingerprint(deletion.threads),
        shape=tuple(ground.shape),
        classes=ground.classes,
        preparation=preparation_digest(ground),
    )


@dataclass(frozen=True, eq=False)
class Submission:
    """What the provider hands over when it is done, before it learns what will be checked.

    **Arguments:**

    - `commitment`, `nonce`, `share`: what the schedule is drawn from.
    - `proof`: checkpoints; without tracks for methods that are replayed whole.
    - `model`: bytes of the new model file; `start`: of the old one where the method starts from it.
    """

    commitment: Commitment
    nonce: str
    share: bytes
    proof: Proof
    model: bytes
    start: bytes | None = None

    @cached_property
    def transcript(self) -> str:
        """SHA-256, in hex, that binds all of it: what the receipt holds as the schedule's commitment."""
        body = {
            "commitment": self.commitment.digest,
            "nonce": self.nonce,
            "checkpoints": subtree_root(self.proof.digests).hex(),
            "model": hashlib.sha256(self.model).hexdigest(),
        }
        return hashlib.sha256(strict_json.canonical(body)).hexdigest()


@dataclass(frozen=True, eq=False)
class Proven:
    """A provable run: what every method returns, and what the verifier gets."""

    unlearned: Unlearned
    submission: Submission


def prove(method: Method, deletion: Deletion, commitment: Commitment, nonce: str, share: bytes = b"") -> Proven:
    """Carry the method out under the schedule that commitment and nonce draw.

    **Raises:** `OperatorError("nonce-missing")`, and what the method and training raise.
    """
    draw = drawn(commitment.root, nonce, share)
    before = deletion.trained.model if starts_from_model(method) else None
    records, start = grounds(method, deletion), None if before is None else before.file
    plan = plan_of(method, deletion.recipe, records.train, schedule_seed(draw), commitment.touched, before)
    if plan is None:
        done = run_whole(method, deletion.recipe, records, draw, before, deletion.threads)
        done = replace(done, retraining_evaluations=deletion.retraining_evaluations, claim=covered(done.claim, share))
        proof = Proof(done.trained.model.recipe, records.train.ids, (), dict(fingerprint(deletion.threads)))
    else:
        done, proof = _courses(method, deletion, records, plan, commitment.every)
    return Proven(done, Submission(commitment, nonce, share, proof, done.trained.model.file, start))


def covered(claim: Claim, share: bytes) -> Claim:
    """What is left of a claim: one that rests on noise falls where root and nonce, which are public, draw all of it."""
    if claim.kind is not ClaimKind.CERTIFIED or len(share) >= SHARE_BYTES:
        return claim
    why = f"The provider's share of the draw has {len(share)} bytes: anybody could draw the noise and take it off."
    return Claim(ClaimKind.EMPIRICAL, claim.reference, (why,))


SHARE_BYTES: Final = 16
"""Of a secret share, at least."""


def _courses(method: Method, deletion: Deletion, records: Records, plan: Plan, every: int) -> tuple[Unlearned, Proof]:
    part = records.train
    proof, result, finished = prove_courses(plan.recipe, part, plan.todo, every=every, threads=deletion.threads)
    finals = {course.stages[-1].name: state for course, state in zip(plan.todo, result.states, strict=True)}
    old = None if isinstance(method, Retrain) else deletion.trained.model
    model = plan.model(part, finals, old)
    store = MemoryCheckpoints()
    if not isinstance(method, Retrain):
        store = MemoryCheckpoints.reusing(deletion.trained.checkpoints, deletion.clean_stages)
    if not isinstance(method, Tuning) and isinstance(finished, MemoryCheckpoints):
        store.states |= finished.states
    trained = Trained(model, training_log(model, part, store, deletion.threads), result.cost, store)
    claim = EXACT if isinstance(method, Retrain) else replace(EXACT, assumptions=EXACT.assumptions + ASSUMPTIONS)
    claim = EMPIRICAL if isinstance(method, Tuning) else claim
    return finish(method, deletion, trained, claim), proof


def _touched(method: Method, deletion: Deletion) -> tuple[int, ...]:
    """Constituents whose training saw a forgotten record; all of them where the method trains anew."""
    finals = [course.stages[-1].name for course in courses(deletion.recipe, deletion.records.train)]
    clean = deletion.clean_stages if isinstance(method, Sharded | Tuning) else ()
    return tuple(number for number, name in enumerate(finals) if name not in clean)


def _nothing_gone(trained: Trained, records: Records, seed: int) -> Deletion:
    """A deletion as a verifier sees it: the forgotten records are not here any more."""
    return Deletion(trained, records, frozenset(), seed)


def _no_cost() -> Any:
    from expunge.training import Cost

    return Cost(0.0, 0, 0)
