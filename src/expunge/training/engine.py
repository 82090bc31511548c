"""The reference engine: one network, one stage, plain autograd. Every other engine must equal it to the bit."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from expunge.errors import ProgrammerError
from expunge.networks import State, state_of
from expunge.randomness import derive
from expunge.training.checkpoints import Snapshot
from expunge.training.courses import BatchStream, Stage
from expunge.training.recipe import Recipe


def run_stage(
    module: nn.Module,
    recipe: Recipe,
    stage: Stage,
    seed: int,
    features: Tensor,
    targets: Tensor,
    *,
    snapshot: Snapshot | None = None,
    every: int | None = None,
    keep: Callable[[Snapshot], None] | None = None,
    stepped: Callable[[int], None] | None = None,
) -> None:
    """Train `module` in place through `stage`, from `snapshot` where there is one.

    The optimiser starts afresh at each stage, so that a stage depends only on the weights it starts from. Randomness
    inside the network (dropout) is seeded at every step, so that a resumed run draws the same.

    **Raises:** `ProgrammerError("diverged")`.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimiser = recipe.optimiser.build(parameters)
    first = 0
    if snapshot is not None:
        module.load_state_dict(snapshot.state)
        _load_optimiser(optimiser, parameters, snapshot.optimiser)
        first = snapshot.step
    steps, stream = stage.steps(recipe.batch_size), BatchStream(stage, recipe.batch_size, seed)
    module.train()
    with torch.random.fork_rng(devices=[]):
        for step in range(first, steps):
            # Not torch.manual_seed: it writes a stack trace for every kind of GPU that is not there, at each call.
            torch.default_generator.manual_seed(derive(seed, f"{stage.name}/step/{step}"))
            rows = stream[step]
            _set_rate(optimiser, recipe.optimiser.lr * recipe.schedule.factor(step, steps))
            optimiser.zero_grad(set_to_none=True)
            batch, goals = features.index_select(0, rows), targets.index_select(0, rows)
            recipe.loss.mean(module(batch), goals).backward()
            optimiser.step()
            if stepped is not None:
                stepped(len(rows))
            if keep is not None and every and (step + 1) % every == 0 and step + 1 < steps:
                keep(Snapshot(step + 1, state_of(module), _save_optimiser(optimiser, parameters)))
    check_finite(state_of(module), stage.name)


def check_finite(state: State, stage: str) -> None:
    """Refuse weights that diverged.

    **Raises:** `ProgrammerError("diverged")`.
    """
    if not all(torch.isfinite(tensor).all() for tensor in state.values()):
        raise ProgrammerError("diverged", f"training diverged in stage {stage}: weights are not finite")


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate


def _save_optimiser(optimiser: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> State:
    return {
        f"{number}/{name}": value.detach().clone()
        for number, parameter in enumerate(parameters)
        for name, value in optimiser.state[parameter].items()
        if isinstance(value, Tensor)
    }


def _load_optimiser(optimiser: torch.optim.Optimizer, parameters: list[nn.Parameter], saved: State) -> None:
    for key, value in saved.items():
        number, name = key.split("/", 1)
        optimiser.state[parameters[int(number)]][name] = value.clone()
