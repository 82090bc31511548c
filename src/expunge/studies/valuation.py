"""Study `valuation`: S-Shapley on real training, before and after deletions (Xia et al., PVLDB 16(11), 2023)."""

from collections.abc import Sequence
from dataclasses import dataclass

from expunge.reports.study import StudyFigure
from expunge.studies.claims import StudyClaim, mean_claim
from expunge.studies.frame import Row, Setting
from expunge.studies.valuation_cells import convergence, exits, known_games, noisy_owners, serial_and_parallel
from expunge.studies.valuation_figures import valuation_figures
from expunge.studies.valuation_task import ratio_at_equal_error, task_of

Z = 4.2
"""Largest of about fifty z-scores that chance explains in all but one of a thousand studies."""


@dataclass(frozen=True)
class ValuationStudy:
    """Six estimators against enumeration, updates against recomputing, noisy owners, serial against parallel."""

    name: str = "valuation"

    def cells(self, setting: Setting) -> Sequence[str]:
        """Known games and executors once; three cells a seed."""
        parts = ("convergence", "exits", "noisy")
        return ["games", "executors", *(f"seed-{seed}.{part}" for seed in setting.seeds for part in parts)]

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
        return convergence(task_of(setting.records, setting.scale, seed), setting.scale, seed)

    def claims(self, setting: Setting, rows: Sequence[Row]) -> list[StudyClaim]:
        """The marks of the study."""
        del setting
        known, exact = _only(rows, "known")[0], _only(rows, "exact")
        worst = max(row["exact_error"] for row in _only(rows, "change"))
        noisy = [row["auroc"] for row in _only(rows, "noisy")]
        gain = [100 * (row["accuracy_without_noisy"] - row["accuracy_all"]) for row in _only(rows, "noisy")]
        ratio = [row["evaluations"] / row["trainings"] for row in exact]
        same = [row["identical"] for row in _only(rows, "executors")]
        return [
            _mark("oracle.max_error", known["max_error"], "<= 1e-10", known["max_error"] <= 1e-10),
            _mark("axioms.violations", known["violations"], "0", known["violations"] == 0),
            _mark("sampling.bias_z", known["bias_z"], f"<= {Z}", known["bias_z"] <= Z),
            _ratio(rows, "utility_vs_permutation.evaluations_ratio", "permutation", "utility", 1),
            _ratio(rows, "ours_vs_utility.evaluations_ratio", "utility", "ours", 2),
            *(_time_ratio(rows, kind) for kind in ("single", "batched")),
            _warm_ratio(rows),
            _mark("delta.exact_error", worst, "<= 1e-10", worst <= 1e-10),
            mean_claim("noisy_owner.auroc", noisy, ">= 0.9", lambda value: value >= 0.9),
            mean_claim("noisy_owner.points_gained_without_them", gain, "> 0", lambda value: value > 0),
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


def _time_ratio(rows: Sequence[Row], kind: str) -> StudyClaim:
    """Seconds of valuing the new partition from nothing over seconds of the update, at equal half-widths.

    The mark is for one exit; of three exits in one pass the figure is shown beside it.
    """
    own = [row for row in _only(rows, "exit") if row["exit"] == kind]
    found = [row["recompute_seconds"] / row["update_seconds"] for row in own]
    if kind == "batched":
        return mean_claim("delta_vs_recompute.time_ratio_batched", found)
    return mean_claim("delta_vs_recompute.time_ratio", found, ">= 10", lambda value: value >= 10)


def _warm_ratio(rows: Sequence[Row]) -> StudyClaim:
    """The same against valuing anew from the constituents that are there: what the update itself adds to the cache."""
    own = [row for row in _only(rows, "exit") if row["exit"] == "single"]
    return mean_claim(
        "delta_vs_warm_recompute.time_ratio", [row["warm_seconds"] / row["update_seconds"] for row in own]
    )
