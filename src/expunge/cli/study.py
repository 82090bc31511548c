"""`expunge study`."""

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.options import AsJson, Data, Out, OwnerColumn, Target
from expunge.cli.output import Result, emit, reporter


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("study")(study)


def study(
    name: Annotated[
        str, typer.Argument(help="assurance, certified, requests, sharding, sparsity, valuation, verification.")
    ],
    out: Out = Path("study-out"),
    data: Data = "digits",
    target: Target = None,
    owner: OwnerColumn = None,
    regression: Annotated[bool, typer.Option("--regression", help="The target is a number, not a class.")] = False,
    record: Annotated[str | None, typer.Option(help="Column with the record's id (tables).")] = None,
    split: Annotated[str | None, typer.Option(help="Column that says train or test (tables).")] = None,
    scale: Annotated[str, typer.Option(help="small: at most five minutes on two cores; full: the paper's.")] = "small",
    seeds: Annotated[int, typer.Option(help="Independent repetitions.", min=1)] = 3,
    first_seed: Annotated[int, typer.Option(help="The lowest seed: fresh ones judge what others chose.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Run a paper's experiment; writes results.json and report.html. A killed study carries on where it stopped.

    Example: expunge study sharding --data digits --scale small --seeds 3 --out study-out
    """
    from expunge.cli.names import study as study_called
    from expunge.records import load
    from expunge.studies.frame import Setting, check_scale, run_study

    check_scale(scale)
    chosen = study_called(name)
    records = load(data, target=target, owner=owner, record=record, split=split, regression=regression)
    setting = Setting(records, _short(data), scale, tuple(range(first_seed, first_seed + seeds)), progress=reporter())
    results = run_study(chosen, setting, out)
    shown = {"study": name, "out": str(out), "seconds": results["seconds"], "claims": results["claims"]}
    emit(shown, as_json, _words)


def _short(data: str) -> str:
    """What the data is called in the results: never a path of somebody's machine."""
    return Path(data).name


def _words(result: Result) -> str:
    lines = [_line(claim) for claim in result["claims"]]
    return "\n".join([*lines, f"{result['out']}/results.json, {result['out']}/report.html"])


def _line(claim: Result) -> str:
    if claim["value"] is None:
        return f"{claim['name']:46} no answer: {claim['why']}"
    verdict = {True: "holds", False: "does not hold", None: ""}[claim["holds"]]
    interval = "" if claim["interval"] is None else f" [{claim['interval'][0]:.4g}, {claim['interval'][1]:.4g}]"
    why = f"\n    {claim['why']}" if claim["why"] else ""
    return f"{claim['name']:46} {claim['value']:.4g}{interval}  {claim['target'] or ''}  {verdict}{why}"
