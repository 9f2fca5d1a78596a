"""Which entries of a block a program of a kernel takes: those of one row, or a segment of a row that has very many.

A row with more than `LIMIT` entries is cut into segments. Programs of a second launch take one each and leave what they
make in rows of their own; a third adds these up in order. So no row holds up the others, nothing is added atomically,
and every run gives the same bits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fullgraph.ops.dtypes import accumulator

LIMIT = 1024
"""Entries that one program takes at most."""
SEGMENTS_AT_ONCE = 16


@dataclass(frozen=True)
class Segments:
    """The segments of a block's long rows.

    Attributes:
        of_segments: int64 ``[num_segments, 2]``, the row of each and its first entry.
        of_rows: int64 ``[num_long_rows, 3]``, each row, its first segment and the end of its segments.
    """

    of_segments: Tensor
    of_rows: Tensor


def segments_of(indptr: Tensor) -> Segments | None:
    """Of the rows with more than `LIMIT` entries, None if there are none.

    Found once and kept with the tensor, which describes a graph and so never changes: to ask the GPU takes longer than
    most kernels.
    """
    limit, found = getattr(indptr, "_segments", (0, None))
    if limit != LIMIT:
        found = _find(indptr)
        indptr._segments = (LIMIT, found)  # pyright: ignore[reportAttributeAccessIssue]
    return found


def _find(indptr: Tensor) -> Segments | None:
    counts = (indptr.diff() + LIMIT - 1) // LIMIT
    rows = torch.nonzero(counts > 1).squeeze(1)
    if not len(rows):
        return None
    ends = counts[rows].cumsum(0)
    starts = ends - counts[rows]
    nth = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), counts[rows])
    first = indptr[rows[nth]] + LIMIT * (torch.arange(len(nth), device=rows.device) - starts[nth])
    return Segments(torch.stack([rows[nth], first], 1), torch.stack([rows, starts, ends], 1))


@triton.jit
def entries(program, indptr, segments, num_rows, LIMIT: tl.constexpr):
    """Row, first entry and end of what a program takes; nothing if others take it, or beyond the last row."""
    if segments is not None:
        row = tl.load(segments + 2 * program)
        first = tl.load(segments + 2 * program + 1)
        end = tl.minimum(first + LIMIT, tl.load(indptr + row + 1))
    else:
        row = tl.minimum(program, num_rows - 1).to(tl.int64)
        first, end = tl.load(indptr + row), tl.load(indptr + row + 1)
        end = tl.where((end - first <= LIMIT) & (program < num_rows), end, first)
    return row, first, end


@triton.jit
def some_edges(indices, edge_ids, start, end, EDGES: tl.constexpr):
    """Whether each of some entries is there, its column, and where its values lie."""
    edges = start + tl.arange(0, EDGES)
    is_edge = edges < end
    column = tl.load(indices + edges, mask=is_edge, other=0).to(tl.int64)
    ids = edges
    if edge_ids is not None:
        ids = tl.load(edge_ids + edges, mask=is_edge, other=0).to(tl.int64)
    return is_edge, column, ids


@triton.jit
def _add_segments(of_rows, parts, out, width: tl.constexpr, AT_ONCE: tl.constexpr, COLUMNS: tl.constexpr):
    place = of_rows + 3 * tl.program_id(0)
    row, start, stop = tl.load(place), tl.load(place + 1), tl.load(place + 2)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    is_column = columns < width
    total = tl.load(out + row * width + columns, mask=is_column, other=0).to(parts.dtype.element_ty)
    for first in range(start, stop, AT_ONCE):
        nth = first + tl.arange(0, AT_ONCE)
        is_there = (nth < stop)[:, None] & is_column[None, :]
        total += tl.sum(tl.load(parts + nth[:, None] * width + columns[None, :], mask=is_there, other=0), 0)
    tl.store(out + row * width + columns, total.to(out.dtype.element_ty), mask=is_column)


def sum_rows(
    kernel: Any,
    indptr: Tensor,
    num_groups: int,
    given: Sequence[Any],
    outs: Sequence[Tensor | None],
    **how: Any,
) -> None:
    """Run a kernel that makes of each row's entries what is added into, or put, where the row is in each of ``outs``.

    Args:
        kernel: takes indptr and segments, then ``given``, ``outs`` and how many rows there are, and ``LIMIT`` by name;
            where it is given segments it puts what it makes in the row of its program.
        num_groups: programs for each row.
        given: what else it takes.
        outs: ``[n, …]``; None is for the kernel only.
        how: what it takes by name; of ``ROWS``, if given, a program takes so many rows where they are not cut.
    """

    def add(segments: Segments, parts: Sequence[Tensor | None]) -> None:
        for part, out in zip(parts, outs, strict=True):
            if part is not None and out is not None:
                width = out.numel() // len(out)
                columns = min(128, triton.next_power_of_2(width))
                grid = (len(segments.of_rows), triton.cdiv(width, columns))
                _add_segments[grid](segments.of_rows, part, out, width, SEGMENTS_AT_ONCE, columns, num_warps=1)

    reduce_rows(kernel, indptr, num_groups, given, outs, add, **how)


def reduce_rows(
    kernel: Any,
    indptr: Tensor,
    num_groups: int,
    given: Sequence[Any],
    outs: Sequence[Tensor | None],
    combine: Callable[[Segments, Sequence[Any]], None],
    **how: Any,
) -> None:
    """As `sum_rows`, for a kernel whose results of segments ``combine`` brings to their rows: it is given the segments,
    and a row for each of them in place of ``outs``."""
    num_rows = len(indptr) - 1
    if num_rows == 0 or num_groups == 0:
        return
    grid = (triton.cdiv(num_rows, how.get("ROWS", 1)), num_groups)
    kernel[grid](indptr, None, *given, *outs, num_rows, LIMIT=LIMIT, **how)
    segments = segments_of(indptr)
    if segments is not None:
        parts = [None if out is None else _row_of_each(len(segments.of_segments), out) for out in outs]
        how |= {"ROWS": 1} if "ROWS" in how else {}
        grid = (len(segments.of_segments), num_groups)
        kernel[grid](indptr, segments.of_segments, *given, *parts, num_rows, LIMIT=LIMIT, **how)
        combine(segments, parts)


def in_accumulator(dtype: torch.dtype) -> Any:
    """What numbers of this dtype are summed in, as Triton calls it."""
    return tl.float64 if accumulator(dtype) == torch.float64 else tl.float32


def _row_of_each(num_segments: int, like: Tensor) -> Tensor:
    return torch.empty((num_segments, *like.shape[1:]), dtype=accumulator(like.dtype), device=like.device)
