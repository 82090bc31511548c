"""Study `sparsity`: prune first, unlearn under an L1 penalty, and every other method tuned (Jia et al., 2023)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from expunge.errors import OperatorError
from expunge.reports.study import StudyFigure
from expunge.studies.claims import StudyClaim
from expunge.studies.frame import Row, Setting
from expunge.studies.sparsity_applications import backdoor, transfer
from expunge.studies.sparsity_cells import doses, prune_first, same_rate, sequential
from expunge.studies.sparsity_claims import RANDOM, sparsity_claims
from expunge.studies.sparsity_figures import sparsity_figures
from expunge.studies.sparsity_ground import Ground, at_random, memorised, one_class, one_owner
from expunge.studies.sparsity_scene import BUDGET, scenario
from expunge.unlearning import (
    AMUN,
    SCRUB,
    SSD,
    BadTeacher,
    BoundaryShrink,
    FineTune,
    FisherForgetting,
    GradientAscent,
    Influence,
    L1Sparse,
    Method,
    NegGradPlus,
    RandomLabels,
    SalUn,
)

METHODS: tuple[Method, ...] = (
    FineTune(),
    L1Sparse(),
    GradientAscent(),
    NegGradPlus(),
    RandomLabels(),
    FisherForgetting(),
    Influence(),
    SalUn(),
    SCRUB(),
    SSD(),
    BoundaryShrink(),
    BadTeacher(),
    AMUN(),
)
FEW: tuple[Method, ...] = (FineTune(), L1Sparse(), SalUn())


@dataclass(frozen=True)
class SparsityStudy:
    """Five-way evaluation of tuned methods against retraining and its noise floor, dense and sparse.

    Random deletions of 10 % are asked of a network that learnt its records by heart, for elsewhere LiRA sees nothing
    to be forgotten; all else of the small convolutional network (of a perceptron, for tables).

    **Arguments:** `methods`: compared in the two main scenarios; `shadows`, `references`: shadow models of LiRA and
    retrained references behind the noise floor, at small and at full scale; `budget`: of the tuning of one method in
    these scenarios, as a share of one retraining; `classes`: that a class-wise method is tuned on, for one forgets more
    easily than the next; `epochs`: of training, except where records are learnt by heart.
    """

    name: str = "sparsity"
    methods: tuple[Method, ...] = METHODS
    shadows: tuple[int, int] = (16, 64)
    references: tuple[int, int] = (8, 12)
    budget: float = BUDGET
    classes: int = 3
    epochs: float = 15

    def cells(self, setting: Setting) -> Sequence[str]:
        """One for each scenario and set of seeds: what is tuned once serves all the seeds of a cell.

        **Raises:** `OperatorError("bad-data")` for regression, and for fewer than 100 training records.
        """
        if setting.records.classes < 2 or len(setting.records.train) < 100:
            raise OperatorError("bad-data", "the study needs classes and at least 100 training records")
        image = len(setting.records.shape) == 3
        cells = ["class", "class-small-rate", "random-10", "class-sparse", "doses"]
        cells += ["prune-first", "sequential", "owner", "hard"]
        cells += ["backdoor"] if image else []
        cells += ["transfer"] if setting.records.classes >= 5 else []
        if setting.scale == "full":
            cells += ["random-1", "random-10-cnn", "random-50", "random-sparse"]
        seeds = "-".join(map(str, setting.seeds))
        return [f"{cell}.{seeds}" for cell in cells]

    def run(self, setting: Setting, cell: str) -> list[Row]:
        """Measure one cell."""
        full, seeds = setting.scale == "full", setting.seeds
        measured = partial(scenario, seeds=seeds, budget=self.budget)
        ground, heart = Ground.of(setting.records, setting.scale), Ground.by_heart(setting.records)
        ground = replace(ground, recipe=replace(ground.recipe, epochs=self.epochs))
        cells: dict[str, Callable[[], list[Row]]] = {
            "class": lambda: measured(ground, "class", one_class, methods=self.methods, choosing=self.classes),
            "class-sparse": lambda: measured(
                ground, "class", one_class, methods=FEW[:2], sparsity=0.95, choosing=self.classes, references=1
            ),
            "class-small-rate": lambda: same_rate(ground, seeds, choosing=self.classes, budget=self.budget),
            "random-10": lambda: measured(
                heart,
                RANDOM,
                at_random(0.1),
                methods=self.methods,
                references=self.references[full],
                shadow_count=self.shadows[full],
            ),
            "random-10-cnn": lambda: measured(ground, f"{RANDOM}, main network", at_random(0.1), methods=self.methods),
            "random-sparse": lambda: measured(
                ground, f"{RANDOM}, main network", at_random(0.1), methods=FEW, sparsity=0.95
            ),
            "random-1": lambda: measured(ground, "random 1 %", at_random(0.01), methods=FEW),
            "random-50": lambda: measured(ground, "random 50 %", at_random(0.5), methods=FEW),
            "owner": lambda: measured(ground, "one owner", one_owner, methods=FEW[:2]),
            "hard": lambda: measured(ground, "hard", memorised(ground.recipe), methods=FEW[:2]),
            "doses": lambda: doses(ground, seeds),
            "prune-first": lambda: prune_first(ground, seeds, (0.0, 0.95, 0.99)),
            "sequential": lambda: sequential(ground, seeds, FEW[:2], budget=self.budget),
            "backdoor": lambda: backdoor(ground, seeds, budget=self.budget),
            "transfer": lambda: transfer(ground, seeds, budget=self.budget),
        }
        return cells[cell.partition(".")[0]]()

    def claims(self, setting: Setting, rows: Sequence[Row]) -> list[StudyClaim]:
        """The marks of the study."""
        del setting
        return sparsity_claims(rows)

    def figures(self, setting: Setting, rows: Sequence[Row]) -> list[StudyFigure]:
        """Radar, gap against time, UA against the rate, sparsity."""
        del setting
        return sparsity_figures(rows)
