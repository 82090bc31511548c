"""The membership game for every method that claims an epsilon: its runs against its own reference, and one cheat."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from expunge.auditing import play
from expunge.networks import MLP, RandomFeatures, layout
from expunge.records import Records
from expunge.studies.certified_cells import shrunk
from expunge.training import SGD, Constant, HeadSolver, Model, Recipe, Trained, train
from expunge.training.head import Head, fixed_features, read_head, solve_head
from expunge.unlearning import (
    CertifiedHead,
    Langevin,
    Method,
    Newton,
    NoisyFineTuning,
    OutputPerturbation,
    RewindAndDescend,
    prepare,
    train_noisily,
    train_with_checkpoint,
    unlearn,
)
from expunge.unlearning.accounting import Privacy, epsilon_of, mu_of
from expunge.unlearning.release import gaussian

EPSILON, DELTA, L2 = 1.0, 1e-5, 1e-2
CONVEX = Recipe(network=RandomFeatures(12), optimiser=HeadSolver(l2=L2), epochs=200)
DESCENT = replace(
    CONVEX, optimiser=SGD(lr=0.01, momentum=0.0, weight_decay=L2), schedule=Constant(), epochs=40, batch_size=10_000
)
LANGEVIN = Langevin(EPSILON, DELTA, covered=20, lr=0.2, steps=5)
KEY = bytes(range(32))
Play = Callable[[bytes | None], Any]
"""One run under a noise key, or under noise that nobody can draw again."""


@dataclass(frozen=True, eq=False)
class Game:
    """Runs of a method, and runs of the reference that its claim names; `broken` where the claim is a lie."""

    name: str
    release: Play
    reference: Play
    broken: bool = False


def certificate_games(records: Records, seed: int) -> list[Game]:
    """One game a method on a small problem, the worst start where any start is allowed, and a sequence of requests."""
    few = shrunk(records.select([*range(min(len(records), 260))]))
    forget = few.train.ids[:20]
    return [
        *_convex(few, forget, seed),
        _rewind(few, forget),
        _langevin(few, forget),
        *_any_start(few, forget, seed),
    ]


def played(games: Sequence[Game], runs: int) -> list[dict[str, Any]]:
    """Each game as a row: what was claimed, and the lower bound that the attack proves at 95 %."""
    rows = []
    for game in games:
        # Under one key the noise is the same on both sides, and the difference is the line between their centres.
        line = game.release(KEY) - game.reference(KEY)
        release, reference = (partial(_unseen, side) for side in (game.release, game.reference))
        shown = play(release, reference, runs, DELTA, line=line)
        rows.append(
            {
                "game": game.name,
                "runs": runs,
                "claimed_epsilon": EPSILON,
                "shown_epsilon": shown.epsilon,
                "violated": shown.refutes(EPSILON),
                "broken": game.broken,
            }
        )
    return rows


def _unseen(side: Play, number: int) -> Any:
    """A run under noise of its own."""
    del number
    return side(None)


def _flat(model: Model) -> Any:
    """What is trained in a network, as one vector."""
    return layout(model.module()).flatten(model.constituents[0] or {}).double().numpy()


def _run(start: Trained, records: Records, forget: tuple[str, ...], method: Method, key: bytes | None) -> Any:
    return _flat(method.run(replace(prepare(start, records, forget), noise_key=key)).trained.model)


def _optimum(trained: Trained, left: Records) -> Tensor:
    """Of the last layer on `left`."""
    part = left.train
    head = Head(fixed_features(trained.model.module(), part.features), part.targets, part.classes, L2)
    return solve_head(head, gradient_norm=1e-12).weights


def _listed(weights: Tensor) -> Any:
    """A head's matrix in the order of the network's parameters: weights, then bias."""
    return torch.cat([weights[:-1].T.reshape(-1), weights[-1]]).numpy()


def _near(optimum: Tensor, noise: float) -> Play:
    """The exact optimum with the head's noise."""
    return lambda key: _listed(optimum + gaussian(optimum, noise, key, "unlearning/head/noise"))


def _noisy(point: Any, noise: float, name: str) -> Play:
    return lambda key: point + gaussian(torch.from_numpy(point), noise, key, name).numpy()


