"""Hyper-parameters chosen by validation, within a budget, and without one retraining.

What a retrained model would do is estimated from records that no model was trained on: a forgotten record whose class
is still trained is as often wrong as validation records of that class, and one whose class is gone always is. So the
target costs nothing, and no test record and no retrained model is looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any, Final

import numpy as np

from expunge.auditing.confidence_mia import called_members
from expunge.auditing.outputs import outputs
from expunge.errors import ProgrammerError
from expunge.plain import encode
from expunge.progress import Progress, task
from expunge.randomness import numpy_generator
from expunge.records import Records
from expunge.training import Model, Recipe, Trained
from expunge.unlearning import Method, prepare

GRIDS: Final[dict[str, dict[str, tuple[Any, ...]]]] = {
    "fine-tune": {"schedule": ("cosine",), "epochs": (5, 10), "lr": (4.0, 8.0, 2.0)},
    "l1-sparse": {"schedule": ("cosine",), "epochs": (3, 10), "gamma": (1e-3, 3e-3, 3e-4), "lr": (2.0, 3.0)},
    "gradient-ascent": {"lr": (0.1, 0.03, 0.3, 1.0)},
    "neg-grad-plus": {"lr": (0.2, 0.6, 2.0), "alpha": (0.95, 0.8)},
    "random-labels": {"lr": (0.2, 0.06, 0.6, 0.02)},
    "salun": {"lr": (0.2, 0.06, 0.6, 0.02), "share": (0.5,)},
    "scrub": {"lr": (0.06, 0.2, 0.6, 2.0, 6.0)},
    "bad-teacher": {"lr": (0.2, 0.06), "bad": (0.5, 0.2, 0.05)},
    "boundary-shrink": {"lr": (0.2, 0.06, 0.02, 0.6)},
    "amun": {"epochs": (2, 5), "lr": (0.2, 0.6, 1.0)},
    "ssd": {"alpha": (10.0, 5.0, 2.0, 1.2, 1.0), "lam": (1.0, 0.3)},
    "influence": {"scale": (4.0, 8.0, 16.0, 1.0), "damping": (1e-2, 1e-1)},
    "fisher-forgetting": {"alpha": (1e-6, 1e-5, 3e-5, 1e-7)},
}
"""What is tried for each method, the likeliest first. Learning rates are multiples of the recipe's own."""

FEWEST: Final = 20
"""Validation records below which there is nothing to judge by."""

TIE: Final = 0.5
"""Points of distance that validation records cannot tell apart: of two so near, the cheaper is chosen."""

SEEN: Final = 500
"""Records of each side that the membership test is fitted on."""


@dataclass(frozen=True)
class Quality:
    """Points of 100: wrong on forgotten records, called non-members, right on retained, right on validation records."""

    ua: float
    mia: float
    ra: float
    va: float

    def distance(self, other: "Quality") -> float:
        """Mean of the absolute differences: what the literature calls the average gap."""
        return float(np.mean([abs(getattr(self, each.name) - getattr(other, each.name)) for each in fields(self)]))


@dataclass(frozen=True)
class Trial:
    """One method as it was tried, and where that ended."""

    method: Method
    quality: Quality
    distance: float
    evaluations: int
    degraded: tuple[str, ...]


@dataclass(frozen=True)
class Tuned:
    """The method that came nearest to the target, and how it was found.

    **Arguments:** `before`: distance of the model before, that is, of doing nothing; `evaluations`: gradients that all
    trials took; `budget`: what they were allowed; `untried`: candidates that the budget did not reach.
    """

    method: Method
    target: Quality
    before: float
    trials: tuple[Trial, ...]
    evaluations: int
    budget: int
    untried: int

    @property
    def idle(self) -> bool:
        """Whether no trial came nearer than the model before: the chosen method is then no better than none."""
        return min(trial.distance for trial in self.trials) >= self.before

    def to_json(self) -> dict[str, Any]:
        """Plain form, to be kept with the result."""
        return {
            "method": encode(self.method),
            "target": vars(self.target),
            "before": self.before,
            "idle": self.idle,
            "trials": [
                {
                    "method": encode(each.method),
                    **vars(each.quality),
                    "distance": each.distance,
                    "evaluations": each.evaluations,
                    "degraded": list(each.degraded),
                }
                for each in self.trials
            ],
            "evaluations": self.evaluations,
            "budget": self.budget,
            "untried": self.untried,
        }


def candidates(method: Method, recipe: Recipe) -> tuple[Method, ...]:
    """`method` at each point of its grid, rates in multiples of the recipe's; itself where it has no grid."""
    grid = GRIDS.get(method.describe().name, {})
    rate = recipe.stepwise.lr
    scaled = {name: tuple(rate * each for each in own) if name == "lr" else own for name, own in grid.items()}
    made: list[Any] = [method]
    return tuple(replace(made[0], **dict(zip(scaled, point, strict=True))) for point in product(*scaled.values()))


