"""S-Shapley of 64 owners in 8 shards on digits: time to a half-width, a deletion's update, and pyDVL beside it.

    python benchmarks/valuation.py [--workers 2] [--epochs 10] [--pydvl PYTHON] [--out FILE.json]

pyDVL wants numpy < 2, so it runs by the interpreter of an environment of its own (`--pydvl venv/bin/python`), which
borrows torch and this package from the path of the one that runs this file. It estimates Shapley values by permutation
sampling over the same 64 owners; each utility trains the same sharded network on the same records by the same trainer
(its eight constituents as one stack) and measures the same test records. Utilities per second over the first
permutation, the first five and (ours) the first fifty, turn about in one run. Both begin with the utility of everybody,
before the clock: the first training in a process loads torch's optimisers and checks that stacks give the same bits,
two to three seconds once, whatever follows.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from expunge.networks import MLP
from expunge.records import digits
from expunge.training import SGD, Processes, Recipe, Sharding, run_courses
from expunge.training.courses import Course, shard_stages

OWNERS, SHARDS = 64, 8
PERMUTATIONS = (1, 5)


def task(epochs):
    """Digits of 64 owners, and the recipe."""
    records = digits()
    owners = tuple(f"owner-{int(owner[-3:]) % OWNERS:03d}" for owner in records.owners)
    recipe = Recipe(MLP((32,)), SGD(lr=0.1), epochs=epochs, batch_size=32, sharding=Sharding(SHARDS))
    return replace(records, owners=owners), recipe


def whole_run(records, recipe, workers):
    """From nothing to values of half-width 0.01, then one owner leaves."""
    from expunge.valuation import Cached, HalfWidth, Partition, training_game, update, value

    partition = Partition.even(OWNERS, SHARDS)
    with Processes(workers) as pool:
        game = training_game(recipe, records, partition=partition, executor=pool if workers > 1 else None)
        cache, started = Cached(game), time.monotonic()
        values = value(cache, partition, stop=HalfWidth(0.01))
        first, trained = time.monotonic() - started, game.trainings
        started = time.monotonic()
        after = update(values, cache, [3], stop=HalfWidth(0.01))
        second = time.monotonic() - started
    return {
        "value_seconds": first,
        "value_half_width": float(values.half_width().max()),
        "value_utilities": values.evaluations,
        "value_trainings": trained,
        "update_seconds": second,
        "update_half_width": float(after.half_width().max()),
        "update_utilities": after.evaluations,
        "update_trainings": game.trainings - trained,
    }


def our_rate(records, recipe, permutations, executor):
    """Utilities per second of plain permutation sampling, from nothing."""
    from expunge.valuation import Cached, Partition, Permutation, Rounds, training_game, value

    partition = Partition.even(OWNERS, SHARDS)
    training_game(recipe, records, partition=partition).utilities(np.ones((1, OWNERS), np.bool_))
    game = Cached(training_game(recipe, records, partition=partition, executor=executor))
    started = time.process_time()
    value(game, partition, Permutation(), Rounds(1), batch=permutations * OWNERS)
    seconds = time.process_time() - started
    return {"utilities": game.evaluations, "seconds": seconds, "rate": game.evaluations / seconds}


class Sharded:
    """The model as pyDVL wants one: its records are owners."""

    def __init__(self, records, recipe):
        self.records, self.recipe, self.count, self.clock = records, recipe, 0, []
        self.rows = {owner: [] for owner in range(OWNERS)}
        for row, owner in enumerate(records.train.owners):
            self.rows[int(owner[-3:])].append(row)

    def fit(self, x, y):
        del y
        owners, self.count = x[:, 0].astype(int).tolist(), self.count + 1
        shards = [sorted(r for o in owners if o * SHARDS // OWNERS == s for r in self.rows[o]) for s in range(SHARDS)]
        plan = []
        for shard, rows in enumerate(shards):
            stages = shard_stages(shard, 1, [(shard, 0)] * len(rows), self.recipe.epochs)
            plan.append(Course(f"shard/{shard}", tuple(replace(s, rows=tuple(rows)) for s in stages), self.recipe.seed))
        found = run_courses(replace(self.recipe, sharding=None), self.records.train, plan).states
        self.states = [state for state in found if state is not None]
        return self

    def predict(self, x):
        del x
        test = self.records.test
        total = 0
        for state in self.states:
            (w1, b1), (w2, b2) = (tuple(state[f"{name}.{kind}"] for kind in ("weight", "bias")) for name in ("1", "3"))
            hidden = torch.relu(test.features.flatten(1) @ w1.T + b1)
            total = total + (hidden @ w2.T + b2).softmax(1)
        return total.argmax(1)

    def score(self, x, y):
        del y
        self.clock.append(time.process_time())
        return float((self.predict(x) == self.records.test.targets).double().mean())


def peer(epochs):
    """Five permutations of pyDVL's, in its own environment; prints one JSON line."""
    import warnings

    warnings.filterwarnings("ignore")
    import numpy as np
    from pydvl.valuation import Dataset, MinUpdates, ModelUtility, PermutationSampler, ShapleyValuation
    from pydvl.valuation.scorers import SupervisedScorer

    torch.set_num_threads(1)
    records, recipe = task(epochs)
    column = np.arange(OWNERS, dtype=float)[:, None]
    data = Dataset(column, np.zeros(OWNERS, int))
    model = Sharded(records, recipe)
    model.fit(column, None)
    accuracy, model.count, model.clock = model.score(column, None), 0, []
    scorer = SupervisedScorer(Sharded.score, data, default=0.0)
    utility = ModelUtility(model, scorer, clone_before_fit=False, catch_errors=False)
    started = time.process_time()
    ShapleyValuation(utility, PermutationSampler(seed=0), is_done=MinUpdates(max(PERMUTATIONS))).fit(data)
    # The empty coalition has no model: a permutation fits one for each of its other prefixes.
    ends = [min(count * OWNERS, len(model.clock)) for count in PERMUTATIONS]
    seconds = [model.clock[end - 1] - started for end in ends]
    sys.stdout.write(json.dumps({"utilities": ends, "seconds": seconds, "accuracy": accuracy}) + "\n")


