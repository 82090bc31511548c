"""`expunge forget`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expunge.cli.options import AsJson, ExecutorName, Workers, workspace
from expunge.cli.output import Result, emit, reporter
from expunge.errors import OperatorError

if TYPE_CHECKING:
    from expunge.records import Records

_LARGEST = 1 << 26
"""Bytes of a file of record ids."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("forget")(forget)


def forget(
    context: typer.Context,
    owner: Annotated[
        list[str] | None,
        typer.Option(help="The person whose records are to go; given again, more people in one run, a receipt each."),
    ] = None,
    records: Annotated[Path | None, typer.Option(help="File of record ids, one a line.")] = None,
    copies: Annotated[
        Path | None,
        typer.Option(help="The records themselves as they were handed in (.npz, .safetensors): matched first."),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="See `expunge methods`; by default the cheapest exact one.")
    ] = None,
    epsilon: Annotated[float | None, typer.Option(help="Budget of certified methods, over all deletions.")] = None,
    delta: Annotated[float | None, typer.Option(help="The delta that goes with it.")] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="Choose an empirical method's hyper-parameters on half of the test records.")
    ] = False,
    provable: Annotated[
        bool, typer.Option("--provable", help="Commit only; `expunge challenge` carries it out under a nonce.")
    ] = False,
    every: Annotated[int | None, typer.Option(help="Provable: steps between checkpoints.", min=1, max=10**9)] = None,
    key: Annotated[str | None, typer.Option(help="Idempotency key (UUID): the same one is one request.")] = None,
    executor: ExecutorName = "serial",
    workers: Workers = 2,
    as_json: AsJson = False,
) -> None:
    """Carry a deletion request from receipt of the request to a signed receipt for it.

    The very same command again finds its request: carried on after a kill; after the close, the outcome of then under
    the notice `already-deleted`. Another method or key for records that are gone is refused by that code, and once
    `forget-salt` has run nothing tells any more that they were here.

    Example: expunge -w ws forget --owner owner-007

    Example: expunge -w ws forget --owner owner-007 --owner owner-012

    Example: expunge -w ws forget --owner owner-007 --method certified --epsilon 1 --delta 1e-5

    Example: expunge -w ws forget --owner owner-007 --method l1-sparse --tune

    Example: expunge -w ws forget --owner owner-007 --provable

    Example: expunge -w ws forget --owner owner-007 --copies handed-in.safetensors
    """
    from expunge.cli.names import executor as executor_called
    from expunge.cli.names import guaranteed
    from expunge.journey.desk import Desk
    from expunge.journey.tuning import Tune
    from expunge.journey.workspace import Workspace

    people = list(dict.fromkeys(owner or ()))
    if copies is None and bool(people) == (records is not None):
        raise OperatorError("bad-arguments", "name either --owner or --records")
    if len(people) > 1 and (provable or copies is not None):
        raise OperatorError("bad-arguments", "--provable and --copies take one --owner: a commitment speaks of one")
    if copies is not None and (records is not None or provable):
        raise OperatorError("bad-arguments", "--copies goes with --owner, neither with --records nor with --provable")
    if method is None and (epsilon is not None or delta is not None):
        raise OperatorError("bad-arguments", "--epsilon and --delta belong to a --method, such as certified")
    if every is not None and not provable:
        raise OperatorError("bad-arguments", "--every belongs to --provable")
    if tune and (method is None or provable):
        raise OperatorError("bad-arguments", "--tune belongs to a --method, such as l1-sparse, and not to --provable")
    chosen = None if method is None else guaranteed(method, epsilon, delta)
    if tune and chosen is not None:
        chosen = Tune(chosen)
    ids = None if records is None else _read_ids(records)
    shown = None if copies is None else _read_copies(copies)
    person = people[0] if people else None
    with executor_called(executor, workers) as pool:
        desk = Desk(Workspace.open(workspace(context)), pool)
        if len(people) > 1:
            together = desk.forget_batch(people, method=chosen, key=key, progress=reporter())
            emit(together, as_json, _batch)
            return
        if provable:
            emit(desk.commit(owner=person, ids=ids, method=chosen, every=every, key=key), as_json, _committed)
            return
        done = desk.forget(owner=person, ids=ids, method=chosen, key=key, copies=shown, progress=reporter())
        emit(done, as_json, words)


