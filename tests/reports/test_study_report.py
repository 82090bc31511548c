import json
import re

import pytest

from expunge.errors import ProgrammerError
from expunge.randomness import numpy_generator
from expunge.reports import Axis, Series, StudyFigure, Unit, study_report
from expunge.reports.figures import heatmap, lines
from expunge.reports.sparks import bullet, mark, strip

UNPRINTABLE = "\ud800\u202egnp.exe\x00\x1b[31m"
HOSTILE = "</style><script>alert(1)</script><img src=x onerror=1>\"' {{ 7 * 7 }} {% x %} -->"


def simulated_results() -> dict:
    """A study that needs no records: the mean of uniform draws against 1/2."""
    rows = []
    for seed in range(3):
        for size in (10, 100, 1000):
            draws = numpy_generator(seed, f"test/study/{size}").random(size)
            rows.append(
                {"seed": seed, "size": size, "mean": float(draws.mean()), "inside": bool(abs(draws.mean() - 0.5) < 0.1)}
            )
    means = [row["mean"] for row in rows if row["size"] == 1000]
    claims = [
        {
            "name": "mean.error",
            "value": abs(sum(means) / 3 - 0.5),
            "interval": None,
            "target": "<= 0.05",
            "holds": True,
            "why": "",
        },
        {
            "name": "mean",
            "value": sum(means) / 3,
            "interval": [min(means), max(means)],
            "target": "> 0.6",
            "holds": False,
            "why": "",
        },
        {"name": "mean.plain", "value": means[0], "interval": None, "target": None, "holds": None, "why": ""},
        {
            "name": "skew",
            "value": None,
            "interval": None,
            "target": "0",
            "holds": None,
            "why": "three seeds have no skew",
        },
    ]
    return {
        "study": "uniform", "version": "0.1.0", "platform": {"torch": "none", "threads": 1}, "data": "simulated",
        "scale": "small", "seeds": [0, 1, 2], "seconds": 1.234567891, "rows": rows, "claims": claims,
    }  # fmt: skip


def figures_of(results: dict) -> list[StudyFigure]:
    sizes = sorted({row["size"] for row in results["rows"]})
    by_seed = {seed: [row["mean"] for row in results["rows"] if row["seed"] == seed] for seed in results["seeds"]}
    curves = [Series(f"seed {seed}", sizes, means) for seed, means in by_seed.items()]
    grid = heatmap("Means", [str(s) for s in by_seed], [str(s) for s in sizes], list(by_seed.values()), Axis("seed"))
    drawn = lines("Mean by size", curves, Axis("Draws", Unit.COUNT, log=True), Axis("Mean", low=0), band=(0.4, 0.6))
    return [StudyFigure(drawn, "The band is the truth, give or take 0.1."), StudyFigure(grid)]


@pytest.fixture(scope="module")
def results() -> dict:
    return simulated_results()


@pytest.fixture(scope="module")
def html(results: dict) -> str:
    return study_report(results, figures_of(results))


def test_page_is_sound_and_self_contained(html: str, read):
    assert read(html).faults() == []
    assert "http://" not in html
    assert "https://" not in html


def test_same_results_same_bytes(html: str, results: dict):
    assert study_report(json.loads(json.dumps(results)), figures_of(results)) == html


def test_numbers_on_the_page_are_the_numbers_of_the_json(html: str, results: dict, read):
    page = read(html)
    shown = [value for value, _ in page.numbers]
    for claim in results["claims"]:
        if claim["value"] is not None:
            assert claim["value"] in shown
    claims, *_, rows = page.root.all("table")
    exact = [
        [json.loads(each.attributes["value"]) for each in row.all("data")] for row in rows.all("tbody")[0].all("tr")
    ]
    assert exact == [[row["seed"], row["size"], row["mean"], row["inside"]] for row in results["rows"]]
    intervals = [[json.loads(e.attributes["value"]) for e in span.all("data")] for span in claims.classed("interval")]
    assert intervals == [claim["interval"] for claim in results["claims"] if claim["interval"]]
    assert results["seconds"] in shown


def test_verdicts_are_words(html: str, read):
    verdicts = [each.text for each in read(html).root.classed("verdict")]
    assert verdicts == ["holds", "does not hold", "no mark", "no answer"]
    assert "three seeds have no skew" in html
    words = read(html).words
    assert (
        "1 of 2 claims that have a mark hold; 1 cannot be answered on this data; 1 is reported without a mark." in words
    )


@pytest.mark.parametrize(
    ("interval", "target", "crosses"),
    [([4.0, 9.0], ">= 5", True), ([5.5, 9.0], ">= 5", False), ([1.0, 4.0], "<= 5", False), ([4.0, 6.0], "5", False),
     ([4.0, 9.0], None, False), (None, ">= 5", False), ([4.0, 9.0], "in words", False)],
)  # fmt: skip
def test_a_verdict_that_chance_may_have_made_says_so(results: dict, read, interval, target, crosses: bool):
    value = 6.0 if interval is None else sum(interval) / 2
    claim = {
        "name": "c",
        "value": value,
        "interval": interval,
        "target": target,
        "holds": target and value >= 5,
        "why": "",
    }
    words = read(study_report({**results, "claims": [claim]}, [])).words
    assert ("the interval crosses the mark" in words) == crosses


