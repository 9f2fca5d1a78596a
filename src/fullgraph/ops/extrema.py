"""Running maximum and minimum of neighbours' rows over a block, with ties counted so that backward can share evenly."""

import torch
from torch import Tensor

from fullgraph.ops import reference
from fullgraph.ops.checks import check, check_block
from fullgraph.ops.operators import operator


@operator(reference.extremum, "value", "count")
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
    check_block(indptr, indices, None, value.size(0))
    check("x", x, [-1, -1], x.dtype, indptr.device)
    check("value", value, [-1, x.size(1)], x.dtype, indptr.device)
    check("count", count, list(value.shape), torch.int32, indptr.device)


@operator(reference.extremum_backward, "out")
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
    check_block(indptr, indices, None, out.size(0))
    check("x", x, [out.size(0), -1], x.dtype, indptr.device)
    check("value", value, [-1, x.size(1)], x.dtype, indptr.device)
    check("grad", grad, list(value.shape), x.dtype, indptr.device)
    check("out", out, list(x.shape), x.dtype, indptr.device)
