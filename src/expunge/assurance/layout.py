"""A case as a picture: layers by networkx, shapes as GSN draws them; every node is a link to its details."""

from collections.abc import Mapping
from html import escape
from textwrap import wrap
from typing import Final

from expunge.assurance.case import Case, Kind, Node
from expunge.assurance.evaluation import Standing, Status

WIDTH: Final = 178
HEIGHT: Final = 86
GAP_X: Final = 18
GAP_Y: Final = 40
COLOURS: Final = {
    Status.SUPPORTED: ("#e3f2e6", "#1f7a3a"),
    Status.UNDEVELOPED: ("#f4f1e4", "#8a6d1a"),
    Status.STALE: ("#e4ecf7", "#2f5f9e"),
    Status.UNDERMINED: ("#fbe3e0", "#b3261e"),
}
MARKS: Final = {Status.SUPPORTED: "✓", Status.UNDEVELOPED: "◇", Status.STALE: "↻", Status.UNDERMINED: "✗"}
"""Colour is never the only sign."""


def places(case: Case) -> dict[str, tuple[float, float]]:
    """Centre of each node: layers by the longest way from the top, order within a layer by where a walk meets it."""
    import networkx

    graph = networkx.DiGraph()
    graph.add_nodes_from(node.id for node in case.nodes)
    graph.add_edges_from((n.id, to) for n in case.nodes for to in (*n.supported_by, *n.in_context_of))
    layer = {name: depth for depth, names in enumerate(networkx.topological_generations(graph)) for name in names}
    walk = {name: number for number, name in enumerate(networkx.dfs_preorder_nodes(graph, case.top.id))}
    wide = _wide(layer, walk)
    return {
        name: (x * (WIDTH + GAP_X) + WIDTH / 2 + 8, y * (HEIGHT + GAP_Y) + HEIGHT / 2 + 8)
        for name, (x, y) in wide.items()
    }


def _wide(layer: Mapping[str, int], walk: Mapping[str, int], most: int = 7) -> dict[str, tuple[float, float]]:
    """Layers of at most `most` nodes: longer ones take several lines, so that the page need not be wide."""
    found: dict[str, tuple[float, float]] = {}
    line = 0
    for depth in sorted(set(layer.values())):
        names = sorted((name for name, at in layer.items() if at == depth), key=lambda name: walk[name])
        for start in range(0, len(names), most):
            part = names[start : start + most]
            shift = (most - len(part)) / 2
            found |= {name: (number + shift, float(line)) for number, name in enumerate(part)}
            line += 1
    return found


def svg(case: Case, standings: Mapping[str, Standing], link: str = "#") -> str:
    """The picture, self-contained; a node links to `link` + its id."""
    at = places(case)
    width = max(x for x, _ in at.values()) + WIDTH / 2 + 8
    height = max(y for _, y in at.values()) + HEIGHT / 2 + 8
    edges = "".join(_edge(at[node.id], at[to], hollow=False) for node in case.nodes for to in node.supported_by)
    edges += "".join(_edge(at[node.id], at[to], hollow=True) for node in case.nodes for to in node.in_context_of)
    nodes = "".join(_node(node, standings[node.id].status, *at[node.id], link) for node in case.nodes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-label="Goal structure of {escape(case.name, quote=True)}" '
        'font-family="system-ui, sans-serif" font-size="10.5">'
        '<defs><marker id="full" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#555"/></marker><marker id="open" viewBox="0 0 8 8" refX="8" refY="4" '
        'markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" fill="#fff" stroke="#555"/></marker>'
        f"</defs>{edges}{nodes}</svg>"
    )


def _edge(start: tuple[float, float], end: tuple[float, float], *, hollow: bool) -> str:
    (x, y), (to_x, to_y) = start, end
    y, to_y = y + HEIGHT / 2, to_y - HEIGHT / 2
    middle = (y + to_y) / 2
    head = "open" if hollow else "full"
    return (
        f'<path d="M{x:.0f} {y:.0f}C{x:.0f} {middle:.0f} {to_x:.0f} {middle:.0f} {to_x:.0f} {to_y:.0f}" fill="none" '
        f'stroke="#888" marker-end="url(#{head})"/>'
    )


def _node(node: Node, status: Status, x: float, y: float, link: str) -> str:
    fill, stroke = COLOURS[status]
    lines = wrap(node.text, 29)
    lines = [*lines[:4], lines[4] + "…"] if len(lines) > 5 else lines
    words = "".join(f'<tspan x="{x:.0f}" dy="12">{escape(line)}</tspan>' for line in lines)
    head = f"{MARKS[status]} {node.id}"
    mark = f'<path d="M{x:.0f} {y + HEIGHT / 2:.0f}l7 7l-7 7l-7-7z" fill="#fff" stroke="{stroke}"/>'
    return (
        f'<a href="{escape(link + node.id, quote=True)}"><title>{escape(node.text)} ({status})</title>'
        f"{_shape(node.kind, x, y, f'fill={chr(34)}{fill}{chr(34)} stroke={chr(34)}{stroke}{chr(34)}')}"
        f'<text x="{x:.0f}" y="{y - 6 * len(lines) - 4:.0f}" text-anchor="middle" fill="#1a1a1a">'
        f'<tspan font-weight="700" fill="{stroke}">{escape(head)}</tspan>{words}</text>'
        f"{mark if node.undeveloped else ''}</a>"
    )


def _shape(kind: Kind, x: float, y: float, style: str) -> str:
    """Goal: rectangle; strategy: parallelogram; solution: rounded to its ends; context: stadium; the rest: ellipse."""
    left, top, w, h = x - WIDTH / 2, y - HEIGHT / 2, WIDTH, HEIGHT
    if kind is Kind.STRATEGY:
        return f'<path d="M{left + 10:.0f} {top:.0f}h{w - 10}l-10 {h}h-{w - 10}z" {style}/>'
    if kind in (Kind.ASSUMPTION, Kind.JUSTIFICATION):
        return f'<ellipse cx="{x:.0f}" cy="{y:.0f}" rx="{w / 2:.0f}" ry="{h / 2:.0f}" {style}/>'
    round_ = {Kind.CONTEXT: 24, Kind.SOLUTION: 42}.get(kind, 0)
    body = f'<rect x="{left:.0f}" y="{top:.0f}" width="{w}" height="{h}" rx="{round_}" {style}/>'
    if kind is Kind.AWAY_GOAL:
        body += f'<path d="M{left:.0f} {y + h / 2 - 14:.0f}h{w}" {style}/>'
    return body
