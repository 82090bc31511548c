"""64 shadow models of the digits for LiRA: seconds, against one after another, and what they find.

    python benchmarks/shadows.py [--count 64] [--one-by-one 8] [--json]

Speed: the shadow models of the default recipe on all digits, a tenth of the training records forgotten, as an audit
trains them: in one stacked run on one thread. Beside them in the same run, the first few of the very same models by
the engine that trains one network after another; both give the same bytes. Wall seconds, and seconds of this process,
which other work on the machine hardly changes; the ratio is of the latter, for each network.

Findings: LiRA with as many shadow models on a model that has memorised (400 digits, a fifth of the labels wrong), of
80 of its records, before and after an exact deletion of them, beside the noise floor of retrained models.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from expunge.auditing import LiRA, Subject, audit, retrain_references
from expunge.auditing.shadows import joined, places, plan_shadows, shadows
from expunge.networks import MLP, State
from expunge.records import Records, digits
from expunge.training import Recipe, run_courses, train
from expunge.unlearning import Retrain, unlearn

MARK = 60.0
"""Wall seconds that 64 shadow models may take."""


@dataclass(frozen=True)
class Spent:
    wall: float
    process: float


def timed(work: Callable[[], Any]) -> tuple[Any, Spent]:
    wall, process = time.perf_counter(), time.process_time()
    result = work()
    return result, Spent(time.perf_counter() - wall, time.process_time() - process)


def scene(recipe: Recipe, records: Records, forget: tuple[str, ...], references: int) -> Subject:
    """A trained model, and an exact deletion of these records from it."""
    trained, left = train(recipe, records), records.without(forget)
    after = unlearn(trained, records, forget, Retrain()).trained.model
    gone = records.select(records.rows(forget))
    return Subject(recipe, trained.model, after, gone, left, left, retrain_references(recipe, left, count=references))


def memorised() -> tuple[Recipe, Records, tuple[str, ...]]:
    """Few digits, a fifth of the labels drawn anew, trained until they are known by heart."""
    records, generator = digits(), torch.Generator().manual_seed(0)
    drawn = torch.randint(10, (len(records),), generator=generator)
    wrong = torch.rand(len(records), generator=generator) < 0.2
    noisy = replace(records, targets=torch.where(wrong, drawn, records.targets)).without(records.train.ids[400:])
    return Recipe(network=MLP((48,)), epochs=30), noisy, noisy.train.ids[:80]


def speed(count: int, few: int) -> dict[str, Any]:
    records = digits()
    subject = scene(Recipe(), records, records.train.ids[::10], references=2)
    found, many = timed(lambda: shadows(subject, count, 400))
    if isinstance(found, str):
        raise SystemExit(found)
    recipe, targets = subject.recipe, found.targets
    universe = joined(subject.retained, targets)
    plan = plan_shadows(recipe, places(recipe, universe), found.affected, found.included, subject.seed)[:few]
    states, one = timed(lambda: run_courses(recipe, universe, plan, stack=False).states)
    stacked = run_courses(recipe, universe, plan).states
    return {
        "network": "64-64-10, 30 epochs",
        "records": len(universe),
        "shadow_models": count,
        "wall_seconds": many.wall,
        "process_seconds": many.process,
        "one_by_one_seconds_each": one.process / few,
        "times_faster": one.process / few / (many.process / count),
        "identical": all(_same(left, right) for left, right in zip(states, stacked, strict=True)),
        "within_mark": many.wall < MARK,
    }


def _same(left: State | None, right: State | None) -> bool:
    return left is not None and right is not None and all(left[name].equal(right[name]) for name in left)


def findings(count: int) -> dict[str, Any]:
    report = audit(scene(*memorised(), references=5), (LiRA(count),))
    read = report.of("LiRA AUC").to_json()
    return {"before": read["before"], "after": read["after"], "floor": read["floor"], "finding": read["finding"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--one-by-one", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    fast, seen = speed(options.count, options.one_by_one), findings(options.count)
    if options.json:
        print(json.dumps({"speed": fast, "findings": seen}, indent=1))
        return
    print(f"{fast['shadow_models']} shadow models of {fast['records']} digits ({fast['network']}), one thread:")
    print(f"  stacked       {fast['wall_seconds']:8.2f} s wall, {fast['process_seconds']:.2f} s of this process")
    each = fast["one_by_one_seconds_each"]
    print(f"  one by one    {each * options.count:8.2f} s of this process, from {options.one_by_one} of them")
    print(f"  times faster  {fast['times_faster']:8.1f}   equal to the bit: {fast['identical']}")
    print(f"  under {MARK:.0f} s wall: {fast['within_mark']}")
    print(f"LiRA AUC of 80 memorised records, {options.count} shadow models:")
    for name in ("before", "after"):
        value = seen[name]
        print(f"  {name:8} {value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]")
    print(f"  retrained {seen['floor'][0]:.3f} to {seen['floor'][1]:.3f}: {seen['finding']}")


if __name__ == "__main__":
    main()
