"""The front door: value the owners of a game, and go on later."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from expunge.errors import ProgrammerError
from expunge.progress import Progress, task
from expunge.randomness import numpy_generator
from expunge.valuation.adjusted import Adjusted
from expunge.valuation.estimator import Estimator
from expunge.valuation.game import Cached, Game, Metered
from expunge.valuation.partition import Partition
from expunge.valuation.stopping import HalfWidth, Stop
from expunge.valuation.values import Run, Values, collect

BATCH = 512
"""Coalitions asked for in each of the first rounds."""

WIDEN = 8
"""After so many rounds they are two batches wide, then three, ...: bookkeeping looks at all samples every round."""

TICKS = 1000
"""Units of the progress bar."""


def value(
    game: Game,
    partition: Partition,
    estimator: Estimator | None = None,
    stop: Stop | None = None,
    *,
    seed: int = 0,
    batch: int = BATCH,
    progress: Progress | None = None,
    keep: Callable[[Values], None] | None = None,
) -> Values:
    """S-Shapley values of the owners of `partition` in `game`.

    **Arguments:**

    - `game`: hand in a `Cached` game to keep its utilities for later runs and updates.
    - `estimator`: `Adjusted()` unless given; `Exact()` where the game is small or its utilities are cheap.
    - `stop`: `HalfWidth(0.01, 0.95)` unless given.
    - `seed`: equal seeds give equal bytes, however often the run is stopped and resumed (`Seconds` apart).
    - `batch`: coalitions in a round, more in later rounds; part of what makes a run repeatable.
    - `progress`: shows the share done with `half_width` (95 %, widest owner) and `evaluations`.
    - `keep`: is called with the values after every round: store them, and `resume` after a crash.

    **Raises:** `ProgrammerError`: `bad-partition` where the game has too few columns, `bad-utility`,
    `too-many-coalitions`, `bad-hyperparameter`.
    """
    chosen = estimator or Adjusted()
    if batch < 1:
        raise ProgrammerError("bad-hyperparameter", f"batch must be >= 1: {batch}")
    run = Run(chosen, chosen.start(partition, seed), seed, batch, 0)
    return _go(game, collect(partition, chosen.estimate(partition, run.state), run, 0, 0, 0.0), stop, progress, keep)


def resume(
    values: Values,
    game: Game,
    stop: Stop | None = None,
    *,
    progress: Progress | None = None,
    keep: Callable[[Values], None] | None = None,
) -> Values:
    """Go on where `values` stopped, to the same bytes as an uninterrupted run; at once back where `stop` is met.

    **Raises:** `ProgrammerError("cannot-continue")` for values from `update` or `join`: value the new partition
    instead, its utilities are cached.
    """
    if values.run is None:
        raise ProgrammerError("cannot-continue", "updated values cannot be sampled further")
    if _finished(values, stop or HalfWidth(0.01)):
        return values
    return _go(game, values, stop, progress, keep)


def _go(
    game: Game, values: Values, stop: Stop | None, progress: Progress | None, keep: Callable[[Values], None] | None
) -> Values:
    """Rounds until the rule is met or nothing is left to learn."""
    rule, source = stop or HalfWidth(0.01), _Source(game, values.partition)
    with task(progress, "valuation", TICKS) as advance:
        shown = 0
        while True:
            values = _round(source, values)
            if keep is not None:
                keep(values)
            done = TICKS if _finished(values, rule) else min(TICKS - 1, int(TICKS * rule.share(values)))
            widest = float(values.half_width().max())
            advance(max(0, done - shown), half_width=widest, evaluations=float(values.evaluations))
            shown = max(shown, done)
            if done == TICKS:
                return values


def _finished(values: Values, rule: Stop) -> bool:
    return values.exact or rule.met(values)


def _round(source: "_Source", values: Values) -> Values:
    """One round: its randomness depends on the seed and the round's number alone."""
    started, before = time.monotonic(), source.evaluations
    run = values.run
    assert run is not None
    generator = numpy_generator(run.seed, f"valuation/round/{run.rounds}")
    size = run.batch * (1 + run.rounds // WIDEN)
    asked = source.asked
    state = run.estimator.sample(values.partition, run.state, source.ask, generator, size)
    return collect(
        values.partition,
        run.estimator.estimate(values.partition, state),
        replace(run, state=state, rounds=run.rounds + 1),
        values.evaluations + source.evaluations - before,
        values.lookups + source.asked - asked,
        values.seconds + time.monotonic() - started,
    )


class _Source:
    """Answers an estimator from the cache in front of the game, and counts."""

    def __init__(self, game: Game, partition: Partition) -> None:
        if game.owners < partition.width:
            raise ProgrammerError("bad-partition", f"the game has {game.owners} columns, not {partition.width}")
        self._game = game if isinstance(game, Metered) else Cached(game)
        self.asked = 0

    @property
    def evaluations(self) -> int:
        """Coalitions that were really evaluated, not read from the cache."""
        return self._game.evaluations

    def ask(self, coalitions: Bool[np.ndarray, "coalitions width"]) -> Float[np.ndarray, " coalitions"]:
        """Utilities of coalitions that may have fewer columns than the game."""
        wide = np.zeros((len(coalitions), self._game.owners), np.bool_)
        wide[:, : coalitions.shape[1]] = coalitions
        self.asked += len(coalitions)
        return self._game.utilities(wide)
