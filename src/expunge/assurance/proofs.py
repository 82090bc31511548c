"""Formal properties as checks: a property in physical units by column names, and the model's network folded from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from expunge.assurance.counterexamples import in_words, sentence, told
from expunge.assurance.evidence import Finding, Verdict
from expunge.assurance.verification import (
    BoundedOutput,
    Budget,
    Hazard,
    LocalRobustness,
    Monotone,
    Path,
    Property,
    Proved,
    Rate,
    Region,
    ReluNetwork,
    Scaling,
    Violated,
    fold,
    verify,
)
from expunge.assurance.verification import Verdict as Answer
from expunge.errors import OperatorError, ProgrammerError
from expunge.records import Records
from expunge.records.preparation import feature_names
from expunge.training import Model


def network_of(model: Model, records: Records) -> ReluNetwork:
    """The model's network from physical units to physical units, its preparation folded in.

    **Raises:** `ProgrammerError("bad-network")` for anything but one ReLU network on a table of numbers.
    """
    module = model.module()
    steps, target = records.preparation.get("columns", ()), records.preparation.get("target", {})
    if not model.is_single or not isinstance(module, nn.Sequential) or any(s["kind"] != "number" for s in steps):
        raise ProgrammerError("bad-network", "only one ReLU network on a table of numbers can be verified")
    offset, factor = ((target["centre"],), (target["scale"],)) if target.get("kind") == "number" else ((), ())
    return fold(module, Scaling(tuple(s["centre"] for s in steps), tuple(s["scale"] for s in steps), offset, factor))


def property_of(arguments: Mapping[str, Any], names: list[str]) -> Property:
    """The property that a node's arguments tell.

    `kind`: bounded, robust, monotone, hazard or rate; `region`: {column: [low, high, unit]} for every column (the unit
    may be left out); `path`: {columns, step: [low, high]} for readings in order of time; and the numbers of the kind.

    **Raises:** `OperatorError("bad-case")`.
    """
    try:
        return _property(arguments, names)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise OperatorError("bad-case", f"a property lacks or misnames {str(error)[:60]}") from None


def _property(arguments: Mapping[str, Any], names: list[str]) -> Property:
    region, kind = _region(arguments, names), arguments["kind"]
    if kind == "bounded":
        return BoundedOutput(region, float(arguments["lowest"]), float(arguments["highest"]))
    if kind == "hazard":
        return Hazard(region, float(arguments["alarm"]), bool(arguments["below"]))
    if kind == "robust":
        return LocalRobustness(region, _vector(arguments["radius"], names), float(arguments["change"]))
    if kind == "monotone":
        step, rising = _vector(arguments["step"], names), bool(arguments["increasing"])
        return Monotone(region, step, rising, float(arguments["tolerance"]))
    if kind == "rate":
        shifted = tuple((names.index(new), names.index(old)) for new, old in arguments["shifted"])
        moves = arguments["moves"]
        low = _vector({name: pair[0] for name, pair in moves.items()}, names)
        high = _vector({name: pair[1] for name, pair in moves.items()}, names)
        return Rate(region, shifted, low, high, float(arguments["jump"]))
    raise ValueError(f"kind {kind}")


def _region(arguments: Mapping[str, Any], names: list[str]) -> Region:
    box = arguments["region"]
    lower, upper = (tuple(float(box[name][side]) for name in names) for side in (0, 1))
    path = arguments.get("path")
    if path is None:
        return Region(lower, upper)
    along = Path(tuple(names.index(name) for name in path["columns"]), float(path["step"][0]), float(path["step"][1]))
    return Region(lower, upper, (), (along,))


def _vector(values: Mapping[str, Any], names: list[str]) -> tuple[float, ...]:
    if unknown := set(values) - set(names):
        raise ValueError(f"column {min(unknown)}")
    return tuple(float(values.get(name, 0.0)) for name in names)


@dataclass(frozen=True)
class Holds:
    """A property of the network, proved; a counterexample fails it, and an open question stays one.

    `boxes` and `nodes` are the budget where the node's arguments give none (`budget`: {boxes, nodes}): it decides
    whether there is an answer, never which, and it is counted, so that every machine comes to the same one.
    """

    boxes: int = 40_000
    nodes: int = 2_000
    inputs: tuple[str, ...] = ("model", "preparation")

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        """Verify."""
        records: Records = subjects["preparation"]
        wanted = property_of(arguments, feature_names(records.preparation))
        given = {"boxes": self.boxes, "nodes": self.nodes, **arguments.get("budget", {})}
        budget = Budget(boxes=int(given["boxes"]), nodes=int(given["nodes"]))
        answer = verify(network_of(subjects["model"], records), wanted, budget=budget)
        return finding(answer, arguments, feature_names(records.preparation), budget)


def finding(answer: Answer, arguments: Mapping[str, Any], names: Sequence[str], budget: Budget) -> Finding:
    """What a safety engineer reads of an answer: the property in words, the verdict, the counterexample, the work."""
    used = {"boxes": answer.effort.boxes, "nodes": answer.effort.nodes}
    proof: dict[str, Any] = {"property": sentence(arguments), "used": used}
    proof["budget"] = {"boxes": budget.boxes, "nodes": budget.nodes}
    work: dict[str, float | None] = {name: float(count) for name, count in used.items()}
    threshold = "margin >= 0 for every point of the region"
    if isinstance(answer, Proved):
        words = f"proved, margin at least {answer.bound:.3g} everywhere ({answer.by})"
        proof |= {"verdict": "proved", "by": answer.by, "arithmetic": answer.arithmetic}
        return Finding(Verdict.HOLDS, words, {"bound": answer.bound, **work}, "min margin", threshold, {"proof": proof})
    if isinstance(answer, Violated):
        example = told(answer.counterexample, arguments, names)
        proof |= {"verdict": "violated", "counterexample": example}
        words = f"violated: {in_words(example)}"
        figures = {"margin": answer.counterexample.margin, **work}
        return Finding(Verdict.FAILS, words, figures, "min margin", threshold, {"proof": proof})
    words = f"not decided: the margin lies between {answer.lower:.3g} and {answer.upper:.3g}; {answer.why}"
    proof |= {"verdict": "unknown", "why": answer.why}
    figures = {"least margin": answer.lower, "margin seen": answer.upper, "gap": answer.gap, **work}
    return Finding(Verdict.UNDECIDED, words, figures, "min margin", threshold, {"proof": proof})
