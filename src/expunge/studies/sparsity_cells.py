"""What the study `sparsity` measures: scenarios of deletion, and the five-way evaluation against retraining."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from expunge.auditing import LiRA, Subject, candidates, retrain_references, shadows, tune
from expunge.auditing.confidence_mia import called_members
from expunge.auditing.outputs import outputs
from expunge.networks import CNN, MLP
from expunge.randomness import numpy_generator
from expunge.records import Records
from expunge.training import SGD, Magnitude, Model, Recipe, Trained, accuracy_on_test, train
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
    unlearn,
)

Row = dict[str, Any]

METHODS: Final[tuple[Method, ...]] = (
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
FEW: Final[tuple[Method, ...]] = (FineTune(), L1Sparse(), SalUn())
FIGURES: Final = ("ua", "mia", "ra", "ta")
BUDGET: Final = 4.0
"""Of the tuning of one method, as a share of one retraining: a choice is made once and used for all seeds."""


@dataclass(frozen=True, eq=False)
class Ground:
    """Records without a tenth that only tuning sees, and the recipe of the study.

    `small` pools images to at most 14 x 14 and takes 2,000 training and 1,000 test records at most.
    """

    records: Records
    validation: Records
    recipe: Recipe

    @staticmethod
    def of(records: Records, scale: str) -> "Ground":
        """Of the data that the study was given; the same for every seed."""
        chosen = shrunk(records) if scale == "small" else records
        rows = [row for row, part in enumerate(chosen.split) if part == "train"]
        held = set(
            numpy_generator(0, "study/sparsity/validation").permutation(rows)[: max(20, len(rows) // 10)].tolist()
        )
        image = len(chosen.shape) == 3 and min(chosen.shape[1:]) >= 8
        recipe = Recipe(
            network=CNN() if image else MLP((64,)), optimiser=SGD(lr=0.05, weight_decay=5e-4), epochs=15, batch_size=64
        )
        rest = [row for row in range(len(chosen)) if row not in held]
        return Ground(chosen.select(rest), chosen.select(sorted(held)), recipe)


def shrunk(records: Records) -> Records:
    """Few and small enough for five minutes."""
    kept: list[int] = []
    for part, most in (("train", 2000), ("test", 1000)):
        rows = [row for row, own in enumerate(records.split) if own == part]
        kept += sorted(numpy_generator(0, f"study/sparsity/{part}").permutation(rows)[:most].tolist())
    few = records.select(sorted(kept))
    if len(few.shape) == 3 and min(few.shape[1:]) > 16:
        return replace(few, features=nn.functional.adaptive_avg_pool2d(few.features, 14), raw=None)
    return few


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
    def of(ground: Ground, recipe: Recipe, trained: Trained, forget: Sequence[str], seed: int, count: int) -> "Scene":
        """Retrain `count` references; the first alone, for its time is what methods are held against."""
        left = ground.records.without(forget)
        started = time.perf_counter()
        first = train(replace(recipe, seed=seed + 7919), left).model
        seconds = time.perf_counter() - started
        others = retrain_references(recipe, left, count - 1, seed=seed)
        return Scene(ground, recipe, trained, tuple(forget), seed, (first, *others), seconds)

    def parts(self) -> tuple[Records, Records, Records]:
        """Forgotten, retained, and test records of the classes that are still trained."""
        train_part, gone = self.ground.records.train, set(self.forget)
        forgotten = train_part.select([row for row, one in enumerate(train_part.ids) if one in gone])
        retained = train_part.select([row for row, one in enumerate(train_part.ids) if one not in gone])
        test, kept = self.ground.records.test, set(retained.targets.tolist())
        return forgotten, retained, test.select([r for r, t in enumerate(test.targets.tolist()) if t in kept])

    def figures(self, model: Model) -> dict[str, float]:
        """UA, MIA-Efficacy, RA, TA in points of 100 (spec 2.2)."""
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
        }

    def weak_auc(self, model: Model) -> float:
        """AUC of one threshold on the confidence: forgotten against test records of trained classes."""
        gone, _, test = (outputs(model, part) for part in self.parts())
        return auc(gone.own, test.own)

    def exposures(self, models: Sequence[Model], count: int) -> list[float | None]:
        """LiRA's AUC for each model, by shadow models that are trained once for all."""
        if not count:
            return [None] * len(models)
        forgotten, retained, _ = self.parts()
        subject = Subject(
            self.recipe,
            self.trained.model,
            self.references[0],
            forgotten,
            retained,
            self.ground.records.test,
            self.references,
            self.seed,
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


def auc(members: np.ndarray, others: np.ndarray) -> float:
    """Of telling `members` from `others` by a score that is larger for members."""
    from sklearn.metrics import roc_auc_score

    marks = np.concatenate([np.ones(len(members)), np.zeros(len(others))])
    return float(roc_auc_score(marks, np.concatenate([members, others])))


def gap(one: dict[str, float], other: dict[str, float]) -> float:
    """Mean absolute difference over the four figures, in points: the literature's average gap."""
    return float(np.mean([abs(one[name] - other[name]) for name in FIGURES]))


def evaluated(scene: Scene, name: str, runs: Sequence[tuple[str, Any, float]], count: int) -> list[Row]:
    """A row for the original model, each reference and each run (method's name, result, share of time)."""
    known = [scene.figures(model) for model in scene.references]
    middle = {key: float(np.mean([each[key] for each in known])) for key in FIGURES}
    models = [scene.trained.model, *scene.references, *(done.trained.model for _, done, _ in runs)]
    seen = scene.exposures(models, count)
    labels = ["original", *["retrain"] * len(scene.references), *(label for label, *_ in runs)]
    shares = [0.0, *[1.0] * len(scene.references), *(share for *_, share in runs)]
    rows: list[Row] = []
    for number, (label, model, share, exposure) in enumerate(zip(labels, models, shares, seen, strict=True)):
        own = scene.figures(model)
        done = runs[number - 1 - len(scene.references)][1] if number > len(scene.references) else None
        rows.append(
            {
                "scenario": name,
                "method": label,
                "sparsity": _sparsity(scene.recipe),
                "seed": scene.seed,
                **own,
                "rte": share,
                "gap": _floor(known, number - 1) if label == "retrain" else gap(own, middle),
                "exposure": exposure,
                "weak_auc": scene.weak_auc(model),
                **_of_run(done),
            }
        )
    return rows


def _of_run(done: Any) -> Row:
    """What only a method's run has."""
    if done is None:
        return {"evaluations_share": None, "chosen": None, "degraded": ""}
    share = done.cost.gradient_evaluations / done.retraining_evaluations
    return {"evaluations_share": share, "chosen": done.method, "degraded": " ".join(done.degraded)[:300]}


def _floor(known: Sequence[dict[str, float]], number: int) -> float:
    """A reference's gap to the mean of the others: the noise floor that a method is read against."""
    others = [each for place, each in enumerate(known) if place != number]
    return gap(known[number], {key: float(np.mean([each[key] for each in others])) for key in FIGURES})


def _sparsity(recipe: Recipe) -> float:
    return recipe.pruning.sparsity if isinstance(recipe.pruning, Magnitude) else 0.0


def chosen(scene: Scene, methods: Sequence[Method]) -> list[Method]:
    """Each method with the hyper-parameters that validation chooses on this deletion."""
    return [
        tune(
            scene.trained,
            scene.ground.records,
            scene.forget,
            candidates(method, scene.recipe),
            scene.ground.validation,
            budget=BUDGET,
            seed=scene.seed,
        ).method
        for method in methods
    ]


def carried(scene: Scene, methods: Sequence[tuple[str, Method]]) -> list[tuple[str, Any, float]]:
    """Run methods and time them against retraining in the same run."""
    found = []
    for label, method in methods:
        started = time.perf_counter()
        done = unlearn(scene.trained, scene.ground.records, scene.forget, method, seed=scene.seed)
        found.append((label, done, (time.perf_counter() - started) / scene.retraining_seconds))
    return found


Forget = Callable[[Records, int], tuple[str, ...]]
"""Ids of the records to forget, for a seed."""


def one_class(records: Records, seed: int) -> tuple[str, ...]:
    """All training records of one class."""
    part = records.train
    labels = sorted(set(part.targets.tolist()))
    label = labels[(3 + seed) % len(labels)]
    return tuple(one for one, own in zip(part.ids, part.targets.tolist(), strict=True) if own == label)


def at_random(share: float) -> Forget:
    """A share of the training records, over all classes."""

    def draw(records: Records, seed: int) -> tuple[str, ...]:
        part = records.train
        order = numpy_generator(seed, f"study/sparsity/random/{share}").permutation(len(part))
        return tuple(part.ids[row] for row in sorted(order[: max(2, round(share * len(part)))]))

    return draw


def one_owner(records: Records, seed: int) -> tuple[str, ...]:
    """The records of an owner among those with most."""
    owners = list(records.train.owners)
    counts = sorted(((owners.count(one), one) for one in set(owners)), reverse=True)
    name = counts[seed % len(counts)][1]
    return tuple(one for one, own in zip(records.train.ids, owners, strict=True) if own == name)


def memorised(recipe: Recipe, share: float = 0.05) -> Forget:
    """Records that are learnt by heart: of lowest confidence in a model that was trained on the other half."""

    def draw(records: Records, seed: int) -> tuple[str, ...]:
        part = records.train
        order = numpy_generator(seed, "study/sparsity/halves").permutation(len(part))
        known = np.zeros(len(part))
        for mine, other in ((order[::2], order[1::2]), (order[1::2], order[::2])):
            model = train(replace(recipe, seed=seed), records.without([part.ids[row] for row in other])).model
            known[other] = outputs(model, part.select(other.tolist())).confidence
            del mine
        return tuple(part.ids[row] for row in sorted(np.argsort(known)[: max(2, round(share * len(part)))]))

    return draw


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
    untuned: bool = False,
) -> list[Row]:
    """Tune on the first seed's model, then run and evaluate every seed."""
    rows: list[Row] = []
    picked: list[tuple[str, Method]] = []
    for seed in seeds:
        recipe = replace(ground.recipe, seed=seed, pruning=Magnitude(sparsity) if sparsity else None)
        trained = train(recipe, ground.records)
        scene = Scene.of(ground, recipe, trained, forget(ground.records, seed), seed, references)
        if not picked:
            best = list(methods) if untuned else chosen(scene, methods)
            picked = [(method.describe().name, method) for method in best]
            picked += [("fine-tune at l1's rate", _bare(one)) for one in best if isinstance(one, L1Sparse)]
        rows += evaluated(scene, name, carried(scene, picked), shadow_count)
    return rows


