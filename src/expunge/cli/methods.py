"""`expunge methods`."""

import typer

from expunge.cli.options import AsJson
from expunge.cli.output import Result, emit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("methods")(methods)


def methods(as_json: AsJson = False) -> None:
    """List the unlearning methods, what each claims, and its hyper-parameters.

    Example: expunge methods
    """
    from expunge.cli.names import methods as all_methods
    from expunge.plain import encode

    listed = []
    for name, method in all_methods().items():
        description = method.describe()
        listed.append(
            {
                "name": name,
                "claim": description.kind.value,
                "summary": description.summary,
                "source": description.source,
                "parameters": {key: value for key, value in encode(method).items() if key != "kind"},
            }
        )
    emit({"methods": listed}, as_json, _words)


def _words(result: Result) -> str:
    return "\n".join(
        f"{method['name']:12} {method['claim']:10} {method['summary']} ({method['source']})"
        for method in result["methods"]
    )
