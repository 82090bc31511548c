"""What certified methods share: the records they may touch, the noise, and the record of what was released."""

import time
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.errors import ProgrammerError
from expunge.networks import Layout, State, initialise, layout
from expunge.noise import normal
from expunge.records import Records
from expunge.training import Constant, Cost, Course, MemoryCheckpoints, Model, Stage, Trained, run_courses, training_log
from expunge.unlearning.method import Deletion


def ground(deletion: Deletion) -> Records:
    """The retained records under the preparation that they alone call for: all that a release may depend on.

    **Raises:** `ProgrammerError("method-unfit")` for a sharded model, and where classes or columns went with the
    forgotten records, for the old weights then fit no more.
    """
    records, before = deletion.refitted, deletion.trained.model
    if len(before.constituents) != 1 or before.constituents[0] is None:
        raise ProgrammerError("method-unfit", "certified methods work on one network: use `sharded` for shards")
    if records.shape != before.shape or records.classes != before.classes:
        raise ProgrammerError("method-unfit", "classes or columns vanish with these records: retrain")
    return records


def network(deletion: Deletion) -> tuple[torch.nn.Module, Layout, State]:
    """Fresh module as the recipe initialises it, its layout, and the present weights.

    **Raises:** `ProgrammerError("method-unfit")` for batch statistics: they come from records and get no noise.
    """
    recipe, before = deletion.recipe, deletion.trained.model
    module = initialise(recipe.network, before.shape, before.classes, seed=recipe.seed, name="network")
    state = before.constituents[0] or {}
    where = layout(module)
    for name, value in module.state_dict().items():
        if name not in where.names and not torch.equal(value, state[name]):
            raise ProgrammerError("method-unfit", "the network keeps statistics of the records (batch normalisation)")
    return module, where, state


def gaussian(like: Tensor, sigma: float, key: bytes | None, name: str) -> Tensor:
    """Normal noise of the shape of `like`, drawn in double precision; see `normal`."""
    drawn = normal(like.numel(), key, name).reshape(like.shape)
    return (sigma * torch.from_numpy(drawn)).to(like.dtype)


def noised(point: Float[Tensor, "*shape"], sigma: float, key: bytes | None, name: str) -> Float[Tensor, "*shape"]:
    """`point` plus `gaussian`, added in double precision and rounded once.

    A sum of single-precision numbers keeps in its lowest bits how large `point` was, wherever the noise nearly cancels
    it: across thousands of weights that tells two models apart, whatever sigma is (Mironov, CCS 2012).
    """
    exact = point.double()
    return (exact + gaussian(exact, sigma, key, name)).to(point.dtype)


ADAPTIVE = (
    "Who asks may have seen earlier models: each release is compared with the reference on the records left at that "
    "moment, and releases add up whatever was seen before. What the choice of later requests tells is not covered."
)
"""The sequence's assumption: adaptive composition (Dong, Roth and Su 2022, section 3; Smith and Thakurta 2022 for
budgets chosen on the way). The reference has the same records left, so that a requester whom an earlier model led to
ask can carry a forgotten record's trace into which records remain (Chourasia and Shah, ICML 2023): no method, not
retraining either, takes that out."""


def into_ball(vector: Float[Tensor, " parameters"], radius: float) -> Float[Tensor, " parameters"]:
    """The nearest vector of norm `radius` or less."""
    size = float(vector.double().norm())
    return vector if size <= radius else vector * (radius / size * (1 - 1e-7))


def trained_on(deletion: Deletion, records: Records, state: State, epochs: float, name: str) -> tuple[State, int]:
    """Ordinary training on from `state`: post-processing, which costs no epsilon; and its gradient evaluations."""
    if epochs <= 0:
        return state, 0
    recipe = replace(deletion.recipe, sharding=None, optimiser=deletion.recipe.stepwise, radius=None)
    recipe = replace(recipe, schedule=recipe.schedule if epochs >= 1 else Constant())
    stage = Stage(name, tuple(range(len(records.train))), epochs)
    done = run_courses(
        recipe,
        records.train,
        [Course(name, (stage,), deletion.seed, state)],
        executor=deletion.executor,
        progress=deletion.progress,
        threads=deletion.threads,
    )
    return done.states[0] or {}, done.cost.gradient_evaluations


def released(deletion: Deletion, records: Records, state: State, started: float, evaluations: int) -> Trained:
    """The released network as a trained model; no checkpoint outlives the release."""
    model = Model(deletion.recipe, records.shape, records.classes, (state,))
    store = MemoryCheckpoints()
    log = training_log(model, records.train, store, deletion.threads)
    return Trained(model, log, Cost.since(started, evaluations), store)


def clock() -> float:
    """When a run began."""
    return time.monotonic()
