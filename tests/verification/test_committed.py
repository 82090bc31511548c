"""The committed schedule: honest runs of every kind pass, whatever is changed is a check that fails."""

from dataclasses import replace

import pytest
from verified_scenes import RECIPE, Scene, scene

from expunge.errors import OperatorError, ProgrammerError
from expunge.ledger import strict_json
from expunge.networks import MLP
from expunge.records import DataTree, Records, commitments
from expunge.training import SGD, Adam, Recipe, Sharding, Snapshot
from expunge.unlearning import (
    ClaimKind,
    FineTune,
    Langevin,
    Method,
    Newton,
    NoisyFineTuning,
    OutputPerturbation,
    Retrain,
    Sharded,
    unlearn,
)
from expunge.verification import (
    Commitment,
    Proof,
    SpotCheck,
    Submission,
    Tolerance,
    Verdict,
    commit,
    detection,
    drawn,
    proof_from_bytes,
    proof_to_bytes,
    prove,
)
from expunge.verification.schedule import noise_seed, schedule_seed
from expunge.verification.segments import displacement_bound


def failed(verdict: Verdict) -> list[str]:
    return [check.name for check in verdict.checks if check.holds is False]


def judge(the_scene: Scene, given: Submission, nonce: str = "n1", **more: object) -> Verdict:
    honest = the_scene.prove("n1")
    return SpotCheck(seed=1).verify(given, the_scene.retained(honest), nonce, **more)  # type: ignore[arg-type]


def test_an_honest_retraining_passes_at_a_tenth_of_the_work(the_scene: Scene) -> None:
    proven = the_scene.prove("n1")
    verdict = judge(the_scene, proven.submission, transcript=proven.submission.transcript)
    assert verdict.holds, verdict.checks
    assert verdict.demand() is verdict
    assert 0 < verdict.work <= 0.1
    assert verdict.would_find(0.1) == pytest.approx(1 - 0.9**verdict.drawn)
    direct = unlearn(the_scene.trained, the_scene.records, the_scene.forget)
    assert proven.unlearned.trained.model.file != direct.trained.model.file, "another seed: the drawn one"
    assert proven.unlearned.claim == direct.claim


METHODS = (
    (Retrain(), None),
    (Retrain(), Sharding(shards=4, slices=2)),
    (Sharded(), Sharding(shards=4, slices=2)),
    (FineTune(epochs=2), None),
    (FineTune(epochs=2), Sharding(shards=4)),
    (OutputPerturbation(epochs=1), None),
    (NoisyFineTuning(steps=5, epochs=1), None),
    (Newton(damping=1.0, noise=0.01), None),
)


@pytest.mark.parametrize(("method", "sharding"), METHODS)
def test_every_kind_of_method_is_proven_and_an_altered_model_is_found(
    small: Records, method: Method, sharding: Sharding | None
) -> None:
    owner = small.train.owners[0]
    place = scene(small, [owner], replace(RECIPE, sharding=sharding))
    proven = place.prove("n1", method, b"share")
    retained, check = place.retained(proven), SpotCheck(seed=1)
    verdict = check.verify(proven.submission, retained, "n1", owners=(owner,))
    assert verdict.holds, verdict.checks
    other = place.prove("n2", method, b"share")
    assert other.submission.model != proven.submission.model, "the draw decides"
    for wrong in (
        replace(proven.submission, model=other.submission.model),
        replace(other.submission, nonce="n1"),
        replace(proven.submission, share=b"other"),
        replace(proven.submission, model=place.trained.model.file),
    ):
        assert not check.verify(wrong, retained, "n1", owners=(owner,)).holds


def test_without_a_secret_share_noise_certifies_nothing(small: Records) -> None:
    place = scene(small, [small.train.owners[0]], RECIPE)
    claims = [place.prove("n1", OutputPerturbation(epochs=1), share).unlearned.claim for share in (b"", b"s" * 32)]
    assert [claim.kind for claim in claims] == [ClaimKind.EMPIRICAL, ClaimKind.CERTIFIED]
    assert claims[0].epsilon is None
    assert any("verifier" in sentence for sentence in claims[1].assumptions)


def test_a_shard_left_as_it_was_is_found_by_who_knows_the_owner(small: Records) -> None:
    sharding = Sharding(shards=4)
    owner = small.train.owners[0]
    place = scene(small, [owner], replace(RECIPE, sharding=sharding))
    honest = place.commit(Sharded())
    shard = sharding.place(owner)[0]
    assert honest.touched == (shard,)
    lie = replace(honest, touched=((shard + 1) % 4,))
    proven = prove(Sharded(), place.deletion, lie, "n1")
    retained = place.retained(proven)
    assert failed(SpotCheck().verify(proven.submission, retained, "n1", owners=(owner,))) == ["schedule"]
    alone = SpotCheck().verify(proven.submission, retained, "n1")
    assert alone.holds
    assert any("owners" in note for note in alone.degraded)


