"""A small case with checks that look at numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from expunge.assurance import Case, Finding, Kind, Node, Scene, Verdict
from expunge.ledger.signatures import SigningKey

KEY = SigningKey(bytes(range(32)))


@dataclass(frozen=True)
class AtLeast:
    """The subject is at least `arguments["least"]`; counts its runs."""

    reads: str
    runs: list[float] = field(default_factory=list, compare=False)

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.reads,)

    def run(self, subjects: Mapping[str, Any], arguments: Mapping[str, Any]) -> Finding:
        value = float(subjects[self.reads])
        self.runs.append(value)
        verdict = Verdict.HOLDS if value >= arguments["least"] else Verdict.FAILS
        return Finding(verdict, f"{value} against {arguments['least']}", {"value": value}, "x", ">= least")


def small() -> Case:
    return Case(
        "small",
        (
            Node("G1", Kind.GOAL, "Safe", ("S1",), ("C1",)),
            Node("C1", Kind.CONTEXT, "On the road"),
            Node("S1", Kind.STRATEGY, "Over model and data", ("G2", "G3")),
            Node("G2", Kind.GOAL, "The model is good", ("Sn1",)),
            Node("G3", Kind.GOAL, "The data are good", ("Sn2",)),
            Node("Sn1", Kind.SOLUTION, "Accuracy", check="model-good", arguments={"least": 0.9}),
            Node("Sn2", Kind.SOLUTION, "Count", check="data-good", arguments={"least": 10}),
        ),
    )


def checks() -> dict[str, AtLeast]:
    return {"model-good": AtLeast("model"), "data-good": AtLeast("data")}


def scene(model: float = 0.95, data: float = 12, **options: Any) -> Scene:
    subjects = {"model": model, "data": data}
    digests = {name: f"{value}" for name, value in subjects.items()}
    return Scene(subjects, digests, KEY, [KEY.public], "2026-01-01T00:00:00Z", **options)
