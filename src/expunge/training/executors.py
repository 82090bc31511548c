"""Executors: where work that splits is carried out. Results come back in the order of the jobs, whoever did them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar, runtime_checkable

S = TypeVar("S")
J = TypeVar("J")
R = TypeVar("R")


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
