"""Tables of people: a target column, an owner column, and feature columns of numbers or texts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from expunge.records.arrow import MAX_CELLS, read_table
from expunge.records.cells import class_target, feature, numbers, regression_target, texts
from expunge.records.columns import Columns, bad, check_names, first_repeated, listed, shown
from expunge.records.preparation import Preparation, apply, checked, features_of, fit, width_of
from expunge.records.raw import Numbers, RawTable, Texts
from expunge.records.records import Records
from expunge.records.splits import TEST, TRAIN, draw_split
from expunge.records.storage import check_recordable

if TYPE_CHECKING:
    import pyarrow as pa


def table(
    source: "str | Path | pa.Table | Mapping[str, Sequence[Any]]",
    columns: Columns,
    *,
    preparation: Preparation | None = None,
    test_share: float = 0.2,
) -> Records:
    """The records of a table: a CSV or Parquet file, an Arrow table, or columns by name.

    **Arguments:**

    - `preparation`: declared beforehand, from knowledge other than these records; kept at every `refit`. Without it
      one is fitted on the records.
    - `test_share`: probability of each record to be held out, where no column says it.

    **Raises:** `OperatorError("bad-data")` naming column and row, `("no-such-file")`, `("bad-arguments")`.
    """
    cells = as_arrow(source)
    names = columns.features(cells.column_names)
    raw = _raw(cells, columns, names)
    ids = _ids(cells, columns)
    split = _split(cells, columns, ids, test_share)
    train = torch.tensor([part == TRAIN for part in split])
    if not train.any():
        raise bad("no row is a training record", "Hold out fewer.")
    used = fit(raw, train) if preparation is None else _declared(raw, preparation, train)
    if width_of(used["columns"]) * len(ids) > MAX_CELLS:
        raise bad(f"the columns would become {width_of(used['columns']):,} features of each record: too many")
    check_recordable(used)
    features, targets, classes = apply(raw, used)
    return Records(features, targets, ids, _owners(cells, columns, ids), split, classes, used, raw)


def prepare_table(
    source: "str | Path | pa.Table | Mapping[str, Sequence[Any]]", preparation: Preparation
) -> Float[Tensor, "rows width"]:
    """Features of new rows, treated as the recorded ones were; a text that was never seen becomes all zeros.

    Columns that had another use when the preparation was made (target, owner, id) may be there and are not read.

    **Raises:** `OperatorError("bad-data")` for a column that is missing, unknown, or of another kind than recorded.
    """
    steps = checked(preparation)["columns"]
    cells = as_arrow(source)
    found = set(cells.column_names)
    names = [step["name"] for step in steps]
    if missing := [name for name in names if name not in found]:
        raise bad(f"the preparation needs column {shown(missing[0])}; there are {listed(cells.column_names)}")
    if unknown := sorted(found.difference(names, preparation["left_out"])):
        raise bad(f"column {shown(unknown[0])} is not in the preparation")
    columns = {step["name"]: _again(cells.column(step["name"]), step) for step in steps}
    return features_of(columns, preparation, len(cells))


def as_arrow(source: "str | Path | pa.Table | Mapping[str, Sequence[Any]]") -> "pa.Table":
    """Any of the forms of a table as an Arrow table with at least one row; raises as `table`."""
    import pyarrow as pa

    if isinstance(source, str | Path):
        return read_table(Path(source))
    try:
        cells = source if isinstance(source, pa.Table) else pa.table(dict(source))
    except (pa.ArrowException, TypeError, ValueError):
        raise bad("these columns make no table: one of them mixes kinds, or is shorter than the others") from None
    check_names(cells.column_names)
    if not len(cells):
        raise bad("the table has no rows")
    return cells


def _raw(cells: "pa.Table", columns: Columns, names: Sequence[str]) -> RawTable:
    target = cells.column(columns.target)
    features = {name: feature(cells.column(name), name, category=name in columns.categories) for name in names}
    read_target = regression_target if columns.regression else class_target
    left_out = tuple(name for name in cells.column_names if name not in features)
    return RawTable(features, columns.target, read_target(target, columns.target), left_out)


def _ids(cells: "pa.Table", columns: Columns) -> tuple[str, ...]:
    if columns.record is None:
        return tuple(f"row-{row:07d}" for row in range(1, len(cells) + 1))
    ids = texts(cells.column(columns.record), columns.record, limit=None).listed()
    if (row := first_repeated(ids)) is not None:
        raise bad(f"row {row} of column {shown(columns.record)} repeats the id of an earlier row")
    return ids


def _owners(cells: "pa.Table", columns: Columns, ids: tuple[str, ...]) -> tuple[str, ...]:
    return ids if columns.owner is None else texts(cells.column(columns.owner), columns.owner, limit=None).listed()


def _split(cells: "pa.Table", columns: Columns, ids: tuple[str, ...], test_share: float) -> tuple[str, ...]:
    if columns.split is None:
        return draw_split(ids, test_share=test_share)
    split = texts(cells.column(columns.split), columns.split).listed()
    for row, part in enumerate(split, 1):
        if part not in (TRAIN, TEST):
            raise bad(f"row {row} of column {shown(columns.split)} is neither train nor test")
    return split


def _declared(raw: RawTable, preparation: Preparation, train: Bool[Tensor, " records"]) -> Preparation:
    """A declared preparation must know every text of the training records and every class: it was made for them."""
    declared = {**checked(preparation), "fitted": False, "left_out": list(raw.left_out)}
    names = [step["name"] for step in declared["columns"]]
    if names != list(raw.columns):
        raise bad(f"the declared preparation is for columns {listed(names)}; there are {listed(list(raw.columns))}")
    if declared["target"]["name"] != raw.target_name:
        raise bad(f"the declared preparation is for target {shown(declared['target']['name'])}")
    for step in declared["columns"]:
        _check_step(raw.columns[step["name"]], step, train)
    _check_step(raw.target, declared["target"], torch.ones_like(train))
    return declared


def _check_step(column: Texts | Numbers, step: Mapping[str, Any], needed: Bool[Tensor, " records"]) -> None:
    name = step["name"]
    if isinstance(column, Texts) != ("values" in step):
        raise bad(f"the preparation takes column {shown(name)} for a {step['kind']}, and its cells are of another kind")
    if isinstance(column, Texts) and (unknown := needed & (column.places(step["values"]) < 0)).any():
        raise bad(f"row {int(unknown.int().argmax()) + 1} of column {shown(name)} is not listed in the preparation")


def _again(column: "pa.ChunkedArray", step: Mapping[str, Any]) -> Texts | Numbers:
    name = step["name"]
    return texts(column, name, limit=None) if step["kind"] == "category" else numbers(column, name)
