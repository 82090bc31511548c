"""`expunge attack`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expunge.cli.options import AsJson, Data, OwnerColumn, Target
from expunge.cli.output import Result, emit
from expunge.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from expunge.adversaries.requesters import Crafted, Requester, Task
    from expunge.records import Records
    from expunge.unlearning import Method


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("attack")(attack)


def attack(
    name: Annotated[str, typer.Argument(help="influence, greedy, neighbours, ...; an unknown name lists them all.")],
    data: Data = "digits",
    target: Target = None,
    owner: OwnerColumn = None,
    unlearner: Annotated[str, typer.Option(help="Method under attack, or first-order: the literature's.")] = "retrain",
    budget: Annotated[int, typer.Option(help="Records that the request may name.", min=1)] = 10,
    targets: Annotated[int, typer.Option(help="Test records under attack, each by itself.", min=1)] = 3,
    margin: Annotated[float, typer.Option(help="Quantile of the margin that they start at.", min=0, max=0.95)] = 0.0,
    grey_box: Annotated[
        bool, typer.Option("--grey-box", help="The requester knows the recipe alone, and half of the records.")
    ] = False,
    requester: Annotated[
        str | None, typer.Option("--as", help="Owner who attacks: only own records are named or altered.")
    ] = None,
    submit: Annotated[
        Path | None,
        typer.Option(help="File for the first request, as its records are handed in: `forget --copies` takes it."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the training and the attack.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Red team: train a model on the data, craft deletion requests against it, carry them out, and count flips.

    Nothing of a workspace is read or changed; no gate stands in between.

    Example: expunge attack influence --data digits --unlearner retrain --budget 10 --targets 3

    Example: expunge attack altered-copies --as owner-007 --unlearner first-order --submit copies.safetensors
    """
    from expunge.adversaries.requesters import FirstOrder
    from expunge.cli.names import method
    from expunge.records import load

    chosen = _attack(name)
    server = FirstOrder(0.02) if unlearner == "first-order" else method(unlearner)
    records = load(data, target=target, owner=owner)
    pool = None if requester is None else frozenset(records.owned_by(requester))
    if records.classes < 2 or budget >= len(records.train):
        raise OperatorError("bad-arguments", "an attack needs classes, and a budget below the number of records")
    rows, first = [], None
    for task in _tasks(records, server, budget, pool, seed, chosen, (margin, targets), grey_box):
        crafted = chosen.run(task)
        first = first or (task, crafted)
        rows.append(
            {**vars(task.outcome(crafted)), "records": sorted(crafted.forget), "copies": crafted.copies is not None}
        )
    if not rows:
        raise OperatorError("bad-arguments", "no test record that is right can be a target of this attack")
    if submit is not None and first is not None:
        _write(submit, records, *first)
    flips = sum(row["flips"] for row in rows)
    shown = {"attack": name, "unlearner": unlearner, "budget": budget, "flips": flips, "targets": rows}
    emit({**shown, "submitted": None if submit is None else str(submit)}, as_json, _words)


def _tasks(
    records: "Records",
    server: "Method",
    budget: int,
    pool: frozenset[str] | None,
    seed: int,
    chosen: "Requester",
    aim: tuple[float, int],
    grey: bool,
) -> "Iterator[Task]":
    """One task a target, with the attacker's ground laid; targets that the attack has no use for are left out."""
    from expunge.adversaries.requesters import Backdoor, Preconditioned, Task, grey_box
    from expunge.studies.requests_cells import targets_between, trained

    made = trained(records, seed)
    picked = targets_between(made.model, records, aim[0], min(aim[0] + 0.1, 1.0), aim[1])
    for row in range(len(picked)):
        if isinstance(chosen, Backdoor) and int(picked.targets[row]) == chosen.wanted:
            continue
        task = Task(records, made, server, picked.select([row]), budget, pool=pool, seed=seed)
        task = grey_box(task) if grey else task
        yield chosen.prepared(task) if isinstance(chosen, Preconditioned) else task


def _attack(name: str) -> "Requester":
    """The attack called `name`; raises `OperatorError("bad-arguments")`."""
    from expunge.adversaries import requesters as known

    attacks: tuple[Requester, ...] = (
        known.Select(),
        known.Select("first-order"),
        known.Select(cap=0.8),
        known.Neighbours(),
        known.Greedy(),
        known.Relaxed(),
        known.Polish(),
        known.AlteredCopies(),
        known.AlteredCopies(noise=True),
        known.Blended(),
        known.BoundaryCopies(),
        known.BoundaryCopies(across=True),
        known.NeverTrained(),
        known.Sequential(),
        known.Backdoor(),
        known.Usability(),
        known.Camouflage(),
        known.Exhaust(),
    )
    found = {each.describe().name: each for each in attacks}
    if name not in found:
        raise OperatorError("bad-arguments", f"no attack is called {name[:40]!r}; there are {', '.join(found)}")
    return found[name]


def _write(path: Path, records: "Records", task: "Task", crafted: "Crafted") -> None:
    """The records as the requester hands them in. **Raises:** `OperatorError("bad-arguments")`: no place for a file."""
    from expunge.records.storage import to_bytes

    held = records if task.records.features is records.features else task.records
    own = held.select(held.rows(crafted.forget))
    try:
        path.write_bytes(to_bytes(crafted.copies or own))
    except OSError as error:
        raise OperatorError("bad-arguments", f"cannot write {path}: {error.strerror}") from None


def _words(result: Result) -> str:
    lines = [
        f"target {number}: {'flipped' if row['flips'] else 'held'}; margin fell by {row['fell']:.2f}, test accuracy "
        f"{100 * row['accuracy_before']:.1f} -> {100 * row['accuracy_after']:.1f} %"
        for number, row in enumerate(result["targets"])
    ]
    head = f"{result['attack']} against {result['unlearner']}, {result['budget']} records"
    tail = [f"The first request is in {result['submitted']}."] if result["submitted"] else []
    return "\n".join([f"{head}: {result['flips']} of {len(lines)} targets flipped", *lines, *tail])
