"""Targets that stay flipped after delete-then-repair: one target and 0.5 % of the records to a request.

    python benchmarks/repair.py SEED ...   # digits; about four minutes of one core for each seed

The study unites six targets' selections in one request, which is cheaper to measure and a stronger attack.
"""

import sys
from collections import Counter
from dataclasses import replace

import torch
from scipy.stats import binomtest

from expunge.adversaries.requesters import Task
from expunge.records import load
from expunge.studies.requests import reduced
from expunge.studies.requests_cells import ATTACKS, GROUPS, budget, each_of, measured, targets_between, told, trained
from expunge.unlearning import Repair, Retrain

TARGETS = 6
"""Of each group of margins, for each seed."""


def main() -> None:
    torch.set_num_threads(1)
    records, flips = reduced(load("digits")), Counter[tuple[str, str]]()
    gaps: list[float] = []
    for seed in map(int, sys.argv[1:]):
        made = trained(records, seed)
        for group, ends in GROUPS.items():
            for target in each_of(targets_between(made.model, records, *ends, TARGETS)):
                task = Task(records, made, Retrain(), target, budget(records), seed=seed)
                for attack in ATTACKS:
                    crafted, name = attack.run(task), attack.describe().name
                    plain = told(task, crafted, name, group)
                    after = replace(task, method=Repair()).carried_out(crafted).trained.model
                    again = measured(task, after, crafted, name, group, "repair")
                    flips["all", "retrained"] += plain["flips"]
                    flips["all", "repaired"] += again["flips"]
                    flips[name, "repaired"] += again["flips"]
                    gaps.append(plain["accuracy_after"] - again["accuracy_after"])
        print(seed, dict(flips), flush=True)
    left, count = flips["all", "repaired"], len(gaps)
    ends = binomtest(left, count).proportion_ci(0.95, "exact")
    print(
        f"of {count} flipped: retrained {flips['all', 'retrained']}, repaired {left}, "
        f"{left / count:.3f} [{ends.low:.3f}, {ends.high:.3f}]"
    )
    print(f"test points above retraining: {-100 * sum(gaps) / len(gaps):.2f}, the least {-100 * max(gaps):.2f}")


if __name__ == "__main__":
    main()
