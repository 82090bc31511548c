"""What a recipe knows of a network: a frozen description that builds a fresh `nn.Module` for given shapes."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from expunge.errors import ExpungeError, ProgrammerError
from expunge.networks.parameters import layout
from expunge.randomness import derive


@runtime_checkable
class Network(Protocol):
    """A frozen dataclass whose fields are the architecture."""

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """A freshly initialised module from `[records, *shape]` to `[records, classes]` (`[records, 1]` if 0)."""


def initialise(network: Network, shape: tuple[int, ...], classes: int, *, seed: int, name: str) -> nn.Module:
    """Build with initial weights that depend on `(seed, name)` alone; the global generator is left as it was.

    **Raises:** `ProgrammerError("unknown-network" | "no-parameters")`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, f"{name}/init"))  # torch.manual_seed logs a stack for CUDA
        module = network.build(shape, classes)
    if not isinstance(module, nn.Module):
        raise ProgrammerError("unknown-network", f"the factory returned a {type(module).__name__}, not an nn.Module")
    layout(module)
    return module


def check_fit(module: nn.Module, record: torch.Tensor, classes: int) -> None:
    """Run one record `[1, *shape]` through the module, so that a misfit shows before training does.

    The module is left in evaluation mode.

    **Raises:** `ProgrammerError("bad-shape")` where it is refused, or the output is not `[1, classes]`.
    """
    try:
        with torch.no_grad():
            outputs = module.eval()(record)
    except RuntimeError as error:
        raise ProgrammerError("bad-shape", f"the network refuses the records: {str(error).splitlines()[0]}") from None
    if tuple(outputs.shape) != (1, max(classes, 1)):
        raise ProgrammerError("bad-shape", f"the network puts out {list(outputs.shape)}, not [1, {max(classes, 1)}]")


def needs_two_records(module: nn.Module) -> bool:
    """Whether a training batch of one would break the module (batch normalisation)."""
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())


@dataclass(frozen=True)
class Imported:
    """A user's own factory, named `module:name`, called with `arguments` (and nothing else).

    **Raises:** `ProgrammerError("unknown-network")` from `build` when it cannot be imported or called.
    """

    factory: str
    arguments: Mapping[str, object] = field(default_factory=dict)

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """Import the factory and call it."""
        del shape, classes
        return _call(_resolve(self.factory), dict(self.arguments), self.factory)


@dataclass(frozen=True)
class InPython:
    """A factory handed over as an object, for use from Python; logs and receipts name it only.

    A callable has no plain form, so that a workspace needs `Imported` instead.
    """

    factory: Callable[[], nn.Module]

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """Call the factory."""
        del shape, classes
        return _call(self.factory, {}, getattr(self.factory, "__qualname__", repr(self.factory)))


def _resolve(path: str) -> Callable[..., object]:
    module, _, name = path.partition(":")
    if not (module and name):
        raise ProgrammerError("unknown-network", f"{path[:60]!r} is neither a known network nor module:factory")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # a user's module runs here: whatever it raises is for its author
        raise ProgrammerError(
            "unknown-network", f"cannot import {path[:60]!r}: {type(error).__name__}: {error}"
        ) from None
    if not callable(found):
        raise ProgrammerError("unknown-network", f"{path[:60]!r} is not callable")
    return found  # type: ignore[no-any-return]


def _call(factory: Callable[..., object], arguments: dict[str, object], name: str) -> nn.Module:
    try:
        module = factory(**arguments)
    except ExpungeError:
        raise
    except Exception as error:
        raise ProgrammerError(
            "unknown-network", f"factory {name[:60]} failed: {type(error).__name__}: {error}"
        ) from None
    if not isinstance(module, nn.Module):
        raise ProgrammerError("unknown-network", f"factory {name[:60]} returned a {type(module).__name__}")
    return module
