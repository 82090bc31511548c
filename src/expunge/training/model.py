"""The model: what training yields and requests change. One network, or one per shard."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.func import functional_call

from expunge.errors import OperatorError
from expunge.ledger import strict_json
from expunge.ledger.safetensors_check import check
from expunge.networks import State
from expunge.training.packing import packed, unpacked
from expunge.training.platform import deterministic
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

    def module(self, state: State | None = None) -> nn.Module:
        """A fresh module in evaluation mode with the weights of `state`, by default of the only constituent."""
        with torch.random.fork_rng(devices=[]):
            built = self.recipe.network.build(self.shape, self.classes)
        built.load_state_dict(state if state is not None else self._states[0])
        return built.eval()

    @property
    def is_single(self) -> bool:
        """Whether one network alone answers."""
        return len(self._states) == 1

    def logits(self, features: Float[Tensor, "records *shape"]) -> Float[Tensor, "records outputs"]:
        """Outputs: logits of a single network, logarithms of the aggregated posterior of several.

        For regression the prediction, the mean over several networks.
        """
        if self.is_single or not self.classes:
            return self._outputs(features).mean(0)
        return self.probabilities(features).clamp_min(torch.finfo(features.dtype).tiny).log()

    def probabilities(self, features: Float[Tensor, "records *shape"]) -> Float[Tensor, "records classes"]:
        """Class probabilities, aggregated over the constituents as the recipe says."""
        sharding = self.recipe.sharding
        return aggregate(self.posteriors(features), sharding.aggregation if sharding else "mean")

    def posteriors(self, features: Float[Tensor, "records *shape"]) -> Float[Tensor, "constituents records classes"]:
        """Class probabilities of each constituent that there is."""
        return self._outputs(features).softmax(2)

    def predict(self, features: Float[Tensor, "records *shape"]) -> Tensor:
        """Class numbers `[records]`, ties go to the lowest; for regression the predicted numbers."""
        return self.probabilities(features).argmax(1) if self.classes else self.logits(features)[:, 0]

    @cached_property
    def file(self) -> bytes:
        """The model file: safetensors, tensors named `<constituent>/<name>`, shapes in the metadata.

        The same model gives the same bytes, and the metadata binds the recipe that it was made by. Of a sparse network
        only the weights that are there are stored, and where they stand as one bit each.
        """
        tensors = {
            f"{number}/{name}": tensor.contiguous()
            for number, state in enumerate(self.constituents)
            if state is not None
            for name, tensor in state.items()
        }
        header: dict[str, Any] = {
            "shape": list(self.shape),
            "classes": self.classes,
            "constituents": len(self.constituents),
        }
        if self.recipe.digest:
            header["recipe"] = self.recipe.digest
        if self.recipe.pruning is not None:
            tensors, header["sparse"] = packed(tensors)
        return save(tensors, {"expunge": json.dumps(header, sort_keys=True)})

    @staticmethod
    def from_file(recipe: Recipe, data: bytes) -> "Model":
        """The model in a file that `file` wrote, under its recipe; nothing that the bytes hold is executed.

        **Raises:** `AttackSuspected("not-a-model" | "malformed-model")`; `OperatorError("bad-data")` for a well-formed
        file that is no model of this form.
        """
        header, tensors = model_header(data), load(data)
        tensors = unpacked(tensors, header.get("sparse", {}))
        states: list[State] = [{} for _ in range(header["constituents"])]
        for name, tensor in tensors.items():
            number, _, part = name.partition("/")
            states[int(number)][part] = tensor
        shape = tuple(header["shape"])
        return Model(recipe, shape, header["classes"], tuple(state or None for state in states))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of `file`, in hex: what receipts bind."""
        return hashlib.sha256(self.file).hexdigest()

    @property
    def _states(self) -> list[State]:
        return [state for state in self.constituents if state is not None]

    @cached_property
    def _frame(self) -> nn.Module:
        """The module that the constituents' weights are called through; its own weights are never used."""
        return self.module()

    @torch.no_grad()
    def _outputs(self, features: Float[Tensor, "records *shape"]) -> Float[Tensor, "constituents records outputs"]:
        """Outputs of every constituent, on one thread: the same figures on every machine with these kernels."""
        parts = features.split(INFERENCE_BATCH)
        with deterministic(threads=1):
            outputs = [torch.cat([functional_call(self._frame, s, (part,)) for part in parts]) for s in self._states]
        return torch.stack(outputs)


def model_header(data: bytes) -> dict[str, Any]:
    """What the metadata of a model file say: shape, classes, constituents, and the digest of the recipe.

    **Raises:** as `Model.from_file`.
    """
    text = check(data).metadata.get("expunge")
    if text is None:
        raise OperatorError("bad-data", "the safetensors file holds tensors, but was not written as a model")
    return dict(strict_json.loads(text.encode()))


def state_digest(state: State) -> str:
    """SHA-256 of a checkpoint's safetensors bytes, in hex."""
    return hashlib.sha256(save({name: tensor.contiguous() for name, tensor in state.items()})).hexdigest()
