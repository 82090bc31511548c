"""An assurance case in Goal Structuring Notation (GSN Community Standard v3): nodes, links, defeaters."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from expunge.errors import OperatorError


class Kind(StrEnum):
    """What a node is."""

    GOAL = "goal"
    STRATEGY = "strategy"
    SOLUTION = "solution"
    CONTEXT = "context"
    ASSUMPTION = "assumption"
    JUSTIFICATION = "justification"
    AWAY_GOAL = "away-goal"


@dataclass(frozen=True)
class Node:
    """One element of the argument.

    **Arguments:**

    - `supported_by`, `in_context_of`: ids of the nodes that the links lead to.
    - `undeveloped`: the argument stops here on purpose.
    - `check`, `arguments`: of a solution: which check measures its evidence, and with what.
    - `module`: of an away goal: the case that argues it.
    """

    id: str
    kind: Kind
    text: str
    supported_by: tuple[str, ...] = ()
    in_context_of: tuple[str, ...] = ()
    undeveloped: bool = False
    check: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    module: str = ""


@dataclass(frozen=True)
class Defeater:
    """A doubt about a node (Assurance 2.0): raised by somebody, answered or not, and kept either way."""

    id: str
    against: str
    doubt: str
    by: str
    raised: str
    answer: str = ""
    answered: str = ""


@dataclass(frozen=True)
class Case:
    """A named argument. The first node is the top goal. Whether it is well formed, `rules.problems` says."""

    name: str
    nodes: tuple[Node, ...]
    defeaters: tuple[Defeater, ...] = ()

    @cached_property
    def by_id(self) -> dict[str, Node]:
        """Nodes by id."""
        return {node.id: node for node in self.nodes}

    @property
    def top(self) -> Node:
        """The goal that everything supports."""
        return self.nodes[0]

    @property
    def solutions(self) -> tuple[Node, ...]:
        """The nodes that hold evidence."""
        return tuple(node for node in self.nodes if node.kind is Kind.SOLUTION)

    def node(self, name: str) -> Node:
        """The node called `name`; raises `OperatorError("unknown-node")`."""
        if name not in self.by_id:
            raise OperatorError("unknown-node", f"the case has no node {name[:40]!r}")
        return self.by_id[name]

    def doubted(self, against: str, doubt: str, by: str, at: str) -> "Case":
        """The case with one more defeater; raises `OperatorError("unknown-node" | "bad-arguments")`."""
        self.node(against)
        _worded("a doubt", doubt)
        number = f"D{len(self.defeaters) + 1}"
        return replace(self, defeaters=(*self.defeaters, Defeater(number, against, doubt, by, at)))

    def answered(self, defeater: str, answer: str, at: str) -> "Case":
        """The case with a defeater answered, once.

        **Raises:** `OperatorError("unknown-node" | "illegal-move" | "bad-arguments")`.
        """
        found = next((each for each in self.defeaters if each.id == defeater), None)
        if found is None:
            raise OperatorError("unknown-node", f"the case has no defeater {defeater[:40]!r}")
        if found.answer:
            raise OperatorError("illegal-move", f"{defeater} is answered already: raise a new one")
        _worded("an answer", answer)
        done = replace(found, answer=answer, answered=at)
        return replace(self, defeaters=tuple(done if each is found else each for each in self.defeaters))


def _worded(what: str, words: str) -> None:
    if not words.strip():
        raise OperatorError("bad-arguments", f"{what} needs words")
