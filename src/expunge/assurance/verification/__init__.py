"""Formal verification of ReLU networks: proved, violated with a counterexample that replays, or unknown with the gap.

network = fold(module, Scaling(centre, spread, offset, factor))
verdict = verify(network, BoundedOutput(Region(lower, upper), lowest=20, highest=600))
"""

from expunge.assurance.verification.export import to_onnx, to_vnnlib, write_queries
from expunge.assurance.verification.front_door import Budget, verify
from expunge.assurance.verification.network import ReluNetwork, Scaling, fold
from expunge.assurance.verification.properties import (
    BoundedOutput,
    Hazard,
    LocalRobustness,
    Monotone,
    Property,
    Query,
    Rate,
)
from expunge.assurance.verification.regions import HalfSpace, Path, Region
from expunge.assurance.verification.relaxation import interval_bounds
from expunge.assurance.verification.verdicts import Counterexample, Effort, Proved, Unknown, Verdict, Violated

__all__ = [
    "BoundedOutput",
    "Budget",
    "Counterexample",
    "Effort",
    "HalfSpace",
    "Hazard",
    "LocalRobustness",
    "Monotone",
    "Path",
    "Property",
    "Proved",
    "Query",
    "Rate",
    "Region",
    "ReluNetwork",
    "Scaling",
    "Unknown",
    "Verdict",
    "Violated",
    "fold",
    "interval_bounds",
    "to_onnx",
    "to_vnnlib",
    "verify",
    "write_queries",
]
