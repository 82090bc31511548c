"""Malicious requesters: one contract; selections of records, altered copies, streams; and honest requests."""

from expunge.adversaries.requesters.backdoor import Backdoor
from expunge.adversaries.requesters.benign import KINDS, benign
from expunge.adversaries.requesters.contract import Crafted, Description, Outcome, Requester, Task, margins
from expunge.adversaries.requesters.exhaustion import Exhaust
from expunge.adversaries.requesters.foreign import Blended, NeverTrained
from expunge.adversaries.requesters.modification import AlteredCopies, FirstOrder
from expunge.adversaries.requesters.selection import Greedy, Neighbours, Polish, Relaxed, Select, capped_simplex
from expunge.adversaries.requesters.sequential import Played, Sequential

__all__ = [
    "KINDS",
    "AlteredCopies",
    "Backdoor",
    "Blended",
    "Crafted",
    "Description",
    "Exhaust",
    "FirstOrder",
    "Greedy",
    "Neighbours",
    "NeverTrained",
    "Outcome",
    "Played",
    "Polish",
    "Relaxed",
    "Requester",
    "Select",
    "Sequential",
    "Task",
    "benign",
    "capped_simplex",
    "margins",
]
