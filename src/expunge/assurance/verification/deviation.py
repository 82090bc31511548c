"""How far the deployed network (float32, say) can be from the real-valued one: a bound for all inputs of a domain.

Standard model of floating-point arithmetic, any order of summation (Higham, Accuracy and Stability of Numerical
Algorithms, 2002, section 3.1): |fl(W h + b) - (W h + b)| <= gamma (|W| |h| + |b|), gamma = n u / (1 - n u).
"""

import torch
from torch import Tensor

from expunge.assurance.verification.network import ReluNetwork
from expunge.assurance.verification.relaxation import Problem


def deviation(problem: Problem) -> float:
    """The most by which the margin through the deployed module differs from the real margin, in output units.

    Covers rounding of scaled inputs, of every product and sum of the module, and of folding the scaling into float64
    weights. Both copies count.
    """
    query, network = problem.query, problem.network
    reach = torch.maximum(query.domain.lower.abs(), query.domain.upper.abs())
    size = query.domain.matrix.abs() @ reach + query.domain.shift.abs()
    total = query.first.abs() @ output_deviation(network, size)
    if query.second is not None and query.other_matrix is not None and query.other_shift is not None:
        size = query.other_matrix.abs() @ reach + query.other_shift.abs()
        total = total + query.second.abs() @ output_deviation(network, size)
    return float(total) * (1 + 1e-9)


def output_deviation(network: ReluNetwork, size: Tensor) -> Tensor:
    """Bound of |deployed(x) - f(x)| per output, for all |x| <= size: [outputs]."""
    unit = float(torch.finfo(next(network.deployed.parameters()).dtype).eps)
    rate = 1.01 * (max(network.widths) + 8) * unit
    magnitude = size + network.centre.abs()
    error = rate * magnitude
    for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        folded = network.centre.abs() if layer == 0 else torch.zeros_like(magnitude)
        fresh = weight.abs() @ (magnitude + error + folded) + bias.abs()
        if layer == len(network.weights) - 1:
            fresh = fresh + network.offset.abs()
        error = weight.abs() @ error + rate * fresh
        magnitude = weight.abs() @ magnitude + bias.abs()
    return error
