"""Products of rows and a matrix, the dense part of every layer; float32 on a CPU goes to oneDNN.

torch gives these products to MKL, which uses the widest registers on its maker's processors only. oneDNN, which torch
brings too, uses them on all: two to three times the speed on an AMD EPYC (benchmarks/results/products.md).
Everything that oneDNN does not take goes the way of torch.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.ops.plain import plain

_AT_ONCE = {"cpu": (1 << 20) - (1 << 12)}
"""Bytes of rows that are worked on at a time, by device: on a CPU what stays in its cache, and below 1 MiB, because
from there on every tensor would be mapped anew (`comm.allocator`)."""

_AT_ONCE_ELSEWHERE = 1 << 26


def some_at_a_time(rows: Tensor, width: int) -> Iterator[slice]:
    """Which rows to work on at a time, where what is read or made of each has at most ``width`` numbers."""
    at_once = _AT_ONCE.get(rows.device.type, _AT_ONCE_ELSEWHERE)
    num_rows = max(1, at_once // (rows.element_size() * max(1, width)))
    return (slice(first, first + num_rows) for first in range(0, len(rows), num_rows))


@plain
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


@plain
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


@plain
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
    total = None
    for places in some_at_a_time(right, max(left.size(1), right.size(1))):  # they are copied the other way round
        summed = product(left[places].T, right[places].T)
        total = summed if total is None else total.add_(summed)
    assert total is not None  # there are rows
    return total
