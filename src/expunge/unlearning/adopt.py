"""Bring in a model that was trained elsewhere."""

from torch import nn

from expunge.errors import ProgrammerError
from expunge.networks import State, check_fit, initialise, state_of
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

    **Raises:** `ProgrammerError("no-parameters" | "bad-shape" | "method-unfit" | "diverged")`.
    """
    if not isinstance(module, nn.Module):
        raise ProgrammerError("no-parameters", f"a {type(module).__name__} is no nn.Module: load the weights into one")
    if recipe.sharding is not None:
        raise ProgrammerError("method-unfit", "one module cannot be adopted under a sharded recipe")
    fresh = initialise(recipe.network, records.shape, records.classes, seed=recipe.seed, name="network")
    check_fit(fresh, records.features[:1], records.classes)
    state = _usable(module, state_of(fresh))
    model = Model(recipe, records.shape, records.classes, (state,))
    store = MemoryCheckpoints()
    return Trained(model, training_log(model, records.train, store, threads=1), Cost(0.0, 0, 0), store)


def _usable(module: nn.Module, expected: State) -> State:
    """The module's weights, where they are of the names, shapes and types that the recipe's network has, and finite."""
    if any(tensor.is_meta for tensor in module.state_dict().values()):
        raise ProgrammerError("bad-shape", "the module's weights are on the meta device: there are no numbers to adopt")
    state = state_of(module)
    if not state:
        raise ProgrammerError("no-parameters", f"{type(module).__name__} has no parameters")
    kinds, needed = ({n: (t.shape, t.dtype) for n, t in each.items()} for each in (state, expected))
    differing = sorted(name for name in kinds.keys() | needed.keys() if kinds.get(name) != needed.get(name))
    if differing:
        what = "the recipe's network differs from the module in shape or type of"
        raise ProgrammerError("bad-shape", f"{what} {differing[:3]}")
    if not all(tensor.isfinite().all() for tensor in state.values()):
        raise ProgrammerError("diverged", "the module's weights are not finite")
    return state
