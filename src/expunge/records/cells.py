"""The cells of one column, from Arrow to numbers or texts. Every cell is checked; errors name column and row.

A column is numbers when *all* its cells are, and texts when none is; anything in between is refused. No deletion can
therefore change what a column is. Messages never quote a cell: it may be personal.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from expunge.errors import OperatorError
from expunge.records.columns import bad, shown
from expunge.records.raw import Numbers, Texts

if TYPE_CHECKING:
    import pyarrow as pa

MAX_TEXTS: Final = 1000
"""Most distinct texts in a feature or target column."""

MAX_TEXT_LENGTH: Final = 1000
"""Longest text, in characters: longer ones are prose, not categories or ids."""

_UNBOUNDED: Final = r"^[ \t]*[+-]?([iI][nN][fF]([iI][nN][iI][tT][yY])?|[nN][aA][nN])[ \t]*$"
_NUMBER: Final = r"^[ \t]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t]*$"
_MISSING: Final = r"^[ \t]*([nN]/?[aA]|[nN]a[nN]|NAN|[nN]ull|NULL|[nN]one|\?|-)?[ \t]*$"


def feature(column: "pa.ChunkedArray", name: str, *, category: bool) -> Texts | Numbers:
    """A feature column: numbers when all cells are numbers, else texts.

    **Raises:** `OperatorError("bad-data")` as `numbers` and `texts`, and for the same value in every row.
    """
    found = texts(column, name) if category else _by_content(column, name)
    if _same_everywhere(found):
        raise bad(f"column {shown(name)} holds the same value in every row", "It tells a model nothing: leave it out.")
    return found


def class_target(column: "pa.ChunkedArray", name: str) -> Texts:
    """A target column of classes: texts, or whole numbers, which are brought to one form (`1` for `01` and `1.0`).

    **Raises:** `OperatorError("bad-data")` as `numbers` and `texts`, for fractions, and for a single class.
    """
    import pyarrow as pa

    found = texts(column, name) if pa.types.is_boolean(column.type) else _by_content(column, name)
    if isinstance(found, Tensor):
        if (row := _first((found != found.round()) | (found.abs() > 2**53))) is not None:
            raise bad(
                f"row {row} of the target column {shown(name)} is no whole number, so that it names no class",
                "Numbers are predicted by regression: ask for it.",
            )
        found = texts(pa.chunked_array([pa.array(found.long().numpy())]), name)
    if _same_everywhere(found):
        raise bad(f"the target column {shown(name)} holds one class only: there is nothing to learn")
    return found


def regression_target(column: "pa.ChunkedArray", name: str) -> Numbers:
    """A target column of numbers.

    **Raises:** `OperatorError("bad-data")` as `numbers`, and for the same value in every row.
    """
    found = numbers(column, name)
    if _same_everywhere(found):
        raise bad(f"the target column {shown(name)} holds the same value in every row: there is nothing to learn")
    return found


def numbers(column: "pa.ChunkedArray", name: str) -> Numbers:
    """The cells of a column as float64.

    **Raises:** `OperatorError("bad-data")` for a cell that is missing, infinite or text.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    _refuse_unfit(column, name)
    if _is_text(column.type):
        cells = _Cells.of(column, name)
        _refuse_mixture(cells, cells.matching(_NUMBER), name, numbers_belong=True)
        return cells.numbers(name)
    if (row := _first(_mask(pc.is_null(column, nan_is_null=True)))) is not None:
        raise _no_value(row, name)
    return _finite(torch.from_numpy(column.cast(pa.float64(), safe=False).to_numpy().copy()), name)


def texts(column: "pa.ChunkedArray", name: str, *, limit: int | None = MAX_TEXTS) -> Texts:
    """The cells of a column as texts, compared exactly; whole numbers count as texts.

    **Raises:** `OperatorError("bad-data")` for a missing cell, for more than `limit` distinct texts, and for a text
    longer than `MAX_TEXT_LENGTH`.
    """
    import pyarrow as pa

    _refuse_unfit(column, name)
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        raise bad(f"column {shown(name)} holds numbers with fractions where texts or whole numbers belong")
    if not _is_text(column.type):
        column = column.cast(pa.string())
    return _Cells.of(column, name).texts(name, limit)


