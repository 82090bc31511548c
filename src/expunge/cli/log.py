"""`expunge log`."""

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.options import AsJson, workspace
from expunge.cli.output import Result, emit
from expunge.errors import OperatorError


def register(app: typer.Typer) -> None:
    """Add the command and its check."""
    group = typer.Typer(help="The append-only log that receipts stand in.", invoke_without_command=True)
    group.callback()(log)
    group.command("check")(check)
    app.add_typer(group, name="log")


def log(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the log's signed checkpoint, its size and key. Keep the checkpoint: `log check` compares against it later.

    Example: expunge -w ws log
    """
    from expunge.journey.tables import MIGRATIONS
    from expunge.ledger import log as receipts_log
    from expunge.ledger.store import Store

    if context.invoked_subcommand is not None:
        return
    with Store.open(workspace(context), steps=MIGRATIONS) as store, store.reading() as connection:
        note = receipts_log.latest(connection)
        keys = receipts_log.history(connection)
        result = {
            "size": receipts_log.size(connection),
            "root": receipts_log.root(connection).hex(),
            "checkpoint": note,
            "keys": [key.hex() for key in keys.keys],
        }
    emit(result, as_json, lambda shown: f"{shown['size']} receipts, root {shown['root']}\n\n{shown['checkpoint']}")


def check(
    context: typer.Context,
    checkpoint: Annotated[Path, typer.Argument(metavar="OLD_CHECKPOINT", help="A checkpoint that you kept.")],
    as_json: AsJson = False,
) -> None:
    """Prove that the log still holds everything that it held at a checkpoint that you kept.

    Example: expunge -w ws log check kept-checkpoint
    """
    from expunge.journey.tables import MIGRATIONS
    from expunge.ledger import log as receipts_log
    from expunge.ledger.store import Store

    if not checkpoint.is_file():
        what = "not a file that holds a checkpoint" if checkpoint.exists() else "no such file"
        raise OperatorError("no-such-file", f"{what}: {checkpoint.name}")
    with Store.open(workspace(context), steps=MIGRATIONS) as store, store.reading() as connection:
        found = receipts_log.check_against(connection, checkpoint.read_bytes())
    result: Result = {
        "old_size": found.old.size,
        "size": found.head.size,
        "root": found.head.root.hex(),
        "proof": [node.hex() for node in found.proof],
    }
    emit(result, as_json, lambda shown: f"The log of {shown['size']} receipts extends the one of {shown['old_size']}.")
