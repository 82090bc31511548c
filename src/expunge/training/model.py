"""The model: what training yields and requests change. One network, or one per shard."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor, nn

from expunge.networks import State
from expunge.training.recipe import Recipe
from expunge.training.sharding import aggregate

INFERENCE_BATCH = 1024
"""Records in one forward pass without gradients: large enough to be quick, small enough for a CPU's cache."""


@dataclass(frozen=True, eq=False)
class Model:
    """Constituent networks under one recipe.

    **Arguments:**

    - `recipe`: what it was trained by.
    - `shape`, `classes`: of the records.
    - `constituents`: a state for each shard (one without sharding); `None` for a shard without records.
    """

    recipe: Recipe
    shape: tuple[int, ...]
    classes: int
    constituents: tuple[State | None, ...]

    def modules(self) -> list[nn.Module]:
        """Fresh modules in evaluation mode, one for each constituent that exists."""
        return [self.module(state) for state in self.constituents if state is not None]

    def module(self, state: State | None = None) -> nn.Module:
        """A fresh module in evaluation mode with the weights of `state`, by default of the only constituent."""
        with torch.random.fork_rng(devices=[]):
            built = self.recipe.network.build(self.shape, self.classes)
        built.load_state_dict(state if state is not None else self._only())
        return built.eval()

    def logits(self, features: Float[Tensor, "records *shape"]) -> Float[Tensor, "records outputs"]:
        """Outputs: logits of a single network, logarithms of the aggregated posterior of several."""
        modules = self.modules()
        if len(modules) == 1:
            return _batched(modules[0], features)
        return self.probabilities(features).clamp_min(torch.finfo(features.dtype).tiny).log()

    def probabilities(self, features: Float[Tensor, "records *shape"]) -> Float[Tensor, "records classes"]:
        """Class probabilities, aggregated over the constituents as the recipe says."""
        posteriors = torch.stack([_batched(module, features).softmax(1) for module in self.modules()])
        sharding = self.recipe.sharding
        return aggregate(posteriors, sharding.aggregation if sharding else "mean")

    def predict(self, features: Float[Tensor, "records *shape"]) -> Tensor:
        """Class numbers `[records]`; ties go to the lowest."""
        return self.probabilities(features).argmax(1)

    @cached_property
    def file(self) -> bytes:
        """The model file: safetensors, tensors named `<constituent>/<name>`, shapes in the metadata.

        The same model gives the same bytes.
        """
        tensors = {
            f"{number}/{name}": tensor.contiguous()
            for number, state in enumerate(self.constituents)
            if state is not None
            for name, tensor in state.items()
        }
        header = {"shape": list(self.shape), "classes": self.classes, "constituents": len(self.constituents)}
        return save(tensors, {"expunge": json.dumps(header, sort_keys=True)})

    @cached_property
    def digest(self) -> str:
        """SHA-256 of `file`, in hex: what receipts bind."""
        return hashlib.sha256(self.file).hexdigest()

    def _only(self) -> State:
        (state,) = [state for state in self.constituents if state is not None]
        return state


def state_digest(state: State) -> str:
    """SHA-256 of a checkpoint's safetensors bytes, in hex."""
    return hashlib.sha256(save({name: tensor.contiguous() for name, tensor in state.items()})).hexdigest()


@torch.no_grad()
def _batched(module: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
    return torch.cat([module(part) for part in features.split(INFERENCE_BATCH)])
