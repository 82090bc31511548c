"""Study `certified`: what epsilon the theorems give, what it costs, and whether anybody can show it to be false."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from expunge.errors import OperatorError
from expunge.networks import CNN, MLP, Network
from expunge.randomness import numpy_generator
from expunge.records import Records
from expunge.reports.study import StudyFigure
from expunge.studies.certified_cells import solvers
from expunge.studies.certified_checks import coverage, curves, from_the_start, head_check, poison, tolerance
from expunge.studies.certified_claims import certified_claims
from expunge.studies.certified_constants import constants_of_a_network
from expunge.studies.certified_deletions import deletions
from expunge.studies.certified_figures import certified_figures
from expunge.studies.certified_games import certificate_games, played
from expunge.studies.claims import StudyClaim
from expunge.studies.frame import Row, Setting
from expunge.training import SGD, Recipe, accuracy_on_test, train
from expunge.training.certifiable import certifiable_recipe
from expunge.unlearning import CertifiedHead, unlearn
from expunge.unlearning.accounting import HONEST, paper_setting

SHARES = (0.01, 0.05, 0.1)
RUNS = {"small": 200, "full": 1000}
LENGTHS = {"small": (1, 2, 5), "full": (1, 2, 5, 20)}
DELETIONS = 10
FEW = 2000
"""Training records that the convolutional network sees at small scale, where the largest share alone is deleted from
it: five minutes are for all cells together."""


@dataclass(frozen=True)
class CertifiedStudy:
    """Certified methods against retraining, a fresh network, and retraining stopped at the same accuracy."""

    name: str = "certified"
    recipe: Recipe = Recipe(optimiser=SGD(lr=0.05), batch_size=64, epochs=20, radius=20.0)
    hidden: tuple[int, ...] = (128,)

    def cells(self, setting: Setting) -> Sequence[str]:
        """One for each seed and network, which deletes every share, one for each sequence, and the checks.

        At small scale the convolutional network has the first seed, `FEW` training records and one share only, and the
        empirical baselines the other network.

        **Raises:** `OperatorError("bad-data")` for regression: the head's theorem is for classes.
        """
        if setting.records.classes < 2:
            raise OperatorError("bad-data", "the study needs classes, and these targets are numbers")
        checks = ["paper", "solvers", "coverage", "games", "head", "tolerance", "curves", "poison", "start"]
        seeds = setting.seeds
        sequences = [f"sequence.seed-{seed}" for seed in seeds]
        whole = [f"deletion.mlp.seed-{seed}" for seed in seeds]
        image = len(setting.records.shape) == 3
        few = seeds if setting.scale == "full" else seeds[:1]
        return [*checks, *sequences, *whole, *(f"deletion.cnn.seed-{seed}" for seed in few if image)]

    def run(self, setting: Setting, cell: str) -> list[Row]:
        """Measure one cell."""
        kind, *rest = cell.split(".")
        seed = next((int(part[5:]) for part in rest if part.startswith("seed-")), setting.seeds[0])
        return [{"part": kind, **row} for row in self._rows(setting, kind, rest, seed)]

    def claims(self, setting: Setting, rows: Sequence[Row]) -> list[StudyClaim]:
        """The marks of the study."""
        return certified_claims(rows)

    def figures(self, setting: Setting, rows: Sequence[Row]) -> list[StudyFigure]:
        """Accuracy and time of each method, curves, poison, and the games."""
        del setting
        return certified_figures(rows)

    def _rows(self, setting: Setting, kind: str, rest: Sequence[str], seed: int) -> list[Row]:
        records, scale = setting.records, setting.scale
        checks: dict[str, Callable[[], list[Row]]] = {
            "paper": lambda: [
                *paper_setting(),
                constants_of_a_network(records, seed),
                {"setting": "instead", "advice": HONEST},
            ],
            "solvers": lambda: solvers(records, seed, scale),
            "coverage": lambda: [coverage(records, seed)],
            "games": lambda: played(certificate_games(records, seed), RUNS[scale]),
            "head": lambda: head_check(records, seed),
            "tolerance": lambda: [tolerance(records, seed)],
            "curves": lambda: curves(records, seed, LENGTHS[scale]),
            "poison": lambda: poison(records, seed),
            "start": lambda: from_the_start(records, seed),
            "sequence": lambda: [_sequence(records, seed)],
        }
        if kind in checks:
            return checks[kind]()
        network: Network = CNN() if rest[0] == "cnn" else MLP(self.hidden)
        full = scale == "full" or (rest[0] == "mlp" and seed == setting.seeds[0])
        shares: tuple[float, ...] = SHARES
        if scale == "small" and rest[0] == "cnn":
            shares = SHARES[-1:]
            records = records.select([records.row_of[name] for name in (*records.train.ids[:FEW], *records.test.ids)])
        found = deletions(records, network, replace(self.recipe, seed=seed), shares, full)
        return [{"network": rest[0], "seed": seed, **row} for row in found]


def _sequence(records: Records, seed: int) -> Row:
    """Ten deletions in a row on one certifiable model."""
    recipe = certifiable_recipe(records.shape, records.classes, seed=seed)
    trained, spent, sizes = train(recipe, records), 0.0, []
    drawn = numpy_generator(seed, "study/certified/sequence").permutation(len(records.train))
    each = max(1, len(drawn) // 100)
    names = [records.train.ids[row] for row in drawn[: DELETIONS * each]]
    for number in range(DELETIONS):
        forget = tuple(names[number * each : (number + 1) * each])
        method = CertifiedHead(requests=DELETIONS, spent=spent)
        done = unlearn(trained, records, forget, method)
        trained, records, spent = done.trained, done.records, done.claim.epsilon or 0.0
        sizes.append(len(trained.model.file))
    accuracy = accuracy_on_test(trained.model, records)
    retrained = accuracy_on_test(train(recipe, records).model, records)
    left = max(1.0 - spent, 0.0)
    return {
        "seed": seed,
        "deletions": DELETIONS,
        "epsilon": spent,
        "budget_left": left,
        "within_budget": spent <= 1.0 + 1e-6,
        "storage_growth": sizes[-1] - sizes[0],
        "accuracy_test": accuracy,
        "accuracy_retrained": retrained,
    }
