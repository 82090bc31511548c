"""A 20-record request on 8,000 records and about 100,000 weights: CPU seconds of one thread, and the naive way's.

The naive way forecasts through the whole network's Gauss-Newton matrix with conjugate gradient, for this request alone.
"""

import time

import torch

from expunge.networks import MLP
from expunge.records import Records
from expunge.screening import Calibration, Combined, Ground, Level, Submission, screen
from expunge.training import SGD, Recipe, train
from expunge.training.curvature import Curvature, CurvatureKind, conjugate_gradient

SIZE, PROBES, ASKED = 8000, 2000, 20


def made() -> Records:
    draw = torch.Generator().manual_seed(0)
    centres = torch.randn(10, 784, generator=draw)
    targets = torch.randint(10, (SIZE + PROBES,), generator=draw)
    features = (centres[targets] + 3 * torch.randn(len(targets), 784, generator=draw)) / 4
    ids = tuple(f"r{number}" for number in range(len(targets)))
    return Records(features, targets, ids, ids, ("train",) * SIZE + ("test",) * PROBES, 10)


def main() -> None:
    torch.set_num_threads(1)
    records = made()
    model = train(Recipe(network=MLP((128,)), optimiser=SGD(lr=0.05), epochs=1), records).model
    weights = sum(part.numel() for part in model.module().parameters())
    kept = Calibration(model.digest, Combined(), (Level(ASKED, 1.0, {}, {}, 0),))
    started = time.process_time()
    ground = Ground(model, records)
    screen(Submission(ground, records.ids[:ASKED]), kept)
    first = time.process_time() - started
    started = time.process_time()
    screen(Submission(ground, records.ids[ASKED : 2 * ASKED]), kept)
    next_one = time.process_time() - started
    started = time.process_time()
    curvature = Curvature.of(model.module(), records.train, damping=1e-2, kind=CurvatureKind.GAUSS_NEWTON)
    gradient = curvature.on(torch.arange(ASKED)).gradient
    found = conjugate_gradient(curvature.product, gradient, tolerance=1e-2, limit=100)
    naive = time.process_time() - started
    print(f"{SIZE} records, {weights} weights, a request for {ASKED}")
    print(f"first request on a model  {first:6.2f} s  (mark: 2 s)")
    print(f"each one after it         {next_one:6.2f} s")
    print(
        f"naive forecast            {naive:6.2f} s  {found.products} products  {naive / next_one:.1f} times a request's"
    )


if __name__ == "__main__":
    main()
