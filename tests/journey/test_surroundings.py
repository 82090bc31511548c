"""What stands beside the store in a real workspace is watched too: keys, settings, published log, pages, no links."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

from expunge.errors import AttackSuspected
from expunge.journey import config, keys
from expunge.journey.checks import fsck
from expunge.journey.desk import Desk
from expunge.journey.surroundings import LOG_FOLDER
from expunge.journey.workspace import Workspace
from expunge.ledger import tiles
from expunge.ledger.signatures import SigningKey
from expunge.networks import MLP
from expunge.records import from_dataset
from expunge.training import Recipe


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that honoured a request, closed."""
    features = torch.linspace(-1, 1, 60)[:, None].expand(60, 2).clone()
    pairs = TensorDataset(features, (features[:, 0] > 0).long())
    records = from_dataset(pairs, owners=[f"person-{place % 12:02d}" for place in range(60)])
    folder = tmp_path_factory.mktemp("surroundings") / "ws"
    made = Workspace.create(folder, records, Recipe(MLP((4,)), epochs=2, batch_size=8), "few")
    settings = folder / config.NAME
    settings.write_text(settings.read_text().replace("shadow_models = 64", "shadow_models = 8"))
    made.train()
    Desk(made).forget(owner="person-01")
    return folder


@pytest.fixture
def folder(served: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(served, tmp_path / "ws"))


def other_key(folder: Path) -> None:
    (folder / keys.KEY_FILE).unlink()
    SigningKey.generate().save(folder / keys.KEY_FILE)


def elsewhere(name: str) -> Callable[[Path], None]:
    def move(folder: Path) -> None:
        moved = (folder / name).rename(folder.parent / f"elsewhere-{Path(name).name}")
        (folder / name).symlink_to(moved)

    return move


def other_key_in_a_rotation(folder: Path) -> None:
    SigningKey.generate().save(folder / keys.NEXT_FILE)
    other_key(folder)


DAMAGES: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "another key": (other_key, {"key"}),
    "another key, and a rotation that was begun": (other_key_in_a_rotation, {"key"}),
    "no key": (lambda folder: (folder / keys.KEY_FILE).unlink(), {"no-such-file"}),
    "a key that others can read": (lambda folder: (folder / keys.KEY_FILE).chmod(0o640), {"key-exposed"}),
    "no public keys": (lambda folder: (folder / keys.PUBLIC_FILE).unlink(), {"missing"}),
    "no settings": (lambda folder: (folder / config.NAME).unlink(), {"no-such-file"}),
    "unreadable settings": (lambda folder: (folder / config.NAME).write_text("regime = 1"), {"bad-config"}),
    "no published checkpoint": (lambda folder: (folder / LOG_FOLDER / tiles.CHECKPOINT).unlink(), {"missing"}),
    "a lost page": (lambda folder: next((folder / "reports").iterdir()).unlink(), {"missing"}),
    "a lost case": (lambda folder: next((folder / "cases").iterdir()).unlink(), {"missing"}),
    "objects elsewhere": (elsewhere("objects"), {"link"}),
    "log elsewhere": (elsewhere(LOG_FOLDER), {"link"}),
    "key elsewhere": (elsewhere(keys.KEY_FILE), {"link", "no-such-file"}),
    "receipts elsewhere": (elsewhere("receipts"), {"link"}),
}


def test_a_workspace_that_served_is_clean(folder: Path) -> None:
    assert fsck(folder).problems == ()


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_around_the_store_is_found_and_named(folder: Path, name: str) -> None:
    damage, wanted = DAMAGES[name]
    damage(folder)
    found = {problem.kind for problem in fsck(folder).problems}
    assert found == wanted


def test_a_flipped_bit_anywhere_in_the_folder_is_found(served: Path, tmp_path: Path) -> None:
    """In every file, settings aside: these are a person's to change, and only what cannot be read is found."""
    drawn, missed = random.Random(3), []
    for path in sorted(path for path in served.rglob("*") if path.is_file() and path.name != config.NAME):
        copy = Path(shutil.copytree(served, tmp_path / "copy"))
        data = bytearray(path.read_bytes())
        data[drawn.randrange(len(data))] ^= 1 << drawn.randrange(8)
        (copy / path.relative_to(served)).write_bytes(data)
        if fsck(copy).clean:
            missed.append(str(path.relative_to(served)))
        shutil.rmtree(copy)
    assert missed == []


def test_lost_pages_come_back_with_the_next_request_and_older_tiles_are_watched(folder: Path) -> None:
    before = {path.name: path.read_bytes() for name in ("reports", "cases") for path in (folder / name).iterdir()}
    for name in ("reports", "cases"):
        shutil.rmtree(folder / name)
    Desk(Workspace.open(folder)).forget(owner="person-02")
    after = {path.name: path.read_bytes() for name in ("reports", "cases") for path in (folder / name).iterdir()}
    assert before.items() < after.items()
    assert fsck(folder).clean
    for name in ("0", "entries"):  # a tile that stands since the log was smaller
        tile = folder / LOG_FOLDER / "tile" / name / "000.p" / "1"
        data = tile.read_bytes()
        tile.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert {problem.kind for problem in fsck(folder).problems} == {"damaged"}, name
        tile.write_bytes(data)
    (folder / LOG_FOLDER / "tile" / "0" / "note.txt").write_text("no tile")
    assert {problem.kind for problem in fsck(folder).problems} == {"damaged"}


def test_the_log_is_not_published_through_a_link(folder: Path) -> None:
    elsewhere(LOG_FOLDER)(folder)
    made = Workspace.open(folder)
    with made.store() as store, pytest.raises(AttackSuspected) as caught:
        made.publish(store)
    assert caught.value.code == "unsafe-path"
