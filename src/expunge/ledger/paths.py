"""Paths and names that come from outside: relative, plain, and inside the workspace, or refused."""

import re
from pathlib import Path, PurePosixPath
from typing import Final

from expunge.errors import AttackSuspected

MAX_LENGTH: Final = 1024
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
# Backslashes, colons and control characters mean something on one system or another.
_FORBIDDEN: Final = re.compile(r"[\x00-\x1f\x7f\\:]")


def relative(text: str) -> PurePosixPath:
    """The path in `text`, which must be relative, without `.`, `..`, empty parts and characters with a meaning.

    **Raises:** `AttackSuspected("unsafe-path")`.

    >>> relative("receipts/r1.bundle.json")
    PurePosixPath('receipts/r1.bundle.json')
    """
    parts = text.split("/")
    if not text or len(text.encode(errors="replace")) > MAX_LENGTH or _FORBIDDEN.search(text):
        raise AttackSuspected("unsafe-path", "a path is empty, too long, or has characters that no path needs")
    if any(part in ("", ".", "..") for part in parts) or not _is_text(text):
        raise AttackSuspected("unsafe-path", "a path is absolute, or leads out of its folder")
    return PurePosixPath(*parts)


def inside(root: Path, text: str) -> Path:
    """The file that `text` names under `root`; no part of the way below `root` may be a link.

    **Raises:** `AttackSuspected("unsafe-path")`.
    """
    path = root
    for part in relative(text).parts:
        path = path / part
        if path.is_symlink():
            raise AttackSuspected("unsafe-path", "a path leads through a link")
    return path


def digest(text: str) -> str:
    """`text`, when it is a SHA-256 digest in lower-case hex.

    **Raises:** `AttackSuspected("unsafe-path")`: digests name files.
    """
    if not _DIGEST.fullmatch(text):
        raise AttackSuspected("unsafe-path", "a digest is 64 lower-case hex digits")
    return text


def _is_text(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
