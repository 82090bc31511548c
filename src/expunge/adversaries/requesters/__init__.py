"""Malicious requesters: one contract; selections of records, altered copies, streams; and honest requests."""

from expunge.adversaries.requesters.benign import KINDS, benign
from expunge.adversaries.requesters.contract import Crafted, Description, Outcome, Requester, Task, margins
from expunge.adversaries.requesters.modification import AlteredCopies, FirstOrder
from expunge.adversaries.requesters.selection import Greedy, Neighbours, Polish, Relaxed, Select, capped_simplex

__all__ = [
    "KINDS",
    "AlteredCopies",
    "Crafted",
    "Description",
    "FirstOrder",
    "Greedy",
    "Neighbours",
    "Outcome",
    "Polish",
    "Relaxed",
    "Requester",
    "Select",
    "Task",
    "benign",
    "capped_simplex",
    "margins",
]
