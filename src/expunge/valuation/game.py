"""What a game is, and the cache in front of one: every utility is evaluated once and reused for all it informs."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8

from expunge.errors import ProgrammerError


@runtime_checkable
class Game(Protocol):
    """A cooperative game: what each coalition of owners achieves. Many coalitions are asked for at once.

    Owners are the columns 0..owners-1 of a coalition matrix. A column keeps its meaning when owners leave: a leaver's
    column is simply False from then on. A game whose utilities come in steps, like accuracy, says so (`Stepped`).
    """

    @property
    def owners(self) -> int:
        """Number of columns, owners who have left included."""

    def utilities(self, coalitions: Bool[np.ndarray, "coalitions owners"]) -> Float[np.ndarray, " coalitions"]:
        """The utility of each coalition, a pure function of its row. Finite."""


@runtime_checkable
class Metered(Game, Protocol):
    """A game that answers repeated questions from memory, and counts the others."""

    @property
    def evaluations(self) -> int:
        """Utilities evaluated so far."""


@runtime_checkable
class Stepped(Game, Protocol):
    """A game that knows the least difference between two of its utilities."""

    @property
    def step(self) -> float:
        """That difference; 0 where there is none."""


def step_of(game: Game) -> float:
    """The game's step, 0 where it names none."""
    return game.step if isinstance(game, Stepped) else 0.0


@dataclass(frozen=True)
class WithEmpty:
    """`game`, but the empty coalition is worth `empty`.

    S-Shapley shares out U(all) - U(empty), so this choice moves money. The paper lets U(empty) be 0: owners then share
    the whole accuracy, and the first owners in earn what guessing would have reached without any data. With the
    majority class's accuracy they share only what the data adds. Use one choice before and after a deletion.
    """

    game: Game
    empty: float = 0.0

    @property
    def owners(self) -> int:
        """Number of columns."""
        return self.game.owners

    @property
    def step(self) -> float:
        """That of `game`."""
        return step_of(self.game)

    def utilities(self, coalitions: Bool[np.ndarray, "coalitions owners"]) -> Float[np.ndarray, " coalitions"]:
        """As `game`; the empty coalition is never asked of it."""
        worth = np.full(len(coalitions), float(self.empty))
        some = coalitions.any(1)
        if some.any():
            worth[some] = self.game.utilities(coalitions[some])
        return worth


class Cached:
    """`game` with a memory: equal coalitions are evaluated once, in one batch a call, in order of first mention.

    What it holds is derived from owners' data: after a deletion call [`forget`][], which drops every coalition that
    holds a leaver.

    **Arguments:**

    - `game`: its utilities are checked for shape and finiteness (`ProgrammerError("bad-utility")`).
    """

    def __init__(self, game: Game) -> None:
        self.game = game
        self._evaluations = 0
        self._known: dict[bytes, float] = {}

    @property
    def owners(self) -> int:
        """Number of columns."""
        return self.game.owners

    @property
    def step(self) -> float:
        """That of `game`."""
        return step_of(self.game)

    @property
    def evaluations(self) -> int:
        """Utilities that `game` was asked for, over the life of the cache."""
        return self._evaluations

    def __len__(self) -> int:
        return len(self._known)

    def utilities(self, coalitions: Bool[np.ndarray, "coalitions owners"]) -> Float[np.ndarray, " coalitions"]:
        """The utility of each coalition; only those never seen before are evaluated."""
        keys = _keys(coalitions)
        fresh = {key: row for row, key in reversed(list(enumerate(keys))) if key not in self._known}
        rows = sorted(fresh.values())
        if rows:
            found = _checked(self.game.utilities(coalitions[rows]), len(rows))
            self._known.update(zip((keys[row] for row in rows), found.tolist(), strict=True))
            self._evaluations += len(rows)
        return np.array([self._known[key] for key in keys], dtype=np.float64)

    def forget(self, owners: Iterable[int]) -> int:
        """Drop every utility of a coalition that holds one of `owners`; returns how many were dropped."""
        columns = _columns(owners, self.owners)
        if not self._known or not columns:
            return 0
        packed = np.frombuffer(b"".join(self._known), dtype=np.uint8).reshape(len(self._known), -1)
        touched = np.asarray(np.unpackbits(packed, axis=1, count=self.owners)[:, columns].any(axis=1))
        self._known = {
            key: worth for (key, worth), gone in zip(self._known.items(), touched.tolist(), strict=True) if not gone
        }
        return int(touched.sum())

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The contents as arrays `coalitions` (bits packed along rows) and `utilities`, in the order they came."""
        width = -(-self.owners // 8)
        packed = np.frombuffer(b"".join(self._known), dtype=np.uint8).reshape(len(self._known), width)
        return {"coalitions": packed, "utilities": np.array(list(self._known.values()), dtype=np.float64)}

    def restore(
        self, coalitions: UInt8[np.ndarray, "coalitions bytes"], utilities: Float[np.ndarray, " coalitions"]
    ) -> None:
        """Add what `to_arrays` gave; raises `ProgrammerError("bad-utility")` where widths or lengths do not fit."""
        if coalitions.shape != (len(utilities), -(-self.owners // 8)):
            raise ProgrammerError("bad-utility", "stored coalitions do not fit this game's owners")
        found = _checked(utilities, len(coalitions))
        self._known.update(zip((row.tobytes() for row in coalitions), found.tolist(), strict=True))


def _keys(coalitions: Bool[np.ndarray, "coalitions owners"]) -> list[bytes]:
    return [row.tobytes() for row in np.packbits(coalitions, axis=1)]


def _columns(owners: Iterable[int], width: int) -> list[int]:
    columns = sorted(set(owners))
    if columns and not 0 <= columns[0] <= columns[-1] < width:
        raise ProgrammerError("bad-partition", f"owner columns are 0..{width - 1}")
    return columns


def _checked(found: np.ndarray, count: int) -> Float[np.ndarray, " coalitions"]:
    found = np.asarray(found, dtype=np.float64)
    if found.shape != (count,):
        raise ProgrammerError("bad-utility", f"a game answered shape {found.shape} for {count} coalitions")
    if not np.isfinite(found).all():
        raise ProgrammerError("bad-utility", f"{int((~np.isfinite(found)).sum())} utilities are not finite")
    return found
