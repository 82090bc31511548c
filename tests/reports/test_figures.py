import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.errors import ProgrammerError
from expunge.randomness import numpy_generator
from expunge.reports.drawing import DARK, LIGHT, PAPER, Drawing, Table, Tone
from expunge.reports.figures import bars, cumulative, heatmap, lines, radar, roc, scatter
from expunge.reports.forms import Axis, Bar, Group, Sample, Series
from expunge.reports.numbers import Measured, Range, Unit

HOSTILE = [
    "<script>alert(1)</script>]]>-->&amp;\"'",
    "_hidden $x^{2$ _ \\frac",
    "\x00\x07\u202e\ud7ff数字🙂",
    "a" * 5000,
]


def three(name: str) -> list[Drawing]:
    """One drawing of each form, everything called `name`."""
    x, y = [0.0, 0.25, 1.0], [0.0, 0.75, 1.0]
    axis = Axis(name, Unit.SHARE)
    series = [Series(name, x, y, [0, 0.5, 0.9], [0.2, 0.8, 1]), Series("other", x, x)]
    group = Group(name, (Bar(name, Measured(0.5, 0.25, 0.75)), Bar("other", Measured(0.25))), (0.3, 0.6))
    samples = [Sample(name, [0.5, 0.1, 0.9]), Sample("other", [0.3, 0.3, 0.2])]
    return [
        bars(name, [group], axis, mark=0.5, band=name),
        bars(name, [Group(name, (Bar("only", Measured(3)),))], axis),
        lines(name, series, axis, axis, band=(0.1, 0.2), note=name),
        roc(name, series),
        roc(name, series, log=True),
        scatter(name, series, axis, axis, diagonal=True),
        heatmap(name, [name, "b"], ["c", name, "d"], [[0, 0.5, 1], [0.2, 0.4, 0.6]], axis),
        radar(name, [name, "b", "c"], samples, axis),
        cumulative(name, samples, axis),
    ]


def paths(drawing: Drawing, tone: str, what: str = "stroke") -> list[list[tuple[float, float]]]:
    """Corner points of everything drawn in the colour `tone`, in page coordinates."""
    found = []
    for path in ET.fromstring(drawing.svg).iter("path"):
        if f"{what}: var(--{tone}," in path.get("style", "") and path.get("clip-path"):
            numbers = re.findall(r"[ML] (-?[\d.]+) (-?[\d.]+)", path.get("d"))
            found.append([(float(a), float(b)) for a, b in numbers])
    return found


def is_scale(drawn: list[float], meant: list[float]) -> bool:
    """Whether `drawn` is `meant` on a linear scale, to the hundredth of a point that coordinates are kept to."""
    slope, start = np.polyfit(meant, drawn, 1)
    return bool(np.abs(slope * np.array(meant) + start - np.array(drawn)).max() < 0.02)


def test_every_form_is_sound_and_carries_its_table():
    for drawing in three("plain"):
        root = ET.fromstring(drawing.svg)
        assert root.find("title").text == "plain"
        assert root.get("role") == "img"
        assert not re.search(r"http|<style|<image|<\?xml|<!|data:", drawing.svg)
        assert drawing.table.rows
        ids = re.findall(r'\bid="([^"]*)"', drawing.svg)
        assert len(set(ids)) == len(ids)
        assert {each.removeprefix("#") for each in re.findall(r'(?:url\(|href=")(#[^")]*)', drawing.svg)} <= set(ids)


