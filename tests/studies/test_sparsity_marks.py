"""The checks 5, 6 and 10 of the spec at its own marks: 4,000 digit images, networks of its section 7."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from expunge.records import Records, load
from expunge.studies.sparsity_applications import backdoor
from expunge.studies.sparsity_cells import doses
from expunge.studies.sparsity_ground import Ground
from expunge.studies.sparsity_scene import Row

pytestmark = [pytest.mark.slow, pytest.mark.data]
SEEDS = (0,)


@pytest.fixture(scope="module")
def ground(data_folder: Path) -> Ground:
    records = load(str(data_folder / "mnist10k.npz"))
    rows = {part: [row for row, own in enumerate(records.split) if own == part] for part in ("train", "test")}
    chosen: Records = records.select([*rows["train"][:4000], *rows["test"][:1000]])
    recipe = replace(Ground.of(chosen, "full").recipe, batch_size=128)
    return Ground(chosen, records.select(rows["train"][4000:4400]), recipe)


def mean(rows: Sequence[Row], key: str, method: str, **own: float) -> float:
    found = [row[key] for row in rows if row["method"] == method and all(row[k] == pytest.approx(own[k]) for k in own)]
    assert found
    return float(np.mean(found))


@pytest.fixture(scope="module")
def dosed(ground: Ground) -> list[Row]:
    return doses(ground, SEEDS)


def test_5_the_rate_is_the_dose(dosed: list[Row]) -> None:
    assert 20 <= mean(dosed, "ua", "fine-tune", lr=0.05) <= 70
    assert mean(dosed, "ua", "fine-tune", lr=0.1) >= 80
    assert mean(dosed, "ua", "fine-tune", lr=0.2) >= 98


@pytest.mark.xfail(reason="UA 6.7 on seed 0", strict=True)
def test_5_a_low_rate_does_nothing(dosed: list[Row]) -> None:
    assert mean(dosed, "ua", "fine-tune", lr=0.01) <= 2


@pytest.mark.xfail(reason="RA 98.5 on seed 0: more is kept than the mark says", strict=True)
def test_5_a_high_rate_costs_accuracy(dosed: list[Row]) -> None:
    assert mean(dosed, "ra", "fine-tune", lr=0.2) <= 98


def test_6_the_penalty_forgets_where_the_rate_does_not(dosed: list[Row]) -> None:
    few, some, many = (mean(dosed, "ua", "l1-sparse", gamma=gamma) for gamma in (3e-4, 1e-3, 3e-3))
    assert few <= some <= many
    assert some >= 95
    assert some - mean(dosed, "ua", "fine-tune", lr=0.05) >= 25
    assert mean(dosed, "ra", "l1-sparse", gamma=1e-3) >= 97


@pytest.mark.xfail(reason="93.5 against 94.0 on seed 0: the other sign", strict=True)
def test_6_a_penalty_that_shrinks_keeps_more_accuracy(dosed: list[Row]) -> None:
    decreasing, constant = mean(dosed, "ta", "l1-sparse", gamma=3e-3), mean(dosed, "ta", "l1-sparse, constant")
    assert decreasing - constant >= 1


@pytest.fixture(scope="module")
def stamped(ground: Ground) -> list[Row]:
    return backdoor(ground, SEEDS, methods=())


def test_10_a_trojan_is_learnt_and_retraining_takes_it_out(stamped: list[Row]) -> None:
    assert mean(stamped, "asr", "original") >= 97
    assert mean(stamped, "asr", "retrain") <= 2


@pytest.mark.xfail(reason="26.4 on seed 0: the mark is missed by 1.4 points", strict=True)
def test_10_so_does_the_penalty(stamped: list[Row]) -> None:
    assert mean(stamped, "asr", "l1-sparse 0.003") <= 25