@dataclass(frozen=True, eq=False)
class _Cells:
    """A text column as distinct values and which of them each row holds: checks then look at each value once."""

    codes: Int[Tensor, " rows"]
    values: "pa.StringArray"

    @staticmethod
    def of(column: "pa.ChunkedArray", name: str) -> "_Cells":
        """The distinct values of a column of texts; refuses empty and overlong ones."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        joined = column.unify_dictionaries().combine_chunks()
        joined = joined if isinstance(joined, pa.DictionaryArray) else joined.chunk(0)
        values = joined.dictionary.cast(pa.string())
        if (pc.max(pc.utf8_length(values)).as_py() or 0) > MAX_TEXT_LENGTH:
            raise bad(f"column {shown(name)} holds a text longer than {MAX_TEXT_LENGTH} characters")
        empty = pc.fill_null(pc.equal(values, ""), True)
        codes = torch.from_numpy(pc.fill_null(joined.indices.cast(pa.int64()), -1).to_numpy().copy())
        missing = (codes < 0) | _mask(empty)[codes] if len(values) else codes < 0
        if (row := _first(missing)) is not None:
            raise _no_value(row, name)
        return _Cells(codes, values)

    def matching(self, pattern: str) -> Bool[Tensor, " rows"]:
        """Which rows hold a text that matches."""
        import pyarrow.compute as pc

        return _mask(pc.match_substring_regex(self.values, pattern))[self.codes]

    def numbers(self, name: str) -> Numbers:
        """The column as float64; every row holds a number."""
        import pyarrow as pa
        import pyarrow.compute as pc

        trimmed = pc.utf8_trim_whitespace(self.values)
        plain = pc.if_else(pc.match_substring_regex(trimmed, _NUMBER), trimmed, "0")  # values that no row holds
        parsed = torch.from_numpy(pc.cast(plain, pa.float64()).to_numpy(zero_copy_only=False).copy())
        return _finite(parsed[self.codes], name)

    def texts(self, name: str, limit: int | None) -> Texts:
        """The column, its values distinct, sorted, and each held by a row."""
        held = torch.unique(self.codes).tolist()
        if limit is not None and len(held) > limit:
            raise bad(
                f"column {shown(name)} holds {len(held)} different texts: over {limit} are no categories",
                "Leave the column out, or group its texts.",
            )
        found = self.values.to_pylist()
        distinct = sorted({found[code] for code in held})
        place = {value: code for code, value in enumerate(distinct)}
        return Texts(torch.tensor([place.get(value, -1) for value in found])[self.codes], tuple(distinct))


def _same_everywhere(found: Texts | Numbers) -> bool:
    return len(found.values) == 1 if isinstance(found, Texts) else bool(found.min() == found.max())


def _by_content(column: "pa.ChunkedArray", name: str) -> Texts | Numbers:
    """Texts when no cell is a number, numbers when all are; refuses a mixture."""
    _refuse_unfit(column, name)
    if not _is_text(column.type):
        return numbers(column, name)
    cells = _Cells.of(column, name)
    is_number = cells.matching(_NUMBER)
    if not is_number.any():
        return cells.texts(name, MAX_TEXTS)
    _refuse_mixture(cells, is_number, name, numbers_belong=bool(is_number.double().mean() >= 0.5))
    return cells.numbers(name)


def _refuse_mixture(cells: _Cells, is_number: Bool[Tensor, " rows"], name: str, *, numbers_belong: bool) -> None:
    if is_number.all():
        return
    odd = _first(~is_number if numbers_belong else is_number)
    if odd == _first(cells.matching(_MISSING)):
        raise _no_value(odd, name)
    if numbers_belong and odd == _first(cells.matching(_UNBOUNDED)):
        raise bad(f"row {odd} of column {shown(name)} is not finite")
    cell, rest = ("text", "numbers") if numbers_belong else ("a number", "texts")
    raise bad(
        f"row {odd} of column {shown(name)} holds {cell} where {rest} belong",
        "Correct the cell; if the column names things rather than counts them, declare it a category.",
    )


def _finite(found: Numbers, name: str) -> Numbers:
    if (row := _first(~torch.isfinite(found))) is not None:
        raise bad(f"row {row} of column {shown(name)} is not finite")
    return found


def _no_value(row: int | None, name: str) -> OperatorError:
    return bad(f"row {row} of column {shown(name)} has no value", "Fill it in, or leave the row or the column out.")


def _refuse_unfit(column: "pa.ChunkedArray", name: str) -> None:
    import pyarrow as pa

    kind = column.type
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if not (numeric or pa.types.is_boolean(kind) or _is_text(kind)):
        raise bad(
            f"column {shown(name)} is of type {str(kind)[:40]}: neither numbers nor texts",
            "Convert it or leave it out.",
        )


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(inner) or pa.types.is_large_string(inner))


def _mask(found: "pa.Array | pa.ChunkedArray") -> Bool[Tensor, " cells"]:
    import pyarrow as pa

    plain = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
    return torch.from_numpy(plain.fill_null(False).to_numpy(zero_copy_only=False).astype(bool))


def _first(mask: Bool[Tensor, " rows"]) -> int | None:
    """Row, counted from 1, of the first True."""
    return int(mask.int().argmax()) + 1 if bool(mask.any()) else None
