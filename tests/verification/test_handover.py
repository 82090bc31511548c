"""Files between provider and verifier: round trips, every flipped byte, and nothing executed."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from verified_scenes import Scene

from expunge.errors import AttackSuspected
from expunge.ledger import strict_json
from expunge.unlearning import OutputPerturbation
from expunge.verification import (
    SpotCheck,
    retained_from_bytes,
    retained_to_bytes,
    submission_from_bytes,
    submission_to_bytes,
)


def test_both_files_survive_a_round_trip_and_serve_the_verifier(the_scene: Scene) -> None:
    for method in (None, OutputPerturbation(epochs=1)):
        proven = the_scene.prove("n1", method, b"share")
        given, held = submission_to_bytes(proven.submission), retained_to_bytes(the_scene.retained(proven))
        read, retained = submission_from_bytes(given), retained_from_bytes(held)
        assert submission_to_bytes(read) == given
        assert retained_to_bytes(retained) == held
        assert read.transcript == proven.submission.transcript
        assert SpotCheck().verify(read, retained, "n1").holds


def test_every_flipped_byte_is_found(the_scene: Scene) -> None:
    proven = the_scene.prove("n1", OutputPerturbation(epochs=1), b"share")
    for data, read in (
        (submission_to_bytes(proven.submission), submission_from_bytes),
        (retained_to_bytes(the_scene.retained(proven)), retained_from_bytes),
    ):
        for place in (*range(70), *range(70, len(data), len(data) // 150), len(data) - 1):
            changed = bytearray(data)
            changed[place] ^= 4
            with pytest.raises(AttackSuspected) as caught:
                read(bytes(changed))
            assert caught.value.code == "bad-proof"
        for cut in (data[:-1], data[:30], data + b"x", b""):
            with pytest.raises(AttackSuspected):
                read(cut)


def resealed(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The file with another header under a hash that fits it: what a dishonest writer hands over."""
    lead = data.index(b"\n") + 1
    length = int.from_bytes(data[lead + 32 : lead + 40], "big")
    header = json.loads(data[lead + 40 : lead + 40 + length])
    change(header)
    body = strict_json.canonical(header)
    start = data[:lead] + hashlib.sha256(body).digest() + len(body).to_bytes(8, "big")
    return start + body + data[lead + 40 + length :]


MALFORMED: list[Callable[[dict[str, Any]], Any]] = [
    lambda header: header["commitment"].update(every=0),
    lambda header: header["commitment"].update(every=-1),
    lambda header: header["commitment"].update(every=True),
    lambda header: header["commitment"].update(root="zz"),
    lambda header: header["commitment"].update(touched=[{}]),
    lambda header: header["commitment"].update(touched=[1, 0]),
    lambda header: header["commitment"].update(platform=None),
    lambda header: header["commitment"]["recipe"].update(network=None),
    lambda header: header["commitment"]["recipe"].update(epochs="many"),
    lambda header: header["commitment"].pop("shape"),
    lambda header: header.update(share="zz"),
    lambda header: header.pop("parts"),
    lambda header: header.update(parts=[{"name": "proof"}]),
]


@pytest.mark.parametrize("number", range(len(MALFORMED)))
def test_a_header_of_another_form_is_one_line(the_scene: Scene, number: int) -> None:
    data = submission_to_bytes(the_scene.prove("n1", OutputPerturbation(epochs=1), b"share").submission)
    assert submission_from_bytes(resealed(data, lambda header: None)).nonce == "n1"
    with pytest.raises(AttackSuspected) as caught:
        submission_from_bytes(resealed(data, MALFORMED[number]))
    assert caught.value.code == "bad-proof"
    assert "\n" not in str(caught.value)


def test_retained_records_without_parts_are_one_line(the_scene: Scene) -> None:
    data = retained_to_bytes(the_scene.retained(the_scene.prove("n1")))
    for name in ("parts", "salts", "places", "size"):
        with pytest.raises(AttackSuspected) as caught:
            retained_from_bytes(resealed(data, lambda header, name=name: header.pop(name)))  # type: ignore[misc]
        assert caught.value.code == "bad-proof"


def test_places_outside_the_tree_are_refused(the_scene: Scene) -> None:
    retained = the_scene.retained(the_scene.prove("n1"))
    with pytest.raises(AttackSuspected):
        retained_from_bytes(retained_to_bytes(replace(retained, size=3)))
