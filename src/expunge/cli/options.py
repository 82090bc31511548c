"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document; progress goes to stderr.")]
Data = Annotated[str, typer.Option(help="`digits`, or a file or folder: IDX, .npz, .csv, .parquet.")]
Target = Annotated[str | None, typer.Option(help="Column to predict (tables).")]
OwnerColumn = Annotated[str | None, typer.Option("--owner", help="Column that says whose record it is (tables).")]
Out = Annotated[Path, typer.Option(help="Folder to write to; made where it is missing.")]

ExecutorName = Annotated[
    str, typer.Option("--executor", help="Where networks are trained: serial, processes, or ray. Same bytes.")
]
Workers = Annotated[int, typer.Option(help="Of processes or ray.", min=1)]


def workspace(context: typer.Context) -> Path:
    """The folder named with `-w`, by default the current one."""
    return Path(context.obj["workspace"])
