"""Receipts: complete or not at all, equal to the published schema, and silent on what nobody may know."""

import copy
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import expunge_verify
from expunge.errors import ProgrammerError
from expunge.ledger import receipts
from expunge.ledger.strict_json import canonical

SCHEMA = jsonschema.Draft202012Validator(receipts.schema())
HEX = "a" * 64


@pytest.fixture
def statement(receipt: Any) -> dict[str, Any]:
    """With every optional part filled in."""
    full = receipt(
        claim=receipts.Claim("certified", "retraining with noise", ("clipped gradients",), "theorem 4", 0.5, 1e-6, 2.0),
        verification=receipts.Verification(HEX, 100, 10, 0.0, "holds"),
        assurance=receipts.Assurance(HEX, "supported"),
        lineage=(receipts.Derived(HEX, "retrained"),),
        degraded=("fewer shadow models than planned",),
        data=receipts.DataChange(HEX, HEX, {"size": 3, "places": [1]}),
    )
    found: dict[str, Any] = expunge_verify.loads(full.payload)
    return found


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(receipts.schema())


def test_receipts_meet_the_schema(receipt: Any, statement: dict[str, Any]) -> None:
    SCHEMA.validate(statement)
    SCHEMA.validate(expunge_verify.loads(receipt().payload))


def complete(statement: Any) -> bool:
    """The verifier's two questions about content."""
    try:
        expunge_verify.left_out(statement)
    except expunge_verify.Refused:
        return False
    return not expunge_verify.statement_faults(statement)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def changed(statement: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    made = copy.deepcopy(statement)
    holder = made
    for key in path[:-1]:
        holder = holder[key]
    change(holder, path[-1])
    return made


def put(value: Any) -> Callable[[Any, Any], None]:
    return lambda holder, key: holder.__setitem__(key, value)


WRONG = [None, True, 0, -1, 1.5, "", "x", "a\nb", "\x1b[31m", HEX, [], [1], ["x"], [2, 1, 0], {}, {"x": 1}]


def test_schema_and_verifier_agree_on_every_single_change(statement: dict[str, Any]) -> None:
    """Each value removed, added beside, and replaced by values of every type: both accept or both refuse."""
    refused = 0
    for path in places(statement):
        if not path:
            continue
        variants = [changed(statement, path, put(value)) for value in WRONG]
        variants.append(changed(statement, path, lambda holder, key: holder.__delitem__(key)))
        if isinstance(path[-1], str):
            variants.append(changed(statement, path, lambda holder, key: holder.__setitem__("more", 1)))
        for variant in variants:
            assert complete(variant) is SCHEMA.is_valid(variant) or beyond_schema(variant), path
            refused += not complete(variant)
    assert refused > 1000


def beyond_schema(statement: Any) -> bool:
    """What the schema language cannot say: how one value stands to another."""
    faults = expunge_verify.statement_faults(statement)
    between = ("interval", "twice", "before it was received", "more segments", "quotient")
    return not complete(statement) and (
        any("subject is not" in fault for fault in faults)
        or all(any(word in fault for word in between) for fault in faults)
    )


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("not_covered", (), "leaves out"),
        ("not_covered", ("",), "leaves out"),
        ("not_covered", "backups", "leaves out"),
        ("forgotten", receipts.Forgotten((), "x"), "nothing was forgotten"),
        ("forgotten", receipts.Forgotten(("A" * 64,), "x"), "commitments"),
        ("claim", receipts.Claim("forgotten", "x"), "claim.kind"),
        ("claim", receipts.Claim("certified", "x"), "theorem"),
        ("claim", receipts.Claim("certified", "x", (), "theorem", 1.0, 0.1), "assumptions"),
        ("claim", receipts.Claim("empirical", "x", epsilon=0.1), "only a certified"),
        ("claim", receipts.Claim("exact", "x", budget_left=1.0), "only a certified"),
        ("audit", (receipts.Figure("UA", None),), "neither a value nor a reason"),
        ("audit", (receipts.Figure("UA", 1.0, (2.0, 1.0)),), "interval"),
        ("request", receipts.Request("a b", *["2026-01-01T00:00:00Z"] * 3, "r"), "request.id"),
        ("request", receipts.Request("a", *["2026-13-01T00:00:00Z"] * 3, "r"), "request"),
        ("request", receipts.Request("a", *["20\u0662\u0666-01-01T00:00:00Z"] * 3, "r"), "request"),
        ("request", receipts.Request("a", *["2026-02-30T00:00:00Z"] * 3, "r"), "request.completed"),
        ("request", receipts.Request("a", "2026-02-03T00:00:00Z", *["2026-02-02T00:00:00Z"] * 2, "r"), "before it was"),
        ("forgotten", receipts.Forgotten((HEX, HEX), "x"), "twice"),
        ("claim", receipts.Claim("certified", "x", ("y",), "theorem", 1.0, 1.5), "delta"),
        ("audit", (receipts.Figure("UA", 1.0, (0.0, 2.0), 95.0),), "confidence"),
        ("verification", receipts.Verification(None, 3, 4, 0.0, "holds"), "more segments"),
        ("platform", {"line": "a\nb"}, "platform"),
        ("cost", receipts.Cost(-1.0, 1, 1, 1), "cost.seconds"),
        ("cost", receipts.Cost(1.0, True, 1, 1), "cost.gradient"),
        ("degraded", ("\x1b[2J",), "degraded"),
    ],
)
def test_an_incomplete_receipt_cannot_be_made(receipt: Any, field: str, value: Any, word: str) -> None:
    with pytest.raises(ProgrammerError, match=word) as caught:
        receipt(**{field: value})
    assert caught.value.code == "receipt-incomplete"


