import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from expunge.errors import OperatorError, RequesterError
from expunge.networks import MLP
from expunge.records import Records
from expunge.training import Magnitude, MemoryCheckpoints, Processes, Recipe, Serial, Sharding, Trained, train


@pytest.fixture(scope="module")
def pool() -> Iterator[Processes]:
    with Processes(2) as processes:
        yield processes


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


def test_results_come_in_the_order_of_the_jobs(pool: Processes):
    jobs = list(range(17))
    expected = [1 + 2 * job for job in jobs]
    assert list(Serial().map(double, 1, jobs)) == expected
    assert list(pool.map(double, 1, jobs)) == expected


def test_errors_come_back_as_they_were_raised(pool: Processes):
    with pytest.raises(RequesterError) as caught:
        list(pool.map(refuse, None, [5]))
    assert (caught.value.code, str(caught.value)) == ("unknown-record", "job 5 refused")
    assert list(pool.map(double, 0, [1])) == [2]


def test_a_killed_worker_is_replaced_and_its_job_tried_again(tmp_path: Path):
    with Processes(2) as processes:
        assert list(processes.map(die_once, tmp_path / "killed", list(range(6)))) == list(range(6))


@pytest.mark.slow
def test_a_job_that_kills_every_worker_is_given_up():
    with Processes(1) as processes, pytest.raises(OperatorError) as caught:
        list(processes.map(die_always, None, [0]))
    assert caught.value.code == "worker-lost"


def test_parallel_training_gives_the_bytes_of_serial_training(
    pool: Processes, sharded_model: Trained, sharded_recipe: Recipe, few: Records
):
    store = MemoryCheckpoints()
    parallel = train(sharded_recipe, few, checkpoints=store, executor=pool)
    assert parallel.model.file == sharded_model.model.file
    assert parallel.log.checkpoints == sharded_model.log.checkpoints
    assert parallel.cost.gradient_evaluations == sharded_model.cost.gradient_evaluations


def test_parallel_training_of_sparse_models_too(pool: Processes, few: Records):
    recipe = Recipe(MLP((16,)), epochs=2, sharding=Sharding(3, 2), pruning=Magnitude(0.8, rewind=1))
    assert train(recipe, few, executor=pool).model.file == train(recipe, few).model.file


def test_serial_executor_too(sharded_model: Trained, sharded_recipe: Recipe, few: Records):
    assert train(sharded_recipe, few, executor=Serial()).model.digest == sharded_model.model.digest


def total(shared: torch.Tensor, job: int) -> torch.Tensor:
    return shared.sum() + job


def test_sending_leaves_the_senders_tensors_where_they_are(pool: Processes):
    """A NumPy array that looks at a tensor's memory would see it freed."""
    shared = torch.arange(1000.0)
    place = shared.data_ptr()
    assert [float(found) for found in pool.map(total, shared, [0, 1])] == [499500.0, 499501.0]
    assert shared.data_ptr() == place
    assert not shared.is_shared()
