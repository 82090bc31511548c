"""Nothing that is damaged, missing, swapped, stray or changed behind the store's back stays unseen."""

import hashlib
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

import toy_workspace as toy
from expunge.errors import ExpungeError
from expunge.journey.checks import fsck
from expunge.ledger import absence, database, head, objects, recovery, tables
from expunge.ledger.fsck import Report


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which something of everything happened, closed."""
    folder = tmp_path_factory.mktemp("fsck") / "ws"
    with toy.create(folder, toy.people(12)) as store:
        for number in range(3):
            toy.file(store, number, f"owner-{number:04d}")
        toy.file(store, 4, "owner-0004", None)
        held = toy.file(store, 6, "owner-0006")
        toy.carry(store, steps=toy.ToySteps(store, suspicious=6))
        with store.transaction() as tx:
            toy.decisions.deny(tx, held.id, "suspected_fraud", by="Jane", reason="altered copies of other records")
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "ws"))


def kinds(report: Report) -> set[str]:
    return {problem.kind for problem in report.problems}


def flip(path: Path, place: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


def flips(folder: Path, count: int) -> list[tuple[Path, int]]:
    """Every file's first and last byte, and places drawn from all bytes of all files alike, the same on each run."""
    stored = sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = [path.stat().st_size for path in stored]
    drawn = random.Random(1)
    chosen = drawn.choices(stored, [max(size, 2000) for size in sizes], k=count)
    ends = [(path, place) for path, size in zip(stored, sizes, strict=True) for place in (0, size - 1)]
    return ends + [(path, drawn.randrange(path.stat().st_size)) for path in chosen]


def check_flips(whole: Path, tmp_path: Path, count: int) -> None:
    drawn, missed = random.Random(2), []
    for path, place in flips(whole, count):
        copy, bit = Path(shutil.copytree(whole, tmp_path / "copy")), drawn.randrange(8)
        flip(copy / path.relative_to(whole), place, bit)
        if fsck(copy).clean:
            missed.append((path.name, place, bit))
        shutil.rmtree(copy)
    assert missed == []


def test_a_workspace_with_a_history_is_clean(folder: Path):
    report = fsck(folder)
    assert report.problems == ()
    assert report.rows > 100
    assert report.objects == len([path for path in (folder / recovery.OBJECTS).iterdir() if path.is_file()])
    assert report.bytes > 0


def test_any_flipped_bit_in_any_stored_file_is_found(whole: Path, tmp_path: Path):
    check_flips(whole, tmp_path, 40)


@pytest.mark.slow
def test_any_flipped_bit_in_any_stored_file_is_found_everywhere(whole: Path, tmp_path: Path):
    check_flips(whole, tmp_path, 3000)


def test_a_flipped_bit_in_a_row_is_found_without_the_seal(folder: Path):
    """After a kill the head has no digest of the file: then the rows speak for themselves."""
    for text in (b"altered copies", b"suspected_fraud", b"owner-0004", b"receipts/r"):
        data = (folder / database.NAME).read_bytes()
        place = data.index(text)
        found = head.read(folder)
        assert found is not None
        head.write(folder, head.Head(found.epoch))
        flip(folder / database.NAME, place + 3, 0)
        assert not fsck(folder).clean, text
        flip(folder / database.NAME, place + 3, 0)
        assert fsck(folder).clean


def stored(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / recovery.OBJECTS).iterdir() if path.is_file())


def swap(folder: Path) -> None:
    one, two, *_ = stored(folder)
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


