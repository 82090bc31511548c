"""The states of a request and every legal move between them, in one table; and an explorer that finds bad tables.

`received -> verified -> screened -> [held] -> planned -> unlearned -> audited -> receipted -> closed`; beside it
`denied`, `cancelled` and `failed`, which remembers the state that it failed in and goes back to it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from expunge.errors import OperatorError


class State(StrEnum):
    """Where a request stands."""

    RECEIVED = "received"
    VERIFIED = "verified"
    SCREENED = "screened"
    HELD = "held"
    PLANNED = "planned"
    UNLEARNED = "unlearned"
    AUDITED = "audited"
    RECEIPTED = "receipted"
    CLOSED = "closed"
    DENIED = "denied"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Actor(StrEnum):
    """Who may make a move."""

    REQUESTER = "requester"
    PERSON = "person"
    WORKER = "worker"


class Target(StrEnum):
    """Where moves lead that do not lead to one state: nowhere else, or back to the state that failed."""

    SAME = "same"
    BACK = "back"


@dataclass(frozen=True)
class Move:
    """One row of the table.

    **Arguments:**

    - `name`: the word in the history.
    - `sources`: the states from which it is legal.
    - `target`: the state that it leads to.
    - `actors`: who may make it.
    - `reasoned`: whether the history must hold who decided it, and why.
    """

    name: str
    sources: frozenset[State]
    target: State | Target
    actors: frozenset[Actor]
    reasoned: bool = False


START: Final = State.RECEIVED
FULFILLED: Final = State.CLOSED
TERMINAL: Final = frozenset({State.CLOSED, State.DENIED, State.CANCELLED})
OPEN: Final = frozenset(State) - TERMINAL
MILESTONES: Final = (
    State.VERIFIED,
    State.SCREENED,
    State.PLANNED,
    State.UNLEARNED,
    State.AUDITED,
    State.RECEIPTED,
)
"""What no fulfilled request may have skipped, in this order."""
UNTOUCHED: Final = frozenset({State.RECEIVED, State.VERIFIED, State.SCREENED, State.HELD, State.PLANNED})
"""States in which no model has been changed yet: only from these may a request be denied or cancelled."""

DENIALS: Final = (
    "suspected_fraud",
    "insuf_verification",
    "no_match",
    "claim_not_covered",
    "outside_jurisdiction",
    "too_many_requests",
    "other",
)
"""Reasons for a denial: the Data Rights Protocol's, of its table of request statuses."""


def _move(name: str, sources: Iterable[State], target: State | Target, *actors: Actor, reasoned: bool = False) -> Move:
    return Move(name, frozenset(sources), target, frozenset(actors), reasoned)


_S: Final = State
_ANYONE: Final = (Actor.REQUESTER, Actor.PERSON)

TABLE: Final[tuple[Move, ...]] = (
    _move("verify", {_S.RECEIVED}, _S.VERIFIED, Actor.PERSON, Actor.REQUESTER),
    _move("screen", {_S.VERIFIED}, _S.SCREENED, Actor.WORKER),
    _move("hold", {_S.SCREENED}, _S.HELD, Actor.WORKER, Actor.PERSON, reasoned=True),
    _move("release", {_S.HELD}, _S.SCREENED, Actor.PERSON, reasoned=True),
    _move("plan", {_S.SCREENED}, _S.PLANNED, Actor.WORKER),
    _move("unlearn", {_S.PLANNED}, _S.UNLEARNED, Actor.WORKER),
    _move("audit", {_S.UNLEARNED}, _S.AUDITED, Actor.WORKER),
    _move("receipt", {_S.AUDITED}, _S.RECEIPTED, Actor.WORKER),
    _move("close", {_S.RECEIPTED}, _S.CLOSED, Actor.WORKER),
    _move("deny", UNTOUCHED, _S.DENIED, Actor.PERSON, reasoned=True),
    _move("cancel", UNTOUCHED, _S.CANCELLED, *_ANYONE),
    _move("fail", OPEN - {_S.RECEIVED, _S.HELD, _S.FAILED}, _S.FAILED, Actor.WORKER),
    _move("retry", {_S.FAILED}, Target.BACK, Actor.WORKER, Actor.PERSON),
    _move("exempt", OPEN, Target.SAME, Actor.PERSON, reasoned=True),
    _move("extend", OPEN, Target.SAME, Actor.PERSON, reasoned=True),
    _move("stop-clock", OPEN, Target.SAME, Actor.PERSON, reasoned=True),
    _move("start-clock", OPEN, Target.SAME, Actor.PERSON),
)


def find(name: str, table: Sequence[Move] = TABLE) -> Move:
    """The move of this name.

    **Raises:** `KeyError`.
    """
    for move in table:
        if move.name == name:
            return move
    raise KeyError(name)


