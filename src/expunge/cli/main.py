"""Entry point: the application, and the one place where errors become lines, JSON and exit statuses."""

import io
import re
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from expunge import __version__
from expunge.cli import (
    adopt,
    attack,
    audit,
    case,
    challenge,
    demo,
    derive,
    doctor,
    forget,
    forget_salt,
    fsck,
    glucose,
    init,
    log,
    methods,
    models,
    nonce,
    requests,
    rotate_key,
    screen,
    simulate_glucose,
    status,
    study,
    train,
    value,
    verify,
)
from expunge.cli.output import emit_error
from expunge.errors import ExpungeError, OperatorError

app = typer.Typer(
    name="expunge",
    help="Remove a person's data from a trained PyTorch model on request, and prove it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def options(
    context: typer.Context,
    workspace: Annotated[Path, typer.Option("--workspace", "-w", help="Folder that `expunge init` made.")] = Path(),
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Options before the command."""
    if version:
        typer.echo(f"expunge {__version__}")
        raise typer.Exit
    context.obj = {"workspace": workspace}


for _module in (
    init,
    train,
    adopt,
    forget,
    challenge,
    nonce,
    audit,
    case,
    status,
    requests,
    screen,
    derive,
    models,
    forget_salt,
    rotate_key,
    log,
    fsck,
    doctor,
    verify,
    value,
    methods,
    simulate_glucose,
    glucose,
    study,
    attack,
    demo,
):
    _module.register(app)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns (and, as a script, exits with) its status.

    0 when done; the family's status for an `ExpungeError` (docs/errors.md); 130 when
    interrupted. `expunge verify` has statuses of its own (docs/verify.md).
    """
    words = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in words
    if isinstance(sys.stdout, io.TextIOWrapper):  # paths that are no UTF-8, terminals that know few letters
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        outcome = app(words, prog_name="expunge", standalone_mode=False)
        return outcome if isinstance(outcome, int) else 0
    except ExpungeError as error:
        emit_error(error, as_json)
        return error.exit_status
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("expunge: interrupted; the same command carries on\n")
        return 130
    except TyperException as error:
        text = _unnamed(str(getattr(error, "format_message", error.__str__)()))
        if "\n" in text and not as_json:  # a group named without a command: its help, as it is laid out
            sys.stderr.write(f"{text}\n")
        else:
            emit_error(OperatorError("bad-arguments", text), as_json)
        return OperatorError.exit_status
    except OSError as error:
        emit_error(OperatorError("io-error", f"{error.strerror or error}: {error.filename or ''}"), as_json)
        return OperatorError.exit_status


def _unnamed(text: str) -> str:
    """A usage error without the words that were too many: `forget owner-007` must not put the owner into a log."""
    return re.sub(r"(?s)^(Got unexpected extra argument(?:\(s\)|s)?) \(.*\)$", r"\1", text)


def run() -> None:
    """The console script."""
    sys.exit(main())
