"""Salts: kept, read, and destroyed down to the last byte."""

from pathlib import Path

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from expunge.errors import ExpungeError, OperatorError
from expunge.ledger import absence, database, erasure, salts, tables
from expunge.ledger.fsck import fsck
from expunge.ledger.store import Store


class Killed(BaseException):
    """A kill: nothing after it runs."""


@pytest.fixture
def store(tmp_path: Path):
    with Store.create(tmp_path / "ws") as made:
        yield made


def keep(store: Store, *names: str) -> dict[str, bytes]:
    made = {name: salts.new() for name in names}
    with store.transaction() as tx:
        salts.keep(tx, made)
    return made


def destroy(store: Store, *names: str) -> tuple[salts.Destroyed, ...]:
    with store.transaction() as tx:
        return salts.destroy(tx, names, "asked")


def read(store: Store, *names: str) -> dict[str, bytes]:
    with store.reading() as connection:
        return salts.read(connection, names)


def in_files(store: Store, needle: bytes) -> bool:
    return any(needle in path.read_bytes() for path in store.folder.rglob("*") if path.is_file())


def test_salts_come_back(store: Store):
    made = keep(store, *(f"name {number}" for number in range(1200)))
    assert read(store, *made) == made
    assert read(store, "name 3", "unknown") == {"name 3": made["name 3"]}
    assert len(set(made.values())) == len(made)


def test_keeping_again_is_no_mistake_but_another_salt_is(store: Store):
    made = keep(store, "a")
    with store.transaction() as tx:
        salts.keep(tx, made)
    for wrong in ({"a": bytes(32)}, {"b": bytes(31)}):
        with pytest.raises(ExpungeError) as caught, store.transaction() as tx:
            salts.keep(tx, wrong)
        assert caught.value.code == "bad-salt"
    assert read(store, "a", "b") == made


def test_a_destroyed_salt_is_nowhere(store: Store):
    made = keep(store, *(f"name {number}" for number in range(300)))
    assert in_files(store, made["name 150"])
    gone = destroy(store, "name 150", "name 151")
    assert [each.name for each in gone] == ["name 150", "name 151"]
    assert not in_files(store, made["name 150"])
    assert not in_files(store, made["name 151"])
    assert in_files(store, made["name 152"])
    assert "name 150" not in read(store, *made)
    assert fsck(store.folder).clean


def test_destruction_is_recorded_once_and_for_all(store: Store):
    made = keep(store, "a", "b")
    first = destroy(store, "a")
    assert destroy(store, "a") == first
    with store.reading() as connection:
        assert salts.destroyed(connection) == first
    assert first[0].reason == "asked"
    with pytest.raises(ExpungeError), store.transaction() as tx:
        salts.keep(tx, {"a": bytes(32)})
    assert read(store, "a", "b") == {"b": made["b"]}


def test_a_reason_and_a_known_name_are_needed(store: Store):
    made = keep(store, "a")
    for names, reason, code in ((["a"], " ", "reason-missing"), (["a", "x"], "why", "unknown-salt")):
        with pytest.raises(ExpungeError) as caught, store.transaction() as tx:
            salts.destroy(tx, names, reason)
        assert caught.value.code == code
    assert read(store, "a") == made


def stale_copy(store: Store, value: bytes) -> None:
    """What SQLite leaves when it moves a cell between pages: a copy in space that no row uses, of an empty table."""
    assert database.empty_log(store._engine)
    path = store.folder / database.NAME
    data = bytearray(path.read_bytes())
    size = int.from_bytes(data[16:18], "big")
    start = next(p for p in range(size, len(data), size) if data[p] == 13 and not any(data[p + 3 : p + 5]))
    data[start + 500 : start + 500 + len(value)] = value
    path.write_bytes(data)


def test_stale_copies_in_unused_space_are_found_and_go(store: Store):
    made = keep(store, "a", "b")
    stale_copy(store, made["a"])
    destroy(store, "a")
    assert not in_files(store, made["a"])
    assert in_files(store, made["b"])
    assert fsck(store.folder).clean


def test_a_kill_before_the_search_leaves_it_to_the_next_process(tmp_path: Path, monkeypatch):
    store = Store.create(tmp_path / "ws")
    made = keep(store, "a", "b", "c")
    stale_copy(store, made["a"])

    def kill(*arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(erasure, "scrub", kill)
        for name in ("a", "b"):
            with pytest.raises(Killed):
                destroy(store, name)
    store._engine.dispose()
    assert in_files(store, made["a"])
    with Store.open(tmp_path / "ws") as again:
        assert not in_files(again, made["a"])
        assert not in_files(again, made["b"])
        assert read(again, "c") == {"c": made["c"]}
    assert fsck(tmp_path / "ws").clean


def test_another_process_s_unfinished_search_is_finished_with_ours(tmp_path: Path, monkeypatch):
    """Our own search knows only our own values: what another process left unsearched must go all the same."""
    store = Store.create(tmp_path / "ws")
    made = keep(store, "a", "b")
    stale_copy(store, made["a"])
    with monkeypatch.context() as patched:
        patched.setattr(Store, "settle", lambda *arguments, **options: None)
        destroy(store, "a")
    destroy(store, "b")
    assert not in_files(store, made["a"])
    store.close()


def test_bytes_that_stay_are_never_reported_gone(store: Store):
    made = keep(store, "a")
    with store.transaction() as tx:
        salts.keep(tx, {"twin": made["a"]})
    with pytest.raises(OperatorError) as caught:
        destroy(store, "a")
    assert caught.value.code == "not-erased"


def test_readers_are_waited_for_and_then_named(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(database, "PATIENCE", 0.1)
    monkeypatch.setattr(database.engine, "__defaults__", (0.1,))
    store = Store.create(tmp_path / "ws")
    keep(store, "a")
    with Store.open(tmp_path / "ws") as other, other.reading() as connection:
        connection.execute(select(tables.salts)).all()
        with pytest.raises(OperatorError) as caught:
            destroy(store, "a")
        assert caught.value.code == "store-busy"
    store.settle()
    assert fsck(tmp_path / "ws").clean
    store.close()


def test_the_digest_finds_it_while_it_is_there_and_proves_that_it_is_gone(store: Store):
    keep(store, "a", "b")
    with store.reading() as connection:
        digest = connection.scalar(select(tables.salts.c.digest).where(tables.salts.c.name == "a"))
    before = absence.prove_absent(store, digest)
    assert not before.absent
    assert "salts.salt" in before.found
    assert any(place.startswith("store.db") for place in before.found)
    destroy(store, "a")
    after = absence.prove_absent(store, digest)
    assert after.absent
    assert after.known_length
    assert after.lengths == (32,)
    assert after.bytes > 0


def test_salts_are_in_no_error_and_no_repr(store: Store):
    made = keep(store, "a")
    row = {"id": 1, "name": "a", "salt": made["a"], "digest": "", "kept_at": "", "seal": ""}
    with pytest.raises(IntegrityError) as caught, store.transaction() as tx:
        tx.connection.execute(insert(tables.salts), row)
    assert made["a"].hex() not in str(caught.value)
    assert repr(made["a"])[2:-1] not in str(caught.value)
    with store.transaction() as tx:
        tx.scrub(made["a"])
        assert repr(made["a"]) not in repr(tx)
        tx.needles.clear()
