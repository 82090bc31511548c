"""Malformed input to the commands, each in a process that may take 200 MB and 5 s: one refusal, nothing changed.

The process is forked from this one, which has imported everything: the caps are for what the input costs.
"""

import contextlib
import hashlib
import io
import json
import mmap
import os
import pickle
import resource
import signal
import struct
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv  # imported beforehand, as said above
import pytest

import real_workspace
from expunge.cli.main import main

MEMORY, SECONDS = 200 << 20, 5


class Evil:
    """Executes on unpickling."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (exec, ("raise SystemExit('executed')",))


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(begin: int, end: int, shape: list[int]) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}


def archive(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def bomb() -> bytes:
    """4 GB of zeros in 4 MB."""
    file, block = io.BytesIO(), bytes(1 << 20)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        with made.open("features.npy", "w", force_zip64=True) as part:
            np.lib.format.write_array_header_1_0(
                part, {"descr": "<f4", "fortran_order": False, "shape": (1 << 20, 1 << 10)}
            )
            for _ in range(256):
                part.write(block)
        made.writestr("targets.npy", b"")
    return file.getvalue()


def rows(*lines: str) -> bytes:
    return "\n".join(["id,who,x,y", *lines]).encode()


def many(line: Callable[[int], str]) -> bytes:
    return rows(*(line(number) for number in range(40)))


COLUMNS = b",".join(b"c%d" % n for n in range(10**6)) + b"\n" + b",".join([b"1"] * 10**6) + b"\n"
PICKLE = pickle.dumps(Evil())
ARRAYS = {"features": np.ones((40, 3), "f4"), "targets": np.arange(40) % 2}
INIT = ("init", "{tmp}/new", "--data", "{file}")
TABLE = (*INIT, "--target", "y", "--owner", "who")
ADOPT = ("-w", "{ws}", "adopt", "{file}")
FORGET = ("-w", "{ws}", "forget", "--records", "{file}")

CASES: dict[str, tuple[tuple[str, ...], str, Callable[[], bytes], str]] = {
    "a pickle as a model": (ADOPT, "m.safetensors", lambda: PICKLE, "not-a-model"),
    "a pickle as data": (INIT, "d.npz", lambda: PICKLE, "pickle-refused"),
    "a pickle in an archive": (INIT, "d.npz", lambda: archive(features=np.array([Evil()], object)), "pickle-refused"),
    "a zip bomb": (INIT, "d.npz", bomb, "archive-bomb"),
    "overlapping offsets": (
        ADOPT,
        "m.safetensors",
        lambda: safetensors({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, bytes(12)),
        "malformed-model",
    ),
    "a huge header": (ADOPT, "m.safetensors", lambda: safetensors({}, bytes(9 << 20), 9 << 20), "malformed-model"),
    "a header that claims all memory": (
        ADOPT,
        "m.safetensors",
        lambda: safetensors({}, b"", 1 << 62),
        "malformed-model",
    ),
    "tensors that claim all memory": (
        ADOPT,
        "m.safetensors",
        lambda: safetensors({"a": entry(0, 1 << 50, [1 << 48])}),
        "malformed-model",
    ),
    "weights of a wrong shape": (
        ADOPT,
        "m.safetensors",
        lambda: safetensors({"a": entry(0, 8, [2])}, bytes(8)),
        "already-trained",
    ),
    "NaN in a table": (TABLE, "d.csv", lambda: many(lambda n: f"{n},p{n},{n or 'nan'},{n % 2}"), "bad-data"),
    "NaN in an archive": (
        INIT,
        "d.npz",
        lambda: archive(**(ARRAYS | {"features": np.full((40, 3), np.nan, "f4")})),
        "bad-data",
    ),
    "arrays of two lengths": (INIT, "d.npz", lambda: archive(**(ARRAYS | {"targets": np.arange(39)})), "bad-data"),
    "ragged rows": (TABLE, "d.csv", lambda: rows("1,a,1,0", "2,b,1"), "bad-data"),
    "ids that occur twice": (
        (*TABLE, "--record", "id"),
        "d.csv",
        lambda: many(lambda n: f"{n // 2},p{n},1,{n % 2}"),
        "bad-data",
    ),
    "10^6 columns": (TABLE, "d.csv", lambda: COLUMNS, "bad-data"),
    "a table that is no UTF-8": (TABLE, "d.csv", lambda: rows("1,\xe9,1,0").decode().encode("latin-1"), "bad-data"),
    "ids that are no UTF-8": (FORGET, "ids.txt", lambda: b"\xff\xfe\n", "bad-data"),
    "ids without an end": (("-w", "{ws}", "forget", "--records", "/dev/zero"), "x", bytes, "bad-data"),
    "ten million ids": (FORGET, "ids.txt", lambda: b"a\n" * 10_000_000, "unknown-record"),
    "an unknown owner": (("-w", "{ws}", "forget", "--owner", "nobody"), "x", bytes, "unknown-owner"),
    "an owner of a megabyte": (("-w", "{ws}", "forget", "--owner", "n" * 100_000), "x", bytes, "bad-arguments"),
    "a deep receipt": (("verify", "{file}"), "b.json", lambda: b"[" * 10**6, "bundle-truncated"),
    "a receipt of 100 MB": (("verify", "{file}"), "b.json", lambda: b" " * (100 << 20), "json-refused"),
    "a pickle as a receipt": (("verify", "{file}"), "b.json", lambda: PICKLE, "bundle-truncated"),
    "a checkpoint of 100 MB": (
        ("-w", "{ws}", "log", "check", "{file}"),
        "checkpoint",
        lambda: b"x\n" * (50 << 20),
        "bad-checkpoint",
    ),
}


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "ws"
    real_workspace.create(folder)
    return folder


def contents(folder: Path) -> dict[str, str]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix not in (".db-wal", ".db-shm")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def capped(work: Callable[[], str]) -> str:
    """What `work` returns in a process under the caps; raises where it was killed or did not end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = "nothing"
        try:
            data = next(
                line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData")
            )
            memory = int(data.split()[1]) * 1024 + MEMORY
            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            pyarrow.set_memory_pool(pyarrow.system_memory_pool())  # the other one reserves a gigabyte beforehand
            said = work()
        except BaseException:
            said = traceback.format_exc()
        finally:
            os.write(writing, said.encode()[:60_000])
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"killed by signal {os.waitstatus_to_exitcode(status)}: {said}"
    return said


