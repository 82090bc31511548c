"""Checkpoints: the log's head as a C2SP signed note (c2sp.org/tlog-checkpoint), signed with Ed25519."""

import base64
from collections.abc import Sequence

import expunge_verify
from expunge.errors import AttackSuspected, ExpungeError, ProgrammerError, ProviderDishonest
from expunge.ledger.dsse import Signer
from expunge_verify import Checkpoint


def sign_checkpoint(head: Checkpoint, signer: Signer) -> str:
    """The signed note of `head`; the key's name in it is the log's origin.

    **Raises:** `ProgrammerError("bad-hyperparameter")` for an origin that no note can name: empty, with spaces or `+`.
    """
    body = f"{head.origin}\n{head.size}\n{base64.b64encode(head.root).decode()}\n"
    signature = expunge_verify.note_key_hash(head.origin, signer.public) + signer.sign(body.encode())
    note = f"{body}\n\u2014 {head.origin} {base64.b64encode(signature).decode()}\n"
    try:
        expunge_verify.open_checkpoint(note, [signer.public])
    except expunge_verify.Refused:
        raise ProgrammerError("bad-hyperparameter", "no checkpoint can be made of this origin and head") from None
    return note


def open_checkpoint(note: bytes, keys: Sequence[bytes]) -> Checkpoint:
    """The checkpoint in the bytes of a signed note that one of the raw `keys` signed; other signers are ignored.

    **Raises:** `AttackSuspected("bad-checkpoint")`, `ProviderDishonest("log-other")` where none of `keys` signed it.
    """
    try:
        return expunge_verify.open_checkpoint(note[: 1 << 20].decode(), keys)
    except UnicodeDecodeError:
        raise AttackSuspected("bad-checkpoint", "a checkpoint is UTF-8 text") from None
    except expunge_verify.Refused as refused:
        raise _judged(refused) from None


def _judged(refused: expunge_verify.Refused) -> ExpungeError:
    if refused.code == "checkpoint-unsigned":
        return ProviderDishonest("log-other", f"{refused}")
    return AttackSuspected("bad-checkpoint", f"{refused}")
