"""The standalone verifier before every flipped byte and every kind of swap."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import expunge_verify
from expunge.ledger import bundle, dsse, log, receipts, signatures
from expunge.ledger.checkpoints import sign_checkpoint
from expunge.ledger.signatures import SigningKey
from expunge.records import DataTree
from expunge_verify import Checkpoint, Report

NAMES = [
    "bundle",
    "signature",
    "key-trusted",
    "inclusion",
    "consistency",
    "model-file",
    "deletion",
    "receipt-complete",
    "not-covered",
]


def failed(report: Report) -> dict[str, str]:
    return {check.name: check.code for check in report.checks if check.holds is False}


def pem(key: SigningKey) -> str:
    return signatures.public_pem(key.public)


def test_every_check_is_answered_by_name(desk: Any, model: Path) -> None:
    desk.file(4)
    report = expunge_verify.verify(desk.bundle(1), model, pem(desk.key), desk.notes[2])
    assert [check.name for check in report.checks] == NAMES
    assert all(check.holds for check in report.checks)
    assert report.exit_status == 0
    assert report.receipt is not None
    assert report.receipt["request"]["id"] == "request-1"


def test_what_was_not_asked_is_said_to_be_open(desk: Any) -> None:
    desk.file(2)
    report = expunge_verify.verify(desk.bundle())
    assert {check.name for check in report.checks if check.holds is None} == {
        "key-trusted",
        "consistency",
        "model-file",
    }
    assert report.holds
    assert "not asked: key-trusted, consistency, model-file" in report.lines()


def test_every_flipped_byte_is_found(desk: Any, model: Path) -> None:
    """All positions; the bit is another at each, and once all eight of a byte in the small ones."""
    desk.file(2)
    desk.rotate()
    desk.file(1)
    data, key = desk.bundle(0), pem(desk.key)
    assert expunge_verify.verify(data, model, key).holds
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        report = expunge_verify.verify(bytes(flipped), model, key)
        assert not report.holds, position
        assert report.exit_status in (40, 50), position
        assert "file-unreadable" not in failed(report).values()


def test_every_bit_of_a_signed_part_is_found(desk: Any) -> None:
    """The envelope's and the checkpoint's characters, all bits: nothing that is decoded has a second spelling."""
    desk.file(1)
    data = desk.bundle()
    for part in (b'"checkpoint"', b'"sig"', b'"keyid"', b'"keys"'):
        start = data.index(part)
        for position in range(start, min(start + 250, len(data)), 3):
            for bit in range(8):
                flipped = bytearray(data)
                flipped[position] ^= 1 << bit
                assert not expunge_verify.verify(bytes(flipped)).holds, (part, position, bit)


def test_every_truncation_is_found(desk: Any) -> None:
    desk.file(3)
    data = desk.bundle()
    for length in range(0, len(data), 7):
        report = expunge_verify.verify(data[:length])
        assert list(failed(report)) == ["bundle"]
        if not data[:length].endswith(b"}"):
            assert failed(report)["bundle"] == "bundle-truncated"


def test_every_flipped_byte_of_the_model_file_is_found(desk: Any, model: Path) -> None:
    desk.file(1)
    data, whole = desk.bundle(), model.read_bytes()
    for position in range(len(whole)):
        model.write_bytes(whole[:position] + bytes([whole[position] ^ 0x40]) + whole[position + 1 :])
        assert failed(expunge_verify.verify(data, model)) == {"model-file": "model-mismatch"}
    for other in (whole + b"\0", whole[:-1], b""):
        model.write_bytes(other)
        assert failed(expunge_verify.verify(data, model)) == {"model-file": "model-mismatch"}


def test_another_key_is_named(desk: Any, other_desk: Any) -> None:
    desk.file(2)
    assert failed(expunge_verify.verify(desk.bundle(), key=pem(other_desk.key))) == {"key-trusted": "key-not-trusted"}
    assert failed(expunge_verify.verify(desk.bundle(), key="nonsense")) == {"key-trusted": "key-unreadable"}
    assert expunge_verify.verify(desk.bundle(), key=desk.key.id).holds


def test_a_receipt_of_another_key_in_our_log_is_named(desk: Any, receipt: Any) -> None:
    """Signed by a stranger and put into the log: the log's keys did not sign it."""
    envelope = receipt(0).seal(SigningKey.generate())
    log.append(desk.connection, [log.entry_of(envelope)])
    log.sign(desk.connection, "expunge.example/test", desk.key)
    report = expunge_verify.verify(bundle.to_bytes(log.prove(desk.connection, envelope)), key=pem(desk.key))
    assert failed(report)["signature"] == "signature-invalid"
    assert report.checks[2].code == "not-reached"


