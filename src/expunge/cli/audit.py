"""`expunge audit`."""

import typer

from expunge.cli.options import AsJson, workspace
from expunge.cli.output import emit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("audit")(audit)


def audit(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the audits of all requests: figures with intervals, the noise floor, and what the tests could have seen.

    Example: expunge -w ws audit
    """
    from expunge.journey.workspace import Workspace

    emit(Workspace.open(workspace(context)).audits(), as_json, _words)
