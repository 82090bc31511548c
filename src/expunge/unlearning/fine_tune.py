"""Fine-tuning on the retained records: the empirical baseline."""

from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol, runtime_checkable

from expunge.errors import ProgrammerError
from expunge.networks import State
from expunge.training import L1, Constant, Cosine, Course, Recipe, Stage, courses, run_courses
from expunge.unlearning.empirical import Ground, check_positive, grounds, guarded, released
from expunge.unlearning.method import ClaimKind, Deletion, Description, Forecast, Method, Unlearned

RateSchedule = Literal["constant", "cosine"]

SCHEDULES: Final[dict[str, Constant | Cosine]] = {"constant": Constant(), "cosine": Cosine()}


@dataclass(frozen=True)
class FineTune:
    """Train on from the present weights on the retained records.

    In a sharded model only the constituents that saw a forgotten record are trained, each on its own shard. What it
    forgets rests on the learning rate: at a low one next to nothing (see docs/choose.md). A rate that forgets leaves
    the weights restless: under `"cosine"` it falls to 0, and accuracy comes back.

    **Arguments:** `epochs` over the retained records; `lr`, `None` for the recipe's own; `schedule` of the rate,
    `"constant"` or `"cosine"`.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    epochs: float = 5
    lr: float | None = None
    schedule: RateSchedule = "constant"

    def __post_init__(self) -> None:
        check_positive(epochs=self.epochs, lr=self.lr)
        check_schedule(self.schedule)

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
        return tuning_forecast(self, deletion)

    def run(self, deletion: Deletion) -> Unlearned:
        """Fine-tune; raises what `run_courses` raises."""
        return tuned(self, deletion)

    def tuning(self, recipe: Recipe) -> Recipe:
        """What the constituents of a model trained by `recipe` are tuned by."""
        return tuning_recipe(recipe, self.lr, None, self.schedule)

    def course(self, final: Stage, seed: int, state: State) -> Course:
        """The course of a constituent in `state` whose last stage of training was `final`."""
        return tuning_course(final, seed, state, self.epochs)


@runtime_checkable
class Tuning(Method, Protocol):
    """A method that is training on, on the retained records, by a recipe of its own: so a verifier can replay it."""

    def tuning(self, recipe: Recipe) -> Recipe:
        """What the constituents of a model trained by `recipe` are tuned by."""

    def course(self, final: Stage, seed: int, state: State) -> Course:
        """The course of a constituent in `state` whose last stage of training was `final`."""


def check_schedule(schedule: str) -> None:
    """Refuse what is no schedule of the rate.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """
    if schedule not in SCHEDULES:
        raise ProgrammerError("bad-hyperparameter", f"schedule is constant or cosine: {schedule}")


def tuning_recipe(recipe: Recipe, lr: float | None, penalty: L1 | None, schedule: RateSchedule) -> Recipe:
    """The recipe without shards, at its own rate or another, under a schedule of its own."""
    optimiser = recipe.stepwise
    tuned_by = replace(optimiser, lr=optimiser.lr if lr is None else lr)
    return replace(recipe, optimiser=tuned_by, schedule=SCHEDULES[schedule], sharding=None, penalty=penalty)


def tuning_course(final: Stage, seed: int, state: State, epochs: float) -> Course:
    """`epochs` over what the last stage of training saw."""
    stage = Stage(f"fine-tune/{final.name}", final.rows, epochs)
    return Course(stage.name, (stage,), seed, state)


def tuning_forecast(method: Tuning, deletion: Deletion) -> Forecast:
    """Its epochs over the retained records of the constituents concerned."""
    size = method.tuning(deletion.recipe).batch_size
    work = sum(course.evaluations(size) for course in _courses(method, deletion) if course)
    return Forecast(work, deletion.retraining_evaluations)


def tuned(method: Tuning, deletion: Deletion) -> Unlearned:
    """Training on, on the retained records; raises what `run_courses` raises."""
    plan = _courses(method, deletion)
    result = run_courses(
        method.tuning(deletion.recipe),
        deletion.retained.train,
        [course for course in plan if course],
        executor=deletion.executor,
        progress=deletion.progress,
        threads=deletion.threads,
    )
    found = iter(result.states)
    before = deletion.trained.model.constituents
    states = [next(found) if course else state for course, state in zip(plan, before, strict=True)]
    states, words = _guarded(deletion, states)
    return released(method, deletion, states, result.cost, *words)


def _guarded(deletion: Deletion, states: list[State | None]) -> tuple[list[State | None], list[str]]:
    """States of networks that training destroyed are put back; a network that no ground is found for stays."""
    found, words = [], []
    for ground, state in zip(grounds(deletion), states, strict=True):
        if isinstance(ground, Ground) and state is not None:
            state, said = guarded(ground, iter([state]))
            words += said
        found.append(state)
    return found, words


def _courses(method: Tuning, deletion: Deletion) -> list[Course | None]:
    """A course for each constituent that saw a forgotten record and still has records; None for the others."""
    finals = [course.stages[-1] for course in courses(deletion.recipe, deletion.retained.train)]
    pairs = zip(finals, deletion.trained.model.constituents, strict=True)
    return [
        None if state is None or final.name in deletion.clean_stages else method.course(final, deletion.seed, state)
        for final, state in pairs
    ]
