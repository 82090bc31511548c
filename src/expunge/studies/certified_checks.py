"""Oracles and controls of the study `certified`: convex trials, noise that a network bears, fresh curves, poison."""

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from expunge.auditing import GaussianPoisoning
from expunge.networks import MLP, RandomFeatures, layout
from expunge.randomness import numpy_generator, torch_generator
from expunge.records import Records
from expunge.studies.certified_cells import processor_seconds, shrunk
from expunge.training import SGD, Constant, HeadSolver, Recipe, Trained, accuracy_on_test, train
from expunge.training.certifiable import certifiable_recipe
from expunge.training.curvature import conjugate_gradient
from expunge.training.head import Head, fixed_features, head_of, read_head, solve_head
from expunge.unlearning import (
    CertifiedHead,
    FineTune,
    Langevin,
    Method,
    Newton,
    NoisyFineTuning,
    OutputPerturbation,
    Retrain,
    RewindAndDescend,
    prepare,
    train_noisily,
    train_with_checkpoint,
    unlearn,
)
from expunge.unlearning.accounting import Constants, Privacy, theorem_bound
from expunge.unlearning.release import noised

Row = dict[str, Any]

BEND = (2 * math.sqrt(2)) / (6 * math.sqrt(3))
"""Lipschitz constant of softmax's Hessian in the logits: a third central moment of a variable on an interval of length
R is at most R^3 / (6 sqrt 3), and a unit direction has R <= sqrt 2 on the classes. Times |x|^3 in the weights."""


def coverage(records: Records, seed: int, trials: int = 100) -> Row:
    """|w - w*| after one exact Newton step on strongly convex problems, against each bound that a provider could state.

    The computed one (gradient norm over l2), the theorem's Delta with every constant known, and the diameter 2C that
    needs no theorem: C = sqrt(2 ln K / l2) holds every optimum, for F(w*) <= F(0).
    """
    features = _projected(records.train.features.flatten(1).double(), 20, seed)
    count = min(2000, len(features))
    found = [_trial(features, records.train.targets, records.classes, count, seed, trial) for trial in range(trials)]

    def middle(name: str) -> float:
        return float(np.median([each[name] for each in found]))

    return {
        "trials": trials,
        "inside": sum(each["error"] <= each["computed"] + 1e-9 for each in found),
        "inside_theorem": sum(each["error"] <= each["theorem"] for each in found),
        "newton_error_over_no_op": middle("share"),
        "worst_newton_error_over_no_op": max(each["share"] for each in found),
        "gradient_identity_error": max(each["identity"] for each in found),
        "error": middle("error"),
        "computed_bound": middle("computed"),
        "theorem_bound": middle("theorem"),
        "diameter": middle("diameter"),
        "smaller": "2C" if middle("diameter") <= middle("theorem") else "theorem",
    }


