"""Commitments against a naive encoding, roots against the definition in RFC 6962, proofs against every small tree."""

import hashlib
import itertools
import struct

import pytest
import torch

from expunge.errors import ExpungeError, ProgrammerError
from expunge.records import (
    TEST,
    TRAIN,
    Columns,
    DataTree,
    DeletionProof,
    Records,
    commitments,
    data_root,
    new_salts,
    table,
)
from expunge_verify import TOMBSTONE

SALT = bytes(range(32))


def field(value: bytes) -> bytes:
    return struct.pack(">Q", len(value)) + value


def image(record: str = "a", owner: str = "ann", pixel: float = 0.5, target: int = 1, split: str = TRAIN) -> Records:
    features = torch.tensor([[[[pixel, 0.25]]]])
    return Records(features, torch.tensor([target]), (record,), (owner,), (split,), 3)


def tree_hash(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word by word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + tree_hash(leaves[:k]) + tree_hash(leaves[k:])).digest()


def leaves(count: int) -> list[bytes]:
    return [hashlib.sha256(bytes([number])).digest() for number in range(count)]


def test_commitment_to_an_image_is_what_the_docs_say():
    parts = [b"expunge record 1", b"a", b"ann", b"train", b"array", b"torch.float32", b"[1, 1, 2]"]
    parts += [struct.pack("<2f", 0.5, 0.25), b"torch.int64", struct.pack("<q", 1)]
    expected = hashlib.sha256(SALT + b"".join(map(field, parts))).digest()
    assert commitments(image(), [SALT]) == (expected,)


def test_commitment_to_a_row_is_over_the_columns_of_the_file():
    cells = {"x": [1.5, 2.0], "city": ["Rome", "Ōsaka"], "y": ["u", "v"]}
    parts = [b"expunge record 1", b"row-0000002", b"row-0000002", b"train", b"table", b"x", b"float64"]
    parts += [struct.pack("<d", 2.0), b"city", b"text", "Ōsaka".encode(), b"y", b"text", b"v"]
    records = table(cells, Columns("y"), test_share=0)
    assert commitments(records, [SALT, SALT])[1] == hashlib.sha256(SALT + b"".join(map(field, parts))).digest()


def test_every_part_of_a_record_is_bound():
    others = [
        image(record="b"),
        image(owner="bob"),
        image(pixel=0.5000001),
        image(target=2),
        image(split=TEST),
        image(record="aa", owner="nn"),
        image(record="aan", owner="n"),
    ]
    found = {commitments(each, [SALT]) for each in [image(), *others]}
    assert len(found) == len(others) + 1
    assert commitments(image(), [bytes(32)]) != commitments(image(), [SALT])


def test_commitments_do_not_move_with_a_refit():
    cells = {"x": [1.0, 2.0, 900.0], "city": ["Rome", "Oslo", "Bari"], "y": ["u", "v", "w"]}
    records, salts = table(cells, Columns("y"), test_share=0), new_salts(3)
    left = records.without(["row-0000003"])
    assert left.refit().preparation != records.preparation
    assert commitments(left.refit(), salts[:2]) == commitments(records, salts)[:2]


def test_salts_are_secret_and_fitting():
    salts = new_salts(100)
    assert len(set(salts)) == 100
    assert {len(salt) for salt in salts} == {32}
    for wrong in ([], [SALT, SALT], [SALT[:31]]):
        with pytest.raises(ProgrammerError) as caught:
            commitments(image(), wrong)
        assert caught.value.code == "bad-shape"


@pytest.mark.parametrize("count", [*range(10), 31, 32, 33, 100])
def test_root_is_that_of_the_rfc(count: int):
    assert DataTree(tuple(leaves(count))).root == tree_hash(leaves(count))


def test_data_root_is_over_the_commitments_in_order(few: Records):
    salts = new_salts(len(few))
    assert data_root(few, salts) == tree_hash(list(commitments(few, salts)))
    assert data_root(few.select(range(len(few))[::-1]), salts[::-1]) != data_root(few, salts)


