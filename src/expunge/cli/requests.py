"""`expunge requests`."""

from typing import Annotated

import typer

from expunge.cli.models import model_line
from expunge.cli.options import AsJson, workspace
from expunge.cli.output import Result, emit, reporter
from expunge.cli.status import request_line

Name = Annotated[str, typer.Argument(metavar="REQUEST", help="Id of the request.")]
By = Annotated[str, typer.Option(help="Who decides.")]
Reason = Annotated[str, typer.Option(help="Why; it stands in the history and may name nobody.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Requests: look them up, decide on them, carry them on.", no_args_is_help=True)
    for command in (show, hold, release, deny, cancel, exempt, extend, pause, unpause, resume):
        group.command(command.__name__)(command)
    group.command("list")(list_all)
    app.add_typer(group, name="requests")


def list_all(context: typer.Context, as_json: AsJson = False) -> None:
    """List all requests with state and deadline.

    Example: expunge -w ws requests list
    """
    from expunge.journey import lookups
    from expunge.journey.tables import MIGRATIONS
    from expunge.ledger.store import Store

    with Store.open(workspace(context), steps=MIGRATIONS) as store:
        listed = lookups.listed(store)
    emit({"requests": listed}, as_json, _lines)


def show(context: typer.Context, request: Name, as_json: AsJson = False) -> None:
    """Show one request with its history and what each step recorded.

    Example: expunge -w ws requests show REQUEST
    """
    from expunge.journey import lookups
    from expunge.journey.tables import MIGRATIONS
    from expunge.ledger.store import Store

    with Store.open(workspace(context), steps=MIGRATIONS) as store:
        found = lookups.shown(store, request)
    emit(found, as_json, _history)


def hold(context: typer.Context, request: Name, by: By, reason: Reason, as_json: AsJson = False) -> None:
    """Stop a screened request until a person releases it.

    Example: expunge -w ws requests hold REQUEST --by "J. Doe" --reason "looks crafted"
    """
    _decide(context, "hold", request, as_json, by=by, reason=reason)


def release(
    context: typer.Context,
    request: Name,
    by: By,
    reason: Reason,
    repair: Annotated[
        bool, typer.Option("--repair", help="Delete, then repair: retrain on moved copies of what is left as well.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let a held request go on; `requests resume` carries it.

    Example: expunge -w ws requests release REQUEST --by "J. Doe" --reason "identity confirmed"

    Example: expunge -w ws requests release REQUEST --by "J. Doe" --reason "looks crafted" --repair
    """
    if repair:
        from expunge.journey.steps import check_repairable
        from expunge.journey.workspace import Workspace

        with Workspace.open(workspace(context)).store() as store:
            check_repairable(store)
    _decide(context, "release", request, as_json, by=by, reason=reason, **({"repair": True} if repair else {}))


def deny(
    context: typer.Context,
    request: Name,
    denial: Annotated[str, typer.Option(help="suspected_fraud, insuf_verification, no_match, claim_not_covered, ...")],
    by: By,
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Refuse a request for one of the Data Rights Protocol's reasons, before any model was changed.

    Example: expunge -w ws requests deny REQUEST --denial no_match --by "J. Doe" --reason "no such customer"
    """
    _decide(context, "deny", request, as_json, denial=denial, by=by, reason=reason)


def cancel(
    context: typer.Context,
    request: Name,
    by: Annotated[str | None, typer.Option(help="Who cancels it in the requester's name.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why, if there is more to say; it may name nobody.")] = None,
    as_json: AsJson = False,
) -> None:
    """Withdraw a request, before any model was changed: by its requester, or by a person in their name.

    Example: expunge -w ws requests cancel REQUEST
    """
    _decide(context, "cancel", request, as_json, by=by, reason=reason)


def exempt(
    context: typer.Context,
    request: Name,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Digest of a derived model: `expunge models`.")],
    by: By,
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Decide that a derived model holds nothing of a request's records; `requests resume` then carries it on.

    Example: expunge -w ws requests exempt REQUEST DIGEST --by "J. Doe" --reason "trained on other columns"
    """
    _decide(context, "exempt", request, as_json, model=model, by=by, reason=reason)


def extend(context: typer.Context, request: Name, by: By, reason: Reason, as_json: AsJson = False) -> None:
    """Put off a deadline, once, as far as the regime allows.

    Example: expunge -w ws requests extend REQUEST --by "J. Doe" --reason "many requests at once"
    """
    _decide(context, "extend", request, as_json, by=by, reason=reason)


def pause(context: typer.Context, request: Name, by: By, reason: Reason, as_json: AsJson = False) -> None:
    """Stop a deadline's clock while the requester must act, where the regime allows it.

    Example: expunge -w ws requests pause REQUEST --by "J. Doe" --reason "asked for proof of identity"
    """
    _decide(context, "stop_clock", request, as_json, by=by, reason=reason)


def unpause(context: typer.Context, request: Name, by: By, as_json: AsJson = False) -> None:
    """Let a deadline's clock run on.

    Example: expunge -w ws requests unpause REQUEST --by "J. Doe"
    """
    _decide(context, "start_clock", request, as_json, by=by)


def resume(context: typer.Context, as_json: AsJson = False) -> None:
    """Carry every open request as far as it goes: after a kill, a failure, or a decision.

    Example: expunge -w ws requests resume
    """
    from expunge.journey.desk import Desk
    from expunge.journey.workspace import Workspace

    emit(Desk(Workspace.open(workspace(context))).resume(reporter()), as_json, _lines)


def _decide(context: typer.Context, verb: str, request: str, as_json: bool, **words: str | bool | None) -> None:
    from datetime import UTC, datetime

    from expunge.journey import decisions, requests
    from expunge.journey.tables import MIGRATIONS
    from expunge.ledger.store import Store

    with Store.open(workspace(context), steps=MIGRATIONS) as store:
        with store.transaction() as tx:
            getattr(decisions, verb)(tx, request, **words)
        with store.reading() as connection:
            found = requests.get(connection, request)
            due = requests.deadline(connection, found, datetime.now(UTC))
    emit({**found.to_json(), "deadline": due.to_json()}, as_json, _decided)


def _decided(result: Result) -> str:
    due = result["deadline"]
    clock = ", its clock stands" if due["stopped"] else ""
    return f"{result['id']} is {result['state']}, due {due['due']}{clock}."


def _lines(result: Result) -> str:
    waiting = result.get("waiting", {})
    lines = [
        request_line(each) + (f"  waits for {waiting[each['id']]}" if each["id"] in waiting else "")
        for each in result["requests"]
    ]
    return "\n".join(lines) or "No requests."


def _history(result: Result) -> str:
    rows = [f"  {event['at']}  {event['move']:8} -> {event['target']}  {event['actor']}" for event in result["history"]]
    waits = [f"  waits for {model_line(model)}" for model in result["derived_untouched"]]
    follow = ", ".join(result["may_follow"]) or "nothing"
    return "\n".join([request_line(result), *rows, *waits, f"  may follow: {follow}"])
