"""The study's parts that need no glucose: sound proofs, planted faults, and claims that say why they have no value."""

from expunge.assurance.error_grids import clarke
from expunge.assurance.glucose import FEATURES, on_board
from expunge.assurance.simulation import draw, simulate
from expunge.records import Records
from expunge.records.columns import Columns
from expunge.records.preparation import feature_names
from expunge.records.table import table
from expunge.studies.assurance import AssuranceStudy, planted, soundness
from expunge.studies.assurance_glucose import rows_of, windows_of
from expunge.studies.frame import Setting


def test_planted_faults_are_found_and_nothing_escapes_a_proof(few: Records) -> None:
    rows = [*planted(3), *(soundness(1, number, 2000) for number in range(3))]
    claims = {c.name: c for c in AssuranceStudy().claims(Setting(few, "digits", "small", (0,)), rows)}
    assert claims["verify.violated_found"].value == 1
    assert claims["verify.sampled_escapes"].value == 0
    assert claims["verify.proved"].value
    assert claims["predictor.rmse30"].value is None
    assert claims["predictor.rmse30"].why


def test_of_a_raw_table_the_case_is_asked_on_the_features_that_are_made_of_it(few: Records) -> None:
    patients = rows_of(simulate(draw(1, 0), 1, 0))
    cells: dict[str, list[object]] = {"patient": [], "minute": [], "BG": [], "CGM": [], "CHO": [], "insulin": []}
    for name, rows in patients.items():
        for column, values in zip(cells.values(), ([name] * len(rows), *rows.T.tolist()), strict=True):
            column.extend(values)
    setting = Setting(table(cells, Columns("CGM", "patient", regression=True)), "glucose", "small", (0,))
    made = windows_of(setting)
    assert made is not None
    assert tuple(feature_names(made.preparation)) == FEATURES
    assert windows_of(Setting(made, "features", "small", (0,))) is made
    assert AssuranceStudy().cells(setting)[-1] == "case"
    assert "case" not in AssuranceStudy().cells(Setting(few, "digits", "small", (0,)))


def test_the_error_grid_and_what_is_on_board() -> None:
    import numpy as np

    reference, predicted = np.array([100.0, 60, 60, 300, 100, 100]), np.array([110.0, 65, 200, 60, 140, 215])
    assert clarke(reference, predicted) == {"A": 2 / 6, "E": 2 / 6, "C": 1 / 6, "D": 0.0, "B": 1 / 6}
    held = on_board(np.array([1.0, 0.0, 0.0]), 30)
    assert np.allclose(held, [0, 3 * np.exp(-0.1), 3 * np.exp(-0.2)])
