"""`expunge glucose`."""

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.options import AsJson
from expunge.cli.output import emit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("glucose")(glucose)


def glucose(
    source: Annotated[Path, typer.Argument(help="CSV: patient, minute, BG, CGM, CHO, insulin; a row each 3 minutes.")],
    out: Annotated[Path, typer.Argument(help="CSV file of features to write.")],
    ahead: Annotated[int, typer.Option(help="Minutes to the reading that is predicted.", min=3)] = 30,
    every: Annotated[int, typer.Option(help="Rows from one window to the next.", min=1)] = 5,
    seed: Annotated[int, typer.Option(help="Seed that draws a fifth of each group's patients as test.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Make the features of the artificial pancreas: readings, insulin and carbohydrate, delivered and on board.

    Example: expunge glucose glucose.csv features.csv
    """
    from expunge.assurance.glucose import prepare

    found = prepare(source, out, every=every, ahead=ahead, seed=seed)
    options = "--target future --owner patient --record record --split split --regression"
    emit(
        found,
        as_json,
        lambda result: (
            f"{result['records']} windows of {result['patients']} patients, {result['left_out']} left out (BG < 20), "
            f"{result['broken']} with readings missing.\n"
            f"Next: expunge init ws --data {result['out']} {options} --lr 0.02"
        ),
    )
