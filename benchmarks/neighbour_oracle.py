"""How well the neighbour attack could be told from coherent owners by somebody who knows the target's margin.

    python benchmarks/neighbour_oracle.py SEED ...   # digits; ten seconds of one core for all

A request for the nearest records of a target looks like a coherent owner's, whose records lie around a point as well:
what differs is how near to a boundary that point lies. The oracle is told that margin; a screen has to guess it.
"""

import sys

import torch

from expunge.adversaries.requesters.contract import margins
from expunge.randomness import torch_generator
from expunge.records import load
from expunge.studies.requests import reduced
from expunge.studies.requests_cells import targets_between, trained
from expunge.studies.requests_screens import auc

TARGETS, OWNERS = 16, 60


def main() -> None:
    torch.set_num_threads(1)
    records, found = reduced(load("digits")), []
    for seed in map(int, sys.argv[1:]):
        model, part = trained(records, seed).model, records.train
        unknown = records.without(records.test.ids[::2])
        some = targets_between(model, unknown, 0.0, 0.2, TARGETS)
        own = margins(model.logits(part.features), part.targets)
        draws = [torch_generator(1000 * (seed + 1) + n, "benchmarks/coherent") for n in range(OWNERS)]
        centres = [own[torch.randint(len(part), (1,), generator=draw)] for draw in draws]
        attacks = -margins(model.logits(some.features), some.targets)
        found.append(auc(attacks.tolist(), [-float(centre) for centre in centres]))
        print(f"seed {seed}: AUC of the oracle {found[-1]:.3f}", flush=True)
    print(f"mean {sum(found) / len(found):.3f}; the mark of the screen is 0.9")


if __name__ == "__main__":
    main()