def test_whatever_is_changed_fails_the_check_that_names_it(the_scene: Scene) -> None:
    proven = the_scene.prove("n1")
    given, retained = proven.submission, the_scene.retained(proven)
    (track,) = given.proof.tracks

    def changed(**parts: object) -> Submission:
        return replace(given, proof=replace(given.proof, tracks=(replace(track, **parts),)))  # type: ignore[arg-type]

    cases = {
        "draw": replace(given, nonce="n9"),
        "transcript": changed(snapshots=(*track.snapshots[:5], track.snapshots[6], *track.snapshots[6:])),
        "deletion": replace(given, commitment=replace(given.commitment, old_root="00" * 32)),
        "retained data": replace(given, commitment=the_scene_with_less(the_scene)),
    }
    for name, wrong in cases.items():
        verdict = SpotCheck().verify(wrong, retained, "n1", transcript=given.transcript)
        assert failed(verdict) == [name], verdict.checks
        assert not verdict.holds
    assert failed(SpotCheck().verify(changed(snapshots=track.snapshots[:-2]), retained, "n1")) == ["schedule"]
    assert failed(SpotCheck().verify(changed(seed=5), retained, "n1")) == ["schedule"]
    stranger = replace(retained, salts=(b"x" * 32, *retained.salts[1:]))
    assert failed(SpotCheck().verify(given, stranger, "n1")) == ["retained data"]
    swapped = SpotCheck().verify(given, retained, "n1", deployed=the_scene.trained.model.file)
    assert failed(swapped) == ["model"]


def the_scene_with_less(the_scene: Scene) -> Commitment:
    """A commitment to a deletion of one record only."""
    fewer = replace(the_scene.deletion, forget=frozenset(sorted(the_scene.forget)[:1]))
    return commit(Retrain(), fewer, the_scene.tree)


def with_third(given: Submission, snapshot: Snapshot) -> Submission:
    (track,) = given.proof.tracks
    snapshots = (*track.snapshots[:3], snapshot, *track.snapshots[4:])
    return replace(given, proof=replace(given.proof, tracks=(replace(track, snapshots=snapshots),)))


def test_forged_bytes_never_raise(the_scene: Scene) -> None:
    proven = the_scene.prove("n1")
    given, retained = proven.submission, the_scene.retained(proven)
    (track,) = given.proof.tracks
    strange = track.snapshots[3].state
    for state in (
        {},
        {name: value.double() for name, value in strange.items()},
        {n: v[:1] for n, v in strange.items()},
    ):
        bad = replace(track.snapshots[3], state=state)
        assert not SpotCheck(share=1).verify(with_third(given, bad), retained, "n1").holds
    bias = strange["1.bias"].clone()
    for optimiser in ({}, {"0/step": bias}, {"99/momentum_buffer": bias}, {"x": bias}):
        bad = replace(track.snapshots[3], optimiser=optimiser)
        assert not SpotCheck(share=1).verify(with_third(given, bad), retained, "n1").holds
    for recipe in ({"kind": "Recipe", "network": {"kind": "Popen"}, "seed": 1}, {"kind": "MLP", "seed": 0}):
        odd = replace(given, commitment=replace(given.commitment, recipe=recipe))
        assert not SpotCheck().verify(odd, retained, "n1").holds


def test_the_draw_depends_on_root_nonce_and_share() -> None:
    root = "ab" * 32
    known = {drawn(root, "n", b"s"), drawn(root, "ns"), drawn(root, "n"), drawn("cd" * 32, "n"), drawn(root, "m")}
    assert len(known) == 5
    with pytest.raises(OperatorError):
        drawn(root, "")


def test_seeds_of_a_draw_are_numbers_that_a_receipt_can_name() -> None:
    for number in range(20):
        draw = drawn("ab" * 32, f"n{number}", b"s")
        seeds = [schedule_seed(draw), noise_seed(draw)]
        assert strict_json.loads(strict_json.canonical(seeds)) == seeds