def code_of(words: list[str]) -> str:
    """The code with which a command refuses."""
    caught, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(caught), contextlib.redirect_stderr(errors):
        main([*words, "--json"])
    assert "Traceback" not in caught.getvalue() + errors.getvalue()
    found = json.loads(caught.getvalue())
    if "error" in found:
        return str(found["error"]["code"])
    return next(str(check["code"]) for check in found["checks"] if check["holds"] is False)


@pytest.mark.parametrize("name", CASES)
def test_malformed_input_is_refused_within_200_mb_and_5_s(name: str, ws: Path, tmp_path: Path):
    words, file, content, code = CASES[name]
    (tmp_path / file).write_bytes(content())
    before = contents(ws)
    places = {"tmp": tmp_path, "ws": ws, "file": tmp_path / file}
    assert capped(lambda: code_of([word.format(**places) for word in words])) == code
    assert contents(ws) == before
    assert not (tmp_path / "new").exists()


def test_the_caps_bite():
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # straight from the system: malloc may have free space left over
    with pytest.raises(AssertionError, match="Cannot allocate memory"):
        assert capped(lambda: str(len(mmap.mmap(-1, MEMORY + (32 << 20), flags=private)))) == ""
    with pytest.raises(AssertionError, match=f"signal -({int(signal.SIGXCPU)}|{int(signal.SIGKILL)})"):
        capped(lambda: next(text for text in iter(str, None) if text))
