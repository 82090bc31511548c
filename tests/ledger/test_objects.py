"""Objects: what is stored is there, verified and whole, and what is erased is gone, whenever the process dies."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expunge.errors import ExpungeError
from expunge.ledger import absence, files, objects, recovery
from expunge.ledger.fsck import fsck
from expunge.ledger.store import Store, Transaction


class Killed(BaseException):
    """A kill: nothing after it runs."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Store.create(tmp_path / "ws").close()
    return tmp_path / "ws"


@pytest.fixture
def store(folder: Path):
    with Store.open(folder) as opened:
        yield opened


def put(store: Store, data: bytes, pointer: tuple[str, str] | None = None) -> str:
    with store.transaction() as tx:
        return objects.put(tx, data, "test", pointer)


def code_of(call, *arguments) -> str:
    with pytest.raises(ExpungeError) as caught:
        call(*arguments)
    return caught.value.code


def bytes_on_disk(folder: Path, data: bytes) -> bool:
    return any(data in path.read_bytes() for path in folder.rglob("*") if path.is_file())


@given(data=st.binary(max_size=5000))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_bytes_come_back_under_their_digest(store: Store, data: bytes):
    digest = put(store, data)
    assert digest == hashlib.sha256(data).hexdigest()
    assert objects.read(store, digest) == data


def test_json_comes_back_and_is_canonical(store: Store):
    with store.transaction() as tx:
        digest = objects.put_json(tx, {"b": 1, "a": [1.5, None]}, "test")
        assert digest == objects.put_json(tx, {"a": [1.5, None], "b": 1}, "test")
    assert objects.read_json(store, digest) == {"a": [1.5, None], "b": 1}


def test_the_same_bytes_are_stored_once(store: Store):
    digest = put(store, b"same")
    place = store.folder / recovery.OBJECTS / digest
    before = place.stat().st_ino
    assert put(store, b"same") == digest
    assert place.stat().st_ino == before
    with store.reading() as connection:
        assert len(objects.list_all(connection)) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]),
    ],
)
def test_damaged_bytes_are_never_handed_out(store: Store, damage):
    digest = put(store, b"precious")
    damage(store.folder / recovery.OBJECTS / digest)
    assert code_of(objects.read, store, digest) == "store-corrupt"
    assert {problem.kind for problem in fsck(store.folder).problems} == {"damaged"}


def test_a_link_is_not_followed(store: Store, tmp_path: Path):
    digest = put(store, b"precious")
    (tmp_path / "elsewhere").write_bytes(b"precious")
    place = store.folder / recovery.OBJECTS / digest
    place.unlink()
    place.symlink_to(tmp_path / "elsewhere")
    assert code_of(objects.read, store, digest) == "io-error"
    assert not fsck(store.folder).clean


def test_what_was_never_there_and_what_names_no_object(store: Store):
    assert code_of(objects.read, store, "0" * 64) == "object-missing"
    for name in ("../store.db", "incoming", "A" * 64, ""):
        assert code_of(objects.read, store, name) == "unsafe-path"
    with store.transaction() as tx:
        assert code_of(objects.point, tx, "holder", "role", "0" * 64) == "object-missing"
        assert code_of(objects.erase, tx, "0" * 64, "why") == "object-missing"
        assert code_of(objects.export, tx, "0" * 64, "x") == "object-missing"


def test_a_lost_object_is_written_again_by_the_next_put(store: Store):
    digest = put(store, b"lost")
    (store.folder / recovery.OBJECTS / digest).unlink()
    assert fsck(store.folder).problems[0].kind == "missing"
    put(store, b"lost")
    assert objects.read(store, digest) == b"lost"


def test_pointers_move_and_can_be_dropped(store: Store):
    first, second = put(store, b"1", ("run", "model")), put(store, b"2")
    with store.transaction() as tx:
        objects.point(tx, "run", "model", second)
        objects.point(tx, "run", "log", first)
    with store.reading() as connection:
        assert objects.held(connection, "run") == {"model": second, "log": first}
        assert objects.pointed(connection, "run", "other") is None
    with store.transaction() as tx:
        objects.release(tx, "run", "log")
        assert objects.held(tx.connection, "run") == {"model": second}
        objects.release(tx, "run")
        assert objects.held(tx.connection, "run") == {}


def test_erased_bytes_are_gone_and_the_reason_stays(store: Store):
    digest = put(store, b"secret bytes of a person", ("run", "model"))
    with store.transaction() as tx:
        objects.export(tx, digest, "models/copy.bin")
    assert (store.folder / "models/copy.bin").read_bytes() == b"secret bytes of a person"
    with store.transaction() as tx:
        objects.erase(tx, digest, "deleted on request")
        objects.erase(tx, digest, "a second time is no mistake")
    assert not bytes_on_disk(store.folder, b"secret bytes of a person")
    assert code_of(objects.read, store, digest) == "object-erased"
    with store.reading() as connection:
        found = objects.describe(connection, digest)
    assert found is not None
    assert found.reason == "deleted on request"
    assert absence.prove_absent(store, digest).absent
    assert fsck(store.folder).clean


