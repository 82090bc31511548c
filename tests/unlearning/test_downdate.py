"""Sums that a record leaves without a trace: bytes of training from scratch, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from expunge.auditing import Accuracy
from expunge.errors import ExpungeError
from expunge.journey import carry_out
from expunge.journey.desk import Desk
from expunge.journey.workspace import Workspace
from expunge.networks import RandomFeatures
from expunge.records import Records
from expunge.training import LeastSquares, MemoryCheckpoints, Recipe, Trained, train
from expunge.training.head import fixed_features, read_head
from expunge.training.least_squares import GRID, SUMS, Sums, sums_of
from expunge.unlearning import Certified, CertifiedHead, ClaimKind, Downdate, prepare, unlearn

SQUARES = Recipe(network=RandomFeatures(40), optimiser=LeastSquares(l2=1e-3), epochs=1)


@pytest.fixture(scope="module")
def summed(few: Records) -> Trained:
    return train(SQUARES, few)


def test_deletions_leave_the_bytes_of_training_from_scratch(few: Records, summed: Trained) -> None:
    trained, records = summed, few
    for owner in sorted(set(few.train.owners))[:3]:
        result = unlearn(trained, records, records.owned_by(owner), Downdate())
        assert result.claim.kind is ClaimKind.EXACT
        assert result.cost.gradient_evaluations == len(prepare(trained, records, records.owned_by(owner)).forgotten)
        trained, records = result.trained, result.records
        scratch = train(SQUARES, records)
        assert trained.model.file == scratch.model.file
        kept, fresh = (each.checkpoints.load(SUMS) or {} for each in (trained, scratch))
        assert all(torch.equal(kept[name], fresh[name]) for name in ("second", "first", "count"))


def test_the_head_is_the_least_squares_optimum(few: Records, summed: Trained) -> None:
    """Against plain ridge regression on the features as they are: the grid costs the features' fourth digit."""
    part = few.train
    seen = fixed_features(summed.model.module(), part.features)
    marks = torch.nn.functional.one_hot(part.targets, few.classes).double()
    matrix = seen.T @ seen / len(seen) + 1e-3 * torch.eye(seen.shape[1], dtype=torch.float64)
    naive = torch.linalg.solve(matrix, seen.T @ marks / len(seen))
    assert (read_head(summed.model.constituents[0] or {}, "1") - naive).abs().max() < 2e-3
    right = (summed.model.predict(few.test.features) == few.test.targets).float().mean()
    assert right > 0.75


def test_sums_are_whole_numbers_in_any_order(few: Records, summed: Trained) -> None:
    part, module = few.train, summed.model.module()
    sums = sums_of(module, part.features, part.targets, few.classes)
    turned = sums_of(module, part.features.flip(0), part.targets.flip(0), few.classes)
    assert torch.equal(sums.second, sums.second.round())
    assert torch.equal(sums.second, turned.second)
    assert torch.equal(sums.first, turned.first)
    cuts = slice(0, 7), slice(7, None)
    half = [sums_of(module, part.features[rows], part.targets[rows], few.classes) for rows in cuts]
    assert torch.equal(sums.minus(half[0]).second, half[1].second)
    with pytest.raises(ExpungeError) as caught:
        sums_of(torch.nn.Sequential(_Large(), torch.nn.Linear(64, 10)), part.features, part.targets, few.classes)
    assert caught.value.code == "too-large"
    assert GRID**2 * 100 * 10_000_000 < 2**53


class _Large(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 1e8 * (1 + x.flatten(1))


def test_sums_of_another_model_and_other_heads_are_refused(few: Records, summed: Trained, plain_model: Trained) -> None:
    forget = few.train.ids[:3]
    sums = Sums.from_state(summed.checkpoints.load(SUMS) or {})
    wrong = MemoryCheckpoints(states={SUMS: replace(sums, first=sums.first + 1024.0).to_state()})
    for trained in (plain_model, replace(summed, checkpoints=wrong), replace(summed, checkpoints=MemoryCheckpoints())):
        with pytest.raises(ExpungeError) as caught:
            unlearn(trained, few, forget, Downdate())
        assert caught.value.code == "method-unfit"
    with pytest.raises(ExpungeError):
        unlearn(summed, few, forget, CertifiedHead())


def test_a_workspace_takes_it_by_default_and_for_a_wish_of_epsilon(
    few: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One audit in place of six: the choice of a method hangs on none of them."""
    monkeypatch.setattr(carry_out, "audits_for", lambda *_: ((Accuracy(),), ()))
    workspace = Workspace.create(tmp_path / "ws", few, SQUARES, "few")
    workspace.train()
    desk, owners = Desk(workspace), sorted(set(few.train.owners))
    for owner, wish in ((owners[0], None), (owners[1], Certified())):
        done = desk.forget(owner=owner, method=wish)
        assert (done["method"], done["claim"]) == ("downdate", "exact")
        assert done["epsilon"] is None
