"""Shadow models: trained by the model's own recipe with and without each target record, many at once."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float

from expunge.auditing.audit import Subject
from expunge.auditing.outputs import logit_confidence, probabilities, true_class
from expunge.randomness import derive, numpy_generator
from expunge.records import TRAIN, Records
from expunge.training import Course, Model, Recipe, courses, run_courses


@dataclass(frozen=True, eq=False)
class Shadows:
    """Shadow models over targets: the forgotten records, then as many or more test records that no model has seen.

    **Arguments:**

    - `targets`: the records asked about; the first `members` of them are the forgotten ones.
    - `included`: `[shadows, targets]`, which shadow model was trained on which target; half of them for each.
    - `models`: the shadow models.
    - `population`: test records that are no targets.
    """

    targets: Records
    members: int
    included: Bool[np.ndarray, "shadows targets"]
    models: tuple[Model, ...]
    population: Records

    @cached_property
    def confidences(self) -> Float[np.ndarray, "shadows targets"]:
        """Logit-scaled confidence of each shadow model on each target."""
        return np.stack([logit_confidence(model, self.targets) for model in self.models])

    @cached_property
    def on_targets(self) -> Float[np.ndarray, "shadows targets"]:
        """Probability of the true class under each shadow model, for each target."""
        return np.stack([true_class(probabilities(model, self.targets), self.targets) for model in self.models])

    @cached_property
    def on_population(self) -> Float[np.ndarray, "shadows population"]:
        """Probability of the true class under each shadow model, for each record of the population."""
        return np.stack([true_class(probabilities(model, self.population), self.population) for model in self.models])


def shadows(subject: Subject, count: int, most_others: int) -> Shadows:
    """Train `count` shadow models, once for all audits of a subject that ask for the same.

    Each is trained on all retained records and a random half of the targets: the strongest auditor, one who knows the
    rest of the training set. Every target is in exactly half of the shadow models.
    """
    key = f"shadows/{count}/{most_others}"
    return subject.once(key, lambda: _train(subject, count, most_others))  # type: ignore[no-any-return]


def _train(subject: Subject, count: int, most_others: int) -> Shadows:
    generator = numpy_generator(subject.seed, "audit/shadows")
    others = min(len(subject.test) // 2, most_others)
    order = generator.permutation(len(subject.test))
    chosen = subject.test.select(np.sort(order[:others]).tolist())
    population = subject.test.select(np.sort(order[others:]).tolist())
    targets = _join(subject.forgotten, chosen)
    half = np.arange(count) < count // 2
    included = np.stack([generator.permutation(half) for _ in range(len(targets))], axis=1)
    universe = _join(subject.retained, targets)
    first = len(subject.retained)
    sets = [[*range(first), *(first + np.flatnonzero(row)).tolist()] for row in included]
    models = train_sets(subject.recipe, universe, sets, subject)
    return Shadows(targets, len(subject.forgotten), included, models, population)


def train_sets(recipe: Recipe, universe: Records, sets: list[list[int]], subject: Subject) -> tuple[Model, ...]:
    """A model for each set of rows of `universe`, each under a seed of its own, all in one stacked run."""
    plans = [_plan(recipe, universe, rows, derive(subject.seed, f"shadow/{n}")) for n, rows in enumerate(sets)]
    flat = [course for plan in plans for course in plan]
    result = run_courses(recipe, universe, flat, executor=subject.executor, progress=subject.progress)
    size = len(plans[0])
    return tuple(
        Model(recipe, universe.shape, universe.classes, tuple(result.states[size * n : size * (n + 1)]))
        for n in range(len(sets))
    )


def _plan(recipe: Recipe, universe: Records, rows: list[int], seed: int) -> list[Course]:
    """The courses of the recipe on some rows, with the rows counted in the universe."""
    plan = courses(replace(recipe, seed=seed), universe.select(rows))
    return [
        replace(course, stages=tuple(replace(s, rows=tuple(rows[row] for row in s.rows)) for s in course.stages))
        for course in plan
    ]


def _join(first: Records, second: Records) -> Records:
    """Records of both, all marked as training records."""
    ids = first.ids + second.ids
    return Records(
        torch.cat([first.features, second.features]),
        torch.cat([first.targets, second.targets]),
        ids,
        first.owners + second.owners,
        (TRAIN,) * len(ids),
        first.classes,
    )
