"""Study `valuation`: S-Shapley on real training, before and after deletions (Xia et al., PVLDB 16(11), 2023)."""

from collections.abc import Sequence
from dataclasses import dataclass

from expunge.reports.study import StudyFigure
from expunge.studies.claims import StudyClaim, mean_claim, mean_interval
from expunge.studies.frame import Row, Setting
from expunge.studies.valuation_cells import (
    BEFORE,
    ERROR,
    convergence,
    exits,
    noisy_owners,
    serial_and_parallel,
    times,
)
from expunge.studies.valuation_figures import valuation_figures
from expunge.studies.valuation_known import known_games
from expunge.studies.valuation_task import ratio_at_equal_error, task_of

Z = 4.2
"""Largest of about fifty z-scores that chance explains in all but one of a thousand studies."""


@dataclass(frozen=True)
class ValuationStudy:
    """Six estimators against enumeration, updates against recomputing, noisy owners, serial against parallel."""

    name: str = "valuation"

    def cells(self, setting: Setting) -> Sequence[str]:
        """Known games, executors and times of all estimators once; three cells a seed."""
        parts = ("convergence", "exits", "noisy")
        once = ["games", "executors", f"seed-{setting.seeds[0]}.times"]
        return [*once, *(f"seed-{seed}.{part}" for seed in setting.seeds for part in parts)]

    def run(self, setting: Setting, cell: str) -> list[Row]:
        """Measure one cell."""
        if cell == "games":
            return known_games()
        if cell == "executors":
            return serial_and_parallel(task_of(setting.records, "small", 0))
        seed, part = int(cell.split(".")[0].removeprefix("seed-")), cell.split(".")[1]
        if part == "noisy":
            return noisy_owners(setting.records, setting.scale, seed)
        if part == "exits":  # at the paper's size: the fewer owners there are, the more each exit changes
            return exits(task_of(setting.records, "full", seed), seed)
        measure = times if part == "times" else convergence
        return measure(task_of(setting.records, setting.scale, seed), setting.scale, seed)

    def claims(self, setting: Setting, rows: Sequence[Row]) -> list[StudyClaim]:
        """The marks of the study."""
        del setting
        known, exact = _only(rows, "known")[0], _only(rows, "exact")
        worst = max(row["exact_error"] for row in _only(rows, "change"))
        noisy, stopped = _only(rows, "noisy"), _only(rows, "stopped")
        ratio = [row["evaluations"] / row["trainings"] for row in exact]
        same = [row["identical"] for row in _only(rows, "executors")]
        return [
            _mark("oracle.max_error", known["max_error"], "<= 1e-10", known["max_error"] <= 1e-10),
            _mark("axioms.violations", known["violations"], "0", known["violations"] == 0),
            _mark("sampling.bias_z", known["bias_z"], f"<= {Z}", known["bias_z"] <= Z),
            _ratio(rows, "utility_vs_permutation.evaluations_ratio", "permutation", "utility", 1),
            _ratio(rows, "ours_vs_utility.evaluations_ratio", "utility", "ours", 2),
            _time_to_error(rows, "permutation", "utility"),
            _time_to_error(rows, "utility", "ours"),
            _coverage(stopped, "half_width.coverage", "covered"),
            _coverage(stopped, "half_width.coverage_of_change", "covered_change"),
            _coverage(stopped, "half_width.coverage_after_update", "covered_after"),
            _exit_ratio(rows, "single", "recompute", "delta_vs_recompute.time_ratio", 10),
            _exit_ratio(rows, "batched", "recompute", "delta_vs_recompute.time_ratio_batched"),
            _exit_ratio(rows, "defaults", "recompute", "delta_vs_recompute.time_ratio_defaults"),
            _exit_ratio(rows, "single", "warm", "delta_vs_warm_recompute.time_ratio"),
            _exit_ratio(rows, "defaults", "warm", "delta_vs_warm_recompute.time_ratio_defaults"),
            _mark("delta.exact_error", worst, "<= 1e-10", worst <= 1e-10),
            mean_claim("noisy_owner.auroc", [row["auroc"] for row in noisy], ">= 0.9", lambda value: value >= 0.9),
            _gain(noisy, "noisy", "noisy_owner.points_gained_without_them"),
            _gain(noisy, "lowest", "noisy_owner.points_gained_without_lowest_fifth"),
            _reuse(rows, ERROR),
            _reuse(rows, BEFORE),
            mean_claim("constituents.evaluations_per_training", ratio, ">= 3", lambda value: value >= 3),
            _mark("serial_parallel.identical", all(same), "1", all(same)),
        ]

    def figures(self, setting: Setting, rows: Sequence[Row]) -> list[StudyFigure]:
        """Values with intervals, before and after; error against cost; removal curves; time to equal error."""
        del setting
        return valuation_figures(rows)


