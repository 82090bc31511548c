"""The log in a database: what is appended stays, what is signed binds, forks and rollbacks are found."""

import hashlib
from collections.abc import Iterable
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, delete, event, update

import expunge_verify
from expunge.errors import AttackSuspected, ExpungeError, OperatorError, ProgrammerError, ProviderDishonest
from expunge.ledger import log, merkle
from expunge.ledger.checkpoints import open_checkpoint, sign_checkpoint
from expunge.ledger.log_faults import log_faults
from expunge.ledger.signatures import SigningKey
from expunge_verify import Checkpoint


def entry(number: int) -> bytes:
    return hashlib.sha256(f"entry {number}".encode()).digest()


def faults(desk: Any) -> list[str]:
    return list(log_faults(desk.connection))


def test_append_is_once_only_and_in_order(desk: Any) -> None:
    assert log.append(desk.connection, [entry(0), entry(1), entry(0)]) == [0, 1, 0]
    assert log.append(desk.connection, [entry(1), entry(2)]) == [1, 2]
    assert log.size(desk.connection) == 3
    assert log.append(desk.connection, []) == []
    with pytest.raises(ProgrammerError):
        log.append(desk.connection, [b"short"])


def test_roots_are_those_of_the_entries(desk: Any) -> None:
    nodes: dict[merkle.Node, bytes] = {}

    def fetch(wanted: Iterable[merkle.Node]) -> dict[merkle.Node, bytes]:
        return {node: nodes[node] for node in wanted}

    for size in range(20):
        assert log.root(desk.connection) == merkle.root(fetch, size)
        log.append(desk.connection, [entry(size)])
        nodes |= merkle.grow(fetch, size, [expunge_verify.leaf_hash(entry(size))])
    assert log.root(desk.connection, 0) == expunge_verify.EMPTY_ROOT
    assert not faults(desk)


def test_a_leaf_leaves_with_the_transaction_that_wrote_it() -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        log.create(connection)
        log.append(connection, [entry(0)])
    with engine.connect() as connection:
        log.append(connection, [entry(1), entry(2)])
        connection.rollback()
        assert log.size(connection) == 1
        assert list(log_faults(connection)) == []
    engine.dispose()


def test_a_checkpoint_is_made_once_and_extends_the_last(desk: Any) -> None:
    desk.file(3)
    again = log.sign(desk.connection, "expunge.example/test", desk.key)
    assert again == desk.notes[-1] == log.latest(desk.connection)
    head = open_checkpoint(again.encode(), [desk.key.public])
    assert (head.origin, head.size, head.root) == ("expunge.example/test", 3, log.root(desk.connection))


def test_only_the_key_in_force_signs(desk: Any) -> None:
    desk.file(1)
    old = desk.rotate()
    for key in (old, SigningKey.generate()):
        with pytest.raises(OperatorError, match="key in force"):
            log.sign(desk.connection, "expunge.example/test", key)
    with pytest.raises(OperatorError, match="current key"):
        log.rotate(desk.connection, old, SigningKey.generate(), "2026-01-01T00:00:00Z")
    with pytest.raises(OperatorError, match="another key"):
        log.start(desk.connection, SigningKey.generate().public)
    assert log.start(desk.connection, old.public).current == desk.key.public


def test_every_kept_checkpoint_is_extended(desk: Any) -> None:
    desk.file(9)
    desk.rotate()
    desk.file(3)
    for note in desk.notes:
        found = log.check_against(desk.connection, note.encode())
        expunge_verify.verify_consistency(found.old.size, found.head.size, found.old.root, found.head.root, found.proof)


def code(desk: Any, note: bytes) -> tuple[type[ExpungeError], str]:
    with pytest.raises(ExpungeError) as caught:
        log.check_against(desk.connection, note)
    return type(caught.value), caught.value.code


@pytest.fixture
def rolled_back(desk: Any) -> Any:
    """A log of six receipts, then the older copy of its database with four."""
    desk.file(4)
    with desk.connection.begin_nested() as savepoint:
        desk.file(2)
        savepoint.rollback()
    assert log.size(desk.connection) == 4
    return desk


def test_rollback_is_found(desk: Any, rolled_back: Any) -> None:
    assert not faults(desk)
    assert code(desk, desk.notes[5].encode()) == (ProviderDishonest, "log-rollback")
    assert log.check_against(desk.connection, desk.notes[2].encode()).old.size == 3


def test_rollback_that_grew_again_is_a_fork(desk: Any, rolled_back: Any) -> None:
    log.append(desk.connection, [entry(number) for number in range(5)])
    log.sign(desk.connection, "expunge.example/test", desk.key)
    assert code(desk, desk.notes[5].encode()) == (ProviderDishonest, "log-fork")


def test_signing_refuses_a_log_that_lost_what_was_signed(desk: Any) -> None:
    desk.file(6)
    desk.connection.execute(delete(log.leaves).where(log.leaves.c.position == 5))
    with pytest.raises(ProviderDishonest) as caught:
        log.sign(desk.connection, "expunge.example/test", desk.key)
    assert caught.value.code == "log-rollback"


