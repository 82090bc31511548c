"""Fine-tuning on the retained records: the empirical baseline."""

from dataclasses import dataclass, replace

from expunge.errors import ProgrammerError
from expunge.networks import State
from expunge.training import (
    Constant,
    Course,
    MemoryCheckpoints,
    Model,
    Recipe,
    Stage,
    Trained,
    courses,
    run_courses,
    training_log,
)
from expunge.unlearning.method import Claim, ClaimKind, Deletion, Description, Forecast, Unlearned, finish


@dataclass(frozen=True)
class FineTune:
    """Train on from the present weights on the retained records, at a constant rate.

    In a sharded model only the constituents that saw a forgotten record are trained, each on its own shard. What it
    forgets rests on the learning rate: at a low one next to nothing (see docs/choose.md).

    **Arguments:** `epochs` over the retained records; `lr`, `None` for the recipe's own.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    epochs: float = 5
    lr: float | None = None

    def __post_init__(self) -> None:
        if self.epochs <= 0 or (self.lr is not None and self.lr <= 0):
            raise ProgrammerError("bad-hyperparameter", f"epochs and lr must be positive: {self.epochs}, {self.lr}")

    def describe(self) -> Description:
        """The method in words."""
        return Description(
            "fine-tune",
            "Go on training on what is left and hope that the rest fades.",
            ClaimKind.EMPIRICAL,
            "baseline FT of Jia et al., NeurIPS 2023",
        )

    def plan(self, deletion: Deletion) -> Forecast:
        """`epochs` over the retained records of the constituents concerned."""
        recipe = self.tuning(deletion.recipe)
        work = sum(course.evaluations(recipe.batch_size) for course in self._courses(deletion) if course)
        return Forecast(work, deletion.retraining_evaluations)

    def run(self, deletion: Deletion) -> Unlearned:
        """Fine-tune; raises what `run_courses` raises."""
        plan = self._courses(deletion)
        result = run_courses(
            self.tuning(deletion.recipe),
            deletion.retained.train,
            [course for course in plan if course],
            executor=deletion.executor,
            progress=deletion.progress,
            threads=deletion.threads,
        )
        tuned = iter(result.states)
        before = deletion.trained.model
        states = [next(tuned) if course else state for course, state in zip(plan, before.constituents, strict=True)]
        clean = MemoryCheckpoints.reusing(deletion.trained.checkpoints, deletion.clean_stages)
        model = Model(before.recipe, before.shape, before.classes, tuple(states))
        log = training_log(model, deletion.retained.train, clean, deletion.threads)
        return finish(self, deletion, Trained(model, log, result.cost, clean), EMPIRICAL)

    def tuning(self, recipe: Recipe) -> Recipe:
        """What the constituents of a model trained by `recipe` are tuned by."""
        optimiser = recipe.stepwise
        rate = optimiser.lr if self.lr is None else self.lr
        return replace(recipe, optimiser=replace(optimiser, lr=rate), schedule=Constant(), sharding=None)

    def course(self, final: Stage, seed: int, state: State) -> Course:
        """The course of a constituent in `state` whose last stage of training was `final`."""
        stage = Stage(f"fine-tune/{final.name}", final.rows, self.epochs)
        return Course(stage.name, (stage,), seed, state)

    def _courses(self, deletion: Deletion) -> list[Course | None]:
        """A course for each constituent that saw a forgotten record and still has records; None for the others."""
        finals = [course.stages[-1] for course in courses(deletion.recipe, deletion.retained.train)]
        pairs = zip(finals, deletion.trained.model.constituents, strict=True)
        return [self._course(deletion, final, state) for final, state in pairs]

    def _course(self, deletion: Deletion, final: Stage, state: State | None) -> Course | None:
        if state is None or final.name in deletion.clean_stages:
            return None
        return self.course(final, deletion.seed, state)


EMPIRICAL = Claim(ClaimKind.EMPIRICAL, "none: compare the audit's figures with those of retraining", ())
