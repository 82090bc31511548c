"""CSV and Parquet files into Arrow tables, with what they declare checked first."""

import codecs
import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

from expunge.records.columns import bad, check_names
from expunge.records.files import MAX_BYTES, kind_of, read_bytes

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet

MAX_COLUMNS: Final = 10_000
"""Most columns of a table."""

MAX_CELLS: Final = 2**28
"""Most cells of a table, and most features of all its records together: 1 GiB as float32."""

_HEADER_BYTES: Final = 2**20
_THRIFT_BYTES: Final = 2**24
_PIECE: Final = 2**20


def read_table(path: Path) -> "pa.Table":
    """A CSV or Parquet file.

    **Raises:** `OperatorError("bad-data" | "no-such-file")`, `AttackSuspected("pickle-refused")`.
    """
    kind = kind_of(path)
    if kind not in ("csv", "parquet"):
        raise bad(f"{path.name[:60]!r} is no table", "Tables are .csv, .tsv and .parquet files.")
    table = read_csv(path) if kind == "csv" else read_parquet(path)
    check_names(table.column_names)
    if not len(table):
        raise bad("the table has no rows")
    return table


def read_csv(path: Path) -> "pa.Table":
    """A CSV file with a header: UTF-8, commas (tabs in a `.tsv`); every cell still text.

    **Raises:** `OperatorError("bad-data" | "no-such-file")`.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow

    raw, delimiter = read_bytes(path), "\t" if path.suffix.lower() == ".tsv" else ","
    _check_utf8(raw)
    names = _header(raw, delimiter)
    odd: list[arrow.InvalidRow] = []
    try:
        table = arrow.read_csv(
            pa.BufferReader(raw),
            arrow.ReadOptions(use_threads=False, block_size=2**24),  # rows are counted on one thread only
            arrow.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=lambda row: _note(row, odd)
            ),
            arrow.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
        )
    except pa.ArrowException:
        raise bad("this is no well-formed CSV file") from None
    if odd:
        place, cells = (odd[0].number or 1) - 1, odd[0].actual_columns
        raise bad(f"row {place} holds {cells} cells where the header has {len(names)}")
    if table.column_names != names:
        raise bad("the header of this CSV file is not well-formed")
    return table


def read_parquet(path: Path) -> "pa.Table":
    """A Parquet file; texts stay dictionary-encoded, so that one long text repeated often stays small.

    **Raises:** `OperatorError("bad-data" | "no-such-file")`.
    """
    import pyarrow as pa

    raw = read_bytes(path)
    try:
        table = _batches(_checked_parquet(raw))
        table.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        raise bad("this is no well-formed Parquet file") from None
    return table


def _checked_parquet(raw: bytes) -> "parquet.ParquetFile":
    import pyarrow as pa
    from pyarrow import parquet

    file = parquet.ParquetFile(pa.BufferReader(raw), thrift_string_size_limit=_THRIFT_BYTES)
    _check_columns(file.metadata.num_columns)
    if file.metadata.num_rows * file.metadata.num_columns > MAX_CELLS:
        raise bad(f"the table declares {file.metadata.num_rows:,} rows: too many cells")
    labels = [field.name for field in file.schema_arrow if pa.types.is_string(field.type)]
    return parquet.ParquetFile(
        pa.BufferReader(raw), read_dictionary=labels, thrift_string_size_limit=_THRIFT_BYTES, pre_buffer=False
    )


def _batches(file: "parquet.ParquetFile") -> "pa.Table":
    import pyarrow as pa

    batches, size = [], 0
    for batch in file.iter_batches(batch_size=2**16, use_threads=False):
        size += batch.nbytes
        if size > MAX_BYTES:
            raise bad(f"the table holds more than {MAX_BYTES:,} bytes")
        batches.append(batch)
    return pa.Table.from_batches(batches) if batches else file.schema_arrow.empty_table()


def _note(row: object, odd: list[object]) -> str:
    if not odd:
        odd.append(row)
    return "skip"


def _check_utf8(raw: bytes) -> None:
    """Decodes piece by piece, so that the text is never held as a whole."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(raw), _PIECE):
        piece = raw[start : start + _PIECE]
        try:
            decoder.decode(piece, final=start + _PIECE >= len(raw))
        except UnicodeDecodeError as error:
            place = start + len(piece) - len(error.object) + error.start  # the decoder may hold bytes of the last piece
            line = 1 + raw.count(b"\n", 0, place)
            raise bad(f"line {line} of the file is not UTF-8", "Save the table as UTF-8.") from None


def _header(raw: bytes, delimiter: str) -> list[str]:
    start = raw[:_HEADER_BYTES].decode("utf-8-sig", errors="ignore")
    try:
        names = next(csv.reader(io.StringIO(start), delimiter=delimiter), [])
    except csv.Error:
        raise bad("the header of this CSV file is not well-formed") from None
    if not names:
        raise bad("the file is empty, or its first line is")
    _check_columns(len(names))
    if len(names) == 1 and (";" in names[0] or "\t" in names[0]):
        raise bad("the header has one column only", "Cells are separated by commas, or by tabs in a .tsv file.")
    check_names(names)
    return names


def _check_columns(count: int) -> None:
    if count > MAX_COLUMNS:
        raise bad(f"the table has more than {MAX_COLUMNS:,} columns")