def peer_rate(python, epochs):
    """The peer in a process of its own, with this interpreter's packages behind its own."""
    script = (
        "import sys, runpy; sys.path += " + repr([path for path in sys.path if path]) + "; "
        f"sys.argv = ['valuation.py', '--peer', '--epochs', '{epochs}']; "
        f"runpy.run_path({__file__!r}, run_name='__main__')"
    )
    settings = {**os.environ, "PYTHONPATH": "", "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([python, "-c", script], env=settings, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the peer failed:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {**found, "rate": [count / spent for count, spent in zip(found["utilities"], found["seconds"], strict=True)]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--pydvl", help="Python of an environment with pyDVL.")
    parser.add_argument("--only-peer", action="store_true", help="Skip the run to a half-width.")
    parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.peer:
        peer(options.epochs)
        return
    torch.set_num_threads(1)
    records, recipe = task(options.epochs)
    found = {} if options.only_peer else timed_run(records, recipe, options.workers)
    if options.pydvl:
        found["peer"] = beside_peer(records, recipe, options)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


def timed_run(records, recipe, workers):
    found = whole_run(records, recipe, workers)
    print(f"value   {found['value_seconds']:6.1f} s  half-width {found['value_half_width']:.4f}  ", end="")
    print(f"{found['value_utilities']} utilities, {found['value_trainings']} trainings (mark: < 120 s)")
    print(f"update  {found['update_seconds']:6.1f} s  half-width {found['update_half_width']:.4f}  ", end="")
    print(f"{found['update_utilities']} utilities, {found['update_trainings']} trainings (mark: < 12 s)")
    return found


def beside_peer(records, recipe, options):
    """Turn about, in seconds of one core each. Beyond the last of theirs, ours is held against that."""
    rows = []
    for _ in range(2):
        theirs = peer_rate(options.pydvl, options.epochs)
        for place, count in enumerate((*PERMUTATIONS, 50)):
            ours, rate = our_rate(records, recipe, count, None), theirs["rate"][min(place, len(PERMUTATIONS) - 1)]
            rows.append({"ours": ours, "pydvl_rate": rate, "ratio": ours["rate"] / rate})
            print(
                f"first {ours['utilities']:5d} utilities: ours {ours['rate']:5.0f} a second, pyDVL {rate:5.1f}: "
                f"{ours['rate'] / rate:4.1f} times as many (mark: >= 5)",
                flush=True,
            )
    return rows


if __name__ == "__main__":
    main()
