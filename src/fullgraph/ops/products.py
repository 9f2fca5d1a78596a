"""Products of rows and a matrix, the dense part of every layer; float32 on a CPU goes to oneDNN where that is faster.

Everything that oneDNN does not take goes the way of torch.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.ops.blas import blas, onednn_product
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
def chooses_blas(rows: Tensor, matrix: Tensor) -> bool:
    """Whether there is a choice of who multiplies: for float32 ``[n, F]`` and ``[G, F]`` on a CPU, not empty."""
    return (
        rows.dim() == matrix.dim() == 2
        and rows.dtype == matrix.dtype == torch.float32
        and rows.device.type == matrix.device.type == "cpu"
        and rows.size(1) == matrix.size(1)
        and rows.numel() > 0
        and matrix.numel() > 0
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
    if chooses_blas(rows, matrix) and _is_onednn():
        return onednn_product(rows, matrix, bias)
    return F.linear(rows, matrix, bias)


@plain
def outer_sum(left: Tensor, right: Tensor) -> Tensor:
    """``left.T @ right``: the sum of the outer products of two tensors' rows; autograd does not follow it.

    Args:
        left: ``[n, G]``.
        right: ``[n, F]``.

    Returns:
        ``[G, F]``, new.
    """
    fits = len(left) == len(right) and left.dtype == right.dtype and left.dim() == 2
    if not (fits and chooses_blas(right, right)):
        return left.T @ right
    total = right.new_zeros(left.size(1), right.size(1))
    for places in some_at_a_time(right, max(total.shape)):
        add_outer_sum(total, left[places], right[places])
    return total


@plain
def add_outer_sum(total: Tensor, left: Tensor, right: Tensor) -> None:
    """``total += left.T @ right``, of rows that are some of all: as `outer_sum` adds them, to the last bit.

    Args:
        total: ``[G, F]``, added into.
        left: ``[n, G]``.
        right: ``[n, F]``.
    """
    if chooses_blas(right, right) and _is_onednn():
        total.add_(onednn_product(left.T, right.T))  # which copies both the other way round
    else:
        total.addmm_(left.T, right)


def _is_onednn() -> bool:
    return bool(torch.backends.mkldnn.enabled) and blas() == "onednn"
