"""The naive twins of ops that make tensors, in plain torch: what kernels are tested against, and other devices run.

They have the ops' own signatures, which document them. An op over a block is its own twin (`fullgraph.ops.operators`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.ops.dtypes import accumulator
from fullgraph.ops.keep import keep_scale, threshold


def rows_of(indptr: Tensor) -> Tensor:
    """int64 [nnz]: the row of each entry of a CSR block."""
    counts = indptr.diff()
    return torch.repeat_interleave(torch.arange(counts.numel(), device=indptr.device), counts)


def add_rows(out: Tensor, rows: Tensor, values: Tensor) -> None:
    """out[rows[e]] += values[e], summed in the dtype of the values and rounded once to out's."""
    if out.dtype == values.dtype:
        out.index_add_(0, rows, values)
    else:
        out.copy_(out.to(values.dtype).index_add(0, rows, values))


def dropout(x: Tensor, p: float, key: int, row_ids: Tensor) -> Tensor:
    columns = torch.arange(x.size(1), device=x.device)
    keep = keep_mask(key, row_ids.unsqueeze(1), columns, p)
    return torch.where(keep, x * keep_scale(p), torch.zeros_like(x))


def keep_mask(key: int, row_ids: Tensor, columns: Tensor, p: float) -> Tensor:
    """Whether dropout keeps (row id, column): the hash of csrc/keep.h, bit for bit.

    Args:
        row_ids, columns: int64, of shapes that broadcast.

    Returns:
        bool, of the broadcast shape.
    """
    z = key + row_ids * _signed(0x9E3779B97F4A7C15) + columns * _signed(0xD1B54A32D192ED03)
    z = (z ^ _shift_right(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shift_right(z, 27)) * _signed(0x94D049BB133111EB)
    z = z ^ _shift_right(z, 31)
    return _shift_right(z, 40) >= threshold(p)


def mark_nonzero(x: Tensor) -> tuple[Tensor, int]:
    is_there = _as_integers(x) != 0
    words = F.pad(is_there, (0, -is_there.numel() % 64)).view(-1, 64).long()
    return (words << torch.arange(64, device=x.device)).sum(1), int(is_there.sum())


def pack_nonzero(x: Tensor, bits: Tensor, count: int) -> Tensor:
    values = x.view(-1)[_marked(bits, x.numel())]
    assert len(values) == count
    return values


def unpack_nonzero(bits: Tensor, x: Tensor) -> None:
    numbers, is_there = _as_integers(x), _marked(bits, x.numel())
    values = numbers[: int(is_there.sum())].clone()
    numbers.zero_()[is_there] = values


def _signed(bits: int) -> int:
    return bits - (1 << 64) if bits >= 1 << 63 else bits


def _shift_right(z: Tensor, bits: int) -> Tensor:
    return (z >> bits) & ((1 << (64 - bits)) - 1)  # torch's shift copies the sign bit; the mask clears it


def _as_integers(x: Tensor) -> Tensor:
    return x.view(-1).view({2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()])


def _marked(bits: Tensor, length: int) -> Tensor:
    return ((bits.unsqueeze(1) >> torch.arange(64, device=bits.device)) & 1).view(-1)[:length].bool()


def head_dots(left: Tensor, right: Tensor) -> Tensor:
    return torch.einsum("nhc,nhc->nh", left, right)  # no product as large as they are


def column_sums(x: Tensor) -> Tensor:
    return x.sum(0, dtype=accumulator(x.dtype)).double()


def squared_deviations(x: Tensor, mean: Tensor) -> Tensor:
    return (x - mean).double().square().sum(0)


def gradient_sums(grad: Tensor, x: Tensor, mean: Tensor) -> Tensor:
    return torch.stack([grad.double().sum(0), (grad * (x - mean)).double().sum(0)])


def scaled_deviations(x: Tensor, mean: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return (x - mean) * scale + shift


def combined_gradient(
    grad: Tensor, x: Tensor, mean: Tensor, of_grad: Tensor, of_deviation: Tensor, shift: Tensor
) -> Tensor:
    return grad * of_grad + (x - mean) * of_deviation + shift


def positive_gradient(grad: Tensor, x: Tensor, mean: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return grad.masked_fill(scaled_deviations(x, mean, scale, shift) <= 0, 0)
