"""`expunge challenge`."""

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.options import AsJson, workspace
from expunge.cli.output import Result, emit, reporter


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("challenge")(challenge)


def challenge(
    context: typer.Context,
    request: Annotated[str, typer.Argument(metavar="REQUEST", help="A request filed with `forget --provable`.")],
    nonce: Annotated[str, typer.Option(help="The verifier's, drawn after they had the commitment.")],
    retained: Annotated[
        Path | None, typer.Option(help="Write the retained records with their salts here: for the verifier alone.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Carry a provable request out under the schedule that the verifier's nonce draws; one commitment takes one nonce.

    Example: expunge -w ws challenge REQUEST --nonce 5f0c2a --retained retained.bin
    """
    from expunge.journey.desk import Desk
    from expunge.journey.workspace import Workspace

    desk = Desk(Workspace.open(workspace(context)))
    emit(desk.challenge(request, nonce, retained, reporter()), as_json, _words)


def _words(result: Result) -> str:
    from expunge.cli.forget import words

    if "cost" not in result:
        return words(result)
    lines = [words(result)]
    if result["proof"] is not None:
        lines.append(f"Proof   {result['proof']}")
    if result["retained"] is not None:
        lines.append(f"For the verifier alone (personal data and salts): {result['retained']}")
        given = f"{result['bundle']} --records {result['retained']} --model {result['model_file']}"
        lines.append(f"They check: expunge verify {given} --replay --book NONCES --old-root ROOT")
    return "\n".join(lines)
