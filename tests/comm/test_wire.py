"""Rows in fewer bytes: how far they are off, what they cost, and which rows are left alone."""

import pytest
import torch

from fullgraph.comm.wire import LEAST_COLUMNS, PACKED, SAMPLE, WIRES, Wire, wire_for


def through(name: str, rows: torch.Tensor, wires=WIRES) -> torch.Tensor:
    wire: Wire = wires[name]
    message = wire.encode(rows)
    into = torch.full_like(rows, torch.nan)
    arrived = wire.buffers(into)
    for place, sent in zip(arrived, message, strict=True):
        assert sent.is_contiguous()
        assert place.is_contiguous()
        assert place.dtype == sent.dtype
        assert place.shape == sent.shape or wires is PACKED
        assert bool(place.numel()) == bool(sent.numel()), "what is not sent is not waited for"
        place.view(-1)[: sent.numel()] = sent.view(-1)
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


def rows_with_zeros(share: float, num_rows: int = 300) -> torch.Tensor:
    """Of each number the same share of zeros; what is not zero includes what looks like it, and what is not finite."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(num_rows, 48, generator=generator)
    rows[torch.rand(rows.shape, generator=generator) < share] = 0
    rows.view(-1)[:4] = torch.tensor([-0.0, torch.nan, torch.inf, 1e-45])
    return rows


def num_bytes(message: tuple[torch.Tensor, ...]) -> int:
    return sum(t.numel() * t.element_size() for t in message)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_packed_rows_arrive_to_the_last_bit(dtype, share):
    rows = rows_with_zeros(share).to(dtype)
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}[rows.element_size()]
    assert torch.equal(through("float32", rows, PACKED).view(integers), rows.view(integers))


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_packed_bfloat16_arrives_as_bfloat16_does(share):
    rows = rows_with_zeros(share)
    wanted, arrived = through("bfloat16", rows), through("bfloat16", rows, PACKED)
    assert torch.equal(arrived.view(torch.int32), wanted.view(torch.int32))


@pytest.mark.parametrize(("name", "size"), [("float32", 4), ("bfloat16", 2)])
def test_a_packed_message_is_a_bit_per_number_and_what_is_not_zero(name, size):
    rows = rows_with_zeros(0.5)
    count = int((rows.to(torch.bfloat16 if size == 2 else torch.float32).view(-1)[4:] != 0).sum())
    count += 3 if size == 2 else 4  # 1e-45 is rounded to zero
    assert num_bytes(PACKED[name].encode(rows)) == 8 + 300 * 48 // 8 + size * count
    assert num_bytes(PACKED[name].encode(torch.zeros(300, 48))) == 8 + 300 * 48 // 8 + size


@pytest.mark.parametrize("name", PACKED)
def test_rows_with_few_zeros_go_whole_and_cost_eight_bytes_more(name):
    for rows in (rows_with_zeros(0), rows_with_zeros(0.05)):
        assert num_bytes(PACKED[name].encode(rows)) == 8 + num_bytes(WIRES[name].encode(rows))


def test_nobody_looks_for_zeros_behind_a_dense_start():
    rows = rows_with_zeros(1.0)
    assert num_bytes(PACKED["float32"].encode(rows)) < 300 * 48 * 4 // 10
    rows.view(-1)[:SAMPLE] = 1
    assert num_bytes(PACKED["float32"].encode(rows)) == 8 + 300 * 48 * 4


@pytest.mark.parametrize("name", PACKED)
def test_no_rows_packed(name):
    assert num_bytes(PACKED[name].encode(torch.empty(0, 16))) == 0
    assert through(name, torch.empty(0, 16), PACKED).shape == (0, 16)


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


@pytest.mark.parametrize(
    ("rows", "wire_dtype", "wire"),
    [
        (torch.empty(3, LEAST_COLUMNS), "float32", PACKED["float32"]),
        (torch.empty(3, LEAST_COLUMNS), "bfloat16", PACKED["bfloat16"]),
        (torch.empty(3, LEAST_COLUMNS), "int8", WIRES["int8"]),
        (torch.empty(3, LEAST_COLUMNS, dtype=torch.float64), "int8", PACKED["float32"]),
        (torch.empty(3, LEAST_COLUMNS, dtype=torch.bfloat16), "bfloat16", PACKED["float32"]),
        (torch.empty(3, LEAST_COLUMNS, dtype=torch.bool), "float32", WIRES["float32"]),
        (torch.empty(3, LEAST_COLUMNS - 1), "bfloat16", WIRES["float32"]),
    ],
)
def test_only_long_rows_are_packed(rows, wire_dtype, wire):
    assert wire_for(rows, wire_dtype, packs=True) is wire
