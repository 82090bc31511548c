"""`expunge demo`."""

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from expunge.cli.options import AsJson
from expunge.cli.output import Result, emit, reporter
from expunge.errors import OperatorError

OWNER = "owner-007"
"""A made-up owner of the bundled digits."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    out: Annotated[Path, typer.Option(help="Folder to write to; an earlier demo in it is replaced.")] = Path(
        "demo-out"
    ),
    as_json: AsJson = False,
) -> None:
    """The whole story on 1,797 real digits: train, forget a person, audit, sign, verify, and try to cheat.

    Example: expunge demo --out demo-out
    """
    from expunge.journey import lookups
    from expunge.journey.desk import Desk
    from expunge.journey.workspace import Workspace
    from expunge.records import digits
    from expunge.training import Recipe, Sharding

    folder = out / "workspace"
    _clear(out, folder)
    workspace = Workspace.create(folder, digits(), Recipe(sharding=Sharding(shards=8, slices=4)), "digits")
    result: Result = {"facts": workspace.facts(), "training": workspace.train(reporter())}
    result["deletion"] = Desk(workspace).forget(owner=OWNER, progress=reporter())
    with workspace.store() as store:
        result["audit"] = lookups.audits(store)["audits"][-1]
    bundle, model = Path(result["deletion"]["bundle"]), folder / "model.safetensors"
    result["checks"] = {
        "as issued": _verdict(bundle.read_bytes(), model),
        "one byte of the bundle flipped": _verdict(_flipped(bundle.read_bytes()), model),
        "another model file": _verdict(bundle.read_bytes(), folder / "expunge.toml"),
        "another key": _verdict(bundle.read_bytes(), model, "0" * 64),
    }
    emit(result, as_json, _words)


def _clear(out: Path, folder: Path) -> None:
    """Make room: only a folder that is ours is ever removed."""
    if folder.exists() and not (folder / "expunge.toml").exists():
        raise OperatorError("workspace-exists", f"{folder.name} in the output folder is not an earlier demo")
    shutil.rmtree(folder, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)


def _verdict(bundle: bytes, model: Path, key: str | None = None) -> dict[str, Any]:
    import expunge_verify

    report = expunge_verify.verify(bundle, model, key)
    failed = [check for check in report.checks if check.holds is False]
    return {"holds": not failed, "says": f"{failed[0].name}: {failed[0].message}" if failed else "every check holds"}


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _words(result: Result) -> str:
    facts, training, done, found = (result[name] for name in ("facts", "training", "deletion", "audit"))
    cost, test = done["cost"], {reading["name"]: reading for reading in found["readings"]}
    lira, loss = test["LiRA AUC"], test["loss on D_f"]
    trained = f"trained in {training['seconds']:.1f} s, {training['accuracy_test']:.1%} right on the test set"
    work, whole = f"{cost['gradient_evaluations']:,}", f"{cost['retraining_evaluations']:,}"
    lines = [
        f"1. {facts['records']:,} real digits of {facts['owners']} owners; 8 networks, each on its own owners:",
        f"   {trained}.",
        f"2. A request arrives: forget {OWNER}. It is checked, screened, planned.",
        f"   One shard retrains, from the slice before: {work} gradient evaluations instead of {whole},",
        f"   {cost['times_cheaper']:.0f} times cheaper ({_stopped(cost)}). Claim: {done['claim']}.",
        f"3. The audit looks for the {done['forgotten']} records in the model before, after, and in retrained ones:",
        f"   loss on them {_triple(loss)};",
        f"   membership AUC {_triple(lira)}.",
        f"   {found['summary']}.",
        "4. A receipt is signed and logged; the records, and every checkpoint that saw them, are erased.",
        f"   {done['bundle']}",
        f"   {done['report']}",
        "5. Anyone can check it offline, and cheating shows:",
        *(_check_line(name, check) for name, check in result["checks"].items()),
        f"Try it: expunge verify {done['bundle']} --model {done['model_file']}",
    ]
    return "\n".join(lines)


def _stopped(cost: Result) -> str:
    """The harder comparison beside the easy one."""
    stopped = cost["stopped_retraining_evaluations"]
    if stopped is None:
        return "plain retraining never gets as accurate"
    return f"{stopped / cost['gradient_evaluations']:.1f} times, if retraining stops at equal accuracy"


def _check_line(name: str, check: Result) -> str:
    return f"   {name:32} {'ok ' if check['holds'] else 'NO '} {check['says'][:70]}"


def _triple(reading: Result) -> str:
    before, after = reading["before"]["value"], reading["after"]["value"]
    floor = reading["floor"]
    return f"{before:.3f} before, {after:.3f} after (retrained: {floor[0]:.3f} to {floor[1]:.3f})"
