"""`expunge train`."""

import typer

from expunge.cli.options import AsJson, ExecutorName, Workers, workspace
from expunge.cli.output import Result, emit, reporter


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train")(train)


def train(
    context: typer.Context, executor: ExecutorName = "serial", workers: Workers = 2, as_json: AsJson = False
) -> None:
    """Train the workspace's recipe on its records; after a kill, the same command carries on.

    Example: expunge -w ws train
    """
    from expunge.cli.names import executor as executor_called
    from expunge.journey.workspace import Workspace

    with executor_called(executor, workers) as pool:
        emit(Workspace.open(workspace(context)).train(reporter(), pool), as_json, _words)


def _words(result: Result) -> str:
    return (
        f"Trained in {result['seconds']:.1f} s on {result['records']} records: {quality(result)}.\n"
        f"Model {result['model']}"
    )


def quality(result: Result) -> str:
    """How good a model is, on its training records and on the test set."""
    if "rmse_test" in result:
        return f"root mean squared error {result['rmse_train']:.4g} on them, {result['rmse_test']:.4g} on the test set"
    return f"{result['accuracy_train']:.1%} right on them, {result['accuracy_test']:.1%} on the test set"
