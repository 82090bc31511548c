"""The cache, the front door, stopping rules and what values say."""

import json

import numpy as np
import pytest

from expunge.errors import ProgrammerError, RequesterError
from expunge.progress import Tick
from expunge.valuation import (
    Adjusted,
    Cached,
    Evaluations,
    Exact,
    HalfWidth,
    Partition,
    Permutation,
    Rounds,
    Seconds,
    Values,
    resume,
    value,
)
from expunge.valuation.games import Additive, random_dividends, random_game
from expunge.valuation.partition import rows


class Counting:
    """Remembers every coalition it was asked for."""

    def __init__(self, game) -> None:
        self.game, self.asked, self.calls = game, [], 0

    @property
    def owners(self) -> int:
        return self.game.owners

    def utilities(self, coalitions):
        self.asked += [row.tobytes() for row in coalitions]
        self.calls += 1
        return self.game.utilities(coalitions)


# ── The cache ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_equal_coalitions_are_evaluated_once_in_one_batch():
    source = Counting(random_game(5, 0))
    game = Cached(source)
    ask = rows([[0], [1, 2], [0], [], [1, 2]], 5)
    found = game.utilities(ask)
    np.testing.assert_array_equal(found, source.game.utilities(ask))
    assert (len(source.asked), source.calls, game.evaluations, len(game)) == (3, 1, 3, 3)
    game.utilities(ask[::-1])
    assert source.calls == 1
    assert game.utilities(ask[:0]).shape == (0,)


def test_what_a_leaver_touched_is_deletable():
    source = Counting(random_game(11, 0))
    game = Cached(source)
    everything = (np.arange(1 << 11)[:, None] >> np.arange(11) & 1).astype(bool)
    game.utilities(everything)
    assert game.forget([3, 9]) == (1 << 11) - (1 << 9)
    assert len(game) == 1 << 9
    kept = np.unpackbits(game.to_arrays()["coalitions"], axis=1, count=11).astype(bool)
    assert not kept[:, [3, 9]].any()
    before = source.calls
    game.utilities(everything[~everything[:, [3, 9]].any(1)])
    assert source.calls == before
    game.utilities(rows([[3]], 11))
    assert source.calls == before + 1
    assert game.forget([]) == 0
    with pytest.raises(ProgrammerError):
        game.forget([11])


def test_a_cache_survives_as_arrays():
    game = Cached(random_game(9, 0))
    value(game, Partition.even(9, 3), Permutation(), Rounds(2), batch=50)
    other = Cached(random_game(9, 0))
    other.restore(**game.to_arrays())
    assert len(other) == len(game)
    value(other, Partition.even(9, 3), Permutation(), Rounds(2), batch=50)
    assert other.evaluations == 0
    with pytest.raises(ProgrammerError):
        Cached(random_game(3, 0)).restore(**game.to_arrays())


@pytest.mark.parametrize("answer", [np.zeros(2), np.zeros((1, 1)), np.array([np.nan]), np.array([np.inf])])
def test_a_game_that_answers_nonsense_is_refused(answer):
    class Broken:
        owners = 3

        def utilities(self, coalitions):
            return answer

    game = Cached(Broken())
    with pytest.raises(ProgrammerError) as raised:
        game.utilities(rows([[0]], 3))
    assert raised.value.code == "bad-utility"
    assert len(game) == 0


# ── Going on ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_killed_run_goes_on_from_what_was_kept():
    game, partition = random_dividends(20, 60, 0), Partition.even(20, 4)
    whole = value(game, partition, Adjusted(), Rounds(6), batch=60)
    kept: list[Values] = []

    class Killed(Exception):
        pass

    def keep(values):
        kept.append(values)
        if len(kept) == 3:
            raise Killed

    with pytest.raises(Killed):
        value(game, partition, Adjusted(), Rounds(6), batch=60, keep=keep)
    again = resume(kept[-1], game, Rounds(6))
    assert again.value.tobytes() == whole.value.tobytes()
    assert again.run.rounds == 6
    assert kept[0].run.rounds == 1


def test_a_warm_cache_changes_nothing_but_the_cost():
    game, partition = Cached(random_dividends(20, 60, 0)), Partition.even(20, 4)
    cold = value(game, partition, Adjusted(), Rounds(4), batch=100)
    warm = value(game, partition, Adjusted(), Rounds(4), batch=100)
    assert cold.value.tobytes() == warm.value.tobytes()
    assert (cold.evaluations, warm.evaluations) == (game.evaluations, 0)
    assert cold.lookups == warm.lookups


