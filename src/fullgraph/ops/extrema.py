"""Running maximum and minimum of neighbours' rows over a block, with ties counted so that backward can share evenly."""

import torch
from torch import Tensor

from fullgraph.ops.checks import fits
from fullgraph.ops.operators import operator
from fullgraph.ops.reference import rows_of


@operator(fits("x SF, value nF, count nF*"), changes="value")
def extremum(indptr: Tensor, indices: Tensor, x: Tensor, value: Tensor, count: Tensor, *, largest: bool) -> None:
    """Absorb a block into a running extremum: a better entry replaces `value` and sets `count` to 1, a tie adds 1.

    NaN is better than any number (as in torch's amax), so that it is not lost.

    Args:
        x: [S, F] source rows.
        value: [n, F], updated; starts at -inf for `largest`, else at +inf.
        count: int32 [n, F], updated; starts at 0, and stays 0 exactly where a row has no entry.

    Raises:
        InputError: on tensors that do not fit together.
    """
    rows, messages = rows_of(indptr), x[indices.long()]
    index, reduce = rows.unsqueeze(1).expand_as(messages), "amax" if largest else "amin"
    best = value.scatter_reduce(0, index, messages, reduce)
    ties = (messages == best[rows]) | (messages.isnan() & best[rows].isnan())
    unchanged = (best == value) | (best.isnan() & value.isnan())
    count.mul_(unchanged.to(count.dtype)).index_add_(0, rows, ties.to(count.dtype))
    value.copy_(best)


@operator(fits("x nF, value SF, grad SF, out nF"), changes="out")
def extremum_backward(indptr: Tensor, indices: Tensor, x: Tensor, value: Tensor, grad: Tensor, out: Tensor) -> None:
    """out[i] += sum over the entries e of source row i of (x[i] == value[indices[e]]) * grad[indices[e]].

    The block is the transposed one: rows are sources, columns destinations. For an even split among ties, divide the
    gradient by the final count first.

    Args:
        x: [n, F] source rows.
        value: [S, F] the final extremum of each destination.
        grad: [S, F].
        out: [n, F], added into.

    Raises:
        InputError: on tensors that do not fit together.
    """
    rows, columns = rows_of(indptr), indices.long()
    chosen = x[rows] == value[columns]
    out.index_add_(0, rows, torch.where(chosen, grad[columns], torch.zeros_like(grad[columns])))
