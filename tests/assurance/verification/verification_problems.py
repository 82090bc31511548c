"""Networks and oracles for the tests of verification."""

import itertools

import numpy as np
import torch
from torch import Tensor, nn

from expunge.assurance.verification import ReluNetwork, Scaling, fold
from expunge.assurance.verification.export import margin_layers
from expunge.assurance.verification.problem import Problem


def module(*widths: int, seed: int) -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(widths):
        layer = nn.Linear(fan_in, fan_out)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(fan_out, fan_in, generator=generator) * (2 / fan_in) ** 0.5)
            layer.bias.copy_(torch.randn(fan_out, generator=generator) * 0.3)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def network(*widths: int, seed: int) -> ReluNetwork:
    return fold(module(*widths, seed=seed))


def planted(weights: list[list[list[float]]], biases: list[list[float]], scaling: Scaling | None = None) -> ReluNetwork:
    """A network with chosen weights."""
    layers: list[nn.Module] = []
    for weight, bias in zip(weights, biases, strict=True):
        layer = nn.Linear(len(weight[0]), len(weight))
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(weight))
            layer.bias.copy_(torch.tensor(bias))
        layers += [layer, nn.ReLU()]
    return fold(nn.Sequential(*layers[:-1]), scaling)


def points_in(problem: Problem, count: int, seed: int) -> Tensor:
    """Uniform points of the search box that keep the rows."""
    domain = problem.query.domain
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(count, len(domain.lower), generator=generator, dtype=torch.float64)
    points = domain.lower + noise * (domain.upper - domain.lower)
    return points[(points @ domain.rows.T <= domain.limits).all(1)]


def exact_minimum(problem: Problem) -> float:
    """The margin's minimum by enumerating every activation pattern: one linear program each."""
    from scipy.optimize import linprog

    layers = [(weight.numpy(), bias.numpy()) for weight, bias in margin_layers(problem)]
    domain = problem.query.domain
    box = list(zip(domain.lower.tolist(), domain.upper.tolist(), strict=True))
    best = np.inf
    for pattern in itertools.product((0, 1), repeat=sum(len(bias) for _, bias in layers[:-1])):
        matrix, shift = np.eye(len(box)), np.zeros(len(box))
        rows, limits, at = [domain.rows.numpy()], [domain.limits.numpy()], 0
        for weight, bias in layers[:-1]:
            matrix, shift = weight @ matrix, weight @ shift + bias
            on = np.array(pattern[at : at + len(bias)])
            at += len(bias)
            sign = 1 - 2 * on
            rows.append(sign[:, None] * matrix)
            limits.append(-sign * shift)
            matrix, shift = on[:, None] * matrix, on * shift
        weight, bias = layers[-1]
        found = linprog((weight @ matrix)[0], np.concatenate(rows), np.concatenate(limits), bounds=box)
        if found.status == 0:
            best = min(best, found.fun + float((weight @ shift + bias)[0]))
    return float(best)
