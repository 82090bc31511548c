"""Proofs: the writer, the file, replay on one platform and on others."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from verified_scenes import RECIPE, Scene

from expunge.errors import AttackSuspected, ProgrammerError
from expunge.training import Snapshot, courses
from expunge.verification import (
    Proof,
    Replayer,
    Reproducing,
    Tolerance,
    bytes_per_step,
    calibrate,
    proof_from_bytes,
    proof_to_bytes,
    prove_courses,
)
from expunge.verification.replay import MARGIN


@pytest.fixture(scope="module")
def proof(the_scene: Scene) -> Proof:
    assert the_scene.original is not None
    return the_scene.original.thinned(10)


def test_the_writer_changes_no_bit_of_the_model(the_scene: Scene) -> None:
    part = the_scene.records.train
    for every in (1, 7, 10_000):
        proof, result, _ = prove_courses(RECIPE, part, courses(RECIPE, part), every=every)
        state = the_scene.trained.model.constituents[0]
        assert state is not None
        assert all(state[name].equal(value) for name, value in (result.states[0] or {}).items())
        assert proof.steps == the_scene.case(the_scene.commit(), "n").original.steps
        assert [s.step for s in proof.tracks[0].snapshots] == [*range(0, proof.steps, every), proof.steps]
    with pytest.raises(ProgrammerError):
        prove_courses(RECIPE, part, courses(RECIPE, part), every=0)


def test_an_honest_proof_replays_to_the_byte(the_scene: Scene, proof: Proof) -> None:
    found = Replayer(the_scene.records.train).all(proof)
    assert len(found) == len(proof.segments)
    assert all(each.identical and each.error == 0 for each in found)
    whole = Reproducing(Tolerance(0, "bytes")).verify(proof, the_scene.records, ())
    assert whole.passes
    assert whole.work == 1
    some = Reproducing(Tolerance(0, "bytes"), top=1).verify(proof, the_scene.records, ())
    assert 0 < some.work < 0.7


def test_a_changed_weight_rate_row_or_optimiser_is_found_at_its_step(the_scene: Scene, proof: Proof) -> None:
    part = the_scene.records.train
    (track,) = proof.tracks
    broken = track.snapshots[2]
    for field in ("state", "optimiser"):
        tensors = dict(getattr(broken, field))
        name = next(iter(tensors))
        tensors[name] = tensors[name].clone()
        tensors[name].view(-1)[0] += 1e-6
        other = replace(broken, **{field: tensors})
        changed = replace(track, snapshots=(*track.snapshots[:2], other, *track.snapshots[3:]))
        found = Replayer(part).all(replace(proof, tracks=(changed,)))
        assert {each.number for each in found if not each.identical} == {1, 2}
    assert track.batches is not None
    rows = track.batches.clone()
    rows[25, 0] = (rows[25, 0] + 1) % len(part)
    found = Replayer(part).all(replace(proof, tracks=(replace(track, batches=rows),)))
    assert [each.number for each in found if not each.identical] == [2]
    slower = replace(proof, recipe=replace(RECIPE, optimiser=replace(RECIPE.optimiser, lr=0.0999)))
    assert not any(each.identical for each in Replayer(part).all(slower))


def test_a_proof_that_meets_the_forget_set_is_refused(the_scene: Scene, proof: Proof) -> None:
    verdict = Reproducing().verify(proof, the_scene.records, the_scene.forget)
    assert not verdict.passes
    assert verdict.meetings > 0


def test_other_threads_and_orders_stay_within_the_calibrated_tolerance(the_scene: Scene, proof: Proof) -> None:
    tolerance = calibrate(proof, the_scene.records.train, most=8)
    assert 0 < tolerance.value < MARGIN * 1e-6
    assert "honest replays" in tolerance.source
    assert all(each.passes(tolerance) for each in Replayer(the_scene.records.train, threads=2).all(proof))
    bare = replace(proof, tracks=tuple(replace(track, batches=None) for track in proof.tracks))
    with pytest.raises(ProgrammerError):
        calibrate(bare, the_scene.records.train)


def test_a_round_trip_through_another_process(tmp_path: Path, proof: Proof) -> None:
    file = tmp_path / "run.proof"
    file.write_bytes(proof_to_bytes(proof))
    script = (
        "import sys; from pathlib import Path; from expunge.verification import proof_from_bytes, proof_to_bytes\n"
        "data = Path(sys.argv[1]).read_bytes(); sys.exit(proof_to_bytes(proof_from_bytes(data)) != data)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(file)], check=False).returncode == 0
    again = proof_from_bytes(file.read_bytes())
    assert again.digests == proof.digests
    assert again.recipe == proof.recipe
    assert bytes_per_step(proof) == file.stat().st_size / proof.steps


def test_every_flipped_bit_is_found_and_named(proof: Proof) -> None:
    short = replace(proof, tracks=(replace(proof.tracks[0], snapshots=proof.tracks[0].snapshots[:3]),))
    data = proof_to_bytes(short)
    assert proof_from_bytes(data).digests == short.digests
    places = [*range(60), *range(60, len(data), 997), len(data) - 1]
    for place in places:
        for bit in (0, 7):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            with pytest.raises(AttackSuspected) as caught:
                proof_from_bytes(bytes(changed))
            assert caught.value.code == "bad-proof"
    flipped = bytearray(data)
    flipped[-1] ^= 1
    with pytest.raises(AttackSuspected, match="step 20"):
        proof_from_bytes(bytes(flipped))


@pytest.mark.parametrize("cut", [0, 5, 30, 100, 5000, -1])
def test_a_truncated_or_lengthened_proof_is_refused(proof: Proof, cut: int) -> None:
    data = proof_to_bytes(proof)
    with pytest.raises(AttackSuspected):
        proof_from_bytes(data[:cut])
    with pytest.raises(AttackSuspected):
        proof_from_bytes(data + b"x")


def test_seeds_of_63_bits_survive(proof: Proof) -> None:
    recipe = replace(proof.recipe, seed=2**62 + 1)
    assert proof_from_bytes(proof_to_bytes(replace(proof, recipe=recipe))).recipe == recipe


def test_the_interval_is_the_knob_of_the_size(the_scene: Scene) -> None:
    assert the_scene.original is not None
    sizes = [bytes_per_step(the_scene.original.thinned(every)) for every in (1, 4, 16)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 3 * sizes[1]
    assert isinstance(the_scene.original.tracks[0].snapshots[0], Snapshot)