def test_a_game_with_too_few_columns_is_refused():
    with pytest.raises(ProgrammerError) as raised:
        value(random_game(3, 0), Partition.even(4, 2))
    assert raised.value.code == "bad-partition"
    with pytest.raises(ProgrammerError):
        value(random_game(3, 0), Partition.even(3, 1), batch=0)


def test_progress_shows_the_error_bound_and_ends_full():
    class Recorder:
        def __init__(self):
            self.ticks = []

        def show(self, tick: Tick, *, final: bool) -> None:
            self.ticks.append((tick.done, dict(tick.figures), final))

    recorder = Recorder()
    found = value(random_dividends(20, 60, 0), Partition.even(20, 4), stop=HalfWidth(0.3), batch=64, progress=recorder)
    done = [tick[0] for tick in recorder.ticks]
    assert done == sorted(done)
    assert done[-1] == 1000
    assert recorder.ticks[-1][1]["half_width"] == pytest.approx(float(found.half_width().max()))
    assert recorder.ticks[-1][1]["evaluations"] == found.evaluations


# ── Stopping rules ───────────────────────────────────────────────────────────────────────────────────────────────────

ROWS = {"game": random_dividends(20, 60, 0), "partition": Partition.even(20, 4), "estimator": Permutation()}


def test_half_width_is_reached():
    found = value(**ROWS, stop=HalfWidth(0.2, 0.9))
    assert found.half_width(0.9).max() <= 0.2
    assert found.count.min() >= 100
    truth = ROWS["game"].s_shapley(ROWS["partition"])
    assert np.mean(np.abs(found.value - truth) <= found.half_width(0.9)) > 0.7


def test_all_owners_together_need_wider_intervals():
    alone, together = (value(**ROWS, stop=HalfWidth(0.2, 0.95, together=flag)) for flag in (False, True))
    assert together.evaluations > alone.evaluations


def test_rules_combine():
    found = value(**ROWS, stop=Rounds(3), batch=40)
    yes, no = Rounds(3), Rounds(4)
    assert yes.met(found)
    assert not no.met(found)
    assert [rule.met(found) for rule in (yes & no, yes | no, ~yes, ~no, ~yes | yes, ~(yes & no))] == [
        False,
        True,
        False,
        True,
        True,
        True,
    ]
    assert (yes & no).share(found) == 0.75
    assert (yes | no).share(found) == 1
    assert (~no).share(found) == 1


def test_rules_of_cost():
    found = value(**ROWS, stop=Evaluations(500), batch=40)
    assert 500 <= found.evaluations < 600
    assert Seconds(0.0).met(found)
    assert not Seconds(1e9).met(found)
    assert value(**ROWS, stop=Seconds(0.0)).run.rounds == 1
    assert value(**ROWS, stop=HalfWidth(1e-9) | Evaluations(100)).evaluations >= 100


def test_a_small_game_ends_although_it_has_not_so_many_coalitions():
    found = value(random_game(3, 0), Partition(((0, 1), (2,))), Permutation(), Evaluations(1000))
    assert found.evaluations == 8
    assert found.lookups >= 20_000


@pytest.mark.parametrize("make", [lambda: HalfWidth(0.0), lambda: HalfWidth(1.0, 1.0), lambda: HalfWidth(1.0, least=1)])
def test_rules_out_of_range(make):
    with pytest.raises(ProgrammerError):
        make()


def test_coverage_when_stopped_at_the_first_narrow_moment():
    """Sequential stopping costs a little coverage; it must stay a little."""
    game, partition = Cached(random_dividends(12, 60, 0)), Partition.even(12, 3)
    truth = game.game.s_shapley(partition)
    runs = [value(game, partition, Permutation(), HalfWidth(0.25), seed=seed, batch=120) for seed in range(30)]
    assert np.mean([np.abs(run.value - truth) <= run.half_width() for run in runs]) > 0.9


# ── What values say ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_values_in_plain_form():
    found = value(Additive((1.0, 2.0, 3.0)), Partition(((0, 2), (1,))), Exact())
    assert found.of(1) == 2.0
    assert found.exact
    line = json.loads(json.dumps(found.to_json(), allow_nan=False))[2]
    assert line == {
        "owner": 2,
        "shard": 0,
        "value": 3.0,
        "half_width": 0.0,
        "bias_bound": 0.0,
        "samples": found.lookups,
        "status": "exact",
    }
    with pytest.raises(RequesterError):
        found.of(3)
    with pytest.raises(ProgrammerError):
        found.half_width(1.0)
    short = value(random_dividends(20, 60, 0), Partition.even(20, 4), Permutation(), Rounds(1), batch=1)
    text = json.dumps(short.to_json(), allow_nan=False)
    assert json.loads(text)[0]["half_width"] is None
