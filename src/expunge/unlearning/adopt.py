"""Bring in a model that was trained elsewhere."""

from torch import nn

from expunge.errors import ProgrammerError
from expunge.networks import initialise, state_of
from expunge.records import Records
from expunge.training import Cost, MemoryCheckpoints, Model, Recipe, Trained, training_log


def adopt(module: nn.Module, records: Records, recipe: Recipe) -> Trained:
    """A model trained elsewhere, ready for requests.

    There are no checkpoints, so that exact methods train from scratch; `recipe` should be the one it was trained by,
    for exactness is measured against training by `recipe`.

    **Arguments:**

    - `module`: the trained network; its weights are copied, it is not changed.
    - `records`: what it was trained (and is to be tested) on.
    - `recipe`: how; `recipe.network` must build the same architecture.

    **Raises:** `ProgrammerError("no-parameters" | "bad-shape" | "method-unfit")`.
    """
    if recipe.sharding is not None:
        raise ProgrammerError("method-unfit", "one module cannot be adopted under a sharded recipe")
    fresh = initialise(recipe.network, records.shape, records.classes, seed=recipe.seed, name="network")
    state, expected = state_of(module), state_of(fresh)
    if not state:
        raise ProgrammerError("no-parameters", f"{type(module).__name__} has no parameters")
    differing = {n for n in state.keys() | expected.keys() if n not in state or n not in expected}
    differing |= {n for n in state.keys() & expected.keys() if state[n].shape != expected[n].shape}
    if differing:
        raise ProgrammerError("bad-shape", f"the recipe's network differs from the module in {sorted(differing)[:3]}")
    model = Model(recipe, records.shape, records.classes, (state,))
    store = MemoryCheckpoints()
    return Trained(model, training_log(model, records.train, store, threads=1), Cost(0.0, 0, 0), store)
