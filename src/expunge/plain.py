"""Frozen dataclasses to plain JSON values and back: how recipes and methods stand in logs, receipts and files.

`encode(MLP(hidden=(64,)))` is `{"kind": "MLP", "hidden": [64]}`. Decoding goes through a table of the classes that
may appear, so that a file can name only what the reader allows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from expunge.errors import OperatorError, ProgrammerError


def encode(value: object) -> Any:
    """JSON values for `value`: dataclasses become objects with a `kind`, tuples become lists.

    **Raises:** `ProgrammerError("bad-hyperparameter")` for a value that has no plain form (a lambda, a tensor).
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        body = {f.name: encode(getattr(value, f.name)) for f in fields(value) if f.init}
        return {"kind": type(value).__name__, **body}
    raise ProgrammerError("bad-hyperparameter", f"a {type(value).__name__} has no plain form and cannot be recorded")


def decode(value: Any, classes: Iterable[type]) -> Any:
    """The inverse of `encode` for objects whose `kind` is among `classes`; lists become tuples.

    **Raises:** `OperatorError("bad-config")` for an unknown kind or fields that the class refuses.
    """
    table = {known.__name__: known for known in classes}
    return _decode(value, table)


def _decode(value: Any, table: Mapping[str, type]) -> Any:
    if isinstance(value, list):
        return tuple(_decode(item, table) for item in value)
    if not isinstance(value, dict):
        return value
    body = {key: _decode(item, table) for key, item in value.items() if key != "kind"}
    if "kind" not in value:
        return body
    if value["kind"] not in table:
        raise OperatorError(
            "bad-config", f"unknown kind {str(value['kind'])[:40]!r}; known: {', '.join(sorted(table))}"
        )
    try:
        return table[value["kind"]](**body)
    except TypeError as error:
        raise OperatorError("bad-config", f"{value['kind']}: {error}") from None
