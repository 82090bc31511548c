"""Remove a person's data from a trained PyTorch model on request, and prove it."""

__version__ = "0.1.0"
