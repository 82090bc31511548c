"""Study `verification`: the literature's verifiers, what they let pass, and one that holds (Zhang et al., 2024)."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from expunge.errors import OperatorError
from expunge.randomness import numpy_generator
from expunge.reports.study import StudyFigure
from expunge.studies.claims import StudyClaim, mean_claim, share_claim
from expunge.studies.frame import Row, Setting
from expunge.studies.verification_cells import ALPHA, QUERIES, forging, literature
from expunge.studies.verification_committed import (
    attacks,
    committed,
    curve,
    inconspicuous,
    methods,
    platform,
    storage,
)
from expunge.studies.verification_evasions import EVASIONS, evasion, walks
from expunge.studies.verification_figures import verification_figures
from expunge.verification import BackdoorTest

RETRAINING = ("retrain-nearest", "retrain-random")
CONTROL = "control: same class"
SIMULATED = 10_000
"""Owners: a false alarm is so rare that of two thousand hardly one is expected, and chance alone makes four."""
FIRST_EPOCHS = 5
ORDER = ("nearest", "dropped", "same-class", "uniform", "unrelated")
"""What the literature finds, from the nearest records to another batch altogether; `dropped` leaves places empty."""


@dataclass(frozen=True)
class VerificationStudy:
    """Each verifier against each provider: who passes, false alarms, work, and what is left of D_f."""

    name: str = "verification"

    def cells(self, setting: Setting) -> Sequence[str]:
        """Two for each seed, one for each attack on the committed schedule, and one each for what stands once.

        **Raises:** `OperatorError("bad-data")` for regression: triggers and substitutes want classes.
        """
        if setting.records.classes < 2:
            raise OperatorError("bad-data", "the study needs classes, and these targets are numbers")
        seeds = [f"{kind}.seed-{seed}" for seed in setting.seeds for kind in ("literature", "forging")]
        against = [f"committed.{name}" for name in ("honest", *attacks(setting.scale), *inconspicuous())]
        against += [f"evasion.{name}" for name in EVASIONS]
        return [*seeds, *against, "curve", "walks", "platform", "methods", "storage"]

    def run(self, setting: Setting, cell: str) -> list[Row]:
        """Measure one cell."""
        kind, _, rest = cell.partition(".")
        records, first = setting.records, setting.seeds[0]
        if kind in ("literature", "forging"):
            found = literature if kind == "literature" else forging
            return found(records, setting.scale, int(rest.removeprefix("seed-")))
        if kind == "committed":
            return committed(records, setting.scale, first, rest)
        if kind == "evasion":
            return evasion(records, first, rest)
        if kind == "platform":
            return platform(records, setting.scale, first)
        once: dict[str, Callable[..., list[Row]]] = {"curve": curve, "walks": walks}
        once |= {"methods": methods, "storage": storage}
        return once[kind](records, first)

    def claims(self, setting: Setting, rows: Sequence[Row]) -> list[StudyClaim]:
        """The marks of the study."""
        del setting
        parts = (_backdoor, _retraining, _exposure, _forging, _committed, _elsewhere)
        return [claim for part in parts for claim in part(rows)]

    def figures(self, setting: Setting, rows: Sequence[Row]) -> list[StudyFigure]:
        """Errors, tolerance, detection against work, exposure."""
        del setting
        return verification_figures(rows)


def _of(rows: Sequence[Row], part: str, **wanted: object) -> list[Row]:
    return [row for row in rows if row["part"] == part and all(row.get(key) == value for key, value in wanted.items())]


def _backdoor(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    """Power and false alarms over simulated owners, who query the models of this study, against the binomials."""
    original, honest = (_of(rows, "literature", provider=name) for name in ("original", "honest"))
    marks: dict[str, tuple[list[Row], str, Callable[[float], bool]]] = {
        "power": (original, ">= 0.99", lambda share: share >= 0.99),
        "alpha": (honest, "<= 0.01", lambda share: share <= 0.01),
    }
    for name, (own, target, holds) in marks.items():
        tested = [each for row in own for each in row["tests"]]
        if not tested:
            yield StudyClaim(f"backdoor.{name}", None, None, target, None, "no trigger was learned: p is not above q")
            continue
        caught, expected = simulated(tested)
        yield share_claim(f"backdoor.{name}", caught, target, holds)
        spread = max((expected * (1 - expected) / len(caught)) ** 0.5, 1 / len(caught))
        error = abs(float(np.mean(caught)) - expected) / spread
        yield StudyClaim(f"backdoor.{name}_against_binomial", error, None, "<= 3", error <= 3)
    yield _owners("backdoor.honest_passes", honest, ">= 0.95", lambda share: share >= 0.95)
    yield _owners("backdoor.no_deletion_passes", original, "<= 0.01", lambda share: share <= 0.01)


def simulated(tested: Sequence[Sequence[float]]) -> tuple[list[bool], float]:
    """Whether each of `SIMULATED` owners calls the model a lie, and how often they would by the binomials.

    **Arguments:** `tested`: p, q, hits and queries of real owners. A simulated owner is one of them at random, with the
    test of these p and q, and asks `QUERIES` of the queries again, each drawn anew.
    """
    generator = numpy_generator(0, "study/verification/simulated-owners")
    most = [BackdoorTest(p, q, QUERIES, ALPHA).threshold for p, q, _, _ in tested]
    rates = [hits / asked for _, _, hits, asked in tested]
    which = generator.integers(len(tested), size=SIMULATED)
    found = [int((generator.random(QUERIES) < rates[owner]).sum()) > most[owner] for owner in which.tolist()]
    expected = [binom_above(threshold, QUERIES, rate) for threshold, rate in zip(most, rates, strict=True)]
    return found, float(np.mean([expected[owner] for owner in which.tolist()]))


def binom_above(most: int, queries: int, rate: float) -> float:
    """P(Bin(queries, rate) > most), term by term: the oracle beside the test's own."""
    return 1 - sum(math.comb(queries, k) * rate**k * (1 - rate) ** (queries - k) for k in range(most + 1))


