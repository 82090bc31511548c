"""Files between provider and verifier: round trips, every flipped byte, and nothing executed."""

from dataclasses import replace

import pytest
from verified_scenes import Scene

from expunge.errors import AttackSuspected
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


def test_places_outside_the_tree_are_refused(the_scene: Scene) -> None:
    retained = the_scene.retained(the_scene.prove("n1"))
    with pytest.raises(AttackSuspected):
        retained_from_bytes(retained_to_bytes(replace(retained, size=3)))
