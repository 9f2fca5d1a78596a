"""The naive twin of every op, in plain torch: what kernels are tested against, and what other devices and dtypes run.

Twins have the ops' own signatures (`fullgraph.ops` documents them) and also add into the tensors they are given. They
allocate tensors with a row per edge, of the full width; that is what the kernels exist to avoid. Autograd can follow
them. Those of attention are in `fullgraph.ops.reference_attention`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.ops.keep import keep_scale, threshold


def rows_of(indptr: Tensor) -> Tensor:
    """int64 [nnz]: the row of each entry of a CSR block."""
    counts = indptr.diff()
    return torch.repeat_interleave(torch.arange(counts.numel(), device=indptr.device), counts)


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """What numbers of this dtype are summed in: float32 for bfloat16, else themselves."""
    return torch.float32 if dtype == torch.bfloat16 else dtype


def spmm(
    indptr: Tensor,
    indices: Tensor,
    x: Tensor,
    out: Tensor,
    *,
    weight: Tensor | None = None,
    edge_ids: Tensor | None = None,
    overwrites: bool = False,
) -> None:
    if overwrites:
        out.zero_()
    messages = x[indices.long()].to(accumulator(x.dtype))
    if weight is not None:
        weight = weight.unsqueeze(1) if weight.dim() == 1 else weight
        per_head = _by_head(messages, weight.size(1)) * _per_entry(weight, indices, edge_ids).unsqueeze(2)
        messages = per_head.flatten(1)
    if out.dtype == messages.dtype:
        out.index_add_(0, rows_of(indptr), messages)
    else:
        out.copy_(out.to(messages.dtype).index_add(0, rows_of(indptr), messages))


def sddmm(
    indptr: Tensor, indices: Tensor, left: Tensor, right: Tensor, out: Tensor, *, edge_ids: Tensor | None = None
) -> None:
    products = left[rows_of(indptr)] * right[indices.long()]
    dots = _by_head(products, out.size(1)).sum(2)
    out.index_add_(0, _entry_ids(indices, edge_ids), dots)


def extremum(indptr: Tensor, indices: Tensor, x: Tensor, value: Tensor, count: Tensor, *, largest: bool) -> None:
    rows, messages = rows_of(indptr), x[indices.long()]
    index, reduce = rows.unsqueeze(1).expand_as(messages), "amax" if largest else "amin"
    best = value.scatter_reduce(0, index, messages, reduce)
    ties = (messages == best[rows]) | (messages.isnan() & best[rows].isnan())
    unchanged = (best == value) | (best.isnan() & value.isnan())
    count.mul_(unchanged.to(count.dtype)).index_add_(0, rows, ties.to(count.dtype))
    value.copy_(best)


def extremum_backward(indptr: Tensor, indices: Tensor, x: Tensor, value: Tensor, grad: Tensor, out: Tensor) -> None:
    rows, columns = rows_of(indptr), indices.long()
    chosen = x[rows] == value[columns]
    out.index_add_(0, rows, torch.where(chosen, grad[columns], torch.zeros_like(grad[columns])))


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


def _by_head(x: Tensor, num_heads: int) -> Tensor:
    return x.unflatten(1, (num_heads, x.size(1) // num_heads))


def _entry_ids(indices: Tensor, edge_ids: Tensor | None) -> Tensor:
    return torch.arange(indices.numel(), device=indices.device) if edge_ids is None else edge_ids


def _per_entry(edge_array: Tensor, indices: Tensor, edge_ids: Tensor | None) -> Tensor:
    return edge_array[_entry_ids(indices, edge_ids)]


def _as_integers(x: Tensor) -> Tensor:
    return x.view(-1).view({2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()])


def _marked(bits: Tensor, length: int) -> Tensor:
    return ((bits.unsqueeze(1) >> torch.arange(64, device=bits.device)) & 1).view(-1)[:length].bool()


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
