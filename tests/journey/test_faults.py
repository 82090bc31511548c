"""A sample of the faults of `tests/faults/run.py` (`make faults` runs them all): at system calls, where strace may
trace, and always in our own functions, so that this never tests nothing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from faults.commands import COMMANDS
from faults.injection import Inside, Strace
from faults.run import faults

TOY = tuple(command.name for command in COMMANDS)
RUN = Path(__file__).parent.parent / "faults" / "run.py"


def injected(injector: str, each: int, *names: str) -> int:
    """Number of faults that struck; fails where one was not survived."""
    command = [sys.executable, str(RUN), "--inject", injector, "--each", str(each), "--jobs", "2", *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(rf"(\d+) faults injected by {injector}.*, 0 not survived", done.stdout)
    assert found, done.stdout
    return int(found[1])


def test_faults_at_system_calls():
    if not Strace.available():
        pytest.skip("strace is not there, or may not trace: faults strike inside only")
    assert injected("strace", 1, *TOY) == len(COMMANDS)


def test_faults_inside():
    assert injected("inside", 1, *TOY) == len(COMMANDS)


@pytest.mark.slow
def test_faults_on_real_records():
    """Training and a deletion of real records, struck a few times; `make faults` strikes every command of theirs."""
    assert injected("inside", 2, "real: train", "real: forget") == 3 * 2


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_offers_faults_of_each_kind(command, tmp_path: Path):
    command.prepare(tmp_path / "ws")
    kinds = {(fault.call, fault.kind) for fault in faults(Inside().calls(lambda: command.run(tmp_path / "ws")), False)}
    assert {("commit", "KILL"), ("commit", "ENOSPC"), ("commit", "EIO"), ("statement", "KILL")} <= kinds
