"""Cells of the study `verification`, part three: the committed schedule against everyone, counted on small networks."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from expunge.adversaries.providers import (
    Case,
    DishonestProvider,
    FakeSegments,
    Forge,
    Grind,
    Handed,
    KeepOriginal,
    LateMomentum,
    ReplayOldProof,
    RetrainNearest,
    RetrainRandom,
    StartingMomentum,
    SwapAfterAudit,
    WalkBack,
)
from expunge.records import Records
from expunge.studies.frame import Row
from expunge.studies.verification_ground import Ground
from expunge.training import BatchStream, Sharding
from expunge.unlearning import FineTune, Method, NoisyFineTuning, OutputPerturbation, Retrain, Sharded
from expunge.verification import (
    Proof,
    Reproducing,
    SpotCheck,
    Submission,
    Verdict,
    bytes_per_step,
    calibrate,
    submission_from_bytes,
    submission_to_bytes,
)

TRIALS = {"small": 20, "full": 100}
"""Of each attack and of honest runs: a small study has five minutes, and a trial trains, files and replays."""

BESIDE = {"small": 1, "full": 3}
"""Trials of each before the literature's replay: nothing in it is drawn."""

PLATFORM_TRIALS: Final = 5


def attacks(scale: str) -> dict[str, DishonestProvider]:
    """Every attack of the spec, by name."""
    every: tuple[DishonestProvider, ...] = (
        RetrainNearest(),
        RetrainRandom(candidates=50 if scale == "full" else 2),
        Forge(),
        KeepOriginal(),
        Grind(schedules=1000),
        FakeSegments(),
        FakeSegments(how="train", where="last"),
        SwapAfterAudit(),
        ReplayOldProof(),
        StartingMomentum(),
        LateMomentum(),
    )
    return {attack.describe().name: attack for attack in every}


def inconspicuous() -> dict[str, DishonestProvider]:
    """Segments of ordinary size, which no displacement tells: the formula is all that stands between.

    One that was trained on forgotten records, and as many as it takes to walk back to the original model.
    """
    return {attack.describe().name: attack for attack in (FakeSegments(how="train"), WalkBack())}


def committed(records: Records, scale: str, seed: int, name: str) -> list[Row]:
    """`TRIALS` trials of one attack, or of honest runs: how many were found, by which check, at what work."""
    ground = Ground(records, seed)
    attack = None if name == "honest" else _ready(ground, {**attacks(scale), **inconspicuous()}[name])
    found, works, checks = 0, [], dict[str, int]()
    for trial in range(TRIALS[scale]):
        nonce = f"trial-{trial}"
        verdict = _judged(ground, attack, nonce, SpotCheck(seed=trial), trial)
        works.append(verdict.work)
        found += not verdict.holds
        for check in verdict.checks:
            if check.holds is False:
                checks[check.name] = checks.get(check.name, 0) + 1
    row = {"part": "committed", "provider": name, "trials": TRIALS[scale], "found": found}
    return [{**row, "work_share_mean": float(np.mean(works)), "work_share_max": max(works), "found_by": checks}]


def _ready(ground: Ground, attack: DishonestProvider) -> DishonestProvider:
    """The attack after what hangs on no nonce: a grinder grinds once."""
    return replace(attack, chosen=attack.best(ground.case("any"))) if isinstance(attack, Grind) else attack


def _judged(ground: Ground, attack: DishonestProvider | None, nonce: str, check: SpotCheck, trial: int) -> Verdict:
    if attack is None:
        proven = ground.prove(nonce)
        return check.verify(_filed(proven.submission), ground.retained(proven), nonce)
    case, handed = _tried(ground, attack, nonce, trial)
    retained = ground.retained(ground.earlier)
    return check.verify(_filed(handed.submission(case)), retained, nonce, deployed=handed.deployed.file)


def _tried(ground: Ground, attack: DishonestProvider, nonce: str, trial: int) -> tuple[Case, Handed]:
    """One trial of an attack; what it draws is drawn anew each time."""
    if isinstance(attack, FakeSegments | RetrainRandom):
        attack = replace(attack, seed=trial)
    case = ground.case(nonce)
    return case, attack.run(case)


