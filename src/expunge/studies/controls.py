"""Honest alternatives that every cost is compared with."""

from dataclasses import dataclass, field, replace

from expunge.networks import State
from expunge.records import Records
from expunge.training import MemoryCheckpoints, Model, Recipe, Snapshot, train


@dataclass
class _Snapshots(MemoryCheckpoints):
    """Keeps every snapshot instead of the latest."""

    kept: dict[int, State] = field(default_factory=dict)

    def save_snapshot(self, name: str, snapshot: Snapshot) -> None:
        self.kept[snapshot.step] = snapshot.state


def retraining_stopped_at(recipe: Recipe, records: Records, accuracy: float, looks: int = 40) -> int | None:
    """Gradients of single records until plain retraining first reaches `accuracy` (in [0, 1]) on the test set.

    The model is looked at `looks` times over the run of the recipe without its shards; the schedule stays the recipe's
    own, so that this is what an operator who stops early would have paid. `None` where it never gets there.
    """
    plain = replace(recipe, sharding=None)
    width = min(recipe.batch_size, len(records.train))
    steps = max(1, round(recipe.epochs * len(records.train) / width / looks))
    store = _Snapshots(every=steps)
    final = train(plain, records, checkpoints=store)
    moments = [(step * width, state) for step, state in sorted(store.kept.items())]
    moments.append((final.cost.gradient_evaluations, final.model.constituents[0] or {}))
    for evaluations, state in moments:
        model = Model(plain, final.model.shape, final.model.classes, (state,))
        if test_accuracy(model, records) >= accuracy:
            return evaluations
    return None


def test_accuracy(model: Model, records: Records) -> float:
    """Share of the test records that the model classifies rightly."""
    test = records.test
    return float((model.predict(test.features) == test.targets).float().mean())
