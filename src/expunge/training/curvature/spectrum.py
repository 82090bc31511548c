"""The ends of an operator's spectrum by the Lanczos process."""

from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.randomness import torch_generator
from expunge.training.curvature.conjugate_gradient import Product


@dataclass(frozen=True)
class Extremes:
    """Largest and least Ritz value; each is within its `residual` of *an* eigenvalue.

    Ritz values lie inside the spectrum: `top` is a lower bound on the largest eigenvalue and `least` an upper bound on
    the smallest. They are estimates; `lower` and `upper` put the residual on the safe side, which makes them likely,
    not certain, bounds. A theorem must not rest on them.
    """

    top: float
    least: float
    top_residual: float
    least_residual: float
    products: int

    @property
    def upper(self) -> float:
        """`top` plus its residual."""
        return self.top + self.top_residual

    @property
    def lower(self) -> float:
        """`least` minus its residual."""
        return self.least - self.least_residual


def extreme_eigenvalues(
    product: Product, size: int, *, steps: int = 40, seed: int = 0, dtype: torch.dtype = torch.float32
) -> Extremes:
    """Both ends of the spectrum of a symmetric operator on vectors of `size`, from `steps` products.

    Full reorthogonalisation; starts from a Gaussian vector of the stream `curvature/lanczos`.
    Source: Golub and Van Loan, Matrix Computations, section 10.1.
    """
    vector = torch.randn(size, generator=torch_generator(seed, "curvature/lanczos"), dtype=torch.float64).to(dtype)
    basis = [vector / vector.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(min(steps, size)):
        image = product(basis[-1])
        diagonal.append(float(image @ basis[-1]))
        held = torch.stack(basis)
        for _ in range(2):  # twice is enough (Kahan and Parlett)
            image = image - held.T @ (held @ image)
        length = float(image.norm())
        beside.append(length)
        if length <= 1e-6 * max(map(abs, diagonal)) * (1e-6 if dtype is torch.float64 else 1):
            break
        basis.append(image / length)
    return _ends(diagonal, beside)


def _ends(diagonal: list[float], beside: list[float]) -> Extremes:
    inner = torch.tensor(beside[:-1], dtype=torch.float64)
    matrix: Tensor = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    if len(inner):
        matrix = matrix + torch.diag(inner, 1) + torch.diag(inner, -1)
    values, vectors = torch.linalg.eigh(matrix)
    errors = (vectors[-1] * beside[-1]).abs()
    return Extremes(float(values[-1]), float(values[0]), float(errors[-1]), float(errors[0]), len(diagonal))