def _filed(given: Submission) -> Submission:
    """As the verifier gets it: read from a file."""
    return submission_from_bytes(submission_to_bytes(given))


def beside(records: Records, scale: str, seed: int) -> list[Row]:
    """The same providers before the literature's replay: every step, at proof of learning's tolerance."""
    ground, rows = Ground(records, seed), []
    for name, attack in {"honest": None, **attacks(scale), **inconspicuous()}.items():
        ready = None if attack is None else _ready(ground, attack)
        proofs = [_shown(ground, ready, f"beside-{trial}", trial) for trial in range(BESIDE[scale])]
        found = [Reproducing().verify(proof, ground.records.train, ground.forget) for proof in proofs]
        row = {"part": "beside", "provider": name, "trials": len(found), "passed": sum(each.passes for each in found)}
        rows.append({**row, "work_share_mean": float(np.mean([each.work for each in found]))})
    return rows


def _shown(ground: Ground, attack: DishonestProvider | None, nonce: str, trial: int) -> Proof:
    """A proof with the rows of its steps, for whoever asks to see them: those that are drawn where it names none."""
    if attack is None:
        return _with_rows(ground.prove(nonce).submission.proof)
    case, handed = _tried(ground, attack, nonce, trial)
    told = all(track.batches is not None for track in handed.proof.tracks)
    return handed.proof if told else _with_rows(handed.submission(case).proof)


def _with_rows(proof: Proof) -> Proof:
    (track,) = proof.tracks
    rows = BatchStream(track.stage, proof.recipe.batch_size, track.seed).block(0, proof.steps)
    return replace(proof, tracks=(replace(track, batches=rows),))


def platform(records: Records, scale: str, seed: int) -> list[Row]:
    """Proofs from one thread, checked under two: honest and each attack at the calibrated tolerance."""
    ground = Ground(records, seed)
    tolerance = calibrate(ground.original, ground.records.train, threads=(2,))
    check, rows = SpotCheck(threads=2, tolerance=tolerance, seed=seed), []
    for name in ("honest", *attacks(scale)):
        attack = attacks(scale).get(name)
        if isinstance(attack, Grind):
            attack = replace(attack, schedules=50)
        passed = [_judged(ground, attack, f"platform-{trial}", check, trial).holds for trial in range(PLATFORM_TRIALS)]
        rows.append(
            {
                "part": "platform",
                "provider": name,
                "trials": len(passed),
                "passed": sum(passed),
                "tolerance": tolerance.value,
                "tolerance_source": tolerance.source,
            }
        )
    return rows


def methods(records: Records, seed: int) -> list[Row]:
    """Every kind of method: the honest run, and the old model in its place."""
    kinds: Sequence[tuple[Method, Sharding | None]] = (
        (Retrain(), None),
        (Sharded(), Sharding(shards=4, slices=2, by="record")),
        (FineTune(epochs=2), None),
        (NoisyFineTuning(steps=5, epochs=1), None),
        (OutputPerturbation(epochs=1), None),
    )
    rows = []
    for method, sharding in kinds:
        ground = Ground(records, seed, sharding)
        proven = ground.prove("methods", method)
        verdict = SpotCheck(seed=seed).verify(proven.submission, ground.retained(proven), "methods")
        kept = replace(proven.submission, model=ground.deletion.trained.model.file)
        caught = not SpotCheck(seed=seed).verify(kept, ground.retained(proven), "methods").holds
        rows.append(
            {
                "part": "methods",
                "method": method.describe().name,
                "proven": verdict.holds,
                "old_model_found": caught,
                "work_share": verdict.work,
                "segments": verdict.segments,
                "replayed_whole": not proven.submission.proof.tracks,
            }
        )
    return rows


def storage(records: Records, seed: int) -> list[Row]:
    """Bytes of proof for each optimiser step, with the interval between checkpoints as the knob."""
    ground = Ground(records, seed)
    weights = sum(value.numel() for value in ground.original.tracks[0].snapshots[0].state.values())
    rows = []
    for every in (1, 2, 5, 10, 50):
        bare = tuple(replace(track, batches=None) for track in ground.original.thinned(every).tracks)
        size = bytes_per_step(replace(ground.original, tracks=bare))
        rows.append({"part": "storage", "every": every, "bytes_per_step": size, "weights": weights})
    return rows
