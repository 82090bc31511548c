"""`expunge init`."""

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.options import AsJson, Data, OwnerColumn, Target
from expunge.cli.output import Result, emit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("init")(init)


def init(
    folder: Annotated[Path, typer.Argument(metavar="WS", help="Folder to make.")],
    data: Data = "digits",
    target: Target = None,
    owner: OwnerColumn = None,
    regression: Annotated[bool, typer.Option("--regression", help="The target is a number, not a class.")] = False,
    category: Annotated[
        list[str] | None, typer.Option(help="Column of numbers that are names (tables; repeat).")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Column to leave out (tables; repeat).")] = None,
    record: Annotated[str | None, typer.Option(help="Column with the record's id (tables).")] = None,
    split: Annotated[str | None, typer.Option(help="Column that says train or test (tables).")] = None,
    network: Annotated[
        str, typer.Option(help="mlp, cnn, resnet, random-features, oriented-filters, or module:factory.")
    ] = "mlp",
    rising: Annotated[
        list[str] | None, typer.Option(help="Column that may only raise a prediction, by construction (repeat).")
    ] = None,
    falling: Annotated[
        list[str] | None, typer.Option(help="Column that may only lower a prediction, by construction (repeat).")
    ] = None,
    certifiable: Annotated[
        bool, typer.Option("--certifiable", help="Fixed features and a convex head, for certified deletions.")
    ] = False,
    least_squares: Annotated[
        bool,
        typer.Option("--least-squares", help="With --certifiable: a least-squares head, deleted from exactly at once."),
    ] = False,
    shards: Annotated[int, typer.Option(help="Networks, each on its own part of the owners; 1 for none.", min=1)] = 1,
    slices: Annotated[int, typer.Option(help="Checkpointed slices of each shard.", min=1)] = 1,
    epochs: Annotated[float, typer.Option(help="Passes over the records.")] = 30,
    batch_size: Annotated[int, typer.Option(help="Records in each step.", min=1)] = 32,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 0.1,
    weight_decay: Annotated[float, typer.Option(help="Weight decay.", min=0)] = 5e-4,
    seed: Annotated[int, typer.Option(help="Seed that every random stream derives from.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Make a workspace: read the records, write the config, keys and store.

    Example: expunge init ws --data digits --shards 8 --slices 4
    """
    from dataclasses import replace

    from expunge.cli.names import monotone
    from expunge.cli.names import network as network_called
    from expunge.errors import OperatorError
    from expunge.journey.workspace import Workspace
    from expunge.records import load
    from expunge.training import SGD, CrossEntropy, Recipe, Sharding, SquaredError
    from expunge.training.certifiable import certifiable_recipe, downdatable_recipe

    if certifiable and (shards > 1 or slices > 1 or network != "mlp" or rising or falling):
        raise OperatorError("bad-arguments", "--certifiable chooses the network itself, and takes no shards")
    if least_squares and not certifiable:
        raise OperatorError("bad-arguments", "--least-squares belongs to --certifiable")
    recipe = Recipe(
        network=network_called(network),
        optimiser=SGD(lr=lr, weight_decay=weight_decay),
        loss=SquaredError() if regression else CrossEntropy(),
        epochs=epochs,
        batch_size=batch_size,
        sharding=Sharding(shards, slices) if shards > 1 or slices > 1 else None,
        seed=seed,
    )
    records = load(
        data,
        target=target,
        owner=owner,
        record=record,
        split=split,
        regression=regression,
        categories=category or (),
        ignore=ignore or (),
    )
    if rising or falling:
        recipe = replace(recipe, network=monotone(network, records, rising or (), falling or ()))
    if certifiable:
        make = downdatable_recipe if least_squares else certifiable_recipe
        recipe = make(records.shape, records.classes, seed=seed)
    emit(Workspace.create(folder, records, recipe, data).facts(), as_json, _words)


def _words(result: Result) -> str:
    idle = result["untrained_networks"]
    warning = f"{idle} of them have no owner to train on, and take no part: fewer shards would do.\n" if idle else ""
    return (
        f"{result['workspace']}: {result['records']} records of {result['owners']} owners from {result['data']}, "
        f"{result['parameters']} parameters in {result['networks']} network(s).\n{warning}"
        f"Next: expunge -w {result['workspace']} train"
    )
