"""Properties and counterexamples as a safety engineer reads them, in physical units; and replaying them.

A counterexample is kept with every digit: what is shown rounded can be run again exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from expunge.assurance.verification import Counterexample, Property, Query, ReluNetwork
from expunge.errors import OperatorError


def unit_of(arguments: Mapping[str, Any], column: str) -> str:
    """Unit of a column as the region states it; empty where it states none."""
    entry = arguments["region"].get(column, ())
    return str(entry[2]) if len(entry) > 2 else ""


def sentence(arguments: Mapping[str, Any]) -> str:
    """The property in words; `unit` of the arguments is the output's."""
    kind, unit = arguments["kind"], _spaced(arguments.get("unit", ""))
    if kind == "bounded":
        return f"The prediction is always within {arguments['lowest']:g} to {arguments['highest']:g}{unit}"
    if kind == "hazard":
        side = "above" if arguments["below"] else "below"
        return f"The prediction is never {side} {arguments['alarm']:g}{unit}"
    if kind == "monotone":
        step = ", ".join(f"{each:g}{_spaced(unit_of(arguments, name))} of {name}" for name, each in _steps(arguments))
        way = "lowers" if arguments["increasing"] else "raises"
        return f"Up to {step} more never {way} the prediction by more than {arguments['tolerance']:g}{unit}"
    if kind == "robust":
        moved = ", ".join(f"{name} ±{each:g}" for name, each in arguments["radius"].items())
        return f"Errors of {moved} never move the prediction by more than {arguments['change']:g}{unit}"
    return f"From one window to the next the prediction never jumps by more than {arguments['jump']:g}{unit}"


def _steps(arguments: Mapping[str, Any]) -> list[tuple[str, float]]:
    return [(name, float(each)) for name, each in arguments["step"].items() if each]


def _spaced(unit: str) -> str:
    return f" {unit}" if unit else ""


def told(found: Counterexample, arguments: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A counterexample as plain JSON: each input by name with unit and region, the outputs, the margin."""
    others = found.other or (None,) * len(names)
    inputs = [
        {
            "name": name,
            "unit": unit_of(arguments, name),
            "region": [float(each) for each in arguments["region"][name][:2]],
            "value": value,
            **({} if other is None else {"other": other}),
        }
        for name, value, other in zip(names, found.x, others, strict=True)
    ]
    second = {} if found.other_output is None else {"other_output": found.other_output[0]}
    body = {"query": found.query, "inputs": inputs, "output": found.output[0], **second}
    return {**body, "unit": str(arguments.get("unit", "")), "margin": found.margin}


def in_words(example: Mapping[str, Any]) -> str:
    """One sentence: where, and what is predicted there."""
    at = ", ".join(f"{each['name']} {_value(each)}" for each in example["inputs"])
    unit = _spaced(example["unit"])
    if "other_output" not in example:
        return f"predicts {example['output']:.4g}{unit} at {at}"
    return f"predicts {example['output']:.4g}, then {example['other_output']:.4g}{unit} at {at}"


def _value(each: Mapping[str, Any]) -> str:
    moved = f" → {each['other']:.4g}" if each.get("other", each["value"]) != each["value"] else ""
    return f"{each['value']:.4g}{moved}{_spaced(each['unit'])}"


@dataclass(frozen=True)
class Replay:
    """A counterexample run again: outputs now, the margin now, whether its point lies in the region, and the verdict.

    `breaks`: the point is in the region, the margin is negative, and both are what was recorded.
    """

    outputs: tuple[float, ...]
    margin: float
    inside: bool
    same: bool

    @property
    def breaks(self) -> bool:
        """The counterexample replays."""
        return self.inside and self.same and self.margin < 0


def replay(network: ReluNetwork, wanted: Property, example: Mapping[str, Any]) -> Replay:
    """Run a recorded counterexample through the deployed network.

    **Raises:** `OperatorError("bad-case")` where the property asks nothing of that name.
    """
    query = next((each for each in wanted.queries(network) if each.name == example["query"]), None)
    if query is None:
        raise OperatorError("bad-case", f"the property has no question {str(example['query'])[:40]!r}")
    points = [_point(example, "value")]
    points += [] if query.second is None else [_point(example, "other")]
    outputs = [network.run_deployed(each) for each in points]
    goals = [query.first] if query.second is None else [query.first, query.second]
    margin = query.constant + sum(float(out[0] @ goal) for out, goal in zip(outputs, goals, strict=True))
    shown = tuple(float(out[0, 0]) for out in outputs)
    recorded = (example["output"], *([example["other_output"]] if "other_output" in example else []))
    return Replay(shown, margin, _inside(query, points), shown == recorded)


def _point(example: Mapping[str, Any], field: str) -> Tensor:
    return torch.tensor([[each[field] for each in example["inputs"]]], dtype=torch.float64)


def _inside(query: Query, points: Sequence[Tensor]) -> bool:
    """Whether coordinates of the domain lead to these points, found anew by least squares."""
    domain = query.domain
    matrices = [domain.matrix, *([] if query.other_matrix is None else [query.other_matrix])]
    shifts = [domain.shift, *([] if query.other_shift is None else [query.other_shift])]
    matrix, wanted = torch.cat(matrices), torch.cat([p[0] - s for p, s in zip(points, shifts, strict=True)])
    z = torch.linalg.lstsq(matrix, wanted[:, None], driver="gelsd").solution[:, 0]
    scale = 1e-9 * (1 + float(wanted.abs().max()))
    reached = bool((matrix @ z - wanted).abs().max() <= scale)
    boxed = bool(((z >= domain.lower - scale) & (z <= domain.upper + scale)).all())
    return reached and boxed and bool((domain.rows @ z <= domain.limits + scale).all())
