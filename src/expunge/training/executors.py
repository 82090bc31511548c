"""Executors: where work that splits is carried out. Results come back in the order of the jobs, whoever did them."""

import multiprocessing
import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from typing import Any, Protocol, TypeVar, runtime_checkable

from expunge.errors import OperatorError, ProgrammerError

S = TypeVar("S")
J = TypeVar("J")
R = TypeVar("R")

ATTEMPTS = 3
"""Times that a job is tried when its worker is killed."""


@runtime_checkable
class Executor(Protocol):
    """Maps a module-level function over jobs that share some data."""

    workers: int

    def map(self, function: Callable[[S, J], R], shared: S, jobs: Sequence[J]) -> Iterator[R]:
        """`function(shared, job)` for each job, in order; equal bytes for every executor."""


class Serial:
    """One after another in this process."""

    workers = 1

    def map(self, function: Callable[[S, J], R], shared: S, jobs: Sequence[J]) -> Iterator[R]:
        """`function(shared, job)` for each job, in order."""
        for job in jobs:
            yield function(shared, job)


class Processes:
    """Local worker processes, started once and kept until `close` or the end of the `with` block.

    Workers are spawned, not forked: a fork of a process that has run torch can hang. A worker that is killed is
    replaced and its job tried again; results do not depend on who computed them. What is sent to workers must be
    importable by name: networks given as Python callables stay with `Serial`.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ProgrammerError("bad-hyperparameter", f"workers must be >= 1, not {workers}")
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *trouble: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers; jobs not yet begun are dropped."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def map(self, function: Callable[[S, J], R], shared: S, jobs: Sequence[J]) -> Iterator[R]:
        """`function(shared, job)` for each job, in order.

        **Raises:** what the function raises; `OperatorError("worker-lost")` for a job whose worker died every time.
        """
        waiting: dict[int, Future[bytes]] = {}
        task = pickle.dumps((function, shared))
        try:
            for number in range(len(jobs)):
                yield self._result(task, jobs, number, waiting)
        finally:
            for future in waiting.values():
                future.cancel()

    def _result(self, task: bytes, jobs: Sequence[Any], number: int, waiting: dict[int, "Future[bytes]"]) -> Any:
        for _ in range(ATTEMPTS):
            try:
                self._submit(task, jobs, number, waiting)
                return pickle.loads(waiting.pop(number).result())  # noqa: S301 - from our own worker
            except BrokenProcessPool:
                waiting.clear()
                self.close()
        raise OperatorError("worker-lost", f"the worker of job {number + 1} of {len(jobs)} died {ATTEMPTS} times")

    def _submit(self, task: bytes, jobs: Sequence[Any], first: int, waiting: dict[int, "Future[bytes]"]) -> None:
        """Keep a job more than there are workers under way."""
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.workers, context, _quiet)
        for number in range(first, min(first + self.workers + 1, len(jobs))):
            if number not in waiting:
                waiting[number] = self._pool.submit(_called, task, pickle.dumps(jobs[number]))


def _called(task: bytes, job: bytes) -> bytes:
    """One job in a worker. Plain pickles carry tensors as numbers: multiprocessing's own would move the *sender's*
    tensors into shared memory, from under NumPy arrays that look at them."""
    function, shared = _task(task)
    return pickle.dumps(function(shared, pickle.loads(job)))  # noqa: S301 - from our own parent


@lru_cache(maxsize=1)
def _task(task: bytes) -> Any:
    return pickle.loads(task)  # noqa: S301 - from our own parent


def _quiet(*arguments: Any) -> None:
    """Workers leave the keyboard's interrupt to the parent, and arithmetic threads to the job."""
    import signal

    import torch

    del arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
