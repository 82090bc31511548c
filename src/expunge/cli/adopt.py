"""`expunge adopt`."""

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.options import AsJson, workspace
from expunge.cli.output import Result, emit
from expunge.cli.train import quality


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("adopt")(adopt)


def adopt(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Weights as a safetensors file, never a pickle.")],
    as_json: AsJson = False,
) -> None:
    """Bring in weights that were trained elsewhere by the workspace's recipe, instead of training.

    Example: expunge -w ws adopt weights.safetensors
    """
    from expunge.journey.workspace import Workspace

    emit(Workspace.open(workspace(context)).adopt(model), as_json, _words)


def _words(result: Result) -> str:
    return f"Adopted; on {result['records']} training records: {quality(result)}.\nModel {result['model']}"
