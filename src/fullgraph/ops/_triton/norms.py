"""The steps of a norm over rows, each in one pass over them."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fullgraph.ops._triton.rows import in_accumulator

NUMBERS_AT_ONCE = 4096
PROGRAMS = 512
"""That share the rows of each column where they are summed."""


@triton.jit
def _sums(x, grad, mean, parts, num_rows, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr, ACC: tl.constexpr):
    """Squared deviations of some rows, or their gradient and its products with the deviations, in float64."""
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    is_column = columns < width
    middle = tl.load(mean + columns, mask=is_column, other=0).to(ACC)
    first, second = tl.zeros((ROWS, COLUMNS), tl.float64), tl.zeros((ROWS, COLUMNS), tl.float64)
    for start in range(tl.program_id(0) * ROWS, num_rows, tl.num_programs(0) * ROWS):
        rows = (start + tl.arange(0, ROWS)).to(tl.int64)
        is_there = (rows < num_rows)[:, None] & is_column[None, :]
        places = rows[:, None] * width + columns[None, :]
        deviation = tl.load(x + places, mask=is_there, other=0).to(ACC) - middle[None, :]
        deviation = tl.where(is_there, deviation, 0)
        if grad is None:
            first += deviation.to(tl.float64) * deviation.to(tl.float64)
        else:
            given = tl.load(grad + places, mask=is_there, other=0).to(ACC)
            first += given.to(tl.float64)
            second += (given * deviation).to(tl.float64)
    place = tl.program_id(0).to(tl.int64) * width + columns
    tl.store(parts + place, tl.sum(first, 0), mask=is_column)
    if grad is not None:
        tl.store(parts + tl.num_programs(0).to(tl.int64) * width + place, tl.sum(second, 0), mask=is_column)


def squared_deviations(x: Tensor, mean: Tensor, out: Tensor) -> None:
    _sum_columns(x, None, mean, out.unsqueeze(0))


def gradient_sums(grad: Tensor, x: Tensor, mean: Tensor, out: Tensor) -> None:
    _sum_columns(x, grad, mean, out)


def _sum_columns(x: Tensor, grad: Tensor | None, mean: Tensor, out: Tensor) -> None:
    num_rows, width = x.shape
    if not x.numel():
        out.zero_()
        return
    columns = min(64, triton.next_power_of_2(width))
    rows = NUMBERS_AT_ONCE // columns
    programs = min(PROGRAMS, triton.cdiv(num_rows, rows))
    parts = torch.empty((len(out), programs, width), dtype=torch.float64, device=x.device)
    grid = (programs, triton.cdiv(width, columns))
    how = {"ROWS": rows, "COLUMNS": columns, "ACC": in_accumulator(x.dtype)}
    _sums[grid](x, grad, mean, parts, num_rows, width, **how)
    torch.sum(parts, 1, out=out)


@triton.jit(do_not_specialize=["num_rows"])
def _head_dots(
    left,
    right,
    out,
    num_rows,
    channels: tl.constexpr,
    of_left: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
    ACC: tl.constexpr,
):
    """Of rows that are heads, ``of_left`` of which have one left row."""
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    channel = tl.arange(0, CHANNELS)
    is_there = (rows < num_rows)[:, None] & (channel < channels)[None, :]
    ours = tl.load(right + rows[:, None] * channels + channel[None, :], mask=is_there, other=0).to(ACC)
    places = (rows // of_left)[:, None] * channels + channel[None, :]
    ours *= tl.load(left + places, mask=is_there, other=0).to(ACC)
    tl.store(out + rows, tl.sum(ours, 1), mask=rows < num_rows)


def head_dots(left: Tensor, right: Tensor, out: Tensor) -> None:
    if not right.numel():
        out.zero_()
        return
    channels, of_left = right.size(2), right.size(1) // left.size(1)
    padded = triton.next_power_of_2(channels)
    rows, num_rows = max(1, NUMBERS_AT_ONCE // padded), right.size(0) * right.size(1)
    how = {"ROWS": rows, "CHANNELS": padded, "ACC": in_accumulator(right.dtype)}
    _head_dots[(triton.cdiv(num_rows, rows),)](left, right, out, num_rows, channels, of_left, **how)


@triton.jit
def _rows(
    x,
    grad,
    mean,
    first,
    second,
    shift,
    out,
    num_rows,
    width,
    WHAT: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ACC: tl.constexpr,
):
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    is_column = columns < width
    is_there = (rows < num_rows)[:, None] & is_column[None, :]
    places = rows[:, None] * width + columns[None, :]
    deviation = tl.load(x + places, mask=is_there, other=0).to(ACC)
    deviation -= tl.load(mean + columns, mask=is_column, other=0).to(ACC)[None, :]
    factor = tl.load(first + columns, mask=is_column, other=0).to(ACC)[None, :]
    added = tl.load(shift + columns, mask=is_column, other=0).to(ACC)[None, :]
    if WHAT == "combined":
        of_deviation = tl.load(second + columns, mask=is_column, other=0).to(ACC)[None, :]
        made = tl.load(grad + places, mask=is_there, other=0).to(ACC) * factor + deviation * of_deviation + added
    else:
        made = deviation * factor + added
        if WHAT == "positive":
            given = tl.load(grad + places, mask=is_there, other=0).to(ACC)
            made = tl.where(made <= 0, 0, given)
    tl.store(out + places, made.to(out.dtype.element_ty), mask=is_there)


def scaled_deviations(x: Tensor, mean: Tensor, scale: Tensor, shift: Tensor, out: Tensor) -> None:
    _make("scaled", x, None, mean, scale, None, shift, out)


def combined_gradient(
    grad: Tensor, x: Tensor, mean: Tensor, of_grad: Tensor, of_deviation: Tensor, shift: Tensor, out: Tensor
) -> None:
    _make("combined", x, grad, mean, of_grad, of_deviation, shift, out)


def positive_gradient(grad: Tensor, x: Tensor, mean: Tensor, scale: Tensor, shift: Tensor, out: Tensor) -> None:
    _make("positive", x, grad, mean, scale, None, shift, out)


def _make(
    what: str,
    x: Tensor,
    grad: Tensor | None,
    mean: Tensor,
    first: Tensor,
    second: Tensor | None,
    shift: Tensor,
    out: Tensor,
) -> None:
    num_rows, width = x.shape
    if x.numel():
        columns = min(128, triton.next_power_of_2(width))
        rows = NUMBERS_AT_ONCE // columns
        grid = (triton.cdiv(num_rows, rows), triton.cdiv(width, columns))
        how = {"WHAT": what, "ROWS": rows, "COLUMNS": columns, "ACC": in_accumulator(x.dtype)}
        _rows[grid](x, grad, mean, first, second, shift, out, num_rows, width, **how)
