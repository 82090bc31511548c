"""Sparse tensors in a file: the values that are not zero, and a bit for each place."""

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

from expunge.errors import AttackSuspected

BITS, VALUES = "#bits", "#values"


def packed(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, list[int]]]:
    """The tensors, those of which at least half is zero in two parts each, and the shapes of these."""
    found: dict[str, Tensor] = {}
    shapes: dict[str, list[int]] = {}
    for name, tensor in tensors.items():
        there = tensor != 0
        if tensor.dim() < 2 or 2 * int(there.sum()) > tensor.numel():
            found[name] = tensor
            continue
        shapes[name] = list(tensor.shape)
        found[name + BITS] = torch.from_numpy(np.packbits(there.numpy().reshape(-1)))
        found[name + VALUES] = tensor[there].contiguous()
    return found, shapes


def unpacked(tensors: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """The inverse.

    **Raises:** `AttackSuspected("malformed-model")` where parts are missing or do not fit each other.
    """
    found = {name: tensor for name, tensor in tensors.items() if name.removesuffix(BITS).removesuffix(VALUES) == name}
    for name, shape in shapes.items():
        bits, values = tensors.get(name + BITS), tensors.get(name + VALUES)
        size = prod(shape)
        if bits is None or values is None or bits.dtype != torch.uint8 or len(bits) != -(-size // 8):
            raise AttackSuspected("malformed-model", "a sparse weight of the model file lacks a part")
        there = torch.from_numpy(np.unpackbits(bits.numpy(), count=size).astype(bool))
        if int(there.sum()) != values.numel():
            raise AttackSuspected("malformed-model", "a sparse weight of the model file has values too many or too few")
        tensor = torch.zeros(size, dtype=values.dtype)
        tensor[there] = values.reshape(-1)
        found[name] = tensor.view(*shape)
    return found
