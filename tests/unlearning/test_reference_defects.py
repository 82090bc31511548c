"""The defects of the public reference code, by number: ours has none of them.

4 (SNIP without the weight) is in `tests/training/test_pruning.py`, 5 (a class's row wiped by chance) in
`test_empirical.py`, and so is the first half of 1 (the recursion against the explicit inverse).
"""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

import expunge
from expunge.auditing import ConfidenceMIA
from expunge.auditing.confidence_mia import _draw
from expunge.auditing.outputs import Outputs
from expunge.records import Records
from expunge.studies.sparsity_ground import Ground as StudyGround
from expunge.studies.sparsity_ground import at_random
from expunge.studies.sparsity_scene import Pick, Scene, carried
from expunge.training import Trained
from expunge.unlearning import FineTune, FisherForgetting, Influence, L1Sparse, prepare, unlearn
from expunge.unlearning.influence import woodbury_inverse


@pytest.mark.parametrize("count", [400, 1500])
def test_1_and_2_the_inverse_takes_every_gradient_and_recycles_none(count: int) -> None:
    """A recycled vector stays parallel to the first gradient; a cap at 1,000 would miss the last 500 here."""
    rows = torch.randn(count, 12, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    rows[1000:] *= 5
    rhs = torch.ones(12, dtype=torch.float64)
    exact = torch.linalg.solve(rows.T @ rows / count + 1e-2 * torch.eye(12, dtype=torch.float64), rhs)
    found = woodbury_inverse(rows, 1e-2, rhs)
    torch.testing.assert_close(found, exact, rtol=1e-6, atol=1e-9)
    assert (
        abs(float(torch.nn.functional.cosine_similarity(woodbury_inverse(rows, 1e-2, rows[0]), rows[0], dim=0))) < 0.999
    )


def test_1_the_factorisation_is_the_recursion() -> None:
    """Rank by rank, with F_{k-1}^-1 g formed for each new gradient: the same answer and the same denominators."""
    rows = torch.randn(20, 30, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    rhs, inverse, denominators = torch.ones(30, dtype=torch.float64), torch.eye(30, dtype=torch.float64) / 1e-2, []
    for slope in rows:
        turned = inverse @ slope
        denominators.append(float(len(rows) + slope @ turned))
        inverse = inverse - torch.outer(turned, turned) / denominators[-1]
    torch.testing.assert_close(woodbury_inverse(rows, 1e-2, rhs), inverse @ rhs)
    factor = torch.linalg.cholesky(rows @ rows.T + len(rows) * 1e-2 * torch.eye(20, dtype=torch.float64))
    torch.testing.assert_close(factor.diagonal().square() / 1e-2, torch.tensor(denominators, dtype=torch.float64))


def test_2_a_rank_beyond_a_thousand_is_used_in_full(records: Records, plain_model: Trained) -> None:
    trained = Trained(plain_model.model, plain_model.log, plain_model.cost, plain_model.checkpoints)
    deletion = prepare(trained, records, records.train.ids[:5])
    less, more = (Influence(solver="woodbury", rank=rank).plan(deletion).gradient_evaluations for rank in (1000, 1400))
    assert more - less == 400


def test_3_a_confidence_is_of_its_own_row_and_its_complement_is_no_log_p() -> None:
    logits = np.random.default_rng(0).normal(size=(6, 4))
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    labels = np.array([0, 1, 2, 3, 0, 1])
    own = Outputs(logs, labels, 4)
    p = np.exp(logs)[np.arange(6), labels]
    np.testing.assert_allclose(own.own, p)
    np.testing.assert_allclose(own.confidence, np.log(p) - np.log(1 - p))
    other = labels.copy()
    other[3:] = (other[3:] + 1) % 4
    for name in ("own", "loss", "confidence"):
        np.testing.assert_array_equal(getattr(Outputs(logs, other, 4), name)[:3], getattr(own, name)[:3])


def test_6_members_of_the_attack_are_drawn_and_not_the_first_in_stored_order() -> None:
    drawn = _draw(5000, ConfidenceMIA().most, 0, "members")
    assert len(set(drawn.tolist())) == 2000
    assert drawn.max() > 4500
    assert abs(np.mean(drawn < 2500) - 0.5) < 0.05


def test_7_time_is_of_the_whole_run(records: Records) -> None:
    ground = StudyGround.of(records.select(range(0, len(records), 4)), "small")
    scene = Scene.of(ground, at_random(0.1), 0, 1)
    short, long = carried(scene, [Pick("short", FineTune(epochs=1)), Pick("long", FineTune(epochs=12))])
    assert long.share > 3 * short.share
    assert long.done.cost.gradient_evaluations == pytest.approx(12 * short.done.cost.gradient_evaluations, rel=0.2)


def test_8_no_device_is_wired_in(few: Records, plain_model: Trained) -> None:
    source = [file.read_text() for file in Path(expunge.__file__).parent.rglob("*.py")]
    assert not [text for text in source if ".cuda(" in text or 'device("cuda' in text]
    done = unlearn(plain_model, few, few.train.ids[:5], L1Sparse(epochs=1))
    assert all(value.device.type == "cpu" for value in (done.trained.model.constituents[0] or {}).values())


def test_9_no_parameter_means_three_things() -> None:
    """One flag was the penalty's weight, the scale of influence and the noise of Fisher forgetting."""
    names = [{field.name for field in fields(kind)} for kind in (L1Sparse, Influence, FisherForgetting)]
    assert "gamma" in names[0]
    assert not names[0] & names[1]
    assert not names[0] & names[2]
    assert not names[1] & names[2]
