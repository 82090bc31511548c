"""Curvature products and what they buy: ratios of processor seconds within one run, the two sides in turn.

    python benchmarks/curvature.py [DATA] [SEED]

Prints Hessian-vector products a second beside a plain double-backward loop, and a Newton deletion of a tenth of the
data of a 100,000-parameter network by conjugate gradient beside retraining, with the accuracy of both, and how far
each tolerance leaves the step from the exact one. The tolerance that the docs quote was chosen on seed 11.
"""

import sys
import time
from collections.abc import Callable
from typing import TypeVar

import torch

from expunge.networks import CNN, MLP, initialise, layout
from expunge.records import Records, load
from expunge.training import SGD, Recipe, Trained, accuracy_on_test, train
from expunge.training.curvature import Curvature
from expunge.unlearning import Newton, Retrain, unlearn

torch.set_num_threads(1)
TURNS = 7
TOLERANCES = (0.3, 0.1, 0.01)
Result = TypeVar("Result")


def plain(curvature: Curvature, vector: torch.Tensor) -> torch.Tensor:
    """The loop that everybody writes."""
    module = curvature.module
    parameters = list(module.parameters())
    loss = curvature.loss.mean(module(curvature.features), curvature.targets)
    slope = torch.autograd.grad(loss, parameters, create_graph=True)
    inner = torch.cat([part.reshape(-1) for part in slope]) @ vector
    return torch.cat([part.reshape(-1) for part in torch.autograd.grad(inner, parameters)])


def timed(run: Callable[[], Result]) -> tuple[Result, float]:
    """What `run` returns, and its processor seconds."""
    started = time.process_time()
    found = run()
    return found, time.process_time() - started


def seconds(run: Callable[[], object]) -> float:
    return timed(run)[1]


def products(name: str, network: MLP | CNN, records: Records) -> None:
    module = initialise(network, records.shape, records.classes, seed=0, name="bench").eval()
    curvature = Curvature.of(module, records.train.select(range(min(len(records.train), 1000))))
    vector = torch.randn(curvature.size, generator=torch.Generator().manual_seed(0))
    ours, theirs = curvature.product(vector), plain(curvature, vector)
    assert (ours - theirs).norm() <= 1e-4 * theirs.norm()
    pairs = [
        (seconds(lambda: curvature.product(vector)), seconds(lambda: plain(curvature, vector))) for _ in range(TURNS)
    ]
    mine, other = (min(pair[side] for pair in pairs) for side in (0, 1))
    print(f"{name:28} {1 / mine:8.1f} products/s, plain double backward {1 / other:8.1f}: {other / mine:.2f} times")


def deletion(records: Records, seed: int) -> None:
    """One Newton step at each tolerance, beside retraining in the same run and a step solved to 1e-6."""
    inputs = records.features[0].numel()
    hidden = round(100_000 / (inputs + records.classes + 1))
    trained = train(Recipe(network=MLP((hidden,)), optimiser=SGD(lr=0.05), epochs=30, seed=seed), records)
    part = records.train
    drawn = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))[: len(part) // 10]
    forget = tuple(part.ids[row] for row in drawn.tolist())
    again, whole = timed(lambda: unlearn(trained, records, forget, Retrain()))
    start = flat(trained)
    exact = flat(unlearn(trained, records, forget, Newton(damping=1.0, tolerance=1e-6)).trained) - start
    print(
        f"Newton by conjugate gradient, {len(start):,} parameters, a tenth deleted, seed {seed}; retraining: ", end=""
    )
    print(f"{whole:.2f} s, test accuracy {accuracy_on_test(again.trained.model, records):.4f}")
    for tolerance in TOLERANCES:
        method = Newton(damping=1.0, tolerance=tolerance)
        step, own = timed(lambda: unlearn(trained, records, forget, method))  # noqa: B023
        error = float((flat(step.trained) - start - exact).norm() / exact.norm())
        right = accuracy_on_test(step.trained.model, records)
        print(f"  tolerance {tolerance:<5g} {own / whole:.3f} of retraining's time, ", end="")
        print(f"step wrong by {error:.4f}, test accuracy {right:.4f}, claim {step.claim.kind}", flush=True)


def flat(trained: Trained) -> torch.Tensor:
    """All that was trained, as one vector."""
    return layout(trained.model.module()).flatten(trained.model.constituents[0] or {}).double()


def main() -> None:
    records = load(sys.argv[1] if len(sys.argv) > 1 else "digits")
    products("784-or-so-32-32-10", MLP((32, 32)), records)
    products("one hidden layer of 128", MLP((128,)), records)
    if len(records.shape) == 3:
        products("two convolutions", CNN(), records)
    deletion(records, int(sys.argv[2]) if len(sys.argv) > 2 else 0)


if __name__ == "__main__":
    main()
