"""Queries for other verifiers: the margin as one ONNX network, and its VNN-LIB property, `sat` meaning violated.

VNN-LIB (Tacchella et al., https://www.vnnlib.org) asserts the *negation*: a point of the domain with margin <= 0. Both
copies of a two-copy query are in the one network, and its inputs are the search coordinates z of the query.
"""

from pathlib import Path

import torch
from torch import Tensor

from expunge.assurance.verification.network import ReluNetwork
from expunge.assurance.verification.problem import Problem, problem_of
from expunge.assurance.verification.properties import Property, Query
from expunge.errors import OperatorError


def write_queries(network: ReluNetwork, wanted: Property, folder: Path, name: str) -> tuple[Path, ...]:
    """Write `name-K.onnx` and `name-K.vnnlib` for each query of the property; the paths written, in order.

    ONNX is in float32, as other verifiers want it, so that their answers are about rounded weights. Raises `no-onnx`
    where the `onnx` extra is not installed, before anything is written.
    """
    model_bytes = [to_onnx(network, query) for query in wanted.queries(network)]
    written: list[Path] = []
    for number, (query, model) in enumerate(zip(wanted.queries(network), model_bytes, strict=True)):
        onnx_path, property_path = folder / f"{name}-{number}.onnx", folder / f"{name}-{number}.vnnlib"
        onnx_path.write_bytes(model)
        property_path.write_text(to_vnnlib(query), encoding="ascii")
        written += [onnx_path, property_path]
    return tuple(written)


def margin_layers(problem: Problem) -> list[tuple[Tensor, Tensor]]:
    """Weights and biases of z -> margin(z), ReLU between; both copies side by side. float64."""
    network, query = problem.network, problem.query
    if problem.move is None or problem.move_add is None or query.second is None:
        layers = [(problem.first, problem.first_add), *zip(network.weights[1:], network.biases[1:], strict=True)]
        last, bias = layers[-1]
        return [*layers[:-1], (query.first[None] @ last, (query.first @ bias + query.constant)[None])]
    first = torch.cat([problem.first, problem.first + problem.move])
    layers = [(first, torch.cat([problem.first_add, problem.first_add + problem.move_add]))]
    for weight, bias in zip(network.weights[1:], network.biases[1:], strict=True):
        layers.append((torch.block_diag(weight, weight), torch.cat([bias, bias])))
    last, bias = layers[-1]
    goal = torch.cat([query.first, query.second])
    return [*layers[:-1], (goal[None] @ last, (goal @ bias + query.constant)[None])]


def to_onnx(network: ReluNetwork, query: Query) -> bytes:
    """The margin network as ONNX (Gemm and Relu, float32, input `z` [1, coordinates], output `margin` [1, 1])."""
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise OperatorError("no-onnx", "writing ONNX needs the onnx package") from error
    layers = margin_layers(problem_of(network, query))
    nodes, weights, name = [], [], "z"
    for number, (weight, bias) in enumerate(layers):
        for kind, values in (("weight", weight), ("bias", bias)):
            weights.append(numpy_helper.from_array(values.float().numpy(), f"{kind}{number}"))
        last = number == len(layers) - 1
        out = "margin" if last else f"affine{number}"
        nodes.append(helper.make_node("Gemm", [name, f"weight{number}", f"bias{number}"], [out], transB=1))
        if not last:
            nodes.append(helper.make_node("Relu", [out], [f"relu{number}"]))
        name = f"relu{number}"
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, len(query.domain.lower)])
    margin = helper.make_tensor_value_info("margin", TensorProto.FLOAT, [1, 1])
    graph = helper.make_graph(nodes, "margin", [z], [margin], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def to_vnnlib(query: Query) -> str:
    """The property as VNN-LIB 1.0: inputs X_i, the box, the rows, and the violated output Y_0 <= 0."""
    domain = query.domain
    count = len(domain.lower)
    lines = [
        f"; violated when satisfiable: {query.name}",
        *(f"(declare-const X_{place} Real)" for place in range(count)),
    ]
    lines.append("(declare-const Y_0 Real)")
    for place, (low, high) in enumerate(zip(domain.lower.tolist(), domain.upper.tolist(), strict=True)):
        lines += [f"(assert (>= X_{place} {_decimal(low)}))", f"(assert (<= X_{place} {_decimal(high)}))"]
    for row, limit in zip(domain.rows.tolist(), domain.limits.tolist(), strict=True):
        terms = " ".join(f"(* {_decimal(value)} X_{place})" for place, value in enumerate(row) if value)
        lines.append(f"(assert (<= (+ {terms}) {_decimal(limit)}))")
    return "\n".join([*lines, "(assert (<= Y_0 0.0))", ""])


def _decimal(value: float) -> str:
    """Exact enough to read back as the same double; no exponent, which SMT-LIB does not have."""
    from decimal import Decimal

    text = format(Decimal(repr(float(value))), "f")
    return text if "." in text else f"{text}.0"
