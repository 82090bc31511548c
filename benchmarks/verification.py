"""Verification against Marabou on the same queries, ratio in one run; and the case's properties on 12-64-64-1 networks.

    pip install maraboupy==2.0.0   # Python 3.11
    python benchmarks/verification.py marabou
    python benchmarks/verification.py case FEATURES.csv [SEED ...]      # beside Marabou where it is installed
    python benchmarks/verification.py halving FEATURES.csv [SEED ...]   # with trials and without

CPU seconds of this process. Properties that Marabou does not finish within its limit are counted, and take no part in
the ratio. Verdicts are compared: a difference ends the run. Seeds are those of training.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import product
from typing import TypeVar

import torch
from glucose_predictor import network

from expunge.assurance.verification import (
    BoundedOutput,
    Budget,
    Hazard,
    LocalRobustness,
    Monotone,
    Property,
    Proved,
    Rate,
    Region,
    ReluNetwork,
    Unknown,
    Verdict,
    Violated,
    fold,
    verify,
)

LIMIT = 60
"""Seconds of the clock for each query of Marabou."""
SHAPES = ((5, 10, 10), (5, 20, 20), (8, 20, 20))
T = TypeVar("T")
BUDGET = Budget(boxes=20_000, nodes=500)
HALVING = Budget(boxes=2_000, complete=False)


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


@dataclass
class Race:
    """Properties that both decided, CPU seconds of each side; and those that Marabou left open."""

    rows: list[tuple[float, float]] = field(default_factory=list)
    left: list[float] = field(default_factory=list)

    def run(self, name: str, model: ReluNetwork, wanted: Property) -> None:
        """Both sides on one property; a line for each."""
        verdict, ours = _timed(lambda: verify(model, wanted, budget=BUDGET))
        answer, theirs = _timed(lambda: _marabou(model, wanted))
        if answer == "open":
            self.left.append(ours)
        elif not isinstance(verdict, Unknown):
            assert isinstance(verdict, Violated) == (answer == "sat"), (name, verdict, answer)
            self.rows.append((ours, theirs))
        print(f"{name:44} {_said(verdict)} {ours:8.3f} s  Marabou {answer:8} {theirs:8.3f} s", flush=True)

    def result(self) -> None:
        """The ratio of sums, the median ratio, and what Marabou left open."""
        print(f"Marabou left {len(self.left)} open after {LIMIT} s; ours took {sum(self.left):.1f} s for them")
        if not self.rows:
            return
        ours, theirs = (sum(row[side] for row in self.rows) for side in (0, 1))
        ratios = [row[1] / row[0] for row in self.rows]
        print(
            f"both finish {len(self.rows)}: {ours:.2f} s against {theirs:.2f} s, ratio of sums {theirs / ours:.1f}x, "
            f"median {statistics.median(ratios):.2f}x, ours faster in {sum(ratio > 1 for ratio in ratios)}"
        )


def _timed(run: Callable[[], T]) -> tuple[T, float]:
    started = time.process_time()
    found = run()
    return found, time.process_time() - started


def _said(verdict: Verdict) -> str:
    more = f"{verdict.lower:.3g} to {verdict.upper:.3g}" if isinstance(verdict, Unknown) else ""
    more = f"bound {verdict.bound:.3g}" if isinstance(verdict, Proved) else more
    return f"{type(verdict).__name__:8} {verdict.effort.boxes:6} boxes {more:16}"


def _marabou(model: ReluNetwork, wanted: Property) -> str:
    """The property's answer: sat, unsat, or open."""
    import marabou

    answer = "unsat"
    for query in wanted.queries(model):
        answer = marabou.ask(model, query, LIMIT).answer
        if answer != "unsat":
            break
    return answer if answer in ("sat", "unsat") else "open"


def against_marabou(seeds: Sequence[int]) -> None:
    import maraboupy  # noqa: F401  (its import is no part of the first query)

    race, models = (
        Race(),
        [(shape, seed, fold(network(*shape, 1, seed=seed))) for shape, seed in product(SHAPES, seeds)],
    )
    try:
        for kind, (shape, seed, model) in product(range(5), models):
            wanted = kinds(shape[0])[kind]
            race.run(f"{'-'.join(map(str, shape))}-1 seed {seed} {type(wanted).__name__}", model, wanted)
    finally:  # it takes long: what was measured before an interrupt counts as well
        race.result()


def trained(features: str, seeds: Sequence[int]) -> Iterator[tuple[str, ReluNetwork, dict[str, Property]]]:
    """Freshly trained networks of the case's kinds, and the case's properties by their texts."""
    from expunge.assurance.pancreas import CARBS, INSULIN, pancreas_case
    from expunge.assurance.proofs import network_of, property_of
    from expunge.networks import MLP, MonotoneMLP
    from expunge.records import load
    from expunge.records.preparation import feature_names
    from expunge.training import SGD, Recipe, SquaredError, train

    records = load(features, target="future", owner="patient", record="record", split="split", regression=True)
    names = feature_names(records.preparation)
    ways = [tuple(names.index(name) for name in part) for part in (CARBS, INSULIN)]
    wanted = {n.text: property_of(n.arguments, names) for n in pancreas_case().solutions if n.check == "property"}
    for seed, hidden in product(seeds, (MonotoneMLP((64, 1), *ways), MonotoneMLP((64, 64), *ways), MLP((64, 64)))):
        optimiser = SGD(0.02, weight_decay=2e-3)
        recipe = Recipe(hidden, optimiser, loss=SquaredError(), epochs=20, batch_size=64, seed=seed)
        model = network_of(train(recipe, records).model, records)
        name = f"{'-'.join(map(str, model.widths))} {'signed' if isinstance(hidden, MonotoneMLP) else ''} seed {seed}"
        yield name, model, wanted


def on_the_case(features: str, seeds: Sequence[int]) -> None:
    race, there = Race(), find_spec("maraboupy") is not None
    for name, model, properties in trained(features, seeds):
        for text, wanted in properties.items():
            if there:
                race.run(f"{name} {text}", model, wanted)
            else:
                verdict, taken = _timed(lambda: verify(model, wanted, budget=BUDGET))  # noqa: B023
                print(f"{name} {text:14} {_said(verdict)} {taken:6.1f} s", flush=True)
    race.result()


def halving(features: str, seeds: Sequence[int]) -> None:
    for name, model, properties in trained(features, seeds):
        for (text, wanted), (word, tries) in product(properties.items(), {"with": 2, "without": 0}.items()):
            budget = replace(HALVING, tries=tries)
            verdict, taken = _timed(lambda: verify(model, wanted, budget=budget))  # noqa: B023
            print(f"{name} {text:14} {word:8} {_said(verdict)} {taken:6.1f} s", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    kind, *rest = sys.argv[1:]
    numbers = [int(each) for each in rest[kind != "marabou" :]] or [0, 1]
    if kind == "marabou":
        against_marabou(numbers)
    else:
        {"case": on_the_case, "halving": halving}[kind](rest[0], numbers)
