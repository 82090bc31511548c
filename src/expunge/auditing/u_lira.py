"""U-LiRA: the likelihood-ratio test against one unlearning method (Hayes et al. 2024, arXiv 2403.01218)."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from expunge.auditing.audit import Description, Findings, Subject
from expunge.auditing.lira import check_count, likelihood_ratio
from expunge.auditing.membership import findings
from expunge.auditing.outputs import outputs
from expunge.auditing.shadows import FEWEST_OTHERS, joined, others_like
from expunge.errors import ProgrammerError
from expunge.randomness import derive, numpy_generator
from expunge.records import TRAIN, Records
from expunge.training import Course, MemoryCheckpoints, Recipe, Stage, courses, run_courses, train
from expunge.unlearning import Method, unlearn


@dataclass(frozen=True)
class ULiRA:
    """For each target, how much likelier its confidence is after *unlearning* it than where it was never seen.

    Shadow models are trained with a random half of the targets and then unlearn that half by `method`. The attacker
    knows the method: a trace that it leaves, whichever way it bends the confidence, is what the test looks for. For an
    exact method both distributions are the same, and the test has no power by construction.

    **Arguments:**

    - `method`: the one that made the model after.
    - `count`: shadow models, an even number; each costs a training (in one stacked run) and a run of the method.
    - `pooled`: one variance for all targets.

    **Raises:** `ProgrammerError("bad-hyperparameter")` for fewer than 4 shadow models or an odd number.
    """

    method: Method
    count: int = 16
    pooled: bool = True

    def __post_init__(self) -> None:
        check_count(self.count)

    def describe(self) -> Description:
        """The audit in words."""
        return Description(
            "ULiRA",
            "Can an attacker who knows the method tell unlearned records from never-seen ones?",
            "Hayes et al. 2024, arXiv 2403.01218",
            "Other methods than the one it was given, and deletions of a few records.",
        )

    def run(self, subject: Subject) -> Findings:
        """AUC, detection rates and ROC curves, against as many test records as were forgotten, 20 at least."""
        generator = numpy_generator(subject.seed, "audit/u-lira")
        others = others_like(subject, max(len(subject.forgotten), 4 * FEWEST_OTHERS), generator)
        if len(others) < FEWEST_OTHERS:
            return Findings(
                (), degraded=(f"U-LiRA: not measured, for only {len(others)} test records are like the forgotten ones",)
            )
        targets = joined(subject.forgotten, others)
        half = np.arange(self.count) < self.count // 2
        included = np.stack([generator.permutation(half) for _ in range(len(targets))], axis=1)
        try:
            observed = self._observed(subject, targets, included)
        except ProgrammerError as error:
            if error.code not in ("batch-of-one", "diverged", "method-unfit"):
                raise
            return Findings((), degraded=(f"U-LiRA: not measured, for {error}",))
        asked = [outputs(model, targets).confidence for model in subject.models]
        scores = [likelihood_ratio(each, observed, included, pooled=self.pooled) for each in asked]
        return findings("U-LiRA", scores, len(subject.forgotten))

    def _observed(
        self, subject: Subject, targets: Records, included: Bool[np.ndarray, "shadows targets"]
    ) -> Float[np.ndarray, "shadows targets"]:
        """Confidence of each shadow model, after it has unlearned the targets that it was trained on."""
        universe = joined(subject.retained, targets)
        universe = replace(universe, split=(TRAIN,) * len(universe), preparation={})
        first = len(subject.retained)
        kept = [[*range(first), *(first + np.flatnonzero(row)).tolist()] for row in included]
        seeds = [derive(subject.seed, f"audit/u-lira/{number}") for number in range(len(kept))]
        recipes = [replace(subject.recipe, seed=seed) for seed in seeds]
        stores = _trained(subject, universe, recipes, kept)
        found = []
        for recipe, rows, store in zip(recipes, kept, stores, strict=True):
            records = universe.select(rows)
            trained = train(recipe, records, checkpoints=store)
            forget = records.ids[first:]
            after = unlearn(trained, records, forget, self.method, seed=recipe.seed, executor=subject.executor)
            found.append(outputs(after.trained.model, targets).confidence)
        return np.stack(found)


def _trained(
    subject: Subject, universe: Records, recipes: list[Recipe], kept: list[list[int]]
) -> list[MemoryCheckpoints]:
    """Finished stages of each shadow model's training, all trained in one run."""
    plan: list[Course] = []
    names: list[list[str]] = []
    for number, (recipe, rows) in enumerate(zip(recipes, kept, strict=True)):
        own = courses(recipe, universe.select(rows))
        names.append([stage.name for course in own for stage in course.stages if stage.rows])
        plan += [_renamed(course, f"audit/u-lira/{number}", rows) for course in own]
    store = MemoryCheckpoints()
    run_courses(subject.recipe, universe, plan, checkpoints=store, executor=subject.executor, progress=subject.progress)
    return [
        MemoryCheckpoints(states={name: store.states[f"audit/u-lira/{number}/{name}"] for name in each})
        for number, each in enumerate(names)
    ]


def _renamed(course: Course, prefix: str, rows: list[int]) -> Course:
    """The same course over the rows of the universe, its stages under names of their own."""
    stages = tuple(Stage(f"{prefix}/{s.name}", tuple(rows[row] for row in s.rows), s.epochs) for s in course.stages)
    return replace(course, name=f"{prefix}/{course.name}", stages=stages)
