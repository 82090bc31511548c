"""`.npz` files, without pickle: images in the layout of `mnist.npz`, or features and targets of any shape."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from expunge.errors import AttackSuspected
from expunge.records.arrays import Array, from_arrays, text_array
from expunge.records.columns import bad, shown
from expunge.records.files import check_unpacked, is_pickle, opened
from expunge.records.records import Records
from expunge.records.splits import TEST, TRAIN

_ALIASES: Final = {
    "x_train": "train_images",
    "y_train": "train_labels",
    "x_test": "test_images",
    "y_test": "test_labels",
}
_PARTS: Final = ("train_images", "train_labels", "test_images", "test_labels")
_FLAT: Final = ("features", "targets", "ids", "owners", "split")
_OPTIONAL: Final = ("train_ids", "test_ids", "train_owners", "test_owners")


def npz(path: Path, *, regression: bool = False, classes: int | None = None, test_share: float = 0.2) -> Records:
    """The records of a `.npz` file.

    Either `train_images`, `train_labels`, `test_images`, `test_labels` (or `x_train`, ...; `train_owners`, `train_ids`
    and their test twins may be there), or `features` and `targets` (`ids`, `owners`, `split` may be there).

    **Raises:** `OperatorError("bad-data" | "no-such-file")`, `AttackSuspected("pickle-refused" | "archive-bomb")`.
    """
    arrays = read_npz(path)
    known = (*_PARTS, *_OPTIONAL) if "train_images" in arrays else _FLAT
    if unknown := sorted(arrays.keys() - set(known)):
        raise bad(f"array {shown(unknown[0])} is not known; the arrays are {', '.join(known)}")
    flat = _joined(arrays) if "train_images" in arrays else arrays
    return from_arrays(flat, regression=regression, classes=classes, test_share=test_share)


def read_npz(path: Path) -> dict[str, Array]:
    """The arrays of a `.npz` file, by name; sizes are judged as declared, before anything is unpacked.

    **Raises:** as `npz`.
    """
    with opened(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                _check_archive(archive)
                return dict(_array(archive, member) for member in archive.infolist())
        except (
            zipfile.BadZipFile,
            zipfile.LargeZipFile,
            zlib.error,
            EOFError,
            OSError,
            ValueError,
            NotImplementedError,
            RuntimeError,
        ):
            raise bad(f"{path.name[:60]!r} is no well-formed .npz file") from None


def _check_archive(archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    if len(members) > len(_PARTS) + len(_OPTIONAL):
        raise bad(f"the archive holds {len(members)} files: too many for arrays of records")
    for member in members:
        if member.filename.endswith(".pkl"):
            raise AttackSuspected("pickle-refused", "the archive holds a pickle: it is a model saved by torch")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise bad(f"{shown(member.filename)} in the archive is packed in a way that .npz files are not")
        check_unpacked(member.filename, member.compress_size, member.file_size)
    check_unpacked("the archive", sum(m.compress_size for m in members), sum(m.file_size for m in members))


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[str, Array]:
    name = member.filename.removesuffix(".npy")
    if name == member.filename or "/" in name or len(name) > 100:
        raise bad(f"{shown(member.filename)} in the archive is no array")
    raw = archive.read(member)
    return _ALIASES.get(name, name), parse_npy(raw, name)


def parse_npy(raw: bytes, name: str) -> Array:
    """The array in the bytes of a `.npy` file; its size must be just what its header declares.

    **Raises:** `AttackSuspected("pickle-refused")` for Python objects; `OperatorError("bad-data")`.
    """
    if is_pickle(raw[:2]):
        raise AttackSuspected("pickle-refused", f"array {shown(name)} is a pickle")
    file = io.BytesIO(raw)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, by_column, kind = readers[np.lib.format.read_magic(file)](file, max_header_size=10_000)
    except (ValueError, KeyError, SyntaxError, TypeError, RecursionError, MemoryError):
        raise bad(f"array {shown(name)} has a malformed header") from None
    if kind.hasobject:
        raise AttackSuspected(
            "pickle-refused", f"array {shown(name)} holds Python objects, which are stored as pickles"
        )
    start, count = file.tell(), int(np.prod([*shape, 1], dtype=object))
    if kind.itemsize == 0 or min(shape, default=1) < 0 or start + count * kind.itemsize != len(raw):
        raise bad(f"array {shown(name)} is not as long as its header says")
    return np.frombuffer(raw, kind, count, start).reshape(shape, order="F" if by_column else "C")


def _joined(arrays: dict[str, Array]) -> dict[str, Array]:
    if missing := [name for name in _PARTS if name not in arrays]:
        raise bad(f"there is no array {missing[0]!r}")
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    for part in (TRAIN, TEST):
        if len({size for name, size in lengths.items() if name.startswith(part)}) > 1:
            raise bad(f"the {part} arrays differ in length")
    train, test = arrays["train_images"], arrays["test_images"]
    if train.shape[1:] != test.shape[1:] or train.dtype != test.dtype:
        raise bad("training and test images differ in shape or type")
    ids = {part: _ids(arrays, part, lengths[f"{part}_images"]) for part in (TRAIN, TEST)}
    owners = {part: text_array(arrays, f"{part}_owners") or ids[part] for part in (TRAIN, TEST)}
    return {
        "features": np.concatenate([train, test]),
        "targets": np.concatenate([arrays["train_labels"].reshape(-1), arrays["test_labels"].reshape(-1)]),
        "split": np.array([TRAIN] * len(train) + [TEST] * len(test)),
        "ids": np.array(ids[TRAIN] + ids[TEST]),
        "owners": np.array(owners[TRAIN] + owners[TEST]),
    }


def _ids(arrays: Mapping[str, Array], part: str, count: int) -> tuple[str, ...]:
    return text_array(arrays, f"{part}_ids") or tuple(f"{part}-{row:07d}" for row in range(1, count + 1))