def test_an_empirical_claim_needs_an_audit(receipt: Any) -> None:
    claim = receipts.Claim("empirical", "none")
    assert receipt(claim=claim)
    with pytest.raises(ProgrammerError, match="nothing but its audit"):
        receipt(claim=claim, audit=())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_figure_is_beyond_numbers(receipt: Any, value: float) -> None:
    with pytest.raises(ProgrammerError) as caught:
        receipt(audit=(receipts.Figure("UA", value),))
    assert caught.value.code == "not-json"


def test_a_receipt_too_large_for_its_bundle_cannot_be_made(receipt: Any) -> None:
    many = tuple(f"{number:064x}" for number in range(150_000))
    assert receipt(forgotten=receipts.Forgotten(many, "x"))
    with pytest.raises(ProgrammerError, match="split the request"):
        receipt(forgotten=receipts.Forgotten(many + many, "x"))


def test_a_receipt_comes_back_whole(desk: Any, receipt: Any) -> None:
    made = receipt(5, lineage=(receipts.Derived(HEX, "deleted"),), assurance=receipts.Assurance(HEX, "supported"))
    assert receipts.open_receipt(made.seal(desk.key), desk.key.public) == made
    plain = json.loads(made.payload)["predicate"]
    for change in ({"more": 1}, {"audit": [{"x": 1}]}, {"claim": {}}):
        with pytest.raises(ProgrammerError):
            receipts.Receipt.from_predicate(plain | change)


def test_what_is_signed_is_canonical(receipt: Any) -> None:
    made = receipt()
    assert canonical(expunge_verify.loads(made.payload)) == made.payload


def test_the_cost_states_its_ratio(receipt: Any) -> None:
    plain = json.loads(receipt(cost=receipts.Cost(1.0, 10, 80, 1, 40)).payload)["predicate"]["cost"]
    assert plain["ratio"] == 0.125
    assert plain["stopped_retraining_evaluations"] == 40
    assert receipts.Cost(1.0, 10, 0, 1).ratio is None


def test_times_are_utc() -> None:
    there = timezone(timedelta(hours=5, minutes=30))
    assert receipts.timestamp(datetime(2026, 1, 1, 4, 0, tzinfo=there)) == "2025-12-31T22:30:00Z"
    assert receipts.timestamp(datetime(2026, 1, 1, 4, 0, 0, 999_999, tzinfo=UTC)) == "2026-01-01T04:00:00Z"
    with pytest.raises(ProgrammerError):
        receipts.timestamp(datetime(2026, 1, 1))


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=5) | st.just(HEX),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["_type", "subject", "predicateType", "predicate"])
predicates = st.dictionaries(st.sampled_from([*expunge_verify.PREDICATE, "not_covered"]), values, max_size=16)


@settings(max_examples=300)
@given(values | st.dictionaries(names, values) | st.fixed_dictionaries({"predicate": predicates}))
def test_any_statement_is_judged(statement: Any) -> None:
    assert not complete(statement)
    assert not SCHEMA.is_valid(statement)
