"""The platform: what bytes depend on besides recipe and records, and the settings that training runs under."""

import contextlib
import platform as host
from collections.abc import Iterator

import torch


def fingerprint(threads: int) -> dict[str, str | int]:
    """What decides the bytes of a training run: torch, arithmetic libraries, CPU capability, threads.

    Two runs of one recipe with equal fingerprints give equal bytes; a verifier on another platform needs a tolerance.
    """
    return {
        "torch": torch.__version__,
        "blas": "mkl" if torch.backends.mkl.is_available() else "other",
        "onednn": torch.backends.mkldnn.is_available(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "machine": host.machine(),
        "system": host.system(),
        "threads": threads,
        "dtype": str(torch.get_default_dtype()).removeprefix("torch."),
    }


@contextlib.contextmanager
def deterministic(threads: int) -> Iterator[None]:
    """Deterministic kernels on `threads` threads; the caller's settings come back afterwards.

    One thread is the default everywhere: the networks are small, several processes use the cores better than several
    threads do, and the bytes then do not depend on how many cores a machine has.
    """
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
