"""Ed25519 keys: made, kept in files that only their owner can read, and rotated so that old receipts stay good."""

import base64
import errno
import os
import re
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import expunge_verify
from expunge.errors import OperatorError, ProgrammerError, ProviderDishonest
from expunge.ledger import dsse, files
from expunge.ledger.strict_json import canonical

_PKCS8: Final = bytes.fromhex("302e020100300506032b657004220420")
"""What stands before the 32 secret bytes in the key's DER form (RFC 8410)."""
_PRIVATE: Final = re.compile(r"-----BEGIN PRIVATE KEY-----\n([A-Za-z0-9+/]{64})\n-----END PRIVATE KEY-----\n")
_MAX_FILE: Final = 4096


class SigningKey:
    """An Ed25519 private key. Never printed, never pickled: it leaves memory through `save` only."""

    __slots__ = ("_secret", "public")

    def __init__(self, secret: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        if len(secret) != 32:
            raise ProgrammerError("bad-hyperparameter", "an Ed25519 secret has 32 bytes")
        self._secret: Final = secret
        self.public: Final[bytes] = Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()

    @staticmethod
    def generate() -> "SigningKey":
        """A new key from the operating system's randomness: the one randomness that no seed may reproduce."""
        return SigningKey(secrets.token_bytes(32))

    @staticmethod
    def load(path: Path) -> "SigningKey":
        """The key in a PEM file (PKCS #8, unencrypted).

        **Raises:** `OperatorError` with `key-exposed` where others can read the file, `bad-key` where it is not an
        Ed25519 key or not an ordinary file, `no-such-file`.
        """
        match = _PRIVATE.fullmatch(_read_private(path))
        der = base64.b64decode(match[1]) if match else b""
        if not der.startswith(_PKCS8) or len(der) != len(_PKCS8) + 32:
            raise OperatorError("bad-key", f"{path.name[:100]} holds no Ed25519 private key")
        return SigningKey(der[len(_PKCS8) :])

    def save(self, path: Path) -> None:
        """Write the key to a new file with mode 0600, whole or not at all.

        **Raises:** `OperatorError` with `key-exists` (a key is never overwritten), `disk-full` or `io-error`.
        """
        der = base64.b64encode(_PKCS8 + self._secret).decode()
        _write_key(path, f"-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n".encode())

    @property
    def id(self) -> str:
        """Public: SHA-256 of the public key's DER form, in hex."""
        return expunge_verify.key_id(self.public)

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature (RFC 8032) of `message`, 64 bytes."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self._secret).sign(message)

    def __repr__(self) -> str:
        return f"SigningKey({self.id[:16]})"

    def __reduce__(self) -> str:
        raise TypeError("a private key is never pickled")


def public_pem(public: bytes) -> str:
    """The raw public key as PEM, for openssl and `--key`."""
    der = base64.b64encode(expunge_verify.SPKI + public).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n"


def verifier_key(origin: str, public: bytes) -> str:
    """The public key as C2SP verifier key `origin+hash+base64`, for tools that read checkpoints."""
    encoded = base64.b64encode(b"\x01" + public).decode()
    return f"{origin}+{expunge_verify.note_key_hash(origin, public).hex()}+{encoded}"


def read_trusted(path: Path) -> frozenset[str]:
    """Ids of the keys in a file of public keys: PEM blocks, verifier keys or bare ids.

    **Raises:** `OperatorError("bad-key")`, `OperatorError("no-such-file")`.
    """
    try:
        with path.open("rb") as file:
            return expunge_verify.parse_keys(file.read(1 << 20).decode(errors="replace"))
    except OSError as error:
        raise OperatorError("no-such-file", f"{path.name[:100]}: {error.strerror}") from None
    except expunge_verify.Refused:
        raise OperatorError("bad-key", f"{path.name[:100]} holds no Ed25519 public key") from None


@dataclass(frozen=True)
class KeyHistory:
    """The keys of one log from first to current, each handed over in an envelope that old and new key signed.

    What exists is valid: **raises** `ProviderDishonest("key-history-invalid")` otherwise.

    **Arguments:**

    - `keys`: raw public keys.
    - `rotations`: one DSSE envelope less than keys.
    """

    keys: tuple[bytes, ...]
    rotations: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        _ = self.starts

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The leaf index from which each key is in force."""
        if not self.keys or len(set(self.keys)) != len(self.keys) or len(self.rotations) != len(self.keys) - 1:
            raise ProviderDishonest("key-history-invalid", "the key history has gaps or repeats a key")
        try:
            for fault in expunge_verify.faults(list(self.rotations), [expunge_verify.ENVELOPE], "rotations"):
                raise expunge_verify.Refused("key-history-invalid", fault)
            return tuple(expunge_verify.check_rotations(self.keys, self.rotations))
        except expunge_verify.Refused as refused:
            raise ProviderDishonest("key-history-invalid", str(refused)) from None

    @property
    def current(self) -> bytes:
        """The key that signs now."""
        return self.keys[-1]

    def in_force(self, index: int) -> bytes:
        """The key that had to sign the receipt at leaf `index`."""
        return [key for key, start in zip(self.keys, self.starts, strict=True) if start <= index][-1]

    def trusted_by(self, trusted: frozenset[str]) -> bool:
        """Whether a key whose id is in `trusted` is among the keys: all others are then vouched for."""
        return any(expunge_verify.key_id(key) in trusted for key in self.keys)

    def rotate(self, old: dsse.Signer, new: dsse.Signer, from_index: int, rotated: str) -> "KeyHistory":
        """The history in which `new` takes over at leaf `from_index`; `rotated` is the UTC time, as in receipts.

        **Raises:** `OperatorError("wrong-key")` where `old` is not the current key or `new` was used before.
        """
        if old.public != self.current or new.public in self.keys:
            raise OperatorError("wrong-key", "a rotation goes from the current key to a fresh one")
        encoded = {name: base64.b64encode(key.public).decode() for name, key in (("old", old), ("new", new))}
        content = canonical(encoded | {"from_index": from_index, "rotated": rotated})
        envelope = dsse.seal(content, expunge_verify.ROTATION_TYPE, (old, new))
        return KeyHistory((*self.keys, new.public), (*self.rotations, envelope))


def _read_private(path: Path) -> str:
    """The text of an ordinary file that nobody but its owner can read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.EIO, errno.ENOSPC):  # the file may well be there
            with files.judged():
                raise
        raise OperatorError("no-such-file", f"key file {path.name[:100]}: {error.strerror}") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise OperatorError("bad-key", f"{path.name[:100]} is not an ordinary file")
        if mode & 0o077:
            raise OperatorError("key-exposed", f"key file {path.name[:100]} is open to others than its owner")
        return os.read(descriptor, _MAX_FILE).decode(errors="replace")
    finally:
        os.close(descriptor)


def _write_key(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with files.judged():
        files.write_new(temporary, data)
        try:
            os.link(temporary, path)  # unlike a rename, refuses to replace
        except FileExistsError:
            raise OperatorError("key-exists", f"{path.name[:100]} is there already") from None
        finally:
            with suppress(OSError):
                temporary.unlink()
        files.sync_folder(path.parent)
