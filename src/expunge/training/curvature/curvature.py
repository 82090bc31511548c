"""Hessian, Gauss-Newton and Fisher times vector, on the flat parameter vector, without forming a matrix."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.func import functional_call, jvp, vjp, vmap

from expunge.errors import ProgrammerError
from expunge.networks import Layout, layout
from expunge.records import Records
from expunge.training.recipe import CrossEntropy, SquaredError

CHUNK = 2048
"""Records in one pass of a product."""

DENSE_LIMIT = 8000
"""Parameters up to which the matrix may be formed (512 MB in float64)."""


class CurvatureKind(StrEnum):
    """Which matrix of the mean loss."""

    HESSIAN = "hessian"
    """Second derivatives."""

    GAUSS_NEWTON = "gauss-newton"
    """J' H_out J; for cross-entropy also the true Fisher matrix. Never indefinite."""

    FISHER = "fisher"
    """The empirical Fisher matrix: mean of g g' over the gradients g of single records. Never indefinite."""


@dataclass(frozen=True, eq=False)
class Curvature:
    """The matrix (curvature of the *mean* loss over the records) + `damping` times identity, as an operator.

    The network is taken in evaluation mode: buffers stay as they are. Weight decay is not in the loss: whoever trains
    with (c/2)|w|^2 adds c to `damping`.

    **Arguments:**

    - `module`: the network; its weights are not used, nor changed.
    - `parameters`: the point, in the order of `networks.layout(module)`; its dtype is that of all arithmetic.
    - `features`, `targets`: the records.
    - `damping`: lambda; contributes exactly lambda v to each product.
    - `kept`: records up to which the graph of the gradient stays in memory: Hessian products then cost half.

    **Raises:** `ProgrammerError("bad-shape")`.
    """

    module: nn.Module
    parameters: Float[Tensor, " parameters"]
    features: Float[Tensor, "records *shape"]
    targets: Shaped[Tensor, " records"]
    loss: CrossEntropy | SquaredError = CrossEntropy()
    damping: float = 0.0
    kind: CurvatureKind = CurvatureKind.HESSIAN
    kept: int = 4096

    def __post_init__(self) -> None:
        if len(self.parameters) != self.layout.size or not len(self.features):
            raise ProgrammerError("bad-shape", f"{len(self.parameters)} parameters and {len(self.features)} records")

    @staticmethod
    def of(
        module: nn.Module,
        records: Records,
        loss: CrossEntropy | SquaredError | None = None,
        *,
        damping: float = 0.0,
        kind: CurvatureKind = CurvatureKind.HESSIAN,
    ) -> "Curvature":
        """At the weights of `module`, over all of `records` (pass `records.train` for the training part)."""
        point = layout(module).flatten(dict(module.named_parameters())).detach().clone()
        features = records.features.to(point.dtype)
        targets = records.targets.to(point.dtype) if records.targets.is_floating_point() else records.targets
        return Curvature(module, point, features, targets, loss or CrossEntropy(), damping, kind)

    @property
    def size(self) -> int:
        """Number of parameters."""
        return len(self.parameters)

    @cached_property
    def layout(self) -> Layout:
        """Where each parameter stands."""
        return layout(self.module)

    @cached_property
    def gradient(self) -> Float[Tensor, " parameters"]:
        """Gradient of the mean loss, without any regulariser; with `kept`, from the graph that products walk."""
        total = torch.zeros_like(self.parameters)
        if self.kind is CurvatureKind.HESSIAN and len(self.features) <= self.kept:
            return sum((slope.detach() for _, slope in self._graphs), total)
        for rows in self._chunks():
            point = self.parameters.clone().requires_grad_()
            total += torch.autograd.grad(self._mean(point, rows) * self._share(rows), point)[0]
        return total

    def product(self, vectors: Float[Tensor, "*batch parameters"]) -> Float[Tensor, "*batch parameters"]:
        """The matrix, damping included, times one vector or each row of many."""
        one = vectors.dim() == 1
        found = self._products(vectors[None] if one else vectors)
        return (found[0] if one else found) + self.damping * vectors

    def dense(self) -> Float[Tensor, "parameters parameters"]:
        """The matrix itself, for small networks.

        **Raises:** `ProgrammerError("too-large")` above 8,000 parameters.
        """
        if self.size > DENSE_LIMIT:
            raise ProgrammerError("too-large", f"the matrix of {self.size} parameters would not fit in memory")
        eye = torch.eye(self.size, dtype=self.parameters.dtype)
        found = torch.cat([self.product(part) for part in eye.split(64)])
        return (found + found.T) / 2

    def solve(self, rhs: Float[Tensor, " parameters"]) -> Float[Tensor, " parameters"]:
        """The exact solution of (matrix) x = rhs, for small networks.

        **Raises:** `ProgrammerError("indefinite-curvature")` unless the damped matrix is positive definite; as `dense`.
        """
        factor, failed = torch.linalg.cholesky_ex(self.dense())
        if int(failed):
            raise ProgrammerError("indefinite-curvature", "the damped matrix is not positive definite")
        return torch.cholesky_solve(rhs[:, None], factor)[:, 0]

    def on(self, rows: Int[Tensor, " rows"]) -> "Curvature":
        """The same over some of the records: a batch."""
        return replace(self, features=self.features[rows], targets=self.targets[rows], kept=0)

    def _products(self, vectors: Tensor) -> Tensor:
        if self.kind is CurvatureKind.HESSIAN:
            return self._hessian(vectors)
        single = self._gauss_newton if self.kind is CurvatureKind.GAUSS_NEWTON else self._fisher
        total = torch.zeros_like(vectors)
        with warnings.catch_warnings():  # torch's own first use of forward mode warns of its own internals
            warnings.simplefilter("ignore", DeprecationWarning)
            for rows in self._chunks():
                total += vmap(single(rows))(vectors) * self._share(rows)
        return total

    def _hessian(self, vectors: Tensor) -> Tensor:
        total = torch.zeros_like(vectors)
        kept = self._graphs if len(self.features) <= self.kept else map(self._graph, self._chunks())
        for point, slope in kept:
            if len(vectors) == 1:
                total[0] += torch.autograd.grad(slope, point, vectors[0], retain_graph=True)[0]
            else:
                total += torch.autograd.grad(slope, point, vectors, retain_graph=True, is_grads_batched=True)[0]
        return total

    @cached_property
    def _graphs(self) -> list[tuple[Tensor, Tensor]]:
        """Made once: a product at the same point then only walks back through the gradient."""
        return [self._graph(rows) for rows in self._chunks()]

    def _graph(self, rows: slice) -> tuple[Tensor, Tensor]:
        point = self.parameters.clone().requires_grad_()
        return point, torch.autograd.grad(self._mean(point, rows) * self._share(rows), point, create_graph=True)[0]

    def _gauss_newton(self, rows: slice) -> Callable[[Tensor], Tensor]:
        def product(vector: Tensor) -> Tensor:
            pushed: tuple[Any, ...] = jvp(lambda point: self._outputs(point, rows), (self.parameters,), (vector,))
            slope = torch.func.grad(lambda out: self.loss.mean(out, self.targets[rows]))
            curved = jvp(slope, (pushed[0],), (pushed[1],))[1]
            return _back(vjp(lambda point: self._outputs(point, rows), self.parameters), curved)

        return product

    def _fisher(self, rows: slice) -> Callable[[Tensor], Tensor]:
        def losses(point: Tensor) -> Tensor:
            return self.loss.per_record(self._outputs(point, rows), self.targets[rows])

        def product(vector: Tensor) -> Tensor:
            slopes = jvp(losses, (self.parameters,), (vector,))[1]
            return _back(vjp(losses, self.parameters), slopes / len(slopes))

        return product

    def _mean(self, point: Tensor, rows: slice) -> Tensor:
        return self.loss.mean(self._outputs(point, rows), self.targets[rows])

    def _outputs(self, point: Tensor, rows: slice) -> Tensor:
        was = self.module.training
        self.module.eval()
        try:
            found: Tensor = functional_call(self.module, self.layout.unflatten(point), (self.features[rows],))
        finally:
            self.module.train(was)
        return found

    def _chunks(self) -> Iterator[slice]:
        return (slice(first, min(first + CHUNK, len(self.features))) for first in range(0, len(self.features), CHUNK))

    def _share(self, rows: slice) -> float:
        return float((rows.stop - rows.start) / len(self.features))


def _back(pulled: tuple[Any, ...], cotangent: Tensor) -> Tensor:
    """The cotangent carried back to the parameters, by what `vjp` gave."""
    found: Tensor = pulled[1](cotangent)[0]
    return found
