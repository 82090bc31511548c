"""`expunge audit`."""

import typer

from expunge.cli.options import AsJson, workspace
from expunge.cli.output import Result, emit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("audit")(audit)


def audit(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the audits of all requests: figures with intervals, the noise floor, and what the tests could have seen.

    Example: expunge -w ws audit
    """
    from expunge.journey import lookups
    from expunge.journey.tables import MIGRATIONS
    from expunge.ledger.store import Store

    with Store.open(workspace(context), steps=MIGRATIONS) as store:
        found = lookups.audits(store)
    emit(found, as_json, _words)


def _words(result: Result) -> str:
    if not result["audits"]:
        return "No request has been audited yet."
    return "\n\n".join(_one(found) for found in result["audits"])


def _one(found: Result) -> str:
    head = f"{found['request']}: {found['summary']}"
    title = f"  {'figure':30} {'before':>10} {'after':>10} {'retrained (noise floor)':>26}  finding"
    rows = [_row(reading) for reading in found["readings"]]
    return "\n".join([head, *([title, *rows] if rows else []), *(f"  degraded: {line}" for line in found["degraded"])])


def _row(reading: Result) -> str:
    before, after = (_number(reading[name]["value"]) for name in ("before", "after"))
    floor = "-" if reading["floor"] is None else f"{reading['floor'][0]:.4g} to {reading['floor'][1]:.4g}"
    name = f"{reading['name']} [{reading['unit']}]"
    return f"  {name[:30]:30} {before:>10} {after:>10} {floor:>26}  {reading['finding']}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
