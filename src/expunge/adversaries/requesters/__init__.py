"""Malicious requesters: one contract; selections of records, altered copies, streams; and honest requests."""

from expunge.adversaries.requesters.backdoor import Backdoor
from expunge.adversaries.requesters.benign import KINDS, benign
from expunge.adversaries.requesters.boundary import BoundaryCopies
from expunge.adversaries.requesters.camouflage import Camouflage
from expunge.adversaries.requesters.contract import (
    Crafted,
    Description,
    Outcome,
    Preconditioned,
    Requester,
    Task,
    grey_box,
    margins,
)
from expunge.adversaries.requesters.exhaustion import Exhaust
from expunge.adversaries.requesters.foreign import Blended, NeverTrained
from expunge.adversaries.requesters.matching import Matching
from expunge.adversaries.requesters.modification import AlteredCopies, FirstOrder
from expunge.adversaries.requesters.selection import Greedy, Neighbours, Polish, Relaxed, Select, capped_simplex
from expunge.adversaries.requesters.sequential import Played, Sequential
from expunge.adversaries.requesters.usability import Usability

__all__ = [
    "KINDS",
    "AlteredCopies",
    "Backdoor",
    "Blended",
    "BoundaryCopies",
    "Camouflage",
    "Crafted",
    "Description",
    "Exhaust",
    "FirstOrder",
    "Greedy",
    "Matching",
    "Neighbours",
    "NeverTrained",
    "Outcome",
    "Played",
    "Polish",
    "Preconditioned",
    "Relaxed",
    "Requester",
    "Select",
    "Sequential",
    "Task",
    "Usability",
    "benign",
    "capped_simplex",
    "grey_box",
    "margins",
]
