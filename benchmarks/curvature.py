"""Curvature products and what they buy: ratios of processor seconds within one run, the two sides in turn.

    python benchmarks/curvature.py [DATA]

Prints Hessian-vector products a second beside a plain double-backward loop, and a Newton deletion of a tenth of the
data of a 100,000-parameter network by conjugate gradient beside retraining, with the accuracy of both.
"""

import sys
import time
from collections.abc import Callable

import torch

from expunge.networks import CNN, MLP, initialise
from expunge.records import Records, load
from expunge.training import SGD, Recipe, accuracy_on_test, train
from expunge.training.curvature import Curvature
from expunge.unlearning import Newton, Retrain, unlearn

torch.set_num_threads(1)
TURNS = 7


def plain(curvature: Curvature, vector: torch.Tensor) -> torch.Tensor:
    """The loop that everybody writes."""
    module = curvature.module
    parameters = list(module.parameters())
    loss = curvature.loss.mean(module(curvature.features), curvature.targets)
    slope = torch.autograd.grad(loss, parameters, create_graph=True)
    inner = torch.cat([part.reshape(-1) for part in slope]) @ vector
    return torch.cat([part.reshape(-1) for part in torch.autograd.grad(inner, parameters)])


def seconds(run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


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


def deletion(records: Records) -> None:
    inputs = records.features[0].numel()
    recipe = Recipe(network=MLP((round(100_000 / (inputs + records.classes + 1)),)), optimiser=SGD(lr=0.05), epochs=30)
    trained = train(recipe, records)
    part = records.train
    drawn = torch.randperm(len(part), generator=torch.Generator().manual_seed(1))[: len(part) // 10]
    forget = tuple(part.ids[row] for row in drawn.tolist())
    started = time.process_time()
    step = unlearn(trained, records, forget, Newton(damping=1.0, tolerance=1e-2))
    middle = time.process_time()
    again = unlearn(trained, records, forget, Retrain())
    ended = time.process_time()
    share = (middle - started) / (ended - middle)
    figures = [accuracy_on_test(each.trained.model, records) for each in (step, again)]
    print(
        f"Newton by conjugate gradient, {sum(p.numel() for p in trained.model.module().parameters()):,} parameters, "
        f"a tenth deleted: {share:.3f} of retraining's time; test accuracy {figures[0]:.4f} against {figures[1]:.4f}; "
        f"claim {step.claim.kind}"
    )


def main() -> None:
    records = load(sys.argv[1] if len(sys.argv) > 1 else "digits")
    products("784-or-so-32-32-10", MLP((32, 32)), records)
    products("one hidden layer of 128", MLP((128,)), records)
    if len(records.shape) == 3:
        products("two convolutions", CNN(), records)
    deletion(records)


if __name__ == "__main__":
    main()
