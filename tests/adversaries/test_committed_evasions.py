"""Ways around the committed schedule that a dishonest provider would try through files; each is found, each time."""

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

sys.path.insert(0, str(Path(__file__).parent.parent / "verification"))

from verified_scenes import RECIPE, Scene, failed, scene, through_files

from expunge.adversaries.providers import FakeSegments, LateMomentum, Reordered, StartingMomentum
from expunge.adversaries.providers.contract import Handed, trained_on
from expunge.errors import AttackSuspected, ExpungeError
from expunge.networks import MLP, Imported
from expunge.records import Records, load
from expunge.training import Adam, BatchStream, Cosine, Recipe, Sharding, Snapshot
from expunge.unlearning import FineTune, Retrain, Sharded
from expunge.verification import (
    Proof,
    Replayer,
    Retained,
    SpotCheck,
    Tolerance,
    provable,
    prove,
    submission_from_bytes,
    submission_to_bytes,
)


@pytest.mark.parametrize(
    "attack", [FakeSegments(), StartingMomentum(), LateMomentum()], ids=lambda a: a.describe().name
)
def test_momentum_and_jumps_are_found_through_files(place: Scene, attack: Any) -> None:
    retained = place.retained(place.prove("n0"))
    for number in range(5):
        nonce = f"n{number + 1}"
        case = place.case(place.commit(), nonce)
        handed: Handed = attack.run(case)
        verdict = through_files(handed.submission(case), retained, nonce, SpotCheck(seed=number))
        assert not verdict.holds
        assert failed(verdict) in ("start", "replay")


def test_the_late_momentum_is_a_lie_that_only_the_segment_before_tells(place: Scene) -> None:
    """Without the predecessor of a ranked segment, and with nothing drawn, the jump replays to the byte."""
    retained = place.retained(place.prove("n0"))
    case = place.case(place.commit(), "n1")
    given = LateMomentum().run(case).submission(case)
    everything = SpotCheck(share=1.0, seed=0).verify(given, retained, "n1")
    wrong = [each for each in everything.replayed if not each.identical]
    assert not everything.holds
    assert len(wrong) == 1


def test_another_order_of_the_retained_records_is_refused(place: Scene) -> None:
    retained = place.retained(place.prove("n0"))
    case = place.case(place.commit(), "n1")
    attack = Reordered(orders=2)
    given, order = attack.grind(case)
    shuffled = Retained(
        retained.records.select(_with_test(retained.records, order)),
        tuple(retained.salts[row] for row in _with_test(retained.records, order)),
        tuple(retained.places[row] for row in _with_test(retained.records, order)),
        retained.size,
    )
    verdict = SpotCheck(seed=0).verify(given.submission(case), shuffled, "n1")
    assert not verdict.holds
    assert failed(verdict) == "retained data"


def _with_test(records: Records, order: list[int]) -> list[int]:
    train = [row for row, part in enumerate(records.split) if part == "train"]
    test = [row for row, part in enumerate(records.split) if part == "test"]
    return [*(train[row] for row in order), *test]


def test_honest_adam_passes_through_files(few: Records) -> None:
    """Tensors come back from a file in another order; a displacement must not hang on it."""
    own = scene(few, [few.train.owners[0]], replace(RECIPE, optimiser=Adam(lr=0.01), epochs=3))
    proven = own.prove("n1")
    for number in range(3):
        assert through_files(proven.submission, own.retained(proven), "n1", SpotCheck(seed=number)).holds
    read = submission_from_bytes(submission_to_bytes(proven.submission))
    assert read.proof.displacements == pytest.approx(proven.submission.proof.displacements)


def test_a_recipe_that_names_code_is_not_built(place: Scene, tmp_path: Path) -> None:
    given = place.prove("n1").submission
    mark = tmp_path / "ran"
    evil = Imported("os:system", {"command": f"touch {mark}"})
    for bad in (
        replace(given, proof=replace(given.proof, recipe=replace(given.proof.recipe, network=evil))),
        replace(given, commitment=replace(given.commitment, recipe=replace(RECIPE, network=evil).to_json())),
    ):
        with pytest.raises(AttackSuspected) as caught:
            submission_from_bytes(submission_to_bytes(bad), ("expunge.networks:MLP",))
        assert caught.value.code == "bad-proof"
        assert "os:system" in str(caught.value)
    assert not mark.exists()


def test_no_segments_and_coarse_intervals_prove_nothing(place: Scene) -> None:
    proven = place.prove("n1")
    retained = place.retained(proven)
    with pytest.raises(ExpungeError):
        replace(proven.submission.commitment, every=-1)
    none = replace(proven.submission, proof=replace(proven.submission.proof, tracks=()))
    assert not through_files(none, retained, "n1").holds
    coarse = place.commit(every=8)
    done = prove(Retrain(), place.deletion, coarse, "n1")
    verdict = through_files(done.submission, retained, "n1")
    assert verdict.holds
    assert verdict.drawn >= 4
    assert any("more work than was allowed" in note for note in verdict.degraded)


