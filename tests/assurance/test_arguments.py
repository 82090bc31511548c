"""A check's arguments are read strictly: what is missing, misspelt or of another kind is a line that names the node."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cases import scene, small

from expunge.assurance import Case, Finding, Kind, Node, Status, evaluate, write
from expunge.assurance.arguments import check_arguments
from expunge.assurance.checks import CHECKS
from expunge.assurance.pancreas import pancreas_case
from expunge.errors import OperatorError
from expunge.journey import casework

BOUNDED = {"kind": "bounded", "region": {"x": [0, 1, "m"]}, "lowest": 0, "highest": 1}
RANGES = {"groups": ["a"], "column": "x", "ranges": [[0, 1]]}
WRONG = [
    ("accuracy", {}, "needs `least`"),
    ("accuracy", {"least": "high"}, "`least` as a number"),
    ("accuracy", {"least": True}, "`least` as a number"),
    ("accuracy", {"least": float("nan")}, "`least` as a number"),
    ("accuracy", {"least": 0.9, "lable": 9}, "takes no `lable`"),
    ("accuracy", {"least": 0.9, "group": "a"}, "takes no `group`"),
    ("accuracy", {"least": 0.9, "label": 1.5}, "whole number"),
    ("complete", {**RANGES, "ranges": [[0]], "least": 1}, r"\[low, high\]"),
    ("complete", {**RANGES, "groups": "a", "least": 1}, "names"),
    ("coverage", {"columns": {"x": [2, 1]}, "ways": 1, "least": 0.5}, "rising"),
    ("coverage", {"columns": {"x": [1, 2]}, "ways": 0, "least": 0.5}, "`ways`"),
    ("enough", {"sizes": [3], "draws": 1, "most": 0.1}, "2 or more"),
    ("held-out-plausible", {"columns": {"x": [0]}, "most": 0.1}, r"\[low, high\]"),
    ("outliers", {"columns": [["x", "y", "z"]], "beyond": 3, "most": 0.1}, "columns"),
    ("property", {**BOUNDED, "kind": "safe"}, "is of kind"),
    ("property", {**BOUNDED, "lowest": "0"}, "`lowest` as a number"),
    ("property", {**BOUNDED, "alarm": 3}, "takes no `alarm`"),
    ("property", {**BOUNDED, "region": {"x": 1}}, "`region`"),
    ("property", {**BOUNDED, "budget": {"boxes": 0}}, "`budget`"),
    ("property", {**BOUNDED, "path": {"columns": ["x"]}}, "`path`"),
]


def case(check: str, arguments: dict[str, Any]) -> Case:
    solution = Node("Sn", Kind.SOLUTION, "Measured", check=check, arguments=arguments)
    return Case("c", (Node("G", Kind.GOAL, "Good", ("Sn",)), solution))


@pytest.mark.parametrize(("check", "arguments", "words"), WRONG, ids=range(len(WRONG)))
def test_wrong_arguments_are_a_line_that_names_the_node(check: str, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(OperatorError, match=f"^Sn: {check} .*{words}") as caught:
        check_arguments(case(check, arguments))
    assert caught.value.code == "bad-case"


def test_right_ones_pass_and_every_check_says_what_it_takes() -> None:
    check_arguments(pancreas_case())
    check_arguments(case("plausible", {"columns": {"x": [0, 1]}, "most": 0.1, "group": "adult"}))
    check_arguments(case("of another domain", {"anything": 1}))
    for name in CHECKS:
        with pytest.raises(OperatorError, match=r"takes no `nonsense`|needs"):
            check_arguments(case(name, {"nonsense": 1}))


def test_a_workspace_reads_its_case_that_way(tmp_path: Path) -> None:
    (tmp_path / casework.SOURCE).write_text(write(case("accuracy", {"lest": 0.9})), "utf-8")
    with pytest.raises(OperatorError, match="Sn: accuracy needs `least`"):
        casework.source(tmp_path)


@dataclass(frozen=True)
class Breaks:
    """A check that meets what nobody thought of."""

    inputs: tuple[str, ...] = ("model",)

    def run(self, subjects: object, arguments: object) -> Finding:
        raise ZeroDivisionError("division by zero")


def test_a_check_that_breaks_leaves_its_node_undeveloped_and_stops_nothing() -> None:
    done = evaluate(small(), {"model-good": Breaks(), "data-good": Breaks()}, scene())
    assert done.standings["Sn1"].status is Status.UNDEVELOPED
    assert "could not run: ZeroDivisionError" in done.standings["Sn1"].why
