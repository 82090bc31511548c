"""Known games in the study `valuation`: closed forms, the four properties, and bias of every estimator."""

from typing import Any

import numpy as np

from expunge.randomness import numpy_generator
from expunge.studies.valuation_task import ESTIMATORS
from expunge.valuation import Cached, Estimator, Exact, Game, Partition, Rounds, value
from expunge.valuation.games import Airport, Dividends, paper_game, random_dividends, random_game

Row = dict[str, Any]

RUNS = 60
"""Independent runs behind the test of bias."""


def known_games() -> list[Row]:
    """Exact values of known games against their closed forms, and the four properties on random games."""
    found = value(paper_game(), Partition(((0, 1), (2,))), Exact()).value
    errors = [float(np.abs(found - [3, 7, 2]).max())]
    violations = 0
    for seed in range(6):
        generator = numpy_generator(seed, "study/valuation/games")
        owners = int(generator.integers(4, 11))
        partition = _random_partition(owners, generator)
        games: list[Dividends | Airport] = [
            random_dividends(owners, 30, seed),
            Airport(tuple(generator.random(owners))),
        ]
        errors += [float(np.abs(value(g, partition, Exact()).value - g.s_shapley(partition)).max()) for g in games]
        violations += _violations(partition, seed)
    z = max(_bias_z(estimator) for name, estimator in ESTIMATORS.items() if name != "truncated")
    return [{"kind": "known", "max_error": max(errors), "violations": int(violations), "bias_z": z}]


def _random_partition(owners: int, generator: np.random.Generator) -> Partition:
    shard = generator.integers(0, 4, owners)
    groups = (tuple(np.flatnonzero(shard == number).tolist()) for number in range(4))
    return Partition(tuple(group for group in groups if group))


def _violations(partition: Partition, seed: int) -> int:
    """Balance, symmetry within a shard, zero element, additivity: how many do not hold to 1e-10."""
    n = partition.width
    one, two = random_game(n, seed=seed), random_game(n, seed=seed + 100)
    first, second = (value(game, partition, Exact()).value for game in (one, two))
    ends = one.utilities(np.array([[False] * n, [True] * n]))
    both = value(_Sum(one, two), partition, Exact()).value
    twins = max(partition.shards, key=len)[:2]
    alike = value(_Alike(one, twins), partition, Exact())
    idle = value(_Without(one, partition.owners[0]), partition, Exact())
    return sum(
        (
            abs(first.sum() - (ends[1] - ends[0])) > 1e-10,
            bool(np.abs(both - first - second).max() > 1e-10),
            len(twins) == 2 and abs(alike.of(twins[0]) - alike.of(twins[-1])) > 1e-10,
            abs(idle.of(partition.owners[0])) > 1e-10,
        )
    )


class _Sum:
    """Two games added."""

    def __init__(self, one: Game, two: Game) -> None:
        self.parts, self.owners = (one, two), one.owners

    def utilities(self, coalitions: np.ndarray) -> np.ndarray:
        """The sum of both games."""
        return np.asarray(self.parts[0].utilities(coalitions) + self.parts[1].utilities(coalitions))


class _Alike:
    """A game in which two owners count alike: utilities averaged over their exchange."""

    def __init__(self, game: Game, twins: tuple[int, ...]) -> None:
        self.game, self.twins, self.owners = game, twins, game.owners

    def utilities(self, coalitions: np.ndarray) -> np.ndarray:
        """The mean of the game and of the game with the two exchanged."""
        swapped = coalitions.copy()
        swapped[:, list(self.twins)] = coalitions[:, list(self.twins[::-1])]
        return np.asarray((self.game.utilities(coalitions) + self.game.utilities(swapped)) / 2)


class _Without:
    """A game in which one owner changes nothing."""

    def __init__(self, game: Game, owner: int) -> None:
        self.game, self.owner, self.owners = game, owner, game.owners

    def utilities(self, coalitions: np.ndarray) -> np.ndarray:
        """The game played without the one owner."""
        less = coalitions.copy()
        less[:, self.owner] = False
        return np.asarray(self.game.utilities(less))


def _bias_z(estimator: Estimator) -> float:
    """Largest mean error over owners in standard errors, from independent runs on a random game."""
    partition = Partition(((0, 1, 2), (3, 4), (5,), (6, 7, 8)))
    game = Cached(random_game(9, seed=11))
    truth = value(game, partition, Exact()).value
    runs = [value(game, partition, estimator, Rounds(2), seed=seed, batch=96).value - truth for seed in range(RUNS)]
    error = np.array(runs)
    spread = np.maximum(error.std(0, ddof=1), 1e-12) / len(error) ** 0.5
    return float(np.abs(error.mean(0) / spread).max())
