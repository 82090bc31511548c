"""Remove a person's data from a trained PyTorch model on request, and prove it."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from expunge.records import Records, load
    from expunge.training import Recipe, train
    from expunge.unlearning import adopt, unlearn

__version__ = "0.1.0"

__all__ = ["Recipe", "Records", "__version__", "adopt", "load", "train", "unlearn"]

_HOMES = {
    "Recipe": "expunge.training",
    "Records": "expunge.records",
    "adopt": "expunge.unlearning",
    "load": "expunge.records",
    "train": "expunge.training",
    "unlearn": "expunge.unlearning",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: `import expunge` itself stays free of torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'expunge' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