@pytest.mark.parametrize("size", range(1, 7))
def test_each_deletion_from_each_small_tree_is_proven_and_no_other(size: int):
    tree = DataTree(tuple(leaves(size)))
    subsets = [part for count in range(1, size + 1) for part in itertools.combinations(range(size), count)]
    roots = {part: tree.bury(part).root for part in subsets}
    assert len(set(roots.values())) == len(subsets)
    for part in subsets[:: 1 + size // 6]:
        proof = DeletionProof.from_json(tree.proof(part).to_json())
        assert [other for other in subsets if proof.holds(size, tree.root, roots[other])] == [part]
        assert not proof.holds(size, roots[part], tree.root)


def test_deletions_follow_one_another():
    tree = DataTree(tuple(leaves(20)))
    first, second = (3, 4), (0, 19)
    between = tree.bury(first)
    assert between.proof(second).holds(20, between.root, between.bury(second).root)
    assert not between.proof(second).holds(20, tree.root, between.bury(second).root)
    assert between.bury(second).live == tuple(place for place in range(20) if place not in (*first, *second))
    assert between.leaves[3] == TOMBSTONE
    assert between.bury(second) == tree.bury((*first, *second))


def test_a_change_beside_the_tombstones_is_found():
    tree = DataTree(tuple(leaves(9)))
    swapped = DataTree((*tree.leaves[:7], bytes(32), tree.leaves[8]))
    assert not tree.proof((2,)).holds(9, tree.root, swapped.bury((2,)).root)
    assert not swapped.proof((2,)).holds(9, tree.root, swapped.bury((2,)).root)


def test_altered_proofs_do_not_hold():
    tree = DataTree(tuple(leaves(11)))
    good, after = tree.proof((2, 9)), tree.bury((2, 9)).root
    assert good.holds(11, tree.root, after)
    altered = [
        DeletionProof(12, good.places, good.deleted, good.around),
        DeletionProof(2**60, good.places, good.deleted, good.around),
        DeletionProof(0, good.places, good.deleted, good.around),
        DeletionProof(11, (2, 8), good.deleted, good.around),
        DeletionProof(11, (9, 2), good.deleted[::-1], good.around),
        DeletionProof(11, (2, 2), good.deleted, good.around),
        DeletionProof(11, (-9, 9), good.deleted, good.around),
        DeletionProof(11, (), (), (tree.root,)),
        DeletionProof(11, good.places, good.deleted[:1], good.around),
        DeletionProof(11, good.places, (TOMBSTONE, TOMBSTONE), good.around),
        DeletionProof(11, good.places, good.deleted, good.around[:-1]),
        DeletionProof(11, good.places, good.deleted, (*good.around, bytes(32))),
        DeletionProof(11, good.places, good.deleted, good.around[::-1]),
        DeletionProof(11, good.places, good.deleted, (good.around[0] + b"x", *good.around[1:])),
    ]
    assert [number for number, each in enumerate(altered) if each.holds(11, tree.root, after)] == []


@pytest.mark.parametrize(
    "value",
    [{}, {"size": 1}, {"size": "1", "places": [0], "deleted": ["00"], "around": []}, {"size": 1, "places": None}],
)
def test_what_is_no_proof_is_refused(value: dict[str, object]):
    with pytest.raises(ProgrammerError) as caught:
        DeletionProof.from_json(value)
    assert caught.value.code == "bad-shape"


@pytest.mark.parametrize(("places", "code"), [((5,), "bad-shape"), ((-1,), "bad-shape"), ((1,), "already-deleted")])
def test_what_cannot_be_buried_is_refused(places: tuple[int, ...], code: str):
    with pytest.raises(ExpungeError) as caught:
        DataTree(tuple(leaves(5))).bury((1,)).bury(places)
    assert caught.value.code == code


def test_a_proof_is_small():
    tree = DataTree(tuple(commitments(image(), [SALT])) * 10_000)
    assert len(tree.proof((1234,)).around) <= 14
