"""A case as a picture: layers by networkx, in blocks; shapes as GSN draws them; a node is a link to its details."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from textwrap import wrap
from typing import Final

from expunge.assurance.case import Case, Kind, Node
from expunge.assurance.evaluation import Standing, Status

WIDTH: Final = 178
HEIGHT: Final = 86
GAP_X: Final = 18
GAP_Y: Final = 40
COLUMNS: Final = 6
LANE: Final = 0.12
"""Width, in columns, kept free at the left of several lines."""
COLOURS: Final = {
    Status.SUPPORTED: ("#e3f2e6", "#1f7a3a"),
    Status.UNDEVELOPED: ("#f4f1e4", "#8a6d1a"),
    Status.STALE: ("#e4ecf7", "#2f5f9e"),
    Status.UNDERMINED: ("#fbe3e0", "#b3261e"),
}
MARKS: Final = {Status.SUPPORTED: "✓", Status.UNDEVELOPED: "◇", Status.STALE: "↻", Status.UNDERMINED: "✗"}
"""Colour is never the only sign."""


def places(case: Case) -> dict[str, tuple[float, float]]:
    """Centre of each node: every subtree is a block, and the blocks below a node stand side by side, in lines of at
    most `COLUMNS` columns, so that the page need not be wide and no link crosses a node."""
    at = _block(case.top.id, _tree(case)).at
    return {name: (_across(x) + WIDTH / 2, y * (HEIGHT + GAP_Y) + HEIGHT / 2 + 8) for name, (x, y) in at.items()}


def _across(columns: float) -> float:
    return columns * (WIDTH + GAP_X) + 8


def _tree(case: Case) -> dict[str, list[list[str]]]:
    """What stands below each node, contexts in lines of their own; a node that several lead to stands below the
    deepest of them."""
    import networkx

    graph = networkx.DiGraph()
    graph.add_nodes_from(node.id for node in case.nodes)
    graph.add_edges_from((n.id, to) for n in case.nodes for to in (*n.supported_by, *n.in_context_of))
    layer = {name: depth for depth, names in enumerate(networkx.topological_generations(graph)) for name in names}
    owner = {name: max(graph.predecessors(name), key=layer.__getitem__, default="") for name in graph}
    return {
        node.id: [[name for name in part if owner[name] == node.id] for part in (node.in_context_of, node.supported_by)]
        for node in case.nodes
    }


@dataclass(frozen=True)
class _Block:
    """A node and all below it: columns, lines, the places in it from 0, and where links run down left of lines."""

    columns: float
    lines: int
    at: Mapping[str, tuple[float, float]]
    lanes: Mapping[str, float]


def _block(name: str, tree: Mapping[str, list[list[str]]]) -> _Block:
    lines = [line for part in tree[name] for line in _lines([_block(each, tree) for each in part])]
    margin = LANE if len(lines) > 1 else 0.0
    width = margin + max((sum(each.columns for each in line) for line in lines), default=1.0)
    at, lanes, y = {name: ((width - 1) / 2, 0.0)}, {name: 0.0}, 1
    for line in lines:
        x = margin + (width - margin - sum(each.columns for each in line)) / 2
        for each in line:
            at |= {inner: (x + dx, y + dy) for inner, (dx, dy) in each.at.items()}
            lanes |= {inner: x + dx for inner, dx in each.lanes.items()}
            x += each.columns
        y += max(each.lines for each in line)
    return _Block(width, y, at, lanes)


def _lines(blocks: Sequence[_Block]) -> list[list[_Block]]:
    """Blocks in their order, a new line where the columns are used up."""
    found: list[list[_Block]] = []
    for block in blocks:
        if not found or sum(each.columns for each in found[-1]) + block.columns > COLUMNS + 0.5:
            found.append([])
        found[-1].append(block)
    return found


def svg(case: Case, standings: Mapping[str, Standing], link: str = "#") -> str:
    """The picture, self-contained; a node links to `link` + its id."""
    at = places(case)
    width = max(x for x, _ in at.values()) + WIDTH / 2 + 8
    height = max(y for _, y in at.values()) + HEIGHT / 2 + 16
    lanes = _block(case.top.id, _tree(case)).lanes
    edges = "".join(_edges(case, node, at, _across(lanes[node.id]) + 4) for node in case.nodes)
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


def _edges(case: Case, node: Node, at: Mapping[str, tuple[float, float]], lane: float) -> str:
    """Links in right angles: to the first line below straight, to others down a lane at the left of them all."""
    links = [*((to, "full") for to in node.supported_by), *((to, "open") for to in node.in_context_of)]
    x, bottom = at[node.id][0], at[node.id][1] + HEIGHT / 2
    gap, paths = bottom + GAP_Y / 2, []
    for to, head in links:
        to_x, top = at[to][0], at[to][1] - HEIGHT / 2
        down = "" if top - GAP_Y <= bottom else f"H{lane:.0f}V{top - GAP_Y / 2:.0f}"
        way = f"M{x:.0f} {bottom:.0f}V{gap:.0f}{down}H{to_x:.0f}V{top:.0f}"
        paths.append(f'<path d="{way}" fill="none" stroke="#888" marker-end="url(#{head})"/>')
    return "".join(paths)


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
