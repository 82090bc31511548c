"""Transactions, what survives a kill, and what a restored or damaged database cannot hide."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from expunge.errors import ExpungeError, OperatorError, ProviderDishonest
from expunge.ledger import absence, database, head, log, migrations, objects, recovery, tables
from expunge.ledger.fsck import fsck
from expunge.ledger.migrations import MIGRATIONS, Migration, creating
from expunge.ledger.signatures import SigningKey
from expunge.ledger.store import Store


class Killed(BaseException):
    """Stands for a kill where the test must go on: nothing after it runs, not even handlers for errors."""


def abandoned(store: Store) -> None:
    """Lets go of the files as a killed process does: nothing is finished or sealed."""
    store._engine.dispose()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Store.create(tmp_path / "ws").close()
    return tmp_path / "ws"


def code_of(call, *arguments) -> str:
    with pytest.raises(ExpungeError) as caught:
        call(*arguments)
    return caught.value.code


def test_what_was_committed_is_there(folder: Path):
    with Store.open(folder) as store, store.transaction() as tx:
        tx.remember("name", "value")
    with Store.open(folder) as store:
        assert store.recall("name") == "value"
        assert store.recall("other") is None


def change_mind(store: Store) -> None:
    with store.transaction() as tx:
        tx.remember("name", "value")
        objects.put(tx, b"bytes", "test")
        raise Killed


def test_an_exception_undoes_rows_and_files(folder: Path):
    with Store.open(folder) as store:
        before = store.epoch()
        with pytest.raises(Killed):
            change_mind(store)
        assert store.recall("name") is None
        assert store.epoch() == before
    assert not list((folder / recovery.INCOMING).iterdir())
    assert fsck(folder).clean


def test_a_reader_sees_one_state(folder: Path):
    with Store.open(folder) as store, store.reading() as connection:
        query = select(tables.settings.c.value).where(tables.settings.c.name == "name")
        assert connection.scalar(query) is None
        with store.transaction() as tx:
            tx.remember("name", "value")
        assert connection.scalar(query) is None
        assert store.recall("name") == "value"


def test_every_transaction_adds_one_to_the_epoch(folder: Path):
    with Store.open(folder) as store:
        start = store.epoch()
        for _ in range(3):
            with store.transaction():
                pass
        assert store.epoch() == start + 3
        found = head.read(folder)
        assert found is not None
        assert found.epoch == start + 3


def test_a_transaction_inside_another_is_refused_at_once(folder: Path):
    with Store.open(folder) as store, store.transaction(), pytest.raises(RuntimeError), store.transaction():
        pass


def test_threads_share_a_store(folder: Path):
    def count(store: Store) -> None:
        for _ in range(20):
            with store.transaction() as tx:
                tx.remember("count", str(int(tx.recall("count") or 0) + 1))

    with Store.open(folder) as store:
        threads = [threading.Thread(target=count, args=(store,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.recall("count") == "80"


def test_a_complete_workspace_is_never_made_again(folder: Path):
    with Store.open(folder) as store, store.transaction() as tx:
        tx.remember("name", "value")
    assert code_of(Store.create, folder) == "workspace-exists"
    with Store.open(folder) as store:
        assert store.recall("name") == "value"


def test_creating_carries_on_after_a_kill(tmp_path: Path):
    def killed(tx) -> None:
        objects.put(tx, b"half", "test")
        raise Killed

    with pytest.raises(Killed):
        Store.create(tmp_path / "ws", killed)
    assert code_of(Store.open, tmp_path / "ws") == "workspace-missing"
    with Store.create(tmp_path / "ws", lambda tx: tx.remember("name", "value")) as store:
        assert store.recall("name") == "value"
    assert fsck(tmp_path / "ws").clean


class WithoutLog(sqlite3.Connection):
    """Keeps its rollback journal, and says nothing: so does SQLite after some errors of the disk."""

    def execute(self, statement: str, *parameters):
        return super().execute("pragma journal_mode" if "journal_mode" in statement else statement, *parameters)


class Broken(sqlite3.Connection):
    def __init__(self, *arguments, **options) -> None:
        raise sqlite3.OperationalError("disk I/O error")


@pytest.mark.parametrize("kind", [WithoutLog, Broken])
def test_a_disk_that_denies_the_write_ahead_log_makes_no_workspace(tmp_path: Path, monkeypatch, kind: type):
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, **options, factory=kind))
    with pytest.raises(OperatorError) as caught:
        Store.create(tmp_path / "ws")
    assert caught.value.code == "io-error"
    monkeypatch.undo()
    Store.create(tmp_path / "ws").close()
    assert fsck(tmp_path / "ws").problems == ()


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_text("x")])
def test_no_workspace(tmp_path: Path, make):
    make(tmp_path / "ws")
    assert code_of(Store.open, tmp_path / "ws") == "workspace-missing"


def test_files_and_folders_are_their_owners_alone(tmp_path: Path):
    folder, mask = tmp_path / "ws", os.umask(0)
    try:
        with Store.create(folder) as store, store.transaction() as tx:
            objects.export(tx, objects.put(tx, b"bytes", "test"), "folder/copy.bin")
    finally:
        os.umask(mask)
    with Store.open(folder) as store, store.transaction() as tx:
        tx.remember("a", "write-ahead log")
        assert all(path.stat().st_mode & 0o077 == 0 for path in (folder, *folder.rglob("*")))


def test_searching_the_files_lets_go_of_none_of_sqlites_locks(folder: Path):
    """Else another process cuts off the index of the log while we have it mapped: a bus error, or lost transactions."""
    program = "import fcntl, sys\nfcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB, {}, {})"
    with Store.open(folder) as store:
        with store.transaction() as tx:
            tx.scrub(b"a value that is nowhere")
        absence.prove_absent(store, "0" * 64)
        assert fsck(folder).problems == ()
        for name, length, start in (("store.db", 512, 1 << 30), ("store.db-shm", 1, 128)):
            line = [sys.executable, "-c", program.format(length, start), str(folder / name)]
            done = subprocess.run(line, check=False, capture_output=True, text=True)
            assert "BlockingIOError" in done.stderr, f"nobody holds {name}"


def test_opening_and_closing_leaks_nothing(folder: Path):
    def once() -> int:
        with Store.open(folder) as store, store.transaction() as tx:
            tx.remember("name", "value")
        return len(os.listdir("/proc/self/fd"))

    once()
    assert len({once() for _ in range(50)}) == 1


def test_an_older_database_is_found(folder: Path, tmp_path: Path):
    shutil.copy(folder / database.NAME, tmp_path / "older.db")
    with Store.open(folder) as store, store.transaction() as tx:
        tx.remember("name", "value")
    shutil.copy(tmp_path / "older.db", folder / database.NAME)
    with pytest.raises(ProviderDishonest) as caught:
        Store.open(folder)
    assert caught.value.code == "store-rolled-back"
    assert "store-rolled-back" in {problem.kind for problem in fsck(folder).problems}


def test_an_older_database_under_an_open_store_is_found(folder: Path, tmp_path: Path):
    shutil.copy(folder / database.NAME, tmp_path / "older.db")
    with Store.open(folder) as store, store.transaction() as tx:
        tx.remember("name", "value")
    ahead = head.read(folder)
    assert ahead is not None
    shutil.copy(tmp_path / "older.db", folder / database.NAME)
    head.write(folder, head.Head(ahead.epoch - 1))  # as it was when the store was opened
    store = Store.open(folder)
    head.write(folder, ahead)
    with pytest.raises(ProviderDishonest), store.transaction():
        pass
    abandoned(store)


def test_a_cut_write_ahead_log_is_found(folder: Path):
    """SQLite takes a damaged log for the end of the log and goes on without what follows."""
    store = Store.open(folder)
    with store.transaction() as tx:
        tx.remember("name", "value")
    wal = folder / f"{database.NAME}-wal"
    copy = wal.read_bytes()
    main = (folder / database.NAME).read_bytes()
    abandoned(store)
    (folder / database.NAME).write_bytes(main)
    wal.write_bytes(copy[: len(copy) // 2])
    assert code_of(Store.open, folder) == "store-rolled-back"


def test_a_restored_workspace_is_found_against_a_kept_checkpoint(folder: Path, tmp_path: Path):
    """Whoever restores the whole folder restores the head as well: only what somebody else kept can tell."""
    key = SigningKey.generate()
    steps = (*MIGRATIONS, Migration("0002-log", creating(*log.TABLES)))
    shutil.rmtree(folder)
    with Store.create(folder, steps=steps) as store, store.transaction() as tx:
        log.start(tx.connection, key.public)
        log.append(tx.connection, [bytes(32)])
        log.sign(tx.connection, "test", key)
    shutil.copytree(folder, tmp_path / "older")
    with Store.open(folder, steps=steps) as store, store.transaction() as tx:
        log.append(tx.connection, [b"\1" * 32])
        kept = log.sign(tx.connection, "test", key)
    with Store.open(tmp_path / "older", steps=steps) as store, store.reading() as connection:
        assert fsck(tmp_path / "older", steps=steps).clean
        assert code_of(log.check_against, connection, kept.encode()) == "log-rollback"


def test_a_clean_close_seals_the_database_and_a_write_breaks_the_seal(folder: Path):
    def sealed() -> bool:
        found = head.read(folder)
        return found is not None and found.digest is not None

    assert sealed()
    with Store.open(folder) as store:
        with store.transaction() as tx:
            tx.remember("name", "value")
        assert not sealed()
    assert sealed()
    with Store.open(folder) as store, store.reading() as connection:
        connection.execute(select(tables.settings)).all()
    assert sealed()
    assert fsck(folder).clean


def test_a_newer_store_is_left_alone(tmp_path: Path):
    extra = Migration("9999-later", lambda connection: None)
    Store.create(tmp_path / "ws", steps=(*MIGRATIONS, extra)).close()
    assert code_of(Store.open, tmp_path / "ws") == "store-newer"


def test_an_older_store_is_brought_up_and_stays_clean(folder: Path):
    extra = Migration("0002-log", creating(*log.TABLES))
    with Store.open(folder, steps=(*MIGRATIONS, extra)) as store, store.reading() as connection:
        assert migrations.recorded(connection) == ("0001-ledger", "0002-log")
    assert fsck(folder, steps=(*MIGRATIONS, extra)).clean


def fill_up(store: Store) -> None:
    with store.transaction() as tx:
        tx.connection.exec_driver_sql("pragma max_page_count = 1")
        for number in range(2000):
            tx.remember(f"name {number}", "value" * 100)


def test_a_full_database_is_one_clear_error_and_nothing_changed(folder: Path):
    with Store.open(folder) as store:
        with pytest.raises(OperatorError) as caught:
            fill_up(store)
        assert caught.value.code == "disk-full"
        assert store.recall("name 0") is None
    assert fsck(folder).clean


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0" + bytes(5000), b"not a database" * 400])
def test_what_is_no_database(folder: Path, content: bytes):
    (folder / database.NAME).write_bytes(content)
    assert code_of(Store.open, folder) in {"store-corrupt", "workspace-missing"}


def test_errors_of_the_database_show_no_values(folder: Path):
    row = {"name": "CANARY-NAME", "value": "CANARY-VALUE", "seal": "CANARY-SEAL"}
    with Store.open(folder) as store, pytest.raises(IntegrityError) as caught, store.transaction() as tx:
        tx.connection.execute(insert(tables.settings), [row, row])
    assert "CANARY" not in str(caught.value)
    with sqlite3.connect(folder / database.NAME) as connection:
        connection.execute("drop table salts")
    connection.close()
    with Store.open(folder) as store, pytest.raises(OperatorError) as broken, store.transaction() as tx:
        tx.connection.execute(select(tables.salts).where(tables.salts.c.name == "CANARY"))
    assert "CANARY" not in str(broken.value)


def test_the_store_starts_without_torch():
    program = (
        "import sys, expunge.journey.worker, expunge.journey.decisions, expunge.journey.checks\n"
        "import expunge.ledger.absence, expunge.ledger.lease\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'sklearn', 'pyarrow')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
