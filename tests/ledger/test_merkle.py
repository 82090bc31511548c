"""The tree against RFC 6962's own recursive definitions, and proofs against every way of bending them."""

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

import expunge_verify
from expunge.errors import ProgrammerError
from expunge.ledger import merkle

ENTRIES = [bytes([number]) * (number % 5) for number in range(130)]
LEAVES = [expunge_verify.leaf_hash(entry) for entry in ENTRIES]


def naive_root(entries: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word."""
    if len(entries) < 2:
        return expunge_verify.leaf_hash(entries[0]) if entries else expunge_verify.EMPTY_ROOT
    k = split(len(entries))
    return expunge_verify.node_hash(naive_root(entries[:k]), naive_root(entries[k:]))


def naive_path(index: int, entries: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 6962, section 2.1.1."""
    if len(entries) < 2:
        return []
    k = split(len(entries))
    if index < k:
        return [*naive_path(index, entries[:k]), naive_root(entries[k:])]
    return [*naive_path(index - k, entries[k:]), naive_root(entries[:k])]


def naive_subproof(old: int, entries: Sequence[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, section 2.1.2."""
    if old == len(entries):
        return [] if whole else [naive_root(entries)]
    k = split(len(entries))
    if old <= k:
        return [*naive_subproof(old, entries[:k], whole), naive_root(entries[k:])]
    return [*naive_subproof(old - k, entries[k:], False), naive_root(entries[:k])]


def split(size: int) -> int:
    k = 1
    while 2 * k < size:
        k *= 2
    return k


class Memory:
    """Nodes in a dict, and how many were read."""

    def __init__(self) -> None:
        self.nodes: dict[merkle.Node, bytes] = {}
        self.size = self.read = 0

    def fetch(self, wanted: Iterable[merkle.Node]) -> dict[merkle.Node, bytes]:
        found = {node: self.nodes[node] for node in wanted}
        self.read += len(found)
        return found

    def append(self, leaves: Sequence[bytes]) -> int:
        grown = merkle.grow(self.fetch, self.size, leaves)
        assert not grown.keys() & self.nodes.keys(), "a stored node changed"
        self.nodes |= grown
        self.size += len(leaves)
        return len(grown)


@pytest.fixture(scope="module")
def tree() -> Memory:
    made = Memory()
    made.append(LEAVES)
    return made


def test_the_empty_tree_has_the_root_of_the_rfc(tree: Memory) -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert merkle.root(tree.fetch, 0).hex() == empty
    one = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert expunge_verify.leaf_hash(b"").hex() == one


@pytest.mark.parametrize("size", range(1, 67))
def test_roots_and_proofs_of_every_size_are_the_rfcs(tree: Memory, size: int) -> None:
    root = naive_root(ENTRIES[:size])
    assert merkle.root(tree.fetch, size) == root
    for index in range(size):
        proof = merkle.inclusion(tree.fetch, index, size)
        assert proof == naive_path(index, ENTRIES[:size])
        expunge_verify.verify_inclusion(index, size, LEAVES[index], root, proof)
    for old in range(1, size + 1):
        proof = merkle.consistency(tree.fetch, old, size)
        assert proof == naive_subproof(old, ENTRIES[:size], True)
        expunge_verify.verify_consistency(old, size, naive_root(ENTRIES[:old]), root, proof)


@given(st.lists(st.integers(0, 9), max_size=12))
def test_growing_by_any_steps_gives_the_same_tree(steps: list[int]) -> None:
    made = Memory()
    for step in steps:
        made.append(LEAVES[made.size : made.size + step])
    whole = Memory()
    whole.append(LEAVES[: sum(steps)])
    assert made.nodes == whole.nodes


def test_appending_and_proving_touch_a_logarithm_of_the_nodes() -> None:
    made = Memory()
    made.append([bytes(32)] * 100_000)
    assert len(made.nodes) < 200_000
    made.read = 0
    assert made.append([bytes(32)]) <= 17
    assert made.read <= 17
    made.read = 0
    merkle.inclusion(made.fetch, 12_345, made.size)
    merkle.consistency(made.fetch, 54_321, made.size)
    assert made.read <= 4 * 17


def test_what_no_proof_can_say_is_refused(tree: Memory) -> None:
    for index, size in [(0, 0), (5, 5), (-1, 5)]:
        with pytest.raises(ProgrammerError):
            merkle.inclusion(tree.fetch, index, size)
    for old, new in [(0, 0), (0, 5), (6, 5)]:
        with pytest.raises(ProgrammerError):
            merkle.consistency(tree.fetch, old, new)
        with pytest.raises(expunge_verify.Refused):
            expunge_verify.verify_consistency(old, new, expunge_verify.EMPTY_ROOT, naive_root(ENTRIES[:new]), [])


def refused(check: object, *arguments: object) -> bool:
    try:
        check(*arguments)  # type: ignore[operator]
    except expunge_verify.Refused:
        return True
    return False


def bent(proof: Sequence[bytes]) -> list[list[bytes]]:
    """Proofs that are not `proof`: shorter, longer, turned round, with a bit flipped in each hash."""
    flipped = [[*proof[:at], bytes([proof[at][0] ^ 1]) + proof[at][1:], *proof[at + 1 :]] for at in range(len(proof))]
    cut = [[*proof[:at], proof[at][:-1], *proof[at + 1 :]] for at in range(len(proof))]
    others = [
        list(proof[:-1]),
        list(proof[1:]),
        [*proof, LEAVES[0]],
        [LEAVES[0], *proof],
        [*proof[::-1]],
        [*proof, b""],
    ]
    return [other for other in flipped + cut + others if other != list(proof)]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 31])
def test_bent_proofs_are_refused(tree: Memory, size: int) -> None:
    root = merkle.root(tree.fetch, size)
    for index in range(size):
        proof = merkle.inclusion(tree.fetch, index, size)
        assert all(refused(expunge_verify.verify_inclusion, index, size, LEAVES[index], root, p) for p in bent(proof))
        elsewhere = [place for place in range(size + 2) if place != index]
        assert all(refused(expunge_verify.verify_inclusion, p, size, LEAVES[index], root, proof) for p in elsewhere)
    for old in range(1, size):
        before, proof = merkle.root(tree.fetch, old), merkle.consistency(tree.fetch, old, size)
        assert all(refused(expunge_verify.verify_consistency, old, size, before, root, p) for p in bent(proof))
        others = [other for other in range(size + 2) if other != old]
        assert all(refused(expunge_verify.verify_consistency, o, size, before, root, proof) for o in others)
        assert refused(expunge_verify.verify_consistency, old, size, root, before, proof)


hashes = st.lists(st.binary(max_size=33) | st.sampled_from(LEAVES), max_size=8)
sizes = st.integers(-1, 40) | st.integers(0, 2**64)


@given(sizes, sizes, st.sampled_from(LEAVES), st.binary(max_size=32), hashes)
def test_no_made_up_proof_holds(one: int, two: int, leaf: bytes, root: bytes, proof: list[bytes]) -> None:
    """A root that nobody computed from the proof cannot be met; nothing but a refusal comes out."""
    assert refused(expunge_verify.verify_inclusion, one, two, leaf, root, proof) or (two == 1 and leaf == root)
    assert refused(expunge_verify.verify_consistency, one, two, leaf, root, proof) or (one == two and leaf == root)
