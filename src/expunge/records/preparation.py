"""Preparation: from the columns of a table to features, as plain JSON that can be replayed on new data.

A preparation is a *function of the records alone*: column statistics come from the training records, lists of texts
from the training records, the list of classes from all records. So `Records.refit` after a deletion gives what loading
the file without the deleted rows would have given, which is what the claim `exact` needs.

Statistics are rounded on purpose: the scale to a power of two, the centre to half a scale. A deletion then seldom moves
them, and as long as they do not move, nothing that was trained under them depends on the deleted records through them.
Standardised columns have standard deviation in [0.70, 1.42] and mean in [-0.25, 0.25].
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from expunge.records.columns import bad, check_distinct
from expunge.records.raw import Numbers, RawTable, Texts, length

CLIP = 1e6
"""Standardised numbers are clipped to [-CLIP, CLIP], so that float32 holds every one of them."""

Preparation = dict[str, Any]
"""Plain JSON: `kind`, `fitted`, and for tables `columns` and `target`; see `docs/data.md`."""


def fit(raw: RawTable, train: Bool[Tensor, " records"]) -> Preparation:
    """The preparation that these records call for.

    **Arguments:** `train`: which of them are training records.
    """
    columns = [{"name": name, **_fit_column(column, train)} for name, column in raw.columns.items()]
    target = {"name": raw.target_name, **_fit_target(raw, train)}
    return {"kind": "table", "fitted": True, "columns": columns, "target": target, "left_out": list(raw.left_out)}


def apply(raw: RawTable, preparation: Preparation) -> tuple[Float[Tensor, "records width"], Tensor, int]:
    """Features, targets and number of classes of all records under `preparation`.

    A text that the preparation does not list becomes all zeros. **Raises:** `KeyError` for a column that `raw` lacks.
    """
    target = preparation["target"]
    features = features_of(raw.columns, preparation, length(raw.target))
    if isinstance(raw.target, Texts):
        return features, raw.target.places(target["values"]), len(target["values"])
    return features, _standardised(raw.target, target), 0


def features_of(columns: Mapping[str, Texts | Numbers], preparation: Preparation, records: int) -> Tensor:
    """Features `[records, width]`, float32, in the order that the preparation records."""
    steps = preparation["columns"]
    features = torch.zeros(records, width_of(steps))
    place = 0
    for step in steps:
        column = columns[step["name"]]
        if isinstance(column, Texts):
            _set_one_hot(features[:, place : place + _width(step)], column.places(step["values"]))
        else:
            features[:, place] = _standardised(column, step)
        place += _width(step)
    return features


def width_of(steps: Iterable[Mapping[str, Any]]) -> int:
    """Number of features that the columns become."""
    return sum(_width(step) for step in steps)


def feature_names(preparation: Preparation) -> list[str]:
    """A name for each feature of a table, in order: `age`, `city=Oslo`, `city=Rome`.

    **Raises:** `OperatorError("bad-data")` for the preparation of what is no table.
    """
    if preparation.get("kind") != "table":
        raise bad("the records are no table: their features have no names", "Give a table (.csv, .parquet).")
    return [
        name
        for step in preparation["columns"]
        for name in (
            [f"{step['name']}={value}" for value in step["values"]] if step["kind"] == "category" else [step["name"]]
        )
    ]


def restore_targets(
    values: Float[Tensor, "*batch records"], preparation: Preparation
) -> Float[Tensor, "*batch records"]:
    """Regression targets or predictions back in the units of the file."""
    target = preparation["target"]
    return values.double() * float(target["scale"]) + float(target["centre"])


def checked(preparation: Any) -> Preparation:
    """A table preparation that came from outside, with every part that replaying it reads.

    **Raises:** `OperatorError("bad-data")`.
    """
    if not isinstance(preparation, dict) or preparation.get("kind") != "table":
        raise bad("this is no preparation of a table")
    steps = preparation.get("columns")
    if not isinstance(steps, list) or not steps or not all(_fits(step, "category") for step in steps):
        raise bad("a column of the preparation is malformed")
    if not _fits(preparation.get("target"), "class"):
        raise bad("the target of the preparation is malformed")
    left_out = preparation.get("left_out", [])
    if not isinstance(left_out, list) or not all(isinstance(name, str) for name in left_out):
        raise bad("the list of columns that the preparation leaves out is malformed")
    check_distinct([step["name"] for step in steps])
    return {**preparation, "left_out": left_out}


def _fits(step: Any, listing: str) -> bool:
    """Whether a step is a number with centre and scale, or a `listing` with distinct texts."""
    if not isinstance(step, dict) or not isinstance(step.get("name"), str):
        return False
    if step.get("kind") == "number":
        return _is_real(step.get("centre")) and _is_real(step.get("scale")) and step["scale"] > 0
    values = step.get("values")
    if step.get("kind") != listing or not isinstance(values, list):
        return False
    return all(isinstance(value, str) for value in values) and len(set(values)) == len(values)


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def ordered(values: Iterable[str]) -> list[str]:
    """Class texts in the order that numbers them: by value when all are whole numbers, else by code point."""
    found = list(values)
    if all(value.removeprefix("-").isdecimal() and value.isascii() for value in found):
        return sorted(found, key=lambda value: (int(value), value))
    return sorted(found)


def _fit_column(column: Texts | Numbers, train: Tensor) -> dict[str, Any]:
    if isinstance(column, Texts):
        held = column.held(column.codes[train])
        return {"kind": "category", "values": sorted(column.values[code] for code in held.tolist())}
    centre, scale = rounded_statistics(column[train])
    return {"kind": "number", "centre": centre, "scale": scale}


def _fit_target(raw: RawTable, train: Tensor) -> dict[str, Any]:
    if isinstance(raw.target, Texts):
        return {"kind": "class", "values": ordered(raw.target.values)}
    return _fit_column(raw.target, train)


def rounded_statistics(numbers: Float[Tensor, " records"]) -> tuple[float, float]:
    """Centre and scale: the mean to the nearest half scale, the standard deviation to the nearest power of two.

    A column without spread has scale 1. The largest magnitude is divided out first, so that no square overflows. Summed
    by NumPy, whose order of summation does not depend on the number of threads.
    """
    values = numbers.numpy()
    largest = float(abs(values).max()) if len(values) else 0.0
    if not largest:
        return 0.0, 1.0
    spread = float((values / largest).std()) * largest if values.min() < values.max() else 0.0
    scale = 2.0 ** min(max(round(math.log2(spread)), -1000), 1000) if spread else 1.0
    return _round_half(float((values / largest).mean()) * largest, scale), scale


def _round_half(value: float, scale: float) -> float:
    """Nearest multiple of half a scale; the value itself where float64 has no finer steps anyway."""
    steps = value / (scale / 2)
    return float(round(steps)) * (scale / 2) if abs(steps) < 2**53 else value


def _standardised(numbers: Tensor, step: Mapping[str, Any]) -> Float[Tensor, " records"]:
    return ((numbers - float(step["centre"])) / float(step["scale"])).clamp(-CLIP, CLIP).float()


def _set_one_hot(block: Shaped[Tensor, "records values"], places: Int[Tensor, " records"]) -> None:
    rows = (places >= 0).nonzero()[:, 0]
    block[rows, places[rows]] = 1.0


def _width(step: Mapping[str, Any]) -> int:
    values: Sequence[str] | None = step.get("values")
    return 1 if values is None else len(values)
