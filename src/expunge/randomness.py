"""One seed in, every stream of randomness derived from it by name.

`derive(7, "shard/3/init")` is the same number on every platform and in every process, and streams with different
names are independent for all practical purposes (SHA-256).
"""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch

SEED_LIMIT = 2**63
"""Seeds are integers in [0, SEED_LIMIT)."""


def derive(seed: int, name: str) -> int:
    """The seed of the stream called `name`: the first 63 bits of SHA-256 over both.

    >>> derive(0, "init") == derive(0, "init"), derive(0, "init") == derive(1, "init")
    (True, False)
    """
    digest = hashlib.sha256(f"expunge/{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def torch_generator(seed: int, name: str) -> "torch.Generator":
    """A CPU `torch.Generator` for the stream `name`: draw on the CPU, then move, so that devices agree."""
    import torch

    return torch.Generator().manual_seed(derive(seed, name))


def numpy_generator(seed: int, name: str) -> "np.random.Generator":
    """A NumPy generator (PCG64) for the stream `name`."""
    import numpy as np

    return np.random.default_rng(derive(seed, name))
