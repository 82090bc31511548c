"""How far the deployed network (float32, say) can be from the real-valued one: a bound for all inputs of a domain.

Standard model of floating-point arithmetic, any order of summation (Higham, Accuracy and Stability of Numerical
Algorithms, 2002, section 3.1): |fl(W h + b) - (W h + b)| <= gamma (|W| |h| + |b|), gamma = n u / (1 - n u).
"""

import torch
from torch import Tensor

from expunge.assurance.verification.network import ReluNetwork
from expunge.assurance.verification.problem import FLOAT64_UNIT, Problem
from expunge.assurance.verification.relaxation import hidden_bounds


def deviation(problem: Problem) -> float:
    """The most by which the margin through the deployed module differs from the real margin, in output units.

    Covers rounding of scaled inputs, of every product and sum of the module, and of folding the scaling into float64
    weights. Both copies count.
    """
    query, domain, network = problem.query, problem.query.domain, problem.network
    centre, radius = (domain.lower + domain.upper) / 2, (domain.upper - domain.lower) / 2
    with torch.no_grad():
        layers, _ = hidden_bounds(problem, domain.lower[None], domain.upper[None])
    bounds = [layer.upper[0] for layer in layers]
    size = (domain.matrix @ centre + domain.shift - network.centre).abs() + domain.matrix.abs() @ radius
    total = query.first.abs() @ output_deviation(network, size, bounds)
    if query.second is not None and query.other_matrix is not None and query.other_shift is not None:
        bounds = [layer.second.upper[0] for layer in layers if layer.second is not None]
        size = (
            query.other_matrix @ centre + query.other_shift - network.centre
        ).abs() + query.other_matrix.abs() @ radius
        total = total + query.second.abs() @ output_deviation(network, size, bounds)
    return float(total) * (1 + 1e-9)


def output_deviation(network: ReluNetwork, size: Tensor, bounds: list[Tensor]) -> Tensor:
    """Bound of |deployed(x) - f(x)| per output, for all |x - centre| <= size: [outputs].

    `bounds` are upper bounds of the hidden layers' pre-activations. The error of a layer is what came in, times
    |W|, plus what its own products and sums add; a neuron that is certainly off passes on none, a ReLU enlarges none.
    """
    unit = float(torch.finfo(next(network.deployed.parameters()).dtype).eps) / 2
    magnitude, error = size, (unit + 8 * FLOAT64_UNIT) * size + 8 * FLOAT64_UNIT * network.centre.abs()
    for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        folded = weight.abs() @ network.centre.abs() if layer == 0 else torch.zeros_like(bias)
        inner = bias + weight @ network.centre if layer == 0 else bias
        last = layer == len(network.weights) - 1
        inner, folded = (inner - network.offset, folded + network.offset.abs()) if last else (inner, folded)
        terms = weight.abs() @ (magnitude + error) + inner.abs()
        rate = 1.01 * (weight.shape[1] + 4)
        error = weight.abs() @ error + rate * unit * terms + rate * FLOAT64_UNIT * (terms + folded + bias.abs())
        if not last:
            high = bounds[layer]
            error = torch.where(high + error <= 0, 0.0, error)
            magnitude = high.clamp(min=0)
    return error