def tune(
    trained: Trained,
    records: Records,
    forget: Sequence[str],
    methods: Sequence[Method],
    validation: Records,
    *,
    budget: float = 1.0,
    seed: int = 0,
    mislabelled: bool = False,
    progress: Progress | None = None,
) -> Tuned:
    """Try `methods` in turn on this very deletion and keep the one nearest to what unseen records look like.

    Of those that are at most `TIE` points further than the nearest, and nearer than the model before, the one with the
    fewest gradients is kept: what cannot be told apart need not be paid for.

    **Arguments:**

    - `records`, `forget`: as for `unlearn`; `methods`: `candidates(method, recipe)`, or any others.
    - `validation`: at least `FEWEST` records that nobody trained on and that no figure will be reported on.
    - `budget`: gradients of all trials together, as a share of retraining's. The first trial always runs.
    - `mislabelled`: the forgotten labels are known to be wrong (poison): a retrained model would contradict them all.

    **Raises:** `ProgrammerError("bad-hyperparameter")` without methods or with too few validation records, and as
    `unlearn`.
    """
    if not methods or len(validation) < FEWEST or not records.classes:
        raise ProgrammerError("bad-hyperparameter", "tuning needs methods, classes, and 20 validation records")
    deletion = prepare(trained, records, forget, seed=seed)
    allowed = int(budget * deletion.retraining_evaluations)
    parts = _Parts(deletion.forgotten.train, deletion.retained.train, validation, seed)
    target = parts.target(trained.model)
    target = replace(target, ua=100.0, mia=100.0) if mislabelled else target
    trials: list[Trial] = []
    spent = 0
    with task(progress, "tuning", len(methods)) as advance:
        for method in methods:
            cost = method.plan(deletion).gradient_evaluations
            if trials and spent + cost > allowed:
                continue
            done = method.run(deletion)
            quality = parts.quality(done.trained.model)
            spent += done.cost.gradient_evaluations
            trials.append(
                Trial(method, quality, quality.distance(target), done.cost.gradient_evaluations, done.degraded)
            )
            advance()
    before = parts.quality(trained.model).distance(target)
    return Tuned(_best(trials, before), target, before, tuple(trials), spent, allowed, len(methods) - len(trials))


def _best(trials: Sequence[Trial], before: float) -> Method:
    sound = [trial for trial in trials if not trial.degraded] or list(trials)
    nearest = min(sound, key=lambda trial: trial.distance)
    ties = [trial for trial in sound if trial.distance <= min(nearest.distance + TIE, before)]
    return min(ties or [nearest], key=lambda trial: (trial.evaluations, trial.distance)).method


def agreed(found: Sequence[Tuned]) -> Method:
    """Of the methods that several tunings all tried, the one whose worst deletion is nearest to its target.

    One class, or one owner, is not like the next: what just suffices for one may fall short of another. Ties go to the
    cheapest, as in `tune`.

    **Arguments:** `found`: tunings over the same candidates, one for each deletion; at least one.
    """
    first, *others = ([trial.method for trial in each.trials] for each in found)
    common = [method for method in first if all(method in tried for tried in others)]
    worst = [max((t for each in found for t in each.trials if t.method == method), key=_badness) for method in common]
    return _best(worst, max(each.before for each in found))


def _badness(trial: Trial) -> tuple[bool, float]:
    return bool(trial.degraded), trial.distance


@dataclass(frozen=True, eq=False)
class _Parts:
    forgotten: Records
    retained: Records
    validation: Records
    seed: int

    def quality(self, model: Model, unseen: bool = False) -> Quality:
        """Of `model`; with `unseen`, half of the validation records stand in for the forgotten ones."""
        order = numpy_generator(self.seed, "tuning/validation").permutation(len(self.validation))
        first, second = (self.validation.select(sorted(half.tolist())) for half in np.array_split(order, 2))
        asked = outputs(model, second if unseen else self.forgotten)
        kept, held = outputs(model, self.retained), outputs(model, first)
        count = min(len(kept.own), len(held.own), SEEN)
        rows = [
            numpy_generator(self.seed, f"tuning/{side}").choice(len(each.own), count, replace=False)
            for side, each in (("kept", kept), ("held", held))
        ]
        finite = all(np.isfinite(each.own).all() for each in (kept, held, asked))
        members = called_members(kept.own[rows[0]], held.own[rows[1]], asked.own) if finite else np.ones(1, bool)
        known = np.isin(self.validation.targets.numpy(), self.retained.targets.unique().numpy())
        right = outputs(model, self.validation).correct[known]
        return Quality(
            100 * float(1 - asked.correct.mean()),
            100 * float(1 - members.mean()),
            100 * float(kept.correct.mean()),
            100 * float(right.mean()) if len(right) else 0.0,
        )

    def target(self, before: Model) -> Quality:
        """What a model that never saw the forgotten records would show, estimated from validation records."""
        wrong = ~outputs(before, self.validation).correct
        classes, left = self.validation.targets.numpy(), set(self.retained.targets.tolist())
        whole, errors = float(wrong.mean()), []
        for label in self.forgotten.targets.tolist():
            own = wrong[classes == label]
            errors.append(1.0 if label not in left else float(own.mean()) if len(own) else whole)
        gone = float(np.mean([label not in left for label in self.forgotten.targets.tolist()]))
        seen = self.quality(before, unseen=True)
        return Quality(100 * float(np.mean(errors)), 100 * gone + (1 - gone) * seen.mia, seen.ra, seen.va)
