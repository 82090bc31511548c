"""`expunge rotate-key`."""

import typer

from expunge.cli.options import AsJson, workspace
from expunge.cli.output import Result, emit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("rotate-key")(rotate_key)


def rotate_key(context: typer.Context, as_json: AsJson = False) -> None:
    """Sign with a fresh key from now on, and destroy the old private key; old receipts stay as they are.

    Old and new key both sign the handover: whoever trusts the old one can check what the new one signs.

    Example: expunge -w ws rotate-key
    """
    from expunge.journey.workspace import Workspace

    emit(Workspace.open(workspace(context)).rotate_key(), as_json, _words)


def _words(result: Result) -> str:
    return (
        f"Key {result['old'][:16]} handed over to {result['new'][:16]}; the old private key is gone.\n"
        f"Publish {result['public']}: it holds every public key of this log."
    )
