"""Verification against Marabou on the same queries, ratio in one run; and the case's properties on 12-64-64-1 networks.

    pip install maraboupy==2.0.0   # Python 3.11
    python benchmarks/verification.py marabou
    EXPUNGE_DATA=... python benchmarks/verification.py case FEATURES.csv

CPU seconds of this process. Queries where Marabou does not finish within its limit are counted, and take no part in
the ratio. Verdicts are compared: a difference ends the run.
"""

import statistics
import sys
import time
from itertools import product

import torch
from glucose_predictor import network

from expunge.assurance.verification import (
    BoundedOutput,
    Budget,
    Hazard,
    LocalRobustness,
    Monotone,
    Proved,
    Rate,
    Region,
    Unknown,
    Violated,
    fold,
    verify,
)

LIMIT = 30
SHAPES = ((5, 10, 10), (5, 20, 20), (8, 20, 20))


def kinds(inputs: int) -> list:
    area = Region((-1.0,) * inputs, (1.0,) * inputs)
    rest = (0.0,) * (inputs - 1)
    return [
        BoundedOutput(area, -3.0, 3.0),
        Hazard(area, 2.0),
        LocalRobustness(area, (0.05,) * inputs, 0.5),
        Monotone(area, (0.3, *rest), True, 0.3),
        Rate(area, ((0, 1),), (0.0, -0.1, *rest[1:]), (0.0, 0.1, *rest[1:]), 2.0),
    ]


def against_marabou() -> None:
    import marabou

    rows, open_ = [], 0
    for shape, seed in product(SHAPES, range(2)):
        model = fold(network(*shape, 1, seed=seed))
        for wanted in kinds(shape[0]):
            started = time.process_time()
            verdict = verify(model, wanted)
            ours = time.process_time() - started
            started = time.process_time()
            answers = []
            for query in wanted.queries(model):
                answers.append(marabou.ask(model, query, LIMIT).answer)
                if answers[-1] == "sat":
                    break
            theirs = time.process_time() - started
            done = "sat" in answers or set(answers) == {"unsat"}
            open_ += not done
            if done and not isinstance(verdict, Unknown):
                assert isinstance(verdict, Violated) == ("sat" in answers), (shape, seed, wanted, verdict, answers)
                rows.append((ours, theirs))
            name = f"{'-'.join(map(str, shape))}-1 seed {seed} {type(wanted).__name__:16}"
            print(
                f"{name} {type(verdict).__name__:9} {ours:8.3f} s  Marabou {answers[-1]:8} {theirs:8.3f} s", flush=True
            )
    ours, theirs = (sum(row[side] for row in rows) for side in (0, 1))
    ratios = [row[1] / row[0] for row in rows]
    print(f"both finish {len(rows)}, Marabou open after {LIMIT} s {open_}: {ours:.2f} s against {theirs:.2f} s")
    print(
        f"ratio of sums {theirs / ours:.1f}x, median {statistics.median(ratios):.2f}x, "
        f"ours faster in {sum(ratio > 1 for ratio in ratios)}"
    )


def on_the_case(features: str) -> None:
    from expunge.assurance.pancreas import CARBS, INSULIN, pancreas_case
    from expunge.assurance.proofs import network_of, property_of
    from expunge.networks import MLP, MonotoneMLP
    from expunge.records import load
    from expunge.records.preparation import feature_names
    from expunge.training import SGD, Recipe, SquaredError, train

    records = load(features, target="future", owner="patient", record="record", split="split", regression=True)
    names = feature_names(records.preparation)
    ways = [tuple(names.index(name) for name in part) for part in (CARBS, INSULIN)]
    for hidden in (MonotoneMLP((64, 64), *ways), MonotoneMLP((64, 64, 1), *ways), MLP((64, 64))):
        recipe = Recipe(hidden, SGD(0.02, weight_decay=2e-3), loss=SquaredError(), epochs=20, batch_size=64)
        model = network_of(train(recipe, records).model, records)
        print(type(hidden).__name__, *model.widths, sep="-")
        for node in pancreas_case().solutions:
            if node.check != "property":
                continue
            started = time.process_time()
            verdict = verify(model, property_of(node.arguments, names), budget=Budget(boxes=20_000, nodes=500))
            taken, effort = time.process_time() - started, verdict.effort
            more = f"bound {verdict.bound:.3g}" if isinstance(verdict, Proved) else ""
            more = f"{verdict.lower:.3g} to {verdict.upper:.3g}" if isinstance(verdict, Unknown) else more
            print(
                f"  {node.text:14} {type(verdict).__name__:9} {taken:6.1f} s, {effort.boxes} boxes {more}", flush=True
            )


if __name__ == "__main__":
    torch.set_num_threads(1)
    against_marabou() if sys.argv[1] == "marabou" else on_the_case(sys.argv[2])
