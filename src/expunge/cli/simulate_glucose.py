"""`expunge simulate-glucose`."""

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.options import AsJson
from expunge.cli.output import emit, reporter


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate-glucose")(simulate_glucose)


def simulate_glucose(
    out: Annotated[Path, typer.Argument(help="CSV file to write: patient, minute, BG, CGM, CHO, insulin.")],
    people: Annotated[int, typer.Option(help="People of each group (children, adolescents, adults).", min=1)] = 10,
    days: Annotated[int, typer.Option(help="Days of each.", min=1)] = 5,
    seed: Annotated[int, typer.Option(help="Draws people, meals and sensor errors.", min=0)] = 0,
    population: Annotated[str, typer.Option(help="own: drawn; simglucose: its thirty (extra `glucose`).")] = "own",
    engine: Annotated[str, typer.Option(help="own: all at once; simglucose: the peer, one person a job.")] = "own",
    workers: Annotated[int, typer.Option(help="Processes, for the engine simglucose.", min=1)] = 1,
    as_json: AsJson = False,
) -> None:
    """Simulate virtual people with type 1 diabetes, their meals, sensor and pump; same seed, same bytes.

    Example: expunge simulate-glucose glucose.csv --people 10 --days 5
    """
    from contextlib import nullcontext

    from expunge.assurance.simulation import generate
    from expunge.training import Processes, Serial

    with Processes(workers) if workers > 1 else nullcontext(Serial()) as executor:
        found = generate(
            out,
            people=people,
            duration=days,
            seed=seed,
            population=population,
            engine=engine,
            executor=executor,
            progress=reporter(),
        )
    emit(
        found,
        as_json,
        lambda result: (
            f"{result['rows']} rows of {result['patients']} people, {100 * result['below_70']:.1f} % below 70 mg/dL, "
            f"{result['below_20']} rows below 20.\nNext: expunge glucose {result['out']} features.csv"
        ),
    )
