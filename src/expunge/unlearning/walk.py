"""A network on its way from its present weights: steps of the recipe's optimiser on losses that a method chooses."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.networks import State, state_of
from expunge.randomness import derive
from expunge.training.pruning import Held
from expunge.unlearning.empirical import Ground, Part


class Walk:
    """Steps at a constant rate, with the recipe's momentum and weight decay; zeros of a sparse network stay.

    Batch statistics are learnt from retained records only: batches of forgotten ones go through the statistics as
    they stand, for a few records would wreck them, and would leave their own mark in them.

    **Arguments:** `lr`: `None` for the recipe's own; `salient`: where given, all other weights stay as they are.
    """

    def __init__(
        self, ground: Ground, lr: float | None, name: str, salient: Mapping[str, Tensor] | None = None
    ) -> None:
        self.module = ground.module()
        self._ground, self._name, self._draws = ground, f"{name}/{ground.name}", 0
        parameters = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        chosen = ground.recipe.stepwise
        self._optimiser = replace(chosen, lr=lr or chosen.lr).build(parameters)
        self._held = Held.of(self.module, sparse=ground.recipe.pruning is not None)
        self._frozen = _frozen(self.module, salient or {})
        self._norms = [part for part in self.module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]

    def outputs(self, part: Part, *, retained: bool) -> Float[Tensor, "records outputs"]:
        """Logits in training mode."""
        torch.default_generator.manual_seed(derive(self._ground.seed, f"{self._name}/draw/{self._draws}"))
        self._draws += 1
        self.module.train()
        for norm in self._norms:
            norm.train(retained and len(part) > 1)
        found: Tensor = self.module(part.features)
        return found

    def loss(self, part: Part, *, retained: bool) -> Float[Tensor, ""]:
        """The recipe's own loss."""
        return self._ground.recipe.loss.mean(self.outputs(part, retained=retained), part.targets)

    def step(self, loss: Float[Tensor, ""], records: int) -> None:
        """One step down `loss`, charged as the gradients of so many records."""
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._held.mask_gradients()
        self._optimiser.step()
        with torch.no_grad():
            for parameter, mask, before in self._frozen:
                parameter.copy_(torch.where(mask, parameter, before))
        self._ground.charge(records)

    @property
    def state(self) -> State:
        """Where it stands."""
        return state_of(self.module)


def _frozen(module: nn.Module, salient: Mapping[str, Tensor]) -> list[tuple[nn.Parameter, Tensor, Tensor]]:
    named = dict(module.named_parameters())
    return [(named[name], mask, named[name].detach().clone()) for name, mask in salient.items()]
