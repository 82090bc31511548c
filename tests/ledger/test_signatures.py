"""Keys: kept so that nobody else reads them, named alike everywhere, handed over by both sides."""

import hashlib
import os
import pickle
import shutil
import stat
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import expunge_verify
from expunge.errors import OperatorError, ProgrammerError, ProviderDishonest
from expunge.ledger import dsse, signatures
from expunge.ledger.signatures import KeyHistory, SigningKey

# RFC 8032, section 7.1, test 2.
SECRET = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
SIGNATURE = (
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)
DAY = "2026-03-01T00:00:00Z"


def test_signs_as_the_rfc_does() -> None:
    key = SigningKey(SECRET)
    assert key.public.hex() == PUBLIC
    assert key.sign(b"\x72").hex() == SIGNATURE
    assert expunge_verify.signature_holds(key.public, bytes.fromhex(SIGNATURE), b"\x72")
    assert isinstance(key, dsse.Signer)


def test_a_key_comes_back_from_its_file(tmp_path: Path) -> None:
    old_mask = os.umask(0)
    try:
        SigningKey(SECRET).save(tmp_path / "key.pem")
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert SigningKey.load(tmp_path / "key.pem").public.hex() == PUBLIC
    assert os.listdir(tmp_path) == ["key.pem"]


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    SigningKey(SECRET).save(tmp_path / "key.pem")
    with pytest.raises(OperatorError) as caught:
        SigningKey.generate().save(tmp_path / "key.pem")
    assert caught.value.code == "key-exists"
    assert SigningKey.load(tmp_path / "key.pem").public.hex() == PUBLIC
    assert os.listdir(tmp_path) == ["key.pem"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620, 0o601])
def test_a_key_that_others_could_touch_is_refused(tmp_path: Path, mode: int) -> None:
    SigningKey(SECRET).save(tmp_path / "key.pem")
    (tmp_path / "key.pem").chmod(mode)
    with pytest.raises(OperatorError) as caught:
        SigningKey.load(tmp_path / "key.pem")
    assert caught.value.code == "key-exposed"


def no_key(folder: Path) -> dict[str, Path]:
    """Files that are no private keys."""
    SigningKey(SECRET).save(folder / "good")
    text = (folder / "good").read_text()
    found = {"empty": "", "cut": text[:-5], "public": signatures.public_pem(bytes(32)), "twice": text + text}
    found |= {"changed": text.replace("MC4C", "MC4D"), "text": "hello", "long": "a" * 100_000, "binary": "\0\xff"}
    for name, content in found.items():
        (folder / name).write_text(content)
        (folder / name).chmod(0o600)
    (folder / "link").symlink_to(folder / "good")
    (folder / "folder").mkdir(mode=0o700)
    os.mkfifo(folder / "pipe", 0o600)
    return {name: folder / name for name in [*found, "link", "folder", "pipe", "missing"]}


def test_what_is_no_key_is_refused_in_a_line(tmp_path: Path) -> None:
    for name, path in no_key(tmp_path).items():
        with pytest.raises(OperatorError) as caught:
            SigningKey.load(path)
        expected = "no-such-file" if name in ("link", "missing") else "bad-key"
        assert caught.value.code == expected, name
        assert SECRET.hex() not in str(caught.value)


def test_a_private_key_shows_nowhere() -> None:
    key = SigningKey(SECRET)
    assert SECRET.hex() not in repr(key) + str(key)
    with pytest.raises(TypeError):
        pickle.dumps(key)
    with pytest.raises(ProgrammerError):
        SigningKey(b"short")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_reads_our_files_and_agrees_on_the_key_id(tmp_path: Path) -> None:
    key = SigningKey.generate()
    key.save(tmp_path / "key.pem")
    (tmp_path / "public.pem").write_text(signatures.public_pem(key.public))
    derived = subprocess.run(["openssl", "pkey", "-in", "key.pem", "-pubout"], cwd=tmp_path, capture_output=True)
    assert derived.stdout.decode() == signatures.public_pem(key.public)
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", "public.pem", "-outform", "DER"], cwd=tmp_path, capture_output=True
    )
    assert hashlib.sha256(der.stdout).hexdigest() == key.id


