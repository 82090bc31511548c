"""Perturbations by gradient matching: what attacks plant before training (Geiping et al., ICLR 2021, eq. 3)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.adversaries.requesters.view import View
from expunge.errors import ProgrammerError
from expunge.randomness import torch_generator


@dataclass(frozen=True)
class Matching:
    """Adam on 1 - cosine between the records' mean gradient and a wanted one, each feature moved by at most `eps`.

    **Arguments:** `steps` of descent; `restarts` from random perturbations, of which the best is taken; `low`, `high`:
    valid features.

    **Raises:** `ProgrammerError("bad-hyperparameter")`.
    """

    eps: float = 16 / 255
    steps: int = 60
    restarts: int = 2
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if self.eps < 0 or min(self.steps, self.restarts) < 1 or self.low >= self.high:
            raise ProgrammerError("bad-hyperparameter", "eps >= 0; steps and restarts are positive; low < high")

    def run(
        self,
        view: View,
        features: Float[Tensor, "planted *shape"],
        targets: Int[Tensor, " planted"],
        wanted: Float[Tensor, " parameters"],
        seed: int,
    ) -> Float[Tensor, "planted *shape"]:
        """The perturbed records; labels stay as they are."""
        generator, best, least = torch_generator(seed, "requesters/matching"), features, torch.inf
        for _ in range(self.restarts):
            moves = (2 * torch.rand(features.shape, generator=generator) - 1) * self.eps
            moves.requires_grad_()
            adam = torch.optim.Adam([moves], lr=self.eps / 5 or 1e-3, foreach=False)
            for _ in range(self.steps):
                loss = self._apart(view, self._valid(features, moves), targets, wanted)
                (moves.grad,) = torch.autograd.grad(loss, moves)
                adam.step()
                view.evaluations += 2 * len(features)
            found = self._valid(features, moves).detach()
            reached = float(self._apart(view, found, targets, wanted).detach())
            best, least = (found, reached) if reached < least else (best, least)
        return best

    def _valid(self, features: Tensor, moves: Tensor) -> Tensor:
        return (features + moves.clamp(-self.eps, self.eps)).clamp(self.low, self.high)

    @staticmethod
    def _apart(view: View, features: Tensor, targets: Tensor, wanted: Tensor) -> Tensor:
        point = view.point.clone().requires_grad_()
        loss = view.model.recipe.loss.mean(view.logits(point, features), targets)
        slope = torch.autograd.grad(loss, point, create_graph=True)[0]
        return 1 - torch.cosine_similarity(slope, wanted, dim=0)


def loss_slope(view: View, features: Tensor, targets: Tensor) -> Float[Tensor, " parameters"]:
    """Gradient of the mean loss of these records at the network's own weights."""
    point = view.point.clone().requires_grad_()
    loss = view.model.recipe.loss.mean(view.logits(point, features), targets)
    view.evaluations += len(features)
    return torch.autograd.grad(loss, point)[0]
