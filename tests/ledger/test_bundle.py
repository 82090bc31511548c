"""The bundle: one file, one spelling."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import expunge_verify
from expunge.errors import AttackSuspected, ExpungeError, OperatorError, ProgrammerError, ProviderDishonest
from expunge.ledger import bundle, log, receipts
from expunge_verify import Check, Report


def test_what_is_written_is_read_back(desk: Any) -> None:
    desk.file(5)
    desk.rotate()
    desk.file(2)
    for number in range(7):
        made = log.prove(desk.connection, desk.envelopes[number])
        data = bundle.to_bytes(made)
        assert bundle.parse(data) == made
        assert bundle.to_bytes(bundle.parse(data)) == data


def test_no_other_spelling_of_a_bundle_is_read(desk: Any) -> None:
    """Whitespace, case of escapes, order of keys: a bundle has one form, so that every flipped bit is found."""
    desk.file(3)
    data = desk.bundle()
    plain = json.loads(data)
    spellings = [
        json.dumps(plain).encode(),
        json.dumps(plain, separators=(",", ":")).encode(),
        json.dumps(plain, separators=(",", ":"), sort_keys=True).encode(),
        json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False).encode(),
        data + b"\n",
        b" " + data,
        data.replace(b'"size":1}', b'"size":1.0}'),
        data.replace("\u2014".encode(), b"\\u2014"),
    ]
    for spelling in spellings:
        assert spelling != data
        with pytest.raises(AttackSuspected) as caught:
            bundle.parse(spelling)
        assert caught.value.code == "bad-bundle"


def variants(plain: dict[str, Any]) -> list[dict[str, Any]]:
    """Bundles of a wrong form."""
    return [
        *[{key: value for key, value in plain.items() if key != gone} for gone in plain],
        {**plain, "more": 1},
        {**plain, "format": "https://expunge.example/bundle/v2"},
        {**plain, "keys": []},
        {**plain, "keys": plain["keys"] * 2},
        {**plain, "rotations": [plain["envelope"]]},
        {**plain, "inclusion": {**plain["inclusion"], "index": -1}},
        {**plain, "inclusion": {**plain["inclusion"], "index": True}},
        {**plain, "inclusion": {**plain["inclusion"], "proof": ["AA=="]}},
        {**plain, "inclusion": {**plain["inclusion"], "proof": ["A" * 42 + "B="]}},
        {**plain, "checkpoint": "a\x00b"},
        {**plain, "envelope": {**plain["envelope"], "signatures": [{"sig": "", "keyid": ""}]}},
        {**plain, "consistency": {}},
    ]


def test_no_secret_travels(desk: Any) -> None:
    desk.file(2)
    old = desk.rotate()
    desk.file(1)
    data = desk.bundle(0) + desk.bundle(2) + "".join(desk.notes).encode()
    for key in (old, desk.key):
        secret = key._secret
        assert not any(form in data for form in (secret, secret.hex().encode(), base64.b64encode(secret)[:40]))


def test_every_wrong_form_is_refused(desk: Any) -> None:
    desk.file(3)
    for number, variant in enumerate(variants(json.loads(desk.bundle()))):
        with pytest.raises(AttackSuspected) as caught:
            bundle.parse(expunge_verify.canonical(variant))
        assert caught.value.code == "bad-bundle", number


def test_the_largest_receipt_still_fits(desk: Any, receipt: Any) -> None:
    many = tuple(f"{number:064x}" for number in range(160_000))
    data = replace(receipt(0).data, deletion_proof=None)  # a proof holds every commitment a second time
    desk.file(1, forgotten=receipts.Forgotten(many, "x"), data=data)
    report = expunge_verify.verify(desk.bundle())
    assert report.holds
    made = log.prove(desk.connection, desk.envelopes[0])
    with pytest.raises(ProgrammerError):
        bundle.to_bytes(expunge_verify.Bundle(made.envelope, 0, (bytes(32),) * 400_000, "", (), made.keys, ()))


@pytest.mark.parametrize(
    ("code", "family"),
    [
        ("file-unreadable", OperatorError),
        ("bundle-truncated", AttackSuspected),
        ("json-refused", AttackSuspected),
        ("signature-invalid", ProviderDishonest),
        ("log-older", ProviderDishonest),
    ],
)
def test_reports_become_errors_of_the_right_family(code: str, family: type[ExpungeError]) -> None:
    held, failed = Check("bundle", True, "ok", ""), Check("x", False, code, "why")
    with pytest.raises(family, match=f"x: {code}: why"):
        bundle.demand(Report((held, failed), None))
    bundle.demand(Report((held, Check("y", None, "not-asked", "")), {}))


def test_exit_statuses_are_those_of_the_families() -> None:
    families = (OperatorError, AttackSuspected, ProviderDishonest)
    assert {status for status, _ in expunge_verify.CODES.values()} == {0} | {each.exit_status for each in families}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**60) | st.text(max_size=6) | st.just("A" * 43 + "="),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
shaped = st.fixed_dictionaries(dict.fromkeys(expunge_verify.BUNDLE, json_values))


@settings(max_examples=300)
@given(st.binary(max_size=100) | (json_values | shaped).map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(AttackSuspected) as caught:
        bundle.parse(data)
    assert "\n" not in str(caught.value)
    report = expunge_verify.verify(data, None, "0" * 64, "x")
    assert not report.holds
    assert report.exit_status == 40
