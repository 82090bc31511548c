"""`expunge verify`."""

import contextlib
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expunge.cli.options import AsJson
from expunge.cli.output import Result, emit
from expunge.errors import OperatorError, ProviderDishonest

if TYPE_CHECKING:
    from expunge.journey.replaying import Asked


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify)


def verify(
    bundle: Annotated[
        list[Path], typer.Argument(metavar="BUNDLE...", help="Receipt bundles, <request>.bundle.json: one or several.")
    ],
    model: Annotated[Path | None, typer.Option(help="Model file that the receipt should bind.")] = None,
    key: Annotated[Path | None, typer.Option(help="Public key that you trust; without it the bundle's own.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Checkpoint of the log that you kept earlier.")] = None,
    replay: Annotated[bool, typer.Option("--replay", help="Replay a sample of a provable deletion as well.")] = False,
    records: Annotated[Path | None, typer.Option(help="Replay: retained records with their salts.")] = None,
    proof: Annotated[Path | None, typer.Option(help="Replay: the proof; by default ../proofs/REQUEST.proof.")] = None,
    nonce: Annotated[str | None, typer.Option(help="Replay: the nonce that you drew.")] = None,
    commitment: Annotated[Path | None, typer.Option(help="Replay: the commitment that you drew it for.")] = None,
    book: Annotated[Path | None, typer.Option(help="Replay: your book of nonces (`expunge nonce`).")] = None,
    old_root: Annotated[
        str | None, typer.Option(help="Replay: root of the data that you kept from before the request.")
    ] = None,
    work: Annotated[float, typer.Option(help="Replay: share of retraining to spend.", min=0.0, max=1.0)] = 0.1,
    threads: Annotated[
        int | None, typer.Option(help="Replay: arithmetic threads; by default the provider's.", min=1)
    ] = None,
    network: Annotated[
        list[str] | None, typer.Option(help="Replay: a network of your own, module:factory, that the recipe may name.")
    ] = None,
    owner: Annotated[
        list[str] | None, typer.Option(help="Replay: a person who left with all records, if you may know.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Check receipts offline, trusting nobody's word; exit status 0 only when every check of every one holds.

    Without --replay the same as the standalone file: python -m expunge_verify. With it, a sample of the checkpoints of
    a provable deletion is trained again from the retained records: no workspace is opened.

    Example: expunge verify ws/receipts/REQUEST.bundle.json --model ws/model.safetensors

    Example: expunge verify ws/receipts/*.bundle.json --key ws/keys/public.pem

    Example: expunge verify REQUEST.bundle.json --records retained.bin --replay --book nonces.jsonl
    """
    import expunge_verify

    if replay != (records is not None):
        raise OperatorError("bad-arguments", "--replay and --records belong together")
    if replay and len(bundle) > 1:
        raise OperatorError("bad-arguments", "--replay takes one bundle")

    options = {"--model": model, "--key": key, "--checkpoint": checkpoint}
    words = [*map(str, bundle)]
    for flag, value in options.items():
        words += [] if value is None else [flag, str(value)]
    if records is None:
        return expunge_verify.main(words + (["--json"] if as_json else []))
    from expunge.journey.replaying import Asked

    _check(book, nonce, work, old_root)
    people, factories = tuple(owner or ()), tuple(network or ())
    asked = Asked(bundle[0], records, proof, model, nonce, commitment, book, old_root, work, threads, people, factories)
    return _replayed(words, asked, as_json)


def _check(book: Path | None, nonce: str | None, work: float, old_root: str | None) -> None:
    """Refuse what would end as an accusation of the provider; raises `OperatorError("bad-arguments")`."""
    if book is not None and nonce is not None:
        raise OperatorError("bad-arguments", "--book knows the nonce: leave --nonce out")
    if not 0 <= work <= 1:
        raise OperatorError("bad-arguments", "--work is a share of retraining, from 0 to 1")
    if old_root is not None and not re.fullmatch("[0-9a-f]{64}", old_root):
        raise OperatorError("bad-arguments", "--old-root is 64 digits of hex, as `expunge status` prints it")


def _replayed(words: list[str], asked: "Asked", as_json: bool) -> int:
    """The receipt's checks, and where they hold those of the replay; the first failure decides the status."""
    import expunge_verify
    from expunge.journey.replaying import replayed

    caught = io.StringIO()
    with contextlib.redirect_stdout(caught):
        status = expunge_verify.main([*words, "--json"])
    report = json.loads(caught.getvalue())
    found = replayed(asked) if status == 0 else None
    holds = bool(found and found["holds"])
    emit({**report, "holds": holds, "replay": found}, as_json, _lines)
    return status or (0 if holds else ProviderDishonest.exit_status)


def _lines(result: Result) -> str:
    checks = [(each["name"], each["holds"], each["message"]) for each in result["checks"]]
    found = result["replay"]
    if found is None:
        return "\n".join([*map(_line, checks), "The receipt does not hold: nothing was replayed."])
    checks += [(f"replay: {each['name']}", each["holds"], each["message"]) for each in found["checks"]]
    share, most = found["would_find"]["0.1"], found["work_share"]
    recipe = found["recipe"]
    tail = [
        f"Claim {found['claim'] or 'not looked at'}{_guarantee(found['guarantee'])}. Proven: {found['proves']}.",
        f"Method {json.dumps(found['method'])}.",
        f"Recipe: {recipe['epochs']} epochs of {json.dumps(recipe['optimiser'])}.",
        f"Replayed {found['replayed']} of {found['segments']} segments, {most:.1%} of retraining's gradients.",
        f"Tolerance {found['tolerance']['value']:.3g}: {found['tolerance']['source']}.",
        f"Had a tenth of the segments been faked, this would have been found with probability {share:.2f} at least.",
        *(f"Degraded: {note}" for note in found["degraded"]),
        "Every check holds." if result["holds"] else "NOT verified.",
    ]
    return "\n".join([*map(_line, checks), *tail])


def _guarantee(found: Result | None) -> str:
    return "" if found is None else f", epsilon {found['epsilon']:g}, delta {found['delta']:g}"


def _line(check: tuple[str, bool | None, str]) -> str:
    name, holds, message = check
    return f"{ {True: 'holds', False: 'FAILS', None: '-'}[holds]:6} {name:24} {message}"
