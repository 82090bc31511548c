"""Jobs on a Ray cluster (extra `ray`): the third executor, with the bytes of the other two."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from expunge.errors import OperatorError, ProgrammerError
from expunge.training.executors import ATTEMPTS

S = TypeVar("S")
J = TypeVar("J")
R = TypeVar("R")


class Ray:
    """Workers of a Ray cluster: a local one of `workers` processes, or the one at `address`.

    What all jobs share is put into the cluster's object store once a call. Ray starts a task again whose worker was
    killed or whose node was lost; results do not depend on who computed them. Leaves a cluster that was up before as
    it was. Messages between driver and workers are Ray's own pickles: a cluster is one trust zone, like one machine.

    **Raises:** `OperatorError("no-ray")` without the extra, `ProgrammerError("bad-hyperparameter")`.
    """

    def __init__(self, workers: int, address: str | None = None) -> None:
        if workers < 1:
            raise ProgrammerError("bad-hyperparameter", f"workers must be >= 1, not {workers}")
        self.workers = workers
        self._ray = _library()
        self._mine = not self._ray.is_initialized()
        if self._mine:
            size = {"num_cpus": workers} if address is None else {"address": address}
            self._ray.init(**size, include_dashboard=False, log_to_driver=False, configure_logging=False)

    def __enter__(self) -> "Ray":
        return self

    def __exit__(self, *trouble: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the cluster; stop it where this object started it."""
        if self._mine and self._ray.is_initialized():
            self._ray.shutdown()

    def map(self, function: Callable[[S, J], R], shared: S, jobs: Sequence[J]) -> Iterator[R]:
        """`function(shared, job)` for each job, in order.

        **Raises:** what the function raises; `OperatorError("worker-lost")` for a job whose worker died every time.
        """
        task = self._ray.remote(_alone).options(num_cpus=1, max_retries=ATTEMPTS - 1)
        common = self._ray.put(shared)
        waiting: dict[int, Any] = {}
        try:
            for number in range(len(jobs)):
                for ahead in range(number, min(number + self.workers + 1, len(jobs))):
                    if ahead not in waiting:
                        waiting[ahead] = task.remote(function, common, jobs[ahead])
                yield self._result(waiting.pop(number), number, len(jobs))
        finally:
            for reference in waiting.values():
                self._ray.cancel(reference)

    def _result(self, reference: Any, number: int, count: int) -> Any:
        lost = (self._ray.exceptions.WorkerCrashedError, self._ray.exceptions.ObjectLostError)
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except lost:
            raise OperatorError(
                "worker-lost", f"the worker of job {number + 1} of {count} died {ATTEMPTS} times"
            ) from None


def _alone(function: Callable[[Any, Any], Any], shared: Any, job: Any) -> Any:
    """One job in a worker of the cluster, on one arithmetic thread, as everywhere."""
    import torch

    torch.set_num_threads(1)
    return function(shared, job)


def _library() -> Any:
    try:
        import ray
    except ImportError:
        raise OperatorError("no-ray", "the package ray is not installed") from None
    return ray
