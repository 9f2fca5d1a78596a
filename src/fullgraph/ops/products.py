"""Products of rows and a matrix, the dense part of every layer; float32 on a CPU goes to oneDNN.

torch gives these products to MKL, which uses the widest registers on its maker's processors only. oneDNN, which torch
brings too, uses them on all: two to three times the speed on an AMD EPYC (benchmarks/results/products.md).
Everything that oneDNN does not take goes the way of torch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_AT_ONCE = (1 << 20) - (1 << 12)
"""Bytes of rows whose outer products are summed at a time. They are copied the other way round: more would leave the
cache, and from 1 MiB on every copy would be mapped anew (`comm.allocator`)."""


def by_onednn(rows: Tensor, matrix: Tensor) -> bool:
    """Whether oneDNN multiplies tensors like these: float32 ``[n, F]`` and ``[G, F]`` on a CPU, not empty."""
    return (
        rows.dim() == matrix.dim() == 2
        and rows.dtype == matrix.dtype == torch.float32
        and rows.device.type == matrix.device.type == "cpu"
        and rows.size(1) == matrix.size(1)
        and rows.numel() > 0
        and matrix.numel() > 0
        and torch.backends.mkldnn.is_available()
        and bool(torch.backends.mkldnn.enabled)
    )


def product(rows: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """``rows @ matrix.T + bias``; autograd does not follow it.

    Args:
        rows: ``[n, F]``.
        matrix: ``[G, F]``, in any order of memory.
        bias: ``[G]`` or None.

    Returns:
        ``[n, G]``, new.
    """
    if not by_onednn(rows, matrix):
        return F.linear(rows, matrix, bias)
    return torch.ops.mkldnn._linear_pointwise(rows, matrix, bias, "none", [], "")


def outer_sum(left: Tensor, right: Tensor) -> Tensor:
    """``left.T @ right``: the sum of the outer products of two tensors' rows; autograd does not follow it.

    Args:
        left: ``[n, G]``.
        right: ``[n, F]``.

    Returns:
        ``[G, F]``, new.
    """
    if len(left) != len(right) or not by_onednn(right, right) or left.dtype != right.dtype or left.dim() != 2:
        return left.T @ right
    num_rows = max(1, _AT_ONCE // (4 * max(left.size(1), right.size(1))))
    total = None
    for some, same in zip(left.split(num_rows), right.split(num_rows), strict=True):
        summed = product(some.T, same.T)
        total = summed if total is None else total.add_(summed)
    assert total is not None  # there are rows
    return total
