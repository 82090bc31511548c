"""Study `sparsity`: prune first, unlearn under an L1 penalty, and every other method tuned (Jia et al., 2023)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from expunge.errors import OperatorError
from expunge.reports.study import StudyFigure
from expunge.studies.claims import StudyClaim, mean_claim
from expunge.studies.frame import Row, Setting
from expunge.studies.sparsity_cells import (
    FEW,
    METHODS,
    Ground,
    at_random,
    backdoor,
    doses,
    memorised,
    one_class,
    one_owner,
    pairs,
    prune_first,
    scenario,
    sequential,
    transfer,
)
from expunge.studies.sparsity_figures import sparsity_figures
from expunge.unlearning import Method

RANDOM = "random 10 %"
PAPER_GAIN = 77.0
"""Points of UA that the paper's l1-sparse gains over fine-tuning, class-wise, on CIFAR-10 with ResNet-18."""
NEVER = ("original", "retrain")


@dataclass(frozen=True)
class SparsityStudy:
    """Five-way evaluation of tuned methods against retraining and its noise floor, dense and sparse.

    **Arguments:** `methods`: compared in the two main scenarios; `shadows`, `references`: shadow models of LiRA and
    retrained references, at small and at full scale.
    """

    name: str = "sparsity"
    methods: tuple[Method, ...] = METHODS
    shadows: tuple[int, int] = (16, 64)
    references: tuple[int, int] = (2, 5)

    def cells(self, setting: Setting) -> Sequence[str]:
        """One for each scenario.

        **Raises:** `OperatorError("bad-data")` for regression, and for fewer than 100 training records.
        """
        if setting.records.classes < 2 or len(setting.records.train) < 100:
            raise OperatorError("bad-data", "the study needs classes and at least 100 training records")
        image = len(setting.records.shape) == 3
        cells = ["class", "random-10", "class-sparse", "doses", "prune-first", "sequential", "owner", "hard"]
        cells += ["backdoor"] if image else []
        cells += ["transfer"] if setting.records.classes >= 5 else []
        return cells if setting.scale == "small" else [*cells, "random-1", "random-50", "random-10-sparse"]

    def run(self, setting: Setting, cell: str) -> list[Row]:
        """Measure one cell."""
        full = setting.scale == "full"
        ground = Ground.of(setting.records, setting.scale)
        seeds = setting.seeds
        count, shadows = self.references[full], self.shadows[full]

        def run(name: str, forget: object, methods: object = self.methods, **more: object) -> list[Row]:
            return scenario(ground, name, forget, seeds, methods, references=count, **more)  # type: ignore[arg-type]

        cells: dict[str, Callable[[], list[Row]]] = {
            "class": lambda: run("class", one_class),
            "class-sparse": lambda: run("class", one_class, FEW, sparsity=0.95),
            "random-10": lambda: run(RANDOM, at_random(0.1), shadow_count=shadows),
            "random-10-sparse": lambda: run(RANDOM, at_random(0.1), FEW, sparsity=0.95),
            "random-1": lambda: run("random 1 %", at_random(0.01), FEW),
            "random-50": lambda: run("random 50 %", at_random(0.5), FEW),
            "owner": lambda: run("one owner", one_owner, FEW),
            "hard": lambda: run("hard", memorised(ground.recipe), FEW),
            "doses": lambda: doses(ground, seeds),
            "prune-first": lambda: prune_first(ground, seeds, (0.0, 0.95, 0.99)),
            "sequential": lambda: sequential(ground, seeds, FEW[:2]),
            "backdoor": lambda: backdoor(ground, seeds),
            "transfer": lambda: transfer(ground, seeds),
        }
        return cells[cell]()

    def claims(self, setting: Setting, rows: Sequence[Row]) -> list[StudyClaim]:
        """The marks of the study."""
        parts = (_class(rows), _random(rows), _sparse(rows), _applications(setting, rows))
        return [claim for part in parts for claim in part]

    def figures(self, setting: Setting, rows: Sequence[Row]) -> list[StudyFigure]:
        """Radar, gap against time, UA against the rate, sparsity."""
        del setting
        return sparsity_figures(rows)