def _trial(features: Tensor, targets: Tensor, classes: int, count: int, seed: int, trial: int) -> Row:
    generator = torch_generator(seed, f"study/certified/coverage/{trial}")
    rows, gone = torch.randperm(len(features), generator=generator)[:count], max(1, count // 50)
    l2 = 10 ** (-3 + 1.7 * torch.rand(1, generator=generator).item())
    whole, kept, left = (Head(features[r], targets[r], classes, l2) for r in (rows, rows[gone:], rows[:gone]))
    start, best = (solve_head(head, gradient_norm=1e-12).weights for head in (whole, kept))
    step = _newton(kept, start)
    error, nothing = float((step - best).norm()), float((start - best).norm())
    by_parts = (count * whole.gradient(start) - gone * left.gradient(start)) / (count - gone)
    size, radius = float(features[rows].norm(dim=1).max()), math.sqrt(2 * math.log(classes) / l2)
    bound = theorem_bound(Constants(radius, 0.0, BEND * size**3, l2))
    return {
        "error": error,
        "share": error / nothing,
        "computed": kept.distance_bound(step),
        "theorem": bound.delta_w,
        "diameter": bound.trivial,
        "identity": float((by_parts - kept.gradient(start)).norm() / kept.gradient(start).norm()),
    }


def _newton(head: Head, start: Tensor) -> Tensor:
    look = head.look(start)
    found = conjugate_gradient(head.product(look.shares), -look.gradient.reshape(-1), tolerance=1e-6)
    return start + found.x.view_as(start)


def head_check(records: Records, seed: int) -> list[Row]:
    """One Newton step for a hundredth of the records: residual measured, against what could be said beforehand.

    The bound is that of Guo et al. (2020, corollary 1), for softmax: BEND |X|_2 |step|_2 |X step|_2 / n.
    """
    rows = []
    gone = max(1, len(records.train) // 100)
    for l2 in (1e-3, 1e-4):
        recipe = certifiable_recipe(records.shape, records.classes, seed=seed, l2=l2)
        trained = train(replace(recipe, epochs=300), records)
        found = head_of(trained.model.module())
        assert found is not None
        part = records.train
        features = fixed_features(trained.model.module(), part.features)
        head = Head(features[gone:], part.targets[gone:], part.classes, l2)
        start = read_head(trained.model.constituents[0] or {}, found[0])
        step = _newton(head, start) - start
        spread = float(torch.linalg.eigvalsh(head.features.T @ head.features)[-1].sqrt())
        bound = BEND * spread * float(step.norm()) * float((head.features @ step).norm()) / len(head.targets)
        residual = float(head.gradient(start + step).norm())
        noise = {f"accuracy_noise_{size:g}": _blurred(trained, records, size, seed) for size in (0, 0.02, 0.1, 0.5)}
        rows.append({"l2": l2, "residual": residual, "bound": bound, "bound_over_residual": bound / residual, **noise})
    return rows


def tolerance(records: Records, seed: int) -> Row:
    """Test accuracy of a network whose every weight gets noise: what a network bears."""
    trained = train(Recipe(network=MLP((64,)), optimiser=SGD(lr=0.05), batch_size=64, epochs=20, seed=seed), records)
    return {f"accuracy_noise_{size:g}": _blurred(trained, records, size, seed) for size in (0, 0.001, 0.01, 0.03, 0.1)}


def _blurred(trained: Trained, records: Records, noise: float, seed: int) -> float:
    model = trained.model
    state, where = model.constituents[0] or {}, layout(model.module())
    key = seed.to_bytes(32, "big")
    point = where.flatten(state)
    moved = where.unflatten(noised(point, noise, key, f"study/blurred/{noise}"))
    return accuracy_on_test(replace(model, constituents=({**state, **moved},)), records)


def curves(records: Records, seed: int, lengths: tuple[int, ...]) -> list[Row]:
    """Test accuracy so many epochs after the certificate, beside a fresh network with as many (check 16)."""
    recipe = Recipe(network=MLP((64,)), optimiser=SGD(lr=0.05), batch_size=64, epochs=20, seed=seed)
    drawn = numpy_generator(seed, "study/certified/curves").permutation(len(records.train))
    forget = tuple(records.train.ids[row] for row in drawn[: max(1, len(drawn) // 100)])
    left, trained = records.without(forget), train(recipe, records)
    balls = [OutputPerturbation(radius=radius) for radius in (0.01, 0.1, 1.0)]
    kinds: dict[str, OutputPerturbation | NoisyFineTuning] = {
        f"output-perturbation, radius {b.radius:g}": b for b in balls
    }
    kinds["noisy-fine-tuning"] = NoisyFineTuning()
    rows = []
    for epochs in lengths:
        fresh = train(replace(recipe, epochs=epochs, seed=seed + 1), left).model
        row = {"epochs": epochs, "fresh network": accuracy_on_test(fresh, left)}
        for name, method in kinds.items():
            done = unlearn(trained, records, forget, replace(method, epochs=float(epochs)))
            row[name] = accuracy_on_test(done.trained.model, left)
        rows.append(row)
    return rows


def poison(records: Records, seed: int) -> list[Row]:
    """Whether Gaussian poison in the forgotten records is still found after each method (check 14)."""
    audit = GaussianPoisoning()
    count = max(20, len(records.train) // 50)
    drawn = numpy_generator(seed, "study/certified/poison").permutation(len(records.train))[:count]
    forget = tuple(records.train.ids[row] for row in drawn)
    marked = audit.mark(records, forget, seed=seed)
    network = Recipe(network=MLP((64,)), optimiser=SGD(lr=0.05), batch_size=64, epochs=20, seed=seed)
    whole = train(network, marked.records)
    solved = train(certifiable_recipe(records.shape, records.classes, seed=seed), marked.records)
    rows = [{"method": "none", "claim": "", "z": audit.score(whole.model, marked).z}]
    rows.append({"method": "none, fixed features", "claim": "", "z": audit.score(solved.model, marked).z})
    methods: tuple[Method, ...] = (
        Retrain(),
        CertifiedHead(),
        NoisyFineTuning(),
        OutputPerturbation(),
        FineTune(epochs=5),
        Newton(damping=1.0, noise=0.001),
    )
    for method in methods:
        start = solved if isinstance(method, CertifiedHead) else whole
        done = unlearn(start, marked.records, forget, method)
        score = audit.score(done.trained.model, marked)
        rows.append({"method": method.describe().name, "claim": str(done.claim.kind), "z": score.z})
    return rows


def from_the_start(records: Records, seed: int) -> list[Row]:
    """Methods whose training must be made for them, on a convex head and at most 2,000 small images."""
    few = shrunk(
        records.select([records.row_of[name] for name in (*records.train.ids[:2000], *records.test.ids[:500])])
    )
    recipe = Recipe(
        network=RandomFeatures(200),
        optimiser=SGD(lr=0.01, momentum=0.0, weight_decay=1e-2),
        schedule=Constant(),
        epochs=200,
        batch_size=len(few.train),
        seed=seed,
    )
    forget = few.train.ids[: max(1, len(few.train) // 100)]
    plain = train(recipe, few)
    again, whole = processor_seconds(lambda: unlearn(plain, few, forget, Retrain()))
    rewind = RewindAndDescend(150)
    kept = train_with_checkpoint(recipe, few, rewind.rewound)
    noise = 1.001 * rewind.bound(prepare(kept, few, forget)).distance / Privacy().share
    langevin = Langevin(covered=len(forget), lr=0.05, steps=40)
    noisy = train_noisily(recipe, few, langevin)
    solved = train(replace(recipe, optimiser=HeadSolver(l2=1e-2)), few)
    tries: tuple[tuple[Trained, Method, float], ...] = (
        (kept, replace(rewind, noise=noise), noise),
        (noisy, langevin, langevin.sigma(len(few.train))),
        (solved, CertifiedHead(requests=1), CertifiedHead().noise),
    )
    rows = []
    for start, method, sigma in tries:
        done, seconds = processor_seconds(partial(unlearn, start, few, forget, method))
        rows.append(
            {
                "method": method.describe().name,
                "claim": str(done.claim.kind),
                "epsilon": done.claim.epsilon,
                "sigma": sigma,
                "accuracy_test": accuracy_on_test(done.trained.model, few),
                "accuracy_retrained": accuracy_on_test(again.trained.model, few),
                "time_share": seconds / whole,
            }
        )
    return rows


def _projected(features: Float[Tensor, "records numbers"], width: int, seed: int) -> Float[Tensor, "records columns"]:
    """A fixed random projection to `width` numbers, and ones."""
    draw = torch.randn(features.shape[1], width, generator=torch_generator(seed, "study/project"), dtype=torch.float64)
    flat = features @ draw / features.shape[1] ** 0.5
    return torch.cat([flat, torch.ones(len(flat), 1, dtype=torch.float64)], 1)
