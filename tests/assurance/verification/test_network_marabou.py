"""An independent verifier agrees, where it is installed."""

import sys
from pathlib import Path

import pytest
import torch
from verification_problems import network

from expunge.assurance.verification import (
    BoundedOutput,
    Hazard,
    LocalRobustness,
    Monotone,
    Proved,
    Rate,
    Region,
    Violated,
    verify,
)
from expunge.assurance.verification.problem import problem_of

pytest.importorskip("maraboupy", reason="maraboupy is not installed beside Expunge")
sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

import marabou

AREA = Region((-1.0,) * 3, (1.0,) * 3)
KINDS = [
    BoundedOutput(AREA, -1.0, 1.0),
    Hazard(AREA, 0.7),
    LocalRobustness(AREA, (0.05,) * 3, 0.2),
    Monotone(AREA, (0.3, 0.0, 0.0), True, 0.15),
    Rate(AREA, ((0, 1),), (0.0, -0.1, 0.0), (0.0, 0.1, 0.0), 1.0),
]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("wanted", KINDS, ids=lambda wanted: type(wanted).__name__)
def test_marabou_agrees(wanted, seed: int) -> None:
    model = network(3, 6, 6, 1, seed=seed)
    verdict = verify(model, wanted)
    opinions = [marabou.ask(model, query, 30) for query in wanted.queries(model)]
    assert isinstance(verdict, Proved | Violated)
    assert isinstance(verdict, Violated) == any(opinion.answer == "sat" for opinion in opinions)
    for opinion, query in zip(opinions, wanted.queries(model), strict=True):
        if opinion.point is not None:
            z = torch.tensor([opinion.point], dtype=torch.float64)
            assert float(problem_of(model, query).margin(z)) < 1e-3