def test_same_input_same_bytes_here_and_in_another_process():
    again = [drawing.svg for drawing in three("same")]
    assert again == [drawing.svg for drawing in three("same")]
    code = (
        "from expunge.reports.figures import *; from expunge.reports.forms import *; import sys;"
        "x, y = [0.0, 0.25, 1.0], [0.0, 0.75, 1.0];"
        "s = [Series('same', x, y, [0, 0.5, 0.9], [0.2, 0.8, 1]), Series('other', x, x)];"
        "sys.stdout.write(roc('same', s, log=True).svg)"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout == again[4]


def test_two_figures_in_one_page_share_no_identifier():
    drawing = three("twice")[2]
    first, second = drawing.inline("figure-1"), drawing.inline("figure-2")
    assert set(re.findall(r'\bid="([^"]*)"', first)).isdisjoint(re.findall(r'\bid="([^"]*)"', second))
    assert "d-" not in re.findall(r'(?:\bid=|href=|labelledby=)"#?([^"]*)"', first)
    assert first.replace("figure-1-", "d-") == drawing.svg


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_words_stay_words(text: str):
    known = {"svg", "title", "g", "path", "defs", "use", "text", "tspan", "clipPath", "rect"}
    for drawing in three(text):
        root = ET.fromstring(drawing.svg)
        assert {element.tag for element in root.iter()} <= known
        assert all(len(each.text or "") <= 45 for each in root.iter("text"))


def test_words_are_text_not_outlines_and_are_not_mathematics():
    drawing = lines("t", [Series("a $x^2$ & b", [1, 2], [3, 4])], Axis("x"), Axis("y"))
    assert "a $x^2$ &amp; b" in drawing.svg


def test_matplotlib_is_left_as_it_was_and_pyplot_untouched():
    import matplotlib

    before = dict(matplotlib.rcParams)
    lines("t", [Series("a", [1, 2], [3, 4])], Axis("x"), Axis("y"))
    assert dict(matplotlib.rcParams) == before
    code = "import sys, expunge.reports.study; print({'matplotlib', 'torch', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_lines_are_drawn_where_the_numbers_say():
    x, y = [1.0, 2.0, 4.0, 8.0, 16.0], [1.0, 0.53, 0.21, 0.125, 0.0625]
    series = [Series("a", x, y, tone=Tone.AFTER)]
    (plain,) = paths(lines("t", series, Axis("x"), Axis("y")), "after")
    (logged,) = paths(lines("t", series, Axis("x", log=True), Axis("y", log=True)), "after")
    assert is_scale([p[0] for p in plain], x)
    assert is_scale([p[1] for p in plain], y)
    assert is_scale([p[0] for p in logged], np.log(x).tolist())
    assert is_scale([p[1] for p in logged], np.log(y).tolist())
    assert plain[0][1] < plain[-1][1]


def test_bars_and_bands_have_the_lengths_of_their_numbers():
    groups = [
        Group(f"g{n}", (Bar("a", Measured(n), Tone.AFTER), Bar("b", Measured(1), Tone.BEFORE)), (1, n))
        for n in (2, 3, 5)
    ]
    drawing = bars("t", groups, Axis("x"), band="floor")
    lengths = [max(p[0] for p in path) - min(p[0] for p in path) for path in paths(drawing, "after", "fill")]
    floors = [max(p[0] for p in path) - min(p[0] for p in path) for path in paths(drawing, "muted", "fill")]
    assert is_scale(lengths, [2, 3, 5])
    assert is_scale([0, *lengths], [0, 2, 3, 5])
    assert is_scale([0, *floors, *lengths], [0, 1, 2, 4, 2, 3, 5])
    assert drawing.table.rows[1] == ("g3", Measured(3), Measured(1), Range(1, 3))


def test_whiskers_span_their_intervals():
    groups = [Group("g", (Bar("a", Measured(4, 2, 7), Tone.AFTER), Bar("b", Measured(5, 4.5, 8), Tone.BEFORE)))]
    drawing = bars("t", groups, Axis("x"))
    zero, four = min(paths(drawing, "after", "fill")[0])[0], max(paths(drawing, "after", "fill")[0])[0]
    whiskers = [path for path in paths(drawing, "ink") if len(path) == 2 and path[0][1] == path[1][1]]
    drawn = [[(end[0] - zero) / (four - zero) * 4 for end in path] for path in whiskers]
    assert np.allclose(drawn, [[2, 7], [4.5, 8]], atol=0.01)


def test_cumulative_rises_by_one_over_n_at_each_value():
    values = numpy_generator(0, "test/cumulative").exponential(size=17).tolist()
    (curve,) = paths(cumulative("t", [Sample("a", values, Tone.AFTER)], Axis("x")), "after")
    rises = [(a[0], a[1] - b[1]) for a, b in pairwise(curve) if a[0] == b[0] and a[1] != b[1]]
    assert len(rises) == 17
    assert is_scale([x for x, _ in rises], sorted(values))
    assert np.ptp([height for _, height in rises]) < 0.02


def test_radar_radii_are_the_values():
    """Four spokes point north, east, south and west: the corners' distances from the centre are the values."""
    shape = Sample("s", [25, 50, 75, 100], Tone.AFTER)
    (outline,) = paths(radar("t", list("abcd"), [shape], Axis("x", high=100)), "after")
    north, east, south, west = outline[:4]
    radii = np.array([east[1] - north[1], east[0] - north[0], south[1] - east[1], north[0] - west[0]])
    assert np.allclose(radii / radii[3], [0.25, 0.5, 0.75, 1], atol=0.001)


def test_heatmap_prints_each_number_in_reading_order():
    drawing = heatmap("t", ["r", "s"], ["a", "b"], [[0.1, 0.2], [0.3, 0.4]], Axis("share", Unit.SHARE))
    words = [each.text for each in ET.fromstring(drawing.svg).iter("text")]
    assert [word for word in words if word.endswith("%")] == [
        "10.0\u202f%",
        "20.0\u202f%",
        "30.0\u202f%",
        "40.0\u202f%",
    ]
    assert drawing.table.rows == (("r", 0.1, 0.2), ("s", 0.3, 0.4))


def empirical_roc(members: np.ndarray, others: np.ndarray) -> Series:
    cuts = [math.inf, *sorted({*members.tolist(), *others.tolist()}, reverse=True)]
    return Series(
        "a", [float((others >= cut).mean()) for cut in cuts], [float((members >= cut).mean()) for cut in cuts]
    )


def test_table_of_an_roc_against_ranks_and_counting():
    from sklearn.metrics import roc_auc_score

    generator = numpy_generator(0, "test/roc")
    members, others = generator.normal(1, 1, 80).round(1), generator.normal(0, 1, 1200).round(1)
    row = roc("t", [empirical_roc(members, others)]).table.rows[0]
    assert row[1] == pytest.approx(roc_auc_score([1] * 80 + [0] * 1200, [*members, *others]), abs=1e-12)
    for found, rate in zip(row[2:], (0.001, 0.01, 0.05, 0.1, 0.5), strict=True):
        cuts = [cut for cut in {*members, *others, math.inf} if (others >= cut).mean() <= rate + 1e-12]
        assert found == (members >= min(cuts)).mean()


def test_an_roc_names_its_resolution_and_reads_below_it_where_none_is_accused():
    drawing = roc(
        "t", [Series("a", [0, 0, 0.05, 0.05, 1], [0, 0.2, 0.2, 0.5, 1]), Series("b", [0, 0.1, 1], [0, 0.1, 1])]
    )
    assert drawing.table.rows[0][2:5] == (0.2, 0.2, 0.5)
    assert drawing.table.rows[1][2:6] == (0, 0, 0, 0.1)
    assert "steps of 5\u202f% FPR" in drawing.table.note
    assert roc("t", [Series("a", [0, 0.001, 1], [0, 0.5, 1])]).table.note == ""


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=60))
@settings(max_examples=15, deadline=None)
def test_quantiles_of_a_sample_are_numpys_inverted_cdf(values: list[float]):
    row = cumulative("t", [Sample("a", values)], Axis("x")).table.rows[0]
    shares = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
    assert row[1] == len(values)
    assert list(row[2:]) == [np.quantile(values, share, method="inverted_cdf") for share in shares]


