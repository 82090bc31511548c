"""Many small networks at once, against one after another as a careful user would write it.

    python benchmarks/stacked_training.py [--networks 64] [--repeats 5] [--json]

For each shape, in turn and in one run: a plain PyTorch loop (nn.Module, autograd, torch.optim.SGD with its defaults,
two threads), torch.func (vmap over functional_call and grad), our stacks on one thread, and in two processes.
Same data, seeds, initial weights and batches. Ratios are of wall seconds, medians over the repeats.
"""

import argparse
import json
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from expunge.networks import MLP, initialise, state_of
from expunge.records import Records, digits
from expunge.training import SGD, BatchStream, Constant, Course, Processes, Recipe, Stage, run_courses

ROOT = Path(__file__).parent.parent


@dataclass
class Task:
    name: str
    records: Records
    recipe: Recipe
    plan: list[Course]


def mnist() -> Records | None:
    path = Path(os.environ.get("EXPUNGE_DATA", ROOT.parent / "shared" / "data")) / "mnist10k.npz"
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        images, targets = arrays["train_images"][:4000], arrays["train_labels"][:4000]
    count = len(images)
    names = tuple(f"image-{row}" for row in range(count))
    features = torch.from_numpy(images).float().div(255)
    return Records(features, torch.from_numpy(targets).long(), names, names, ("train",) * count, 10)


def synthetic() -> Records:
    generator = torch.Generator().manual_seed(0)
    names = tuple(f"image-{row}" for row in range(4000))
    features = torch.rand(4000, 28, 28, generator=generator)
    targets = torch.randint(10, (4000,), generator=generator)
    return Records(features, targets, names, names, ("train",) * 4000, 10)


def tasks(networks: int) -> list[Task]:
    small, large = digits().train, mnist() or synthetic()
    return [
        _task("64-32-10 on digits", small, MLP((32,)), networks, records=600, epochs=10),
        _task("784-128-10 on 28 x 28 images", large, MLP((128,)), networks, records=1000, epochs=2),
    ]


def _task(name: str, data: Records, network: MLP, networks: int, *, records: int, epochs: float) -> Task:
    recipe = Recipe(network, SGD(0.05), Constant(), epochs=epochs, batch_size=32)
    generator = torch.Generator().manual_seed(1)
    rows = [tuple(torch.randperm(len(data), generator=generator)[:records].tolist()) for _ in range(networks)]
    plan = [Course("network", (Stage("train", rows[seed], epochs),), seed) for seed in range(networks)]
    return Task(name, data, recipe, plan)


def plain_loop(task: Task) -> list[dict[str, torch.Tensor]]:
    """One after another, two threads, library defaults."""
    torch.set_num_threads(2)
    found = []
    for course in task.plan:
        module = initialise(task.recipe.network, task.records.shape, 10, seed=course.seed, name=course.name)
        optimiser = torch.optim.SGD(module.parameters(), 0.05, momentum=0.9, weight_decay=5e-4)
        loss = nn.CrossEntropyLoss()
        stream = BatchStream(course.stages[0], 32, course.seed)
        for step in range(course.stages[0].steps(32)):
            rows = stream[step]
            optimiser.zero_grad()
            loss(module(task.records.features[rows]), task.records.targets[rows]).backward()
            optimiser.step()
        found.append(state_of(module))
    return found


def vmapped(task: Task) -> list[dict[str, torch.Tensor]]:
    """torch.func: gradients of all networks by vmap, momentum by hand."""
    torch.set_num_threads(2)
    modules = [initialise(task.recipe.network, task.records.shape, 10, seed=c.seed, name=c.name) for c in task.plan]
    parameters, _ = torch.func.stack_module_state(modules)
    parameters = {name: value.detach().clone() for name, value in parameters.items()}
    momenta = {name: torch.zeros_like(value) for name, value in parameters.items()}
    streams = [BatchStream(course.stages[0], 32, course.seed) for course in task.plan]

    def loss(weights: dict[str, torch.Tensor], features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(torch.func.functional_call(modules[0], weights, features), targets)

    gradients_of = torch.func.vmap(torch.func.grad(loss))
    for step in range(task.plan[0].stages[0].steps(32)):
        rows = torch.stack([stream[step] for stream in streams])
        gradients = gradients_of(parameters, task.records.features[rows], task.records.targets[rows])
        for name, value in parameters.items():
            momenta[name].mul_(0.9).add_(gradients[name].add(value, alpha=5e-4))
            value.add_(momenta[name], alpha=-0.05)
    return [{name: value[number] for name, value in parameters.items()} for number in range(len(modules))]


def measure(task: Task, repeats: int, pool: Processes) -> dict[str, object]:
    ways = {
        "plain loop, 2 threads": lambda: plain_loop(task),
        "torch.func vmap, 2 threads": lambda: vmapped(task),
        "stacks, 1 thread": lambda: run_courses(task.recipe, task.records, task.plan).states,
        "stacks, 2 processes": lambda: run_courses(task.recipe, task.records, task.plan, executor=pool).states,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    results = {}
    for _ in range(repeats):
        for name, way in ways.items():
            started = time.perf_counter()
            results[name] = way()
            seconds[name].append(time.perf_counter() - started)
    reference = results["plain loop, 2 threads"]
    base = seconds["plain loop, 2 threads"]
    rows = []
    for name, times in seconds.items():
        apart = max(
            float((left[key] - right[key]).abs().max())
            for left, right in zip(reference, results[name], strict=True)
            for key in left
        )
        ratio = statistics.median(slow / quick for slow, quick in zip(base, times, strict=True))
        rows.append({"way": name, "seconds": statistics.median(times), "times_faster": ratio, "apart": apart})
    same = all(
        left[key].equal(right[key])
        for left, right in zip(results["stacks, 1 thread"], results["stacks, 2 processes"], strict=True)
        for key in left
    )
    return {"task": task.name, "networks": len(task.plan), "rows": rows, "stacks_identical": same}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with Processes(2) as pool:
        started = time.perf_counter()
        list(pool.map(_warm, None, [0, 1, 2, 3]))
        start_up = time.perf_counter() - started
        results = [measure(task, options.repeats, pool) for task in tasks(options.networks)]
    if options.json:
        print(json.dumps({"pool_start_up_seconds": start_up, "results": results}, indent=1))
        return
    print(f"starting two worker processes: {start_up:.1f} s, not counted below")
    for result in results:
        print(f"\n{result['networks']} networks {result['task']}")
        for row in result["rows"]:
            print(f"  {row['way']:28} {row['seconds']:8.2f} s {row['times_faster']:6.1f} x   apart {row['apart']:.1e}")
        print(f"  both kinds of stacks equal to the bit: {result['stacks_identical']}")


def _warm(shared: None, job: int) -> int:
    time.sleep(0.2)
    return job


if __name__ == "__main__":
    main()
