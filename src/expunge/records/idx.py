"""IDX files, the layout of MNIST: images and labels, plain or gzipped, one pair or a folder with both parts."""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from expunge.errors import OperatorError
from expunge.records.arrays import Array, from_arrays
from expunge.records.columns import bad
from expunge.records.files import check_unpacked, opened
from expunge.records.records import Records
from expunge.records.splits import TEST, TRAIN

_TYPES: Final = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_AXES: Final = 4
_PARTS: Final = {TRAIN: ("train-images", "train-labels"), TEST: ("t10k-images", "t10k-labels")}


def idx(path: Path, *, classes: int | None = None, test_share: float = 0.2) -> Records:
    """The records of a folder (`train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, and `t10k-...`), or of one pair.

    For a pair, name the file of images: that of labels is the one beside it with `labels-idx1` for `images-idx3`. A
    dot may stand for the second dash, and `.gz` may follow. Without `t10k` files a test part is drawn.

    **Raises:** `OperatorError("bad-data" | "no-such-file")`, `AttackSuspected("archive-bomb")`.
    """
    if not path.is_dir():
        arrays = {"features": read_idx(path), "targets": read_idx(_labels_beside(path))}
        return from_arrays(arrays, classes=classes, test_share=test_share)
    found = {part: pair for part, pair in ((part, _pair(path, *stems)) for part, stems in _PARTS.items()) if pair}
    if TRAIN not in found:
        raise bad("the folder holds no train-images-idx3-ubyte", "Name a file, or a folder in the layout of MNIST.")
    read = {part: (read_idx(images), read_idx(labels)) for part, (images, labels) in found.items()}
    if any(len(images) != len(labels) for images, labels in read.values()):
        raise bad("a file of images and its file of labels differ in length")
    if len({images.shape[1:] for images, _ in read.values()}) > 1:
        raise bad("training and test images differ in shape")
    arrays = {
        "features": np.concatenate([images for images, _ in read.values()]),
        "targets": np.concatenate([labels for _, labels in read.values()]),
        "ids": np.array([f"{part}-{row:07d}" for part in read for row in range(1, len(read[part][0]) + 1)]),
    }
    if TEST in read:
        arrays["split"] = np.array([part for part in read for _ in range(len(read[part][0]))])
    return from_arrays(arrays, classes=classes, test_share=test_share)


def read_idx(path: Path) -> Array:
    """One IDX file; its size must be just what its header declares, and that is judged before it is read.

    **Raises:** as `idx`.
    """
    with opened(path) as file:
        packed = path.stat().st_size
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        source = gzip.GzipFile(fileobj=file) if zipped else file
        try:
            kind, shape = _header(source.read(4), source)
            size = math.prod(shape) * kind.itemsize
            check_unpacked(path.name, packed, size)
            raw = source.read(size + 1)
        except (OSError, EOFError, zlib.error, struct.error):
            raise bad(f"{path.name[:60]!r} is truncated, or no IDX file") from None
    if len(raw) != size:
        raise bad(f"{path.name[:60]!r} is not as long as its header says")
    return np.frombuffer(raw, kind).reshape(shape)


def _header(magic: bytes, source: "gzip.GzipFile | BinaryIO") -> tuple[np.dtype[Any], tuple[int, ...]]:
    zero, code, axes = struct.unpack(">HBB", magic)
    if zero or code not in _TYPES or not 1 <= axes <= _MAX_AXES:
        raise bad("this is no IDX file: its first four bytes name no type and axes")
    return np.dtype(_TYPES[code]), struct.unpack(f">{axes}I", source.read(4 * axes))


def _pair(folder: Path, images: str, labels: str) -> tuple[Path, Path] | None:
    found = [_in(folder, images, 3), _in(folder, labels, 1)]
    if found[0] is None:
        return None
    if found[1] is None:
        raise OperatorError("no-such-file", f"the folder has no file of labels {labels}-idx1-ubyte")
    return found[0], found[1]


def _in(folder: Path, stem: str, axes: int) -> Path | None:
    names = [f"{stem}{mark}idx{axes}-ubyte{end}" for mark in "-." for end in ("", ".gz")]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _labels_beside(images: Path) -> Path:
    name = images.name.replace("images", "labels").replace("idx3", "idx1")
    if name == images.name:
        raise bad("the name of this file does not say where its labels are", "Images are named ...-images-idx3-ubyte.")
    plain = name.removesuffix(".gz")
    beside = [images.with_name(each) for each in (name, plain, plain + ".gz")]
    return next((path for path in beside if path.is_file()), beside[0])
