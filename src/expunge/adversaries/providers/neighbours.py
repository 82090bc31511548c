"""The nearest retained record of the same class, for each forgotten one: what both published attacks substitute."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from expunge.adversaries.providers.contract import Case
from expunge.errors import ProgrammerError
from expunge.records import Records

Space = Literal["pixels", "features", "gradients"]
"""Where distance is measured: raw features by cosine (as the public code), the network's outputs, or its gradients."""

_CHUNK = 512


def substitutes(case: Case, space: Space = "pixels") -> Int[Tensor, " records"]:
    """Row, in the retained records, that stands in for each record: itself where it is retained.

    For a forgotten one the retained record of its class with the largest cosine; of any class where its own is gone.

    **Raises:** `ProgrammerError("bad-hyperparameter")` for another space.
    """
    records, retained = case.records, case.retained
    table = torch.tensor([retained.row_of.get(record, -1) for record in records.ids])
    describe = _SPACES.get(space)
    if describe is None:
        raise ProgrammerError("bad-hyperparameter", f"space is one of {', '.join(_SPACES)}")
    gone = (table < 0).nonzero()[:, 0]
    module = case.model.module()
    ours, theirs = (_unit(describe(case, module, part)) for part in (records.select(gone), retained))
    goals = records.targets[gone]
    for first in range(0, len(gone), _CHUNK):
        part = slice(first, first + _CHUNK)
        closeness = ours[part] @ theirs.T
        same = goals[part, None] == retained.targets[None]
        masked = torch.where(same | ~same.any(1, keepdim=True), closeness, -torch.inf)
        table[gone[part]] = masked.argmax(1)
    return table


def random_substitutes(case: Case, seed: int) -> Int[Tensor, " records"]:
    """The control: a random retained record of the same class for each forgotten one."""
    from expunge.randomness import torch_generator

    records, retained = case.records, case.retained
    generator = torch_generator(seed, "adversaries/random-same-class")
    rows = []
    for row, record in enumerate(records.ids):
        known = retained.row_of.get(record)
        if known is None:
            pool = (retained.targets == records.targets[row]).nonzero()[:, 0]
            pool = pool if len(pool) else torch.arange(len(retained))
            known = int(pool[torch.randint(len(pool), (1,), generator=generator)])
        rows.append(known)
    return torch.tensor(rows)


def _unit(rows: Tensor) -> Float[Tensor, "records numbers"]:
    return nn.functional.normalize(rows.flatten(1), dim=1)


def _pixels(case: Case, module: nn.Module, part: Records) -> Tensor:
    del case, module
    return part.features


@torch.no_grad()
def _features(case: Case, module: nn.Module, part: Records) -> Tensor:
    del case
    return torch.as_tensor(module(part.features))


def _gradients(case: Case, module: nn.Module, part: Records) -> Tensor:
    loss, weights = case.recipe.loss, {name: parameter.detach() for name, parameter in module.named_parameters()}

    def of_one(parameters: dict[str, Tensor], each: Tensor, goal: Tensor) -> Tensor:
        return loss.mean(functional_call(module, parameters, (each[None],)), goal[None])

    found = vmap(grad(of_one), (None, 0, 0))(weights, part.features, part.targets)
    return torch.cat([value.flatten(1) for value in found.values()], 1)


_SPACES: dict[str, Callable[[Case, nn.Module, Records], Tensor]] = {
    "pixels": _pixels,
    "features": _features,
    "gradients": _gradients,
}
