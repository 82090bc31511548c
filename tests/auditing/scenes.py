"""A model that has memorised: few digits, a fifth of them with wrong labels, trained for long."""

from dataclasses import dataclass, replace

import torch

from expunge.auditing import Subject, retrain_references
from expunge.networks import MLP
from expunge.records import Records
from expunge.training import SGD, Model, Recipe, Sharding, Trained, train
from expunge.unlearning import Retrain, unlearn

RECIPE = Recipe(network=MLP((48,)), optimiser=SGD(lr=0.1), epochs=30, batch_size=32)
SHARDED = replace(RECIPE, sharding=Sharding(shards=3, slices=2))


@dataclass(frozen=True)
class Scene:
    """A trained model, and a deletion of it that is exact."""

    recipe: Recipe
    records: Records
    trained: Trained
    forget: tuple[str, ...]
    exact: Model
    references: tuple[Model, ...]

    @property
    def left(self) -> Records:
        return self.records.without(self.forget)

    def subject(self, after: Model | None = None, **changes: object) -> Subject:
        gone = self.records.select(self.records.rows(self.forget))
        parts = (self.recipe, self.trained.model, after or self.exact, gone, self.left, self.left, self.references)
        return replace(Subject(*parts), **changes)


def noisy(records: Records, keep: int) -> Records:
    """`keep` training records and all test records, a fifth of the labels drawn anew."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(10, (len(records),), generator=generator)
    wrong = torch.rand(len(records), generator=generator) < 0.2
    changed = replace(records, targets=torch.where(wrong, drawn, records.targets))
    return changed.without(set(records.train.ids[keep:]))


def scene(recipe: Recipe, records: Records, forget: tuple[str, ...]) -> Scene:
    trained = train(recipe, records)
    exact = unlearn(trained, records, forget, Retrain()).trained.model
    return Scene(recipe, records, trained, forget, exact, retrain_references(recipe, records.without(forget)))