def test_no_number_has_a_long_tail(html: str, read):
    assert not re.search(r"\d\.\d{6,}", read(html).words)


@pytest.mark.parametrize("place", ["study", "data", "claim", "why", "column", "cell", "figure", "platform"])
def test_hostile_words_are_escaped_everywhere(results: dict, place: str, read):
    hurt = json.loads(json.dumps(results))
    if place in ("study", "data"):
        hurt[place] = HOSTILE
    if place == "claim":
        hurt["claims"][0]["name"] = hurt["claims"][1]["target"] = HOSTILE
    if place == "why":
        hurt["claims"][3]["why"] = HOSTILE
    if place == "column":
        hurt["rows"] = [{HOSTILE: 1, **row} for row in hurt["rows"]]
    if place == "cell":
        hurt["rows"][0]["words"], hurt["rows"][1]["words"] = HOSTILE, {"nested": [HOSTILE]}
    if place == "platform":
        hurt["platform"] = {HOSTILE: HOSTILE}
    title = HOSTILE if place == "figure" else "t"
    figure = StudyFigure(lines(title, [Series(title, [1, 2], [3, 4])], Axis(title), Axis(title)), title)
    page = read(study_report(hurt, [figure]))
    assert page.faults() == []
    assert page.root.all("script", "img") == []
    assert "alert(1)" in page.words
    assert "{{ 7 * 7 }}" in page.words


def test_what_does_not_print_is_not_in_the_page(results: dict):
    hurt = {**results, "data": UNPRINTABLE, "rows": [{UNPRINTABLE: UNPRINTABLE}]}
    hurt["claims"] = [{**results["claims"][0], "name": UNPRINTABLE, "target": UNPRINTABLE, "why": UNPRINTABLE}]
    html = study_report(hurt, [StudyFigure(lines(UNPRINTABLE, [Series(UNPRINTABLE, [1], [2])], Axis("x"), Axis("y")))])
    assert html.encode().decode() == html
    assert re.sub("[\n\u202f\u00a0]", "", html).isprintable()
    assert html.count("gnp.exe") > 5


def test_empty_and_ragged_studies_are_shown(results: dict, read):
    empty = {**results, "rows": [], "claims": [], "seeds": []}
    page = read(study_report(empty, []))
    assert page.faults() == []
    assert "Nothing was measured." in page.words
    assert "This study makes no claim." in page.words
    ragged = read(study_report({**results, "rows": [{"a": 1}, {"b": None}, {"a": "x", "b": [1, 2]}]}, []))
    assert ragged.faults() == []


def test_long_studies_are_folded_and_say_what_they_leave_out(results: dict, read):
    rows = [{"n": n} for n in range(700)]
    page = read(study_report({**results, "rows": rows}, []))
    assert page.faults() == []
    assert len(page.root.all("details")[0].all("tr")) == 502
    assert "200 further rows are in results.json" in page.words


def test_what_is_no_result_is_refused(results: dict):
    with pytest.raises(ProgrammerError) as caught:
        study_report({name: value for name, value in results.items() if name != "claims"}, [])
    assert caught.value.code == "bad-figure"
    with pytest.raises(ProgrammerError):
        study_report({**results, "rows": [{"x": float("nan")}]}, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [(">= 5", (">", 5.0)), ("<= 0.05", ("<", 0.05)), ("> 1", (">", 1.0)), ("1", ("=", 1.0)), ("≥ -2e-3", (">", -0.002)),
     ("== 1", ("=", 1.0)), ("every row", None), ("", None), (None, None), ("> 1 or so", None),
     (">= 25, at that rate", (">", 25.0)), ("1, 2", None), ("every row, twice", None)],
)  # fmt: skip
def test_marks_are_read(text: str | None, expected: tuple[str, float] | None):
    assert mark(text) == expected


def circles(markup: str) -> list[float]:
    return [float(x) for x in re.findall(r'<circle cx="([^"]*)"', markup)]


def test_bullets_put_value_mark_and_interval_on_one_scale():
    drawn = bullet(6.0, (4.0, 8.0), ">= 5")
    (dot,) = circles(drawn)
    upright = float(re.search(r"M([\d.]+) 3V19", drawn)[1])
    start, end = (
        float(x) for x in re.search(r'd="M([\d.]+) 11H([\d.]+)" style="stroke: var\(--after\)', drawn).groups()
    )
    assert dot == pytest.approx((start + end) / 2, abs=0.11)
    assert upright == pytest.approx(start + (end - start) / 4, abs=0.11)
    shade = re.search(r'<rect x="([\d.]+)" y="3" width="([\d.]+)"', drawn).groups()
    assert float(shade[0]) == upright
    assert float(shade[0]) + float(shade[1]) == 150


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 1e300])
def test_bullets_of_a_single_number_are_finite(value: float):
    (dot,) = circles(bullet(value, None, None))
    assert 0 <= dot <= 150


def test_strips_have_a_dot_for_each_number():
    dots = circles(strip([2.0, 4.0, 3.0, 2.0]))
    assert dots == [6.0, 144.0, 75.0, 6.0]
    assert circles(strip([5.0, 5.0])) == [75.0, 75.0]