def test_classes_are_committed(place: Scene) -> None:
    proven = place.prove("n1")
    kept = place.retained(proven)
    wider = replace(kept, records=replace(kept.records, classes=11))
    verdict = SpotCheck(seed=0).verify(proven.submission, wider, "n1")
    assert failed(verdict) == "retained data"


def test_a_recipe_that_moves_the_owner_to_another_shard_is_refused(few: Records) -> None:
    recipe = replace(RECIPE, sharding=Sharding(shards=3), epochs=2)
    own = scene(few, [few.train.owners[0]], recipe)
    honest = own.prove("n1", Sharded())
    assert through_files(honest.submission, own.retained(honest), "n1", owners=[few.train.owners[0]]).holds
    plain = json.loads(json.dumps(honest.submission.commitment.recipe))
    plain["sharding"]["salt_seed"] = plain["sharding"].get("salt_seed", 0) + 1
    lying = replace(honest.submission, commitment=replace(honest.submission.commitment, recipe=plain))
    verdict = SpotCheck(seed=0).verify(lying, own.retained(honest), "n1", owners=[few.train.owners[0]])
    assert not verdict.holds
    assert "another recipe" in next(check.message for check in verdict.checks if check.holds is False)


def test_optimiser_state_counts_where_a_tolerance_rules(place: Scene) -> None:
    """A claim of another platform used to free every momentum."""
    case = place.case(place.commit(), "n1")
    retained = place.retained(place.prove("n0"))
    given = LateMomentum().run(case).submission(case)
    loose = SpotCheck(share=1.0, seed=0, tolerance=Tolerance(1e-5, "test", 1e-3))
    assert not loose.verify(given, retained, "n1").holds
    steered = SpotCheck(share=1.0, seed=0, tolerance=Tolerance(121.0, "steered", 1e-3))
    verdict = steered.verify(place.prove("n1").submission, retained, "n1")
    assert not verdict.holds
    assert next(check.name for check in verdict.checks if check.holds is None) == "platform"


def table(folder: Path) -> Records:
    """Two owners; whatever is numeric is scaled, and only the second owner's records are red or of class c."""
    rows = [f"a,{number},{'blue' if number % 2 else 'green'},{'x' if number % 3 else 'y'}" for number in range(40)]
    rows += [f"b,{900 + number},red,z" for number in range(6)]
    file = folder / "table.csv"
    file.write_text("\n".join(["owner,size,colour,target", *rows]) + "\n")
    return load(file, target="target", owner="owner")


def test_an_honest_deletion_that_takes_a_class_and_a_category_along_holds(tmp_path: Path) -> None:
    """Shape and classes are committed to as the retained records alone call for."""
    own = scene(table(tmp_path), ["b"], replace(RECIPE, epochs=4))
    proven = own.prove("n1")
    kept = proven.unlearned.records
    assert kept.classes < own.records.classes
    assert kept.shape != own.records.shape
    verdict = through_files(proven.submission, own.retained(proven), "n1")
    assert verdict.holds, verdict.checks


def test_a_column_preparation_from_forgotten_records_is_refused(tmp_path: Path) -> None:
    """The scale of a column remembers: everything else about this submission is honest work on the old scale."""
    own = scene(table(tmp_path), ["b"], replace(RECIPE, epochs=4))
    stale = own.records.without(own.forget)
    with pytest.MonkeyPatch.context() as patch:  # the provider's own process: it does as it likes
        patch.setattr(provable, "grounds", lambda method, deletion: stale)
        proven = own.prove("n1")
    retained = Retained.after(own.records, own.salts, stale)
    verdict = through_files(proven.submission, retained, "n1")
    assert failed(verdict) == "retained data"
    assert "preparation" in next(check.message for check in verdict.checks if check.holds is False)


def test_weights_to_begin_with_are_drawn(place: Scene) -> None:
    """A run from the original weights replays to the byte, every step of it."""
    honest = place.prove("n1")
    case = place.case(place.commit(), "n1")
    rows = BatchStream(case.stage, case.recipe.batch_size, case.recipe.seed).block(0, case.steps)
    first = Snapshot(0, case.model.constituents[0] or {}, {})
    snapshots = trained_on(case, case.retained, lambda module: rows, snapshot=first)
    track = replace(honest.submission.proof.tracks[0], snapshots=snapshots)
    proof = replace(honest.submission.proof, tracks=(track,))
    model = replace(honest.unlearned.trained.model, constituents=(snapshots[-1].state,))
    given = replace(honest.submission, proof=proof, model=model.file)
    assert all(each.identical for each in Replayer(case.retained).all(proof))
    assert failed(through_files(given, place.retained(honest), "n1")) == "start"