def test_curves_over_the_same_few_x_share_a_table_and_long_ones_are_thinned():
    axis = Axis("n", Unit.COUNT)
    few = lines("t", [Series("a", [1, 2], [3, 4], [2, 3], [4, 5]), Series("b", [2, 3], [5, 6])], axis, Axis("y")).table
    assert few.columns == ("n", "a", "b")
    assert few.rows == ((1, Measured(3, 2, 4), None), (2, Measured(4, 3, 5), 5), (3, None, 6))
    many = lines("t", [Series("a", range(100), range(100))], axis, Axis("y")).table
    assert len(many.rows) == 12
    assert (many.rows[0], many.rows[-1]) == ((0, 0), (99, 99))
    assert "12 of the 100 points" in many.note
    two = [Series("a", range(100), range(100)), Series("b", range(100), range(100, 200))]
    shared = lines("t", two, axis, Axis("y")).table
    assert shared.columns == ("n", "a", "b")
    assert (len(shared.rows), shared.rows[0], shared.rows[-1]) == (12, (0, 0, 100), (99, 99, 199))
    apart = lines("t", [two[0], Series("b", range(50, 150), range(100))], axis, Axis("y")).table
    assert (len(apart.rows), apart.rows[12]) == (24, ("b", 50, 0))


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: Series("a", [1, 2], [1]),
        lambda: Series("a", [], []),
        lambda: Series("a", [1], [math.nan]),
        lambda: Series("a", [1], [1], low=[0]),
        lambda: Series("a", [1, 2], [1, 2], low=[0], high=[3]),
        lambda: Sample("a", []),
        lambda: Sample("a", [math.inf]),
        lambda: lines("t", [], Axis("x"), Axis("y")),
        lambda: bars("t", [], Axis("x")),
        lambda: roc("t", []),
        lambda: heatmap("t", ["a"], ["b"], [[1, 2]], Axis("x")),
        lambda: heatmap("t", ["a"], ["b"], [[math.nan]], Axis("x")),
        lambda: radar("t", ["a", "b"], [Sample("s", [1, 2])], Axis("x")),
        lambda: radar("t", ["a", "b", "c"], [Sample("s", [1, 2])], Axis("x")),
        lambda: Table(("a", "b"), (("c",),)),
    ],
)
def test_figures_that_cannot_be_drawn_are_refused(attempt):
    with pytest.raises(ProgrammerError) as caught:
        attempt()
    assert caught.value.code == "bad-figure"


def linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def contrast(first: str, second: str) -> float:
    """WCAG 2.2, contrast ratio."""
    light, dark = sorted((float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (first, second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("palette", "paper"), [(LIGHT, PAPER["light"]), (DARK, PAPER["dark"])], ids=["light", "dark"])
def test_contrast_meets_wcag(palette: dict[str, str], paper: str):
    assert all(contrast(palette[tone], paper) >= 3 for tone in Tone)
    assert all(contrast(palette[words], paper) >= 4.5 for words in ("ink", "muted"))


# Machado, Oliveira and Fernandes 2009, severity 1.
BLINDNESS = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def lab(rgb: np.ndarray) -> np.ndarray:
    x, y, z = np.cbrt(np.clip(XYZ @ np.clip(rgb, 0, 1) / [0.95047, 1, 1.08883], 1e-6, None))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("kind", BLINDNESS)
def test_the_three_models_differ_for_every_eye(palette: dict[str, str], kind: str):
    seen = [lab(np.array(BLINDNESS[kind]) @ linear(palette[tone])) for tone in ("before", "after", "retrained")]
    distances = [np.linalg.norm(seen[a] - seen[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert min(distances) > 20
