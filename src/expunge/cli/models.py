"""`expunge models` and `expunge retire`."""

from dataclasses import asdict
from typing import Annotated

import typer

from expunge.cli.options import AsJson, workspace
from expunge.cli.output import Result, emit


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("models")(models)
    app.command("retire")(retire)


def models(context: typer.Context, as_json: AsJson = False) -> None:
    """List every model that is or was known: trained, unlearned, derived; and which are in use.

    Example: expunge -w ws models
    """
    from expunge.journey import lineage
    from expunge.journey.tables import MIGRATIONS
    from expunge.ledger.store import Store

    with Store.open(workspace(context), steps=MIGRATIONS) as store, store.reading() as connection:
        parents = lineage.parents(connection)
        known = [{**asdict(each), "parents": parents.get(each.digest, [])} for each in lineage.list_all(connection)]
    emit({"models": known}, as_json, _words)


def retire(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Digest of a derived model: `expunge models`.")],
    replaced_by: Annotated[
        str | None, typer.Option(help="Digest of the model in its place; record that one with `derive` before.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Record that a derived model was deleted or replaced: it keeps no request from being closed any more.

    Requests that waited for it are carried on by `requests resume`.

    Example: expunge -w ws retire DIGEST
    """
    from expunge.journey import lineage
    from expunge.journey.tables import MIGRATIONS
    from expunge.ledger.store import Store

    with Store.open(workspace(context), steps=MIGRATIONS) as store:
        with store.transaction() as tx:
            lineage.retire_derived(tx, model, replaced_by=replaced_by)
        with store.reading() as connection:
            found = next(each for each in lineage.list_all(connection) if each.digest == model)
    emit(asdict(found), as_json, lambda shown: f"{shown['digest'][:16]} ({shown['kind']}) is no longer in use.")


def _words(result: Result) -> str:
    return "\n".join(map(model_line, result["models"])) or "No models are known: run `expunge train`."


def model_line(model: Result) -> str:
    """One model in one line, its digest in full: that is what `retire` and `requests exempt` take."""
    state = "in use" if model["retired_at"] is None else f"retired {model['retired_at'][:10]}"
    return f"{model['digest']}  {model['kind']:12} {state}"
