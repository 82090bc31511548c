"""What rides along with honest work: the wrong person, more in a file than a network, a claim beyond the run's."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save

sys.path.insert(0, str(Path(__file__).parent.parent / "verification"))

from verified_scenes import RECIPE, Scene, failed, scene, through_files

from expunge.ledger.safetensors_check import check
from expunge.networks import State
from expunge.records import Records
from expunge.training import Sharding
from expunge.unlearning import ClaimKind, OutputPerturbation, Sharded
from expunge.verification import Proven, SpotCheck, Tolerance


def test_another_persons_records_in_the_place_of_the_ones_asked_for_are_found(place: Scene, honest: Proven) -> None:
    """An honest run for the wrong person: all roots and segments are right, and the person is still in the data."""
    person, gone = place.records.train.owners[80], place.records.train.owners[0]
    assert not set(place.records.owned_by(person)) & place.forget
    kept = place.retained(honest)
    assert failed(through_files(honest.submission, kept, "n1", owners=(person,))) == "retained data"
    assert through_files(honest.submission, kept, "n1", owners=(gone,)).holds
    unnamed = through_files(honest.submission, kept, "n1")
    assert any("Whose records" in note for note in unnamed.degraded)


def test_a_shard_that_stays_carries_nothing_along(few: Records) -> None:
    """A tensor that no network asks for, in a shard that is not trained again, would be deployed with it."""
    owner = few.train.owners[0]
    own = scene(few, [owner], replace(RECIPE, epochs=2, sharding=Sharding(shards=3)))
    (touched,) = own.commit(Sharded()).touched
    old = own.trained.model
    states = list(old.constituents)
    states[touched - 1] = {**(states[touched - 1] or {}), "kept": few.features[:1].clone()}
    laden = replace(own, trained=replace(own.trained, model=replace(old, constituents=tuple(states))))
    for each, wanted in ((own, ""), (laden, "schedule")):
        done = each.prove("n1", Sharded())
        assert failed(through_files(done.submission, each.retained(done), "n1", owners=(owner,))) == wanted


LADEN: dict[str, Callable[[State, dict[str, str]], bytes]] = {
    "a tensor more": lambda tensors, header: save({**tensors, "0/more": torch.ones(3)}, header),
    "double precision": lambda tensors, header: save({name: t.double() for name, t in tensors.items()}, header),
    "metadata": lambda tensors, header: save(tensors, {**header, "note": "records"}),
    "as it is": save,
}


@pytest.mark.parametrize("name", LADEN)
def test_a_tolerance_is_for_numbers_and_not_for_what_else_a_file_holds(place: Scene, name: str) -> None:
    done = place.prove("n1", OutputPerturbation(epochs=1), b"s" * 32)
    file = done.submission.model
    given = replace(done.submission, model=LADEN[name](load_tensors(file), dict(check(file).metadata)))
    loose = SpotCheck(seed=1, tolerance=Tolerance(1e-6, "test", 1e-4))
    verdict = through_files(given, place.retained(done), "n1", loose)
    assert failed(verdict) == ("" if name == "as it is" else "replay")


def test_a_receipt_claims_no_more_than_the_replay_finds(place: Scene, honest: Proven) -> None:
    """Epsilon, delta and the secret share are what the run had, not what the receipt says."""
    method = OutputPerturbation(epsilon=2.0, epochs=1)
    done = place.prove("n1", method, b"s" * 32)
    verdict = through_files(done.submission, place.retained(done), "n1")
    claim = done.unlearned.claim
    assert verdict.guarantee == (claim.epsilon, claim.delta)
    assert verdict.covers(claim.kind, claim.epsilon, claim.delta)
    assert verdict.covers(ClaimKind.EMPIRICAL, None, None)
    more = (
        (ClaimKind.CERTIFIED, 0.5, claim.delta),
        (ClaimKind.CERTIFIED, claim.epsilon, 1e-9),
        (ClaimKind.EXACT, None, None),
    )
    assert not any(verdict.covers(*each) for each in more)
    drawable = place.prove("n1", method, b"")
    verdict = through_files(drawable.submission, place.retained(drawable), "n1")
    assert (verdict.claim, verdict.guarantee) == (ClaimKind.EMPIRICAL, None)
    assert not verdict.covers(claim.kind, claim.epsilon, claim.delta)
    verdict = through_files(honest.submission, place.retained(honest), "n1")
    assert verdict.covers(ClaimKind.EXACT, None, None)
    assert not verdict.covers(ClaimKind.CERTIFIED, 1.0, 1e-5)
