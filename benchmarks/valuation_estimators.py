"""Error against cost of every estimator, on a sharded game whose exact values are known.

    python benchmarks/valuation_estimators.py [--seeds 8] [--budgets 1000 2000 4000 8000 16000] [--out FILE.json]

The game: scikit-learn's digits, 64 owners in 8 shards, one softmax regression a shard (trained as one stack), mean
posterior, accuracy on 400 test records; once with clean owners, once with a fifth of them labelling at random. Exact
values by enumeration (260 352 utilities from 2 040 trainings). Cost is counted in utilities and in trainings, not in
seconds: the ratios do not depend on the machine.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from expunge.randomness import numpy_generator
from expunge.valuation import (
    Adjusted,
    Cached,
    Complementary,
    Constituents,
    Evaluations,
    Exact,
    Multilinear,
    Partition,
    Permutation,
    ShardedGame,
    Status,
    Truncated,
    UtilitySampling,
    update,
    value,
)

PARTITION = Partition.even(64, 8)
ESTIMATORS = {
    "permutation": Permutation(),
    "antithetic": Permutation(antithetic=True),
    "utility": UtilitySampling(),
    "complementary": Complementary(),
    "multilinear": Multilinear(),
    "truncated": Truncated(tolerance=0.005, dip=0.005),
    "adjusted": Adjusted(),
}
STEPS, MOMENTUM = 60, 0.9


@dataclass(frozen=True)
class Softmax:
    """Trains constituents as one stack: full-batch gradient descent with momentum."""

    features: np.ndarray
    onehot: np.ndarray
    holder: np.ndarray
    test: np.ndarray

    def __call__(self, owner_sets):
        found = [self._stack(owner_sets[at : at + 256]) for at in range(0, len(owner_sets), 256)]
        return np.concatenate(found)

    def _stack(self, owner_sets):
        owners = sorted({owner for owners in owner_sets for owner in owners})
        held = np.isin(self.holder, owners)
        x, y, who = self.features[held], self.onehot[held], self.holder[held]
        share = np.stack([np.isin(who, owners) for owners in owner_sets]).astype(np.float32)
        share /= np.maximum(share.sum(1, keepdims=True), 1)
        weights = np.zeros((len(owner_sets), x.shape[1], y.shape[1]), np.float32)
        speed = np.zeros_like(weights)
        for _ in range(STEPS):
            speed = MOMENTUM * speed + np.matmul(x.T, (softmax(np.matmul(x, weights)) - y) * share[:, :, None])
            weights -= speed
        return softmax(np.matmul(self.test, weights))


def softmax(logits):
    logits = np.exp(logits - logits.max(2, keepdims=True))
    return logits / logits.sum(2, keepdims=True)


def digits_game(noisy: float, seed: int = 0):
    """The game, and which owners label at random."""
    from sklearn.datasets import load_digits

    generator = numpy_generator(seed, "benchmarks/valuation")
    x, y = load_digits(return_X_y=True)
    x = np.concatenate([x / 16, np.ones((len(x), 1))], axis=1).astype(np.float32)
    order = generator.permutation(len(x))
    test, rest = order[:400], order[400:]
    holder = generator.integers(0, 64, len(rest))
    labels = y[rest].copy()
    bad = generator.permutation(64)[: int(noisy * 64)]
    random = np.isin(holder, bad)
    labels[random] = generator.integers(0, 10, random.sum())
    trainer = Softmax(x[rest], np.eye(10, dtype=np.float32)[labels], holder, x[test])
    return ShardedGame(PARTITION, 64, trainer, y[test]), np.isin(np.arange(64), bad)


@dataclass
class Known:
    """A game whose utilities are all known already; counts the constituents that a run would train."""

    cache: Cached

    def __post_init__(self):
        self.register = Constituents()

    @property
    def owners(self):
        return self.cache.owners

    def utilities(self, coalitions):
        self.register.plan(PARTITION, coalitions)
        return self.cache.utilities(coalitions)


def measured(run, truth, seeds):
    """Means over seeds of one estimator at one budget; `run(game, seed)` gives the values."""
    rows = []
    for seed in range(seeds):
        known = Known(run.cache)
        started = time.process_time()
        found = run(Cached(known), seed)
        error = found.value - truth
        rows.append(
            {
                "evaluations": found.evaluations,
                "trainings": known.register.created,
                "squared": float(np.mean(error**2)),
                "covered": float(np.mean(np.abs(error) <= found.half_width() + 1e-12)),
                "half_width": float(found.half_width().max()),
                "bias_bound": float(found.bias.max()),
                "complete": float(Status.INCOMPLETE not in found.status),
                "overhead": time.process_time() - started,
            }
        )
    mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    widest = [row["half_width"] for row in rows]
    return {
        "evaluations": round(mean["evaluations"]),
        "trainings": round(mean["trainings"]),
        "rmse": mean["squared"] ** 0.5,
        "variance_times_evaluations": mean["squared"] * mean["evaluations"],
        "coverage": mean["covered"],
        "complete": mean["complete"] == 1,
        "widest_half_width": mean["half_width"] if np.isfinite(widest).all() else None,
        "bias_bound": mean["bias_bound"],
        "overhead_seconds": mean["overhead"],
    }


@dataclass
class Recompute:
    cache: Cached
    partition: Partition
    estimator: object
    budget: int

    def __call__(self, game, seed):
        return value(game, self.partition, self.estimator, Evaluations(self.budget), seed=seed, batch=256)


@dataclass
class Update:
    cache: Cached
    before: object
    leavers: tuple
    estimator: object
    budget: int

    def __call__(self, game, seed):
        stop = Evaluations(self.budget)
        return update(self.before, game, self.leavers, self.estimator, stop, seed=seed, batch=128)


def ratio_at_equal_error(rows, slow, fast):
    """Evaluations of `slow` over those of `fast` at the errors that both reach; None where they reach none.

    Runs with incomplete owners do not count. Between budgets, evaluations follow log-log lines; geometric mean.
    """
    lines = [
        sorted((row["rmse"], row["evaluations"]) for row in rows if row["estimator"] == name and row["complete"])
        for name in (slow, fast)
    ]
    if not all(lines):
        return None
    low, high = max(line[0][0] for line in lines), min(line[-1][0] for line in lines)
    if low >= high:
        # No error in common: the two nearest points, carried together by error ~ 1/sqrt(evaluations).
        apart = [line[0 if line[0][0] == low else -1] for line in lines]
        return float(apart[0][1] * apart[0][0] ** 2 / (apart[1][1] * apart[1][0] ** 2))
    at = np.log(np.geomspace(low, high, 9))
    needed = [np.interp(at, np.log([e for e, _ in line]), np.log([n for _, n in line])) for line in lines]
    return float(np.exp(np.mean(needed[0] - needed[1])))


def auroc(worst, flags):
    """Probability that a flagged owner's value stands below another's."""
    bad, good = worst[flags], worst[~flags]
    return float(np.mean((bad[:, None] < good) + 0.5 * (bad[:, None] == good)))


def study(name, noisy, budgets, seeds):
    game, bad = digits_game(noisy)
    cache = Cached(game)
    started = time.process_time()
    before = value(cache, PARTITION, Exact())
    print(
        f"\n{name}: exact values from {cache.evaluations} utilities, {game.trainings} trainings, "
        f"{time.process_time() - started:.0f} s of CPU; spread of values {before.value.std():.4f}"
    )
    rows = []
    for budget in budgets:
        for label, estimator in ESTIMATORS.items():
            found = measured(Recompute(cache, PARTITION, estimator, budget), before.value, seeds)
            rows.append({"game": name, "estimator": label, "budget": budget, **found})
            show(rows[-1])
    exits = deletion(name, cache, before, budgets, seeds)
    claims = {
        "utility_vs_permutation.evaluations_ratio": ratio_at_equal_error(rows, "permutation", "utility"),
        "ours_vs_utility.evaluations_ratio": ratio_at_equal_error(rows, "utility", "adjusted"),
        "ours_vs_permutation.evaluations_ratio": ratio_at_equal_error(rows, "permutation", "adjusted"),
        "constituents.exact_ratio": before.evaluations / game.trainings,
        "noisy_owner.auroc": auroc(before.value, bad) if bad.any() else None,
        **{f"delta_vs_recompute.{label}": ratio for label, ratio in ratios(exits).items()},
    }
    return rows + exits, {f"{name}/{claim}": figure for claim, figure in claims.items()}


def deletion(name, cache, before, budgets, seeds):
    """One owner leaves a shard that lives on: update against valuing the new partition."""
    after = PARTITION.without([3])
    truth = value(cache, after, Exact()).value
    rows = []
    for label in ("permutation", "utility", "adjusted"):
        for budget in budgets[:-1]:
            estimator = ESTIMATORS[label]
            for way, run in (
                ("update", Update(cache, before, (3,), estimator, budget)),
                ("recompute", Recompute(cache, after, estimator, budget)),
            ):
                found = measured(run, truth, seeds)
                rows.append({"game": name, "estimator": f"{label}/{way}", "budget": budget, **found})
                show(rows[-1])
    return rows


def ratios(rows):
    names = dict.fromkeys(row["estimator"].split("/")[0] for row in rows)
    return {name: ratio_at_equal_error(rows, f"{name}/recompute", f"{name}/update") for name in names}


def show(row):
    print(
        f"  {row['estimator']:22s} evaluations {row['evaluations']:6d}  trainings {row['trainings']:5d}  "
        f"rmse {row['rmse']:.5f}  rmse^2 x evaluations {row['variance_times_evaluations']:8.5f}  "
        f"coverage {row['coverage']:.3f}{'' if row['complete'] else '  INCOMPLETE'}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--budgets", type=int, nargs="+", default=[1000, 2000, 4000, 8000, 16000])
    parser.add_argument("--games", nargs="+", default=["clean", "noisy"], choices=["clean", "noisy"])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows, claims = [], {}
    for name in options.games:
        more, found = study(name, 0.2 if name == "noisy" else 0.0, options.budgets, options.seeds)
        rows, claims = rows + more, claims | found
    print()
    for claim, figure in claims.items():
        print(f"  {claim:58s} {'-' if figure is None else format(figure, '.2f')}")
    if options.out:
        body = {"seeds": options.seeds, "budgets": options.budgets, "rows": rows, "claims": claims}
        options.out.write_text(json.dumps(body, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
