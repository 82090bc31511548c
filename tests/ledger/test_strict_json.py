"""Strict JSON: one reading or none, one spelling, and no document that hurts."""

import json
import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import expunge_verify
from expunge.errors import OperatorError, ProgrammerError
from expunge.ledger import strict_json

REFUSED = {
    "NaN": b"[NaN]",
    "infinity": b"[-Infinity]",
    "overflow": b"[1e400]",
    "underflow": b"[1e-400]",
    "integer that no double holds": b"[9007199254740993]",
    "integer that a double spells otherwise": b"[295147905179352825856]",
    "endless number": b"[" + b"9" * 5000 + b"]",
    "endless fraction": b"[0." + b"1" * 5000 + b"]",
    "duplicate key": b'{"a":1,"a":1}',
    "duplicate key in other spelling": b'{"a":1,"\\u0061":1}',
    "nested duplicate key": b'[{"x":{"a":1,"a":2}}]',
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "raw surrogate": b'["\xed\xa0\x80"]',
    "lone surrogate": b'["\\ud800"]',
    "lone surrogate as key": b'{"\\udfff":1}',
    "control character": b'["\x01"]',
    "two documents": b"{}{}",
    "nothing": b"",
    "65 levels": b"[" * 65 + b"]" * 65,
    "no end of levels": b"[" * 200_000,
    "too many items": b"[" + b"0," * (1 << 18) + b"0]",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_is_refused(data: bytes) -> None:
    with pytest.raises(OperatorError) as caught:
        strict_json.loads(data)
    assert caught.value.code == "bad-json"


def test_the_caps_are_where_they_are_said_to_be() -> None:
    assert strict_json.loads(b"[" * 64 + b"]" * 64)
    assert strict_json.loads(b'{"a":' * 63 + b"[]" + b"}" * 63)
    assert len(strict_json.loads(b"[" + b"0," * 1000 + b"0]", 2003)) == 1001
    with pytest.raises(OperatorError):
        strict_json.loads(b"[" + b"0," * 1000 + b"0]", 2002)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"100000000000000000000", 1e20),
        (b"295147905179352830000", 2.0**68),
        (b"-1" + b"0" * 300, -1e300),
        (b"9007199254740991", 2**53 - 1),
        (b"9007199254740992", 2.0**53),
        (b"-0", 0),
        (b"-0.0", 0.0),
        (b"0e99999", 0.0),
        (b"5e-324", 5e-324),
        (b'"\\ud83d\\ude02"', "\U0001f602"),
        (b'"\\u0000"', "\0"),
        (b" [ ] \n", []),
    ],
)
def test_is_read(data: bytes, value: object) -> None:
    assert strict_json.loads(data) == value
    assert type(strict_json.loads(data)) is type(value)


numbers = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(values)
def test_what_is_written_canonically_is_read_back_and_written_the_same(value: Any) -> None:
    written = strict_json.canonical(value)
    assert strict_json.loads(written) == value
    assert strict_json.canonical(strict_json.loads(written)) == written


@given(values)
def test_agrees_with_the_standard_parser_on_what_is_not_in_doubt(value: Any) -> None:
    data = json.dumps(value, ensure_ascii=False).encode()
    assert strict_json.loads(data) == json.loads(data)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2**53 - 1) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(st.characters(codec="ascii")), inner, max_size=5)
    ),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # on a busy machine one draw took a second
@given(plain)
def test_the_verifiers_own_writer_is_rfc_8785_where_it_is_used(value: Any) -> None:
    assert expunge_verify.canonical(value) == strict_json.canonical(value)


@given(st.binary(max_size=200) | st.text('[]{}",:0123456789eE+-.\\untfrue\n ', max_size=200).map(str.encode))
def test_any_bytes_give_a_value_or_a_refusal(data: bytes) -> None:
    try:
        value = strict_json.loads(data)
    except OperatorError as error:
        told = error.code, str(error).count("\n")
    else:
        told = strict_json.loads(strict_json.canonical(value)) == value, 0
    assert told in [("bad-json", 0), (True, 0)]


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53, "\ud800", {1: 2}, {"a": object()}, b"", {"\udfff": 1}])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(ProgrammerError) as caught:
        strict_json.canonical([value])
    assert caught.value.code == "not-json"


def test_a_loop_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(ProgrammerError):
        strict_json.canonical(loop)


HEAVY = {
    "levels": b"[" * (16 << 20),
    "levels that close": b"[" * (8 << 20) + b"]" * (8 << 20),
    "empty objects": b"[" + b"{}," * (5 << 20) + b"{}]",
    "as many objects as are allowed": b"[" + b'{"a":{}},' * 80_000 + b"0]",
    "one long string": b'"' + b"a" * (15 << 20) + b'"',
    "escapes": b'"' + b"\\n" * (7 << 20) + b'"',
    "escaped surrogates": b'"' + b"\\ud83d\\ude02" * (1 << 20) + b'"',
    "one long number": b"1" * (16 << 20),
    "one long fraction": b"0." + b"1" * (15 << 20),
    "many keys": b"{" + b",".join(b'"%d":0' % number for number in range(250_000)) + b"}",
    "too large": b" " * (100 << 20),
}
CHILD = """
import re, resource, sys
import expunge_verify
resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
data = sys.stdin.buffer.read()
try:
    expunge_verify.loads(data)
except expunge_verify.Refused as refused:
    pass
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])  # of this program, not its parent
sys.stdout.write(str(peak - len(data) // 1024))
"""


@pytest.mark.parametrize("data", HEAVY.values(), ids=HEAVY.keys())
def test_heavy_documents_stay_within_200_mb_and_5_s(data: bytes) -> None:
    """Besides the bytes themselves, which the caller holds; the child is killed after 5 s of processor time."""
    done = subprocess.run([sys.executable, "-c", CHILD], input=data, capture_output=True, check=True)
    assert int(done.stdout) < 200 * 1024
