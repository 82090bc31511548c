"""The Merkle tree of RFC 6962 and RFC 9162 over stored nodes: append, root and proofs in O(log n) hashes.

Only full nodes are stored. They never change once written, so every earlier tree can still be read from them. Hashing
one node and verifying proofs are the standalone verifier's (`expunge_verify`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce

from expunge.errors import ProgrammerError
from expunge_verify import EMPTY_ROOT, node_hash

Node = tuple[int, int]
"""(level, position): covers the leaves `[position << level, (position + 1) << level)`; leaves have level 0."""

Fetch = Callable[[Iterable[Node]], Mapping[Node, bytes]]
"""Reads stored nodes, all of them at once."""


def grow(fetch: Fetch, size: int, leaves: Sequence[bytes]) -> dict[Node, bytes]:
    """The nodes that a tree of `size` leaves gains with the leaf hashes `leaves`, themselves included."""
    known = dict(fetch(cover(0, size)))
    new: dict[Node, bytes] = {}
    for index, leaf in enumerate(leaves, start=size):
        for node, value in _completed(index, leaf, known):
            known[node] = new[node] = value
    return new


def root(fetch: Fetch, size: int) -> bytes:
    """The root of the first `size` leaves: RFC 9162, section 2.1.1."""
    return read(fetch, [(0, size)])[0] if size else EMPTY_ROOT


def inclusion(fetch: Fetch, index: int, size: int) -> list[bytes]:
    """PATH(index, D_size) of RFC 9162, section 2.1.3.1: from the leaf's neighbour upwards.

    **Raises:** `ProgrammerError("no-such-leaf")` unless 0 <= index < size.
    """
    if not 0 <= index < size:
        raise ProgrammerError("no-such-leaf", f"leaf {index} of a log of {size}")
    return read(fetch, inclusion_spans(index, size))


def consistency(fetch: Fetch, old: int, new: int) -> list[bytes]:
    """PROOF(old, D_new) of RFC 9162, section 2.1.4.1.

    **Raises:** `ProgrammerError("no-such-leaf")` unless 0 < old <= new: an empty tree has no proof worth the name.
    """
    if not 0 < old <= new:
        raise ProgrammerError("no-such-leaf", f"no consistency proof leads from {old} leaves to {new}")
    return read(fetch, consistency_spans(old, new))


def cover(start: int, stop: int) -> list[Node]:
    """The fewest full nodes that cover the leaves `[start, stop)`, from left to right."""
    found = []
    while start < stop:
        level = (stop - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        found.append((level, start >> level))
        start += 1 << level
    return found


def inclusion_spans(index: int, size: int) -> list[tuple[int, int]]:
    """The runs of leaves whose hashes an inclusion proof lists, in its order."""
    start, stop, spans = 0, size, []
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            spans.append((middle, stop))
            stop = middle
        else:
            spans.append((start, middle))
            start = middle
    return spans[::-1]


def consistency_spans(old: int, new: int) -> list[tuple[int, int]]:
    """The runs of leaves whose hashes a consistency proof lists, in its order."""
    start, stop, spans = 0, new, []
    while stop != old:
        middle = start + _split(stop - start)
        if old <= middle:
            spans.append((middle, stop))
            stop = middle
        else:
            spans.append((start, middle))
            start = middle
    return ([(start, stop)] if start else []) + spans[::-1]


def _completed(index: int, leaf: bytes, known: Mapping[Node, bytes]) -> Iterator[tuple[Node, bytes]]:
    """The leaf, and every node of which it is the last leaf."""
    level, position, value = 0, index, leaf
    yield (level, position), value
    while position & 1:
        value = node_hash(known[level, position - 1], value)
        level, position = level + 1, position >> 1
        yield (level, position), value


def read(fetch: Fetch, spans: Sequence[tuple[int, int]]) -> list[bytes]:
    """The hash of each run of leaves, with a single fetch for all."""
    covers = {span: cover(*span) for span in spans}  # proofs of neighbouring sizes share most of their spans
    found = fetch({node for nodes in covers.values() for node in nodes})
    folded = {span: _fold([found[node] for node in nodes]) for span, nodes in covers.items()}
    return [folded[span] for span in spans]


def _fold(hashes: Sequence[bytes]) -> bytes:
    """The root over full subtrees that get smaller from left to right."""
    return reduce(lambda right, left: node_hash(left, right), reversed(hashes))


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)