def test_erasing_needs_a_reason(store: Store):
    digest = put(store, b"bytes")
    with store.transaction() as tx:
        assert code_of(objects.erase, tx, digest, " ") == "reason-missing"


def test_erased_and_stored_again_is_there(store: Store):
    digest = put(store, b"again")
    with store.transaction() as tx:
        objects.erase(tx, digest, "why")
        objects.put(tx, b"again", "test")
    assert objects.read(store, digest) == b"again"
    with store.transaction() as tx:
        objects.erase(tx, digest, "why")
    put(store, b"again")
    assert objects.read(store, digest) == b"again"
    assert fsck(store.folder).clean


def test_collect_erases_what_nothing_points_at(store: Store):
    kept, shown, idle = put(store, b"kept", ("run", "model")), put(store, b"shown"), put(store, b"idle")
    with store.transaction() as tx:
        objects.export(tx, shown, "shown.bin")
    with store.transaction() as tx:
        assert objects.collect(tx) == (idle,)
    assert objects.read(store, kept) == b"kept"
    assert objects.read(store, shown) == b"shown"
    assert code_of(objects.read, store, idle) == "object-erased"


def test_exports_follow_their_object_and_are_watched(store: Store):
    first, second = put(store, b"first"), put(store, b"second")
    for digest, data in ((first, b"first"), (second, b"second")):
        with store.transaction() as tx:
            objects.export(tx, digest, "receipts/r.json")
        assert (store.folder / "receipts/r.json").read_bytes() == data
    (store.folder / "receipts/r.json").write_bytes(b"first")
    assert [(p.kind, p.subject) for p in fsck(store.folder).problems] == [("damaged", "receipts/r.json")]
    (store.folder / "receipts/r.json").unlink()
    assert [(p.kind, p.subject) for p in fsck(store.folder).problems] == [("missing", "receipts/r.json")]
    with store.transaction() as tx:
        objects.withdraw(tx, "receipts/r.json")
        objects.withdraw(tx, "never/there.json")
    assert fsck(store.folder).clean
    assert objects.read(store, second) == b"second"


@pytest.mark.parametrize("path", ["/etc/passwd", "../out", "a/../../b", "link/x", "", "a//b", "a\\b"])
def test_exports_stay_inside(store: Store, path: str, tmp_path: Path):
    (store.folder / "link").symlink_to(tmp_path)
    digest = put(store, b"bytes")
    with store.transaction() as tx:
        assert code_of(objects.export, tx, digest, path) == "unsafe-path"


def killed_at(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    def kill(*arguments: object, **options: object) -> None:
        raise Killed

    monkeypatch.setattr(owner, name, kill)


def replace(store: Store, old: str, data: bytes) -> None:
    with store.transaction() as tx:
        objects.export(tx, objects.put(tx, data, "test"), "copy.bin")
        objects.erase(tx, old, "why")


@pytest.mark.parametrize("instant", ["promote", "settle"])
def test_a_kill_after_the_commit_is_finished_by_the_next_process(folder: Path, monkeypatch, instant: str):
    store = Store.open(folder)
    old = put(store, b"old")
    with monkeypatch.context() as patched:
        killed_at(patched, recovery, instant)
        with pytest.raises(Killed):
            replace(store, old, b"new")
    new = hashlib.sha256(b"new").hexdigest()
    store._engine.dispose()
    with Store.open(folder) as again:
        assert objects.read(again, new) == b"new"
        assert code_of(objects.read, again, old) == "object-erased"
    assert (folder / "copy.bin").read_bytes() == b"new"
    assert not (folder / recovery.OBJECTS / old).exists()
    assert fsck(folder).clean


def test_a_kill_before_the_commit_leaves_nothing(folder: Path, monkeypatch):
    store = Store.open(folder)
    with monkeypatch.context() as patched:
        killed_at(patched, files, "sync_folder")
        patched.setattr(Transaction, "discard", lambda tx: None)  # a killed process tidies nothing
        with pytest.raises(Killed):
            put(store, b"never committed")
    store._engine.dispose()
    assert bytes_on_disk(folder, b"never committed")
    Store.open(folder).close()
    assert not bytes_on_disk(folder, b"never committed")
    assert fsck(folder).clean


def test_an_object_that_waits_for_its_rename_can_be_read_and_kept(folder: Path, monkeypatch):
    store = Store.open(folder)
    with monkeypatch.context() as patched:
        killed_at(patched, recovery, "promote")
        with pytest.raises(Killed):
            put(store, b"waiting")
    digest = hashlib.sha256(b"waiting").hexdigest()
    assert objects.read(store, digest) == b"waiting"
    put(store, b"waiting")
    assert objects.read(store, digest) == b"waiting"
    store._engine.dispose()
    assert fsck(folder).clean


def test_rubbish_among_the_incoming_is_swept(folder: Path):
    incoming = folder / recovery.INCOMING
    (incoming / f"{'0' * 64}.abc").write_bytes(b"of a transaction that never was")
    (incoming / "x.new").write_bytes(b"half an export")
    Store.open(folder).close()
    assert os.listdir(incoming) == []
    assert fsck(folder).clean
