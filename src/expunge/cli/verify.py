"""`expunge verify`."""

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.options import AsJson


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify)


def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Receipt bundle, <request>.bundle.json.")],
    model: Annotated[Path | None, typer.Option(help="Model file that the receipt should bind.")] = None,
    key: Annotated[Path | None, typer.Option(help="Public key that you trust; without it the bundle's own.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Checkpoint of the log that you kept earlier.")] = None,
    as_json: AsJson = False,
) -> int:
    """Check a receipt offline, trusting nobody's word; exit status 0 only when every check holds.

    The same as the standalone file: python -m expunge_verify.

    Example: expunge verify ws/receipts/REQUEST.bundle.json --model ws/model.safetensors
    """
    import expunge_verify

    options = {"--model": model, "--key": key, "--checkpoint": checkpoint}
    words = [str(bundle)]
    for flag, value in options.items():
        words += [] if value is None else [flag, str(value)]
    return expunge_verify.main(words + (["--json"] if as_json else []))
