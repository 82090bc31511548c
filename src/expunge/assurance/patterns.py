"""Patterns: cases with parameters, instantiated by code; what a parameter leaves out stays visible as undeveloped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from expunge.assurance.case import Case, Kind, Node

Support = tuple[str, str, Mapping[str, Any]]
"""A solution: its text, the name of its check, and the check's arguments."""


@dataclass(frozen=True)
class Claimed:
    """One goal of a pattern and the checks that support it: text of each, name of the check, arguments.

    Without checks the goal is undeveloped, and stays visible so.
    """

    goal: str
    checks: Sequence[Support] = ()


@dataclass(frozen=True)
class ComponentSafety:
    """Safety of a learned component, after the six stages of AMLAS (Hawkins et al., Assurance of Machine Learning for
    use in Autonomous Systems, 2021): scoping, requirements, data, learning, verification, deployment.

    **Arguments:** `requirements`, `data`, `learning`, `verification`, `deployment`: one goal or more each.
    """

    name: str
    component: str
    system: str
    context: str
    hazards: Sequence[str]
    requirements: Sequence[Claimed] = (Claimed("The safety requirements of the component are complete and correct"),)
    data: Sequence[Claimed] = (Claimed("The data are sufficient for the requirements"),)
    learning: Sequence[Claimed] = (Claimed("The model meets the requirements on held-out data"),)
    verification: Sequence[Claimed] = (Claimed("The model is verified against the requirements"),)
    deployment: Sequence[Claimed] = (Claimed("The component stays safe when it is integrated"),)

    def case(self) -> Case:
        """The case."""
        stages = {
            name: getattr(self, name) for name in ("requirements", "data", "learning", "verification", "deployment")
        }
        parts = [_stage(name, claims) for name, claims in stages.items()]
        contexts = [
            Node("C-system", Kind.CONTEXT, self.system),
            Node("C-domain", Kind.CONTEXT, self.context),
            *(Node(f"C-hazard-{n}", Kind.CONTEXT, f"Hazard: {hazard}") for n, hazard in enumerate(self.hazards, 1)),
        ]
        top = Node(
            "G-safe",
            Kind.GOAL,
            f"{self.component} is acceptably safe in its operating context",
            ("S-life-cycle",),
            tuple(node.id for node in contexts),
        )
        strategy = Node(
            "S-life-cycle",
            Kind.STRATEGY,
            "Argument over the stages of the machine-learning life cycle (AMLAS)",
            tuple(f"G-{name}" for name in stages),
            ("J-stages",),
        )
        why = Node("J-stages", Kind.JUSTIFICATION, "Every way into the model passes through one of these stages")
        return Case(self.name, (top, *contexts, strategy, why, *(node for part in parts for node in part)))


TITLES = {
    "requirements": "Hazards of the system became requirements on the component",
    "data": "The data that the component learnt from are sufficient",
    "learning": "What was learnt performs on people it never saw",
    "verification": "What must always hold is proved of the network that is deployed",
    "deployment": "The component is safe in the loop that it is deployed in",
}


def _stage(name: str, claims: Sequence[Claimed]) -> list[Node]:
    goals = tuple(f"G-{name}-{number}" for number in range(1, len(claims) + 1))
    nodes = [Node(f"G-{name}", Kind.GOAL, TITLES[name], goals)]
    for goal, claimed in zip(goals, claims, strict=True):
        nodes += _goal(goal, claimed)
    return nodes


def _goal(goal: str, claimed: Claimed) -> list[Node]:
    solutions = [
        Node(f"Sn-{goal.removeprefix('G-')}.{number}", Kind.SOLUTION, text, check=check, arguments=dict(arguments))
        for number, (text, check, arguments) in enumerate(claimed.checks, 1)
    ]
    node = Node(goal, Kind.GOAL, claimed.goal, tuple(each.id for each in solutions), undeveloped=not solutions)
    return [node, *solutions]


@dataclass(frozen=True)
class DeletionHonoured:
    """A deletion request was honoured: one goal for each thing that has to be true, and what is not covered.

    **Arguments:** `request`: its id; names nobody. `claim`: `exact`, `certified` or `empirical`. `theorem`: what a
    certified claim stands on. `safety_case`: the workspace's own case, where there is one, and its
    `safety_digest`. `not_covered`: what the
    receipt says it does not cover.
    """

    request: str
    claim: str
    method: str
    theorem: str = ""
    safety_case: str = ""
    safety_digest: str = ""
    not_covered: Sequence[str] = field(default=())

    def case(self) -> Case:
        """The case: `deletion-<request>`."""
        sections = self._sections()
        named = {f"G-{name}": claimed for name, claimed in sections.items()}
        parts = [node for name, claimed in named.items() for node in _goal(name, claimed)]
        safety = (
            Node("G-safety", Kind.AWAY_GOAL, "The safety properties still hold", module=self.safety_case)
            if self.safety_case
            else Node("G-safety", Kind.GOAL, "The safety properties still hold: no case argues them", undeveloped=True)
        )
        rest = tuple(f"G-outside-{number}" for number in range(1, len(self.not_covered) + 1))
        outside = [
            Node(name, Kind.GOAL, f"Not covered: {words}", undeveloped=True)
            for name, words in zip(rest, self.not_covered, strict=True)
        ]
        within = Node(
            "G-within",
            Kind.GOAL,
            "Within what the provider controls, the deletion is done and shown",
            ("S-within",),
        )
        strategy = Node(
            "S-within",
            Kind.STRATEGY,
            "Argument over the request, the data, the model, the proof and what must stay true",
            (*named, "G-safety"),
            ("C-claim",),
        )
        claim = Node(
            "C-claim", Kind.CONTEXT, f"Method {self.method}; its claim is {self.claim}. {self.theorem}".strip()
        )
        top = Node(
            "G-honoured", Kind.GOAL, f"Request {self.request} is honoured everywhere", ("G-within", *rest), ("C-scope",)
        )
        scope = Node("C-scope", Kind.CONTEXT, "Scope: one workspace, its models, records and checkpoints")
        return Case(f"deletion-{self.request}", (top, scope, within, strategy, claim, *parts, safety, *outside))

    def _sections(self) -> dict[str, Claimed]:
        influence: list[Support] = [
            ("The method ran, and claims what its kind may claim", "influence-removed", {"claim": self.claim})
        ]
        audited: list[Support] = [("Audit of the new model against retrained ones", "audit-finds-nothing", {})]
        return {
            "valid": Claimed("The request is valid and screened", [("Screening", "request-screened", {})]),
            "data": Claimed("The records are gone from the data", [("Records and tree", "records-gone", {})]),
            "influence": Claimed(
                "The records' influence is gone from the model",
                [*influence, *audited] if self.claim == "empirical" else influence,
            ),
            "audited": Claimed("Nobody finds the records in the model", audited),
            "verified": Claimed(
                "Somebody else verified the effect",
                [("The receipt verifies offline, in the log", "receipt-verifies", {})],
            ),
            "service": Claimed("The service is preserved", [("Test performance", "service-preserved", {})]),
        }
