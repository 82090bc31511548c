"""One deletion of the study `sparsity`: tuned methods, five figures against retraining, and seconds."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np

from expunge.auditing import LiRA, Subject, Tuned, agreed, candidates, retrain_references, shadows, tune
from expunge.auditing.confidence_mia import called_members
from expunge.auditing.divergence import divergence
from expunge.auditing.outputs import outputs
from expunge.plain import encode
from expunge.randomness import numpy_generator
from expunge.records import Records
from expunge.studies.floor import CLASSIC
from expunge.studies.sparsity_ground import TUNING_SEED, Forget, Ground
from expunge.training import Magnitude, Model, Recipe, Trained, train
from expunge.unlearning import FineTune, L1Sparse, Method, Unlearned, unlearn

Row = dict[str, Any]

BUDGET: Final = 2.0
"""Of the tuning of one method, as a share of one retraining: a choice is made once and used for all seeds."""

BARE: Final = "fine-tune at l1's rate"
"""The control: what the penalty adds is against this."""

SMALL_RATE: Final = "class, small rate"
"""The paper's own comparison, at one small rate for both."""

Grid = Callable[[Method, Recipe], tuple[Method, ...]]
"""What tuning tries of a method."""


@dataclass(frozen=True)
class Pick:
    """A method as tuning on each of some deletions left it; `seconds` of it all, as a share of retraining's."""

    label: str
    method: Method
    tuned: tuple[Tuned, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Run:
    """One method carried out; `share` of retraining's processor seconds."""

    pick: Pick
    done: Unlearned
    share: float


@dataclass(frozen=True, eq=False)
class Scene:
    """One model, one deletion, and retrained references; references and shadow models are trained once."""

    ground: Ground
    recipe: Recipe
    trained: Trained
    forget: tuple[str, ...]
    seed: int
    references: tuple[Model, ...]
    retraining_seconds: float

    @staticmethod
    def of(ground: Ground, forget: Forget, seed: int, count: int, pruning: Magnitude | None = None) -> "Scene":
        """Train, and retrain `count` references; the first alone, for methods are held against its seconds."""
        recipe = replace(ground.recipe, seed=seed, pruning=pruning)
        trained, gone = _trained(recipe, ground.records), forget(ground.records, seed)
        first, seconds = _retrained(replace(recipe, seed=seed + 7919), ground.records, gone)
        left = ground.records.without(gone)
        others = retrain_references(recipe, left, count - 1, seed=seed) if count > 1 else ()
        return Scene(ground, recipe, trained, gone, seed, (first, *others), seconds)

    def parts(self) -> tuple[Records, Records, Records]:
        """Forgotten, retained, and test records of the classes that are still trained."""
        train_part, gone = self.ground.records.train, set(self.forget)
        forgotten = train_part.select([row for row, one in enumerate(train_part.ids) if one in gone])
        retained = train_part.select([row for row, one in enumerate(train_part.ids) if one not in gone])
        test, kept = self.ground.records.test, set(retained.targets.tolist())
        return forgotten, retained, test.select([r for r, t in enumerate(test.targets.tolist()) if t in kept])

    def figures(self, model: Model) -> dict[str, float]:
        """UA, MIA-Efficacy, RA, TA in points of 100 (spec 2.2), and the AUC of one threshold on the confidence."""
        gone, left, test = (outputs(model, part) for part in self.parts())
        count = min(len(left.own), len(test.own), 1000)
        draw = [
            numpy_generator(self.seed, f"study/sparsity/{side}").choice(len(each.own), count, replace=False)
            for side, each in (("members", left), ("others", test))
        ]
        members = called_members(left.own[draw[0]], test.own[draw[1]], gone.own)
        return {
            "ua": 100 * float(1 - gone.correct.mean()),
            "mia": 100 * float(1 - members.mean()),
            "ra": 100 * float(left.correct.mean()),
            "ta": 100 * float(test.correct.mean()),
            "weak_auc": auc(gone.own, test.own),
        }

    def exposures(self, models: Sequence[Model], count: int) -> list[float | None]:
        """LiRA's AUC for each model, by shadow models that are trained once for all."""
        if not count:
            return [None] * len(models)
        forgotten, retained, _ = self.parts()
        test, references = self.ground.records.test, self.references
        subject = Subject(
            self.recipe, self.trained.model, references[0], forgotten, retained, test, references, self.seed
        )
        found = shadows(subject, count, LiRA().most_others)
        if isinstance(found, str):
            return [None] * len(models)
        scores: list[float | None] = []
        for model in models:
            asked, beside = found.beside(model)
            observed = np.stack([each.confidence for each in beside])
            score = LiRA(count=count).score(asked.confidence, observed, found.included)
            scores.append(auc(score[: found.members], score[found.members :]))
        return scores

    def divergences(self, models: Sequence[Model]) -> list[float | None]:
        """Mean KL(retrained || model) over the forgotten records, in nats; of a retrained model from the others."""
        gone = self.parts()[0]
        known, logs = ([outputs(model, gone).logs for model in each] for each in (self.references, models))
        found: list[float | None] = []
        for model, own in zip(models, logs, strict=True):
            others = [other for other, reference in zip(known, self.references, strict=True) if reference is not model]
            apart = float(np.mean([divergence(other, own) for other in others])) if others else np.nan
            found.append(apart if np.isfinite(apart) else None)
        return found


@lru_cache(maxsize=4)
def _trained(recipe: Recipe, records: Records) -> Trained:
    """The model before: scenarios on the same ground share it."""
    return train(recipe, records)


@lru_cache(maxsize=4)
def _retrained(recipe: Recipe, records: Records, gone: tuple[str, ...]) -> tuple[Model, float]:
    """A model that never saw `gone`, and its processor seconds: deletions of the same records share it."""
    started = time.process_time()
    return train(recipe, records.without(gone)).model, time.process_time() - started


def auc(members: np.ndarray, others: np.ndarray) -> float:
    """Of telling `members` from `others` by a score that is larger for members."""
    from sklearn.metrics import roc_auc_score

    marks = np.concatenate([np.ones(len(members)), np.zeros(len(others))])
    return float(roc_auc_score(marks, np.concatenate([members, others])))


def gap(one: dict[str, float], other: dict[str, float]) -> float:
    """Mean absolute difference over the four figures, in points: the literature's average gap."""
    return float(np.mean([abs(one[name] - other[name]) for name in CLASSIC]))


def evaluated(scene: Scene, name: str, runs: Sequence[Run], shadow_count: int = 0) -> list[Row]:
    """A row for the original model, for each reference, and for each run."""
    known = [scene.figures(model) for model in scene.references]
    models = [scene.trained.model, *scene.references, *(run.done.trained.model for run in runs)]
    seen, apart = scene.exposures(models, shadow_count), scene.divergences(models)
    rows: list[Row] = []
    for number, (model, exposure, kl) in enumerate(zip(models, seen, apart, strict=True)):
        place, run = number - 1, runs[number - 1 - len(known)] if number > len(known) else None
        own = scene.figures(model)
        others = [each for at, each in enumerate(known) if at != place] or known
        middle = {key: float(np.mean([each[key] for each in others])) for key in CLASSIC}
        weak = {"exposure": exposure, "weak_auc": own.pop("weak_auc"), "kl": kl}
        label = run.pick.label if run else "retrain" if number else "original"
        body = row(name, label, scene, **own, rte=_share(number, run), gap=gap(own, middle), **weak)
        rows.append({**body, **_of_run(run)})
    return rows


def row(name: str, method: str, scene: Scene | int, **figures: Any) -> Row:
    """A row with every column of the study; what was not measured is null."""
    seed, sparsity = (scene, 0.0) if isinstance(scene, int) else (scene.seed, _sparsity(scene.recipe))
    empty = dict.fromkeys(("ua", "mia", "ra", "ta", "rte", "gap", "exposure", "kl"))
    return {"scenario": name, "method": method, "sparsity": sparsity, "seed": seed, **empty, **figures}


def _share(number: int, run: Run | None) -> float:
    return run.share if run else float(number > 0)


def _of_run(run: Run | None) -> Row:
    """What only a method's run has: seconds with tuning, gradients, the recipe that was chosen, and its words."""
    if run is None:
        return {"rte_tuned": None, "evaluations_share": None, "chosen": None, "degraded": ""}
    share = run.done.cost.gradient_evaluations / run.done.retraining_evaluations
    words = " ".join(run.done.degraded)[:300]
    return {
        "rte_tuned": run.share + run.pick.seconds,
        "evaluations_share": share,
        "chosen": run.done.method,
        "degraded": words,
    }


def _sparsity(recipe: Recipe) -> float:
    return recipe.pruning.sparsity if isinstance(recipe.pruning, Magnitude) else 0.0


def picked(
    scenes: Sequence[Scene],
    methods: Sequence[Method],
    *,
    budget: float = BUDGET,
    mislabelled: bool = False,
    grid: Grid = candidates,
) -> list[Pick]:
    """Each method with the hyper-parameters that validation chooses on these deletions, and the control."""
    found = []
    for method in methods:
        started = time.process_time()
        tried = grid(method, scenes[0].recipe)
        tuned = tuple(_tuned(scene, tried, budget, mislabelled) for scene in scenes)
        seconds = (time.process_time() - started) / scenes[0].retraining_seconds
        found.append(Pick(method.describe().name, agreed(tuned), tuned, seconds))
    return [*found, *(_control(each) for each in found if isinstance(each.method, L1Sparse))]


def _tuned(scene: Scene, tried: Sequence[Method], budget: float, mislabelled: bool) -> Tuned:
    return tune(
        scene.trained,
        scene.ground.records,
        scene.forget,
        tried,
        scene.ground.validation,
        budget=budget,
        seed=scene.seed,
        mislabelled=mislabelled,
    )


def _control(pick: Pick) -> Pick:
    assert isinstance(pick.method, L1Sparse)
    bare = FineTune(pick.method.epochs, pick.method.lr, pick.method.schedule)
    return replace(pick, label=BARE, method=bare, tuned=())


def carried(scene: Scene, picks: Sequence[Pick]) -> list[Run]:
    """Run methods; processor seconds against those of retraining in the same process."""
    found = []
    for pick in picks:
        started = time.process_time()
        done = unlearn(scene.trained, scene.ground.records, scene.forget, pick.method, seed=scene.seed)
        found.append(Run(pick, done, (time.process_time() - started) / scene.retraining_seconds))
    return found


def scenario(
    ground: Ground,
    name: str,
    forget: Forget,
    seeds: Sequence[int],
    methods: Sequence[Method],
    *,
    sparsity: float = 0.0,
    references: int = 2,
    shadow_count: int = 0,
    budget: float = BUDGET,
    choosing: int = 1,
    grid: Grid = candidates,
) -> list[Row]:
    """Tune on a model and on `choosing` deletions of their own, then run and evaluate every seed.

    With shadow models the tuned methods are evaluated on the tuning seed as well: that is where a winner is chosen.
    """
    pruning = Magnitude(sparsity) if sparsity else None
    ahead = Scene.of(ground, forget, TUNING_SEED, references if shadow_count else 1, pruning)
    gone = [forget(ground.records, TUNING_SEED + more) for more in range(choosing)]
    picks = picked([replace(ahead, forget=each) for each in gone], methods, budget=budget, grid=grid)
    rows = [_tuning(ahead, name, pick, tuned) for pick in picks for tuned in pick.tuned]
    if shadow_count:
        rows += evaluated(ahead, f"{name}, choosing", carried(ahead, picks), shadow_count)
    for seed in seeds:
        scene = Scene.of(ground, forget, seed, references, pruning)
        rows += evaluated(scene, name, carried(scene, picks), shadow_count)
    return rows


def _tuning(scene: Scene, name: str, pick: Pick, tuned: Tuned) -> Row:
    """How a recipe was chosen: every trial on one deletion, its target, and the seconds over all deletions."""
    found = {**tuned.to_json(), "chosen": encode(pick.method)}
    return row(f"{name}, tuning", pick.label, scene, rte=pick.seconds, tuning=found)
