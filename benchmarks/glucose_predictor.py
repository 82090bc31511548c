"""A small predictor for benchmarks: glucose 30 minutes ahead from 12 features, a 12-64-64-1 ReLU network.

Features, physical units: sensor readings 50, 40, 30, 20, 10 and 0 minutes ago (mg/dL); insulin delivered 60 to 30 and
30 to 0 minutes ago (U); carbohydrate eaten in the same spans (g); insulin and carbohydrate on board (U, g) with
exponential decay (70 and 40 minutes). Reference implementation for benchmarks only.
"""

import itertools
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from expunge.assurance.verification import ReluNetwork, Scaling, fold

ROOT = Path(__file__).parent.parent
STEP = 3
NOISE = 8.0  # mg/dL


def data_path() -> Path:
    return Path(os.environ.get("EXPUNGE_DATA", ROOT.parent / "shared" / "data")) / "glucose.csv"


def features(path: Path, every: int = 5) -> tuple[Tensor, Tensor]:
    """Rows of features and the reading 30 minutes later, all patients."""
    table = np.genfromtxt(path, delimiter=",", names=True, dtype=None, encoding="utf-8", comments=None)
    parts = [_patient(table[table["patient"] == name], every) for name in np.unique(table["patient"])]
    xs, ys = zip(*parts, strict=True)
    return torch.tensor(np.concatenate(xs)), torch.tensor(np.concatenate(ys))


def _patient(rows: np.ndarray, every: int) -> tuple[np.ndarray, np.ndarray]:
    cgm, insulin, carbs = (rows[name].astype(float) for name in ("CGM", "insulin", "CHO"))
    times = np.arange(20, len(cgm) - 10, every)
    spans = [
        [array[time - back : time - back + 10].sum() * STEP for time in times]
        for array in (insulin, carbs)
        for back in (20, 10)
    ]
    boards = [_on_board(insulin, 70)[times], _on_board(carbs, 40)[times]]
    readings = [cgm[times - minutes // STEP] for minutes in (50, 40, 30, 20, 10, 0)]
    return np.stack([*readings, *(np.array(span) for span in spans), *boards], 1), cgm[times + 10]


def _on_board(rate: np.ndarray, minutes: float) -> np.ndarray:
    decay, left = np.exp(-STEP / minutes), 0.0
    result = np.empty_like(rate)
    for place, value in enumerate(rate):
        result[place] = left
        left = (left + value * STEP) * decay
    return result


def trained(seed: int = 0, epochs: int = 30, widths: tuple[int, ...] = (64, 64)) -> tuple[ReluNetwork, float]:
    """The network, and its RMSE on its training data in mg/dL.

    Trained as a device's predictor would be: sensor noise is added to every reading, and at random points of the
    operating domain a slope that rises with insulin or falls with carbohydrate is charged for.
    """
    x, y = features(data_path())
    centre, spread, middle, factor = x.mean(0), x.std(0), float(y.mean()), float(y.std())
    inputs, targets = ((x - centre) / spread).float(), ((y - middle) / factor).float()[:, None]
    noise = torch.tensor([NOISE] * 6 + [0.0] * 6) / spread.float()
    module = network(12, *widths, 1, seed=seed)
    optimiser = torch.optim.Adam(module.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * (1 - epoch / epochs) + 1e-5
        for rows in torch.randperm(len(inputs), generator=generator).split(256):
            optimiser.zero_grad()
            noisy = inputs[rows] + noise * torch.randn(len(rows), 12, generator=generator)
            loss = (module(noisy) - targets[rows]).square().mean() + _wrong_slopes(module, inputs[rows], generator)
            loss.backward()
            optimiser.step()
    folded = fold(module, Scaling(tuple(centre.tolist()), tuple(spread.tolist()), (middle,), (factor,)))
    return folded, float((folded(x)[:, 0] - y).square().mean().sqrt())


def _wrong_slopes(module: nn.Sequential, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Positive slopes in insulin and insulin on board, negative ones in carbohydrate and carbohydrate on board."""
    points = torch.cat([rows, rows[torch.randperm(len(rows), generator=generator)] * 0.5 + rows * 0.5])
    points = (points + 0.5 * torch.randn(points.shape, generator=generator)).requires_grad_()
    slopes = torch.autograd.grad(module(points).sum(), points, create_graph=True)[0]
    wrong = torch.cat([slopes[:, [6, 7, 10]], -slopes[:, [8, 9, 11]]], 1)
    return 10 * (wrong + 0.02).clamp(min=0).square().sum(1).mean() + 0.02 * slopes.square().sum(1).mean()


def network(*widths: int, seed: int) -> nn.Sequential:
    """Linear and ReLU layers with weights drawn from one seed (He et al., 2015)."""
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(widths):
        layer = nn.Linear(fan_in, fan_out)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(fan_out, fan_in, generator=generator) * (2 / fan_in) ** 0.5)
            layer.bias.copy_(torch.randn(fan_out, generator=generator) * 0.1)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
