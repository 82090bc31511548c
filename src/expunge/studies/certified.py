"""Study `certified`: what epsilon the theorems give, what it costs, and whether anybody can show it to be false."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from expunge.errors import OperatorError
from expunge.networks import CNN, MLP, Network
from expunge.randomness import numpy_generator
from expunge.records import Records
from expunge.reports.study import StudyFigure
from expunge.studies.certified_cells import Timed, coverage, games, quality, solvers, stopped_at, timed, way
from expunge.studies.certified_figures import certified_figures
from expunge.studies.claims import StudyClaim, mean_claim
from expunge.studies.frame import Row, Setting
from expunge.training import SGD, Model, Recipe, Trained, accuracy_on_test, train
from expunge.training.certifiable import certifiable_recipe
from expunge.unlearning import CertifiedHead, Method, Newton, NoisyFineTuning, OutputPerturbation, Retrain, unlearn
from expunge.unlearning.accounting import paper_setting

SHARES = (0.01, 0.05, 0.1)
RUNS = {"small": 200, "full": 1000}
DELETIONS = 10


@dataclass(frozen=True)
class CertifiedStudy:
    """Certified methods against retraining, a fresh network, and retraining stopped at the same accuracy."""

    name: str = "certified"
    recipe: Recipe = Recipe(optimiser=SGD(lr=0.05), batch_size=64, epochs=20)
    hidden: tuple[int, ...] = (128,)

    def cells(self, setting: Setting) -> Sequence[str]:
        """One for each seed, network and share deleted, and one each for solvers, coverage, games and sequences.

        **Raises:** `OperatorError("bad-data")` for regression: the head's theorem is for classes.
        """
        if setting.records.classes < 2:
            raise OperatorError("bad-data", "the study needs classes, and these targets are numbers")
        deletions = [
            f"deletion.{network}.seed-{seed}.percent-{round(100 * share)}"
            for network in self._networks(setting)
            for seed in setting.seeds
            for share in SHARES
        ]
        once = ["paper", "solvers", "coverage", "games"]
        repeated = setting.seeds if setting.scale == "full" else setting.seeds[:1]
        return [*once, *(f"sequence.seed-{seed}" for seed in repeated), *deletions]

    def run(self, setting: Setting, cell: str) -> list[Row]:
        """Measure one cell."""
        kind, *rest = cell.split(".")
        seed = next((int(part[5:]) for part in rest if part.startswith("seed-")), setting.seeds[0])
        if kind == "paper":
            return [{"part": "paper", **row} for row in paper_setting()]
        if kind == "solvers":
            return [{"part": "solvers", **row} for row in solvers(setting.records, seed, setting.scale)]
        if kind == "coverage":
            return [{"part": "coverage", **coverage(setting.records, seed)}]
        if kind == "games":
            return [{"part": "games", **row} for row in games(setting.records, seed, RUNS[setting.scale])]
        if kind == "sequence":
            return [_sequence(setting.records, seed)]
        share = int(rest[2].removeprefix("percent-")) / 100
        network = self._networks(setting)[rest[0]]
        return self._deletion(setting.records, rest[0], network, seed, share)

    def claims(self, setting: Setting, rows: Sequence[Row]) -> list[StudyClaim]:
        """The marks of the study."""
        return certified_claims(rows)

    def figures(self, setting: Setting, rows: Sequence[Row]) -> list[StudyFigure]:
        """Accuracy and time of each method, and the games."""
        del setting
        return certified_figures(rows)

    def _networks(self, setting: Setting) -> dict[str, Network]:
        found: dict[str, Network] = {"mlp": MLP(self.hidden)}
        image = len(setting.records.shape) == 3
        return {**found, "cnn": CNN()} if image and setting.scale == "full" else found

    def _deletion(self, records: Records, called: str, network: Network, seed: int, share: float) -> list[Row]:
        part = records.train
        count = max(1, round(share * len(part)))
        drawn = numpy_generator(seed, f"study/certified/{share}").permutation(len(part))[:count]
        forget = tuple(part.ids[row] for row in drawn)
        left = records.without(forget)
        recipe = replace(self.recipe, network=network, seed=seed)
        head = certifiable_recipe(records.shape, records.classes, seed=seed)
        whole, solved = train(recipe, records), train(head, records)
        retrained = timed(lambda: unlearn(whole, records, forget, Retrain()))
        again = timed(lambda: unlearn(solved, records, forget, Retrain()))
        base: Row = {"part": "deletion", "network": called, "seed": seed, "share": share}
        rows = [
            {
                **base,
                **_entry("retrain", retrained, retrained),
                **quality(retrained.model, records, forget, retrained.model),
            },
            {**base, **_entry("retrain-head", again, retrained), **quality(again.model, records, forget, again.model)},
        ]
        ways = {each.model.digest: way(each.model.recipe, left) for each in (retrained, again)}
        whole_methods: tuple[Method, ...] = (NoisyFineTuning(), OutputPerturbation(), Newton(damping=1.0, noise=0.001))
        tries: list[tuple[Trained, Method, Timed]] = [(solved, CertifiedHead(requests=DELETIONS), again)]
        tries += [(whole, method, retrained) for method in whole_methods]
        for start, method, other in tries:
            done = _unlearned(start, records, forget, method, seed)
            fresh = _fresh(recipe, left, done.seconds / max(retrained.seconds, 1e-9), _epochs(method))
            stopped = stopped_at(ways[other.model.digest], accuracy_on_test(done.model, left))
            rows.append(
                {
                    **base,
                    **_entry(method.describe().name, done, retrained),
                    **quality(done.model, records, forget, other.model),
                    "sigma": getattr(method, "sigma", getattr(method, "noise", None)),
                    "accuracy_fresh_network": fresh,
                    "time_share_of_own_retraining": done.seconds / other.seconds,
                    "stopped_retraining_evaluations": stopped,
                }
            )
        return rows


def _unlearned(start: Trained, records: Records, forget: tuple[str, ...], method: Method, seed: int) -> Timed:
    return timed(lambda: unlearn(start, records, forget, method, seed=seed))


def _entry(name: str, done: Timed, retrained: Timed) -> Row:
    claim = done.claim
    return {
        "method": name,
        "claim": str(claim.kind),
        "epsilon": claim.epsilon,
        "delta": claim.delta,
        "seconds": done.seconds,
        "time_share": done.seconds / retrained.seconds,
        "gradient_evaluations": done.evaluations,
        "retraining_evaluations": retrained.evaluations,
        "why": " ".join(claim.assumptions)[:400],
    }


def _epochs(method: Method) -> float | None:
    return method.epochs if isinstance(method, NoisyFineTuning | OutputPerturbation) else None


def _fresh(recipe: Recipe, left: Records, share: float, epochs: float | None) -> float:
    """Test accuracy of a fresh network trained for as many epochs, or else as many seconds, as the method took."""
    length = epochs if epochs is not None else max(share * recipe.epochs, 0.05)
    model: Model = train(replace(recipe, epochs=length, seed=recipe.seed + 1), left).model
    return accuracy_on_test(model, left)


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
        "part": "sequence",
        "seed": seed,
        "deletions": DELETIONS,
        "epsilon": spent,
        "budget_left": left,
        "within_budget": spent <= 1.0 + 1e-6,
        "storage_growth": sizes[-1] - sizes[0],
        "accuracy_test": accuracy,
        "accuracy_retrained": retrained,
    }


def certified_claims(rows: Sequence[Row]) -> list[StudyClaim]:
    """Each claim of the study from its rows."""
    lines = {row["solver"]: row for row in rows if row["part"] == "solvers"}
    speed = min(
        lines["series, automatic scale"]["seconds"] / lines["conjugate gradient, same error"]["seconds"],
        lines["series, public defaults"]["seconds"] / lines["conjugate gradient, same error as public"]["seconds"],
    )
    matched = lines["series, automatic scale"]["relative_error"]
    played = [row for row in rows if row["part"] == "games"]
    broken = [row for row in played if row["game"].startswith("broken")]
    violations = sum(row["violated"] for row in played if row not in broken)
    (covered,) = (row for row in rows if row["part"] == "coverage")
    paper = {row["setting"]: row["epsilon_bought"] for row in rows if row["part"] == "paper"}
    return [
        StudyClaim("cg.speedup_over_neumann", speed, None, ">= 10", speed >= 10),
        StudyClaim("neumann.matches_exact", matched, None, "<= 0.01", matched <= 0.01),
        *_methods(rows),
        StudyClaim("audit.violations", float(violations), None, "0", violations == 0),
        StudyClaim("audit.broken_found", float(all(row["violated"] for row in broken)), None, "1"),
        mean_claim(
            "sequential.budget_left",
            [row["budget_left"] for row in rows if row["part"] == "sequence"],
            ">= 0 after 10",
            lambda value: value >= 0 and all(row["within_budget"] for row in rows if row["part"] == "sequence"),
        ),
        StudyClaim("bound.coverage", float(covered["inside"]), None, "100", covered["inside"] == covered["trials"]),
        StudyClaim("paper.epsilon_at_sigma_0.001", paper["theorem, damping 0.01"]),
        StudyClaim("paper.epsilon_without_any_step", paper["no step, sensitivity 2C"]),
    ]


def _methods(rows: Sequence[Row]) -> list[StudyClaim]:
    done = [row for row in rows if row["part"] == "deletion"]
    base = {_key(row): row["accuracy_test"] for row in done if row["method"] == "retrain"}
    head = [row for row in done if row["method"] == "certified-head"]
    noisy = [row for row in done if row["method"] == "noisy-fine-tuning"]
    gaps = {name: [100 * (base[_key(row)] - row["accuracy_test"]) for row in own] for name, own in _named(head, noisy)}
    own = {_key(row): row["accuracy_test"] for row in done if row["method"] == "retrain-head"}
    beats = [100 * (row["accuracy_test"] - row["accuracy_fresh_network"]) for row in head]
    shares, ratios = ([row[key] for row in head] for key in ("time_share", "time_share_of_own_retraining"))
    return [
        StudyClaim("head.epsilon", max(row["epsilon"] for row in head), None, "<= 1", _most(head) <= 1),
        mean_claim("head.test_gap", gaps["head"], "<= 2 points below the retrained network", lambda value: value <= 2),
        mean_claim("head.test_gap_to_retrained_head", [100 * (own[_key(r)] - r["accuracy_test"]) for r in head]),
        StudyClaim("nft.epsilon", _most(noisy), None, "<= 1", _most(noisy) <= 1 + 1e-6),
        mean_claim("nft.test_gap", gaps["nft"], "<= 2", lambda value: value <= 2),
        mean_claim(
            "nft.points_above_fresh",
            [100 * (row["accuracy_test"] - row["accuracy_fresh_network"]) for row in noisy],
            "> 0",
            lambda value: value > 0,
        ),
        mean_claim("best.time_share", shares, "<= 0.2 of retraining the network", lambda value: value <= 0.2),
        mean_claim("best.time_share_of_own_retraining", ratios, "<= 0.2", lambda value: value <= 0.2),
        mean_claim("best.beats_fresh", beats, "> 0 points at equal seconds", lambda value: value > 0),
    ]


def _named(head: list[Row], noisy: list[Row]) -> list[tuple[str, list[Row]]]:
    return [("head", head), ("nft", noisy)]


def _key(row: Row) -> tuple[Any, ...]:
    return row["network"], row["seed"], row["share"]


def _most(rows: Sequence[Row]) -> float:
    return float(np.max([row["epsilon"] for row in rows]))