def of(rows: Sequence[Row], scenario_name: str, method: str, sparsity: float | None = 0.0) -> list[Row]:
    """Rows of a method in a scenario; `None` for every sparsity."""
    return [
        row
        for row in rows
        if row["scenario"] == scenario_name
        and row["method"] == method
        and (sparsity is None or row["sparsity"] == sparsity)
    ]


def _class(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    l1, bare, tuned = (of(rows, "class", name) for name in ("l1-sparse", "fine-tune at l1's rate", "fine-tune"))
    retrain = of(rows, "class", "retrain")
    yield mean_claim("ft.class.ua", [row["ua"] for row in bare], "fine-tuning at l1's rate, without the penalty")
    yield mean_claim("ft_tuned.class.ua", [row["ua"] for row in tuned], "fine-tuning at its own best rate")
    yield mean_claim("l1.class.ua", [row["ua"] for row in l1], ">= 99", lambda value: value >= 99)
    yield mean_claim("l1.class.mia", [row["mia"] for row in l1], ">= 99", lambda value: value >= 99)
    yield mean_claim("l1.class.ra", [row["ra"] for row in l1], ">= 97", lambda value: value >= 97)
    before = _by_seed(of(rows, "class", "original"), "ta")
    losses = [before[row["seed"]] - row["ta"] for row in l1]
    yield mean_claim("l1.class.ta_loss", losses, "<= 2 points", lambda value: value <= 2)
    yield mean_claim("l1.class.rte", [row["rte"] for row in l1], "<= 0.3 of retraining", lambda value: value <= 0.3)
    own = _by_seed(bare, "ua")
    gains = [row["ua"] - own[row["seed"]] for row in l1]
    mark = f"the paper's {PAPER_GAIN:g} points, where fine-tuning forgets 22.5"
    yield mean_claim("l1.gain_over_ft", gains, mark, None)
    yield mean_claim("retrain.class.ua", [row["ua"] for row in retrain], ">= 99.5", lambda value: value >= 99.5)


def _random(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    floor = list(pairs(rows, RANDOM))
    methods = sorted({row["method"] for row in rows if row["scenario"] == RANDOM} - {*NEVER})
    gaps = {name: float(np.mean([row["gap"] for row in of(rows, RANDOM, name)])) for name in methods}
    if not gaps or not floor:
        return
    best = min(gaps, key=lambda name: gaps[name])
    most = float(np.max(floor))
    own = of(rows, RANDOM, best)
    yield mean_claim("noise_floor.random.gap", floor, "between two retrained models")
    target = f"<= {most:.2f}, the largest gap between two retrained models; best: {best}"
    yield mean_claim("best.random.gap", [row["gap"] for row in own], target, lambda value: value <= most)
    yield mean_claim("best.rte_share", [row["rte"] for row in own], "<= 1 of retraining", lambda value: value <= 1)
    yield mean_claim("original.random.gap", [row["gap"] for row in of(rows, RANDOM, "original")], "doing nothing")
    exact = [row["exposure"] for row in of(rows, RANDOM, "retrain") if row["exposure"] is not None]
    shown = {
        name: [row["exposure"] for row in of(rows, RANDOM, name) if row["exposure"] is not None] for name in methods
    }
    if not exact:
        return
    highest = max(exact)
    yield mean_claim("retrain.random.exposure", exact, "LiRA's AUC on models that never saw the records")
    before = [row["exposure"] for row in of(rows, RANDOM, "original")]
    yield mean_claim("original.random.exposure", before, f"> {highest:.3f}", lambda value: value > highest)
    words = f"<= {highest:.3f}, the most that a retrained model shows"
    yield mean_claim("best.random.exposure", shown[best], words, lambda value: value <= highest)
    blind = float(np.mean(before)) <= highest
    inside = [name for name in methods if gaps[name] <= most and np.mean(shown[name]) <= highest]
    why = "" if inside else "betrayed by: " + "; ".join(f"{n} by {_betrayer(rows, n, highest)}" for n in methods)
    power = "; LiRA has no power here: it does not tell the original model from a retrained one" if blind else ""
    within = f">= 1 method within the floor on all five figures; {', '.join(inside) or 'none'}{power}"
    yield StudyClaim(
        "within_floor.random.methods", float(len(inside)), None, within, None if blind else bool(inside), why[:600]
    )


def _betrayer(rows: Sequence[Row], name: str, highest: float) -> str:
    """The figure that is furthest outside of what retrained models show, in their own spread."""
    exact, own = of(rows, RANDOM, "retrain"), of(rows, RANDOM, name)
    far = {}
    for key in ("ua", "mia", "ra", "ta"):
        known = [row[key] for row in exact]
        far[key] = abs(np.mean([row[key] for row in own]) - np.mean(known)) / max(float(np.ptp(known)), 0.5)
    shown = [row["exposure"] for row in own if row["exposure"] is not None]
    if shown and float(np.mean(shown)) > highest:
        far["exposure"] = 1 + (float(np.mean(shown)) - highest) / 0.02
    return max(far, key=lambda key: far[key])


def _sparse(rows: Sequence[Row]) -> Iterator[StudyClaim]:
    for level in (0.95, 0.99):
        yield _prune_claim(rows, level)
    dense, pruned = (_by_seed(of(rows, "class", "fine-tune", each), "ua") for each in (0.0, 0.95))
    gains = [pruned[seed] - dense[seed] for seed in dense if seed in pruned]
    yield mean_claim("prune95.cnn.ua_gain", gains, "printed with its sign, never promised")


def _prune_claim(rows: Sequence[Row], level: float) -> StudyClaim:
    """What pruning adds to fine-tuning's UA; nothing is gained where the pruned network can no longer classify."""
    dense, pruned = ({row["seed"]: row for row in of(rows, "prune-first", "fine-tune", each)} for each in (0.0, level))
    both = [seed for seed in dense if seed in pruned]
    lost = float(np.mean([dense[seed]["ta"] - pruned[seed]["ta"] for seed in both])) if both else 0.0
    mark = f">= 10 in the paper's direction, with at most 3 points of TA lost (here {lost:.1f})"
    claim = mean_claim(f"prune{level * 100:.0f}.ft.ua_gain", [pruned[s]["ua"] - dense[s]["ua"] for s in both], mark)
    return replace(claim, holds=None if claim.value is None else claim.value >= 10 and lost <= 3)


def _applications(setting: Setting, rows: Sequence[Row]) -> Iterator[StudyClaim]:
    hits = {
        name: [row["asr"] for row in of(rows, "backdoor", name)] for name in ("original", "retrain", "l1-sparse 0.003")
    }
    if hits["original"]:
        yield mean_claim("backdoor.original.asr", hits["original"], ">= 97", lambda value: value >= 97)
        yield mean_claim("backdoor.retrain.asr", hits["retrain"], "<= 2", lambda value: value <= 2)
        yield mean_claim("backdoor.l1.asr", hits["l1-sparse 0.003"], "<= 25", lambda value: value <= 25)
        ft = [row["asr"] for row in of(rows, "backdoor", "fine-tune")]
        yield mean_claim("backdoor.ft.asr", ft, "fine-tuning without the penalty")
        before = _by_seed(of(rows, "backdoor", "original"), "ta")
        lost = [before[row["seed"]] - row["ta"] for row in of(rows, "backdoor", "l1-sparse 0.003")]
        yield mean_claim("backdoor.l1.ta_loss", lost, "<= 5 points", lambda value: value <= 5)
    else:
        del setting
        for name in ("backdoor.original.asr", "backdoor.l1.asr"):
            yield StudyClaim(name, None, why="a patch needs images, and these records are none")
    retrained = _by_seed(of(rows, "transfer", "retrain"), "probe")
    short = [retrained[row["seed"]] - row["probe"] for row in of(rows, "transfer", "l1-sparse")]
    if short:
        yield mean_claim("transfer.l1.probe_gap", short, "<= 2 points below retraining", lambda value: value <= 2)
    rows_of = {kind: of(rows, "sequential", f"l1-sparse, {kind}") for kind in ("four in a row", "at once")}
    drift = [
        max(abs(one["ra"] - other["ra"]), abs(one["ta"] - other["ta"]))
        for one, other in zip(rows_of["four in a row"], rows_of["at once"], strict=True)
    ]
    yield mean_claim("sequential.l1.drift", drift, "<= 2 points of RA and TA", lambda value: value <= 2)


def _by_seed(rows: Sequence[Row], key: str) -> dict[int, float]:
    return {row["seed"]: row[key] for row in rows}
