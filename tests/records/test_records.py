import pytest
import torch

from expunge.errors import ExpungeError, OperatorError
from expunge.records import TEST, TRAIN, Columns, Records, draw_split, table


def made(**changes: object) -> Records:
    fields: dict[str, object] = {
        "features": torch.eye(4),
        "targets": torch.tensor([0, 1, 2, 1]),
        "ids": ("a", "b", "c", "d"),
        "owners": ("ann", "bob", "ann", "cyd"),
        "split": (TRAIN, TRAIN, TEST, TRAIN),
        "classes": 3,
    }
    return Records(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"ids": ("a", "b", "c")}, "bad-shape", "differ in length"),
        ({"ids": ("a", "b", "b", "a")}, "bad-data", "row 3 repeats"),
        ({"features": torch.full((4, 2), float("nan"))}, "bad-data", "NaN"),
        ({"features": torch.tensor([[0.0], [0.0], [float("inf")], [-float("inf")]])}, "bad-data", "infinity"),
        ({"targets": torch.tensor([0, 1, 3, 1])}, "bad-data", r"class numbers in \[0, 3\)"),
        ({"targets": torch.tensor([0, -1, 2, 1])}, "bad-data", r"class numbers in \[0, 3\)"),
        ({"targets": torch.tensor([0.0, 1.0, 2.0, 1.0])}, "bad-shape", "class numbers, not"),
        ({"classes": 0}, "bad-shape", "floating-point numbers, not"),
        ({"targets": torch.tensor([0.0, 1.0, float("nan"), 1.0]), "classes": 0}, "bad-data", "NaN"),
        ({"split": (TRAIN, "dev", TEST, TEST)}, "bad-data", "'dev'"),
    ],
)
def test_what_does_not_hold_together_is_refused(changes: dict[str, object], code: str, words: str):
    with pytest.raises(ExpungeError, match=words) as caught:
        made(**changes)
    assert caught.value.code == code


def test_large_finite_features_are_no_infinity():
    """The quick check by a sum overflows; the closer look must not."""
    assert len(made(features=torch.full((4, 1), 3e38))) == 4


@pytest.mark.parametrize("rows", [[], [2], [3, 0], [0, 1, 2, 3]])
def test_select_takes_every_field_along(rows: list[int]):
    records = made()
    part = records.select(rows)
    assert part.ids == tuple(records.ids[row] for row in rows)
    assert part.owners == tuple(records.owners[row] for row in rows)
    assert part.split == tuple(records.split[row] for row in rows)
    assert part.features.equal(records.features[rows])
    assert part.targets.equal(records.targets[rows])


def test_a_row_is_not_selected_twice():
    with pytest.raises(OperatorError, match="not unique"):
        made().select([1, 1])


def test_parts_owners_and_deletion():
    records = made()
    assert records.train.ids == ("a", "b", "d")
    assert records.test.ids == ("c",)
    assert records.owned_by("ann") == ("a", "c")
    assert records.rows(("d", "a")) == [0, 3]
    left = records.without(records.owned_by("ann"))
    assert left.ids == ("b", "d")
    assert left.without(("a", "c")).ids == left.ids, "deleting again changes nothing"


@pytest.mark.parametrize(("call", "argument"), [("owned_by", "ANN"), ("owned_by", ""), ("rows", ("a", "x-secret"))])
def test_unknown_names_are_refused_unquoted(call: str, argument: object):
    with pytest.raises(ExpungeError) as caught:
        getattr(made(), call)(argument)
    assert caught.value.code == ("unknown-owner" if call == "owned_by" else "unknown-record")
    assert "secret" not in str(caught.value)
    assert "ANN" not in str(caught.value)


def test_images_need_no_refit(records: Records):
    assert records.refit() is records
    assert records.prepared_like(records.without(records.ids[:5])) is records


def test_counted_classes_are_counted_again_and_declared_ones_are_kept():
    counted = made(preparation={"kind": "array", "classes": "counted"})
    assert counted.without(["c"]).refit().classes == 2
    assert made().without(["c"]).refit().classes == 3
    smaller = counted.without(["c"]).refit()
    seen = counted.prepared_like(smaller)
    assert (seen.ids, seen.classes) == (("a", "b", "d"), 2), "no output stands for the class of record c"
    assert smaller.prepared_like(counted).classes == 3


def test_split_does_not_depend_on_other_records():
    ids = [f"r{number}" for number in range(4000)]
    split = draw_split(ids)
    assert draw_split(ids[1000:][::-1]) == split[1000:][::-1]
    share = split.count(TEST) / len(ids)
    assert abs(share - 0.2) < 5 * (0.2 * 0.8 / len(ids)) ** 0.5
    assert draw_split(ids, seed=1) != split
    assert set(draw_split(ids, test_share=0)) == {TRAIN}


def test_select_takes_the_raw_columns_along():
    cells = {"x": [1.0, 2.0, 3.0], "city": ["Rome", "Oslo", "Bari"], "y": ["u", "v", "u"]}
    raw = table(cells, Columns("y"), test_share=0).select([2, 0]).raw
    assert raw is not None
    assert raw.numbers.tolist() == [[3.0], [1.0]]
    assert raw.texts["city"].values == ("Bari", "Rome"), "what no record holds is gone"
    assert raw.texts["city"].listed() == ("Bari", "Rome")
    assert raw.target.listed() == ("u", "u")
