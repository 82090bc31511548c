"""The front doors: `load` reads records from anywhere, `prepare` treats new data as recorded ones were."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Float
from torch import Tensor

from expunge.errors import OperatorError
from expunge.records.arrays import Array, prepare_array
from expunge.records.columns import Columns, bad
from expunge.records.digits import digits
from expunge.records.files import kind_of, read_bytes
from expunge.records.idx import idx
from expunge.records.npz import npz
from expunge.records.preparation import Preparation
from expunge.records.records import Records
from expunge.records.storage import from_bytes
from expunge.records.table import prepare_table, table

if TYPE_CHECKING:
    import pyarrow as pa


def load(
    source: str | Path,
    *,
    target: str | None = None,
    owner: str | None = None,
    record: str | None = None,
    split: str | None = None,
    regression: bool = False,
    categories: Sequence[str] = (),
    ignore: Sequence[str] = (),
    preparation: Preparation | None = None,
    classes: int | None = None,
    test_share: float = 0.2,
) -> Records:
    """The records of `digits`, of a file (CSV, Parquet, `.npz`, IDX, records in safetensors) or of an IDX folder.

    **Arguments:**

    - `target`, `owner`, `record`, `split`, `categories`, `ignore`: columns of a table; see `Columns`.
    - `regression`: the target is a number.
    - `preparation`: of a table's columns, declared beforehand; by default fitted on the records.
    - `classes`: number of classes of images and arrays; by default one more than the largest label.
    - `test_share`: probability of each record to be held out, where the data do not say which are.

    **Raises:** `OperatorError("no-such-file" | "bad-data" | "bad-arguments")`,
    `AttackSuspected("pickle-refused" | "archive-bomb")`.
    """
    asked = _asked(target=target, owner=owner, record=record, split=split, regression=regression)
    asked |= _asked(categories=categories, ignore=ignore, preparation=preparation, classes=classes)
    kind = _kind(source)
    _check_options(kind, asked)
    if target is not None:
        columns = Columns(target, owner, record, split, regression, tuple(categories), tuple(ignore))
        return table(source, columns, preparation=preparation, test_share=test_share)
    if kind == "npz":
        return npz(Path(source), regression=regression, classes=classes, test_share=test_share)
    if kind == "idx":
        return idx(Path(source), classes=classes, test_share=test_share)
    return digits(test_share=test_share) if kind == "digits" else from_bytes(read_bytes(Path(source)))


def prepare(
    data: "str | Path | pa.Table | Mapping[str, Sequence[Any]] | Array", preparation: Preparation
) -> Float[Tensor, "records *shape"]:
    """Features of new data, treated as the records that `preparation` stands in were.

    **Arguments:** `data`: a table (file, Arrow, columns by name) or an array, whichever the records came from.

    **Raises:** `OperatorError("bad-data")` where the data do not fit.
    """
    kind = preparation.get("kind")
    if kind == "table" and not isinstance(data, np.ndarray):
        return prepare_table(data, preparation)
    if kind == "array" and isinstance(data, np.ndarray):
        return prepare_array(data, preparation)
    raise bad("the preparation is of another kind than the data")


_OPTIONS: Final = {
    "table": {"target", "owner", "record", "split", "regression", "categories", "ignore", "preparation"},
    "npz": {"regression", "classes"},
    "idx": {"classes"},
    "digits": set[str](),
    "safetensors": set[str](),
}


def _kind(source: str | Path) -> str:
    if str(source) == "digits":
        return "digits"
    if Path(source).is_dir():
        return "idx"
    kind = kind_of(Path(source))
    return "table" if kind in ("csv", "parquet") else kind


def _asked(**options: object) -> set[str]:
    return {option for option, value in options.items() if value}


def _check_options(kind: str, asked: set[str]) -> None:
    if unfit := sorted(asked - _OPTIONS[kind]):
        raise OperatorError("bad-arguments", f"{unfit[0]} does not apply to records of kind {kind}")
    if kind == "table" and "target" not in asked:
        raise OperatorError("bad-arguments", "a table needs a target column", "Name it with --target.")