def _bare(method: L1Sparse) -> FineTune:
    return FineTune(method.epochs, method.lr)


def doses(ground: Ground, seeds: Sequence[int]) -> list[Row]:
    """Class-wise fine-tuning at rising rates, and the penalty at rising gamma: UA against the dose."""
    rows = []
    for seed in seeds:
        recipe = replace(ground.recipe, seed=seed)
        trained = train(recipe, ground.records)
        scene = Scene.of(ground, recipe, trained, one_class(ground.records, seed), seed, 2)
        rate = recipe.stepwise.lr
        runs: list[tuple[str, Method]] = [("fine-tune", FineTune(lr=rate * each)) for each in (0.2, 1, 2, 4)]
        runs += [("l1-sparse", L1Sparse(lr=rate, gamma=gamma)) for gamma in (3e-4, 1e-3, 3e-3)]
        runs += [("l1-sparse, constant", L1Sparse(lr=rate, gamma=3e-3, trend="constant"))]
        for (_, method), (label, done, share) in zip(runs, carried(scene, runs), strict=True):
            body: dict[str, Any] = {"scenario": "dose", "method": label, "sparsity": 0.0, "seed": seed}
            body |= {**scene.figures(done.trained.model), "rte": share, "gap": None, "exposure": None}
            rows.append({**body, "lr": vars(method)["lr"], "gamma": vars(method).get("gamma")})
    return rows


