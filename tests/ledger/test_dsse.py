"""DSSE: our envelopes before an independent verifier, its envelopes before ours, and what must not pass."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

import expunge_verify
from expunge.errors import AttackSuspected, ExpungeError, ProgrammerError, ProviderDishonest
from expunge.ledger import dsse, receipts
from expunge.ledger.signatures import SigningKey

TYPE = "text/plain"


def key_for_securesystemslib(key: SigningKey) -> SSlibKey:
    return SSlibKey(key.id, "ed25519", "ed25519", {"public": key.public.hex()})


def test_the_encoding_is_the_specifications_own_example() -> None:
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert expunge_verify.pae("http://example.com/HelloWorld", b"hello world") == expected


def test_securesystemslib_verifies_our_receipt(desk: Any) -> None:
    ours = json.loads(dsse.to_bytes(desk.file(1)[0]))
    theirs = Envelope.from_dict(ours)
    assert theirs.verify([key_for_securesystemslib(desk.key)], 1)
    assert json.loads(theirs.payload)["predicateType"] == expunge_verify.PREDICATE_TYPE
    with pytest.raises(VerificationError):
        theirs.verify([key_for_securesystemslib(SigningKey.generate())], 1)


def test_ours_verifies_an_envelope_of_securesystemslib() -> None:
    signers = [CryptoSigner.generate_ed25519() for _ in range(2)]
    publics = [bytes.fromhex(signer.public_key.keyval["public"]) for signer in signers]
    envelope = Envelope(b"payload", TYPE, {})
    for signer in signers:
        envelope.sign(signer)
    read = dsse.parse(json.dumps(envelope.to_dict()).encode())
    assert dsse.verify(read, TYPE, publics, 2) == b"payload"
    assert dsse.verify(read, TYPE, publics[:1]) == b"payload"
    with pytest.raises(ProviderDishonest):
        dsse.verify(read, TYPE, [SigningKey.generate().public])


def test_one_key_counts_once() -> None:
    key = SigningKey.generate()
    envelope = dsse.seal(b"x", TYPE, [key, key])
    assert dsse.verify(envelope, TYPE, [key.public, key.public]) == b"x"
    with pytest.raises(ProviderDishonest):
        dsse.verify(envelope, TYPE, [key.public, key.public], 2)
    with pytest.raises(ProgrammerError):
        dsse.verify(envelope, TYPE, [], 0)


def test_the_type_is_signed_too() -> None:
    key = SigningKey.generate()
    envelope = dsse.seal(b"x", TYPE, [key])
    with pytest.raises(ProviderDishonest):
        dsse.verify(envelope, "text/html", [key.public])
    with pytest.raises(ProviderDishonest):
        dsse.verify({**envelope, "payloadType": "text/html"}, "text/html", [key.public])


def test_a_receipt_is_not_parsed_before_its_signature_holds(desk: Any) -> None:
    payload = base64.b64encode(b"{" * 1000).decode()
    envelope = {**desk.file(1)[0], "payload": payload}
    with pytest.raises(ProviderDishonest) as caught:
        receipts.open_receipt(envelope, desk.key.public)
    assert caught.value.code == "signature-invalid"


BAD_FORM = {
    "no JSON": b"{",
    "a list": b"[]",
    "no signatures": b'{"payload":"","payloadType":"x","signatures":[]}',
    "missing payload": b'{"payloadType":"x","signatures":[{"sig":""}]}',
    "number for signature": b'{"payload":"","payloadType":"x","signatures":[{"sig":1}]}',
    "text for signature": b'{"payload":"","payloadType":"x","signatures":["a"]}',
    "key id is no text": b'{"payload":"","payloadType":"x","signatures":[{"sig":"","keyid":2}]}',
    "too many": b'{"payload":"","payloadType":"x","signatures":[' + b'{"sig":""},' * 16 + b'{"sig":""}]}',
    "duplicate": b'{"payload":"","payload":"","payloadType":"x","signatures":[{"sig":""}]}',
}


@pytest.mark.parametrize("data", BAD_FORM.values(), ids=BAD_FORM.keys())
def test_malformed_envelopes_are_refused(data: bytes) -> None:
    with pytest.raises(AttackSuspected) as caught:
        dsse.parse(data)
    assert caught.value.code == "bad-envelope"


def test_base64_has_one_spelling() -> None:
    key = SigningKey.generate()
    envelope = dsse.seal(b"x", TYPE, [key])
    assert envelope["payload"] == "eA=="
    for spelling in ("eB==", "eA", "eA=\n=", "e\u0410==", "eA==eA=="):
        with pytest.raises(AttackSuspected):
            dsse.verify({**envelope, "payload": spelling}, TYPE, [key.public])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda x: st.lists(x, max_size=4), max_leaves=8
)
envelopes = st.fixed_dictionaries(
    {},
    optional={
        "payload": st.text(max_size=8) | st.binary(max_size=9).map(lambda raw: base64.b64encode(raw).decode()),
        "payloadType": st.just(TYPE) | json_values,
        "signatures": st.lists(st.dictionaries(st.sampled_from(["keyid", "sig", "x"]), json_values), max_size=3)
        | json_values,
    },
)


@given(envelopes | json_values | st.binary(max_size=64))
def test_any_input_gives_an_envelope_or_a_refusal(value: Any) -> None:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    with pytest.raises(ExpungeError) as caught:
        dsse.verify(dsse.parse(data), TYPE, [bytes(31) + b"\x02"])
    assert caught.value.code in ("bad-envelope", "signature-invalid")
