"""What a requester computes on the network it knows: slopes of the goal, pulls of records, linear systems."""

import warnings
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, jvp

from expunge.adversaries.requesters.contract import Task, margins
from expunge.networks import Layout, layout
from expunge.randomness import torch_generator
from expunge.records import Records
from expunge.training import Model
from expunge.training.curvature import Curvature, CurvatureKind, conjugate_gradient

SEEN = 2000
"""Training records that the Gauss-Newton matrix is made from."""


@dataclass(eq=False)
class View:
    """The network of a task, flat. `evaluations` counts gradients of single records and products with them."""

    task: Task
    model: Model
    evaluations: int = 0

    @cached_property
    def module(self) -> nn.Module:
        """The network."""
        return self.model.module()

    @cached_property
    def layout(self) -> Layout:
        """Where each parameter stands."""
        return layout(self.module)

    @cached_property
    def point(self) -> Float[Tensor, " parameters"]:
        """Its weights."""
        return self.layout.flatten(dict(self.module.named_parameters())).detach().clone()

    @cached_property
    def train(self) -> Records:
        """The training records."""
        return self.task.records.train

    def logits(self, point: Float[Tensor, " parameters"], features: Tensor) -> Tensor:
        """Outputs at other weights."""
        found: Tensor = functional_call(self.module, self.layout.unflatten(point), (features,))
        return found

    def slope(self, point: Float[Tensor, " parameters"] | None = None) -> Float[Tensor, " parameters"]:
        """Gradient of the sum of the targets' margins."""
        task, at = self.task, (self.point if point is None else point).clone().requires_grad_()
        goal = margins(self.logits(at, task.targets.features), task.targets.targets, task.wanted).sum()
        self.evaluations += len(task.targets)
        return torch.autograd.grad(goal, at)[0]

    def pulls(self, direction: Float[Tensor, " parameters"]) -> Float[Tensor, " records"]:
        """Gradient of each training record's loss times `direction`, by one forward-mode product."""
        self.evaluations += len(self.train)
        with warnings.catch_warnings():  # torch's own first use of forward mode warns of its own internals
            warnings.simplefilter("ignore", DeprecationWarning)
            parts = [self._pushed(rows, direction) for rows in torch.arange(len(self.train)).split(2048)]
        found: Tensor = torch.cat(parts).detach()
        return found

    def weighted(self, weights: Float[Tensor, " records"]) -> Float[Tensor, " parameters"]:
        """Sum over the training records of weight times gradient."""
        rows = weights.nonzero()[:, 0]
        at = self.point.clone().requires_grad_()
        self.evaluations += len(rows)
        outputs = self.logits(at, self.train.features[rows])
        total = (self.model.recipe.loss.per_record(outputs, self.train.targets[rows]) * weights[rows]).sum()
        return torch.autograd.grad(total, at)[0]

    def solved(self, rhs: Float[Tensor, " parameters"]) -> Float[Tensor, " parameters"]:
        """(Gauss-Newton + damping)^-1 rhs, by conjugate gradient."""
        found = conjugate_gradient(self.curvature.product, rhs, tolerance=1e-4, limit=self.task.products)
        self.evaluations += found.products * len(self.curvature.features)
        return found.x

    def gradient_norms(self) -> Float[Tensor, " records"]:
        """Norm of each record's gradient in the outputs (softmax minus one-hot), which needs no model's inside."""
        shares = self.model.probabilities(self.train.features)
        found: Tensor = (shares - nn.functional.one_hot(self.train.targets, shares.shape[1])).norm(dim=1)
        return found

    @cached_property
    def curvature(self) -> Curvature:
        """The damped Gauss-Newton matrix of at most 2,000 training records."""
        rows = self._sample
        loss, kind = self.model.recipe.loss, CurvatureKind.GAUSS_NEWTON
        features, targets = self.train.features[rows], self.train.targets[rows]
        return Curvature(self.module, self.point, features, targets, loss, self.task.damping, kind)

    def _pushed(self, rows: Int[Tensor, " rows"], direction: Tensor) -> Tensor:
        features, targets = self.train.features[rows], self.train.targets[rows]

        def losses(point: Tensor) -> Tensor:
            return self.model.recipe.loss.per_record(self.logits(point, features), targets)

        found: Tensor = jvp(losses, (self.point,), (direction,))[1]
        return found

    @property
    def _sample(self) -> Int[Tensor, " seen"]:
        order = torch.randperm(len(self.train), generator=torch_generator(self.task.seed, "requesters/curvature"))
        return order[:SEEN].sort().values
