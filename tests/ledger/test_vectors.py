"""Reference vectors that nobody on this project wrote, through the paths that verification takes."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

import expunge_verify
from expunge.errors import OperatorError
from expunge.ledger import merkle, strict_json

pytestmark = pytest.mark.vectors

# Where RFC 8259 leaves the choice to the parser (`i_`), what ours does. docs/verify.md lists the same.
I_ACCEPTED = {"i_number_too_big_pos_int.json"}


def found(folder: Path, pattern: str) -> list[Path]:
    kind = pattern.split("/")[0]
    if not (folder / kind).is_dir():
        pytest.skip(f"there are no {kind} vectors in this folder")
    paths = sorted(folder.glob(pattern))
    assert paths, f"no {pattern} among the vectors"
    return paths


def raw(text: str | None) -> bytes:
    """The bytes of a hash; Go writes an empty slice as null."""
    return base64.b64decode(text or "")


def holds(check: Any, *arguments: Any) -> bool:
    try:
        check(*arguments)
    except expunge_verify.Refused:
        return False
    return True


def test_every_inclusion_proof_gets_its_verdict(vectors_folder: Path) -> None:
    for path in found(vectors_folder, "merkle/testdata/inclusion/**/*.json"):
        case = json.loads(path.read_bytes())
        leaf, root, *proof = map(raw, [case["leafHash"], case["root"], *(case["proof"] or [])])
        verdict = holds(expunge_verify.verify_inclusion, case["leafIdx"], case["treeSize"], leaf, root, proof)
        assert verdict is not case["wantErr"], path


def test_every_consistency_proof_gets_its_verdict(vectors_folder: Path) -> None:
    for path in found(vectors_folder, "merkle/testdata/consistency/**/*.json"):
        case = json.loads(path.read_bytes())
        old, new, *proof = map(raw, [case["root1"], case["root2"], *(case["proof"] or [])])
        verdict = holds(expunge_verify.verify_consistency, case["size1"], case["size2"], old, new, proof)
        assert verdict is not case["wantErr"], path


def test_a_proof_that_holds_is_as_long_as_ours(vectors_folder: Path) -> None:
    """As many hashes as ours; the bytes are compared with the RFC's definitions in `test_merkle`."""
    for path in found(vectors_folder, "merkle/testdata/*/**/*.json"):
        case = json.loads(path.read_bytes())
        if not case["wantErr"] and "size1" in case:
            assert len(merkle.consistency_spans(case["size1"], case["size2"])) == len(case["proof"] or []), path
        elif not case["wantErr"]:
            assert len(merkle.inclusion_spans(case["leafIdx"], case["treeSize"])) == len(case["proof"] or []), path


def test_every_ed25519_signature_gets_its_verdict(vectors_folder: Path) -> None:
    for path in found(vectors_folder, "wycheproof/testvectors_v1/ed25519*_test.json"):
        for group in json.loads(path.read_bytes())["testGroups"]:
            public = bytes.fromhex(group["publicKey"]["pk"])
            for case in group["tests"]:
                signature, message = bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"])
                verdict = expunge_verify.signature_holds(public, signature, message)
                assert verdict is (case["result"] == "valid") or case["result"] == "acceptable", case["tcId"]


def test_every_canonicalization_pair_agrees(vectors_folder: Path) -> None:
    for path in found(vectors_folder, "json-canonicalization/testdata/input/*.json"):
        written = strict_json.canonical(strict_json.loads(path.read_bytes()))
        assert written == (path.parent.parent / "output" / path.name).read_bytes(), path
        assert written == bytes.fromhex((path.parent.parent / "outhex" / f"{path.stem}.txt").read_text()), path
        assert strict_json.canonical(strict_json.loads(written)) == written, path


def accepted(path: Path) -> bool:
    try:
        strict_json.loads(path.read_bytes())
    except OperatorError as error:
        return error.code != "bad-json"
    return True


def repeats_a_key(path: Path) -> bool:
    """Whether one object of the document has a key twice: valid by RFC 8259, and refused by us on purpose."""
    repeated = []

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        repeated.append(len(dict(pairs)) < len(pairs))
        return dict(pairs)

    json.loads(path.read_bytes(), object_pairs_hook=look)
    return any(repeated)


def test_what_every_parser_must_accept_is_accepted(vectors_folder: Path) -> None:
    for path in found(vectors_folder, "json-test-suite/test_parsing/y_*.json"):
        assert accepted(path) is not repeats_a_key(path), path


def test_what_every_parser_must_refuse_is_refused(vectors_folder: Path) -> None:
    for path in found(vectors_folder, "json-test-suite/test_parsing/n_*.json"):
        assert not accepted(path), path


def test_what_is_ours_to_decide_is_decided(vectors_folder: Path) -> None:
    listed = (Path(__file__).parents[2] / "docs" / "verify.md").read_text()
    for path in found(vectors_folder, "json-test-suite/test_parsing/i_*.json"):
        verdict = accepted(path)
        if f"`{path.stem}`" in listed:  # a suite of another edition may have more
            assert verdict is (path.name in I_ACCEPTED), path
