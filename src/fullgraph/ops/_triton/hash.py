"""Which numbers a dropout keeps, and dropout of rows."""

import triton
import triton.language as tl
from torch import Tensor

from fullgraph.ops._triton.rows import in_accumulator
from fullgraph.ops.keep import keep_scale, threshold


@triton.jit
def keeps(key, row_ids, columns, threshold):
    """Whether (row id, column) is kept: the hash of csrc/keep.h, bit for bit; of shapes that broadcast."""
    z = (
        tl.full((), key, tl.uint64)
        + row_ids.to(tl.uint64) * 0x9E3779B97F4A7C15
        + columns.to(tl.uint64) * 0xD1B54A32D192ED03
    )
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    z = z ^ (z >> 31)
    return (z >> 40).to(tl.int64) >= threshold


@triton.jit(do_not_specialize=["num_rows", "key", "threshold"])
def _dropout(
    x,
    out,
    row_ids,
    num_rows,
    width,
    key: "i64",
    threshold: "i64",
    scale: "fp64",
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ACC: tl.constexpr,
):
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    is_row = rows < num_rows
    is_there = is_row[:, None] & (columns < width)[None, :]
    places = rows[:, None] * width + columns[None, :]
    given = tl.load(x + places, mask=is_there)
    ids = tl.load(row_ids + rows, mask=is_row, other=0)
    is_kept = keeps(key, ids[:, None], columns[None, :], threshold)
    made = given.to(ACC) * tl.full((), scale, ACC)
    tl.store(out + places, tl.where(is_kept, made, 0).to(given.dtype), mask=is_there)


def dropout(x: Tensor, p: float, key: int, row_ids: Tensor, out: Tensor) -> None:
    num_rows, width = x.shape
    if x.numel():
        columns = min(128, triton.next_power_of_2(width))
        rows = 1024 // columns
        grid = (triton.cdiv(num_rows, rows), triton.cdiv(width, columns))
        how = {"ROWS": rows, "COLUMNS": columns, "ACC": in_accumulator(x.dtype)}
        _dropout[grid](x, out, row_ids, num_rows, width, key, threshold(p), keep_scale(p), **how)