def _convex(few: Records, forget: tuple[str, ...], seed: int) -> list[Game]:
    """The head, once and twice, and the Newton step, against the exact optimum with the same noise."""
    trained = train(replace(CONVEX, seed=seed), few)
    optimum = _optimum(trained, few.without(forget))
    once = CertifiedHead(EPSILON, DELTA, requests=1)
    rough = Newton(damping=1.0, epsilon=EPSILON, delta=DELTA)
    step = read_head(unlearn(trained, few, forget, rough).trained.model.constituents[0] or {}, "1")
    part = few.without(forget).train
    bound = Head(fixed_features(trained.model.module(), part.features), part.targets, part.classes, L2).distance_bound
    noise = 1.01 * bound(step) / Privacy(EPSILON, DELTA).share
    newton, step_reference = replace(rough, noise=noise), _noisy(_listed(optimum), noise, "unlearning/newton")
    return [
        Game("certified-head", lambda key: _run(trained, few, forget, once, key), _near(optimum, once.noise)),
        _sequence(trained, few, forget),
        Game("newton", lambda key: _run(trained, few, forget, newton, key), step_reference),
    ]


def _sequence(trained: Trained, few: Records, forget: tuple[str, ...]) -> Game:
    """Two requests, the second chosen by what the first release looks like; both releases together are looked at."""
    method, ids = CertifiedHead(EPSILON, DELTA, requests=2), few.train.ids
    choices = ids[20:40], ids[40:60]
    left = few.without(forget)
    middle = float(_optimum(trained, left)[0, 0])
    first_side = _near(_optimum(trained, left), method.noise)
    second_sides = [_near(_optimum(trained, left.without(choice)), method.noise) for choice in choices]

    def chosen(first: Any) -> int:
        return int(first[0] > middle)

    def release(key: bytes | None) -> Any:
        first = method.run(replace(prepare(trained, few, forget), noise_key=key))
        seen = _flat(first.trained.model)
        second = replace(method, spent=first.claim.epsilon or 0.0)
        return np.concatenate([seen, _run(first.trained, first.records, choices[chosen(seen)], second, key)])

    def reference(key: bytes | None) -> Any:
        seen = first_side(key)
        return np.concatenate([seen, second_sides[chosen(seen)](key)])

    return Game("certified-head, second request chosen by the first release", release, reference)


def _rewind(few: Records, forget: tuple[str, ...]) -> Game:
    trained, method = train_with_checkpoint(DESCENT, few, 20), RewindAndDescend(20, epsilon=EPSILON, delta=DELTA)
    noise = 1.01 * method.bound(prepare(trained, few, forget)).distance / Privacy(EPSILON, DELTA).share
    retrained = _flat(train(DESCENT, few.without(forget)).model)
    noisy, reference = replace(method, noise=noise), _noisy(retrained, noise, "unlearning/rewind")
    return Game("rewind-and-descend", lambda key: _run(trained, few, forget, noisy, key), reference)


def _langevin(few: Records, forget: tuple[str, ...]) -> Game:
    left, count = few.without(forget), len(few.train)

    def release(key: bytes | None) -> Any:
        return _run(train_noisily(CONVEX, few, LANGEVIN, noise_key=key), few, forget, LANGEVIN, key)

    def reference(key: bytes | None) -> Any:
        return _flat(train_noisily(CONVEX, left, LANGEVIN, noise_key=key, sized=count).model)

    return Game("langevin", release, reference)


def _any_start(few: Records, forget: tuple[str, ...], seed: int) -> list[Game]:
    """Methods that may start anywhere in a ball: from opposite ends of it."""
    trained = train(Recipe(network=MLP(()), optimiser=SGD(lr=0.05), epochs=20, batch_size=32, seed=seed), few)
    state = {name: 100 * part for name, part in (trained.model.constituents[0] or {}).items()}
    mirrored = {name: -part for name, part in state.items()}
    ends = [replace(trained, model=replace(trained.model, constituents=(each,))) for each in (state, mirrored)]

    def game(name: str, method: Method, broken: bool = False) -> Game:
        sides = [lambda key, end=end: _run(end, few, forget, method, key) for end in ends]
        return Game(name, sides[0], sides[1], broken)

    perturbed = OutputPerturbation(EPSILON, DELTA, radius=1.0, epochs=0)
    tenth = replace(perturbed, epsilon=epsilon_of(10 * mu_of(EPSILON, DELTA), DELTA))
    return [
        game("noisy-fine-tuning", NoisyFineTuning(EPSILON, DELTA, steps=5, batch_size=32, epochs=0)),
        game("output-perturbation", perturbed),
        game("broken on purpose: a tenth of the noise", tenth, broken=True),
    ]
