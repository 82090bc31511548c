"""Retraining stopped as soon as it is good enough: the honest alternative that every cost is compared with."""

from dataclasses import dataclass, field, replace

from expunge.networks import State
from expunge.progress import Progress
from expunge.records import Records
from expunge.training.checkpoints import MemoryCheckpoints, Snapshot
from expunge.training.model import Model
from expunge.training.recipe import Recipe
from expunge.training.trainer import train


@dataclass(frozen=True)
class Retraining:
    """What plain retraining costs: one network on all records, whatever structure the recipe has.

    **Arguments:**

    - `evaluations`, `seconds`: gradients of single records, and wall time, of the whole recipe.
    - `stopped_evaluations`: the gradients until the accuracy that was asked for was first seen; `None` where it never
      was.
    """

    evaluations: int
    seconds: float
    stopped_evaluations: int | None


@dataclass
class _Snapshots(MemoryCheckpoints):
    """Keeps every snapshot instead of the latest."""

    kept: dict[int, State] = field(default_factory=dict)

    def save_snapshot(self, name: str, snapshot: Snapshot) -> None:
        """Keep it beside all the others."""
        self.kept[snapshot.step] = snapshot.state


def retraining_until(
    recipe: Recipe, records: Records, accuracy: float, looks: int = 40, progress: Progress | None = None
) -> Retraining:
    """Plain retraining on `records.train`, and when it first reaches `accuracy` (in [0, 1]) on `records.test`.

    The model is looked at `looks` times over the run of the recipe without its shards; the schedule stays the recipe's
    own, so that this is what an operator who stops early would have paid.
    """
    plain = replace(recipe, sharding=None)
    width = min(recipe.batch_size, len(records.train))
    steps = max(1, round(recipe.epochs * len(records.train) / width / looks))
    store = _Snapshots(every=steps)
    final = train(plain, records, checkpoints=store, progress=progress)
    whole = final.cost.gradient_evaluations
    moments = [(step * width, state) for step, state in sorted(store.kept.items())]
    moments.append((whole, final.model.constituents[0] or {}))
    models = ((spent, Model(plain, final.model.shape, final.model.classes, (state,))) for spent, state in moments)
    reached = (spent for spent, model in models if accuracy_on_test(model, records) >= accuracy)
    return Retraining(whole, final.cost.seconds, next(reached, None))


def accuracy_on_test(model: Model, records: Records) -> float:
    """Share of the test records that the model classifies rightly."""
    test = records.test
    return float((model.predict(test.features) == test.targets).float().mean())
