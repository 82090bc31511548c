"""Records just across the decision boundary."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from expunge.unlearning.empirical import Part


def second_choice(logits: Float[Tensor, "records classes"], own: Int[Tensor, " records"]) -> Int[Tensor, " records"]:
    """The likeliest class but the record's own."""
    return logits.detach().scatter(1, own[:, None], -torch.inf).argmax(1)


def fgsm(module: nn.Module, part: Part, radius: float, ends: tuple[float, float]) -> Float[Tensor, "records *shape"]:
    """One signed step up the loss (Goodfellow et al. 2015), kept between the smallest and largest feature known."""
    moved = part.features + radius * _slope(module, part.features, part.targets).sign()
    return moved.clamp(*ends)


def nearest(
    module: nn.Module, part: Part, radius: float, steps: int, ends: tuple[float, float]
) -> tuple[Float[Tensor, "records *shape"], Int[Tensor, " records"]]:
    """For each record the first point with another label on a path up the loss, and that label.

    The path has `steps` steps of equal length, `radius` times the records' mean norm in all. A record that keeps its
    label on the whole path gets the path's end and the likeliest other class. A record that is misclassified as it
    stands is its own nearest point.
    """
    shape = (-1, *[1] * (part.features.dim() - 1))
    stride = radius / steps * float(part.features.flatten(1).norm(dim=1).mean())
    at, found = part.features.clone(), part.features.clone()
    with torch.no_grad():
        logits = module(at)
    labels, done = logits.argmax(1), logits.argmax(1) != part.targets
    for _ in range(steps):
        slope = _slope(module, at, part.targets)
        length = slope.flatten(1).norm(dim=1).clamp_min(1e-12)
        at = (at + stride * slope / length.view(shape)).clamp(*ends)
        with torch.no_grad():
            logits = module(at)
        now = logits.argmax(1)
        found = torch.where(done.view(shape), found, at)
        labels = torch.where(done, labels, now)
        done = done | (now != part.targets)
    return found, torch.where(done, labels, second_choice(logits, part.targets))


def _slope(module: nn.Module, features: Tensor, targets: Tensor) -> Tensor:
    """The loss's gradient by the features; the sum's, so that no record's depends on how many there are."""
    point = features.clone().requires_grad_()
    loss = nn.functional.cross_entropy(module(point), targets, reduction="sum")
    return torch.autograd.grad(loss, point)[0]


def ends_of(part: Part) -> tuple[float, float]:
    """The smallest and the largest feature."""
    return float(part.features.min()), float(part.features.max())
