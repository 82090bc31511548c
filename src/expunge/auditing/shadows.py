"""Shadow models: trained by the model's own recipe with and without each target record, many at once.

Every shadow model is trained on all retained records and on a random half of the targets: the strongest auditor, one
who knows the rest of the training set. Targets are the forgotten records and test records, which no model has seen.

In a sharded model a record touches one constituent network. So only the constituents that held a forgotten record are
trained as shadows; the others are taken from the very model that is audited. That is the likelihood ratio *given* the
rest of the model: it asks about the same trace with less noise, and costs the affected shards instead of all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from expunge.auditing.audit import Subject
from expunge.auditing.outputs import Outputs, aggregation, constituent_outputs, merged
from expunge.errors import ProgrammerError
from expunge.networks import State
from expunge.randomness import numpy_generator
from expunge.records import TRAIN, Records
from expunge.training import Course, Model, Recipe, Stage, run_courses
from expunge.training.courses import shard_stages

FEWEST_OTHERS = 5
"""Test records below which a membership test is not worth its name."""

Place = tuple[int, int]
"""Shard and slice; (0, 0) without sharding."""


@dataclass(frozen=True, eq=False)
class Shadows:
    """Shadow models over targets.

    **Arguments:**

    - `targets`: the records asked about; the first `members` of them are the forgotten ones.
    - `included`: `[shadows, targets]`, which shadow model was trained on which target; half of them for each.
    - `trained`: for each shadow model, outputs of its constituents on the targets, by number.
    - `affected`: numbers of the constituents that shadow models replace.
    """

    targets: Records
    members: int
    included: Bool[np.ndarray, "shadows targets"]
    trained: tuple[dict[int, Float[Tensor, "targets outputs"]], ...]
    affected: tuple[int, ...]
    _kept: dict[str, list[Outputs]] = field(default_factory=dict, init=False, repr=False)

    def beside(self, model: Model) -> tuple[Outputs, list[Outputs]]:
        """Outputs of `model` on the targets, and of `model` with each shadow's constituents in place of its own."""
        own = constituent_outputs(model, self.targets)
        rest = {number: output for number, output in own.items() if number not in self.affected}
        key = model.digest if rest else "no constituent is left of the model itself"
        if key not in self._kept:
            self._kept[key] = [self._joined({**rest, **shadow}, model) for shadow in self.trained]
        return self._joined(own, model), self._kept[key]

    def _joined(self, parts: dict[int, Tensor], model: Model) -> Outputs:
        return merged([parts[number] for number in sorted(parts)], self.targets, aggregation(model))


def shadows(subject: Subject, count: int, most_others: int) -> Shadows | str:
    """Train `count` shadow models, once for all audits of a subject that ask for the same.

    What keeps them from being trained comes back as words: fewer than five test records of the forgotten records'
    classes, so that there is nobody to compare with, or a batch of one for batch normalisation.

    **Raises:** what else training raises.
    """
    key = f"shadows/{count}/{most_others}"
    return subject.once(key, lambda: _train(subject, count, most_others))  # type: ignore[no-any-return]


