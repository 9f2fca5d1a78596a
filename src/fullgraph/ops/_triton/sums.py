"""Weighted sums of neighbours' rows, and the gradient of their weights."""

import triton
import triton.language as tl
from torch import Tensor

from fullgraph.ops._triton import rows as rows_
from fullgraph.ops._triton.heads import Heads
from fullgraph.ops._triton.rows import entries, in_accumulator, segments_of, some_edges, sum_rows

BYTES_AT_ONCE = 256
"""Of each row, in one pass over the edges: a narrower slice of all rows is more likely to be in the cache."""
EDGES_AT_ONCE = 8


@triton.jit(do_not_specialize=["num_rows"])
def _spmm(
    indptr,
    segments,
    indices,
    edge_ids,
    weight,
    x,
    out,
    num_rows,
    width: tl.constexpr,
    heads: tl.constexpr,
    LIMIT: tl.constexpr,
    OVERWRITES: tl.constexpr,
    EDGES: tl.constexpr,
    COLUMNS: tl.constexpr,
    ACC: tl.constexpr,
):
    _row, first, end = entries(tl.program_id(0), indptr, segments, num_rows, LIMIT)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    is_column = columns < width
    head = columns // (width // heads)
    total = tl.zeros((EDGES, COLUMNS), ACC)
    for start in range(first, end, EDGES):
        is_edge, source, ids = some_edges(indices, edge_ids, start, end, EDGES)
        is_there = is_edge[:, None] & is_column[None, :]
        rows = tl.load(x + source[:, None] * width + columns[None, :], mask=is_there, other=0).to(ACC)
        if weight is not None:
            rows *= tl.load(weight + ids[:, None] * heads + head[None, :], mask=is_there, other=0).to(ACC)
        total += rows
    made = tl.sum(total, 0)
    places = tl.program_id(0).to(tl.int64) * width + columns
    if segments is None and not OVERWRITES:
        made += tl.load(out + places, mask=is_column, other=0).to(ACC)
    tl.store(out + places, made.to(out.dtype.element_ty), mask=is_column)


def spmm(
    indptr: Tensor,
    indices: Tensor,
    x: Tensor,
    out: Tensor,
    *,
    weight: Tensor | None,
    edge_ids: Tensor | None,
    overwrites: bool,
) -> None:
    width = x.size(1)
    columns = min(BYTES_AT_ONCE // x.element_size(), triton.next_power_of_2(max(1, width)))
    heads = 1 if weight is None else weight.size(1)
    given = (indices, edge_ids, weight, x)
    how = {"EDGES": EDGES_AT_ONCE, "COLUMNS": columns, "ACC": in_accumulator(x.dtype), "num_warps": 1}
    how |= {"width": width, "heads": heads, "OVERWRITES": overwrites}
    sum_rows(_spmm, indptr, triton.cdiv(width, columns), given, [out], **how)


@triton.jit(do_not_specialize=["num_rows"])
def _sddmm(
    indptr,
    segments,
    indices,
    edge_ids,
    left,
    right,
    out,
    num_rows,
    heads: tl.constexpr,
    channels: tl.constexpr,
    LIMIT: tl.constexpr,
    EDGES: tl.constexpr,
    HEADS: tl.constexpr,
    CHANNELS: tl.constexpr,
    ACC: tl.constexpr,
):
    row, first, end = entries(tl.program_id(0), indptr, segments, num_rows, LIMIT)
    head = tl.program_id(1) * HEADS + tl.arange(0, HEADS)
    channel = tl.arange(0, CHANNELS)
    columns = head[:, None] * channels + channel[None, :]
    is_column = (head < heads)[:, None] & (channel < channels)[None, :]
    own = tl.load(left + row * heads * channels + columns, mask=is_column, other=0).to(ACC)
    for start in range(first, end, EDGES):
        is_edge, source, ids = some_edges(indices, edge_ids, start, end, EDGES)
        places = (source * heads * channels)[:, None, None] + columns[None, :, :]
        rows = tl.load(right + places, mask=is_edge[:, None, None] & is_column[None, :, :], other=0).to(ACC)
        places = ids[:, None] * heads + head[None, :]
        is_there = is_edge[:, None] & (head < heads)[None, :]
        made = tl.sum(own[None, :, :] * rows, 2) + tl.load(out + places, mask=is_there, other=0).to(ACC)
        tl.store(out + places, made.to(out.dtype.element_ty), mask=is_there)


def sddmm(
    indptr: Tensor, indices: Tensor, left: Tensor, right: Tensor, out: Tensor, *, edge_ids: Tensor | None
) -> None:
    num_rows = len(indptr) - 1
    shape = Heads(out.size(1), left.size(1) // out.size(1), left.dtype)
    if not len(indices) or not shape.channels:
        return
    segments, how = segments_of(indptr), shape.constants(EDGES_AT_ONCE) | {"LIMIT": rows_.LIMIT}
    for cut in (None, segments.of_segments) if segments is not None else (None,):  # what is made is put in place
        grid = (num_rows if cut is None else len(cut), shape.num_groups)
        _sddmm[grid](indptr, cut, indices, edge_ids, left, right, out, num_rows, **how)
