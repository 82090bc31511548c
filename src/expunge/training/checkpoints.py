"""Checkpoints: finished stages by name, and snapshots inside a stage for resuming."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from expunge.networks import State


@dataclass(frozen=True)
class Snapshot:
    """A stage after `step` optimiser steps: network state and optimiser state (named tensors)."""

    step: int
    state: State
    optimiser: State


@runtime_checkable
class Checkpoints(Protocol):
    """Where training puts finished stages and looks for them first: resuming and reuse are one mechanism.

    Whoever hands over checkpoints vouches that each belongs to this recipe and to just the rows of its stage.
    """

    every: int | None
    """Steps between snapshots inside a stage; `None` for no snapshots."""

    def load(self, name: str) -> State | None:
        """The network after stage `name`, or None."""

    def save(self, name: str, state: State) -> None:
        """Keep the network after stage `name`; drops the stage's snapshot."""

    def load_snapshot(self, name: str) -> Snapshot | None:
        """The latest snapshot inside stage `name`, or None."""

    def save_snapshot(self, name: str, snapshot: Snapshot) -> None:
        """Keep a snapshot inside stage `name`, in place of the one before."""


@dataclass
class MemoryCheckpoints:
    """Checkpoints in this process's memory."""

    every: int | None = None
    states: dict[str, State] = field(default_factory=dict)
    snapshots: dict[str, Snapshot] = field(default_factory=dict)

    def load(self, name: str) -> State | None:
        """The network after stage `name`, or None."""
        return self.states.get(name)

    def save(self, name: str, state: State) -> None:
        """Keep the network after stage `name`."""
        self.states[name] = state
        self.snapshots.pop(name, None)

    def load_snapshot(self, name: str) -> Snapshot | None:
        """The latest snapshot inside stage `name`, or None."""
        return self.snapshots.get(name)

    def save_snapshot(self, name: str, snapshot: Snapshot) -> None:
        """Keep a snapshot inside stage `name`."""
        self.snapshots[name] = snapshot

    @staticmethod
    def reusing(source: Checkpoints, names: Iterable[str]) -> "MemoryCheckpoints":
        """New checkpoints that start with the named stages of `source`."""
        found = {name: state for name in names if (state := source.load(name)) is not None}
        return MemoryCheckpoints(states=found)
