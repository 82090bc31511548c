"""Further ways around the committed schedule, each through the files that a verifier gets, each found each time."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "verification"))

from verified_scenes import RECIPE, Scene, failed, scene, through_files

from expunge.adversaries.providers import FakeSegments, LateMomentum
from expunge.adversaries.providers.contract import trained_on
from expunge.networks import MLP, State
from expunge.records import Records, load
from expunge.training import SGD, BatchStream, Sharding, Snapshot
from expunge.unlearning import FineTune, NoisyFineTuning, Retrain
from expunge.verification import BYTES, Proven, Retained, SpotCheck, Submission, Tolerance, Verdict, provable, prove
from expunge.verification.proof import same_bytes
from expunge.verification.provable import preparation_digest
from expunge.verification.segments import last_of_courses


def with_snapshot(given: Submission, number: int, change: Callable[[Snapshot], Snapshot]) -> Submission:
    """The submission with one checkpoint changed."""
    (track,) = given.proof.tracks
    snapshots = list(track.snapshots)
    snapshots[number] = change(snapshots[number])
    return replace(given, proof=replace(given.proof, tracks=(replace(track, snapshots=tuple(snapshots)),)))


def inner(change: Callable[[State], State]) -> Callable[[Snapshot], Snapshot]:
    return lambda snapshot: replace(snapshot, optimiser=change(snapshot.optimiser))


def first_of(state: State, change: Callable[[torch.Tensor], torch.Tensor]) -> State:
    name = next(iter(state))
    return {**state, name: change(state[name])}


def test_the_last_segment_is_always_replayed(place: Scene, honest: Proven) -> None:
    """Ordinary steps on forgotten records where nothing honest follows: found each time, not once in a hundred."""
    case = place.case(place.commit(), "n1")
    given = FakeSegments(how="train", where="last").run(case).submission(case)
    for number in range(3):
        verdict = through_files(given, place.retained(honest), "n1", SpotCheck(seed=number))
        assert failed(verdict) == "replay"
        assert verdict.work <= 0.1


def test_the_ends_of_many_networks_are_drawn_among(few: Records) -> None:
    own = scene(few, [few.train.owners[0]], replace(RECIPE, sharding=Sharding(shards=3, slices=2)))
    proof = own.prove("n1").submission.proof
    ends = last_of_courses(proof)
    assert len(ends) == 3
    for seed in range(5):
        where, _ = SpotCheck(seed=seed).choose(proof, proof.recipe, 14)
        assert len(set(ends) & set(where)) >= 2


LIES = {
    "not a number": inner(lambda state: first_of(state, lambda value: value * float("nan"))),
    "infinite": inner(lambda state: first_of(state, lambda value: value + float("inf"))),
    "another type": inner(lambda state: {name: value.double() for name, value in state.items()}),
    "half precision": inner(lambda state: {name: value.bfloat16() for name, value in state.items()}),
    "another shape": inner(lambda state: first_of(state, lambda value: value[None])),
    "another name": inner(lambda state: {**state, "0/exp_avg": torch.zeros(3)}),
    "weights of another type": lambda snapshot: replace(
        snapshot, state=first_of(snapshot.state, lambda value: value.double())
    ),
    "weights that are no numbers": lambda snapshot: replace(
        snapshot, state=first_of(snapshot.state, lambda value: value * float("nan"))
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_tensors_that_no_step_makes_are_refused_before_any_replay(place: Scene, honest: Proven, name: str) -> None:
    given = with_snapshot(honest.submission, 30, LIES[name])
    verdict = through_files(given, place.retained(honest), "n1")
    assert failed(verdict) == "schedule"
    assert verdict.work == 0


def test_the_sign_of_a_zero_is_a_byte(place: Scene, honest: Proven) -> None:
    """Equal numbers are not equal bytes: what is hidden in signs of zeros would be deployed."""
    zero = with_snapshot(honest.submission, 30, inner(lambda state: first_of(state, torch.zeros_like)))
    signed = with_snapshot(honest.submission, 30, inner(lambda state: first_of(state, lambda v: -torch.zeros_like(v))))
    (plain,), (minus,) = zero.proof.tracks, signed.proof.tracks
    assert torch.equal(*(next(iter(t.snapshots[30].optimiser.values())) for t in (plain, minus)))
    assert not same_bytes(plain.snapshots[30].optimiser, minus.snapshots[30].optimiser)


def test_momentum_that_fades_slowly_is_found_where_it_was_made_up(few: Records) -> None:
    """A push of ordinary steps over the rest of the run: no segment moves far, but one momentum came from nowhere."""
    recipe = replace(RECIPE, optimiser=SGD(lr=0.02, momentum=0.98), epochs=3)
    own = scene(few, [few.train.owners[0]], recipe)
    retained = own.retained(own.prove("n0"))
    case = own.case(own.commit(), "n1")
    given = LateMomentum(left=case.steps // 2).run(case).submission(case)
    (track,) = given.proof.tracks
    told = (0, track.segments - case.steps // 2 - 1)
    for number in range(3):
        where, _ = SpotCheck(seed=number, early=0, least=0, ends=0, path=0).choose(given.proof, case.recipe, 1)
        assert told in where
    assert failed(through_files(given, retained, "n1", SpotCheck(seed=0))) == "replay"


@pytest.fixture(scope="module")
def normed(few: Records) -> Scene:
    return scene(few, [few.train.owners[0]], replace(RECIPE, network=MLP((16,), batch_norm=True), epochs=3))


def test_running_statistics_are_compared_and_do_not_count_as_movement(normed: Scene) -> None:
    """Counters of batches move in every segment: they must not hide how far weights move."""
    honest = normed.prove("n1")
    retained = normed.retained(honest)
    assert through_files(honest.submission, retained, "n1").holds
    proof = honest.submission.proof
    (track,) = proof.tracks
    counters = [name for name in track.snapshots[0].state if name.endswith("num_batches_tracked")]
    assert counters
    assert max(proof.displacements.values()) < 1, "a counter alone moves by one"

    def lie(snapshot: Snapshot) -> Snapshot:
        moved = {n: v + 5 if n.endswith("running_mean") else v for n, v in snapshot.state.items()}
        return replace(snapshot, state=moved)

    place = len(track.snapshots) - 4
    given = with_snapshot(honest.submission, place, lie)
    where, _ = SpotCheck(seed=0, ends=0, early=0, least=0, path=0).choose(given.proof, RECIPE, 1)
    assert {(0, place - 1), (0, place)} & set(where)
    assert failed(through_files(given, retained, "n1")) == "replay"


def test_other_hyper_parameters_between_the_checkpoints_are_found(place: Scene, honest: Proven) -> None:
    """A tenth more learning rate all along: every segment differs, whichever is drawn."""
    retained = place.retained(honest)
    case = place.case(place.commit(), "n1")
    faster = replace(case, recipe=replace(case.recipe, optimiser=SGD(lr=0.11)))
    rows = BatchStream(case.stage, case.recipe.batch_size, case.recipe.seed).block(0, case.steps)
    snapshots = trained_on(faster, case.retained, lambda module: rows)
    handed = case.handed(case.proof(snapshots, rows))
    assert failed(through_files(handed.submission(case), retained, "n1")) == "replay"


def table(folder: Path) -> Records:
    rows = [f"a,{number},{'x' if number % 3 else 'y'}" for number in range(40)]
    rows += [f"b,{3 * number},x" for number in range(6)]
    file = folder / "table.csv"
    file.write_text("\n".join(["owner,size,target", *rows]) + "\n")
    return load(file, target="target", owner="owner")


def rescaled(records: Records, factor: float) -> Records:
    """The same columns under a preparation that says it was declared, so that nothing is refitted."""
    from expunge.records.preparation import apply

    plain = dict(records.preparation)
    columns = [{**step, "scale": step["scale"] * factor} if "scale" in step else step for step in plain["columns"]]
    made = {**plain, "fitted": False, "columns": columns}
    assert records.raw is not None
    features, targets, classes = apply(records.raw, made)
    return replace(records, features=features, targets=targets, classes=classes, preparation=made)


def test_a_column_scale_ground_after_the_nonce_is_refused(tmp_path: Path) -> None:
    """The leaves hold the columns; the scale is a choice, and another scale another run under the same nonce."""
    own = scene(table(tmp_path), ["b"], replace(RECIPE, epochs=4))
    made = own.commit()
    honest = own.prove("n1")
    ground = rescaled(honest.unlearned.records, 1.07)
    with pytest.MonkeyPatch.context() as patch:  # the provider's own process: it does as it likes
        patch.setattr(provable, "grounds", lambda method, deletion: ground)
        proven = prove(Retrain(), own.deletion, made, "n1")
    assert proven.submission.model != honest.submission.model
    retained = Retained.after(own.records, own.salts, ground)
    verdict = through_files(proven.submission, retained, "n1")
    assert failed(verdict) == "retained data"
    declared = replace(proven.submission, commitment=replace(made, preparation=preparation_digest(ground)))
    verdict = through_files(declared, retained, "n1")
    assert verdict.holds, "settled before the nonce: a declared preparation"
    assert any("declared" in note for note in verdict.degraded)


def test_fewer_or_copied_retained_records_open_another_root(place: Scene, honest: Proven) -> None:
    kept = place.retained(honest)
    rows = list(range(len(kept.records)))
    fewer = Retained(kept.records.select(rows[1:]), kept.salts[1:], kept.places[1:], kept.size)
    assert failed(through_files(honest.submission, fewer, "n1")) == "retained data"
    gone = place.records.select(place.records.rows(sorted(place.forget)[:1]))
    copied = Records(
        torch.cat([kept.records.features, gone.features]),
        torch.cat([kept.records.targets, gone.targets]),
        (*kept.records.ids, "copy-1"),
        (*kept.records.owners, "somebody"),
        (*kept.records.split, "train"),
        kept.records.classes,
        kept.records.preparation,
    )
    grown = Retained(copied, (*kept.salts, b"\1" * 32), (*kept.places, kept.size), kept.size + 1)
    assert failed(through_files(honest.submission, grown, "n1")) == "retained data"
    made = replace(honest.submission.commitment, size=kept.size + 1, root=grown.root)
    assert failed(through_files(replace(honest.submission, commitment=made), grown, "n1")) == "deletion"


def test_another_split_or_owner_is_another_leaf(place: Scene, honest: Proven) -> None:
    """Moving a record from training to test would be a schedule of one's own."""
    kept = place.retained(honest)
    split = list(kept.records.split)
    split[split.index("train")] = "test"
    moved = replace(kept, records=replace(kept.records, split=tuple(split)))
    assert failed(through_files(honest.submission, moved, "n1")) == "retained data"
    owners = ("somebody", *kept.records.owners[1:])
    assert failed(
        through_files(honest.submission, replace(kept, records=replace(kept.records, owners=owners)), "n1")
    ) == ("retained data")


