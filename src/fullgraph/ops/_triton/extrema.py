"""Running maximum and minimum of neighbours' rows, and their gradient."""

import triton
import triton.language as tl
from torch import Tensor

from fullgraph.ops._triton.rows import (
    SEGMENTS_AT_ONCE,
    Segments,
    entries,
    in_accumulator,
    reduce_rows,
    some_edges,
    sum_rows,
)

EDGES_AT_ONCE = 16
COLUMNS_AT_ONCE = 64


@triton.jit
def _absorb(best, count, rows, counts):
    """A running maximum and how often it was met, and some rows with how often each was met, 0 for none; NaN wins."""
    is_nan = (rows != rows) & (counts > 0)
    num_nan = tl.sum(tl.where(is_nan, counts, 0), 0)
    rows = tl.where(is_nan | (counts == 0), float("-inf"), rows)
    highest = tl.max(rows, 0)
    num_highest = tl.sum(tl.where(rows == highest[None, :], tl.where(is_nan, 0, counts), 0), 0)
    was_nan = best != best
    ends_nan = was_nan | (num_nan > 0)
    is_higher, is_equal = highest > best, highest == best
    of_numbers = tl.where(is_higher, num_highest, tl.where(is_equal, count + num_highest, count))
    count = tl.where(ends_nan, tl.where(was_nan, count, 0) + num_nan, of_numbers)
    best = tl.where(ends_nan, float("nan"), tl.where(is_higher, highest, best))
    return best, count


@triton.jit(do_not_specialize=["num_rows"])
def _extremum(
    indptr,
    segments,
    indices,
    x,
    value,
    count,
    num_rows,
    width: tl.constexpr,
    LIMIT: tl.constexpr,
    SIGN: tl.constexpr,
    EDGES: tl.constexpr,
    COLUMNS: tl.constexpr,
    ACC: tl.constexpr,
):
    _row, first, end = entries(tl.program_id(0), indptr, segments, num_rows, LIMIT)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    is_column = columns < width
    places = tl.program_id(0).to(tl.int64) * width + columns
    if segments is not None:
        best, met = tl.full((COLUMNS,), float("-inf"), ACC), tl.zeros((COLUMNS,), tl.int32)
    else:
        best = tl.load(value + places, mask=is_column, other=0).to(ACC) * SIGN
        met = tl.load(count + places, mask=is_column, other=0)
    for start in range(first, end, EDGES):
        is_edge, source, _ = some_edges(indices, None, start, end, EDGES)
        is_there = is_edge[:, None] & is_column[None, :]
        rows = tl.load(x + source[:, None] * width + columns[None, :], mask=is_there, other=0).to(ACC) * SIGN
        best, met = _absorb(best, met, rows, is_there.to(tl.int32))
    tl.store(value + places, (best * SIGN).to(value.dtype.element_ty), mask=is_column)
    tl.store(count + places, met, mask=is_column)


@triton.jit
def _absorb_segments(
    of_rows,
    values,
    counts,
    value,
    count,
    width: tl.constexpr,
    SIGN: tl.constexpr,
    AT_ONCE: tl.constexpr,
    COLUMNS: tl.constexpr,
    ACC: tl.constexpr,
):
    place = of_rows + 3 * tl.program_id(0)
    row, start, stop = tl.load(place), tl.load(place + 1), tl.load(place + 2)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    is_column = columns < width
    places = row * width + columns
    best = tl.load(value + places, mask=is_column, other=0).to(ACC) * SIGN
    met = tl.load(count + places, mask=is_column, other=0)
    for first in range(start, stop, AT_ONCE):
        nth = first + tl.arange(0, AT_ONCE)
        is_there = (nth < stop)[:, None] & is_column[None, :]
        of_segments = nth[:, None] * width + columns[None, :]
        rows = tl.load(values + of_segments, mask=is_there, other=0).to(ACC) * SIGN
        best, met = _absorb(best, met, rows, tl.load(counts + of_segments, mask=is_there, other=0))
    tl.store(value + places, (best * SIGN).to(value.dtype.element_ty), mask=is_column)
    tl.store(count + places, met, mask=is_column)


def extremum(indptr: Tensor, indices: Tensor, x: Tensor, value: Tensor, count: Tensor, *, largest: bool) -> None:
    width = x.size(1)
    columns = min(COLUMNS_AT_ONCE, triton.next_power_of_2(max(1, width)))
    groups = triton.cdiv(width, columns)
    how = {"width": width, "SIGN": 1 if largest else -1, "COLUMNS": columns, "ACC": in_accumulator(x.dtype)}

    def combine(segments: Segments, parts: list[Tensor]) -> None:
        grid = (len(segments.of_rows), groups)
        _absorb_segments[grid](segments.of_rows, *parts, value, count, AT_ONCE=SEGMENTS_AT_ONCE, num_warps=1, **how)

    constants = {"EDGES": EDGES_AT_ONCE, "num_warps": 1, **how}
    reduce_rows(_extremum, indptr, groups, (indices, x), (value, count), combine, **constants)


@triton.jit(do_not_specialize=["num_rows"])
def _extremum_backward(
    indptr,
    segments,
    indices,
    x,
    value,
    grad,
    out,
    num_rows,
    width: tl.constexpr,
    LIMIT: tl.constexpr,
    EDGES: tl.constexpr,
    COLUMNS: tl.constexpr,
    ACC: tl.constexpr,
):
    row, first, end = entries(tl.program_id(0), indptr, segments, num_rows, LIMIT)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    is_column = columns < width
    own = tl.load(x + row * width + columns, mask=is_column, other=0)
    total = tl.zeros((EDGES, COLUMNS), ACC)
    for start in range(first, end, EDGES):
        is_edge, column, _ = some_edges(indices, None, start, end, EDGES)
        is_there = is_edge[:, None] & is_column[None, :]
        places = column[:, None] * width + columns[None, :]
        is_chosen = is_there & (tl.load(value + places, mask=is_there, other=0) == own[None, :])
        total += tl.load(grad + places, mask=is_chosen, other=0).to(ACC)
    made = tl.sum(total, 0)
    places = tl.program_id(0).to(tl.int64) * width + columns
    if segments is None:
        made += tl.load(out + places, mask=is_column, other=0).to(ACC)
    tl.store(out + places, made.to(out.dtype.element_ty), mask=is_column)


def extremum_backward(indptr: Tensor, indices: Tensor, x: Tensor, value: Tensor, grad: Tensor, out: Tensor) -> None:
    width = x.size(1)
    columns = min(COLUMNS_AT_ONCE, triton.next_power_of_2(max(1, width)))
    how = {"width": width, "EDGES": EDGES_AT_ONCE, "COLUMNS": columns, "ACC": in_accumulator(x.dtype), "num_warps": 1}
    groups = triton.cdiv(width, columns)
    sum_rows(_extremum_backward, indptr, groups, (indices, x, value, grad), [out], **how)