def target(name: str, state: State, failed_in: State | None, actor: Actor, table: Sequence[Move] = TABLE) -> State:
    """Where a move leads from `state`; `failed_in` is what a failed request remembers.

    **Raises:** `OperatorError("illegal-move")` when the table does not allow it.
    """
    move = find(name, table)
    if state not in move.sources or actor not in move.actors:
        raise OperatorError("illegal-move", f"{name} by the {actor} is not possible for a request that is {state}")
    if move.target is Target.BACK:
        if failed_in is None:
            raise OperatorError("illegal-move", "the request does not remember where it failed")
        return failed_in
    return state if move.target is Target.SAME else State(move.target)


def decisions(state: State, table: Sequence[Move] = TABLE) -> tuple[str, ...]:
    """The moves that a person may make of a request in this state."""
    return tuple(move.name for move in table if state in move.sources and Actor.PERSON in move.actors)


def check(table: Sequence[Move] = TABLE) -> tuple[str, ...]:
    """Everything that is wrong with a table, one line each; empty for a sound one.

    Looks for names that occur twice, states that cannot be reached, states without a way to an end, ways out of an
    end, ways to `closed` around a milestone, ways out of a failure but back to where it was, ways past a hold without
    a person, and ends without fulfilment after a model was changed.
    """
    edges = _edges(table)
    return (
        *_doubled(table),
        *_unreachable(edges),
        *_dead_ends(edges),
        *(f"{node[0]} is an end, but {name} leads on" for node, name, _ in edges if node[0] in TERMINAL),
        *_shortcuts(edges),
        *_strayed(edges),
        *_unattended(table),
        *_undone(edges),
    )


_Node = tuple[State, State | None]
_Edge = tuple[_Node, str, _Node]


def _edges(table: Sequence[Move]) -> list[_Edge]:
    """The moves between nodes; a failed request is a node for each state that it can have failed in."""
    edges: list[_Edge] = []
    failing = {state for move in table if move.target is State.FAILED for state in move.sources}
    for move in table:
        for state in sorted(move.sources):
            nodes: list[_Node] = [(state, step) for step in sorted(failing)] if state is _S.FAILED else [(state, None)]
            edges += [(node, move.name, _landing(move, node)) for node in nodes]
    return edges


def _landing(move: Move, node: _Node) -> _Node:
    if move.target is Target.SAME:
        return node
    if move.target is Target.BACK:
        return (node[1] or node[0], None)
    return (State(move.target), node[0] if move.target is State.FAILED else None)


def _reached(edges: Iterable[_Edge], start: Iterable[_Node], without: State | None = None) -> set[_Node]:
    steps = [(source, goal) for source, _, goal in edges if without not in (source[0], goal[0])]
    found, rim = set(start), set(start)
    while rim:
        rim = {goal for source, goal in steps if source in rim} - found
        found |= rim
    return found


def _doubled(table: Sequence[Move]) -> list[str]:
    names = [move.name for move in table]
    return [f"{name} stands in the table twice" for name in sorted({name for name in names if names.count(name) > 1})]


def _unreachable(edges: list[_Edge]) -> list[str]:
    reached = {state for state, _ in _reached(edges, [(START, None)])}
    return [f"{state} cannot be reached" for state in State if state not in reached]


def _dead_ends(edges: list[_Edge]) -> list[str]:
    ends = [(state, None) for state in TERMINAL]
    backwards = [(goal, name, source) for source, name, goal in edges]
    saved = _reached(backwards, ends)
    return [f"{_shown(node)} leads nowhere" for node in sorted(_reached(edges, [(START, None)]) - saved, key=_shown)]


def _shortcuts(edges: list[_Edge]) -> list[str]:
    found = []
    for earlier, milestone in zip((START, *MILESTONES), MILESTONES, strict=False):
        if (FULFILLED, None) in _reached(edges, [(START, None)], without=milestone):
            found.append(f"a request can be {FULFILLED} without having been {milestone}")
        if earlier is not START and (milestone, None) in _reached(edges, [(START, None)], without=earlier):
            found.append(f"a request can be {milestone} before it was {earlier}")
    return found


def _strayed(edges: list[_Edge]) -> list[str]:
    """A step that failed has not been made, whatever state the table would put the request in."""
    return [
        f"{name} leads from {_shown(node)} to {_shown(goal)}"
        for node, name, goal in edges
        if node[0] is _S.FAILED and goal not in (node, (node[1], None))
    ]


def _unattended(table: Sequence[Move]) -> list[str]:
    leaving = [move for move in table if _S.HELD in move.sources and move.target is not Target.SAME]
    return [
        f"{move.name} leads out of a hold without a person's reasoned decision"
        for move in leaving
        if Actor.WORKER in move.actors or (move.target not in TERMINAL and not move.reasoned)
    ]


def _undone(edges: list[_Edge]) -> list[str]:
    after = _reached(edges, [(_S.UNLEARNED, None)])
    return [
        f"a request can be {end} after a model was changed" for end in (_S.DENIED, _S.CANCELLED) if (end, None) in after
    ]


def _shown(node: _Node) -> str:
    return f"{node[0]} in {node[1]}" if node[1] else str(node[0])