def prune_first(ground: Ground, seeds: Sequence[int], levels: Sequence[float]) -> list[Row]:
    """Class-wise fine-tuning of a batch-norm network, dense and pruned: which sign does prune-first have here?"""
    rows: list[Row] = []
    wide = (512, 256) if prod(ground.records.shape) > 100 else (256, 128)
    for seed in seeds:
        for level in levels:
            recipe = replace(
                ground.recipe,
                network=MLP(wide, batch_norm=True),
                seed=seed,
                pruning=Magnitude(level) if level else None,
            )
            trained = train(recipe, ground.records)
            scene = Scene.of(ground, recipe, trained, one_class(ground.records, seed), seed, 2)
            rows += evaluated(scene, "prune-first", carried(scene, [("fine-tune", FineTune(lr=0.03))]), 0)
    return rows


def prod(shape: Sequence[int]) -> int:
    """Features of one record."""
    return int(np.prod(shape))


def sequential(ground: Ground, seeds: Sequence[int], methods: Sequence[Method]) -> list[Row]:
    """Four requests of 2.5 % after each other against one of 10 %."""
    rows = []
    for seed in seeds:
        recipe = replace(ground.recipe, seed=seed)
        trained = train(recipe, ground.records)
        forget = at_random(0.1)(ground.records, seed)
        scene = Scene.of(ground, recipe, trained, forget, seed, 2)
        for method in methods:
            name = method.describe().name
            started = time.perf_counter()
            now, left, done = trained, ground.records, None
            for part in np.array_split(np.array(forget), 4):
                done = unlearn(now, left, part.tolist(), method, seed=seed)
                now, left = done.trained, left.without(part.tolist())
            share = (time.perf_counter() - started) / scene.retraining_seconds
            once = carried(scene, [(f"{name}, at once", method)])
            rows += evaluated(scene, "sequential", [(f"{name}, four in a row", done, share), *once], 0)[3:]
    return rows


