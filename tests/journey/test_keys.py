"""The signing key is handed over, by both keys, and a kill in between is carried on by whoever signs next."""

import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

import expunge_verify
from expunge.journey import keys
from expunge.journey.checks import fsck
from expunge.journey.desk import Desk
from expunge.journey.workspace import Workspace
from expunge.ledger.signatures import SigningKey
from expunge.networks import MLP
from expunge.records import Records, from_dataset
from expunge.training import Recipe, Sharding


def few(count: int = 60) -> Records:
    features = torch.linspace(-1, 1, count)[:, None].expand(count, 2).clone()
    pairs = TensorDataset(features, (features[:, 0] > 0).long())
    return from_dataset(pairs, owners=[f"person-{place % 12:02d}" for place in range(count)])


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    recipe = Recipe(MLP((4,)), epochs=2, batch_size=8, sharding=Sharding(3))
    made = Workspace.create(tmp_path / "ws", few(), recipe, "few")
    config = made.folder / "expunge.toml"
    config.write_text(config.read_text().replace("shadow_models = 64", "shadow_models = 8"))
    made.train()
    return made


def verdict(workspace: Workspace, owner: str, key: str) -> expunge_verify.Report:
    bundle = Path(Desk(workspace).forget(owner=owner)["bundle"])
    return expunge_verify.verify(bundle.read_bytes(), workspace.folder / "model.safetensors", key)


def test_a_receipt_after_a_rotation_is_trusted_by_the_old_and_by_the_new_key(workspace: Workspace):
    folder = workspace.folder
    first = (folder / keys.PUBLIC_FILE).read_text()
    secret = (folder / keys.KEY_FILE).read_bytes()
    ids = workspace.rotate_key()
    assert ids["old"] != ids["new"] == SigningKey.load(folder / keys.KEY_FILE).id
    assert stat.S_IMODE((folder / keys.KEY_FILE).stat().st_mode) == 0o600
    assert not any(path.read_bytes() == secret for path in (folder / "keys").iterdir())
    assert not (folder / keys.NEXT_FILE).exists()
    assert verdict(workspace, "person-01", first).holds
    again = workspace.rotate_key()
    assert again["old"] == ids["new"]
    everyone = (folder / keys.PUBLIC_FILE).read_text()
    assert everyone.count("BEGIN PUBLIC KEY") == 3
    bundle = Path(Desk(workspace).forget(owner="person-04")["bundle"]).read_bytes()
    for key in (first, ids["new"], again["new"], everyone):
        report = expunge_verify.verify(bundle, folder / "model.safetensors", key)
        assert report.holds
        assert "deletion" in {check.name for check in report.checks if check.holds}


def _before_the_commit(folder: Path, kept: Path) -> None:
    """Killed with the new key on disk and nothing in the log."""
    SigningKey.generate().save(folder / keys.NEXT_FILE)


def _after_the_commit(folder: Path, kept: Path) -> None:
    """Killed with the handover in the log and the old key still in place."""
    shutil.copy(folder / keys.KEY_FILE, kept)
    old = kept.read_bytes()
    Workspace(folder).rotate_key()
    (folder / keys.KEY_FILE).rename(folder / keys.NEXT_FILE)
    shutil.copy(kept, folder / keys.KEY_FILE)
    assert (folder / keys.KEY_FILE).read_bytes() == old


@pytest.mark.parametrize("killed", [_before_the_commit, _after_the_commit])
@pytest.mark.parametrize("then", ["rotate", "forget"])
def test_a_kill_in_between_is_carried_on(
    workspace: Workspace, tmp_path: Path, killed: Callable[[Path, Path], None], then: str
):
    first = (workspace.folder / keys.PUBLIC_FILE).read_text()
    killed(workspace.folder, tmp_path / "kept.pem")
    if then == "rotate":
        workspace.rotate_key()
        assert not (workspace.folder / keys.NEXT_FILE).exists()
        assert (workspace.folder / keys.PUBLIC_FILE).read_text().count("BEGIN PUBLIC KEY") == 2
    assert verdict(workspace, "person-03", first).holds
    assert fsck(workspace.folder).problems == ()


def test_a_public_half_that_a_fault_kept_back_is_written_by_the_same_call(tmp_path: Path):
    """Found by faults on real records: the private key was there, so that nothing wrote the public one any more."""
    made = keys.make_keys(tmp_path)
    public = tmp_path / keys.PUBLIC_FILE
    written = public.read_bytes()
    public.unlink()
    assert keys.make_keys(tmp_path).public == made.public
    assert public.read_bytes() == written
