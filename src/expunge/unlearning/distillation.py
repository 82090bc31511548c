"""What methods with teachers share."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.unlearning.empirical import Part


def divergence(
    student: Float[Tensor, "records classes"], teacher: Float[Tensor, "records classes"], temperature: float
) -> Float[Tensor, ""]:
    """T^2 KL(teacher || student) of the softened posteriors, mean over the records (Hinton et al. 2015)."""
    logs, known = (student / temperature).log_softmax(1), (teacher / temperature).log_softmax(1)
    return nn.functional.kl_div(logs, known, reduction="batchmean", log_target=True) * temperature**2


@torch.no_grad()
def answers(teacher: nn.Module, part: Part) -> Float[Tensor, "records classes"]:
    """The logits of a teacher in evaluation mode."""
    found: Tensor = teacher(part.features)
    return found
