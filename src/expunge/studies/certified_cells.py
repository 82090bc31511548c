"""What the study `certified` measures: one model after one deletion, solvers side by side, games, coverage."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from expunge.auditing import play
from expunge.networks import MLP, State, initialise
from expunge.randomness import derive, torch_generator
from expunge.records import Records
from expunge.training import SGD, MemoryCheckpoints, Model, Recipe, Snapshot, accuracy_on_test, train
from expunge.training.curvature import (
    PUBLIC_DEFAULTS,
    Curvature,
    Series,
    conjugate_gradient,
    extreme_eigenvalues,
    neumann,
)
from expunge.training.head import Head, solve_head
from expunge.unlearning import CertifiedHead, Method, NoisyFineTuning, OutputPerturbation, unlearn


def quality(model: Model, records: Records, forget: tuple[str, ...], reference: Model) -> dict[str, Any]:
    """Accuracy on the forgotten, retained and test records, F1, membership by loss, distance to the retrained model."""
    from sklearn.metrics import f1_score, roc_auc_score

    gone = records.train.select([row for row, record in enumerate(records.train.ids) if record in set(forget)])
    kept, test = records.without(forget).train, records.test
    losses = [_losses(model, part) for part in (gone, test)]
    marks = np.concatenate([np.ones(len(gone)), np.zeros(len(test))])
    predicted = model.predict(test.features).numpy()
    return {
        "accuracy_forgotten": _right(model, gone),
        "accuracy_retained": _right(model, kept),
        "accuracy_test": accuracy_on_test(model, records),
        "f1": float(f1_score(test.targets.numpy(), predicted, average="macro")),
        "membership_auc": float(roc_auc_score(marks, -np.concatenate(losses))),
        "distance_to_retrained": _distance(model, reference),
        "relearning_passes": _relearning(model, gone),
        "storage_bytes": len(model.file),
    }


@dataclass(frozen=True, eq=False)
class Timed:
    """A model, and the seconds and gradient evaluations that it took."""

    model: Model
    seconds: float
    evaluations: int
    claim: Any = None


def timed(make: Callable[[], Any]) -> Timed:
    """Run training or unlearning, and say what it took."""
    started = time.perf_counter()
    result = make()
    seconds = time.perf_counter() - started
    trained = getattr(result, "trained", result)
    return Timed(trained.model, seconds, result.cost.gradient_evaluations, getattr(result, "claim", None))


@dataclass
class _Kept(MemoryCheckpoints):
    """Keeps every snapshot."""

    kept: dict[int, State] = field(default_factory=dict)

    def save_snapshot(self, name: str, snapshot: Snapshot) -> None:
        self.kept[snapshot.step] = snapshot.state


def way(recipe: Recipe, records: Records, looks: int = 20) -> list[tuple[int, float]]:
    """(gradient evaluations, test accuracy) along the training of `recipe`: what stopping early would have cost."""
    width = min(recipe.batch_size, len(records.train))
    steps = max(1, round(recipe.epochs * len(records.train) / width / looks))
    store = _Kept(every=steps)
    final = train(recipe, records, checkpoints=store)
    moments = [(step * width, state) for step, state in sorted(store.kept.items())]
    moments.append((final.cost.gradient_evaluations, final.model.constituents[0] or {}))
    shape, classes = final.model.shape, final.model.classes
    return [(work, accuracy_on_test(Model(recipe, shape, classes, (state,)), records)) for work, state in moments]


def stopped_at(moments: list[tuple[int, float]], accuracy: float) -> int | None:
    """The evaluations after which `accuracy` was first seen."""
    return next((work for work, seen in moments if seen >= accuracy), None)


def solvers(records: Records, seed: int, scale: str) -> list[dict[str, Any]]:
    """Inverse-Hessian products on one small network: exact, conjugate gradient, and the series in three forms."""
    part = records.train.select(range(min(len(records.train), 1000)))
    recipe = Recipe(network=MLP((6,)), optimiser=SGD(lr=0.05), epochs=20, seed=seed)
    small = _shrunk(part)
    state = train(recipe, small).model.constituents[0] or {}
    module = initialise(recipe.network, small.shape, small.classes, seed=seed, name="network")
    module.load_state_dict(state)
    bare = Curvature.of(module.double(), small)
    ends = extreme_eigenvalues(bare.product, bare.size, steps=60, dtype=torch.float64)
    curvature = replace(bare, damping=0.1 + max(0.0, -ends.lower))
    gradient = curvature.gradient
    exact = curvature.solve(gradient)
    rows = []

    def line(name: str, run: Callable[[], Any]) -> None:
        started = time.perf_counter()
        found = run()
        seconds = time.perf_counter() - started
        error = float((found.x - exact).norm() / exact.norm())
        rows.append({"solver": name, "products": found.products, "seconds": seconds, "relative_error": error})

    deep = Series(depth=int(8 * ends.top / curvature.damping) + 50)
    line("series, automatic scale", lambda: neumann(curvature, gradient, deep))
    loose = _tolerance(curvature, gradient, exact, rows[0]["relative_error"])
    again = replace(curvature)  # without what the runs before have prepared
    line("conjugate gradient, same error", lambda: conjugate_gradient(again.product, gradient, tolerance=loose))
    public = replace(PUBLIC_DEFAULTS, repetitions=1 if scale == "small" else 10)
    poor = replace(bare, damping=0.01 + max(0.0, -ends.lower))
    exact = poor.solve(gradient)
    line("series, public defaults", lambda: neumann(poor, gradient, public))
    easy = _tolerance(poor, gradient, exact, rows[2]["relative_error"])
    anew = replace(poor)
    line("conjugate gradient, same error as public", lambda: conjugate_gradient(anew.product, gradient, tolerance=easy))
    return rows


def _tolerance(curvature: Curvature, gradient: Tensor, exact: Tensor, error: float) -> float:
    """The loosest tolerance at which conjugate gradient is no worse."""
    for tolerance in (0.5, 0.3, 0.1, 0.03, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 1e-5, 1e-6, 1e-8):
        found = conjugate_gradient(curvature.product, gradient, tolerance=tolerance)
        if float((found.x - exact).norm() / exact.norm()) <= error:
            break
    return tolerance


def coverage(records: Records, seed: int, trials: int = 100) -> dict[str, Any]:
    """|w - w*| against its computed bound, after one Newton step on strongly convex problems drawn from the data."""
    features = _projected(records.train.features.flatten(1).double(), 20, seed)
    inside, shares = 0, []
    for trial in range(trials):
        generator = torch_generator(seed, f"study/certified/coverage/{trial}")
        rows = torch.randperm(len(features), generator=generator)[:400]
        l2 = 10 ** (-3 + 2 * torch.rand(1, generator=generator).item())
        whole = Head(features[rows], records.train.targets[rows], records.classes, l2)
        kept = Head(features[rows[8:]], records.train.targets[rows[8:]], records.classes, l2)
        start, best = (solve_head(head, gradient_norm=1e-11).weights for head in (whole, kept))
        step = solve_head(kept, start, gradient_norm=1e-14, steps=1).weights
        error = float((step - best).norm())
        inside += error <= kept.distance_bound(step) + 1e-9
        shares.append(error / float((start - best).norm()))
    return {"trials": trials, "inside": inside, "newton_error_over_no_op": float(np.median(shares))}


def games(records: Records, seed: int, runs: int) -> list[dict[str, Any]]:
    """The membership game for every certified method, and for one that adds a tenth of its noise."""
    few = _shrunk(records.select([*range(min(len(records), 260))]))
    forget = few.train.ids[:20]
    trained = train(Recipe(network=MLP(()), optimiser=SGD(lr=0.05), epochs=60, batch_size=32, seed=seed), few)
    retrained = train(trained.model.recipe, few.without(forget))
    rows = []
    short = (NoisyFineTuning(steps=5, batch_size=32, epochs=0), OutputPerturbation(radius=1.0, epochs=0))
    for method in short:
        run = _sides(few, forget, trained, retrained, method, seed)
        rows.append(_row(method.describe().name, method.epsilon, *run, runs, method.delta))
    rows += _head_games(few, forget, seed, runs)
    return rows


def _sides(
    few: Records, forget: tuple[str, ...], trained: Any, retrained: Any, method: Method, seed: int
) -> tuple[Callable[[int], Any], Callable[[int], Any]]:
    """Releases from the model that saw the forgotten records, and from one that never did: both starts in the ball."""

    def run(start: Any, number: int) -> Any:
        result = unlearn(start, few, forget, method, seed=derive(seed, f"game/{number}"))
        state = result.trained.model.constituents[0] or {}
        return torch.cat([part.reshape(-1) for part in state.values()]).double().numpy()

    return (lambda number: run(trained, number)), (lambda number: run(retrained, number))


def _head_games(few: Records, forget: tuple[str, ...], seed: int, runs: int) -> list[dict[str, Any]]:
    """The head at the residual that it really reaches, and at the largest that its certificate allows."""
    l2, method = 1e-3, CertifiedHead(requests=1)
    kept = few.without(forget).train
    whole, left = (
        Head(_projected(part.features.flatten(1).double(), 10, seed), part.targets, few.classes, l2)
        for part in (few.train, kept)
    )
    allowed = method.noise * method.privacy.share
    start = solve_head(whole, gradient_norm=1e-10).weights
    optimum = solve_head(left, gradient_norm=1e-12).weights
    reached = solve_head(left, start, gradient_norm=allowed * l2).weights
    worst = optimum + (start - optimum) * (allowed / float((start - optimum).norm()))

    def noisy(at: Tensor, share: float, number: int) -> Any:
        noise = torch.randn(at.shape, generator=torch_generator(seed, f"game/head/{number}"), dtype=torch.float64)
        return (at + share * method.noise * noise).flatten().numpy()

    rows = []
    for name, at, share in (
        ("certified-head", reached, 1.0),
        ("certified-head, worst residual allowed", worst, 1.0),
        ("broken on purpose: a tenth of the noise", worst, 0.1),
    ):
        sides = (lambda n, at=at, s=share: noisy(at, s, n)), (lambda n, s=share: noisy(optimum, s, n))
        rows.append(_row(name, method.epsilon, *sides, runs, method.delta))
    return rows


def _row(name: str, claimed: float, release: Any, reference: Any, runs: int, delta: float) -> dict[str, Any]:
    shown = play(release, reference, runs, delta)
    return {
        "game": name,
        "runs": runs,
        "claimed_epsilon": claimed,
        "shown_epsilon": shown.epsilon,
        "violated": shown.refutes(claimed),
    }


def _shrunk(records: Records) -> Records:
    """At most 8 x 8 features a record: small enough for the exact solution; tables keep their columns."""
    features = records.features
    if features.dim() == 4:
        return replace(records, features=nn.functional.adaptive_avg_pool2d(features, 8)[:, :1])
    return records


def _projected(features: Tensor, width: int, seed: int) -> Tensor:
    """A fixed random projection to `width` numbers, and ones."""
    draw = torch.randn(features.shape[1], width, generator=torch_generator(seed, "study/project"), dtype=torch.float64)
    flat = features @ draw / features.shape[1] ** 0.5
    return torch.cat([flat, torch.ones(len(flat), 1, dtype=torch.float64)], 1)


def _losses(model: Model, part: Records) -> Any:
    return nn.functional.cross_entropy(model.logits(part.features), part.targets, reduction="none").numpy()


def _right(model: Model, part: Records) -> float:
    return float((model.predict(part.features) == part.targets).float().mean())


def _distance(model: Model, other: Model) -> float | None:
    """Euclidean, over the parameters; `None` between different networks."""
    one, two = model.constituents[0] or {}, other.constituents[0] or {}
    if {name: part.shape for name, part in one.items()} != {name: part.shape for name, part in two.items()}:
        return None
    return float(torch.cat([(one[name] - two[name]).reshape(-1) for name in one]).norm())


def _relearning(model: Model, gone: Records, looks: int = 100) -> int | None:
    """Full passes of plain descent on the forgotten records until their mean loss is below 0.1; `None` if never."""
    module = model.module().train()
    optimiser = torch.optim.SGD([part for part in module.parameters() if part.requires_grad], 0.02, momentum=0.9)
    for passes in range(looks):
        loss = model.recipe.loss.mean(module(gone.features), gone.targets)
        if loss.item() < 0.1:
            return passes
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return None
