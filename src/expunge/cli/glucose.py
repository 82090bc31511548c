"""`expunge glucose`."""

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.options import AsJson
from expunge.cli.output import Result, emit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("glucose")(glucose)


def glucose(
    source: Annotated[Path, typer.Argument(help="CSV: patient, minute, BG, CGM, CHO, insulin; a row each 3 minutes.")],
    out: Annotated[Path, typer.Argument(help="CSV file of features to write.")],
    ahead: Annotated[int, typer.Option(help="Minutes to the reading that is predicted.", min=3)] = 30,
    every: Annotated[int, typer.Option(help="Rows from one window to the next.", min=1)] = 5,
    seed: Annotated[int, typer.Option(help="Seed that draws a fifth of each group's patients as test.", min=0)] = 0,
    form: Annotated[str, typer.Option(help="window: 12 features; sequence: all 20 steps, for an LSTM.")] = "window",
    target: Annotated[str, typer.Option(help="future: the reading; hazard: none, low, high.")] = "future",
    report: Annotated[Path | None, typer.Option(help="HTML page: are the raw data sufficient.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make the features of the artificial pancreas: readings, insulin and carbohydrate, delivered and on board.

    Example: expunge glucose glucose.csv features.csv
    """
    from expunge.assurance.glucose import prepare

    found = prepare(source, out, every=every, ahead=ahead, seed=seed, form=form, target=target)
    if report is not None:
        found |= _judged(source, report, seed)
    options = f"--target {target} --owner patient --record record --split split"
    if target == "future":
        options += " --regression --lr 0.02" + (" --network trends" if form == "window" else "")
    emit(
        found,
        as_json,
        lambda result: (
            f"{result['records']} windows of {result['patients']} patients, {result['left_out']} left out (BG < 20), "
            f"{result['broken']} with readings missing.\n"
            f"Next: expunge init ws --data {result['out']} {options}"
        ),
    )


def _judged(source: Path, report: Path, seed: int) -> Result:
    """Write the page; returns where it is and what failed."""
    from expunge.assurance.evidence import Verdict
    from expunge.assurance.glucose import read
    from expunge.assurance.sensing import judge
    from expunge.assurance.simulation.generation import check_out
    from expunge.reports.sufficiency import sufficiency_page

    check_out(report)
    findings = judge(read(source), seed)
    report.write_text(sufficiency_page(source.name, findings), encoding="utf-8")
    return {"report": str(report), "insufficient": [n for n, f in findings.items() if f.verdict is not Verdict.HOLDS]}
