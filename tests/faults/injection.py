"""Faults in a process: at its n-th system call of a kind, by strace; where there is none, in its own functions.

Either way a child is forked from this warm process, so that only the work itself is disturbed, and not Python's start.
"""

import contextlib
import errno
import fcntl
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from unittest import mock

from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from expunge.errors import ExpungeError

WRITING = (
    *("write", "pwrite64", "fsync", "fdatasync", "openat", "rename", "renameat", "renameat2", "unlink", "unlinkat"),
    *("mkdir", "mkdirat", "ftruncate", "fallocate", "link", "linkat", "flock"),
)
"""Calls that change files or wait for others to."""
READING = (
    "read",
    "pread64",
    "fstat",
    "newfstatat",
    "lseek",
    "close",
    "fcntl",
    "getdents64",
    "mmap",
    "munmap",
    "readlink",
)
"""Calls around them; a kill there is a kill between two changes."""
NO_SPACE = frozenset({"write", "pwrite64", "openat", "mkdir", "rename", "fsync", "fdatasync", "ftruncate", "fallocate"})

DONE, REFUSED, CRASHED = 0, 3, 4
"""How a child ends: its work is done; one clear error of ours; anything else."""


@dataclass(frozen=True)
class Fault:
    """The `number`-th call of a kind, from one, is hit: by a kill, or by an error once or from then on."""

    call: str
    number: int
    kind: str
    lasting: bool = False

    def __str__(self) -> str:
        return f"{self.kind}{' from' if self.lasting else ' at'} {self.call} {self.number}"


@dataclass(frozen=True)
class Ended:
    """How a disturbed child ended: its status (negative for a signal), and what it said of an error."""

    status: int
    said: str


class Injector(Protocol):
    """Counts the calls of some work, and does the work with a fault."""

    name: str

    def calls(self, work: Callable[[], None]) -> Counter[str]:
        """How often each call is made."""

    def strike(self, work: Callable[[], None], fault: Fault) -> Ended:
        """Do the work in a child, with the fault."""


class Strace:
    """Faults at system calls."""

    name = "strace"

    @staticmethod
    def available() -> bool:
        """Whether strace is there and may trace a process of ours."""
        if shutil.which("strace") is None:
            return False

        def ask() -> None:
            os.getppid()

        try:
            return Strace().calls(ask)["getppid"] > 0
        except (OSError, RuntimeError):
            return False

    def calls(self, work: Callable[[], None]) -> Counter[str]:
        with tempfile.TemporaryDirectory() as folder:
            trace = Path(folder) / "trace"
            ended = self._traced(work, ["-o", str(trace), "-e", "trace=all"])
            if ended.status != DONE:
                raise RuntimeError(f"the undisturbed work ended with {ended}")
            names = re.findall(r"^(?:\d+ +)?(\w+)\(", trace.read_text(), re.MULTILINE)
        return Counter(names)

    def strike(self, work: Callable[[], None], fault: Fault) -> Ended:
        effect = "signal=KILL" if fault.kind == "KILL" else f"error={fault.kind}"
        when = f"{fault.number}{'+' if fault.lasting else ''}"
        inject = f"inject={fault.call}:{effect}:when={when}"
        return self._traced(work, ["-o", "/dev/null", "-e", f"trace={fault.call}", "-e", inject])

    def _traced(self, work: Callable[[], None], options: list[str]) -> Ended:
        with _child(work) as child:
            tracer = subprocess.Popen(
                ["strace", "-f", "-p", str(child.pid), *options], stderr=subprocess.PIPE, text=True
            )
            assert tracer.stderr is not None
            line = tracer.stderr.readline()
            if "attached" not in line:
                child.drop()
                tracer.wait()
                raise RuntimeError(f"strace: {line.strip()}")
            ended = child.go()
            tracer.stderr.close()
            tracer.wait()
        return ended


class Inside:
    """Faults at the functions that make the system calls, and at the database's statements and commits."""

    name = "inside"

    def calls(self, work: Callable[[], None]) -> Counter[str]:
        counter: Counter[str] = Counter()
        with _patched(lambda name: counter.update([name])):
            work()
        return counter

    def strike(self, work: Callable[[], None], fault: Fault) -> Ended:
        def hit(name: str) -> None:
            counter[name] += 1
            if name == fault.call and (
                counter[name] == fault.number or (fault.lasting and counter[name] > fault.number)
            ):
                _hit(name, fault.kind)

        def disturbed() -> None:
            with _patched(hit):
                work()

        counter: Counter[str] = Counter()
        with _child(disturbed) as child:
            return child.go()


_FUNCTIONS = {
    "openat": (os, "open"),
    "write": (os, "write"),
    "pwrite64": (os, "pwrite"),
    "fsync": (os, "fsync"),
    "rename": (os, "replace"),
    "unlink": (os, "unlink"),
    "mkdir": (os, "mkdir"),
    "flock": (fcntl, "flock"),
}
_STATEMENTS = ("statement", "commit")


def _hit(name: str, kind: str) -> None:
    if kind == "KILL":
        os.kill(os.getpid(), signal.SIGKILL)
    if name not in _STATEMENTS:
        raise OSError(getattr(errno, kind), os.strerror(getattr(errno, kind)))
    error = sqlite3.OperationalError("database or disk is full" if kind == "ENOSPC" else "disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL if kind == "ENOSPC" else sqlite3.SQLITE_IOERR
    raise error


@contextlib.contextmanager
def _patched(hit: Callable[[str], object]) -> Iterator[None]:
    def before(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*arguments: object, **options: object) -> object:
            hit(name)
            return function(*arguments, **options)

        return wrapped

    dialect = SQLiteDialect_pysqlite
    methods = {"do_execute": "statement", "do_executemany": "statement", "do_commit": "commit"}
    with contextlib.ExitStack() as stack:
        for name, (module, function) in _FUNCTIONS.items():
            stack.enter_context(mock.patch.object(module, function, before(name, getattr(module, function))))
        for method, name in methods.items():
            stack.enter_context(mock.patch.object(dialect, method, before(name, getattr(dialect, method))))
        yield


class _Child:
    """A forked process that waits for a word before it works."""

    def __init__(self, work: Callable[[], None]) -> None:
        begin, self._begin = os.pipe()
        self._said, say = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._begin)
            os.close(self._said)
            _live(work, begin, say)
        os.close(begin)
        os.close(say)

    def go(self) -> Ended:
        os.write(self._begin, b"go")
        said = b""
        while piece := os.read(self._said, 4096):
            said += piece
        return Ended(self._wait(), said.decode(errors="replace"))

    def drop(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self._wait()

    def close(self) -> None:
        os.close(self._begin)
        os.close(self._said)
        if self.pid:
            self.drop()

    def _wait(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)


@contextlib.contextmanager
def _child(work: Callable[[], None]) -> Iterator[_Child]:
    child = _Child(work)
    try:
        yield child
    finally:
        child.close()


def _live(work: Callable[[], None], begin: int, say: int) -> None:
    """The child's whole life; it never comes back from here."""
    status, said = CRASHED, "was never told to begin"
    try:
        if os.readv(begin, [bytearray(2)]):  # a call that no fault strikes, as the one below
            work()
            status, said = DONE, ""
    except ExpungeError as error:
        status, said = REFUSED, f"{error.code}: {error}"
    except BaseException:
        said = traceback.format_exc()
    finally:
        with contextlib.suppress(OSError):
            os.writev(say, [said.encode()])
        os._exit(status)
