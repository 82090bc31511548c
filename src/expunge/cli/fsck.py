"""`expunge fsck`."""

from typing import Annotated

import typer

from expunge.cli.options import AsJson, workspace
from expunge.cli.output import Result, emit

_SEARCHED = (
    "No file and no value in the database is these bytes, nor is a stretch of the database files that is as long as "
    "the store knows them to have been (else as long as a salt). Not searched: the inside of larger objects and files."
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("fsck")(fsck)


def fsck(
    context: typer.Context,
    prove_absent: Annotated[
        str | None, typer.Option(help="SHA-256 of bytes that must be no file and no value of the store.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Check every stored byte and every promise of the store; exit status 20 where something is wrong.

    Example: expunge -w ws fsck
    """
    from expunge.journey import checks
    from expunge.journey.tables import MIGRATIONS
    from expunge.ledger.absence import prove_absent as search
    from expunge.ledger.store import Store

    folder = workspace(context)
    report = checks.fsck(folder)
    result: Result = {
        "clean": report.clean,
        "rows": report.rows,
        "objects": report.objects,
        "bytes": report.bytes,
        "problems": [vars(problem) for problem in report.problems],
        "absent": None,
    }
    if prove_absent is not None:
        with Store.open(folder, steps=MIGRATIONS) as store:
            result["absent"] = search(store, prove_absent).absent
    emit(result, as_json, _words)
    return 0 if report.clean and result["absent"] is not False else 20


def _words(result: Result) -> str:
    lines = [f"{each['kind']}: {each['subject']}: {each['detail']}" for each in result["problems"]]
    looked = f"{result['objects']} objects, {result['rows']} rows, {result['bytes']:,} bytes looked at."
    absent = {None: [], True: [_SEARCHED], False: ["THE BYTES ARE STILL THERE."]}
    return "\n".join([*(lines or ["Nothing is wrong."]), looked, *absent[result["absent"]]])
