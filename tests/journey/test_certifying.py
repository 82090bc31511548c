"""A certified deletion from request to receipt, the budget over a sequence, and the refusal."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from expunge.auditing import Accuracy
from expunge.errors import ExpungeError
from expunge.journey import carry_out, lookups
from expunge.journey.certifying import spent
from expunge.journey.desk import Desk
from expunge.journey.workspace import Workspace
from expunge.networks import RandomFeatures
from expunge.records import Records
from expunge.training import HeadSolver, Recipe
from expunge.unlearning import Certified, Retrain
from expunge.unlearning.accounting import compose, epsilon_of, mu_of
from expunge.unlearning.method import NOISE_OF_SYSTEM

HEAD = Recipe(network=RandomFeatures(24), optimiser=HeadSolver(l2=1e-2), epochs=25)


@pytest.fixture(scope="module")
def desk(few: Records, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One audit in place of six: budgets hang on none of them."""
    folder: Path = tmp_path_factory.mktemp("certified") / "ws"
    workspace = Workspace.create(folder, few, HEAD, "few")
    workspace.train()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(carry_out, "audits_for", lambda *_: ((Accuracy(),), ()))
        yield Desk(workspace)


def test_the_budget_is_carried_through_receipts_and_reset_by_retraining(desk: Desk, few: Records) -> None:
    owners = sorted(set(few.train.owners))
    wish = Certified(requests=2)
    share = mu_of(1.0, 1e-5) / 2**0.5
    for number in (1, 2):
        done = desk.forget(owner=owners[number], method=wish)
        assert done["method"] == "certified-head"
        assert done["epsilon"] == pytest.approx(epsilon_of(compose([share] * number), 1e-5), rel=1e-6)
        with desk.workspace.store() as store:
            assert spent(store, 1e-5) == pytest.approx(done["epsilon"])
    assert done["budget_left"] == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(ExpungeError) as caught:
        desk.forget(owner=owners[3], method=wish)
    assert caught.value.code == "budget-spent"
    assert desk.forget(owner=owners[3], method=Retrain())["claim"] == "exact"
    with desk.workspace.store() as store:
        assert spent(store, 1e-5) == 0.0


def test_noise_in_a_workspace_cannot_be_drawn_again(desk: Desk) -> None:
    with desk.workspace.store() as store:
        closed = [line["id"] for line in lookups.listed(store) if line["method"] == "certified-head"]
        records = [lookups.shown(store, request)["steps"]["unlearn"] for request in closed]
    assert records
    assert all(NOISE_OF_SYSTEM in record["claim"]["assumptions"] for record in records)
    assert all(not record["degraded"] for record in records)
    assert all(record["claim"]["theorem"] and record["claim"]["assumptions"] for record in records)


def test_a_network_that_cannot_be_certified_is_refused_with_advice(few: Records, tmp_path: Path) -> None:
    recipe = Recipe(epochs=1)
    workspace = Workspace.create(tmp_path / "ws", few, recipe, "few")
    workspace.train()
    with pytest.raises(ExpungeError) as caught:
        Desk(workspace).forget(owner=few.train.owners[0], method=Certified())
    assert caught.value.code == "method-unfit"
    assert "retrain" in caught.value.hint
    assert "--certifiable" in caught.value.hint
