"""Exact unlearning in a sharded model: only the shard, from the right slice."""

from dataclasses import dataclass, replace

from expunge.errors import ProgrammerError
from expunge.training import Course, MemoryCheckpoints, courses, evaluations, train
from expunge.unlearning.method import ClaimKind, Deletion, Description, Forecast, Unlearned, finish
from expunge.unlearning.retrain import EXACT


@dataclass(frozen=True)
class Sharded:
    """Go back, in each shard that held forgotten records, to the slice checkpoint before them; train on without them.

    Source: Bourtoule et al., "Machine Unlearning", S&P 2021. The same bytes as sharded training from scratch on the
    retained records: training again with every checkpoint reused that never saw a forgotten record *is* that run.
    """

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "sharded",
            "Retrain only the shards that held the records, from the slice checkpoint before them.",
            ClaimKind.EXACT,
            "Bourtoule et al., S&P 2021 (SISA)",
        )

    def plan(self, deletion: Deletion) -> Forecast:
        """The stages that saw a forgotten record, or whose checkpoint is gone.

        **Raises:** `ProgrammerError("method-unfit")` when the recipe is not sharded.
        """
        if deletion.recipe.sharding is None:
            raise ProgrammerError("method-unfit", "the model was not trained in shards")
        kept = self._reused(deletion)
        plan = courses(deletion.recipe, deletion.retained.train)
        work = evaluations(deletion.recipe, [_left(course, kept) for course in plan if course.stages[-1].rows])
        return Forecast(work, deletion.retraining_evaluations, self._missing(deletion))

    def run(self, deletion: Deletion) -> Unlearned:
        """Retrain what `plan` says; raises what `plan` and `train` raise."""
        forecast = self.plan(deletion)
        trained = train(
            deletion.recipe,
            deletion.refitted,
            checkpoints=MemoryCheckpoints.reusing(deletion.trained.checkpoints, self._reused(deletion)),
            executor=deletion.executor,
            progress=deletion.progress,
            threads=deletion.threads,
        )
        return finish(
            self, deletion, trained, replace(EXACT, assumptions=EXACT.assumptions + ASSUMPTIONS), *forecast.notes
        )

    def _reused(self, deletion: Deletion) -> set[str]:
        store = deletion.trained.checkpoints
        return {name for name in deletion.clean_stages if store.load(name) is not None}

    def _missing(self, deletion: Deletion) -> tuple[str, ...]:
        if not deletion.settled:
            return ("The deletion moved the statistics of a column: every shard was trained again.",)
        missing = len(set(deletion.clean_stages) - self._reused(deletion))
        return (f"{missing} clean checkpoints were missing and were trained again",) if missing else ()


def _left(course: Course, kept: set[str]) -> Course:
    """The stages that must run again; a network that keeps a stage does not start from its initial weights."""
    stages = tuple(stage for stage in course.stages if stage.name not in kept)
    return replace(course, stages=stages, start=course.start if len(stages) == len(course.stages) else {})


ASSUMPTIONS = (
    "Shard and slice of an owner do not depend on the data (drawn by a keyed hash of the owner id).",
    "Requests do not depend on the model: owners who choose what to delete after seeing it are not covered "
    "(Gupta et al. 2021).",
)
