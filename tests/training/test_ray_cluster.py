"""The executor on a local Ray cluster of two workers. Skipped without the extra; `make ray` runs it."""

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from expunge.errors import OperatorError, RequesterError
from expunge.networks import MLP
from expunge.records import Records
from expunge.training import SGD, Ray, Recipe, Serial, Sharding, Trained, train
from expunge.valuation import Cached, Evaluations, Partition, training_game, value

ray = pytest.importorskip("ray", reason="the extra ray is not installed: make ray")
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test file
pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Ray]:
    with Ray(2) as found:
        yield found


def double(shared: int, job: int) -> int:
    return shared + 2 * job


def refuse(shared: None, job: int) -> int:
    raise RequesterError("unknown-record", f"job {job} refused")


def die_once(marker: Path, job: int) -> int:
    if job == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def die_always(shared: None, job: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return job


def test_order_errors_and_killed_workers(cluster: Ray, tmp_path: Path):
    assert list(cluster.map(double, 1, range(9))) == [1 + 2 * job for job in range(9)]
    with pytest.raises(RequesterError, match="job 5 refused") as caught:
        list(cluster.map(refuse, None, [5]))
    assert caught.value.code == "unknown-record"
    assert list(cluster.map(die_once, tmp_path / "killed", range(6))) == list(range(6))
    assert (tmp_path / "killed").exists()


def test_a_job_that_kills_every_worker_is_given_up(cluster: Ray):
    with pytest.raises(OperatorError) as caught:
        list(cluster.map(die_always, None, [0]))
    assert caught.value.code == "worker-lost"


def test_training_on_the_cluster_gives_the_bytes_of_serial_training(
    cluster: Ray, sharded_model: Trained, sharded_recipe: Recipe, few: Records
):
    assert train(sharded_recipe, few, executor=cluster).model.file == sharded_model.model.file


class DiesOnce:
    """An executor whose second job kills its worker, once."""

    def __init__(self, inner: Ray, marker: Path) -> None:
        self.inner, self.marker, self.workers = inner, marker, inner.workers

    def map(self, function, shared, jobs):
        numbered = list(enumerate(jobs))
        return self.inner.map(die_or_do, (function, shared, self.marker), numbered)


def die_or_do(shared, job):
    function, common, marker = shared
    number, task = job
    if number == 1 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return function(common, task)


def test_values_are_the_same_bytes_with_a_worker_killed_on_the_way(cluster: Ray, few: Records, tmp_path: Path):
    recipe = Recipe(MLP((8,)), SGD(lr=0.1), epochs=2, batch_size=16, sharding=Sharding(4))
    records = replace(few, owners=tuple(f"owner-{int(owner[-3:]) % 16:02d}" for owner in few.owners))
    partition = Partition.even(16, 4)
    found = []
    for executor in (Serial(), cluster, DiesOnce(cluster, tmp_path / "killed")):
        game = Cached(training_game(recipe, records, partition=partition, executor=executor))
        values = value(game, partition, stop=Evaluations(400), seed=3, batch=200)
        found.append((values.value.tobytes(), values.variance.tobytes(), game.to_arrays()["utilities"].tobytes()))
    assert (tmp_path / "killed").exists()
    assert found[0] == found[1] == found[2]
    assert np.isfinite(np.frombuffer(found[0][0])).all()