def test_keys_are_good_for_their_own_time_only(desk: Any, receipt: Any) -> None:
    desk.file(3)
    old = desk.rotate()
    desk.file(2)
    for number in range(5):
        for key in (old, desk.key):
            assert expunge_verify.verify(desk.bundle(number), key=pem(key)).holds
    late = receipt(9).seal(old)
    log.append(desk.connection, [log.entry_of(late)])
    log.sign(desk.connection, "expunge.example/test", desk.key)
    report = expunge_verify.verify(bundle.to_bytes(log.prove(desk.connection, late)))
    assert failed(report) == {"signature": "signature-invalid"}


def test_a_stolen_old_key_cannot_start_a_branch_of_the_history(desk: Any) -> None:
    desk.file(1)
    made = bundle.parse(desk.bundle())
    thief = SigningKey.generate()
    payload = b'{"from_index":0,"new":"%b","old":"%b","rotated":"2026-01-01T00:00:00Z"}'
    encoded = [dsse.seal(key.public, "x", [])["payload"].encode() for key in (thief, desk.key)]
    rotation = dsse.seal(payload % (encoded[0], encoded[1]), expunge_verify.ROTATION_TYPE, [thief, thief])
    forged = dsse.seal(expunge_verify.b64decode(made.envelope["payload"]), expunge_verify.STATEMENT_TYPE, [thief])
    branch = expunge_verify.Bundle(forged, 0, (), made.checkpoint, (), (desk.key.public, thief.public), (rotation,))
    report = expunge_verify.verify(bundle.to_bytes(branch), key=pem(desk.key))
    assert failed(report)["signature"] == "key-history-invalid"


def test_a_receipt_that_is_in_no_log_is_named(desk: Any, other_desk: Any) -> None:
    desk.file(3)
    mine, other = bundle.parse(desk.bundle(0)), bundle.parse(desk.bundle(1))
    moved = expunge_verify.Bundle(mine.envelope, 1, other.inclusion, mine.checkpoint, (), mine.keys, ())
    assert failed(expunge_verify.verify(bundle.to_bytes(moved))) == {"inclusion": "inclusion-invalid"}
    other_desk.file(3)
    foreign = other_desk.notes[-1]
    swapped = expunge_verify.Bundle(mine.envelope, 0, mine.inclusion, foreign, (), mine.keys, ())
    assert failed(expunge_verify.verify(bundle.to_bytes(swapped)))["inclusion"] == "checkpoint-unsigned"


def test_kept_checkpoints_tell_older_forked_and_foreign_logs_apart(desk: Any, other_desk: Any) -> None:
    desk.file(2)
    early = desk.bundle(0)
    desk.file(40)
    late, key, root = desk.bundle(0), desk.key, bytes(32)
    other_desk.file(1)

    def answer(data: bytes, note: str) -> str:
        report = expunge_verify.verify(data, checkpoint=note)
        assert set(failed(report)) <= {"consistency"}
        return next(check.code for check in report.checks if check.name == "consistency")

    assert answer(late, desk.notes[41]) == answer(late, desk.notes[40]) == answer(early, desk.notes[0]) == "ok"
    assert answer(late, sign_checkpoint(Checkpoint("expunge.example/test", 0, expunge_verify.EMPTY_ROOT), key)) == "ok"
    assert answer(early, desk.notes[2]) == "log-older"
    assert answer(late, desk.notes[10]) == "consistency-unproven"
    assert answer(late, sign_checkpoint(Checkpoint("expunge.example/test", 41, root), key)) == "log-fork"
    assert answer(late, sign_checkpoint(Checkpoint("elsewhere", 41, root), key)) == "log-other"
    assert answer(late, other_desk.notes[0]) == "checkpoint-unsigned"
    assert answer(late, "") == answer(late, desk.notes[0][:-1]) == "checkpoint-malformed"
    since = bundle.to_bytes(log.prove(desk.connection, desk.envelopes[0], since=[11]))
    assert answer(since, desk.notes[10]) == "ok"