def test_the_proof_of_another_deletion_serves_no_second_time(place: Scene, honest: Proven) -> None:
    other = scene(place.records, [place.records.train.owners[80]])
    given = other.prove("n1").submission
    verdict = through_files(given, place.retained(honest), "n1")
    assert failed(verdict) == "retained data"
    moved = replace(given, commitment=honest.submission.commitment)
    assert not through_files(moved, place.retained(honest), "n1").holds


def test_nothing_is_trained_for_a_submission_that_is_cheap_to_refuse(place: Scene, honest: Proven) -> None:
    """The verifier's own run on another platform comes after every check that needs none."""
    calls: list[int] = []

    def calibrated() -> Tolerance:
        calls.append(1)
        return Tolerance(1e-6, "test", 1e-4)

    wrong = replace(honest.submission, model=place.trained.model.file)
    assert failed(through_files(wrong, place.retained(honest), "n1", calibrated=calibrated)) == "model"
    assert calls == []
    verdict = through_files(honest.submission, place.retained(honest), "n1", calibrated=calibrated)
    assert verdict.holds
    assert verdict.tolerance.source == "test"
    assert calls == [1]


def test_the_verdict_says_what_it_proves(place: Scene, honest: Proven) -> None:
    """A rate of next to nothing follows the procedure, forgets nothing, and is told from an exact claim."""
    idle = place.prove("n1", FineTune(epochs=1, lr=1e-30))
    verdict = through_files(idle.submission, place.retained(idle), "n1")
    assert verdict.holds
    assert verdict.claim == "empirical"
    assert "only that this procedure was followed" in verdict.proves
    assert any("changed nothing" in note for note in verdict.degraded)
    tuned = place.prove("n1", FineTune(epochs=1))
    assert not any(
        "changed nothing" in n for n in through_files(tuned.submission, place.retained(tuned), "n1").degraded
    )
    assert through_files(honest.submission, place.retained(honest), "n1").claim == "exact"
    noisy = place.prove("n1", NoisyFineTuning(steps=5, epochs=1), b"s" * 32)
    verdict = through_files(noisy.submission, place.retained(noisy), "n1")
    assert verdict.claim == "certified"
    assert "whoever knows the noise" in verdict.proves
    wrong = through_files(noisy.submission, place.retained(noisy), "other")
    assert wrong.proves.startswith("nothing")


def test_an_empty_verdict_does_not_hold() -> None:
    assert not Verdict((), 0, (), 0, 0.0, BYTES).holds