@pytest.mark.parametrize("change", ["preparation", "ids", "bound"])
def test_what_else_a_provider_may_change(place: Scene, change: str) -> None:
    proven = place.prove("n1")
    kept = place.retained(proven)
    if change == "ids":
        given = replace(
            proven.submission, proof=replace(proven.submission.proof, ids=proven.submission.proof.ids[::-1])
        )
        assert not through_files(given, kept, "n1").holds
    elif change == "bound":
        tuned = place.prove("n1", FineTune(epochs=1))
        start = tuned.submission.start or b""
        assert hashlib.sha256(start).hexdigest() == tuned.submission.commitment.start
        assert not through_files(replace(tuned.submission, start=proven.submission.model), kept, "n1").holds
    else:
        swapped = replace(kept.records, targets=kept.records.targets.flip(0))
        assert failed(SpotCheck().verify(proven.submission, replace(kept, records=swapped), "n1")) == "retained data"


def test_the_widest_jump_is_ranked_first(place: Scene) -> None:
    case = place.case(place.commit(), "n1")
    attack = FakeSegments(seed=3)
    proof = attack.run(case).submission(case).proof
    (faked,) = attack.places(case)
    where, _ = SpotCheck(seed=0, ends=0, early=0, least=0, path=0).choose(proof, case.recipe, 3)
    assert (0, faked) in where or (0, faked + 1) in where


def test_the_ranking_leads_with_the_largest_over_the_rates(place: Scene) -> None:
    """Against distances taken tensor by tensor: one jump early, and a smaller one late, where the rate is small."""
    proof, recipe, moved = two_jumps(place)
    rated = [far / Cosine().factor(step, len(moved)) for step, far in enumerate(moved)]
    by_rate = rated.index(max(rated))
    assert by_rate > len(moved) - 7
    where, drawn = SpotCheck(seed=0, ends=0, early=0, least=0, path=0).choose(proof, recipe, 3)
    assert where[:2] == [(0, by_rate), (0, by_rate - 1)]
    assert (len(where), drawn) == (3, 0)


def test_draws_along_the_path_meet_segments_by_how_far_they_and_the_next_went(place: Scene) -> None:
    """First draws against the shares of the path, taken tensor by tensor: a lie about momentum is one segment early."""
    proof, recipe, moved = two_jumps(place)
    how = SpotCheck(largest=0, ends=0, early=0, least=0, path=1)
    first = [replace(how, seed=number).choose(proof, recipe, 1)[0][0][1] for number in range(1000)]
    ways = [far + after for far, after in zip(moved, [*moved[1:], 0.0], strict=True)]
    for group in (range(18, 21), range(30, 60)):
        share = sum(ways[number] for number in group) / sum(ways)
        assert binomtest(sum(number in group for number in first), 1000, share).pvalue > 1e-3
    where, drawn = SpotCheck(seed=0).choose(proof, recipe, 11)
    assert len(set(where)) == len(where) == 11, "no segment is replayed twice"
    assert drawn == 4


def two_jumps(place: Scene) -> tuple[Proof, Recipe, list[float]]:
    """A proof in which two checkpoints lie apart, its recipe, and how far each segment moved."""
    honest = place.prove("n1").submission.proof
    (track,) = honest.tracks
    snapshots = list(track.snapshots)
    for number, size in ((20, 0.5), (len(snapshots) - 5, 0.2)):  # both sides of a moved checkpoint move
        state = {name: tensor + size for name, tensor in snapshots[number].state.items()}
        snapshots[number] = replace(snapshots[number], state=state)
    moved = list[float]()
    for before, after in pairwise(snapshots):
        squares = [(after.state[name] - before.state[name]).double().square().sum() for name in before.state]
        moved.append(float(sum(squares)) ** 0.5)
    proof = replace(honest, tracks=(replace(track, snapshots=tuple(snapshots)),))
    return proof, replace(honest.recipe, schedule=Cosine()), moved


def test_fields_of_other_types_are_one_line(place: Scene) -> None:
    changes: tuple[Callable[[Recipe], dict[str, Any]], ...] = (
        lambda recipe: {**recipe.to_json(), "epochs": "many"},
        lambda recipe: {**recipe.to_json(), "batch_size": None},
        lambda recipe: {**recipe.to_json(), "network": {"kind": "MLP", "hidden": "x"}},
        lambda recipe: {**recipe.to_json(), "optimiser": 3},
        lambda recipe: {**recipe.to_json(), "sharding": {"kind": "Sharding", "shards": []}},
    )
    proven = place.prove("n1")
    for change in changes:
        plain = change(replace(RECIPE, network=MLP((16,))))
        bad = replace(proven.submission, commitment=replace(proven.submission.commitment, recipe=plain))
        with pytest.raises(AttackSuspected, match="another form"):
            through_files(bad, place.retained(proven), "n1")
        assert not SpotCheck().verify(bad, place.retained(proven), "n1").holds
