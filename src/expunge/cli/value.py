"""`expunge value` and `expunge settle`."""

from typing import Annotated

import typer

from expunge.cli.options import AsJson, ExecutorName, Workers, workspace
from expunge.cli.output import Result, emit, reporter


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("value")(value)
    app.command("settle")(settle)


def value(
    context: typer.Context,
    estimator: Annotated[
        str,
        typer.Option(
            help="adjusted, permutation, antithetic, utility, complementary, multilinear, truncated, or exact."
        ),
    ] = "adjusted",
    error: Annotated[float, typer.Option(help="Half-width at 95 % to reach for every owner, in accuracy.")] = 0.01,
    budget: Annotated[int | None, typer.Option(help="Utilities to evaluate at most.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same values.", min=0)] = 0,
    executor: ExecutorName = "serial",
    workers: Workers = 2,
    as_json: AsJson = False,
) -> None:
    """Estimate what each owner's data is worth under the recipe's shards. A killed run carries on where it stopped.

    Example: expunge -w ws value --error 0.01
    """
    from expunge.cli.names import estimator as estimator_called
    from expunge.cli.names import executor as executor_called
    from expunge.journey.valuing import Order, order_value
    from expunge.journey.workspace import Workspace

    order = Order(estimator_called(estimator), error, budget, seed)
    with (
        executor_called(executor, workers) as pool,
        Workspace.open(workspace(context)).store() as store,
    ):
        emit(order_value(store, order, executor=pool, progress=reporter()), as_json, _values)


def settle(
    context: typer.Context,
    revenue: Annotated[int, typer.Option(help="Of one sale, in the smallest unit of the currency (cents).", min=0)],
    as_json: AsJson = False,
) -> None:
    """Share the revenue of a sale out among the owners, by positive value, to the last unit.

    Example: expunge -w ws settle --revenue 100000
    """
    from expunge.journey.valuing import settle_sale
    from expunge.journey.workspace import Workspace

    with Workspace.open(workspace(context)).store() as store:
        emit(settle_sale(store, revenue), as_json, _settlement)


def _values(result: Result) -> str:
    lines = [
        f"{_name(line['owner'])} {line['value']:+.5f} {_half(line['half_width'])}  shard {line['shard']}"
        for line in sorted(result["owners"], key=_worth)
    ]
    reached = "" if result["reached"] else "  NOT as narrow as asked: raise the budget."
    shared = result["utility_of_all"] - result["utility_of_none"]
    tail = (
        f"{len(lines)} owners in {result['shards']} shards share {shared:.4f} of accuracy; widest half-width "
        f"{_half(result['half_width'])} at 95 %; {result['evaluations']} utilities, "
        f"{result['trainings']} networks trained."
    )
    return "\n".join([*lines, tail + reached, result["page"]])


def _name(owner: str) -> str:
    """An owner's name in a column: without a terminal's control characters, and never longer than the column."""
    clean = "".join(each if each.isprintable() else "\ufffd" for each in owner)
    return f"{clean if len(clean) <= 32 else clean[:31] + '…':32}"


def _worth(line: Result) -> float:
    return -float(line["value"])


def _half(width: float | None) -> str:
    return "± ?" if width is None else f"± {width:.5f}"


def _settlement(result: Result) -> str:
    lines = [f"{_name(line['owner'])} {line['value']:+.5f} {line['payout']:>12}" for line in result["lines"]]
    paid = sum(line["payout"] for line in result["lines"])
    return "\n".join(
        [*lines, f"{'paid':32} {'':8} {paid:>12} of {result['revenue']}; {result['unallocated']} to nobody"]
    )
