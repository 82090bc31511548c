"""`expunge doctor`."""

import typer

from expunge.cli.options import AsJson, workspace
from expunge.cli.output import Result, emit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(context: typer.Context, as_json: AsJson = False) -> int:
    """Check this machine and, where there is one, the workspace; exit status 20 where something is wrong.

    Looks at the platform, at whether stacked training gives the reference engine's bits here, and at every stored byte.

    Example: expunge -w ws doctor
    """
    from expunge.journey.checks import fsck
    from expunge.journey.health import stacks_are_exact
    from expunge.training import fingerprint

    folder = workspace(context)
    problems = [] if stacks_are_exact() else ["stacked training differs from the reference engine on this machine"]
    result: Result = {"platform": fingerprint(threads=1), "stacks_exact": not problems, "workspace": None}
    if (folder / "store.db").exists():
        report = fsck(folder)
        problems += [f"{each.kind}: {each.subject}: {each.detail}" for each in report.problems]
        result["workspace"] = {"rows": report.rows, "objects": report.objects, "bytes": report.bytes}
    result["problems"] = problems
    emit(result, as_json, _words)
    return 20 if problems else 0


def _words(result: Result) -> str:
    platform = ", ".join(f"{name} {value}" for name, value in result["platform"].items())
    lines = [f"platform: {platform}", f"stacked training exact to the bit: {'yes' if result['stacks_exact'] else 'NO'}"]
    held = result["workspace"]
    lines.append("no workspace here" if held is None else f"workspace: {held['objects']} objects, {held['rows']} rows")
    return "\n".join([*lines, *(result["problems"] or ["Nothing is wrong."])])
