"""From how many records on does a certified deletion take a fifth of retraining? Processor seconds within one run.

    python benchmarks/certified_size.py [DATA] [SEED] [SIZE ...]

For each number of training records: a tenth of them deleted from a two-layer network (trained anew), a convex head
(`certified-head`, epsilon 1 in ten parts) and a least-squares head (`downdate`, exact), each the median of repeated
runs, with test accuracy. Without sizes: all records there are.
"""

import os
import sys
from dataclasses import replace

import torch

from expunge.networks import MLP
from expunge.records import Records, load
from expunge.studies.certified_cells import REPEATED, processor_seconds
from expunge.training import SGD, Recipe, accuracy_on_test, train
from expunge.training.certifiable import certifiable_recipe, downdatable_recipe
from expunge.unlearning import CertifiedHead, Downdate, Method, Retrain, prepare

torch.set_num_threads(1)


def measured(recipe: Recipe, records: Records, forget: tuple[str, ...], method: Method) -> tuple[float, float, float]:
    """Seconds of a deletion, test accuracy in per cent after it, and passes over what is left."""
    deletion, key = prepare(train(recipe, records), records, forget), os.urandom(32)
    done, seconds = processor_seconds(lambda: method.run(replace(deletion, noise_key=key)), REPEATED)
    passes = done.cost.gradient_evaluations / len(done.records.train)
    return seconds, 100 * accuracy_on_test(done.trained.model, done.records), passes


def line(records: Records, seed: int) -> None:
    """The three ways on these records."""
    part = records.train
    drawn = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))[: len(part) // 10]
    forget = tuple(part.ids[row] for row in drawn.tolist())
    network = Recipe(network=MLP((128,)), optimiser=SGD(lr=0.05), batch_size=64, epochs=20, seed=seed)
    head = certifiable_recipe(records.shape, records.classes, seed=seed)
    squares = downdatable_recipe(records.shape, records.classes, seed=seed)
    whole, right, _ = measured(network, records, forget, Retrain())
    own, right_head, passes = measured(head, records, forget, CertifiedHead(requests=10))
    exact, right_squares, _ = measured(squares, records, forget, Downdate())
    anew, _, _ = measured(head, records, forget, Retrain())
    print(f"{len(part):6} records: retraining {whole:6.2f} s ({right:.1f} %); certified-head {own:.3f} s, ", end="")
    print(f"{own / whole:.3f} of it, {own / anew:.2f} of its own, {passes:.0f} passes ({right_head:.1f} %); ", end="")
    print(f"downdate {exact:.3f} s, {exact / whole:.3f} ({right_squares:.1f} %)", flush=True)


def main() -> None:
    records = load(sys.argv[1] if len(sys.argv) > 1 else "digits")
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    order = torch.randperm(len(records.train), generator=torch.Generator().manual_seed(seed))
    names = [records.train.ids[row] for row in order.tolist()]
    for size in [int(text) for text in sys.argv[3:]] or [len(names)]:
        line(records.select([records.row_of[name] for name in (*names[:size], *records.test.ids)]), seed)


if __name__ == "__main__":
    main()
