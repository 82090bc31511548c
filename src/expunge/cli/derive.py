"""`expunge derive`."""

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.options import AsJson, workspace
from expunge.cli.output import emit
from expunge.errors import OperatorError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("derive")(derive)


def derive(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="File of the model that was made from this one.")],
    kind: Annotated[str, typer.Option(help="What was done: distilled, fine-tuned, quantised, exported, ...")],
    parent: Annotated[str | None, typer.Option(help="Digest of its parent; by default the workspace's model.")] = None,
    as_json: AsJson = False,
) -> None:
    """Record that a model was derived from the workspace's model: no request is closed while it stays untouched.

    Example: expunge -w ws derive student.safetensors --kind distilled
    """
    from expunge.journey import lineage
    from expunge.journey.tables import MIGRATIONS
    from expunge.ledger import objects
    from expunge.ledger.store import Store

    if not model.is_file():
        raise OperatorError("no-such-file", f"no such file: {model.name}")
    with model.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with Store.open(workspace(context), steps=MIGRATIONS) as store, store.transaction() as tx:
        known = parent or objects.pointed(tx.connection, "workspace", "model")
        if known is None:
            raise OperatorError("not-trained", "the workspace has no model yet")
        lineage.derive(tx, [known], digest, kind)
    emit(
        {"model": digest, "kind": kind, "parent": known},
        as_json,
        lambda shown: f"Recorded: {shown['model'][:16]} is {shown['kind']} from {shown['parent'][:16]}.",
    )
