"""Assurance: arguments whose evidence is live, data sufficiency, and formal verification of networks."""

from expunge.assurance.case import Case, Defeater, Kind, Node
from expunge.assurance.evaluation import Evaluation, Scene, Standing, Status, evaluate, restored, standings, why
from expunge.assurance.evidence import Check, Evidence, Finding, Verdict, opened
from expunge.assurance.exports import cyclonedx, markdown, told
from expunge.assurance.patterns import Claimed, ComponentSafety, DeletionHonoured
from expunge.assurance.rules import Problem, check_form, problems
from expunge.assurance.source import read, write

__all__ = [
    "Case",
    "Check",
    "Claimed",
    "ComponentSafety",
    "Defeater",
    "DeletionHonoured",
    "Evaluation",
    "Evidence",
    "Finding",
    "Kind",
    "Node",
    "Problem",
    "Scene",
    "Standing",
    "Status",
    "Verdict",
    "check_form",
    "cyclonedx",
    "evaluate",
    "markdown",
    "opened",
    "problems",
    "read",
    "restored",
    "standings",
    "told",
    "why",
    "write",
]
