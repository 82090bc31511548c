"""Every fault at every system call of every command: `python tests/faults/run.py [--each N] [--inject inside] [NAME]`.

Kills strike at every call that changes something: one at a call that changes nothing leaves what a kill at the next
changing call leaves, and strikes only with `--every`. After each fault `fsck` must be clean, and the same command must
finish the work and leave what it leaves undisturbed.
Prints the number of faults; exit status 1 when one was not survived.
"""

import argparse
import gc
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from sqlalchemy import Connection, Engine

from expunge.errors import ExpungeError
from expunge.journey.checks import CHECKS, fsck
from expunge.journey.tables import MIGRATIONS
from expunge.ledger import database
from expunge.ledger.fsck import Problem
from expunge.ledger.fsck import fsck as fsck_ledger
from expunge.ledger.store import Store
from faults.commands import COMMANDS, Command, seen
from faults.injection import CRASHED, NO_SPACE, READING, REFUSED, WRITING, Ended, Fault, Injector, Inside, Strace

INJECTORS: dict[str, Callable[[], Injector]] = {"strace": Strace, "inside": Inside}
CLEAR = {"disk-full", "io-error", "store-corrupt", "store-busy"}
"""What a disk's refusal may be called; a database that cannot be read may look damaged."""


@cache
def real() -> tuple[Command, ...]:
    """Commands on a workspace with a network, as quick as it can be made; with them comes torch, which slows forks."""
    import pytest

    import real_workspace
    from faults.real import REAL

    real_workspace.hurry(pytest.MonkeyPatch())
    return REAL


def commands(names: Sequence[str]) -> Iterator[tuple[int, Command]]:
    """Those whose name begins so, or all, with their numbers: first those on a workspace without torch."""
    real_too = not names or any(name.startswith("real") or "real".startswith(name) for name in names)
    for number, command in enumerate(chain(COMMANDS, _late(real_too))):
        if not names or command.name.startswith(tuple(names)):
            yield number, command


def _late(real_too: bool) -> Iterator[Command]:
    yield from real() if real_too else ()


def command_of(number: int) -> Command:
    """The command of this number."""
    return COMMANDS[number] if number < len(COMMANDS) else real()[number - len(COMMANDS)]


def faults(calls: Counter[str], every: bool) -> Iterator[Fault]:
    """Every fault that can strike: kills; full disks at calls that need room; broken ones at calls that touch them."""
    for name in (*WRITING, *READING, "statement", "commit"):
        for number in range(1, calls[name] + 1):
            if name not in READING or every:
                yield Fault(name, number, "KILL")
            if name in NO_SPACE or name in ("statement", "commit"):
                yield Fault(name, number, "ENOSPC")
                yield Fault(name, number, "ENOSPC", lasting=True)
            if name in (*WRITING, "read", "pread64", "getdents64", "statement", "commit"):
                yield Fault(name, number, "EIO")