def _mark(name: str, value: float, target: str, holds: bool) -> StudyClaim:
    return StudyClaim(name, float(value), None, target, bool(holds))


def _only(rows: Sequence[Row], kind: str) -> list[Row]:
    return [row for row in rows if row["kind"] == kind]


def _ratio(rows: Sequence[Row], name: str, slow: str, fast: str, least: float) -> StudyClaim:
    """The geometric mean over seeds of evaluations at equal error; a claim without value where no budget is enough."""
    seeds = sorted({row["seed"] for row in _only(rows, "convergence")})
    curves = [[row for row in _only(rows, "convergence") if row["seed"] == seed] for seed in seeds]
    found = [ratio for curve in curves if (ratio := ratio_at_equal_error(curve, slow, fast)) is not None]
    target = f">= {least}" if least > 1 else f"> {least}"
    if not found:
        return StudyClaim(name, None, None, target, None, "no budget of this scale fills every stratum of both")
    return mean_claim(name, found, target, lambda value: value >= least if least > 1 else value > least)


def _time_to_error(rows: Sequence[Row], slow: str, fast: str) -> StudyClaim:
    """Seconds of one core at equal error, both training from nothing; one run each, so without interval or mark."""
    found = ratio_at_equal_error(_only(rows, "time"), slow, fast, "seconds")
    why = "" if found is not None else "no round of this scale fills every stratum of both"
    return StudyClaim(f"time_to_equal_error.{slow}_over_{fast}", found, None, None, None, why)


def _exit_ratio(rows: Sequence[Row], kind: str, other: str, name: str, least: float | None = None) -> StudyClaim:
    """Seconds of valuing the new partition over those of the update, to equal half-widths."""
    found = [row[f"{other}_seconds"] / row["update_seconds"] for row in _only(rows, "exit") if row["exit"] == kind]
    if least is None:
        return mean_claim(name, found)
    return mean_claim(name, found, f">= {least}", lambda value: value >= least)


def _reuse(rows: Sequence[Row], half_width: float) -> StudyClaim:
    """Utilities for each constituent that was trained, in a valuation to this half-width."""
    found = [row["evaluations"] / row["trainings"] for row in _only(rows, "reuse") if row["half_width"] == half_width]
    return mean_claim(f"constituents.evaluations_per_training_at_{half_width}", found)


def _gain(noisy: Sequence[Row], which: str, name: str) -> StudyClaim:
    """Points of test accuracy gained by training without some owners: the whole interval must lie above 0."""
    points = [100 * (row[f"accuracy_without_{which}"] - row["accuracy_all"]) for row in noisy]
    span = mean_interval(points)
    return mean_claim(name, points, "interval > 0", lambda _: span is not None and span[0] > 0)


def _coverage(stopped: Sequence[Row], name: str, key: str) -> StudyClaim:
    """Share of intervals at 95 % that hold the truth; stopping at the first narrow moment costs a little of it."""
    return mean_claim(name, [row[key] for row in stopped], ">= 0.93", lambda share: share >= 0.93)
