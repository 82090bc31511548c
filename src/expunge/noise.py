"""Noise that nobody can draw again: normal numbers from the operating system's randomness.

Not from a seed: torch's CPU generator keeps 32 bits of one, so that whoever has a noisy model could try all its seeds
and take the noise off; with the noise goes the guarantee.
"""

import hashlib
import os
from typing import TYPE_CHECKING

from expunge.errors import ProgrammerError

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

KEY_BYTES = 32
"""Of a key, at least: what nobody can try out."""


def normal(count: int, key: bytes | None = None, name: str = "") -> "Float[np.ndarray, ' count']":
    """Independent standard normal numbers in double precision, by Box and Muller from 53 random bits each.

    Nothing lies beyond 8.6 standard deviations, where the true share is 1e-17.

    **Arguments:**

    - `key`: `None` for the operating system's randomness; else the numbers are those of the stream `name` of this key
      (SHAKE-256), for who must draw them again.

    **Raises:** `ProgrammerError("bad-hyperparameter")` for a key of less than 32 bytes.
    """
    import numpy as np

    if key is not None and len(key) < KEY_BYTES:
        raise ProgrammerError("bad-hyperparameter", f"a noise key has {KEY_BYTES} bytes or more, not {len(key)}")
    pairs = -(-count // 2)
    size = 16 * pairs
    raw = os.urandom(size) if key is None else hashlib.shake_256(key + b"/" + name.encode()).digest(size)
    first, second = ((np.frombuffer(raw, "<u8") >> np.uint64(11)) * 2.0**-53).reshape(2, pairs)
    length = np.sqrt(-2 * np.log1p(-first))
    drawn = np.concatenate([length * np.cos(2 * np.pi * second), length * np.sin(2 * np.pi * second)])
    return drawn[:count]
