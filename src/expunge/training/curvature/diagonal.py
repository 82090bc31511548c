"""Squared gradients of single records, summed without forming one: layer by layer, a batch at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from expunge.training.recipe import CrossEntropy, SquaredError

Diagonal = dict[str, Tensor]
"""For each trained parameter, by name, a tensor of its shape."""

BATCH: Final = 256
"""Records at a time."""


def squared_gradients(
    module: nn.Module,
    features: Float[Tensor, "records *shape"],
    targets: Shaped[Tensor, " records"],
    loss: CrossEntropy | SquaredError,
) -> Diagonal:
    """Mean over the records of the square of each one's gradient: the diagonal of the empirical Fisher matrix.

    The network is taken in evaluation mode. Linear, convolution and batch-norm layers are summed from inputs and
    output gradients (Goodfellow 2015, "Efficient per-example gradient computations"); networks that hold parameters
    elsewhere go the general way, record by record under `vmap`, with the same result.
    """

    def losses(part: slice, outputs: Tensor) -> Iterator[tuple[Tensor, Tensor | None]]:
        yield loss.per_record(outputs, targets[part]), None

    return _mean_squares(module, features, losses)


def true_fisher(module: nn.Module, features: Float[Tensor, "records *shape"]) -> Diagonal:
    """The same with labels from the model itself, in closed form: for each record the mean over its own probabilities.

    The diagonal of the Fisher matrix proper, which no label of the data goes into (Kunstner et al., NeurIPS 2019).
    One backward pass for each class.
    """

    def losses(part: slice, outputs: Tensor) -> Iterator[tuple[Tensor, Tensor | None]]:
        del part
        logs = outputs.log_softmax(1)
        for label in range(outputs.shape[1]):
            yield -logs[:, label], logs[:, label].detach().exp()

    return _mean_squares(module, features, losses)


Losses = Callable[[slice, Tensor], Iterator[tuple[Tensor, Tensor | None]]]
"""Per-record losses of a batch's outputs, and weights for their squared gradients."""


def _mean_squares(module: nn.Module, features: Tensor, losses: Losses) -> Diagonal:
    named = {name: part for name, part in module.named_parameters() if part.requires_grad}
    total = {name: torch.zeros_like(part) for name, part in named.items()}
    was = module.training
    module.eval()
    try:
        add = _add_by_layers if _is_layered(module) else _add_by_records
        for first in range(0, len(features), BATCH):
            add(module, features, slice(first, min(first + BATCH, len(features))), losses, total)
    finally:
        module.train(was)
    return {name: value / len(features) for name, value in total.items()}


def _is_layered(module: nn.Module) -> bool:
    """Whether every trained parameter stands in a layer with a formula of its own, each of them once."""
    owners = [part for part in module.modules() if any(p.requires_grad for p in part.parameters(recurse=False))]
    shared = len({id(p) for p in module.parameters()}) < sum(len(list(o.parameters(recurse=False))) for o in owners)
    return not shared and all(
        isinstance(part, nn.Linear | nn.modules.batchnorm._BatchNorm)
        or (isinstance(part, nn.Conv2d) and part.groups == 1 and not isinstance(part.padding, str))
        for part in owners
    )


def _add_by_layers(module: nn.Module, features: Tensor, part: slice, losses: Losses, total: Diagonal) -> None:
    with _watched(module) as seen:
        outputs = module(features[part])
        slopes_at = [found[2] for found in seen]
        rounds = list(losses(part, outputs))
        for number, (values, weights) in enumerate(rounds, 1):
            slopes = torch.autograd.grad(values.sum(), slopes_at, retain_graph=number < len(rounds), allow_unused=True)
            for (name, layer, _, inputs), slope in zip(seen, slopes, strict=True):
                if slope is not None:
                    _add(name, layer, inputs, slope, weights, total)


@contextmanager
def _watched(module: nn.Module) -> Iterator[list[tuple[str, nn.Module, Tensor, Tensor]]]:
    """Name, layer, output and input of each call of a layer that holds parameters."""
    seen: list[tuple[str, nn.Module, Tensor, Tensor]] = []

    def hook(name: str) -> Callable[[nn.Module, tuple[Any, ...], Tensor], None]:
        return lambda layer, inputs, output: seen.append((name, layer, output, inputs[0].detach()))

    layers = [(n, m) for n, m in module.named_modules() if any(p.requires_grad for p in m.parameters(recurse=False))]
    handles = [layer.register_forward_hook(hook(name)) for name, layer in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _add(name: str, layer: nn.Module, inputs: Tensor, slope: Tensor, weights: Tensor | None, total: Diagonal) -> None:
    prefix = f"{name}." if name else ""
    scale = None if weights is None else weights.sqrt()
    if scale is not None:
        slope = slope * scale.view(-1, *[1] * (slope.dim() - 1))
    for key, found in _squares(layer, inputs, slope).items():
        if f"{prefix}{key}" in total:
            total[f"{prefix}{key}"] += found


def _squares(layer: nn.Module, inputs: Tensor, slope: Tensor) -> Diagonal:
    """Sum over the batch of the squared gradient of each parameter of one layer."""
    if isinstance(layer, nn.Linear) and inputs.dim() == 2:
        return {"weight": slope.square().T @ inputs.square(), "bias": slope.square().sum(0)}
    if isinstance(layer, nn.Linear):
        each = torch.einsum("n...o,n...i->noi", slope, inputs)
        return {"weight": each.square().sum(0), "bias": slope.flatten(1, -2).sum(1).square().sum(0)}
    if isinstance(layer, nn.Conv2d):
        assert not isinstance(layer.padding, str)
        patches = nn.functional.unfold(inputs, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
        each = slope.flatten(2) @ patches.transpose(1, 2)
        return {
            "weight": each.square().sum(0).view_as(layer.weight),
            "bias": slope.flatten(2).sum(2).square().sum(0),
        }
    assert isinstance(layer, nn.modules.batchnorm._BatchNorm)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    shape = (1, -1, *[1] * (inputs.dim() - 2))
    straight = (inputs - layer.running_mean.view(shape)) / (layer.running_var.view(shape) + layer.eps).sqrt()
    by_record = [(value * slope).reshape(*slope.shape[:2], -1).sum(2) for value in (straight, torch.ones_like(slope))]
    return {"weight": by_record[0].square().sum(0), "bias": by_record[1].square().sum(0)}


def _add_by_records(module: nn.Module, features: Tensor, part: slice, losses: Losses, total: Diagonal) -> None:
    named = {name: value.detach() for name, value in module.named_parameters() if value.requires_grad}
    weighed = [weights for _, weights in losses(part, module(features[part]).detach())]
    for number, weights in enumerate(weighed):

        def single(values: dict[str, Tensor], row: Tensor, at: Tensor, number: int = number) -> Tensor:
            outputs = functional_call(module, values, (row[None],)).expand(part.stop - part.start, -1)
            return list(losses(part, outputs))[number][0].gather(0, at[None])[0]

        rows = torch.arange(part.stop - part.start)
        slopes = vmap(grad(single), in_dims=(None, 0, 0), chunk_size=32)(named, features[part], rows)
        for name, slope in slopes.items():
            square = slope.square()
            scale = 1.0 if weights is None else weights.view(-1, *[1] * (square.dim() - 1))
            total[name] += (square * scale).sum(0)