def _train(subject: Subject, count: int, most_others: int) -> Shadows | str:
    generator = numpy_generator(subject.seed, "audit/shadows")
    gone, base = places(subject.recipe, subject.forgotten), places(subject.recipe, subject.retained)
    affected = tuple(sorted({shard for shard, _ in gone}))
    neighbours = sum(shard in affected for shard, _ in base)
    others = others_like(subject, min(most_others, max(len(gone), neighbours // 4)), generator)
    if len(others) < FEWEST_OTHERS:
        return f"fewer than {FEWEST_OTHERS} test records share a class with the forgotten ones"
    given = [gone[row] for row in generator.integers(len(gone), size=len(others))]
    targets = joined(subject.forgotten, others)
    half = np.arange(count) < count // 2
    included = np.stack([generator.permutation(half) for _ in range(len(targets))], axis=1)
    universe, where = joined(subject.retained, targets), [*base, *gone, *given]
    plan = plan_shadows(subject.recipe, where, affected, included, subject.seed)
    if subject.augment is not None:
        universe, plan = with_copies(subject.augment, universe, subject.retained, plan)
    try:
        states = run_courses(
            subject.recipe, universe, plan, executor=subject.executor, progress=subject.progress
        ).states
    except ProgrammerError as error:
        if error.code != "batch-of-one":
            raise
        return str(error)
    answers = iter([_answers(subject.recipe, targets, state) for state in states])
    trained = tuple({n: answer for n in affected if (answer := next(answers)) is not None} for _ in range(count))
    return Shadows(targets, len(subject.forgotten), included, trained, affected)


def _answers(recipe: Recipe, targets: Records, state: State | None) -> Float[Tensor, "targets outputs"] | None:
    if state is None:
        return None
    alone = Model(replace(recipe, sharding=None), targets.shape, targets.classes, (state,))
    return alone.logits(targets.features).double()


def plan_shadows(
    recipe: Recipe,
    where: Sequence[Place],
    affected: Sequence[int],
    included: Bool[np.ndarray, "shadows targets"],
    seed: int,
) -> list[Course]:
    """Courses of all shadow models: for each in turn, one course an affected constituent.

    **Arguments:** `where`: place of each record of the universe, the retained records first, then the targets.
    """
    first = len(where) - included.shape[1]
    stages = {number: _stages(recipe, where, number) for number in affected}
    plan = []
    for shadow, row in enumerate(included):
        absent = frozenset((first + np.flatnonzero(~row)).tolist())
        for number in affected:
            name = f"audit/shadow/{shadow}/{number}"
            kept = tuple(
                Stage(f"{name}/{stage.name}", tuple(r for r in stage.rows if r not in absent), stage.epochs)
                for stage in stages[number]
            )
            plan.append(Course(name, kept, seed))
    return plan


def with_copies(
    augment: Callable[[Records, Records], Records], universe: Records, retained: Records, plan: Sequence[Course]
) -> tuple[Records, list[Course]]:
    """Records with their moved copies, and courses that take every copy of a row that they took.

    Only retained records steer copies: one that a shadow model does not hold must not come in by way of another's copy.
    """
    count = len(universe)
    whole = augment(replace(universe, split=(TRAIN,) * count), retained)
    starts = range(0, len(whole), count)

    def copied(stage: Stage) -> Stage:
        return replace(stage, rows=tuple(start + row for start in starts for row in stage.rows))

    return whole, [replace(course, stages=tuple(map(copied, course.stages))) for course in plan]


def places(recipe: Recipe, records: Records) -> list[Place]:
    """Where the recipe puts each record."""
    return recipe.sharding.places(records) if recipe.sharding else [(0, 0)] * len(records)


def joined(first: Records, second: Records) -> Records:
    """Both, in this order; what was done to the columns is kept, the columns before that are not."""
    return replace(
        first,
        features=torch.cat([first.features, second.features]),
        targets=torch.cat([first.targets, second.targets]),
        ids=first.ids + second.ids,
        owners=first.owners + second.owners,
        split=first.split + second.split,
        raw=None,
    )


def others_like(subject: Subject, most: int, generator: np.random.Generator) -> Records:
    """At most `most` test records of the classes that the forgotten records have: membership is asked, not class."""
    classes = set(subject.forgotten.targets.tolist())
    like = [
        row
        for row, target in enumerate(subject.test.targets.tolist())
        if target in classes or not subject.forgotten.classes
    ]
    chosen = generator.permutation(len(like))[:most]
    return subject.test.select(sorted(like[place] for place in chosen))


def _stages(recipe: Recipe, where: Sequence[Place], number: int) -> tuple[Stage, ...]:
    if recipe.sharding is None:
        return (Stage("train", tuple(range(len(where))), recipe.epochs),)
    sharding = recipe.sharding
    return shard_stages(number, sharding.slices, where, sharding.slice_epochs(recipe.epochs))
