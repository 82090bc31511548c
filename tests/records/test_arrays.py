"""`.npz` and IDX files and torch datasets: what goes in comes out, and what lies about itself is refused."""

import gzip
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from expunge.errors import AttackSuspected, ExpungeError, OperatorError, ProgrammerError
from expunge.records import TEST, TRAIN, Records, digits, from_dataset, load, prepare

DRAW = np.random.default_rng(0)
IMAGES = DRAW.integers(0, 256, (30, 5, 4), dtype=np.uint8)
BEYOND_UNICODE = np.full(30, 0x7FFFFFFF, dtype=np.uint32).view("<U1")
FIFTH = np.where(np.arange(30)[:, None] == 4, 1.0, 0.0)
LABELS = np.arange(30, dtype=np.uint8) % 3


def save(path: Path, **arrays: np.ndarray) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def idx_bytes(array: np.ndarray, code: int = 0x08) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.tobytes()


def assert_images(records: Records, images: np.ndarray = IMAGES, labels: np.ndarray = LABELS) -> None:
    assert records.features.shape == (len(images), 1, 5, 4)
    assert np.allclose(records.features[:, 0].numpy(), images / 255, atol=1e-7)
    assert records.targets.tolist() == labels.tolist()


def test_npz_in_the_layout_of_mnist(tmp_path: Path):
    parts = {"train_images": IMAGES[:20], "train_labels": LABELS[:20], "test_images": IMAGES[20:]}
    records = load(save(tmp_path / "m.npz", **parts, test_labels=LABELS[20:]))
    assert_images(records)
    assert records.split == (TRAIN,) * 20 + (TEST,) * 10
    assert (records.ids[0], records.ids[20]) == ("train-0000001", "test-0000001")
    assert records.owners == records.ids
    assert records.classes == 3
    keras = {"x_train": IMAGES[:20], "y_train": LABELS[:20, None], "x_test": IMAGES[20:], "y_test": LABELS[20:, None]}
    assert load(save(tmp_path / "k.npz", **keras)).features.equal(records.features)
    owned = load(save(tmp_path / "o.npz", **parts, test_labels=LABELS[20:], train_owners=np.arange(20) // 4))
    assert owned.owners[:5] == ("0", "0", "0", "0", "1")
    assert owned.owners[20:] == records.ids[20:]


def test_npz_of_features_and_targets(tmp_path: Path):
    features = DRAW.normal(size=(30, 6))
    names = np.array([f"r{row}" for row in range(30)])
    split = np.array([TRAIN] * 25 + [TEST] * 5)
    owners = np.array([f"p{row}".encode() for row in range(30)])
    path = save(tmp_path / "f.npz", features=features, targets=LABELS, ids=names, owners=owners, split=split)
    records = load(path, classes=7)
    assert records.features.numpy() == pytest.approx(features, rel=1e-6)
    assert (records.ids, records.owners[3], records.split) == (tuple(names), "p3", tuple(split))
    assert records.classes == 7
    assert records.preparation == {
        "kind": "array",
        "divisor": 1.0,
        "axes": "as-is",
        "shape": [6],
        "classes": "declared",
    }
    numbers = load(save(tmp_path / "g.npz", features=features, targets=features[:, 0]), regression=True)
    assert numbers.classes == 0
    assert numbers.targets.numpy() == pytest.approx(features[:, 0], rel=1e-6)


def test_colour_images_get_their_channels_first(tmp_path: Path):
    images = DRAW.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
    records = load(save(tmp_path / "c.npz", features=images, targets=LABELS[:6]))
    assert records.shape == (3, 5, 4)
    assert records.features[2, 1, 3, 0] == pytest.approx(images[2, 3, 0, 1] / 255)
    assert prepare(images, records.preparation).equal(records.features)
    with pytest.raises(OperatorError, match="shape"):
        prepare(images[:, :4], records.preparation)


def test_fortran_order_and_big_endian_are_read_as_they_are_meant(tmp_path: Path):
    features = np.asfortranarray(DRAW.normal(size=(8, 3)).astype(">f8"))
    records = load(save(tmp_path / "f.npz", features=features, targets=LABELS[:8].astype(">i4")))
    assert records.features.numpy() == pytest.approx(features.astype("<f4"))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"features": IMAGES}, "no array 'targets'"),
        ({"features": IMAGES, "targets": LABELS[:29]}, "features 30, targets 29"),
        ({"features": IMAGES, "targets": LABELS, "extra": LABELS}, "'extra' is not known"),
        ({"features": IMAGES * 1j, "targets": LABELS}, "features are numbers"),
        ({"features": LABELS, "targets": LABELS}, r"\[records, ...\]"),
        ({"features": np.zeros((30, 0)), "targets": LABELS}, r"\[records, ...\]"),
        ({"features": np.zeros((0, 3)), "targets": LABELS[:0]}, r"\[records, ...\]"),
        ({"features": np.float64(3), "targets": LABELS}, "differ in length|records"),
        (
            {"features": np.where(FIFTH, np.nan, 1), "targets": LABELS},
            "row 5 of the feat",
        ),
        ({"features": FIFTH * 1e39, "targets": LABELS}, "row 5 of the feat"),
        ({"features": IMAGES, "targets": LABELS - 1.0}, "row 1 of the targets is no class number"),
        ({"features": IMAGES, "targets": LABELS + 0.5}, "row 1 of the targets is no class number"),
        ({"features": IMAGES, "targets": np.where(LABELS > 1, np.nan, 1)}, "row 3 of the targets is no class number"),
        ({"features": IMAGES, "targets": LABELS.astype(np.int64) + 10**9}, "row 1 of the targets is no class number"),
        ({"features": IMAGES, "targets": LABELS * 0}, "one class"),
        ({"features": IMAGES, "targets": LABELS.astype(str)}, "one number for each record"),
        ({"features": IMAGES, "targets": np.eye(30)}, "one number for each record"),
        ({"features": IMAGES, "targets": LABELS, "ids": LABELS}, "row 4 of the ids repeats"),
        ({"features": IMAGES, "targets": LABELS, "owners": LABELS * 1.5}, "'owners' is a list of texts"),
        ({"features": IMAGES, "targets": LABELS, "owners": np.array([b"\xff"] * 30)}, "'owners' is not Unicode"),
        ({"features": IMAGES, "targets": LABELS, "owners": np.array(["\ud800"] * 30)}, "'owners' is not Unicode"),
        ({"features": IMAGES, "targets": LABELS, "owners": BEYOND_UNICODE}, "'owners' is not Unicode"),
        ({"features": IMAGES, "targets": LABELS, "owners": np.array(["a", ""] * 15)}, "row 2 of 'owners' is empty"),
        ({"features": IMAGES, "targets": LABELS, "split": np.array(["dev"] * 30)}, "split must be train or test"),
        ({"train_images": IMAGES, "train_labels": LABELS}, "no array 'test_images'"),
        (
            {"train_images": IMAGES, "train_labels": LABELS[1:], "test_images": IMAGES, "test_labels": LABELS},
            "the train arrays differ in length",
        ),
        (
            {"train_images": IMAGES, "train_labels": LABELS, "test_images": IMAGES[:, 1:], "test_labels": LABELS},
            "differ in shape or type",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_named(arrays: dict[str, np.ndarray], words: str, tmp_path: Path):
    with pytest.raises(OperatorError, match=words) as caught:
        load(save(tmp_path / "bad.npz", **arrays))
    assert caught.value.code == "bad-data"


def zip_of(path: Path, members: dict[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header_of(shape: str, kind: str = "<f4") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        header_of("(1000000000000, 4)"),
        header_of("(99999999999999999999, 99999999999999999999)"),
        header_of("(-4, -4)") + b"\0" * 64,
        header_of("(4, 4)") + b"\0" * 63,
        header_of("(4, 4)") + b"\0" * 65,
        header_of("(0, 4)") + b"\0",
        header_of("(4, 4)", "|V0"),
        header_of("__import__('os')"),
        b"\x93NUMPY\x03\x00" + header_of("(4, 4)")[8:],
        b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65_535,
        npy(IMAGES)[:-1],
        npy(IMAGES) + b"x",
        b"",
    ],
)
def test_headers_that_lie_are_refused_before_anything_is_allocated(content: bytes, tmp_path: Path):
    with pytest.raises(OperatorError, match="header") as caught:
        load(zip_of(tmp_path / "bad.npz", {"features.npy": content, "targets.npy": npy(LABELS)}))
    assert caught.value.code == "bad-data"


def test_zip_bombs_are_judged_by_what_they_declare(tmp_path: Path):
    big = bytes(2**26 + 1)
    with pytest.raises(AttackSuspected) as caught:
        load(zip_of(tmp_path / "bomb.npz", {"features.npy": big}))
    assert caught.value.code == "archive-bomb"
    parts = {f"a{number}.npy": bytes(2**25) for number in range(4)}
    with pytest.raises(AttackSuspected, match="the archive"):
        load(zip_of(tmp_path / "parts.npz", parts))


def test_a_zip_that_understates_its_size_is_refused(tmp_path: Path):
    path = zip_of(tmp_path / "lie.npz", {"features.npy": npy(IMAGES), "targets.npy": npy(LABELS)})
    true, told = struct.pack("<I", len(npy(IMAGES))), struct.pack("<I", 200)
    raw = path.read_bytes()
    assert raw.count(true) == 2
    path.write_bytes(raw.replace(true, told))
    with pytest.raises(OperatorError):
        load(path)


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"features.txt": b"1"},
        {"../features.npy": npy(IMAGES)},
        {f"a{number}.npy": npy(LABELS) for number in range(20)},
    ],
)
def test_archives_of_something_else_are_refused(members: dict[str, bytes], tmp_path: Path):
    with pytest.raises(OperatorError) as caught:
        load(zip_of(tmp_path / "other.npz", members))
    assert caught.value.code == "bad-data"


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    folder = tmp_path / "mnist"
    folder.mkdir()
    (folder / "train-images-idx3-ubyte").write_bytes(idx_bytes(IMAGES[:20]))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(LABELS[:20]), mtime=0))
    (folder / "t10k-images.idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(IMAGES[20:]), mtime=0))
    (folder / "t10k-labels.idx1-ubyte").write_bytes(idx_bytes(LABELS[20:]))
    return folder


def test_idx_folder(mnist: Path):
    records = load(mnist)
    assert_images(records)
    assert records.split == (TRAIN,) * 20 + (TEST,) * 10
    assert records.ids[20] == "test-0000001"


def test_idx_pair_and_folder_without_test_part_draw_one(mnist: Path):
    for path in (mnist / "train-images-idx3-ubyte", mnist / "t10k-images.idx3-ubyte.gz"):
        records = load(path, test_share=0.5)
        assert_images(records, *((IMAGES[:20], LABELS[:20]) if len(records) == 20 else (IMAGES[20:], LABELS[20:])))
        assert set(records.split) == {TRAIN, TEST}
    (mnist / "t10k-images.idx3-ubyte.gz").unlink()
    assert set(load(mnist, test_share=0.5).split) == {TRAIN, TEST}


@pytest.mark.parametrize(("code", "kind"), [(0x09, ">i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")])
def test_idx_types(code: int, kind: str, tmp_path: Path):
    images = (IMAGES % 100).astype(kind)
    (tmp_path / "x-images-idx3-ubyte").write_bytes(idx_bytes(images, code))
    (tmp_path / "x-labels-idx1-ubyte").write_bytes(idx_bytes(LABELS))
    assert load(tmp_path / "x-images-idx3-ubyte").features[:, 0].tolist() == (IMAGES % 100).tolist()


BOMB = gzip.compress(struct.pack(">HBB3I", 0, 8, 3, 10**6, 28, 28), mtime=0)


@pytest.mark.parametrize(
    ("file", "content", "code"),
    [
        ("train-images-idx3-ubyte", idx_bytes(IMAGES[:20])[:-1], "bad-data"),
        ("train-images-idx3-ubyte", idx_bytes(IMAGES[:20]) + b"x", "bad-data"),
        ("train-images-idx3-ubyte", idx_bytes(IMAGES[:19]), "bad-data"),
        ("train-images-idx3-ubyte", idx_bytes(IMAGES[:20, 1:]), "bad-data"),
        ("train-images-idx3-ubyte", b"\0\0\x08", "bad-data"),
        ("train-images-idx3-ubyte", b"\0\0\x07\x03" + b"\0" * 12, "bad-data"),
        ("train-images-idx3-ubyte", b"\0\0\x08\xff" + b"\0" * 12, "bad-data"),
        ("train-images-idx3-ubyte", struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**31, 2**31), "archive-bomb"),
        ("train-images-idx3-ubyte", gzip.compress(idx_bytes(IMAGES[:20]), mtime=0)[:-9], "bad-data"),
        ("train-images-idx3-ubyte", b"\x1f\x8b" + b"garbage", "bad-data"),
        ("train-images-idx3-ubyte", BOMB, "archive-bomb"),
        ("train-labels-idx1-ubyte.gz", gzip.compress(idx_bytes(LABELS[:19]), mtime=0), "bad-data"),
        ("train-labels-idx1-ubyte.gz", None, "no-such-file"),
        ("train-images-idx3-ubyte", None, "bad-data"),
    ],
)
def test_idx_files_that_lie_are_refused(mnist: Path, file: str, content: bytes | None, code: str):
    if content is None:
        (mnist / file).unlink()
    else:
        (mnist / file).write_bytes(content)
    with pytest.raises(ExpungeError) as caught:
        load(mnist)
    assert caught.value.code == code


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_mutated_files_load_or_are_refused(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("mutated")
    if data.draw(st.booleans()):
        path = folder / "x-images-idx3-ubyte"
        raw = bytearray(idx_bytes(IMAGES))
        (folder / "x-labels-idx1-ubyte").write_bytes(idx_bytes(LABELS))
    else:
        path = save(folder / "x.npz", features=IMAGES, targets=LABELS)
        raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    try:
        records = load(path)
    except (OperatorError, AttackSuspected):
        return
    assert records.features.isfinite().all()


def test_any_dataset_becomes_records():
    features = torch.randn(12, 2, 3, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(12) % 4
    owners = [f"p{row % 3}" for row in range(12)]
    records = from_dataset(TensorDataset(features, targets), owners=owners, ids=[f"i{row}" for row in range(12)])
    assert records.features[:, 0].equal(features)
    assert records.targets.equal(targets)
    assert records.owned_by("p1") == ("i1", "i4", "i7", "i10")
    assert records.classes == 4

    class Pairs(Dataset[tuple[np.ndarray, float]]):
        def __len__(self) -> int:
            return 5

        def __getitem__(self, row: int) -> tuple[np.ndarray, float]:
            return np.full(3, row, dtype=np.float64), row / 2

    numbers = from_dataset(Pairs(), regression=True, split=[TRAIN, TRAIN, TRAIN, TEST, TEST])
    assert numbers.targets.tolist() == [0, 0.5, 1, 1.5, 2]
    assert len(numbers.test) == 2
    assert numbers.owners == numbers.ids


class Items(Dataset[object]):
    def __init__(self, *items: object) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, row: int) -> object:
        return self.items[row]


class Stream(IterableDataset[int]):
    def __iter__(self):
        return iter([])


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        (Items(), "no items"),
        (Stream(), "no length"),
        (Items((torch.zeros(3), 0, 1)), "item 0 of the dataset is no pair"),
        (Items((torch.zeros(3), 0), (torch.zeros(4), 1)), "item 1 differ"),
        (Items((torch.zeros(3), 0), (torch.zeros(3).double(), 1)), "item 1 differ"),
        (Items(("text", 0)), "item 0 of the dataset holds a str"),
    ],
)
def test_datasets_that_do_not_fit_are_named(dataset: Dataset[object], words: str):
    with pytest.raises(ProgrammerError, match=words) as caught:
        from_dataset(dataset)
    assert caught.value.code == "bad-shape"


def test_digits_are_the_bundled_ones():
    from sklearn.datasets import load_digits

    images, targets = load_digits(return_X_y=True)
    records = digits()
    assert records.features.flatten(1).mul(16).numpy() == pytest.approx(images)
    assert records.targets.tolist() == targets.tolist()
    assert len(records.test) == round(0.2 * 1797)
    assert len(set(records.owners)) == 100
    assert load("digits").ids == records.ids


@pytest.mark.data
def test_real_images_load(data_folder: Path):
    if not (data_folder / "mnist10k.npz").exists():
        pytest.skip("there is no mnist10k.npz")
    records = load(data_folder / "mnist10k.npz")
    with np.load(data_folder / "mnist10k.npz", allow_pickle=False) as file:
        assert np.allclose(records.train.features[:, 0].numpy(), file["train_images"] / 255, atol=1e-7)
        assert records.test.targets.tolist() == file["test_labels"].tolist()
    assert (len(records.train), len(records.test), records.classes) == (8000, 2000, 10)
