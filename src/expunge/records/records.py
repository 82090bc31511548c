"""Records: training examples with stable ids, the people they belong to, and the split they are in."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from expunge.errors import OperatorError, ProgrammerError, RequesterError

TRAIN: Final = "train"
TEST: Final = "test"


@dataclass(frozen=True, eq=False)
class Records:
    """Records in a fixed order. Deleting keeps the order of the rest, so that positions derive from ids alone.

    **Arguments:**

    - `features`: `[records, *shape]`, float32, finite. Pixels in [0, 1]; table columns standardised.
    - `targets`: `[records]`; int64 class numbers in [0, classes), or float32 when `classes` is 0 (regression).
    - `ids`: one stable id a record, all different.
    - `owners`: the person each record belongs to.
    - `split`: `"train"` or `"test"` for each record.
    - `classes`: number of classes, 0 for regression.
    - `preparation`: what the loader did to the columns, as plain JSON, so that new data can be treated alike.

    **Raises:** `ProgrammerError("bad-shape")`, `OperatorError("bad-data")`.
    """

    features: Float[Tensor, "records *shape"]
    targets: Shaped[Tensor, " records"]
    ids: tuple[str, ...]
    owners: tuple[str, ...]
    split: tuple[str, ...]
    classes: int
    preparation: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {len(self.features), len(self.targets), len(self.ids), len(self.owners), len(self.split)}
        if len(lengths) != 1:
            raise ProgrammerError("bad-shape", f"features, targets, ids, owners, split differ in length: {lengths}")
        if not torch.isfinite(self.features).all() or not torch.isfinite(self.targets).all():
            raise OperatorError("bad-data", "features or targets hold NaN or infinity")
        if len(set(self.ids)) != len(self.ids):
            _, times = Counter(self.ids).most_common(1)[0]
            raise OperatorError("bad-data", f"record ids are not unique: one stands {times} times")
        if self.classes and len(self) and not 0 <= int(self.targets.min()) <= int(self.targets.max()) < self.classes:
            raise OperatorError("bad-data", f"targets must be class numbers in [0, {self.classes})")
        if unknown := set(self.split) - {TRAIN, TEST}:
            raise OperatorError("bad-data", f"split must be train or test, not {sorted(unknown)[0][:20]!r}")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one record's features."""
        return tuple(self.features.shape[1:])

    @cached_property
    def train(self) -> "Records":
        """The records that models are trained on."""
        return self._part(TRAIN)

    @cached_property
    def test(self) -> "Records":
        """The records that no model is trained on."""
        return self._part(TEST)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Position of each id."""
        return {record: row for row, record in enumerate(self.ids)}

    def select(self, rows: Sequence[int] | Int[Tensor, " rows"]) -> "Records":
        """The records at `rows`, in that order."""
        index = torch.as_tensor(rows, dtype=torch.long)
        listed = index.tolist()
        return replace(
            self,
            features=self.features[index],
            targets=self.targets[index],
            ids=tuple(self.ids[row] for row in listed),
            owners=tuple(self.owners[row] for row in listed),
            split=tuple(self.split[row] for row in listed),
        )

    def without(self, ids: Collection[str]) -> "Records":
        """All records but `ids`; ids that are not here are no error, so that deleting is idempotent."""
        gone = frozenset(ids)
        return self.select([row for row, record in enumerate(self.ids) if record not in gone])

    def rows(self, ids: Collection[str]) -> list[int]:
        """Positions of `ids`, ascending.

        **Raises:** `RequesterError("unknown-record")` when one is not here.
        """
        missing = sum(record not in self.row_of for record in ids)
        if missing:
            raise RequesterError("unknown-record", f"{missing} of the {len(ids)} record ids are not in this data")
        return sorted(self.row_of[record] for record in ids)

    def owned_by(self, owner: str) -> tuple[str, ...]:
        """Ids of the records of one person.

        **Raises:** `RequesterError("unknown-owner")` when there is none.
        """
        found = tuple(record for record, who in zip(self.ids, self.owners, strict=True) if who == owner)
        if not found:
            raise RequesterError("unknown-owner", "no record belongs to the owner that was named")
        return found

    def _part(self, name: str) -> "Records":
        return self.select([row for row, part in enumerate(self.split) if part == name])
