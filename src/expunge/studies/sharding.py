"""Study `sharding`: what shards and slices cost and save, against retraining (Bourtoule et al., S&P 2021)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from jaxtyping import Int

from expunge.randomness import numpy_generator
from expunge.records import Records
from expunge.reports.study import StudyFigure
from expunge.studies.claims import StudyClaim, mean_claim, mean_interval, share_claim
from expunge.studies.frame import Row, Setting
from expunge.studies.sharding_figures import sharding_figures
from expunge.training import SGD, Recipe, Sharding, accuracy_on_test, retraining_until, train
from expunge.unlearning import Retrain, Sharded, unlearn

SHARDS = {"small": (1, 4, 8), "full": (1, 2, 4, 8, 16, 32)}
SLICES = {"small": (1, 4), "full": (1, 2, 4, 8)}
ASSIGNMENTS = {"small": 2000, "full": 10000}


@dataclass(frozen=True)
class ShardingStudy:
    """Cost of a deletion by formula, by simulation and as measured; accuracy; byte-identity with retraining."""

    name: str = "sharding"
    recipe: Recipe = Recipe(optimiser=SGD(lr=0.1), batch_size=32, epochs=30)

    def cells(self, setting: Setting) -> Sequence[str]:
        """One cell a seed, number of shards and number of slices."""
        grid = product(setting.seeds, SHARDS[setting.scale], SLICES[setting.scale])
        return [f"seed-{seed}.shards-{shards}.slices-{slices}" for seed, shards, slices in grid]

    def run(self, setting: Setting, cell: str) -> list[Row]:
        """Train, delete one owner at random, retrain, and simulate many assignments."""
        seed, shards, slices = (int(part.rsplit("-", 1)[1]) for part in cell.split("."))
        recipe = replace(self.recipe, seed=seed, sharding=Sharding(shards, slices, salt_seed=seed))
        records, trained = setting.records, train(recipe, setting.records)
        owners = sorted(set(records.train.owners))
        owner = owners[int(numpy_generator(seed, "study/sharding/owner").integers(len(owners)))]
        forget = records.owned_by(owner)
        after, again = (unlearn(trained, records, forget, method) for method in (Sharded(), Retrain()))
        accuracy = accuracy_on_test(after.trained.model, records)
        stopped = retraining_until(recipe, records.without(forget), accuracy)
        simulated = simulate(recipe, records.train, ASSIGNMENTS[setting.scale], seed)
        low, high = mean_interval(simulated) or (None, None)
        return [
            {
                "seed": seed,
                "shards": shards,
                "slices": slices,
                "accuracy_before": accuracy_on_test(trained.model, records),
                "accuracy_after": accuracy,
                "identical": after.trained.model.file == again.trained.model.file,
                "gradient_evaluations": after.cost.gradient_evaluations,
                "retraining_evaluations": again.cost.gradient_evaluations,
                "seconds": after.cost.seconds,
                "retraining_seconds": again.cost.seconds,
                "retraining_stopped_evaluations": stopped.stopped_evaluations,
                "share_by_formula": Sharding(shards, slices).deletion_share(),
                "share_simulated": float(np.mean(simulated)),
                "share_simulated_low": low,
                "share_simulated_high": high,
            }
        ]

    def claims(self, setting: Setting, rows: Sequence[Row]) -> list[StudyClaim]:
        """The marks of the study."""
        error = max(abs(mean / row["share_by_formula"] - 1) for row, mean in _per_setting(rows, "share_simulated"))
        most = [row for row in rows if row["shards"] == 8 and row["slices"] == max(SLICES[setting.scale])]
        cheaper = [row["retraining_evaluations"] / max(row["gradient_evaluations"], 1) for row in most]
        plain = {row["seed"]: row["accuracy_after"] for row in rows if row["shards"] == row["slices"] == 1}
        lost = [100 * (plain[row["seed"]] - row["accuracy_after"]) for row in most]
        stopped = [_stopped_ratio(row) for row in most]
        return [
            StudyClaim("cost.formula_error", error, None, "<= 0.05", error <= 0.05),
            share_claim("deletion.identical_bytes", [row["identical"] for row in rows], "1", lambda value: value == 1),
            mean_claim("deletion.times_cheaper_than_retraining", cheaper, ">= 5", lambda value: value >= 5),
            mean_claim("deletion.times_cheaper_than_stopped_retraining", stopped, "> 1", lambda value: value > 1),
            mean_claim("accuracy.points_lost_at_8_shards", lost),
        ]

    def figures(self, setting: Setting, rows: Sequence[Row]) -> list[StudyFigure]:
        """Cost by formula and by simulation; accuracy against shards."""
        del setting
        return sharding_figures(rows)


def simulate(recipe: Recipe, records: Records, assignments: int, seed: int) -> list[float]:
    """Cost shares of deleting one random owner each, every time under a fresh assignment to shards and slices.

    Counts the steps that the trainer would run, rounding included, over the real owners and their record counts; the
    share is of retraining on the others. Places are drawn as the keyed hash draws them: uniform and independent.
    """
    generator = numpy_generator(seed, "study/sharding/simulation")
    sizes = np.unique(np.array(records.owners), return_counts=True)[1]
    sharding = _sharding(recipe)
    shares = []
    for _ in range(assignments):
        places = generator.integers([sharding.shards, sharding.slices], size=(len(sizes), 2))
        shares.append(deletion_share(recipe, places, sizes, int(generator.integers(len(sizes)))))
    return shares


def deletion_share(
    recipe: Recipe, places: Int[np.ndarray, "owners 2"], sizes: Int[np.ndarray, " owners"], gone: int
) -> float:
    """Gradient evaluations that deleting owner number `gone` takes, over those of retraining on the others.

    **Arguments:** `places`: shard and slice of each owner; `sizes`: training records of each.
    """
    sharding = _sharding(recipe)
    left = np.where(np.arange(len(sizes)) == gone, 0, sizes)
    cells = places[:, 0] * sharding.slices + places[:, 1]
    held = np.bincount(cells, left, sharding.shards * sharding.slices).reshape(sharding.shards, sharding.slices)
    seen = held.cumsum(1)
    width = np.minimum(recipe.batch_size, np.maximum(seen, 1))
    evaluations = np.ceil(sharding.slice_epochs(recipe.epochs) * seen / width) * width
    shard, first = places[gone]
    return float(evaluations[shard, first:].sum() / max(evaluations.sum(), 1))


def _sharding(recipe: Recipe) -> Sharding:
    return recipe.sharding or Sharding(1, 1)


def _per_setting(rows: Sequence[Row], key: str) -> list[tuple[Row, float]]:
    """One row of each (shards, slices), with the mean of `key` over the seeds."""
    groups: dict[tuple[int, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["shards"], row["slices"]), []).append(row)
    return [(group[0], float(np.mean([row[key] for row in group]))) for group in groups.values()]


def _stopped_ratio(row: Row) -> float:
    """Times that stopped retraining costs more; retraining that never got there counts as the whole of it."""
    stopped = row["retraining_stopped_evaluations"] or row["retraining_evaluations"]
    return float(stopped / max(row["gradient_evaluations"], 1))