def survives(
    command: Command, start: Path, expected: tuple[dict[str, object], ...], injector: Injector, fault: Fault
) -> str:
    """Empty, or what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "ws"
        if start.exists():
            shutil.copytree(start, workspace)
        ended = injector.strike(lambda: command.run(workspace), fault)
        try:
            return _ending(ended, fault) or _afterwards(command, workspace, expected)
        except (ExpungeError, AssertionError) as error:
            return f"the same command does not finish: {error!r}"


def _ending(ended: Ended, fault: Fault) -> str:
    if ended.status == CRASHED or (ended.status < 0 and fault.kind != "KILL"):
        lines = ended.said.strip().splitlines()
        where = [line.strip() for line in lines if "/expunge/" in line]
        return f"crashed with {ended.status}: {' '.join([*lines[-1:], *where[-1:]])}"
    if ended.status == REFUSED and fault.kind != "KILL" and ended.said.partition(":")[0] not in CLEAR:
        return f"unclear: {ended.said}"
    return ""


def _afterwards(command: Command, workspace: Path, expected: tuple[dict[str, object], ...]) -> str:
    if (workspace / database.NAME).exists():
        try:
            if problems := fsck(workspace).problems:
                return f"fsck: {problems[:3]}"
        except ExpungeError as error:
            if error.code != "workspace-missing" or not command.name.endswith("create"):  # half made: by creating it
                raise
    command.run(workspace)
    found, problems = looked_at(command, workspace)
    if problems:
        return f"fsck after the same command: {problems[:3]}"
    return "" if found in expected else f"left {found}, not {expected}"


def looked_at(command: Command, workspace: Path) -> tuple[dict[str, object], tuple[Problem, ...]]:
    """What a workspace comes to, and what `fsck` finds in it."""
    found: dict[str, object] = {}

    def look(store: Store, connection: Connection) -> Iterator[Problem]:
        found.update((command.look or seen)(store, connection))
        yield from ()

    report = fsck_ledger(workspace, (*CHECKS, look), MIGRATIONS)
    return found, report.problems


@dataclass(frozen=True)
class Trial:
    """One command with its state before, what it leaves undisturbed, and the faults that strike it."""

    command: int
    start: Path
    expected: tuple[dict[str, object], ...]
    injector: str
    faults: tuple[Fault, ...]

    def run(self) -> list[str]:
        """What was not survived, one line each."""
        command, injector = command_of(self.command), INJECTORS[self.injector]()
        found = ((fault, survives(command, self.start, self.expected, injector, fault)) for fault in self.faults)
        return [f"{command.name}, {fault}: {wrong}" for fault, wrong in found if wrong]


def trial(number: int, folder: Path, injector: Injector, each: int | None, every: bool) -> Trial:
    """A command's undisturbed run, measured; and the faults that are to strike it: all, or `each` many."""
    command = command_of(number)
    gc.freeze()  # no collector walks through what was there before: a forked child would copy all of it
    injector = Inside() if command.inside else injector
    start, counted = folder / "start", folder / "counted"
    command.prepare(start)
    ways = {folder / f"quiet-{place}": way for place, way in enumerate((command.run, *command.also))}
    for copy in (*ways, counted):
        if start.exists():
            shutil.copytree(start, copy)
    for copy, way in ways.items():
        way(copy)
    chosen = list(faults(injector.calls(lambda: command.run(counted)), every))
    limit = min(len(chosen), *(most for most in (each, command.sample) if most is not None), len(chosen))
    chosen = random.Random(command.name).sample(chosen, limit)
    return Trial(number, start, tuple(looked_at(command, copy)[0] for copy in ways), injector.name, tuple(chosen))


def disturb(number: int, injector: Injector, each: int | None, every: bool, jobs: int) -> tuple[int, list[str]]:
    """How many faults struck one command, and those that it did not survive."""
    with tempfile.TemporaryDirectory() as folder:
        whole = trial(number, Path(folder), injector, each, every)
        parts = [replace(whole, faults=whole.faults[job::jobs]) for job in range(jobs)]
        if jobs == 1:
            return len(whole.faults), whole.run()
        with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
            return len(whole.faults), [line for lines in pool.map(Trial.run, parts) for line in lines]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--each", type=int, default=None, help="only so many faults for each command, drawn from all")
    options.add_argument("--every", action="store_true", help="kill at calls that change nothing, too")
    options.add_argument("--inject", choices=tuple(INJECTORS), default=None)
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options.add_argument("names", nargs="*", help="only commands whose name begins so")
    chosen = options.parse_args()
    injector = INJECTORS[chosen.inject or ("strace" if Strace.available() else "inside")]()
    share_compiled_statements()
    total, lost, began = 0, 0, time.monotonic()
    ways: dict[str, None] = {}
    for number, command in commands(chosen.names):
        count, wrong = disturb(number, injector, chosen.each, chosen.every, chosen.jobs)
        total, lost = total + count, lost + len(wrong)
        ways[Inside.name if command.inside else injector.name] = None
        say(f"{command.name:32} {count:6} faults, {len(wrong)} not survived")
        for line in wrong[:5]:
            say(f"    {line}")
    say(f"{total} faults injected by {' and '.join(ways)}, {lost} not survived, {time.monotonic() - began:.0f} s")
    return 1 if lost or not total else 0


def share_compiled_statements() -> None:
    """Let every store of this process and its children use the statements that one of them compiled: twice as quick."""
    make, first = database.engine, database.engine(Path("never-opened"))

    def engine(path: Path, patience: float = database.PATIENCE) -> Engine:
        made = make(path, patience)
        made.dialect = made.pool._dialect = first.dialect
        made._compiled_cache = first._compiled_cache
        return made

    database.engine = engine


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