def backdoor(ground: Ground, seeds: Sequence[int]) -> list[Row]:
    """A patch in the corner with a label of the attacker's: what share of stamped test images still obeys it?"""
    rows = []
    for seed in seeds:
        records = ground.records
        part = records.train
        order = numpy_generator(seed, "study/sparsity/poison").permutation(len(part))
        poison = [part.ids[row] for row in sorted(order[: max(4, len(part) // 20)])]
        where = records.rows(poison)
        features, targets = records.features.clone(), records.targets.clone()
        features[where], targets[where] = stamped(features[where]), 0
        poisoned = replace(records, features=features, targets=targets, raw=None)
        recipe = replace(ground.recipe, seed=seed)
        trained = train(recipe, poisoned)
        rate = recipe.stepwise.lr
        tried: list[tuple[str, Method]] = [
            ("fine-tune", FineTune(lr=rate)),
            *[(f"l1-sparse {gamma:g}", L1Sparse(lr=rate, gamma=gamma)) for gamma in (1e-3, 3e-3)],
        ]
        started = time.perf_counter()
        again = train(replace(recipe, seed=seed + 1000), poisoned.without(poison))
        seconds = time.perf_counter() - started
        found: list[tuple[str, Model, float]] = [("original", trained.model, 0.0), ("retrain", again.model, 1.0)]
        for label, method in tried:
            started = time.perf_counter()
            model = unlearn(trained, poisoned, poison, method, seed=seed).trained.model
            found.append((label, model, (time.perf_counter() - started) / seconds))
        test = records.test
        others = [row for row, label in enumerate(test.targets.tolist()) if label != 0]
        for label, model, share in found:
            hit = 100 * float((model.predict(stamped(test.features[others])) == 0).double().mean())
            clean = 100 * accuracy_on_test(model, records)
            body: dict[str, Any] = {"scenario": "backdoor", "method": label, "sparsity": 0.0, "seed": seed}
            body |= {"ua": None, "mia": None, "ra": None, "ta": clean, "rte": share, "gap": None, "exposure": None}
            rows.append({**body, "asr": hit})
    return rows


def stamped(features: torch.Tensor) -> torch.Tensor:
    """A bright square near the lower right corner: a seventh of the image a side, two pixels at least."""
    side = max(2, features.shape[-1] // 7)
    found = features.clone()
    found[..., -side - 1 : -1, -side - 1 : -1] = features.max()
    return found


def transfer(ground: Ground, seeds: Sequence[int]) -> list[Row]:
    """Train on most classes, forget some of them, and probe the features on the classes that were never trained."""
    rows = []
    labels = sorted(set(ground.records.targets.tolist()))
    source = labels[: round(0.7 * len(labels))]
    for seed in seeds:
        inside = ground.records.select([r for r, t in enumerate(ground.records.targets.tolist()) if t in source])
        outside = ground.records.select([r for r, t in enumerate(ground.records.targets.tolist()) if t not in source])
        gone = set(numpy_generator(seed, "study/sparsity/transfer").permutation(source)[: max(1, len(source) // 3)])
        part = inside.train
        forget = [one for one, own in zip(part.ids, part.targets.tolist(), strict=True) if own in gone]
        recipe = replace(ground.recipe, seed=seed)
        trained = train(recipe, inside)
        started = time.perf_counter()
        again = train(recipe, inside.without(forget))
        seconds = time.perf_counter() - started
        found: list[tuple[str, Model, float]] = [("original", trained.model, 0.0), ("retrain", again.model, 1.0)]
        rate = recipe.stepwise.lr
        for method in (FineTune(lr=rate), L1Sparse(lr=rate, gamma=1e-3)):
            started = time.perf_counter()
            model = unlearn(trained, inside, forget, method, seed=seed).trained.model
            found.append((method.describe().name, model, (time.perf_counter() - started) / seconds))
        for label, model, share in found:
            body: dict[str, Any] = {"scenario": "transfer", "method": label, "sparsity": 0.0, "seed": seed}
            body |= {"ua": None, "mia": None, "ra": None, "ta": None, "rte": share, "gap": None, "exposure": None}
            rows.append({**body, "probe": 100 * probed(model, outside)})
    return rows


def probed(model: Model, records: Records) -> float:
    """Test accuracy of a linear classifier on the features before the last layer."""
    from sklearn.linear_model import LogisticRegression

    module = model.module()
    last = [part for part in module.modules() if isinstance(part, nn.Linear)][-1]
    seen: list[torch.Tensor] = []
    handle = last.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].detach().flatten(1)))
    with torch.no_grad():
        module(records.train.features)
        module(records.test.features)
    handle.remove()
    probe = LogisticRegression(max_iter=2000).fit(seen[0].numpy(), records.train.targets.numpy())
    return float(probe.score(seen[1].numpy(), records.test.targets.numpy()))


def pairs(rows: Sequence[Row], scenario_name: str) -> Iterator[float]:
    """Gaps between every two retrained references of one seed: the noise floor itself."""
    own = [row for row in rows if row["scenario"] == scenario_name and row["method"] == "retrain"]
    for one, other in combinations(own, 2):
        if one["seed"] == other["seed"] and one["sparsity"] == other["sparsity"]:
            yield gap(one, other)