def _owners(name: str, rows: Sequence[Row], target: str, holds: Callable[[float], bool]) -> StudyClaim:
    """Share of owners whose test reads the model as deleted."""
    passed = [number < row["backdoor_passed"] for row in rows for number in range(row["backdoor_owners"])]
    return share_claim(name, passed, target, holds)


def _retraining(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    found = [row for row in _of(rows, "literature") if row["provider"] in RETRAINING]
    yield _owners("retraining_attack.backdoor_pass", found, ">= 0.95", lambda share: share >= 0.95)
    whole = [row["replay_pass_bytes"] == 1 and not row["batches_with_forgotten"] for row in found]
    yield share_claim("retraining_attack.replay_pass", whole, ">= 0.95", lambda share: share >= 0.95)
    for name in RETRAINING:
        short = name.removeprefix("retrain-")
        yield mean_claim(f"retraining_attack.test_gap.{short}", _gaps(rows, name, "honest", "accuracy_test"))
        kept = _gaps(rows, name, CONTROL, "accuracy_forgotten")
        yield mean_claim(f"retraining_attack.kept_against_control.{short}", kept)
    # Both attacks of a seed stand against one honest run: a seed is one repetition.
    each = zip(*(_gaps(rows, name, "honest", "accuracy_test") for name in RETRAINING), strict=True)
    yield mean_claim("retraining_attack.test_gap", [float(np.mean(pair)) for pair in each])


def _gaps(rows: Sequence[Row], name: str, other: str, key: str) -> list[float]:
    """Points of 100 by which `name` is above `other`, seed by seed."""
    pairs = zip(_of(rows, "literature", provider=name), _of(rows, "literature", provider=other), strict=True)
    return [100 * (ours[key] - theirs[key]) for ours, theirs in pairs]


def _forging(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    forged = _of(rows, "forging", proof="nearest")
    passes = [row["pass_literature"] == 1 for row in forged]
    yield share_claim("forging.replay_pass_at_tolerance", passes, ">= 0.95", lambda share: share >= 0.95)
    yield mean_claim(
        "forging.steps_passing_calibrated_tolerance",
        [row["pass_calibrated"] for row in forged],
        "<= 0.2",
        lambda value: value <= 0.2,
    )
    for name, control, most in (("random", "uniform", 1.0), ("unrelated", "unrelated", 0.3)):
        others = _of(rows, "forging", proof=control)
        ratios = [ours["error_median"] / theirs["error_median"] for ours, theirs in zip(forged, others, strict=True)]
        target = f"< {most:g}"
        yield mean_claim(f"forging.error_ratio_to_{name}", ratios, target, lambda v, most=most: v < most)  # type: ignore[misc]
    early = [max(row["slipped_by_epoch"][:FIRST_EPOCHS]) for row in forged]
    yield mean_claim("forging.slipped_in_first_epochs", early, "0", lambda value: value == 0)
    medians = [_medians(rows, row) for row in forged]
    yield share_claim("forging.controls_in_order", [_rising(each.values()) for each in medians], "1", lambda v: v == 1)
    yield from _dropped(medians)
    caught = _of(rows, "literature", provider="forge")
    yield _owners("forging.backdoor_pass", caught, "<= 0.05", lambda share: share <= 0.05)


def _medians(rows: Sequence[Row], row: Row) -> dict[str, float]:
    """Median errors of the substitutions of one seed and share."""
    wanted = {"seed": row["seed"], "share_deleted": row["share_deleted"]}
    return {kind: _of(rows, "forging", proof=kind, **wanted)[0]["error_median"] for kind in ORDER}


def _rising(values: Iterable[float]) -> bool:
    return all(low < high for low, high in pairwise(values))


def _dropped(medians: Sequence[dict[str, float]]) -> Iterator[StudyClaim]:
    """Where leaving places empty stands, apart from the order of what fills them.

    The rest of a batch is a mean, and nearer to anything than a record from anywhere is. Whether one of the same class
    is nearer still hangs on how alike the records of a class are.
    """
    filled = [_rising(value for kind, value in each.items() if kind != "dropped") for each in medians]
    yield share_claim("forging.substitutions_in_order", filled, "1", lambda share: share == 1)
    between = [each["nearest"] < each["dropped"] < each["uniform"] for each in medians]
    yield share_claim("forging.dropped_between_nearest_and_uniform", between, "1", lambda share: share == 1)
    yield mean_claim("forging.dropped_over_same_class", [each["dropped"] / each["same-class"] for each in medians])


def _exposure(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    """What is deployed still knows of D_f: accuracy in points of 100, and the loss test's AUC against test records."""
    for name in ("original", "honest", *RETRAINING, "forge"):
        own = _of(rows, "literature", provider=name)
        yield mean_claim(f"exposure.accuracy_forgotten.{name}", [100 * row["accuracy_forgotten"] for row in own])
        yield mean_claim(f"exposure.auc.{name}", [row["membership_auc"] for row in own])


def _committed(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    for row in _of(rows, "committed"):
        outcomes = [number < row["found"] for number in range(row["trials"])]
        name = row["provider"]
        if name == "honest":
            yield StudyClaim("committed.false_alarms", float(row["found"]), None, "0", row["found"] == 0)
            share = row["work_share_max"]
            yield StudyClaim("committed.work_share", share, None, "<= 0.1", share <= 0.1)
        elif name in inconspicuous():
            yield share_claim(f"committed.detects.{name}", outcomes)
        else:
            yield share_claim(f"committed.detects.{name}", outcomes, "1", lambda value: value == 1)
    points = _of(rows, "curve")
    short = max(row["formula_default"] - row["measured_default"] for row in points if "measured_default" in row)
    yield StudyClaim("committed.default_short_of_formula", short, None, "<= 0.06", short <= 0.06)
    error = max(abs(row["measured"] - row["exact"]) for row in points)
    yield StudyClaim("committed.curve_error", error, None, "<= 0.06", error <= 0.06)
    least = min(row["met"] for row in _of(rows, "walk"))
    yield StudyClaim("committed.walk_back_met_at_full_size", least)
    above = max(0.0, *(round(row["formula"] - row["exact"], 9) for row in points))
    yield StudyClaim("committed.formula_above_exact", above, None, "<= 0", above <= 0)


def _elsewhere(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    found = _of(rows, "platform")
    yield StudyClaim("platform.calibrated_tolerance", found[0]["tolerance"])
    honest = [number < row["passed"] for row in found if row["provider"] == "honest" for number in range(row["trials"])]
    attacked = [n < row["passed"] for row in found if row["provider"] != "honest" for n in range(row["trials"])]
    yield share_claim("platform.honest_pass", honest, "1", lambda share: share == 1)
    yield share_claim("platform.attacks_pass", attacked, "0", lambda share: share == 0)
    kinds = _of(rows, "methods")
    yield share_claim("methods.proven", [row["proven"] for row in kinds], "1", lambda share: share == 1)
    yield share_claim("methods.old_model_found", [row["old_model_found"] for row in kinds], "1", lambda s: s == 1)
