"""The columns of a table as they stand in the file: what preparations are fitted on and commitments are made over."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Texts:
    """A column of texts.

    **Arguments:**

    - `codes`: `[records]`, int64; which of `values` each record holds.
    - `values`: the distinct texts, each held by a record: what a deletion takes away is not kept here.
    """

    codes: Int[Tensor, " records"]
    values: tuple[str, ...]

    @staticmethod
    def of(texts: Sequence[str]) -> "Texts":
        """The column that holds `texts`, values sorted."""
        values = sorted(set(texts))
        number = {value: code for code, value in enumerate(values)}
        return Texts(torch.tensor([number[text] for text in texts], dtype=torch.long), tuple(values))

    def listed(self) -> tuple[str, ...]:
        """The text of each record."""
        return tuple(map(self.values.__getitem__, self.codes.tolist()))

    def select(self, rows: Int[Tensor, " rows"]) -> "Texts":
        """The column at `rows`; texts that no row holds any more are gone."""
        codes = self.codes[rows]
        held = self.held(codes)
        if len(held) == len(self.values):
            return Texts(codes, self.values)
        number = torch.zeros(len(self.values), dtype=torch.long)
        number[held] = torch.arange(len(held))
        return Texts(number[codes], tuple(self.values[code] for code in held.tolist()))

    def held(self, codes: Int[Tensor, " rows"]) -> Int[Tensor, " values"]:
        """Which of `values` occur in `codes`, ascending."""
        return torch.bincount(codes, minlength=len(self.values)).nonzero()[:, 0]

    def places(self, values: Sequence[str]) -> Int[Tensor, " records"]:
        """Position of each record's text in `values`; -1 where it is not there."""
        place = {value: position for position, value in enumerate(values)}
        return torch.tensor([place.get(value, -1) for value in self.values], dtype=torch.long)[self.codes]


Numbers = Float[Tensor, " records"]
"""A column of numbers, float64."""


@dataclass(frozen=True, eq=False)
class RawTable:
    """Feature columns and target of a table, untouched, in the order of the records.

    **Arguments:**

    - `columns`: feature columns by name, in the order of the file.
    - `target_name`, `target`: texts when records are sorted into classes, numbers for regression.
    - `left_out`: columns of the file that are no features.
    """

    columns: dict[str, Texts | Numbers]
    target_name: str
    target: Texts | Numbers
    left_out: tuple[str, ...] = ()

    @cached_property
    def numbers(self) -> Float[Tensor, "records columns"]:
        """The number columns side by side, float64."""
        found = [column for column in self.columns.values() if isinstance(column, Tensor)]
        return torch.stack(found, 1) if found else torch.zeros(length(self.target), 0, dtype=torch.float64)

    @property
    def texts(self) -> dict[str, Texts]:
        """The text columns, in order."""
        return {name: column for name, column in self.columns.items() if isinstance(column, Texts)}

    def select(self, rows: Int[Tensor, " rows"]) -> "RawTable":
        """The table at `rows`, in that order."""
        columns = {name: taken(column, rows) for name, column in self.columns.items()}
        return replace(self, columns=columns, target=taken(self.target, rows))


def taken(column: Texts | Numbers, rows: Int[Tensor, " rows"]) -> Texts | Float[Tensor, " rows"]:
    """A column at `rows`."""
    return column.select(rows) if isinstance(column, Texts) else column[rows]


def length(column: Texts | Numbers) -> int:
    """Number of records of a column."""
    return len(column.codes if isinstance(column, Texts) else column)