def test_a_commitment_survives_json_and_binds_every_field(the_scene: Scene) -> None:
    commitment = the_scene.commit()
    assert Commitment.from_json(commitment.to_json()).digest == commitment.digest
    assert commitment.joins
    others = {"every": 99, "root": "00" * 32, "touched": (1,), "share": "00" * 32, "start": "aa" * 32, "classes": 11}
    others |= {"preparation": "00" * 32}
    for name, value in others.items():
        assert replace(commitment, **{name: value}).digest != commitment.digest  # type: ignore[arg-type]
    with pytest.raises(ProgrammerError):
        Commitment.from_json({"root": 1})
    plain = commitment.to_json()
    for name, bad in [
        ("root", "zz" * 32),
        ("every", 0),
        ("every", -1),
        ("every", True),
        ("touched", [{}]),
        ("touched", [1, 0]),
        ("size", 2.0),
        ("recipe", []),
        ("shape", "8"),
    ]:
        with pytest.raises(ProgrammerError):
            Commitment.from_json({**plain, name: bad})


def test_a_proof_file_serves_the_verifier(the_scene: Scene) -> None:
    proven = the_scene.prove("n1")
    read = proof_from_bytes(proof_to_bytes(proven.submission.proof))
    given = replace(proven.submission, proof=read)
    assert given.transcript == proven.submission.transcript
    assert judge(the_scene, given).holds


def test_the_draw_of_segments_meets_the_formula(the_scene: Scene) -> None:
    """1,000 draws against the exact chance without repetition, which is never below 1 - (1 - f)^q."""
    from scipy.stats import binomtest, hypergeom

    proof = the_scene.prove("n1").submission.proof
    everything = proof.segments
    faked = set(everything[5:60:5])
    plain = SpotCheck(largest=0, path=0, ends=0, early=0, least=0)
    found = 0
    for number in range(1000):
        where, count = replace(plain, seed=number).choose(proof, proof.recipe, 10)
        assert count == len(set(where)) == 10
        found += not faked.isdisjoint(where)
    exact = 1 - float(hypergeom.pmf(0, len(everything), len(faked), 10))
    assert detection(len(faked) / len(everything), 10) <= exact
    assert binomtest(found, 1000, exact).pvalue > 1e-3


def test_a_jump_is_always_replayed(the_scene: Scene) -> None:
    proof = the_scene.prove("n1").submission.proof
    (track,) = proof.tracks
    far = {name: value + 0.5 for name, value in track.snapshots[70].state.items()}
    jumped = replace(
        track, snapshots=(*track.snapshots[:70], replace(track.snapshots[70], state=far), *track.snapshots[71:])
    )
    where, _ = SpotCheck(path=0, ends=0, early=0, least=0, seed=3).choose(
        replace(proof, tracks=(jumped,)), proof.recipe, 4
    )
    assert (0, 69) in where or (0, 70) in where


@pytest.mark.parametrize("optimiser", [Adam(lr=0.01), Adam(lr=0.01, weight_decay=0.1), SGD(lr=0.1)])
def test_honest_segments_stay_within_the_displacement_bound(small: Records, optimiser: Adam | SGD) -> None:
    ball = 1.5 if isinstance(optimiser, SGD) else None
    place = scene(small, [small.train.owners[0]], Recipe(MLP((16,)), optimiser, epochs=3, batch_size=16, radius=ball))
    proof = place.prove("n1").submission.proof
    for where, moved in proof.displacements.items():
        assert moved <= displacement_bound(proof, proof.recipe, where) < float("inf")


def test_too_few_segments_are_said_to_be_too_few(the_scene: Scene) -> None:
    commitment = the_scene.commit(every=1000)
    proven = prove(Retrain(), the_scene.deletion, commitment, "n1")
    verdict = SpotCheck().verify(proven.submission, the_scene.retained(proven), "n1")
    assert verdict.holds
    assert verdict.work == pytest.approx(1)
    assert verdict.degraded


def test_a_proof_of_one_thread_passes_under_two_at_a_tolerance(the_scene: Scene) -> None:
    proven = the_scene.prove("n1")
    how = SpotCheck(threads=2, tolerance=Tolerance(1e-5, "test", 1e-3), seed=1)
    assert how.verify(proven.submission, the_scene.retained(proven), "n1").holds


def test_methods_that_need_the_forgotten_records_are_refused(the_scene: Scene) -> None:
    with pytest.raises(ProgrammerError):
        the_scene.commit(Langevin())


def test_tables_are_proven_under_the_preparation_of_what_is_left(the_scene: Scene) -> None:
    assert isinstance(the_scene.prove("n1").submission.proof, Proof)
    salts = the_scene.salts
    assert DataTree(commitments(the_scene.records, salts)).root.hex() == the_scene.commit().old_root
