"""`expunge forget-salt`."""

from typing import Annotated

import typer

from expunge.cli.options import AsJson, workspace
from expunge.cli.output import Result, emit
from expunge.errors import OperatorError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("forget-salt")(forget_salt)


def forget_salt(
    context: typer.Context,
    request: Annotated[str | None, typer.Argument(metavar="[REQUEST]", help="Id of a closed request.")] = None,
    owner: Annotated[str | None, typer.Option(help="Instead: every closed request that named this owner.")] = None,
    reason: Annotated[str, typer.Option(help="Why.")] = "the person asked for it",
    as_json: AsJson = False,
) -> None:
    """Destroy the salts of a request's deleted records: its commitments in receipt and log then say nothing of anyone.

    After that nobody can open them any more, not even to prove that a certain record was among the deleted.

    Example: expunge -w ws forget-salt REQUEST

    Example: expunge -w ws forget-salt --owner owner-007
    """
    from expunge.journey import salting
    from expunge.journey.tables import MIGRATIONS
    from expunge.ledger.store import Store

    if (request is None) == (owner is None):
        raise OperatorError("bad-arguments", "name a request, or an owner with --owner")
    with Store.open(workspace(context), steps=MIGRATIONS) as store:
        if request is not None:
            result = salting.forget(store, request, reason)
        else:
            result = salting.forget_owner(store, owner or "", reason)
    emit(result, as_json, _words)


def _words(result: Result) -> str:
    return f"{result['destroyed']} salts of request {', '.join(result['requests'])} are destroyed."