def test_trusted_keys_are_read_from_every_form(tmp_path: Path) -> None:
    keys = [SigningKey.generate() for _ in range(3)]
    text = signatures.public_pem(keys[0].public) + signatures.verifier_key("a/b", keys[1].public) + f"\n{keys[2].id}\n"
    (tmp_path / "trusted").write_text("# ours\n" + text)
    assert signatures.read_trusted(tmp_path / "trusted") == {key.id for key in keys}
    for content in ("", "hello", "0" * 63, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"):
        (tmp_path / "none").write_text(content)
        with pytest.raises(OperatorError) as caught:
            signatures.read_trusted(tmp_path / "none")
        assert caught.value.code == "bad-key"
    with pytest.raises(OperatorError, match="No such file"):
        signatures.read_trusted(tmp_path / "missing")


def test_the_example_of_the_signed_note_specification_verifies() -> None:
    """The checkpoint printed in c2sp.org/tlog-checkpoint names its key by hash; ours hashes alike for its own keys."""
    vkey = signatures.verifier_key("example.com/log", bytes.fromhex(PUBLIC))
    name, number, encoded = vkey.split("+", 2)
    raw = expunge_verify.b64decode(encoded)
    assert (name, raw) == ("example.com/log", b"\x01" + bytes.fromhex(PUBLIC))
    assert number == hashlib.sha256(b"example.com/log\n" + raw).hexdigest()[:8]


def chain(length: int) -> tuple[list[SigningKey], KeyHistory]:
    keys = [SigningKey.generate() for _ in range(length)]
    history = KeyHistory((keys[0].public,))
    for number, (old, new) in enumerate(pairwise(keys), start=1):
        history = history.rotate(old, new, 10 * number, DAY)
    return keys, history


def test_each_key_is_in_force_from_its_leaf_on() -> None:
    keys, history = chain(3)
    assert [history.in_force(index) for index in (0, 9, 10, 19, 20, 99)] == [
        keys[number].public for number in (0, 0, 1, 1, 2, 2)
    ]
    assert history.current == keys[2].public
    assert all(history.trusted_by(frozenset({key.id})) for key in keys)
    assert not history.trusted_by(frozenset({SigningKey.generate().id}))


def invalid(keys: Any, rotations: Any) -> bool:
    try:
        KeyHistory(tuple(keys), tuple(rotations))
    except ProviderDishonest as error:
        return error.code == "key-history-invalid"
    return False


def test_no_link_of_the_history_can_be_bent() -> None:
    keys, history = chain(3)
    first, second = history.rotations
    stranger = SigningKey.generate()
    publics = [key.public for key in keys]
    assert invalid([], [])
    assert invalid(publics, [first])
    assert invalid(publics, [second, first])
    assert invalid([publics[0], stranger.public, publics[2]], [first, second])
    assert invalid([publics[0], publics[2]], [first])
    assert invalid(publics, [first, {**second, "payload": first["payload"]}])
    assert invalid(publics, [first, {**second, "signatures": second["signatures"][:1]}])
    assert invalid(publics, [first, {**second, "signatures": second["signatures"][::-1]}])
    assert invalid([publics[0], publics[0]], [first])
    assert invalid(publics, [first, {}])
    assert not invalid(publics, [first, second])


def test_a_history_never_runs_backwards() -> None:
    keys, history = chain(3)
    with pytest.raises(ProviderDishonest):
        history.rotate(keys[2], SigningKey.generate(), 5, DAY)
    with pytest.raises(ProviderDishonest):
        history.rotate(keys[2], SigningKey.generate(), 30, "yesterday")
    with pytest.raises(OperatorError, match="fresh"):
        history.rotate(keys[2], keys[0], 30, DAY)
    with pytest.raises(OperatorError, match="current"):
        history.rotate(keys[0], SigningKey.generate(), 30, DAY)


def test_one_side_alone_cannot_hand_over() -> None:
    """A thief names himself the predecessor of our key, or its successor: a signature is lacking both times."""
    keys, history = chain(2)
    thief = SigningKey.generate()
    payload = dsse.verify(history.rotations[0], expunge_verify.ROTATION_TYPE, [keys[0].public])
    alone = dsse.seal(payload, expunge_verify.ROTATION_TYPE, [thief, thief])
    assert invalid([thief.public, keys[1].public], [alone])
    assert invalid([keys[0].public, thief.public], [dsse.seal(payload, expunge_verify.ROTATION_TYPE, [keys[0], thief])])
