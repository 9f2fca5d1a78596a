"""Weighted sums of neighbours' rows over a block, and the gradient of their weights."""

import torch
from torch import Tensor

from fullgraph.errors import InputError
from fullgraph.ops import native, reference
from fullgraph.ops.checks import check, check_block
from fullgraph.ops.operators import operator


@operator(reference.spmm, "out", runs=native.sums)
def spmm(
    indptr: Tensor,
    indices: Tensor,
    x: Tensor,
    out: Tensor,
    *,
    weight: Tensor | None = None,
    edge_ids: Tensor | None = None,
    overwrites: bool = False,
) -> dict[str, Tensor] | None:
    """out[i] += sum over the entries e of row i of w_e * x[indices[e]]; with ``overwrites`` = instead of +=.

    bfloat16 rows are summed in float32, a row's sum is rounded to out's dtype once per call: give a float32 out to
    absorb several blocks without rounding between them.

    Args:
        x: [S, F] source rows.
        out: [n, F], added into, or written (its memory may be anything); of x's dtype, or float32 where x is bfloat16.
        weight: [E], or [E, H] where F is a multiple of H and head h scales its own F / H columns;
            w_e = weight[edge_ids[e]]. Of x's dtype, or float32 where x is bfloat16.

    Raises:
        InputError: on tensors that do not fit together.
    """
    check_block(indptr, indices, edge_ids, out.size(0))
    check("x", x, [-1, -1], x.dtype, indptr.device)
    check("out", out, [-1, x.size(1)], _or_float32(x.dtype, out.dtype), indptr.device)
    if weight is None:
        return None
    weight = weight.unsqueeze(1) if weight.dim() == 1 else weight
    _check_edge_array("weight", weight, x.size(1), indices, edge_ids, _or_float32(x.dtype, weight.dtype))
    return {"weight": weight.to(reference.accumulator(x.dtype))}


def _or_float32(dtype: torch.dtype, given: torch.dtype) -> torch.dtype:
    """What a tensor beside one of this dtype must be: the same, but float32 may stand beside bfloat16."""
    return given if dtype == torch.bfloat16 and given == torch.float32 else dtype


@operator(reference.sddmm, "out")
def sddmm(
    indptr: Tensor, indices: Tensor, left: Tensor, right: Tensor, out: Tensor, *, edge_ids: Tensor | None = None
) -> None:
    """out[edge_ids[e], h] += <left[i], right[indices[e]]> over head h's columns, for each entry e of each row i.

    Args:
        left: [n, F] rows of the block's rows; with `spmm`, the gradient of its out.
        right: [S, F] rows of its columns; with `spmm`, its x.
        out: [E, H] where F is a multiple of H, added into.

    Raises:
        InputError: on tensors that do not fit together.
    """
    check_block(indptr, indices, edge_ids, left.size(0))
    check("left", left, [-1, -1], left.dtype, indptr.device)
    check("right", right, [-1, left.size(1)], left.dtype, indptr.device)
    _check_edge_array("out", out, left.size(1), indices, edge_ids, left.dtype)


def _check_edge_array(
    name: str, tensor: Tensor, width: int, indices: Tensor, edge_ids: Tensor | None, dtype: torch.dtype
) -> None:
    num_edges = indices.numel() if edge_ids is None else -1
    check(name, tensor, [num_edges, -1], dtype, indices.device)
    num_heads = tensor.size(1)
    if num_heads < 1 or width % num_heads != 0:
        raise InputError(f"the width, {width}, must be a multiple of the number of heads of {name}: {num_heads}")
