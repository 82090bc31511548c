"""What is wrong with the log in the store: everything computed again from the entries."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Select, func, select

from expunge.errors import ExpungeError
from expunge.ledger import log, merkle
from expunge.ledger.checkpoints import open_checkpoint
from expunge_verify import leaf_hash

_CHUNK = 2048
"""Leaves read at a time."""


def log_faults(connection: Connection) -> Iterator[str]:
    """One line for each fault; nothing for a sound log, or one that was never begun.

    Leaves must be counted without gaps, every node must be the hash of its leaves, the key history must be signed, and
    every checkpoint too, with the root that the log had at its size.
    """
    yield from _tree_faults(connection)
    if connection.scalar(select(func.count()).select_from(log.keys)):
        yield from _checkpoint_faults(connection)


def _tree_faults(connection: Connection) -> Iterator[str]:
    frontier: dict[merkle.Node, bytes] = {}
    count = nodes = 0
    while chunk := connection.execute(_leaves_from(count)).all():
        if [position for position, _ in chunk] != list(range(count, count + len(chunk))):
            yield f"the leaves after {count} are not counted without gaps"
            return
        grown = merkle.grow(lambda _: frontier, count, [leaf_hash(entry) for _, entry in chunk])  # noqa: B023
        yield from _node_faults(connection, grown)
        count, nodes = count + len(chunk), nodes + len(grown)
        known = frontier | grown
        frontier = {node: known[node] for node in merkle.cover(0, count)}
    if connection.scalar(select(func.count()).select_from(log.nodes)) != nodes:
        yield "the tree has nodes that no leaf accounts for"


def _leaves_from(count: int) -> Select[Any]:
    return select(log.leaves).where(log.leaves.c.position >= count).order_by(log.leaves.c.position).limit(_CHUNK)


def _node_faults(connection: Connection, grown: dict[merkle.Node, bytes]) -> Iterator[str]:
    rows = {log.row_of(node): node for node in grown}
    found = {row.id: row.hash for row in connection.execute(select(log.nodes).where(log.nodes.c.id.in_(rows)))}
    for number, node in rows.items():
        if found.get(number) != grown[node]:
            yield f"node {node[1]} on level {node[0]} is not the hash of its leaves"


def _checkpoint_faults(connection: Connection) -> Iterator[str]:
    try:
        keys = log.history(connection).keys
    except ExpungeError as error:
        yield str(error)
        return
    count = log.size(connection)
    columns = log.checkpoints.c
    for number, size, note in connection.execute(select(columns.id, columns.size, columns.note)):
        try:
            signed = open_checkpoint(note.encode(), keys)
            log.require_extension(connection, signed, signed.origin, count)
        except ExpungeError as error:
            yield f"checkpoint {number}: {error}"
            continue
        if signed.size != size:
            yield f"checkpoint {number} is filed under another size"