def swap_exports(folder: Path) -> None:
    one, two, *_ = sorted((folder / "receipts").iterdir())
    one.rename(folder / "x")
    two.rename(one)
    (folder / "x").rename(two)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "swapped objects": (swap, "damaged"),
    "swapped receipts": (swap_exports, "damaged"),
    "truncated object": (lambda folder: stored(folder)[0].write_bytes(b""), "damaged"),
    "lost object": (lambda folder: stored(folder)[0].unlink(), "missing"),
    "stray object": (lambda folder: (folder / recovery.OBJECTS / ("0" * 64)).write_bytes(b"x"), "stray"),
    "folder in an object's place": (lambda folder: stored(folder)[0].rename(folder / "x").parent, "missing"),
    "lost receipt": (lambda folder: next((folder / "receipts").iterdir()).unlink(), "missing"),
    "lost head": (lambda folder: (folder / head.NAME).unlink(), "missing"),
    "emptied head": (lambda folder: (folder / head.NAME).write_bytes(b""), "missing"),
    "damaged head": (lambda folder: (folder / head.NAME).write_text("1 2 3"), "store-corrupt"),
    "emptied database": (lambda folder: (folder / database.NAME).write_bytes(b""), "store-corrupt"),
    "truncated database": (
        lambda folder: (folder / database.NAME).write_bytes((folder / database.NAME).read_bytes()[:20000]),
        "store-corrupt",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found_and_named(folder: Path, name: str):
    damage, kind = DAMAGES[name]
    damage(folder)
    assert kind in kinds(fsck(folder))


STATEMENTS = {
    "update requests set state = 'closed' where state = 'denied'": {"row", "history"},
    "update events set reason = 'another'": {"row", "history"},
    "update events set target = 'closed' where id = 3": {"row", "history"},
    "delete from events where id = 5": {"history"},
    "delete from events where id = (select max(id) from events)": {"history"},
    "delete from pointers where role = 'audit'": {"missing"},
    "delete from pointers where role = 'screen'": {"missing"},
    "update objects set state = 'erased' where kind = 'receipt'": {"row", "not-erased"},
    "update objects set state = 'stored' where state = 'erased'": {"row", "missing"},
    "delete from subjects": {"missing"},
    "update salts set salt = zeroblob(32)": {"row"},
    "update models set replaced_by = 'x'": {"row", "lineage"},
    "update settings set value = '3' where name = 'epoch'": {"store-rolled-back"},
    "update settings set value = '9999' where name = 'epoch'": {"row"},
    "delete from settings where name = 'ready'": {"store-corrupt"},
    "update log_leaves set entry = zeroblob(32) where position = 0": {"log"},
    "delete from log_leaves where position = 2": {"log"},
    "drop index ix_objects_state": {"schema"},
    "create table other (id)": {"schema"},
    "drop table exemptions": {"schema"},
    "pragma foreign_keys = off; delete from objects where kind = 'receipt'": {"stray", "database"},
}


@pytest.mark.parametrize("statement", STATEMENTS)
def test_changes_behind_the_store_s_back_are_found_without_the_seal(folder: Path, statement: str):
    found = head.read(folder)
    assert found is not None
    head.write(folder, head.Head(found.epoch))
    with closing(sqlite3.connect(folder / database.NAME)) as connection, connection:
        connection.executescript(statement)
    assert kinds(fsck(folder)) >= STATEMENTS[statement]


def test_a_changed_database_is_found_by_the_seal_too(folder: Path):
    with closing(sqlite3.connect(folder / database.NAME)) as connection, connection:
        connection.execute("update requests set method = method")
        connection.execute("create table other (id)")
    assert "damaged" in kinds(fsck(folder))


@given(places=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=30))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_ruin_is_reported_and_never_raised(whole: Path, tmp_path: Path, places: list[tuple[int, int]]):
    copy = Path(shutil.copytree(whole, tmp_path / "ruin"))
    try:
        data = bytearray((copy / database.NAME).read_bytes())
        before = bytes(data)
        for place, value in places:
            data[place % len(data)] = value
        (copy / database.NAME).write_bytes(data)
        assert fsck(copy).clean == (bytes(data) == before)
    finally:
        shutil.rmtree(copy)


def test_there_must_be_a_workspace(tmp_path: Path):
    with pytest.raises(ExpungeError) as caught:
        fsck(tmp_path)
    assert caught.value.code == "workspace-missing"


def test_absence_is_proved_for_what_was_erased_and_refused_for_what_is_there(folder: Path):
    with toy.open_store(folder) as store:
        with store.reading() as connection:
            every = objects.list_all(connection)
        for each in every:
            proof = absence.prove_absent(store, each.digest)
            assert proof.absent == (each.erased_at is not None), each
            assert proof.known_length
        assert sum(each.erased_at is not None for each in every) >= 6


def test_owners_of_finished_requests_are_nowhere_and_those_of_open_ones_are(folder: Path):
    with toy.open_store(folder) as store:
        assert absence.search(store, b"owner-0000") == ()
        assert absence.search(store, b"owner-0002") == ()
        assert set(absence.search(store, b"owner-0004")) >= {"store.db"}
        assert set(absence.search(store, b"owner-0006")) >= {"store.db"}
        with pytest.raises(ValueError, match="empty"):
            absence.search(store, b"")


def test_bytes_are_found_wherever_they_are(folder: Path):
    needle = b"PLANTED-" + bytes(range(100, 140))
    (folder / "receipts" / "note.txt").write_bytes(b"x" * (2**20 - 20) + needle)
    (folder / "receipts" / "hex.txt").write_bytes(needle.hex().upper().encode())
    with toy.open_store(folder) as store:
        assert set(absence.search(store, needle)) == {"receipts/note.txt", "receipts/hex.txt"}


def test_a_stretch_is_found_at_any_place_of_the_database(folder: Path):
    needle = b"\0\0PLANTED\0"
    with toy.open_store(folder) as store, store.transaction() as tx:
        tx.remember("a", "")
    data = bytearray((folder / database.NAME).read_bytes())
    data.extend(bytes(4096))
    data[-2000 : -2000 + len(needle)] = needle
    (folder / database.NAME).write_bytes(data)
    store = toy.Store(folder, toy.tables.MIGRATIONS, toy.utc_now)
    digest = hashlib.sha256(needle).hexdigest()
    assert absence.prove_absent(store, digest).absent
    proof = absence.prove_absent(store, digest, [len(needle)])
    assert proof.found == (f"store.db, byte {len(data) - 2000}",)
    assert set(proof.lengths) == {len(needle), 32}
    store._engine.dispose()


def test_the_seal_of_a_row_covers_every_column(folder: Path):
    with toy.open_store(folder) as store, store.reading() as connection:
        for table in tables.metadata.sorted_tables:
            if tables.SEAL not in table.c:
                continue
            for row in connection.execute(select(table).limit(2)).mappings():
                for name in set(row) - {tables.SEAL}:
                    other = dict(row) | {name: "another"}
                    assert tables.sealed(table, other) != row[tables.SEAL]
                assert tables.sealed(table, dict(row)) == row[tables.SEAL]