def test_signing_refuses_a_log_whose_past_was_changed(desk: Any) -> None:
    desk.file(6)
    desk.connection.execute(update(log.nodes).where(log.nodes.c.id == log.row_of((2, 0))).values(hash=bytes(32)))
    log.append(desk.connection, [entry(6)])
    with pytest.raises(ProviderDishonest) as caught:
        log.sign(desk.connection, "expunge.example/test", desk.key)
    assert caught.value.code == "log-fork"


def test_checkpoints_of_others_are_told_apart(desk: Any, other_desk: Any) -> None:
    desk.file(2)
    other_desk.file(2)
    assert code(desk, other_desk.notes[0].encode()) == (ProviderDishonest, "log-other")
    renamed = sign_checkpoint(Checkpoint("elsewhere", 1, log.root(desk.connection, 1)), desk.key)
    assert code(desk, renamed.encode()) == (ProviderDishonest, "log-other")
    assert code(desk, b"\xff") == (AttackSuspected, "bad-checkpoint")
    assert code(desk, b"hello\n") == (AttackSuspected, "bad-checkpoint")
    forged = desk.notes[0].replace("\n1\n", "\n2\n")
    assert code(desk, forged.encode()) == (ProviderDishonest, "log-other")
    with pytest.raises(ProviderDishonest):
        log.sign(desk.connection, "another.example/origin", desk.key)


def test_every_kind_of_damage_is_named(desk: Any) -> None:
    desk.file(5)
    desk.rotate()
    connection = desk.connection
    for statement in (
        update(log.leaves).where(log.leaves.c.position == 2).values(entry=entry(99)),
        update(log.leaves).where(log.leaves.c.position == 2).values(position=9),
        delete(log.leaves).where(log.leaves.c.position == 4),
        update(log.nodes).where(log.nodes.c.id == log.row_of((1, 0))).values(hash=bytes(32)),
        delete(log.nodes).where(log.nodes.c.id == log.row_of((0, 3))),
        update(log.checkpoints).where(log.checkpoints.c.size == 3).values(note=desk.notes[1]),
        update(log.checkpoints).where(log.checkpoints.c.size == 3).values(note="nothing"),
        update(log.keys).where(log.keys.c.position == 1).values(rotation='{"payload":"","payloadType":""}'),
        update(log.keys).where(log.keys.c.position == 0).values(public=bytes(32)),
    ):
        with connection.begin_nested() as savepoint:
            connection.execute(statement)
            assert faults(desk), statement
            savepoint.rollback()
    assert not faults(desk)


def test_a_missing_node_is_said(desk: Any) -> None:
    desk.file(5)
    desk.connection.execute(delete(log.nodes).where(log.nodes.c.id == log.row_of((2, 0))))
    with pytest.raises(OperatorError) as caught:
        log.root(desk.connection)
    assert caught.value.code == "log-corrupt"


def test_a_receipt_that_is_not_logged_cannot_be_proven(desk: Any, receipt: Any) -> None:
    envelope = receipt(77).seal(desk.key)
    with pytest.raises(OperatorError):
        log.prove(desk.connection, envelope)
    desk.file(1)
    with pytest.raises(ProgrammerError):
        log.prove(desk.connection, envelope)
    log.append(desk.connection, [log.entry_of(envelope)])
    with pytest.raises(ProgrammerError, match="checkpoint"):
        log.prove(desk.connection, envelope)


def test_bundles_prove_recent_sizes_round_ones_and_those_asked_for(desk: Any) -> None:
    log.append(desk.connection, [entry(number) for number in range(199)])
    desk.file(1)
    found = {old.size for old in log.prove(desk.connection, desk.envelopes[0], since=[77, 500]).earlier}
    assert found == {*range(184, 200), 192, 128, 77}


def test_the_sizes_that_a_bundle_proves_are_few_in_any_log() -> None:
    assert len(log._earlier_sizes(2**40 - 1)) <= log.RECENT + 41


def statements(connection: Connection, size: int) -> int:
    """Statements that filing one more receipt takes in a log of `size` leaves."""
    log.append(connection, [entry(number) for number in range(log.size(connection), size)])
    counted = []
    event.listen(connection, "before_cursor_execute", lambda *arguments: counted.append(arguments[2]))
    log.append(connection, [entry(-size)])
    return len(counted)


def test_appending_costs_the_same_number_of_statements_at_any_size(desk: Any) -> None:
    """A bound on rows is in `test_merkle`; here on round trips."""
    assert statements(desk.connection, 10) == statements(desk.connection, 1000) <= 6


def test_a_batch_may_be_large(desk: Any) -> None:
    """More than SQLite takes values in one statement."""
    batch = [entry(number) for number in range(33_000)]
    assert log.append(desk.connection, batch) == list(range(33_000))
