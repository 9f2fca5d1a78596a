"""Weighted sums of neighbours' rows over a block, and the gradient of their weights."""

from typing import Any

import torch
from torch import Tensor

from fullgraph.errors import InputError
from fullgraph.ops import native
from fullgraph.ops.checks import check, check_block
from fullgraph.ops.dtypes import accumulator
from fullgraph.ops.operators import operator
from fullgraph.ops.reference import add_rows, rows_of


def _check_spmm(given: dict[str, Any]) -> Tensor:
    x, out, weight = given["x"], given["out"], given["weight"]
    check_block(given["indptr"], given["indices"], given["edge_ids"], out.size(0))
    device = given["indptr"].device
    check("x", x, [-1, -1], x.dtype, device)
    check("out", out, [-1, x.size(1)], _or_float32(x.dtype, out.dtype), device)
    if weight is not None:
        given["weight"] = weight = weight.unsqueeze(1) if weight.dim() == 1 else weight
        _check_edge_array("weight", weight, x.size(1), given, _or_float32(x.dtype, weight.dtype))
        given["weight"] = weight.to(accumulator(x.dtype))
    return x


def _check_sddmm(given: dict[str, Any]) -> Tensor:
    left, device = given["left"], given["indptr"].device
    check_block(given["indptr"], given["indices"], given["edge_ids"], left.size(0))
    check("left", left, [-1, -1], left.dtype, device)
    check("right", given["right"], [-1, left.size(1)], left.dtype, device)
    _check_edge_array("out", given["out"], left.size(1), given, left.dtype)
    return left


def _or_float32(dtype: torch.dtype, given: torch.dtype) -> torch.dtype:
    """What a tensor beside one of this dtype must be: the same, but float32 may stand beside bfloat16."""
    return given if dtype == torch.bfloat16 and given == torch.float32 else dtype


def _check_edge_array(name: str, tensor: Tensor, width: int, given: dict[str, Any], dtype: torch.dtype) -> None:
    num_edges = given["indices"].numel() if given["edge_ids"] is None else -1
    check(name, tensor, [num_edges, -1], dtype, given["indices"].device)
    num_heads = tensor.size(1)
    if num_heads < 1 or width % num_heads != 0:
        raise InputError(f"the width, {width}, must be a multiple of the number of heads of {name}: {num_heads}")


@operator(_check_spmm, changes="out", runs=native.sums)
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
    if overwrites:
        out.zero_()
    messages = x[indices.long()].to(accumulator(x.dtype))
    if weight is not None:
        weight = weight.unsqueeze(1) if weight.dim() == 1 else weight
        weights = weight if edge_ids is None else weight[edge_ids]
        messages = (_by_head(messages, weight.size(1)) * weights.unsqueeze(2)).flatten(1)
    add_rows(out, rows_of(indptr), messages)


@operator(_check_sddmm, changes="out")
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
    dots = _by_head(left[rows_of(indptr)] * right[indices.long()], out.size(1)).sum(2)
    if edge_ids is None:
        out += dots
    else:
        out.index_add_(0, edge_ids, dots)


def _by_head(x: Tensor, num_heads: int) -> Tensor:
    return x.unflatten(1, (num_heads, x.size(1) // num_heads))
