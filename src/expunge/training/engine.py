"""The reference engine: one network, one stage, plain autograd. Every other engine must equal it to the bit."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from expunge.errors import ProgrammerError
from expunge.networks import State, state_of
from expunge.randomness import derive
from expunge.training.checkpoints import Snapshot
from expunge.training.courses import Batches, BatchStream, Stage
from expunge.training.head import Head, fixed_features, head_of, solve_head, write_head
from expunge.training.least_squares import sums_of
from expunge.training.pruning.masks import Held
from expunge.training.recipe import CrossEntropy, HeadSolver, LeastSquares, Recipe


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
    batches: Batches | None = None,
    until: int | None = None,
) -> None:
    """Train `module` in place through `stage`, from `snapshot` where there is one.

    The optimiser starts afresh at each stage, so that a stage depends only on the weights it starts from. Randomness
    inside the network (dropout) is seeded at every step, so that a resumed run draws the same.

    `batches` stand in for the stage's own stream, and no step from `until` on is run: verifiers replay a segment so,
    and dishonest providers choose what they train on.

    **Raises:** `ProgrammerError("diverged")`.
    """
    if isinstance(recipe.optimiser, HeadSolver):
        _solve(module, recipe, recipe.optimiser, stage, features, targets, stepped, keep if every else None)
        return
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimiser = recipe.optimiser.build(parameters)
    first = 0
    if snapshot is not None:
        module.load_state_dict(snapshot.state)
        _load_optimiser(optimiser, parameters, snapshot.optimiser)
        first = snapshot.step
    held = Held.of(module, sparse=recipe.pruning is not None)
    held.mask_optimiser(optimiser)
    steps = stage.steps(recipe.batch_size)
    stream = BatchStream(stage, recipe.batch_size, seed) if batches is None else batches
    module.train()
    with torch.random.fork_rng(devices=[]):
        for step in range(first, steps if until is None else min(until, steps)):
            # Not torch.manual_seed: it writes a stack trace for every kind of GPU that is not there, at each call.
            torch.default_generator.manual_seed(derive(seed, f"{stage.name}/step/{step}"))
            rows = stream[step]
            _set_rate(optimiser, recipe.optimiser.lr * recipe.schedule.factor(step, steps))
            optimiser.zero_grad(set_to_none=True)
            batch, goals = features.index_select(0, rows), targets.index_select(0, rows)
            recipe.loss.mean(module(batch), goals).backward()
            if recipe.penalty is not None:
                penalise(parameters, recipe.penalty.weight(step, steps))
            held.mask_gradients()
            optimiser.step()
            if recipe.radius is not None:
                project(parameters, recipe.radius)
            if stepped is not None:
                stepped(len(rows))
            if keep is not None and every and (step + 1) % every == 0 and step + 1 < steps:
                keep(Snapshot(step + 1, state_of(module), _save_optimiser(optimiser, parameters)))
    check_finite(state_of(module), stage.name)


@torch.no_grad()
def penalise(parameters: list[nn.Parameter], weight: float) -> None:
    """Add the slope of `weight` times the L1 norm to the gradients; 0 at 0, as autograd has it."""
    for parameter in parameters:
        if weight and parameter.grad is not None:
            parameter.grad.add_(parameter.sign(), alpha=weight)


@torch.no_grad()
def project(parameters: list[nn.Parameter], radius: float) -> None:
    """Scale the parameters together into the ball of this radius, where they are outside it."""
    norm = float(torch.cat([parameter.reshape(-1) for parameter in parameters]).double().norm())
    if norm > radius:
        for parameter in parameters:
            parameter.mul_(radius / norm * (1 - 1e-7))  # single precision must not round out of the ball again


def _solve(
    module: nn.Module,
    recipe: Recipe,
    solver: HeadSolver,
    stage: Stage,
    features: Tensor,
    targets: Tensor,
    stepped: Callable[[int], None] | None,
    keep: Callable[[Snapshot], None] | None,
) -> None:
    """The convex head on the stage's records; a look at the weights is kept after each Newton step."""
    rows = torch.tensor(stage.rows, dtype=torch.long)
    found = head_of(module)
    if found is None or not isinstance(recipe.loss, CrossEntropy) or recipe.radius is not None:
        raise ProgrammerError("method-unfit", "HeadSolver wants fixed features, one linear layer, cross-entropy")
    if isinstance(solver, LeastSquares):
        sums = sums_of(module, features[rows], targets[rows], found[1].out_features)
        module.load_state_dict(write_head(state_of(module), found[0], sums.solve(solver.l2)))
        if stepped is not None:
            stepped(stage.evaluations(recipe.batch_size))
        return
    head = Head(fixed_features(module, features[rows]), targets[rows], found[1].out_features, solver.l2)
    solution = solve_head(head, gradient_norm=solver.gradient_norm, passes=int(stage.epochs))
    state, width = state_of(module), min(recipe.batch_size, len(rows))
    for passes, weights in solution.path[:-1] if keep is not None else ():
        assert keep is not None
        keep(Snapshot(-(-passes * len(rows) // width), write_head(state, found[0], weights), {}))
    module.load_state_dict(write_head(state, found[0], solution.weights))
    check_finite(state_of(module), stage.name)
    if stepped is not None:
        stepped(stage.evaluations(recipe.batch_size))


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


def optimiser_frame(module: nn.Module, recipe: Recipe) -> State:
    """The state that the recipe's optimiser keeps from its first step on: names, types and shapes; values mean nothing.

    A solver keeps none.
    """
    if isinstance(recipe.optimiser, HeadSolver):
        return {}
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimiser = recipe.optimiser.build(parameters)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    return _save_optimiser(optimiser, parameters)


def _load_optimiser(optimiser: torch.optim.Optimizer, parameters: list[nn.Parameter], saved: State) -> None:
    for key, value in saved.items():
        number, name = key.split("/", 1)
        optimiser.state[parameters[int(number)]][name] = value.clone()
