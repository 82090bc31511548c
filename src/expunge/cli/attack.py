"""`expunge attack`."""

from typing import TYPE_CHECKING, Annotated

import typer

from expunge.cli.options import AsJson, Data, OwnerColumn, Target
from expunge.cli.output import Result, emit
from expunge.errors import OperatorError

if TYPE_CHECKING:
    from expunge.adversaries.requesters import Requester


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
    seed: Annotated[int, typer.Option(help="Of the training and the attack.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Red team: train a model on the data, craft deletion requests against it, carry them out, and count flips.

    Nothing of a workspace is read or changed; no gate stands in between.

    Example: expunge attack influence --data digits --unlearner retrain --budget 10 --targets 3
    """
    from expunge.adversaries.requesters import FirstOrder, Task
    from expunge.cli.names import method
    from expunge.records import load
    from expunge.studies.requests_cells import targets_between, trained

    chosen = _attack(name)
    server = FirstOrder() if unlearner == "first-order" else method(unlearner)
    records = load(data, target=target, owner=owner)
    if records.classes < 2 or budget >= len(records.train):
        raise OperatorError("bad-arguments", "an attack needs classes, and a budget below the number of records")
    made = trained(records, seed)
    picked = targets_between(made.model, records, margin, min(margin + 0.1, 1.0), targets)
    rows = []
    for row in range(len(picked)):
        task = Task(records, made, server, picked.select([row]), budget, seed=seed)
        crafted = chosen.run(task)
        outcome = task.outcome(crafted)
        rows.append({**vars(outcome), "records": sorted(crafted.forget), "copies": crafted.copies is not None})
    flips = sum(row["flips"] for row in rows)
    shown = {"attack": name, "unlearner": unlearner, "budget": budget, "flips": flips, "targets": rows}
    emit(shown, as_json, _words)


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
        known.NeverTrained(),
        known.Sequential(),
        known.Exhaust(),
    )
    found = {each.describe().name: each for each in attacks}
    if name not in found:
        raise OperatorError("bad-arguments", f"no attack is called {name[:40]!r}; there are {', '.join(found)}")
    return found[name]


def _words(result: Result) -> str:
    lines = [
        f"target {number}: {'flipped' if row['flips'] else 'held'}; margin fell by {row['fell']:.2f}, test accuracy "
        f"{100 * row['accuracy_before']:.1f} -> {100 * row['accuracy_after']:.1f} %"
        for number, row in enumerate(result["targets"])
    ]
    head = f"{result['attack']} against {result['unlearner']}, {result['budget']} records"
    return "\n".join([f"{head}: {result['flips']} of {len(lines)} targets flipped", *lines])
