"""What is written for other verifiers is the query itself."""

import itertools
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from verification_problems import network, points_in

from expunge.assurance.verification import (
    BoundedOutput,
    HalfSpace,
    Hazard,
    LocalRobustness,
    Path,
    Property,
    Rate,
    Region,
    to_onnx,
    to_vnnlib,
    write_queries,
)
from expunge.assurance.verification.export import margin_layers
from expunge.assurance.verification.problem import problem_of
from expunge.errors import ExpungeError

AREA = Region((-1.0, 1e-7, -3.0), (1.0, 2.5, 1e9), (HalfSpace((1.0, -0.5, 0.0), 0.25),), (Path((0, 1), -1.0, 2.0),))


def kinds(area: Region) -> list[Property]:
    return [
        Hazard(area, 0.5),
        BoundedOutput(area, -1.0, 1.0),
        LocalRobustness(area, (0.1, 0.0, 0.2), 1.0),
        Rate(area, ((0, 1),), (0.0, -0.1, 0.0), (0.0, 0.1, 0.0), 1.0),
    ]


KINDS = kinds(AREA)
NUMBER = r"-?[0-9]+\.[0-9]+"


@pytest.mark.parametrize("wanted", KINDS, ids=lambda wanted: type(wanted).__name__)
def test_one_network_computes_the_margin(wanted: Property) -> None:
    model = network(3, 6, 5, 1, seed=0)
    for query in wanted.queries(model):
        problem = problem_of(model, query)
        z = points_in(problem, 500, 0)
        values = z
        for number, (weight, bias) in enumerate(margin_layers(problem)):
            values = (values.relu() if number else values) @ weight.T + bias
        # A margin of two copies is the small difference of outputs near 1e10: what float64 loses is relative to them.
        size = float(model(query.points(z)[0]).abs().max())
        assert torch.allclose(values[:, 0], problem.margin(z), rtol=1e-9, atol=2**-48 * size)


@pytest.mark.parametrize("wanted", KINDS, ids=lambda wanted: type(wanted).__name__)
def test_vnnlib_reads_back_as_the_domain(wanted: Property) -> None:
    for query in wanted.queries(network(3, 6, 1, seed=0)):
        text, domain = to_vnnlib(query), query.domain
        assert text.count("(") == text.count(")")
        assert text.isascii()
        low = [float(number) for number in re.findall(rf"assert \(>= X_\d+ ({NUMBER})\)", text)]
        high = [float(number) for number in re.findall(rf"assert \(<= X_\d+ ({NUMBER})\)", text)]
        assert (low, high) == (domain.lower.tolist(), domain.upper.tolist())
        rows = re.findall(rf"assert \(<= \(\+ (.*)\) ({NUMBER})\)", text)
        assert [float(limit) for _, limit in rows] == domain.limits.tolist()
        for (terms, _), row in zip(rows, domain.rows.tolist(), strict=True):
            pairs = re.findall(rf"\(\* ({NUMBER}) X_(\d+)\)", terms)
            assert {int(place): float(value) for value, place in pairs} == {k: v for k, v in enumerate(row) if v}
        assert text.endswith("(assert (<= Y_0 0.0))\n")


def test_without_onnx_nothing_is_written(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ExpungeError) as caught:
        write_queries(network(3, 4, 1, seed=0), KINDS[0], tmp_path, "hazard")
    assert caught.value.code == "no-onnx"
    assert list(tmp_path.iterdir()) == []


def test_onnx_is_valid_and_computes_the_margin(tmp_path) -> None:
    onnx = pytest.importorskip("onnx", reason="the onnx extra is not installed")
    reference = pytest.importorskip("onnx.reference")
    model = network(3, 6, 5, 1, seed=1)
    for wanted in kinds(replace(AREA, upper=(1.0, 2.5, 3.0))):  # in float32 two outputs near 1e9 have no difference
        for query in wanted.queries(model):
            loaded = onnx.load_from_string(to_onnx(model, query))
            onnx.checker.check_model(loaded, full_check=True)
            problem = problem_of(model, query)
            z = points_in(problem, 20, 0)
            run = reference.ReferenceEvaluator(loaded)
            found = [run.run(None, {"z": row[None].astype(np.float32)})[0][0, 0] for row in z.numpy()]
            assert np.allclose(found, problem.margin(z), rtol=1e-4)
    written = write_queries(model, KINDS[1], tmp_path, "bounded")
    assert [path.name for path in written] == [
        f"bounded-{k}.{ending}" for k, ending in itertools.product((0, 1), ("onnx", "vnnlib"))
    ]
    assert all(path.stat().st_size for path in written)
