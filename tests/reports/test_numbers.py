import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.errors import ProgrammerError
from expunge.reports.numbers import Measured, Range, Unit, cell, marked, shown

finite = st.floats(allow_nan=False, allow_infinity=False, width=64)
SUPERSCRIPT = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


def read(text: str) -> float:
    """What a person reads in a shown number, units undone."""
    text = text.replace("−", "-").replace(",", "")
    if found := re.fullmatch(r"(-?[\d.]+)\u202f×\u202f10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)(?:\u202f×)?", text):
        return float(found[1]) * 10 ** int(found[2].translate(SUPERSCRIPT))
    number = float(re.match(r"-?[\d.]+", text)[0])
    return number / 100 if text.endswith("%") else number


@pytest.mark.parametrize(
    ("value", "unit", "spread", "expected"),
    [
        (0.873421, Unit.PLAIN, None, "0.873"),
        (0.873421, Unit.PLAIN, 0.2, "0.87"),
        (0.873421, Unit.PLAIN, 0.002, "0.8734"),
        (12.3456, Unit.PLAIN, None, "12.3"),
        (8.1e-5, Unit.PLAIN, 0.042, "0.000"),
        (8.1e-5, Unit.PLAIN, 0.0004, "8.1\u202f×\u202f10⁻⁵"),
        (-3.0, Unit.PLAIN, None, "−3"),
        (-0.00004, Unit.POINTS, None, "0.0"),
        (0.0, Unit.PLAIN, None, "0"),
        (0.0, Unit.PLAIN, 0.0004, "0"),
        (4.2e-7, Unit.PLAIN, None, "4.2\u202f×\u202f10⁻⁷"),
        (0.0005, Unit.EXACT, None, "0.0005"),
        (1e-5, Unit.EXACT, None, "1e-05"),
        (71392, Unit.COUNT, None, "71,392"),
        (0.5, Unit.SHARE, None, "50.0\u202f%"),
        (0.0004, Unit.SHARE, None, "0.040\u202f%"),
        (97.849, Unit.POINTS, None, "97.8"),
        (10.24, Unit.TIMES, None, "10.2\u202f×"),
        (0.0421, Unit.SECONDS, None, "42.1\u202fms"),
        (0.99999, Unit.SECONDS, None, "1.0\u202fs"),
        (7.21, Unit.SECONDS, None, "7.2\u202fs"),
        (231.4, Unit.SECONDS, None, "3\u202fmin 51\u202fs"),
        (7270, Unit.SECONDS, None, "2\u202fh 1\u202fmin"),
        (812, Unit.BYTES, None, "812\u202fB"),
        (3 * 2**30 // 2, Unit.BYTES, None, "1.5\u202fGiB"),
    ],
)
def test_numbers_as_people_read_them(value: float, unit: Unit, spread: float | None, expected: str):
    assert shown(value, unit, spread) == expected


@given(finite.filter(lambda value: value == 0 or 1e-200 < abs(value) < 1e200))
def test_three_digits_survive(value: float):
    assert math.isclose(read(shown(value)), value, rel_tol=0.051, abs_tol=0)


@given(st.floats(0, 1))
def test_shares_are_right_to_half_a_digit(value: float):
    assert abs(read(shown(value, Unit.SHARE)) - value) <= 0.000500001


@given(st.floats(-1e5, 1e5), st.floats(1e-3, 1e3))
def test_rounding_stays_small_beside_the_interval(value: float, spread: float):
    if abs(value) >= 1e-3:
        assert abs(read(shown(value, Unit.PLAIN, spread)) - value) <= 0.05 * spread + 0.00005


@given(finite, st.sampled_from(Unit))
def test_no_long_digits_and_the_exact_value_beside(value: float, unit: Unit):
    markup = marked(value, unit)
    exact, text = re.fullmatch(r'<data value="([^"]*)">([^<]*)</data>', markup).groups()
    assert json.loads(exact) == value
    assert unit is Unit.EXACT or not re.search(r"[1-9]\d*\.\d{5}|\.0*[1-9]\d{4}", text)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused(value: float):
    for attempt in (
        lambda: shown(value),
        lambda: marked(value),
        lambda: Measured(value),
        lambda: Measured(0, value, 1),
    ):
        with pytest.raises(ProgrammerError) as caught:
            attempt()
        assert caught.value.code == "bad-figure"


@pytest.mark.parametrize("ends", [(1.0, 0.0), (None, 1.0), (0.0, None)])
def test_intervals_have_two_ends_in_order(ends: tuple[float | None, float | None]):
    with pytest.raises(ProgrammerError):
        Measured(0.5, *ends)


def test_cells():
    assert cell("<b>") == "&lt;b&gt;"
    assert cell(True) == '<data value="1">yes</data>'
    assert cell(12345) == '<data value="12345">12,345</data>'
    assert cell(Measured(0.25, 0.25, 0.25)) == '<data value="0.25">0.250</data>'
    assert "[" in cell(Measured(0.25, 0.2, 0.3))
    assert cell(Range(0.5, 0.5)) == '<data value="0.5">0.500</data>'
    assert cell(Range(0.5, 0.75)) == '<data value="0.5">0.50</data> to <data value="0.75">0.75</data>'
    assert "–" in cell(None)
