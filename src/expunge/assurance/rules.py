"""When a case is well formed (GSN Community Standard v3, part 1): each broken rule is a line that names the node."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from expunge.assurance.case import Case, Defeater, Kind, Node
from expunge.errors import OperatorError

CONTEXTUAL: Final = frozenset({Kind.CONTEXT, Kind.ASSUMPTION, Kind.JUSTIFICATION})
SUPPORTS: Final = {
    Kind.GOAL: frozenset({Kind.GOAL, Kind.STRATEGY, Kind.SOLUTION, Kind.AWAY_GOAL}),
    Kind.STRATEGY: frozenset({Kind.GOAL, Kind.AWAY_GOAL}),
}
"""What may support a goal and a strategy; nothing supports anything else."""


@dataclass(frozen=True)
class Problem:
    """A rule that a node breaks."""

    node: str
    words: str


def check_form(case: Case) -> None:
    """Refuse a malformed case; raises `OperatorError("bad-case")` with the first problem and how many there are."""
    found = problems(case)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise OperatorError("bad-case", f"{found[0].node}: {found[0].words}{more}")


def problems(case: Case) -> list[Problem]:
    """Every broken rule, node by node."""
    found = [problem for node in case.nodes for problem in _of_node(case, node)]
    found += [Problem(each.id, f"doubts {each.against}, which is not there") for each in _lost_doubts(case)]
    return [*found, *_of_whole(case)]


def _of_node(case: Case, node: Node) -> Iterator[Problem]:
    if not node.text.strip():
        yield Problem(node.id, "says nothing")
    if not node.id.strip() or len(node.id) > 64 or not all(c.isalnum() or c in "-_./" for c in node.id):
        yield Problem(node.id, "an id is up to 64 letters, digits and -_./")
    yield from _of_links(case, node)
    yield from _of_leaf(node)
    yield from _of_fields(node)


def _of_links(case: Case, node: Node) -> Iterator[Problem]:
    for link, allowed in (("supported_by", SUPPORTS.get(node.kind, frozenset())), ("in_context_of", CONTEXTUAL)):
        targets = getattr(node, link)
        if len(set(targets)) != len(targets):
            yield Problem(node.id, f"{link} names a node twice")
        for target in targets:
            there = case.by_id.get(target)
            if there is None:
                yield Problem(node.id, f"{link} leads to {target}, which is not there")
            elif there.kind not in allowed:
                yield Problem(node.id, f"a {node.kind} cannot be {link.replace('_', ' ')} the {there.kind} {target}")
    if node.in_context_of and node.kind not in (Kind.GOAL, Kind.STRATEGY):
        yield Problem(node.id, f"a {node.kind} has no context of its own")


def _of_leaf(node: Node) -> Iterator[Problem]:
    if node.kind not in SUPPORTS:
        return
    if not node.supported_by and not node.undeveloped:
        yield Problem(node.id, "is neither supported nor marked undeveloped")
    if node.supported_by and node.undeveloped:
        yield Problem(node.id, "is marked undeveloped and yet supported")


def _of_fields(node: Node) -> Iterator[Problem]:
    if node.kind is Kind.SOLUTION and not node.check:
        yield Problem(node.id, "a solution names the check that measures its evidence")
    if node.kind is not Kind.SOLUTION and (node.check or node.arguments):
        yield Problem(node.id, f"a {node.kind} has no check")
    if node.undeveloped and node.kind not in SUPPORTS:
        yield Problem(node.id, f"a {node.kind} cannot be undeveloped")
    if (node.kind is Kind.AWAY_GOAL) != bool(node.module):
        yield Problem(node.id, "an away goal, and nothing else, names its module")


def _lost_doubts(case: Case) -> list[Defeater]:
    return [each for each in case.defeaters if each.against not in case.by_id]


def _of_whole(case: Case) -> Iterator[Problem]:
    import networkx

    if len(case.by_id) != len(case.nodes):
        names = [node.id for node in case.nodes]
        yield Problem(next(name for name in names if names.count(name) > 1), "stands there twice")
    if case.top.kind is not Kind.GOAL:
        yield Problem(case.top.id, "the first node is the top goal")
    graph = networkx.DiGraph()
    graph.add_nodes_from(case.by_id)
    graph.add_edges_from((n.id, to) for n in case.nodes for to in (*n.supported_by, *n.in_context_of))
    for ring in networkx.strongly_connected_components(graph):
        name = min(ring)
        if len(ring) > 1 or graph.has_edge(name, name):
            yield Problem(name, f"argues in a circle: {', '.join(sorted(ring))}")
    reached = {case.top.id, *networkx.descendants(graph, case.top.id)}
    yield from (Problem(node.id, "nothing leads to it") for node in case.nodes if node.id not in reached)
    if graph.in_degree(case.top.id):
        yield Problem(case.top.id, "the top goal supports nothing")
