"""Any torch `Dataset` as records."""

from collections.abc import Sequence, Sized
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from expunge.errors import ProgrammerError
from expunge.records.arrays import Array, from_arrays
from expunge.records.records import Records


def from_dataset(
    dataset: Dataset[Any],
    *,
    owners: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    split: Sequence[str] | None = None,
    regression: bool = False,
    classes: int | None = None,
    test_share: float = 0.2,
) -> Records:
    """The records of a map-style dataset that yields `(features, target)`, read once, in order.

    **Arguments:**

    - `owners`, `ids`, `split`: one text for each item; by default each item is its own owner, is called by its
      position, and is held out with probability `test_share`.
    - `regression`: targets are numbers; else they are class numbers, `classes` of them or as many as are found.

    **Raises:** `ProgrammerError("bad-shape")` for items that are no such pairs or differ in shape;
    `OperatorError("bad-data")` for what they hold.
    """
    if not isinstance(dataset, Sized) or not len(dataset):
        raise ProgrammerError("bad-shape", "the dataset has no length, or no items")
    pairs = [_pair(dataset[row], row) for row in range(len(dataset))]
    arrays = {
        "features": _stacked([features for features, _ in pairs], "features"),
        "targets": _stacked([target for _, target in pairs], "targets"),
    }
    for name, texts in {"ids": ids, "owners": owners, "split": split}.items():
        if texts is not None:
            arrays[name] = np.array([str(text) for text in texts], dtype=str)
    return from_arrays(arrays, regression=regression, classes=classes, test_share=test_share)


def _pair(item: object, row: int) -> tuple[Array, Array]:
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise ProgrammerError("bad-shape", f"item {row} of the dataset is no pair of features and target")
    return _array(item[0], row), _array(item[1], row)


def _array(value: object, row: int) -> Array:
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic | int | float):
        return np.asarray(value)
    raise ProgrammerError("bad-shape", f"item {row} of the dataset holds a {type(value).__name__}, not a tensor")


def _stacked(arrays: list[Array], name: str) -> Array:
    first = arrays[0]
    for row, array in enumerate(arrays):
        if array.shape != first.shape or array.dtype != first.dtype:
            raise ProgrammerError("bad-shape", f"{name} of item {row} differ from those of item 0 in shape or type")
    return np.stack(arrays)
