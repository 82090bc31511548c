"""Arrays of images or numbers into features, and arrays of labels into targets: nothing is fitted on the records.

Pixels (uint8) are divided by 255 and images get a channel axis; all else stays as it is. What was done stands in the
preparation and can be replayed on new data.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from expunge.errors import OperatorError
from expunge.records.columns import bad, first_repeated
from expunge.records.preparation import Preparation
from expunge.records.records import Records, all_finite
from expunge.records.splits import draw_split

MAX_CLASSES: Final = 10_000
"""Labels are class numbers below this."""

_CHANNELS: Final = (1, 3, 4)

Array = np.ndarray[Any, np.dtype[Any]]


def from_arrays(
    arrays: Mapping[str, Array], *, regression: bool = False, classes: int | None = None, test_share: float = 0.2
) -> Records:
    """Records of the arrays `features` and `targets`, with `ids`, `owners` and `split` where they are there.

    **Raises:** `OperatorError("bad-data")`.
    """
    if missing := [name for name in ("features", "targets") if name not in arrays]:
        raise bad(f"there is no array {missing[0]!r}")
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise bad(f"the arrays differ in length: {', '.join(f'{n} {size}' for n, size in lengths.items())}")
    preparation = array_preparation(arrays["features"])
    targets, count = labels(arrays["targets"], regression=regression, classes=classes)
    ids = text_array(arrays, "ids") or tuple(f"row-{row:07d}" for row in range(1, len(targets) + 1))
    if (row := first_repeated(ids)) is not None:
        raise bad(f"row {row} of the ids repeats an earlier one")
    return Records(
        prepare_array(arrays["features"], preparation),
        targets,
        ids,
        text_array(arrays, "owners") or ids,
        text_array(arrays, "split") or draw_split(ids, test_share=test_share),
        count,
        preparation if regression else {**preparation, "classes": "counted" if classes is None else "declared"},
    )


def array_preparation(array: Array) -> Preparation:
    """What features of this type and shape call for: decided by them alone, never by the values.

    **Raises:** `OperatorError("bad-data")` for arrays of anything but numbers, and without a feature axis.
    """
    if array.dtype.kind not in "buif":
        raise bad(f"features are numbers, not {array.dtype}")
    if array.ndim < 2 or 0 in array.shape:
        raise bad(f"features are [records, ...] with at least one of each, not {list(array.shape)}")
    axes = "as-is"
    if array.ndim == 3:
        axes = "add-channel"
    elif array.ndim == 4 and array.shape[3] in _CHANNELS and array.shape[1] not in _CHANNELS:
        axes = "channels-last"
    divisor = 255.0 if array.dtype == np.uint8 else 1.0
    return {"kind": "array", "divisor": divisor, "axes": axes, "shape": list(array.shape[1:])}


def prepare_array(array: Array, preparation: Preparation) -> Float[Tensor, "records *shape"]:
    """Features of an array under a recorded preparation.

    **Raises:** `OperatorError("bad-data")` for another shape, and for NaN and infinity, naming the row.
    """
    if list(array.shape[1:]) != preparation["shape"] or array.dtype.kind not in "buif":
        raise bad(f"features are numbers of shape {preparation['shape']} for each record, not {list(array.shape[1:])}")
    found = torch.from_numpy(_float32(array))
    if array.dtype.kind == "f" and not all_finite(found):
        row = int((~torch.isfinite(found).flatten(1).all(1)).int().argmax()) + 1
        raise bad(f"row {row} of the features holds NaN, infinity, or a number too large for float32")
    found /= preparation["divisor"]
    if preparation["axes"] == "add-channel":
        return found[:, None]
    return found.permute(0, 3, 1, 2).contiguous() if preparation["axes"] == "channels-last" else found


def labels(array: Array, *, regression: bool = False, classes: int | None = None) -> tuple[Tensor, int]:
    """Targets and number of classes: declared as `classes`, or one more than the largest label.

    **Raises:** `OperatorError("bad-data")` for labels that name no class, naming the row, and for a single class.
    """
    if array.dtype.kind not in "buif" or array.size != len(array) or not len(array):
        raise bad(f"targets are one number for each record, not {array.dtype} {list(array.shape)}")
    flat = np.array(array, dtype=np.float64).reshape(-1)
    if not regression:
        return _class_labels(flat, MAX_CLASSES if classes is None else classes, counted=classes is None)
    values = _float32(flat)
    _refuse_row(~np.isfinite(values), "is NaN, infinite, or too large for float32")
    return torch.from_numpy(values), 0


def text_array(arrays: Mapping[str, Array], name: str) -> tuple[str, ...]:
    """The array `name` of texts, or of whole numbers, as texts; nothing where it is not there.

    **Raises:** `OperatorError("bad-data")` for anything else, and for an empty text, naming the row.
    """
    if name not in arrays:
        return ()
    array: Array = arrays[name]
    if array.ndim != 1 or array.dtype.kind not in "iuUS":
        raise bad(f"array {name!r} is a list of texts or whole numbers, not {array.dtype} {list(array.shape)}")
    try:
        found = [item.decode() for item in array.tolist()] if array.dtype.kind == "S" else array.astype(str).tolist()
        "".join(found).encode()
    except (UnicodeError, ValueError, SystemError):  # NumPy reports code points beyond Unicode as a SystemError
        raise bad(f"array {name!r} is not Unicode") from None
    if "" in found:
        raise bad(f"row {found.index('') + 1} of {name!r} is empty")
    return tuple(found)


def _class_labels(flat: Shaped[np.ndarray, " records"], limit: int, *, counted: bool) -> tuple[Tensor, int]:
    if not 1 < limit <= MAX_CLASSES:
        raise OperatorError("bad-arguments", f"the number of classes must be in [2, {MAX_CLASSES:,}], not {limit}")
    with np.errstate(invalid="ignore"):
        wrong = ~np.isfinite(flat) | (flat != np.floor(flat)) | (flat < 0) | (flat >= limit)
    _refuse_row(wrong, f"is no class number in [0, {limit:,})")
    if flat.min() == flat.max():
        raise bad("all targets are of one class: there is nothing to learn")
    return torch.from_numpy(flat.astype(np.int64)), int(flat.max()) + 1 if counted else limit


def _float32(array: Array) -> Array:
    """A copy; what float32 cannot hold becomes infinite, and is refused later."""
    with np.errstate(over="ignore"):
        return np.array(array, dtype=np.float32, order="C")


def _refuse_row(wrong: Shaped[np.ndarray, " records"], what: str) -> None:
    if wrong.any():
        raise bad(f"row {int(wrong.argmax()) + 1} of the targets {what}")