def test_a_witness_may_have_signed_the_kept_checkpoint_too(desk: Any) -> None:
    """Unknown signers are ignored, as c2sp.org/signed-note has it; in a bundle no line is left unchecked."""
    desk.file(2)
    line = "\u2014 witness.example AAAAAAAAAAAAAAAA\n"
    assert expunge_verify.verify(desk.bundle(), checkpoint=desk.notes[0] + line).holds
    made = bundle.parse(desk.bundle())
    cosigned = expunge_verify.Bundle(**{**vars(made), "checkpoint": made.checkpoint + line})
    assert failed(expunge_verify.verify(bundle.to_bytes(cosigned)))["inclusion"] == "checkpoint-unsigned"


def test_a_false_history_in_the_bundle_is_found(desk: Any) -> None:
    desk.file(4)
    made = bundle.parse(desk.bundle())
    false = tuple(expunge_verify.Earlier(e.size, bytes(32), e.proof) for e in made.earlier)
    forged = expunge_verify.Bundle(**{**vars(made), "earlier": false})
    assert failed(expunge_verify.verify(bundle.to_bytes(forged))) == {"consistency": "consistency-invalid"}


def signed(desk: Any, payload: bytes) -> bytes:
    """A bundle whose receipt says `payload`, honestly signed and logged."""
    envelope = dsse.seal(payload, expunge_verify.STATEMENT_TYPE, [desk.key])
    log.append(desk.connection, [log.entry_of(envelope)])
    log.sign(desk.connection, "expunge.example/test", desk.key)
    return bundle.to_bytes(log.prove(desk.connection, envelope))


def test_a_provider_cannot_sign_less_than_a_receipt(desk: Any, receipt: Any, model: Path) -> None:
    statement = json.loads(receipt().payload)
    predicate = statement["predicate"]
    for field in predicate:
        less = {**statement, "predicate": {key: value for key, value in predicate.items() if key != field}}
        codes = failed(expunge_verify.verify(signed(desk, expunge_verify.canonical(less)), model))
        name = "not-covered" if field == "not_covered" else "receipt-complete"
        assert name in codes, field
    silent = {**statement, "predicate": {**predicate, "not_covered": []}}
    assert failed(expunge_verify.verify(signed(desk, expunge_verify.canonical(silent)), model)) == {
        "not-covered": "not-covered-missing"
    }
    for payload in (b"null", b"[]", b"1", b'{"predicate":[]}', b"{", b"\xff", b'{"a":1,"a":1}', b"[" * 100):
        report = expunge_verify.verify(signed(desk, payload), model)
        assert not report.holds
        assert report.exit_status in (40, 50)
        assert report.receipt is None


def test_a_signature_over_another_type_is_no_receipt(desk: Any, receipt: Any) -> None:
    envelope = dsse.seal(receipt().payload, expunge_verify.ROTATION_TYPE, [desk.key])
    log.append(desk.connection, [log.entry_of(envelope)])
    log.sign(desk.connection, "expunge.example/test", desk.key)
    report = expunge_verify.verify(bundle.to_bytes(log.prove(desk.connection, envelope)))
    assert failed(report)["signature"] == "signature-invalid"


def test_a_receipt_cannot_steer_the_terminal(desk: Any, receipt: Any) -> None:
    statement = json.loads(receipt().payload)
    statement["predicate"]["not_covered"] = ["\x1b[2J\x1b[32mverified"]
    report = expunge_verify.verify(signed(desk, expunge_verify.canonical(statement)))
    assert failed(report) == {"not-covered": "not-covered-missing"}
    assert "\x1b" not in "".join(report.lines())


