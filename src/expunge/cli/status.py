"""`expunge status`."""

import typer

from expunge.cli.options import AsJson, workspace
from expunge.cli.output import Result, emit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status)


def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the model, the records and every request with its state and deadline.

    Example: expunge -w ws status
    """
    from expunge.journey.desk import Desk
    from expunge.journey.workspace import Workspace

    emit(Desk(Workspace.open(workspace(context))).status(), as_json, _words)


def _words(result: Result) -> str:
    model = result["model"] or "none yet: run `expunge train`"
    head = f"{result['records']} records of {result['owners']} owners from {result['data']}."
    facts = [head, f"Data root {result['data_root']}", f"Model {model}"]
    lines = [request_line(request) for request in result["requests"]]
    return "\n".join([*facts, *(lines or ["No requests."])])


def request_line(request: Result) -> str:
    """One request in one line."""
    due = request["deadline"]
    count = "?" if request["records"] is None else request["records"]
    return f"{request['id']}  {request['state']:10} {count:>6} records  due {due['due']} ({due['days_left']} days left)"
