"""The training log, and what a run cost."""

import resource
import time
from dataclasses import dataclass
from typing import Any

import torch

from expunge.errors import ProgrammerError
from expunge.records import Records
from expunge.training.checkpoints import Checkpoints
from expunge.training.courses import courses
from expunge.training.model import Model, state_digest
from expunge.training.platform import fingerprint
from expunge.training.recipe import Recipe


@dataclass(frozen=True)
class Cost:
    """What a run took: wall seconds, gradients of single records, peak resident memory of the process in bytes."""

    seconds: float
    gradient_evaluations: int
    peak_memory: int

    @staticmethod
    def since(started: float, gradient_evaluations: int) -> "Cost":
        """The cost of work that began at `started`, a reading of `time.monotonic()` or of `begun`."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return Cost(time.monotonic() - started, gradient_evaluations, peak)


def begun() -> float:
    """Now, as `Cost.since` reads it; before, torch loads what it loads with a process's first optimiser (1.7 s)."""
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.0)
    return time.monotonic()


@dataclass(frozen=True)
class TrainingLog:
    """What anyone needs to train again and compare: plain JSON values throughout.

    **Arguments:**

    - `recipe`: plain form; `None` where it holds a Python callable.
    - `records`: number of training records.
    - `checkpoints`: digest of the network after each stage that is kept.
    - `reused`: stages taken from earlier checkpoints instead of being run.
    - `model`: digest of the model file.
    - `platform`: fingerprint.
    """

    recipe: dict[str, Any] | None
    records: int
    checkpoints: dict[str, str]
    reused: tuple[str, ...]
    model: str
    platform: dict[str, Any]


def training_log(
    model: Model, records: Records, store: Checkpoints, threads: int, reused: tuple[str, ...] = ()
) -> TrainingLog:
    """The log of `model` over the training records `records`, with the checkpoints that `store` holds."""
    found = {name: store.load(name) for name in stage_names(model.recipe, records)}
    digests = {name: state_digest(state) for name, state in found.items() if state is not None}
    return TrainingLog(_plain(model.recipe), len(records), digests, reused, model.digest, fingerprint(threads))


def stage_names(recipe: Recipe, records: Records) -> list[str]:
    """Names of all stages of training `recipe` on the training records `records`."""
    return [stage.name for course in courses(recipe, records) for stage in course.stages]


def _plain(recipe: Recipe) -> dict[str, Any] | None:
    try:
        return recipe.to_json()
    except ProgrammerError:
        return None
