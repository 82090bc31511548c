"""Cells of the study `verification`, part two: forged steps, step by step, beside honest ones."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from expunge.adversaries.providers import Case, Forge
from expunge.adversaries.providers.forging import Substitution
from expunge.randomness import numpy_generator
from expunge.records import Records
from expunge.studies.frame import Row
from expunge.studies.verification_cells import case_of, forging_recipe
from expunge.training import Batches
from expunge.verification import POL_DEFAULT, Replayed, Tolerance, calibrate
from expunge.verification.replay import Replayer, Reversed

FORGED_SHARES: Final = (0.01, 0.125)
MOST_STEPS: Final = {"small": 100, "full": 2000}
HONEST_STEPS: Final = 64

SUBSTITUTIONS: Final[tuple[Substitution, ...]] = ("nearest", "dropped", "same-class", "uniform", "unrelated")

LIMITS: Final = tuple(float(10.0**power) for power in np.arange(-9, 1.5, 0.5))
"""Tolerances at which the share of passing steps is drawn."""


def forging(records: Records, scale: str, seed: int) -> list[Row]:
    """Errors of forged steps, of the controls and of honest replays, by share deleted; and what slips by, by epoch."""
    rows: list[Row] = []
    for share in FORGED_SHARES:
        part = records.train
        count = max(1, round(share * len(part)))
        order = numpy_generator(seed, f"study/verification/forget/{share}").permutation(len(part)).tolist()
        forget = frozenset(part.ids[row] for row in order[:count])
        case = case_of(part, forget, forging_recipe(len(part), scale, seed), every=1)
        tolerance = calibrate(case.original, part, most=32)
        rows += _honest(case, share, seed, tolerance)
        for kind in SUBSTITUTIONS:
            attack = Forge(kind, seed=seed)
            altered = set(attack.altered(case).nonzero()[:, 0].tolist())
            # Each altered step is a real one: what errs is the step after it, which starts from where it led.
            which = [(0, step + 1) for step in sorted(altered) if step + 1 < case.original.steps]
            found = Replayer(case.retained).all(attack.run(case).proof, _spread(which, MOST_STEPS[scale]))
            row = _errors(kind, share, seed, [each.error for each in found], tolerance)
            if kind == "nearest":
                row["slipped_by_epoch"] = _by_epoch(found, tolerance, len(part), case.recipe.batch_size)
            rows.append(row)
    return rows


def _honest(case: Case, share: float, seed: int, tolerance: Tolerance) -> Iterator[Row]:
    """Errors of honest replays: on the same platform, under two threads, and with each batch in reverse."""
    proof, where = case.original, _spread(case.original.segments, HONEST_STEPS)
    rows = proof.tracks[0].batches
    assert rows is not None
    ways: dict[str, tuple[int, Batches]] = {
        "honest": (1, rows),
        "honest, 2 threads": (2, rows),
        "honest, reversed": (1, Reversed(rows)),
    }
    for name, (threads, batches) in ways.items():
        replayer = Replayer(case.records, threads)
        errors = [replayer.segment(proof, *place, batches).error for place in where]
        yield _errors(name, share, seed, errors, tolerance)


def _errors(kind: str, share: float, seed: int, errors: list[float], tolerance: Tolerance) -> Row:
    values = np.array(errors)
    return {
        "part": "forging",
        "seed": seed,
        "share_deleted": share,
        "proof": kind,
        "steps": len(errors),
        "error_median": float(np.median(values)),
        "error_95": float(np.quantile(values, 0.95)),
        "error_max": float(values.max()),
        "pass_literature": float(np.mean(values <= POL_DEFAULT.value)),
        "pass_calibrated": float(np.mean(values <= tolerance.value)),
        "calibrated_tolerance": tolerance.value,
        "curve": [float(np.mean(values <= limit)) for limit in LIMITS],
    }


def _by_epoch(found: list[Replayed], tolerance: Tolerance, records: int, width: int) -> list[float]:
    """Share of altered steps below the calibrated tolerance, epoch by epoch."""
    epochs: dict[int, list[bool]] = {}
    for each in found:
        epochs.setdefault(each.first * width // records, []).append(each.passes(tolerance))
    return [float(np.mean(epochs[epoch])) for epoch in sorted(epochs)]


def _spread(places: list[tuple[int, int]], most: int) -> list[tuple[int, int]]:
    """At most so many of them, evenly spread over the run."""
    return places[:: max(1, -(-len(places) // most))]
