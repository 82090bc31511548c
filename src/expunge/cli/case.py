"""`expunge case`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expunge.cli.options import AsJson, workspace
from expunge.cli.output import Result, emit, reporter

if TYPE_CHECKING:
    from expunge.assurance import Evaluation, Standing


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(
        help="The assurance case of a workspace: its argument, with live evidence.", no_args_is_help=True
    )
    for command in (start, check, render, why, replay, defeat, answer):
        group.command(command.__name__)(command)
    app.add_typer(group, name="case")


def start(context: typer.Context, as_json: AsJson = False) -> None:
    """Write the case of the artificial pancreas as case.yaml: a start to edit.

    Example: expunge -w ws case start
    """
    from expunge.assurance import write
    from expunge.assurance.pancreas import pancreas_case
    from expunge.errors import OperatorError
    from expunge.journey import casework
    from expunge.journey.workspace import Workspace

    path = Workspace.open(workspace(context)).folder / casework.SOURCE
    if path.exists():
        raise OperatorError("bad-arguments", f"there is a {casework.SOURCE} already")
    path.write_text(write(pancreas_case()), "utf-8")
    emit({"source": str(path)}, as_json, lambda result: f"Wrote {result['source']}; next: expunge case check")


def check(
    context: typer.Context,
    again: Annotated[list[str] | None, typer.Option(help="Node to measure again, whatever its evidence says.")] = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate the case: run the checks whose inputs changed, and no others.

    Example: expunge -w ws case check
    """
    from expunge.assurance.exports import proofs
    from expunge.journey import casework
    from expunge.journey.workspace import Workspace

    with Workspace.open(workspace(context)).store() as store:
        done = casework.check(store, again or (), reporter())
    nodes = [{"node": n, "status": str(each.status), "why": each.why} for n, each in _ordered(done)]
    result = {
        "case": done.case.name,
        "verdict": str(done.verdict),
        "digest": done.digest,
        "ran": list(done.ran),
        "checks": len(done.case.solutions),
        "fallen": list(done.fallen),
        "nodes": nodes,
        "properties": [{"node": name, **proof} for name, proof in proofs(done)],
    }
    emit(result, as_json, _words)


def _ordered(done: "Evaluation") -> "list[tuple[str, Standing]]":
    return [(node.id, done.standings[node.id]) for node in done.case.nodes]


def _words(result: Result) -> str:
    lines = [f"{each['node']:24} {each['status']:12} {each['why']}" for each in result["nodes"]]
    fell = f"; fallen: {', '.join(result['fallen'])}" if result["fallen"] else ""
    head = f"{result['case']}: {result['verdict']}{fell}. {len(result['ran'])} of {result['checks']} checks run."
    return "\n".join([head, *lines])


def render(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("case-out"),
    as_json: AsJson = False,
) -> None:
    """Write the case as HTML, SVG, Markdown, JSON and CycloneDX 1.6 declarations.

    Example: expunge -w ws case render --out case-out
    """
    import json

    from expunge.assurance import cyclonedx, markdown, told
    from expunge.assurance.layout import svg
    from expunge.journey import casework
    from expunge.journey.workspace import Workspace
    from expunge.ledger.receipts import timestamp
    from expunge.ledger.store import utc_now
    from expunge.reports.case import CaseView, case_page

    with Workspace.open(workspace(context)).store() as store:
        found = casework.last(store)
    files = {
        "case.html": case_page(found.case.name, [CaseView("The case", found.to_json())]),
        "case.svg": svg(found.case, found.standings),
        "case.md": markdown(found),
        "case.json": json.dumps(told(found), indent=1),
        "case.cdx.json": json.dumps(cyclonedx(found, timestamp(utc_now())), indent=1),
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (out / name).write_text(text, "utf-8")
    emit({"files": [str(out / name) for name in files]}, as_json, lambda result: "\n".join(result["files"]))


def why(
    context: typer.Context,
    node: Annotated[str, typer.Argument(help="Id of a node.")],
    as_json: AsJson = False,
) -> None:
    """Say why a node stands as it does: the chain down to what is to blame, its evidence and defeaters.

    Example: expunge -w ws case why G-safe
    """
    from expunge.assurance import why as reasons
    from expunge.journey import casework
    from expunge.journey.workspace import Workspace

    with Workspace.open(workspace(context)).store() as store:
        found = reasons(casework.last(store), node)
    emit(found, as_json, _chain)


def _chain(result: Result) -> str:
    lines = [f"{'  ' * n}{e['node']} {e['status']}: {e['text']} — {e['why']}" for n, e in enumerate(result["chain"])]
    return "\n".join(
        [*lines, *(f"{each['id']}: {each['doubt']} — {each['answer'] or 'open'}" for each in result["defeaters"])]
    )


def replay(
    context: typer.Context,
    node: Annotated[str, typer.Argument(help="Id of a solution whose property is violated.")],
    as_json: AsJson = False,
) -> None:
    """Run a violation's counterexample through the network again.

    Example: expunge -w ws case replay Sn-verification-5.1
    """
    from expunge.journey import casework
    from expunge.journey.workspace import Workspace

    with Workspace.open(workspace(context)).store() as store:
        found = casework.replay(store, node)
    emit(found, as_json, _replayed)


def _replayed(result: Result) -> str:
    outputs = ", then ".join(f"{each:.4g}" for each in result["outputs"])
    word = "It breaks the property" if result["breaks"] else "It does NOT break the property"
    rows = [f"  {each['name']:14} {each['value']:.6g} {each['unit']}" for each in result["inputs"]]
    return "\n".join([f"{result['property']}.", *rows, f"Predicted: {outputs} {result['unit']}.", f"{word}."])


def defeat(
    context: typer.Context,
    node: Annotated[str, typer.Argument(help="Id of the node that is doubted.")],
    doubt: Annotated[str, typer.Option(help="What speaks against it.")],
    by: Annotated[str, typer.Option(help="Who raises it.")] = "operator",
    as_json: AsJson = False,
) -> None:
    """Raise a defeater: the node is undermined until it is answered; it is kept either way.

    Example: expunge -w ws case defeat G-data --doubt "no data from night shifts" --by reviewer
    """
    from expunge.journey import casework
    from expunge.journey.workspace import Workspace

    with Workspace.open(workspace(context)).store() as store:
        case = casework.doubt(store, node, doubt, by)
    emit({"defeater": case.defeaters[-1].id}, as_json, lambda result: f"Raised {result['defeater']} against {node}.")


def answer(
    context: typer.Context,
    defeater: Annotated[str, typer.Argument(help="Id of the defeater, such as D1.")],
    words: Annotated[str, typer.Option("--answer", help="Why it does not hold, or what was done.")],
    as_json: AsJson = False,
) -> None:
    """Answer a defeater.

    Example: expunge -w ws case answer D1 --answer "nights are a fifth of the data: section 3"
    """
    from expunge.journey import casework
    from expunge.journey.workspace import Workspace

    with Workspace.open(workspace(context)).store() as store:
        casework.answer(store, defeater, words)
    emit({"defeater": defeater}, as_json, lambda result: f"Answered {result['defeater']}.")
