"""Second order record by record against layer by layer: the same figures, and how many times faster, in one run.

    python benchmarks/empirical.py [DATA]

The naive side is what public implementations do: one record at a time, one backward pass each. Printed: diagonals of
the empirical and the true Fisher matrix, the influence of every record on a direction, and the Woodbury recursion.
"""

import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from expunge.networks import CNN, MLP, initialise, layout
from expunge.records import Records, load
from expunge.training import CrossEntropy
from expunge.training.curvature import squared_gradients, true_fisher
from expunge.unlearning.influence import record_slopes, woodbury_inverse

torch.set_num_threads(1)
TURNS, COUNT, RANK = 3, 400, 60


def single(module: nn.Module, part: Records, row: int, label: int | None = None) -> Tensor:
    """The gradient of one record's loss, as one vector."""
    goal = part.targets[row : row + 1] if label is None else torch.tensor([label])
    loss = nn.functional.cross_entropy(module(part.features[row : row + 1]), goal)
    return torch.cat([slope.reshape(-1) for slope in torch.autograd.grad(loss, list(module.parameters()))])


def naive_diagonal(module: nn.Module, part: Records) -> Tensor:
    return sum(single(module, part, row).square() for row in range(len(part))) / len(part)


def naive_true(module: nn.Module, part: Records) -> Tensor:
    total = torch.zeros(layout(module).size)
    for row in range(len(part)):
        shares = module(part.features[row : row + 1]).softmax(1)[0].detach()
        for label, share in enumerate(shares):
            total += share * single(module, part, row, label).square()
    return total / len(part)


def naive_influence(module: nn.Module, part: Records, direction: Tensor) -> Tensor:
    return torch.stack([single(module, part, row) @ direction for row in range(len(part))])


def naive_woodbury(rows: Tensor, damping: float, rhs: Tensor) -> Tensor:
    """The recursion with every F_k^-1 formed anew for each vector that it is asked for."""

    def inverse(count: int, vector: Tensor) -> Tensor:
        if not count:
            return vector / damping
        slope = rows[count - 1]
        before, turned = inverse(count - 1, vector), inverse_of[count - 1]
        return before - turned * (slope @ before) / (len(rows) + slope @ turned)

    inverse_of: list[Tensor] = []
    for number in range(len(rows)):
        inverse_of.append(inverse(number, rows[number]))
    return inverse(len(rows), rhs)


def compare(name: str, ours: Callable[[], Tensor], theirs: Callable[[], Tensor], tolerance: float = 1e-3) -> None:
    seconds: list[list[float]] = [[], []]
    for _ in range(TURNS):
        results = []
        for side, run in enumerate((ours, theirs)):
            started = time.process_time()
            results.append(run())
            seconds[side].append(time.process_time() - started)
        off = float((results[0] - results[1]).norm() / results[1].norm())
        assert off <= tolerance, (name, off)
    mine, other = map(min, seconds)
    print(f"{name:44} {other:8.3f} s -> {mine:7.3f} s: {other / mine:6.1f} times, figures within {off:.1e}", flush=True)


def bench(name: str, network: MLP | CNN, records: Records, part: Records) -> None:
    module = initialise(network, records.shape, records.classes, seed=0, name="bench").eval()
    plan, loss = layout(module), CrossEntropy()
    direction = torch.randn(plan.size, generator=torch.Generator().manual_seed(0))
    compare(
        f"{name}: empirical Fisher diagonal",
        lambda: plan.flatten(squared_gradients(module, part.features, part.targets, loss)),
        lambda: naive_diagonal(module, part),
    )
    compare(
        f"{name}: true Fisher diagonal",
        lambda: plan.flatten(true_fisher(module, part.features)),
        lambda: naive_true(module, part),
    )
    compare(
        f"{name}: influence of every record",
        lambda: record_slopes(module, part.features, part.targets, loss, direction),
        lambda: naive_influence(module, part, direction),
    )
    rows = torch.stack([single(module, part, row) for row in range(RANK)])
    compare(
        f"{name}: Woodbury recursion, rank {RANK}",
        lambda: woodbury_inverse(rows, 1e-2, direction),
        lambda: naive_woodbury(rows, 1e-2, direction),
    )


def main() -> None:
    records = load(sys.argv[1] if len(sys.argv) > 1 else "digits")
    part = records.train.select(range(min(len(records.train), COUNT)))
    bench("MLP", MLP((128,)), records, part)
    bench("CNN", CNN(), records, part)


if __name__ == "__main__":
    main()
