"""Weights from elsewhere at the command line: taken as they are or refused, and never replaced without a receipt."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_commands import contents, run

from expunge.cli.main import main
from expunge.journey import artifacts
from expunge.journey.workspace import Workspace
from expunge.networks import initialise, state_of

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace without a model."""
    folder = tmp_path_factory.mktemp("adopt") / "ws"
    assert main(["init", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def weights(ws: Path) -> Weights:
    """Weights of the workspace's architecture under another seed."""
    with Workspace.open(ws).store() as store:
        recipe, records = artifacts.read_recipe(store), artifacts.read_records(store)
    module = initialise(recipe.network, records.shape, records.classes, seed=3, name="elsewhere")
    return {name: tensor.contiguous() for name, tensor in state_of(module).items()}


def spoilt(weights: Weights, how: str) -> Weights:
    first = next(iter(weights))
    if how == "missing":
        return {name: tensor for name, tensor in weights.items() if name != first}
    if how == "shape":
        return {**weights, first: torch.zeros(3, 3)}
    if how == "not finite":
        return {**weights, first: torch.full_like(weights[first], torch.nan)}
    return {name: tensor.to(getattr(torch, how)) for name, tensor in weights.items()}


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("float64", "bad-shape"),
        ("float16", "bad-shape"),
        ("int32", "bad-data"),
        ("missing", "bad-data"),
        ("shape", "bad-data"),
        ("not finite", "diverged"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_not_cast(
    how: str, code: str, ws: Path, weights: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    save_file(spoilt(weights, how), tmp_path / "w.safetensors")
    before = contents(ws)
    status, found, _ = run(capsys, "-w", str(ws), "adopt", str(tmp_path / "w.safetensors"))
    assert (found["error"]["code"], status) == (code, found["error"]["exit_status"])
    assert contents(ws) == before


def test_a_folder_in_place_of_weights_is_named(ws: Path, capsys: pytest.CaptureFixture[str]):
    status, found, _ = run(capsys, "-w", str(ws), "adopt", ".")
    assert (status, found["error"]["message"]) == (20, "'.' is no file")


def test_an_adopted_model_keeps_its_bytes_and_its_place(
    ws: Path, weights: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Training would put another model in its place that no receipt explains."""
    save_file(weights, tmp_path / "w.safetensors")
    adopted = run(capsys, "-w", str(ws), "adopt", str(tmp_path / "w.safetensors"))[1]["model"]
    kept = load_file(ws / artifacts.MODEL_FILE)
    assert all(kept[f"0/{name}"].equal(tensor) for name, tensor in weights.items())
    before = contents(ws)
    for again in (["train"], ["adopt", str(tmp_path / "w.safetensors")]):
        status, found, _ = run(capsys, "-w", str(ws), *again)
        assert (status, found["error"]["code"]) == (20, "already-trained")
    assert contents(ws) == before
    assert run(capsys, "-w", str(ws), "status")[1]["model"] == adopted
