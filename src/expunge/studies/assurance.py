"""Study `assurance`: are proofs sound, are planted faults found, does a case fall where it should.

Soundness and planted faults need no data. The predictor, sufficiency and the case need the table that `expunge glucose`
writes (`--target future --owner patient --record record --split split --regression`); other data answer the rest.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from expunge.assurance import Case, Check, Evaluation, Scene, Status, evaluate
from expunge.assurance.checks import CHECKS
from expunge.assurance.glucose import FEATURES
from expunge.assurance.inputs import subjects_of
from expunge.assurance.pancreas import CARBS, INSULIN, pancreas_case
from expunge.assurance.proofs import Holds
from expunge.assurance.sufficiency import group
from expunge.assurance.verification import (
    BoundedOutput,
    Budget,
    Hazard,
    Monotone,
    Property,
    Proved,
    Region,
    Verdict,
    Violated,
    fold,
    verify,
)
from expunge.ledger.signatures import SigningKey
from expunge.networks import MonotoneMLP
from expunge.randomness import derive, torch_generator
from expunge.records import Records
from expunge.reports.figures import bars
from expunge.reports.forms import Axis, Bar, Group
from expunge.reports.numbers import Measured
from expunge.reports.study import StudyFigure
from expunge.studies.assurance_glucose import Learners, glucose_rows, has_windows, windows_of
from expunge.studies.assurance_glucose_claims import glucose_claims, glucose_figures
from expunge.studies.claims import StudyClaim, share_claim
from expunge.studies.frame import Row, Setting
from expunge.training import SGD, Model, Recipe, SquaredError, train
from expunge.unlearning import Retrain, unlearn

NETWORKS = {"small": 20, "full": 100}
SAMPLES = {"small": 50_000, "full": 1_000_000}
"""Points per network, besides those of the attack: 10^6 in all, and 10^6 for each."""

BUDGET = Budget(boxes=20_000, nodes=500)
"""Work on one random network."""

MARGIN = 0.02
"""How far above what climbing reached a bound is set: proofs are made where they are hard."""

SUFFICIENCY = ("balanced", "complete", "coverage", "gaps", "independent", "outliers", "plausible")
"""What judges the training data alone."""

WITHOUT_GROUP = ("balanced", "complete", "held-out-complete")
"""What has to fall, and nothing else, where a group is in none of the data."""


RISING = tuple(FEATURES.index(name) for name in CARBS)
FALLING = tuple(FEATURES.index(name) for name in INSULIN)


@dataclass(frozen=True)
class AssuranceStudy:
    """Soundness, planted faults, the predictor on held-out patients, and the case around one deletion."""

    name: str = "assurance"
    recipe: Recipe = Recipe(
        network=MonotoneMLP((64, 1), RISING, FALLING),
        optimiser=SGD(lr=0.02, weight_decay=2e-3),
        loss=SquaredError(),
        epochs=20,
        batch_size=64,
    )
    learners: Learners = Learners()
    boxes: int = 10_000
    nodes: int = 300

    def cells(self, setting: Setting) -> Sequence[str]:
        """Soundness and faults once a seed; glucose once at small scale, once a seed at full; the case once."""
        parts = [f"{part}.seed-{seed}" for seed in setting.seeds for part in ("sound", "planted")]
        parts += [f"glucose.seed-{seed}" for seed in (setting.seeds[:1] if setting.scale == "small" else setting.seeds)]
        return [*parts, "case"] if has_windows(setting.records) else parts

    def run(self, setting: Setting, cell: str) -> list[Row]:
        """One cell."""
        if cell == "case":
            records = windows_of(setting)
            return [] if records is None else around_a_deletion(records, self.recipe, Holds(self.boxes, self.nodes))
        part, seed = cell.split(".seed-")
        if part == "glucose":
            return glucose_rows(setting, int(seed), self.learners)
        if part == "planted":
            return planted(int(seed))
        return [soundness(int(seed), n, SAMPLES[setting.scale]) for n in range(NETWORKS[setting.scale])]

    def claims(self, setting: Setting, rows: Sequence[Row]) -> list[StudyClaim]:
        """The marks of the study."""
        sound = [row for row in rows if row["part"] == "sound"]
        escapes = float(sum(row["escapes"] for row in sound))
        count = {word: float(sum(row["verdict"] == word for row in sound)) for word in ("proved", "unknown")}
        found = [row["found"] for row in rows if row["part"] == "planted"]
        marabou = "maraboupy is in no extra of Expunge: benchmarks/verification.py measures it where it is installed"
        return [
            StudyClaim("verify.sampled_escapes", escapes, None, "0", escapes == 0),
            StudyClaim("verify.proved", count["proved"]),
            share_claim("verify.violated_found", found, "1", lambda value: value == 1),
            StudyClaim("verify.unknown", count["unknown"]),
            StudyClaim("verify.speed_vs_marabou", None, None, ">= 10", None, marabou),
            *_case_claims([row for row in rows if row["part"] == "case"]),
            *glucose_claims(rows),
        ]

    def figures(self, setting: Setting, rows: Sequence[Row]) -> list[StudyFigure]:
        """Errors of the predictors, by group; and what the glucose cells drew."""
        del setting
        return [*_case_figures(rows), *glucose_figures(rows)]


def _case_figures(rows: Sequence[Row]) -> list[StudyFigure]:
    found = next((row for row in rows if row["part"] == "case"), None)
    if found is None:
        return []
    names = [key.removesuffix(" rmse") for key in found["predictor"] if key.endswith(" rmse")]
    kinds = ("rmse", "persistence", "linear")
    labels = {"rmse": "network", "persistence": "persistence", "linear": "linear autoregression"}
    groups = [
        Group(name, tuple(Bar(labels[kind], Measured(found["predictor"][f"{name} {kind}"])) for kind in kinds))
        for name in names
    ]
    drawing = bars("Error 30 minutes ahead on held-out patients", groups, Axis("RMSE, mg/dL"))
    return [StudyFigure(drawing, "Shorter is better; a predictor that loses to persistence is of no use.")]


def _network(seed: int, number: int, *widths: int) -> nn.Sequential:
    generator = torch_generator(seed, f"assurance/network/{number}")
    layers: list[nn.Module] = []
    for fan_in, fan_out in zip(widths, widths[1:], strict=False):  # noqa: RUF007
        layer = nn.Linear(fan_in, fan_out)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(fan_out, fan_in, generator=generator) * (2 / fan_in) ** 0.5)
            layer.bias.copy_(torch.randn(fan_out, generator=generator) * 0.1)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def soundness(seed: int, number: int, samples: int) -> Row:
    """Verify a random network against a bound that climbing from other points thinks is right by a little; then try to
    escape what is proved, be it a bound or only a least margin."""
    network = fold(_network(seed, number, 4, 16, 16, 1))
    drawn = torch_generator(seed, f"assurance/points/{number}")
    points = torch.rand(samples, 4, generator=drawn, dtype=torch.float64) * 2 - 1
    other = torch.rand(256, 4, generator=drawn, dtype=torch.float64) * 2 - 1
    highest = float(network(_climbed(network, other)).max()) + MARGIN
    started = time.monotonic()
    wanted = BoundedOutput(Region((-1.0,) * 4, (1.0,) * 4), -1e3, highest)
    answer = verify(network, wanted, budget=BUDGET, seed=derive(seed, f"assurance/attack/{number}"))
    tried = torch.cat([points, _climbed(network, points)])
    escapes = int((highest - network.run_deployed(tried) < _floor(answer)).sum())
    word = type(answer).__name__.lower()
    return {
        "part": "sound",
        "seed": seed,
        "network": number,
        "verdict": word,
        "escapes": escapes,
        "seconds": time.monotonic() - started,
    }


def _floor(answer: Verdict) -> float:
    """What every margin is said to lie above; a violation says nothing but that one lies below zero, and replays."""
    if isinstance(answer, Violated):
        return -torch.inf if answer.counterexample.margin < 0 else torch.inf
    return answer.bound if isinstance(answer, Proved) else answer.lower


def _climbed(network: object, points: Tensor) -> Tensor:
    """Projected-gradient ascent from some of the points."""
    z = points[:256].clone()
    for _ in range(40):
        z.requires_grad_()
        (slope,) = torch.autograd.grad(network(z).sum(), z)  # type: ignore[operator]
        z = (z.detach() + 0.05 * slope.sign()).clamp(-1, 1)
    return z


def planted(seed: int) -> list[Row]:
    """Networks made unsafe on purpose: each must be violated, with a counterexample that replays."""
    generator = torch_generator(seed, "assurance/planted")
    region = Region((-1.0,) * 3, (1.0,) * 3)
    at = float(torch.rand(1, generator=generator)) - 0.5
    first, second = nn.Linear(3, 2), nn.Linear(2, 1)
    with torch.no_grad():  # a narrow spike of height 1 at x_0 = at, over a level of 0
        first.weight.copy_(torch.tensor([[50.0, 0, 0], [-50.0, 0, 0]]))
        first.bias.copy_(torch.tensor([-50 * at, 50 * at]))
        second.weight.copy_(torch.tensor([[-1.0, -1.0]]))
        second.bias.fill_(1.0)
    spike = fold(nn.Sequential(first, nn.ReLU(), second))
    cases: dict[str, Property] = {
        "missed hazard": Hazard(region, 0.5, below=True),
        "bound": BoundedOutput(region, -1e3, 0.9),
        "not monotone": Monotone(region, (0.5, 0.0, 0.0), increasing=False, tolerance=0.1),
    }
    rows = []
    for fault, wanted in cases.items():
        answer = verify(spike, wanted, budget=Budget(boxes=20_000))
        replays = isinstance(answer, Violated) and answer.counterexample.margin < 0
        rows.append({"part": "planted", "seed": seed, "fault": fault, "found": replays})
    return rows


def around_a_deletion(records: Records, recipe: Recipe, holds: Holds) -> list[Row]:
    """The predictor, the case before and after a patient leaves, and sufficiency without one age group."""
    checks: dict[str, Check] = {**CHECKS, "property": holds}
    case, key, other = pancreas_case(), SigningKey.generate(), SigningKey.generate()
    trained = train(recipe, records)
    first = evaluate(case, checks, _scene(records, trained.model, key))
    owner, away = sorted(set(records.train.owners))[-1], sorted(set(records.test.owners))[-1]
    started = time.monotonic()
    gone = unlearn(trained, records, records.owned_by(owner), Retrain())
    scene = _scene(gone.records, gone.trained.model, key)
    after = evaluate(case, checks, scene, first.book)
    taken = time.monotonic() - started
    whole = evaluate(case, checks, _scene(gone.records, gone.trained.model, other))
    held_out = _scene(records.without(records.owned_by(away)).refit(), trained.model, key)
    figures = {n.check: first.standings[n.id].evidence for n in case.solutions if n.check in ("predicts", "error-grid")}
    found = {name: {} if each is None else dict(each.finding.figures) for name, each in figures.items()}
    return [
        {
            "part": "case",
            "nodes": len(case.nodes),
            "verdict_before": str(first.verdict),
            "verdict_after": str(after.verdict),
            "fallen_before": list(first.fallen),
            "fallen_after": list(after.fallen),
            "checks": len(case.solutions),
            "ran": len(after.ran),
            "ran_for_a_held_out_patient": len(evaluate(case, checks, held_out, first.book).ran),
            "same_as_whole": after.digest == whole.digest,
            "seconds_after_deletion": taken,
            "without_group": without_groups(case, first, records, trained.model),
            "predictor": found["predicts"],
            "clarke_ab": found["error-grid"].get("A+B"),
            "statuses": {word: sum(s.status == word for s in after.standings.values()) for word in Status},
        }
    ]


def without_groups(case: Case, before: Evaluation, records: Records, model: Model) -> dict[str, dict[str, list[str]]]:
    """For each group that is taken out of all data: the checks that held before and fail now, the goals above checks
    that stood before and are undermined now, and those that should be."""
    judged = {name: check for name, check in CHECKS.items() if name in SUFFICIENCY or name.startswith("held-out")}
    found = {}
    for name in sorted({group(each) for each in records.owners}):
        kept = records.select([row for row, each in enumerate(records.owners) if group(each) != name])
        now = evaluate(case, judged, _scene(kept, model, SigningKey.generate()))
        new = [n for n in _undermined(now) if before.standings[n].status is not Status.UNDERMINED]
        found[name] = {
            "checks": sorted(case.by_id[each].check for each in new if each in {n.id for n in case.solutions}),
            "goals": [each for each in new if each in _argued(case, set(CHECKS))],
            "expected": [n for n in _argued(case, set(WITHOUT_GROUP)) if n not in _undermined(before)],
        }
    return found


def _undermined(evaluation: Evaluation) -> list[str]:
    return [name for name, each in evaluation.standings.items() if each.status is Status.UNDERMINED]


def _argued(case: Case, checks: set[str]) -> list[str]:
    """Goals that solutions with these checks support."""
    named = {node.id for node in case.solutions if node.check in checks}
    return [node.id for node in case.nodes if named & set(node.supported_by)]


def _scene(records: Records, model: Model, key: SigningKey) -> Scene:
    subjects, digests = subjects_of(model, records)
    return Scene(subjects, digests, key, [key.public], "1970-01-01T00:00:00Z")


def _case_claims(rows: Sequence[Row]) -> list[StudyClaim]:
    names = ("predictor.rmse30", "predictor.rmse30_persistence", "predictor.clarke_ab", "sufficiency.red_without_group")
    more = ("case.nodes", "case.reevaluated_share", "case.time_after_deletion_s")
    if not rows:
        why = "these records are neither a raw table of glucose nor the features that `expunge glucose` writes"
        return [StudyClaim(name, None, why=why) for name in (*names, *more)]
    row = rows[0]
    ours, simple = row["predictor"]["all rmse"], row["predictor"]["all persistence"]
    red = [
        each["checks"] == list(WITHOUT_GROUP) and sorted(each["goals"]) == sorted(each["expected"])
        for each in row["without_group"].values()
    ]
    taken = row["seconds_after_deletion"]
    return [
        StudyClaim(names[0], ours, None, "< persistence", ours < simple),
        StudyClaim(names[1], simple),
        StudyClaim(names[2], row["clarke_ab"], None, ">= 0.95", row["clarke_ab"] >= 0.95),
        share_claim(names[3], red, "1", lambda value: value == 1),
        StudyClaim(more[0], float(row["nodes"])),
        StudyClaim(more[1], row["ran"] / row["checks"], None, "< 1, same digest as all anew", _minimal(row)),
        StudyClaim(more[2], taken, None, "< 300", taken < 300),
    ]


def _minimal(row: Row) -> bool:
    """Less than everything ran again, and a full evaluation by somebody else says the same."""
    return bool(row["ran"] < row["checks"] and row["same_as_whole"])