def words(result: Result) -> str:
    """The outcome of a request, for people."""
    if "cost" not in result:
        return f"Request {result['request']} is {result['state']}: see `expunge requests show {result['request']}`."
    cost = result["cost"]
    lines = [
        *_notice(result),
        f"Request {result['request']}: {result['forgotten']} records deleted by {result['method']} "
        f"(claim: {result['claim']}), {result['state']}.",
        f"Cost    {cost['gradient_evaluations']:,} gradient evaluations; {_alternatives(cost)}",
        *_certificate(result),
        *_tuning(result),
        f"Audit   {result['audit']}",
        *(f"Degraded: {sentence}" for sentence in result["degraded"]),
        f"Model   {result['model']}",
        f"Receipt {result['bundle']}",
        f"Report  {result['report']}",
        *([f"Case    {result['case']['words']}", f"        {result['case']['page']}"] if result["case"] else []),
        f"Anyone can check it offline: expunge verify {result['bundle']} --model {result['model_file']}",
    ]
    return "\n".join(lines)


def _batch(result: Result) -> str:
    """Requests that were carried together, each with its receipt."""
    done = result["requests"]
    label = "" if result["batch"] is None else f" of batch {result['batch']}"
    return "\n\n".join([f"{len(done)} requests{label}:", *map(words, done)])


def _notice(result: Result) -> list[str]:
    """Said first to whoever asks for what was done before: another process's retry, or a person's second deletion."""
    notice = result.get("notice")
    return [] if notice is None else [f"{notice['message'].capitalize()} [{notice['code']}]."]


def _committed(result: Result) -> str:
    """What to hand over, and what comes next; of a request that is over, what became of it."""
    if "commitment" not in result:
        return words(result)
    folder = Path(result["commitment_file"]).parent.parent
    return "\n".join(
        (
            f"Request {result['request']} is committed to; nothing is trained before the verifier's nonce is here.",
            f"Commitment {result['commitment']}",
            f"File       {result['commitment_file']}",
            "Hand the file to the verifier. With the nonce that they draw then:",
            f"  expunge -w {folder} challenge {result['request']} --nonce NONCE --retained FILE",
        )
    )


def _alternatives(cost: Result) -> str:
    """Retraining in full, and stopped once it is as accurate: a method that loses to either is told so."""
    work = cost["gradient_evaluations"]
    prices = {
        "retraining takes": cost["retraining_evaluations"],
        "stopped at the same test accuracy,": cost["stopped_retraining_evaluations"],
    }
    words = [f"{what} {price:,} ({_compared(price, work)})" for what, price in prices.items() if price is not None]
    return "; ".join(words) + "."


def _compared(price: int, work: int) -> str:
    if not work:
        return "this took none"
    return f"{price / work:.1f} times as many" if price >= work else f"only {price / work:.2f} of it: this was dearer"


def _certificate(result: Result) -> list[str]:
    if result["epsilon"] is None:
        return []
    spent, left = f"epsilon {result['epsilon']:.4g} at delta {result['delta']:.2g}", f"{result['budget_left']:.4g}"
    return [f"Budget  {spent} so far, {left} left; what it stands on is in the receipt's claim."]


def _tuning(result: Result) -> list[str]:
    found = result["tuning"]
    if found is None:
        return []
    chosen = ", ".join(
        f"{key} {value}" for key, value in found["method"].items() if key != "kind" and value is not None
    )
    return [f"Tuned   {len(found['trials'])} settings tried, {found['untried']} beyond the budget; chosen: {chosen}."]


def _read_copies(path: Path) -> "Records":
    from expunge.records import load

    if path.suffix not in (".npz", ".safetensors"):
        raise OperatorError("bad-arguments", "records are handed in as .npz or .safetensors, under their ids")
    return load(path)


def _read_ids(path: Path) -> tuple[str, ...]:
    if not path.exists():
        raise OperatorError("no-such-file", f"no such file: {path}")
    if not path.is_file() or path.stat().st_size > _LARGEST:
        raise OperatorError("bad-data", f"{path} is not a regular file of at most {_LARGEST:,} bytes")
    try:
        lines = path.read_text("utf-8").splitlines()
    except UnicodeDecodeError:
        raise OperatorError("bad-data", f"{path} is not UTF-8 text") from None
    return tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
