"""Strict JSON: one reading of every document, or a refusal; and the one spelling (RFC 8785) that is hashed and signed.

The loader is the standalone verifier's. What it decides where RFC 8259 leaves a choice stands in `docs/verify.md`.
"""

from typing import Any, Final, cast

import rfc8785

import expunge_verify
from expunge.errors import OperatorError, ProgrammerError

MAX_BYTES: Final = expunge_verify.MAX_BYTES
"""Largest document in bytes, unless the caller sets another limit."""


def loads(data: bytes, limit: int = MAX_BYTES) -> Any:
    """The JSON value in UTF-8 bytes `data` of at most `limit` bytes.

    Integers beyond 2**53 - 1 are read as floats where that loses nothing, and refused elsewhere.

    **Raises:** `OperatorError("bad-json")` for all that `expunge_verify.loads` refuses.

    >>> loads(b'{"a": [1, 2.5]}')
    {'a': [1, 2.5]}
    """
    try:
        return expunge_verify.loads(data, limit)
    except expunge_verify.Refused as refused:
        raise OperatorError("bad-json", f"not strict JSON: {refused}") from None


def canonical(value: object) -> bytes:
    """RFC 8785 bytes of a JSON value (`None`, bool, int, float, str, list, tuple, dict with text keys).

    **Raises:** `ProgrammerError("not-json")` for other types, NaN, infinities, lone surrogates, integers beyond
    2**53 - 1, and nesting too deep to write.

    >>> canonical({"b": 1.0, "a": "x"})
    b'{"a":"x","b":1}'
    """
    try:
        return rfc8785.dumps(cast(Any, value))
    except (rfc8785.CanonicalizationError, RecursionError, UnicodeError) as error:
        kind = "deeper than can be written" if isinstance(error, RecursionError) else type(error).__name__
        raise ProgrammerError("not-json", f"the value has no canonical JSON form: {kind}") from None
