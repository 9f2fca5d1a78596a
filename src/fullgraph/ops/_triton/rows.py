"""Which entries of a block a program of a kernel takes: those of one row, or a segment of a row that has very many.

A row with more than `LIMIT` entries is cut where entry numbers are multiples of it. Programs of a second launch take a
segment each and leave what they made in rows of their own; a third adds these up in order. So no row holds up the
others, nothing is added atomically, and every run gives the same bits.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fullgraph.ops.reference import accumulator

LIMIT = 1024
"""Entries that one program takes at most."""
SEGMENTS_AT_ONCE = 16


@triton.jit
def row_of(indptr, num_rows, entry):
    """The row of an entry."""
    low, high = tl.full((), 0, tl.int32), tl.full((), num_rows, tl.int32)
    while low + 1 < high:  # indptr[low] <= entry < indptr[high]
        middle = (low + high) // 2
        is_before = tl.load(indptr + middle) <= entry
        low, high = tl.where(is_before, middle, low), tl.where(is_before, high, middle)
    return low


@triton.jit
def entries(program, indptr, num_rows, num_entries, IS_CUT: tl.constexpr, LIMIT: tl.constexpr):
    """Row, first entry and end of what a program takes; nothing where others take it, or beyond the last row.

    Two programs of a cut launch share a range of entries: at most two rows in it are long, as each reaches its border.
    """
    if IS_CUT:
        start = (program // 2).to(tl.int64) * LIMIT
        stop = tl.minimum(start + LIMIT, num_entries)
        row, last = row_of(indptr, num_rows, start), row_of(indptr, num_rows, stop - 1)
        takes = (program % 2 == 0) | (row != last)
        row = tl.where(program % 2 == 0, row, last)
        first, end = tl.load(indptr + row), tl.load(indptr + row + 1)
        takes = takes & (end - first > LIMIT)
        first, end = tl.maximum(first, start), tl.minimum(end, stop)
    else:
        row = tl.minimum(program, num_rows - 1)
        first, end = tl.load(indptr + row), tl.load(indptr + row + 1)
        takes = (end - first <= LIMIT) & (program < num_rows)
    return row, first, tl.where(takes, end, first)


@triton.jit
def segments(indptr, num_rows, num_entries, LIMIT: tl.constexpr):
    """Of the long row that begins in this program's range, if one does: itself, its first segment, and the ranges after
    that which hold the others (whose numbers are twice those of the ranges)."""
    range_ = tl.program_id(0)
    start = range_.to(tl.int64) * LIMIT
    stop = tl.minimum(start + LIMIT, num_entries)
    row = row_of(indptr, num_rows, stop - 1)
    first, end = tl.load(indptr + row), tl.load(indptr + row + 1)
    is_long = (first >= start) & (end - first > LIMIT)
    slot = 2 * range_ + (row_of(indptr, num_rows, start) != row).to(tl.int32)
    return row, is_long, slot, range_ + 1, ((end + LIMIT - 1) // LIMIT).to(tl.int32)


@triton.jit
def _add_segments(
    indptr, parts, out, num_rows, num_entries, width, LIMIT: tl.constexpr, AT_ONCE: tl.constexpr, COLUMNS: tl.constexpr
):
    row, is_long, slot, start, stop = segments(indptr, num_rows, num_entries, LIMIT)
    if is_long:
        columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
        total = tl.load(parts + slot.to(tl.int64) * width + columns, mask=columns < width, other=0)
        for first in range(start, stop, AT_ONCE):
            ranges = first + tl.arange(0, AT_ONCE)
            places = (2 * ranges.to(tl.int64) * width)[:, None] + columns[None, :]
            total += tl.sum(tl.load(parts + places, (ranges < stop)[:, None] & (columns < width)[None, :], other=0), 0)
        places = row.to(tl.int64) * width + columns
        total += tl.load(out + places, mask=columns < width, other=0).to(total.dtype)
        tl.store(out + places, total.to(out.dtype.element_ty), mask=columns < width)


def sum_rows(
    kernel: Any,
    indptr: Tensor,
    num_entries: int,
    num_groups: int,
    given: Sequence[Any],
    outs: Sequence[Tensor | None],
    **how: Any,
) -> None:
    """Run a kernel that makes of each row's entries what is added into, or put, where the row is in each of ``outs``.

    Args:
        kernel: takes indptr, then ``given``, ``outs``, how many rows and entries there are, and by name ``IS_CUT`` and
            ``LIMIT``; where it is cut, it puts what it makes in the row of its program.
        num_groups: programs for each row.
        given: what else it takes.
        outs: ``[n, …]``; None is for the kernel only.
        how: what it takes by name; of ``ROWS``, if given, a program takes so many rows where they are not cut.
    """

    def add(parts: Sequence[Tensor | None]) -> None:
        for part, out in zip(parts, outs, strict=True):
            if part is not None and out is not None:
                width = out.numel() // len(out)
                columns = min(128, triton.next_power_of_2(width))
                grid = (len(part) // 2, triton.cdiv(width, columns))
                at_once = {"LIMIT": LIMIT, "AT_ONCE": SEGMENTS_AT_ONCE, "COLUMNS": columns}
                _add_segments[grid](indptr, part, out, len(out), num_entries, width, num_warps=1, **at_once)

    reduce_rows(kernel, indptr, num_entries, num_groups, given, outs, add, **how)


def reduce_rows(
    kernel: Any,
    indptr: Tensor,
    num_entries: int,
    num_groups: int,
    given: Sequence[Any],
    outs: Sequence[Tensor | None],
    combine: Callable[[Sequence[Any]], None],
    **how: Any,
) -> None:
    """As `sum_rows`, for a kernel whose results ``combine`` brings to where the row is: it is given the rows of all
    programs, two for each range of `LIMIT` entries, in place of ``outs``."""
    num_rows = len(indptr) - 1
    if num_rows == 0 or num_groups == 0:
        return
    for is_cut, num_programs in cuts(num_rows, num_entries, how.get("ROWS", 1)):
        into = [None if out is None else _row_of_each(num_programs, out) for out in outs] if is_cut["IS_CUT"] else outs
        how |= {"ROWS": 1} if is_cut["IS_CUT"] and "ROWS" in how else {}
        kernel[(num_programs, num_groups)](indptr, *given, *into, num_rows, num_entries, **is_cut, **how)
        if is_cut["IS_CUT"]:
            combine(into)


def cuts(num_rows: int, num_entries: int, rows_at_once: int = 1) -> Iterator[tuple[dict[str, Any], int]]:
    """The launches of a kernel, as what it takes by name, and how many programs each has for a group."""
    yield {"IS_CUT": False, "LIMIT": LIMIT}, triton.cdiv(num_rows, rows_at_once)
    if num_entries > LIMIT:
        yield {"IS_CUT": True, "LIMIT": LIMIT}, 2 * num_ranges(num_entries)


def num_ranges(num_entries: int) -> int:
    """How many ranges of `LIMIT` entries there are."""
    return triton.cdiv(num_entries, LIMIT)


def in_accumulator(dtype: torch.dtype) -> Any:
    """What numbers of this dtype are summed in, as Triton calls it."""
    return tl.float64 if accumulator(dtype) == torch.float64 else tl.float32


def _row_of_each(num_programs: int, like: Tensor) -> Tensor:
    return torch.empty((num_programs, *like.shape[1:]), dtype=accumulator(like.dtype), device=like.device)
