"""The log as static files: read back by a reader that knows nothing but the published layout."""

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import pytest

import expunge_verify
from expunge.errors import AttackSuspected, OperatorError, ProviderDishonest
from expunge.ledger import files, log, tiles


def entry(number: int) -> bytes:
    return hashlib.sha256(f"entry {number}".encode()).digest()


def grow(desk: Any, size: int) -> None:
    log.append(desk.connection, [entry(number) for number in range(log.size(desk.connection), size)])
    log.sign(desk.connection, "expunge.example/test", desk.key)


def tile_path(number: int, width: int) -> str:
    """c2sp.org/tlog-tiles: zero-padded 3-digit parts, all but the last with an x; `.p/<width>` where partial."""
    text = str(number).zfill(-(-len(str(number)) // 3) * 3)
    parts = re.findall("...", text)
    name = "/".join(["x" + part for part in parts[:-1]] + [parts[-1]])
    return name if width == 256 else f"{name}.p/{width}"


def read_level(folder: Path, kind: str, count: int) -> bytes:
    widths = [256] * (count // 256) + ([count % 256] if count % 256 else [])
    return b"".join((folder / "tile" / kind / tile_path(n, width)).read_bytes() for n, width in enumerate(widths))


def naive_root(hashes: list[bytes]) -> bytes:
    if len(hashes) == 1:
        return hashes[0]
    k = 1 << ((len(hashes) - 1).bit_length() - 1)
    return expunge_verify.node_hash(naive_root(hashes[:k]), naive_root(hashes[k:]))


def check_published(folder: Path, key: bytes) -> int:
    """Everything that the specification asks for, from the files alone; returns the size."""
    head = expunge_verify.open_checkpoint((folder / "checkpoint").read_text(), [key])
    data, level, count = read_level(folder, "0", head.size), 0, head.size
    hashes = [data[place : place + 32] for place in range(0, len(data), 32)]
    assert naive_root(hashes) == head.root
    entries = read_level(folder, "entries", head.size)
    assert len(entries) == 34 * head.size
    logged = [entries[place + 2 : place + 34] for place in range(0, len(entries), 34)]
    assert {entries[place : place + 2] for place in range(0, len(entries), 34)} == {b"\0\x20"}
    assert [expunge_verify.leaf_hash(each) for each in logged] == hashes
    while count >= 256:
        above = [naive_root(hashes[place : place + 256]) for place in range(0, count - count % 256, 256)]
        level, count, hashes = level + 1, count // 256, above
        assert read_level(folder, str(level), count) == b"".join(above)
    return head.size


@pytest.mark.parametrize("size", [1, 255, 256, 257, 511, 512, 1000])
def test_published_files_are_the_specified_ones(desk: Any, tmp_path: Path, size: int) -> None:
    grow(desk, size)
    tiles.publish(desk.connection, tmp_path)
    assert check_published(tmp_path, desk.key.public) == size
    assert not list(tiles.published_faults(desk.connection, tmp_path))


@pytest.mark.parametrize(
    ("number", "path"), [(0, "000"), (999, "999"), (1000, "x001/000"), (1_234_067, "x001/x234/067")]
)
def test_numbers_become_paths_of_three_digits(number: int, path: str) -> None:
    assert tiles._name(number, 256) == tile_path(number, 256) == path
    assert tiles._name(number, 7) == f"{path}.p/7"


@pytest.mark.slow
def test_three_levels(desk: Any, tmp_path: Path) -> None:
    grow(desk, 70_000)
    tiles.publish(desk.connection, tmp_path)
    assert check_published(tmp_path, desk.key.public) == 70_000
    for path in ("0/272", "0/273.p/112", "1/000", "1/001.p/17", "2/000.p/1"):  # the specification's own example
        assert (tmp_path / "tile" / path).is_file()
    assert not (tmp_path / "tile" / "3").exists()


def test_publishing_step_by_step_gives_the_same_files_as_at_once(desk: Any, tmp_path: Path) -> None:
    for size in (0, 1, 7, 255, 256, 300, 513):
        grow(desk, size)
        tiles.publish(desk.connection, tmp_path / "steps")
    tiles.publish(desk.connection, tmp_path / "once")
    kept = {path: (tmp_path / "once" / path).read_bytes() for path in listed(tmp_path / "once")}
    assert {path: (tmp_path / "steps" / path).read_bytes() for path in kept} == kept
    more = set(listed(tmp_path / "steps")) - set(kept)
    assert more == {Path("tile/1/000.p/1")}  # what the checkpoint of 256 leaves needs, and no full tile replaces


def listed(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_publishing_again_writes_nothing(desk: Any, tmp_path: Path) -> None:
    grow(desk, 300)
    assert tiles.publish(desk.connection, tmp_path) == 6  # checkpoint, two tiles, two bundles, one tile above
    assert tiles.publish(desk.connection, tmp_path) == 0
    grow(desk, 301)
    assert tiles.publish(desk.connection, tmp_path) == 3


def test_a_publisher_killed_at_any_file_is_finished_by_the_next(
    desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (200, 600):
        grow(desk, size)
        for allowed in range(20):
            with monkeypatch.context() as patch:
                patch.setattr(os, "replace", killed_after(allowed))
                finished = tiles_or_kill(desk, tmp_path)
            if (tmp_path / "checkpoint").exists():
                check_published(tmp_path, desk.key.public)
                assert list(tiles.published_faults(desk.connection, tmp_path)) == []
            if finished:
                break
        assert check_published(tmp_path, desk.key.public) == size
        assert not list((tmp_path / ".incoming").iterdir())


class Killed(BaseException):
    pass


def killed_after(allowed: int) -> Any:
    real, calls = os.replace, iter(range(allowed))

    def replace(source: Any, target: Any) -> None:
        if next(calls, None) is None:
            raise Killed
        real(source, target)

    return replace


def tiles_or_kill(desk: Any, folder: Path) -> bool:
    try:
        tiles.publish(desk.connection, folder)
    except Killed:
        return False
    return True


def test_rollback_and_fork_are_found_before_anything_is_written(desk: Any, tmp_path: Path) -> None:
    desk.file(4)
    with desk.connection.begin_nested() as savepoint:
        desk.file(2)
        tiles.publish(desk.connection, tmp_path)
        savepoint.rollback()
    before = {path: (tmp_path / path).read_bytes() for path in listed(tmp_path)}
    for code in ("log-rollback", "log-fork"):
        with pytest.raises(ProviderDishonest) as caught:
            tiles.publish(desk.connection, tmp_path)
        assert caught.value.code == code
        with pytest.raises(ProviderDishonest):
            list(tiles.published_faults(desk.connection, tmp_path))
        grow(desk, 9)
    assert {path: (tmp_path / path).read_bytes() for path in listed(tmp_path)} == before


def test_any_damaged_file_is_named(desk: Any, tmp_path: Path) -> None:
    grow(desk, 300)
    tiles.publish(desk.connection, tmp_path)
    for path in listed(tmp_path):
        whole = (tmp_path / path).read_bytes()
        for damaged in (whole[:-1], bytes([whole[0] ^ 1]) + whole[1:], whole[:-1] + bytes([whole[-1] ^ 0x80])):
            (tmp_path / path).write_bytes(damaged)
            try:
                assert list(tiles.published_faults(desk.connection, tmp_path)) == [f"{path} is missing or damaged"]
            except (AttackSuspected, ProviderDishonest):
                assert path.name == "checkpoint"
        (tmp_path / path).write_bytes(whole)


def test_a_rotated_key_signs_the_same_tree_again(desk: Any, tmp_path: Path) -> None:
    desk.file(3)
    tiles.publish(desk.connection, tmp_path)
    desk.rotate()
    assert tiles.publish(desk.connection, tmp_path) == 1
    assert check_published(tmp_path, desk.key.public) == 3


def test_what_cannot_be_published_is_said_in_a_line(desk: Any, tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as caught:
        tiles.publish(desk.connection, tmp_path)
    assert caught.value.code == "log-corrupt"
    assert not listed(tmp_path)
    grow(desk, 1)
    (tmp_path / "a-file").write_text("")
    with pytest.raises(OperatorError) as caught:
        tiles.publish(desk.connection, tmp_path / "a-file")
    assert caught.value.code == "io-error"
    files.replace(tmp_path / "checkpoint", b"nonsense", tmp_path)
    with pytest.raises(AttackSuspected):
        tiles.publish(desk.connection, tmp_path)
