"""When more people would still help: curves whose end is known."""

import numpy as np
import pytest
import torch

from expunge.assurance import learning_curve
from expunge.assurance.evidence import Verdict
from expunge.errors import OperatorError
from expunge.records import Records


def people(count: int) -> Records:
    rows = 2 * count
    return Records(
        torch.zeros(rows, 1),
        torch.zeros(rows),
        tuple(map(str, range(rows))),
        tuple(f"p{row // 2}" for row in range(rows)),
        ("train",) * rows,
        0,
    )


@pytest.mark.parametrize(
    ("errors", "held"),
    [
        ({3: 10.0, 6: 4.0, 12: 2.0, 24: 1.0}, False),  # heads below zero: the fitted limit is negative
        ({3: 4.0, 6: 3.0, 12: 2.5, 24: 2.25}, False),  # 2 + 6 / N: a tenth to go
        ({3: 2.0, 6: 2.0, 12: 2.0, 24: 2.0}, True),
    ],
)
def test_the_verdict_follows_the_curve(errors: dict[int, float], held: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning_curve, "_linear_error", lambda train, test, rows: errors[int(np.sum(rows)) // 2])
    own = people(24)
    found = learning_curve.Enough().run({"train": own, "test": own}, {"sizes": [3, 6, 12], "draws": 4, "most": 0.05})
    assert found.verdict is (Verdict.HOLDS if held else Verdict.FAILS)


def test_records_that_are_no_table_are_refused_by_code(records: Records) -> None:
    """The case that `case start` writes is one of tables: on images the check says so, and stays undecided."""
    with pytest.raises(OperatorError) as refused:
        learning_curve.Enough().run({"train": records, "test": records}, {"sizes": [3], "draws": 2, "most": 0.05})
    assert refused.value.code == "bad-case"
