"""Records: training examples with stable ids, the people they belong to, and the split they are in."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import itemgetter
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from expunge.errors import OperatorError, ProgrammerError, RequesterError
from expunge.records.columns import first_repeated
from expunge.records.preparation import apply, fit
from expunge.records.raw import RawTable
from expunge.records.splits import TEST, TRAIN


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
    - `raw`: the columns before that, for tables: what `refit` fits a preparation on. Whoever changes features or
      targets of a table by hand sets it to `None`.

    **Raises:** `ProgrammerError("bad-shape")`, `OperatorError("bad-data")`.
    """

    features: Float[Tensor, "records *shape"]
    targets: Shaped[Tensor, " records"]
    ids: tuple[str, ...]
    owners: tuple[str, ...]
    split: tuple[str, ...]
    classes: int
    preparation: dict[str, Any] = field(default_factory=dict)
    raw: RawTable | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.features), len(self.targets), len(self.ids), len(self.owners), len(self.split)}
        if len(lengths) != 1:
            raise ProgrammerError("bad-shape", f"features, targets, ids, owners, split differ in length: {lengths}")
        if self.targets.is_floating_point() == bool(self.classes):
            kind = "class numbers" if self.classes else "floating-point numbers"
            raise ProgrammerError("bad-shape", f"targets must be {kind}, not {self.targets.dtype}")
        if not all_finite(self.features) or not all_finite(self.targets):
            raise OperatorError("bad-data", "features or targets hold NaN or infinity")
        if (place := first_repeated(self.ids)) is not None:
            raise OperatorError("bad-data", f"record ids are not unique: row {place} repeats the id of an earlier row")
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
        """The records at `rows`, in that order; no row may stand twice."""
        index = torch.as_tensor(rows, dtype=torch.long)
        listed = index.tolist()
        return replace(
            self,
            features=self.features[index],
            targets=self.targets[index],
            ids=_taken(self.ids, listed),
            owners=_taken(self.owners, listed),
            split=_taken(self.split, listed),
            raw=None if self.raw is None else self.raw.select(index),
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

    def refit(self) -> "Records":
        """The same records under the preparation that they alone call for: what loading just them would have given.

        Training an exact model on what is left of a table begins here; call it on training and test records together.
        Returns `self` where nothing changes: images, declared preparations, and most deletions from large tables, for
        statistics are rounded. So `records.refit() is records` says that nothing deleted lives on in the preparation.
        """
        if self.raw is None:
            return self._with_counted_classes()
        if not self.preparation["fitted"] or TRAIN not in self.split:
            return self
        return self._under(fit(self.raw, torch.tensor([part == TRAIN for part in self.split])))

    def prepared_like(self, other: "Records") -> "Records":
        """These records as a model trained on `other` sees them.

        Texts that `other` does not know become all zeros. Records of a class that it does not know are left out: no
        output of the model stands for them.
        """
        if self.raw is not None and other.raw is not None:
            return self._under(other.preparation)
        if self.classes <= other.classes or not len(self) or int(self.targets.max()) < other.classes:
            return self if self.classes == other.classes else replace(self, classes=other.classes)
        return replace(self.select((self.targets < other.classes).nonzero()[:, 0]), classes=other.classes)

    def check_raw(self) -> None:
        """Refuse features or targets that are not what the raw columns give.

        **Raises:** `ProgrammerError("bad-shape")`.
        """
        if self.raw is None:
            return
        features, targets, _ = apply(self.raw, self.preparation)
        if not (features.equal(self.features) and targets.equal(self.targets)):
            raise ProgrammerError("bad-shape", "features or targets were changed by hand, and the raw columns were not")

    def _under(self, preparation: dict[str, Any]) -> "Records":
        if preparation == self.preparation or self.raw is None:
            return self
        self.check_raw()
        features, targets, classes = apply(self.raw, preparation)
        if classes and bool((targets < 0).any()):
            return self.select((targets >= 0).nonzero()[:, 0])._under(preparation)
        return replace(self, features=features, targets=targets, classes=classes, preparation=preparation)

    def _with_counted_classes(self) -> "Records":
        """Class numbers that were counted, not declared, are counted again."""
        if self.preparation.get("classes") != "counted" or not len(self):
            return self
        classes = int(self.targets.max()) + 1
        return self if classes == self.classes else replace(self, classes=classes)

    def _part(self, name: str) -> "Records":
        return self.select([row for row, part in enumerate(self.split) if part == name])


def all_finite(values: Shaped[Tensor, "..."]) -> bool:
    """Whether nothing is NaN or infinite: one quick sum, which shows either, and a closer look only where it does."""
    return bool(torch.isfinite(values.sum())) or bool(torch.isfinite(values).all())


def _taken(texts: tuple[str, ...], rows: list[int]) -> tuple[str, ...]:
    """Texts at `rows`; `itemgetter` is quick, and gives a tuple for two rows or more."""
    return itemgetter(*rows)(texts) if len(rows) > 1 else tuple(texts[row] for row in rows)
