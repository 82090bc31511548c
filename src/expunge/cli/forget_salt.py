"""`expunge forget-salt`."""

from typing import Annotated

import typer

from expunge.cli.options import AsJson, workspace
from expunge.cli.output import emit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("forget-salt")(forget_salt)


def forget_salt(
    context: typer.Context,
    request: Annotated[str, typer.Argument(metavar="REQUEST", help="Id of a closed request.")],
    reason: Annotated[str, typer.Option(help="Why.")] = "the person asked for it",
    as_json: AsJson = False,
) -> None:
    """Destroy the salts of a request's deleted records: its commitments in receipt and log then say nothing of anyone.

    After that nobody can open them any more, not even to prove that a certain record was among the deleted.

    Example: expunge -w ws forget-salt REQUEST
    """
    from expunge.journey.desk import Desk
    from expunge.journey.workspace import Workspace

    result = Desk(Workspace.open(workspace(context))).forget_salts(request, reason)
    emit(result, as_json, lambda shown: f"{shown['destroyed']} salts of request {shown['request']} are destroyed.")
