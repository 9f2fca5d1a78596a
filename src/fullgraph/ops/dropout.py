"""Dropout without a mask: drawn again from (key, global id, column) where needed, alike on any number of ranks."""

import torch
from torch import Tensor

from fullgraph.errors import InputError
from fullgraph.ops import gpu, native, reference
from fullgraph.ops.checks import check, check_key, check_probability
from fullgraph.ops.keep import keep_scale, threshold
from fullgraph.ops.plain import plain


@plain
def dropout(x: Tensor, p: float, key: int, row_ids: Tensor, *, out: Tensor | None = None) -> Tensor:
    """x * keep / (1 - p), where row i, column f is kept by the hash of (key, row_ids[i], f).

    It is linear and diagonal, so its own adjoint: apply it with the same key and row_ids to the gradient.

    Args:
        x: [n, F]; made contiguous if it is not.
        p: the probability of dropping, 0 to 1.
        key: int from 0 to 2**63 - 1.
        row_ids: int64 [n], what identifies a row on every rank.
        out: as x, where the result goes, which may be x itself; None for a new tensor.

    Returns:
        [n, F] of x's dtype.

    Raises:
        InputError: on a probability or key out of range, or tensors that do not fit.
    """
    check_probability(p)
    check_key(key)
    if x.dim() != 2:
        raise InputError(f"x must have the shape [rows, width]: {list(x.shape)}")
    check("row_ids", row_ids, [x.size(0)], torch.int64, x.device)
    x = x.contiguous()
    if out is not None:
        check("out", out, list(x.shape), x.dtype, x.device)
    out = torch.empty_like(x) if out is None else out
    if gpu.runs(x):
        gpu.kernel("dropout")(x, p, key, row_ids, out)
    elif native.sums(x):
        arrays = map(native.array, (x, out, row_ids))
        native.core.dropout(*arrays, key, threshold(p), keep_scale(p), native.threads())
    else:
        out.copy_(reference.dropout(x, p, key, row_ids))
    return out
