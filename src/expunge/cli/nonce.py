"""`expunge nonce`."""

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.options import AsJson
from expunge.cli.output import Result, emit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("nonce")(nonce)


def nonce(
    commitment: Annotated[Path, typer.Argument(metavar="COMMITMENT", help="What the provider handed over.")],
    book: Annotated[Path, typer.Option(help="The verifier's own file of draws; made where it is not there.")],
    again: Annotated[
        bool, typer.Option("--again", help="Draw although these records were drawn for before; the verdict says so.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """The verifier's side: draw the nonce for a commitment, once, and write it down. Asked again, it is the same.

    Example: expunge nonce REQUEST.commitment.json --book nonces.jsonl
    """
    from expunge.journey.nonces import draw

    emit(draw(commitment, book, again=again), as_json, _words)


def _words(result: Result) -> str:
    lines = [f"Nonce {result['nonce']}", f"Commitment {result['commitment']}"]
    if not result["new"]:
        lines.append("It was drawn before: a commitment has one nonce.")
    if result["draws_for_these_records"] > 1:
        times = result["draws_for_these_records"]
        lines.append(f"Draws for these records: {times}. Whoever may draw so often may choose.")
    return "\n".join(lines)
