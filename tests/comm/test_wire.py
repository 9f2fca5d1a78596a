"""Rows in fewer bytes: how far they are off, what they cost, and which rows are left alone."""

import pytest
import torch

from fullgraph.comm.wire import LEAST_COLUMNS, WIRES, wire_for


def through(name: str, rows: torch.Tensor) -> torch.Tensor:
    wire = WIRES[name]
    message = wire.encode(rows)
    into = torch.full_like(rows, torch.nan)
    arrived = wire.buffers(into)
    for place, sent in zip(arrived, message, strict=True):
        assert sent.is_contiguous()
        assert (place.shape, place.dtype) == (sent.shape, sent.dtype)
        place.copy_(sent)
    return wire.decode(arrived, into)


def awkward_rows() -> torch.Tensor:
    """All magnitudes, a row of zeros, a row with one large number, a row of the smallest numbers."""
    rows = torch.randn(50, 4, 8) * 10.0 ** torch.randint(-20, 20, (50, 1, 1))
    rows[7] = 0
    rows[8] = 1e-3
    rows[8, 0, 0] = 1e6
    rows[9] = torch.finfo(torch.float32).tiny
    return rows


def test_bfloat16_is_off_by_a_256th_of_each_number():
    rows = awkward_rows()
    assert bool(((through("bfloat16", rows) - rows).abs() <= rows.abs() / 256).all())


def test_int8_is_off_by_less_than_a_127th_of_the_largest_number_of_the_row():
    rows = awkward_rows()
    scale = (rows.abs().amax((1, 2), keepdim=True) / 127).clamp(min=torch.finfo(torch.float32).tiny)
    off = (through("int8", rows) - rows).abs()
    assert bool((off <= scale * (1 + 1e-5)).all())
    assert bool((off > scale * 0.5).any()), "rounding is random, not to the nearest"


def test_int8_is_right_on_average_and_the_same_the_second_time():
    rows = torch.zeros(20_000, 17)
    rows[:, 0] = 127.0  # so that the scale is 1
    rows[:, 1:] = torch.linspace(-3, 3, 16)
    arrived = through("int8", rows)
    # The mean of 20,000 roundings, each off by at most 0.5 in the mean square.
    torch.testing.assert_close(arrived.mean(0), rows[0], rtol=0, atol=5 * 0.5 / 20_000**0.5)
    assert torch.equal(arrived, through("int8", rows))
    rows[0, 3] += 1e-3
    assert not torch.equal(arrived[1:], through("int8", rows)[1:])


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", WIRES)
def test_what_is_not_finite_stays_so(name, value):
    rows = torch.ones(3, 16)
    rows[1, 2] = value
    arrived = through(name, rows)
    assert not bool(torch.isfinite(arrived[1, 2]))
    assert bool(torch.isfinite(arrived[::2]).all())


@pytest.mark.parametrize("name", WIRES)
def test_no_rows(name):
    assert through(name, torch.empty(0, 16)).shape == (0, 16)


@pytest.mark.parametrize(
    ("rows", "is_narrowed"),
    [
        (torch.empty(3, LEAST_COLUMNS), True),
        (torch.empty(0, 4, LEAST_COLUMNS // 4), True),
        (torch.empty(3, LEAST_COLUMNS - 1), False),
        (torch.empty(3), False),
        (torch.empty(3, 64, dtype=torch.float64), False),
        (torch.empty(3, 64, dtype=torch.int64), False),
        (torch.empty(3, 64, dtype=torch.bfloat16), False),
    ],
)
def test_only_long_rows_of_float32_are_narrowed(rows, is_narrowed):
    assert (wire_for(rows, "bfloat16") is WIRES["bfloat16"]) == is_narrowed
    assert wire_for(rows, "float32") is WIRES["float32"]