def test_an_endless_key_history_is_refused_unread(desk: Any) -> None:
    desk.file(1)
    made = bundle.parse(desk.bundle())
    publics = tuple(bytes([number // 256, number % 256]) + bytes(30) for number in range(expunge_verify.MAX_KEYS + 1))
    many = expunge_verify.Bundle(**{**vars(made), "keys": publics, "rotations": (made.envelope,) * 256})
    assert failed(expunge_verify.verify(bundle.to_bytes(many))) == {"bundle": "bundle-malformed"}


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_edit_of_a_bundle_passes(data: st.DataObject) -> None:
    good = GOOD[0]
    start = data.draw(st.integers(0, len(good)))
    stop = data.draw(st.integers(start, min(len(good), start + 40)))
    other = good[:start] + data.draw(st.binary(max_size=20) | st.just(good[start:stop] * 2)) + good[stop:]
    report = expunge_verify.verify(other)
    assert report.holds is (other == good)
    assert all("\n" not in check.message for check in report.checks)


GOOD: list[bytes] = []


@pytest.fixture(autouse=True)
def good(request: pytest.FixtureRequest) -> None:
    if not GOOD:
        desk = request.getfixturevalue("other_desk")
        desk.file(3)
        GOOD.append(desk.bundle())


@settings(max_examples=300)
@given(st.text(max_size=80) | st.text("a\n\u2014 0123456789+/=ABC", max_size=200))
def test_any_text_is_a_checkpoint_or_refused(text: str) -> None:
    key = bytes(32)
    for note in (text, f"a\n1\n{'A' * 43}=\n\n\u2014 {text}\n", f"{text}\n1\n{'A' * 43}=\n\n\u2014 a {'A' * 92}\n"):
        with pytest.raises(expunge_verify.Refused) as caught:
            expunge_verify.open_checkpoint(note, [key])
        assert caught.value.code in ("checkpoint-malformed", "checkpoint-unsigned")


def _shifted(change: receipts.DataChange, **changes: Any) -> receipts.DataChange:
    return replace(change, deletion_proof={**(change.deletion_proof or {}), **changes})


def test_a_deletion_that_is_not_the_proven_one_is_found(desk: Any, receipt: Any) -> None:
    """Each way in which the proof and the receipt can part: roots, places, leaves, and the forgotten records."""
    right, other = receipt(0).data, receipt(1).data
    proof = right.deletion_proof or {}
    wrong = [
        replace(right, retained_root=other.retained_root),
        replace(right, old_root=right.retained_root),
        replace(right, retained_root=right.old_root),
        _shifted(right, places=[0]),
        _shifted(right, places=[]),
        _shifted(right, places=[5]),
        _shifted(right, size=2**53 - 1),
        _shifted(right, around=proof["around"][:-1]),
        _shifted(right, deleted=[]),
        _shifted(right, size="3"),
        other,
    ]
    for change in wrong:
        desk.envelopes.append(receipt(0, data=change).seal(desk.key))
        log.append(desk.connection, [log.entry_of(desk.envelopes[-1])])
        log.sign(desk.connection, "expunge.example/test", desk.key)
        assert failed(expunge_verify.verify(desk.bundle())) == {"deletion": "deletion-invalid"}, change


def test_what_the_deletion_check_cannot_say_is_said(desk: Any, receipt: Any) -> None:
    """A receipt without a proof is not taken for proven, and records beyond its own are counted."""
    right = receipt(0)
    tree = DataTree(tuple(map(bytes.fromhex, (*right.forgotten.commitments, "aa" * 32, "bb" * 32))))
    more = receipts.DataChange(tree.root.hex(), tree.bury([0, 2]).root.hex(), tree.proof([0, 2]).to_json())
    for change, words in (
        ({"data": replace(right.data, deletion_proof=None)}, "NOT PROVEN: deletion: the receipt holds no proof"),
        ({"data": more}, "1 for other requests of the same run"),
        ({}, "and no other"),
    ):
        desk.envelopes.append(receipt(0, **change).seal(desk.key))
        log.append(desk.connection, [log.entry_of(desk.envelopes[-1])])
        log.sign(desk.connection, "expunge.example/test", desk.key)
        report = expunge_verify.verify(desk.bundle())
        assert report.holds
        assert words in "\n".join(report.lines())
