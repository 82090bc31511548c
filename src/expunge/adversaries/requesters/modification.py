"""Altered copies: "unlearn this", where this is not the record that was trained on (Warnecke et al., NDSS 2023)."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.adversaries.requesters.contract import Crafted, Description, Task, margins
from expunge.adversaries.requesters.selection import predicted_falls
from expunge.adversaries.requesters.view import View
from expunge.networks import State, layout
from expunge.randomness import torch_generator
from expunge.records import Records
from expunge.training import Cost, deterministic
from expunge.training.curvature import Curvature
from expunge.unlearning import ClaimKind, Deletion, Forecast, Unlearned
from expunge.unlearning import Description as MethodDescription
from expunge.unlearning.empirical import Ground, forecast, grounds, released


@dataclass(frozen=True)
class FirstOrder:
    """The server update that the literature attacks: w + tau times the sum of the forgotten records' gradients."""

    tau: float = 0.02

    def describe(self) -> MethodDescription:
        """The method in words."""
        summary = "One step up the loss of the forgotten records."
        return MethodDescription("first-order", summary, ClaimKind.EMPIRICAL, "Warnecke et al., NDSS 2023")

    def plan(self, deletion: Deletion) -> Forecast:
        """One gradient of each forgotten record."""
        return forecast(deletion, lambda ground: len(ground.forgotten))

    def run(self, deletion: Deletion) -> Unlearned:
        """Without the guard that our own methods run under: what is attacked has none."""
        started, states, spent = time.monotonic(), list[State | None](), 0
        with deterministic(deletion.threads):
            for ground in grounds(deletion):
                states.append(self._moved(ground) if isinstance(ground, Ground) else ground)
                spent += ground.spent if isinstance(ground, Ground) else 0
        return released(self, deletion, states, Cost.since(started, spent))

    def _moved(self, ground: Ground) -> State:
        plan, part = layout(ground.module()), ground.forgotten
        point = plan.flatten(ground.state)
        curve = Curvature(ground.module(), point, part.features, part.targets, ground.recipe.loss)
        ground.charge(len(part))
        return {**ground.state, **plan.unflatten(point + self.tau * len(part) * curve.gradient)}


@dataclass(frozen=True)
class AlteredCopies:
    """Copies whose unlearning, not the originals', moves the targets: each pixel by at most `eps`.

    **Arguments:** `tau`: of the first-order update that the attack differentiates through; `steps`: of signed descent;
    `low`, `high`: valid features; `noise`: the control, uniform noise of the same size on records at random.
    """

    eps: float = 8 / 255
    tau: float = 0.02
    steps: int = 40
    low: float = 0.0
    high: float = 1.0
    noise: bool = False

    def describe(self) -> Description:
        """The attack in words."""
        name = "noisy-copies" if self.noise else "altered-copies"
        return Description(name, "Ask for the unlearning of altered copies of own records.", "spec, algorithm M")

    def run(self, task: Task) -> Crafted:
        """Records by first-order score; then their perturbation by double backward through the update."""
        view = View(task, task.known)
        order = torch.rand(len(view.train), generator=torch_generator(task.seed, "requesters/noisy records"))
        rows = task.best(order if self.noise else predicted_falls(view, "first-order"))
        part = view.train.select(rows)
        moves = self._noise(task, part) if self.noise else self._descent(task, view, part)
        copies = Records(
            (part.features + moves).clamp(self.low, self.high),
            part.targets,
            part.ids,
            part.owners,
            part.split,
            part.classes,
        )
        return Crafted(frozenset(part.ids), copies, 0.0, view.evaluations)

    def _noise(self, task: Task, part: Records) -> Tensor:
        generator = torch_generator(task.seed, "requesters/noise")
        return (2 * torch.rand(part.features.shape, generator=generator) - 1) * self.eps

    def _descent(self, task: Task, view: View, part: Records) -> Tensor:
        moves = torch.zeros_like(part.features)
        for _ in range(self.steps):
            moves.requires_grad_()
            after = self._after(view, part, moves)
            goal = margins(view.logits(after, task.targets.features), task.targets.targets, task.wanted).sum()
            slope = torch.autograd.grad(goal, moves)[0]
            moves = (moves.detach() - self.eps / 8 * slope.sign()).clamp(-self.eps, self.eps)
            moves = (part.features + moves).clamp(self.low, self.high) - part.features
            view.evaluations += 2 * len(part)
        return moves

    def _after(self, view: View, part: Records, moves: Tensor) -> Tensor:
        point = view.point.clone().requires_grad_()
        outputs = view.logits(point, part.features + moves)
        total = view.model.recipe.loss.per_record(outputs, part.targets).sum()
        return point + self.tau * torch.autograd.grad(total, point, create_graph=True)[0]
