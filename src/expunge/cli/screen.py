"""`expunge screen`."""

from typing import Annotated

import typer

from expunge.cli.options import AsJson, workspace
from expunge.cli.output import Result, emit, reporter
from expunge.errors import OperatorError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("screen")(screen)


def screen(
    context: typer.Context,
    request: Annotated[str | None, typer.Argument(metavar="REQUEST", help="Id of the request.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Judge it anew, on the present model.")] = False,
    switch: Annotated[
        bool | None, typer.Option("--on/--off", help="Calibrate and screen every request; or match records only.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what screening found in a request and why, or switch screening on or off for the workspace.

    Example: expunge -w ws screen --on

    Example: expunge -w ws screen REQUEST --again
    """
    from expunge.journey import screened
    from expunge.journey.desk import Desk
    from expunge.journey.workspace import Workspace

    if (request is None) == (switch is None):
        raise OperatorError("bad-arguments", "name a request, or --on or --off")
    desk = Desk(Workspace.open(workspace(context)))
    if request is not None:
        emit(desk.screening(request, again=again, progress=reporter()), as_json, _words)
        return
    with desk.workspace.store() as store:
        if switch:
            emit({"screening": "on", **screened.switch_on(store, reporter())}, as_json, _calibrated)
        else:
            screened.switch_off(store)
            emit({"screening": "off"}, as_json, lambda _: "Screening is off: records are matched, nothing else.")


def _words(result: Result) -> str:
    lines = [f"Request {result['request']} is {result['state']}; screening: {result['verdict']}."]
    lines += [f"  because  {reason}" for reason in result["reasons"]]
    return "\n".join([*lines, *(f"  {f['verdict']:8} {f['screen']:15} {f['words']}" for f in result["findings"])])


def _calibrated(result: Result) -> str:
    lines = ["Screening is on. Shares held, on batches that set no threshold:"]
    for level in result["levels"]:
        honest = ", ".join(f"{kind} {share:.0%}" for kind, share in level["false_positives"].items())
        caught = ", ".join(f"{kind} {share:.0%}" for kind, share in level["caught"].items())
        lines.append(f"  {level['size']:4} records: honest owners {honest}; rehearsed attacks {caught}")
    return "\n".join(lines)
