"""Rows without their zeros: the kernel and its twin agree in every bit, and what is packed comes back in every bit."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fullgraph import ops
from fullgraph.errors import InputError
from fullgraph.ops import reference
from tests.ops.laws import assert_thread_count_does_not_matter

INTEGERS = {torch.bfloat16: torch.int16, torch.float32: torch.int32, torch.float64: torch.int64}
shapes = st.tuples(st.integers(0, 40), st.integers(0, 40))


def numbers(shape: tuple[int, ...], dtype: torch.dtype, zeros: float, seed: int) -> torch.Tensor:
    """Any bits, NaN of every kind among them; a share of zeros, and some that only look like zero."""
    generator = torch.Generator().manual_seed(seed)
    bits = torch.randint(-(2**63), 2**63 - 1, shape, generator=generator, dtype=torch.int64).to(INTEGERS[dtype])
    bits[torch.rand(shape, generator=generator) < zeros] = 0
    x = bits.view(dtype)
    x[torch.rand(shape, generator=generator) < 0.1] = -0.0
    return x


def same_bits(left: torch.Tensor, right: torch.Tensor) -> bool:
    return left.dtype == right.dtype and torch.equal(left.view(INTEGERS[left.dtype]), right.view(INTEGERS[right.dtype]))


@pytest.mark.parametrize("dtype", INTEGERS)
@given(shape=shapes, zeros=st.sampled_from([0.0, 0.5, 0.9, 1.0]), seed=st.integers(0, 99))
def test_equals_its_twin_bit_for_bit(shape: tuple[int, int], zeros: float, seed: int, dtype: torch.dtype) -> None:
    x = numbers(shape, dtype, zeros, seed)
    bits, count = ops.mark_nonzero(x)
    wanted_bits, wanted_count = reference.mark_nonzero(x)
    assert torch.equal(bits, wanted_bits)
    assert count == wanted_count == np.count_nonzero(x.view(INTEGERS[dtype]).numpy())
    values = ops.pack_nonzero(x, bits, count)
    assert same_bits(values, reference.pack_nonzero(x, bits, count))
    for unpack in (ops.unpack_nonzero, reference.unpack_nonzero):
        back = numbers(shape, dtype, 0.0, seed + 1)
        back.view(-1)[:count] = values
        unpack(bits, back)
        assert same_bits(back, x)


def test_what_only_looks_like_zero_is_kept() -> None:
    x = torch.tensor([0.0, -0.0, torch.nan, -torch.inf, 0.0, torch.finfo(torch.float32).smallest_normal / 2])
    bits, count = ops.mark_nonzero(x)
    assert bits.tolist() == [0b101110]
    assert same_bits(ops.pack_nonzero(x, bits, count), x[[1, 2, 3, 5]])


def test_any_number_of_threads_gives_the_same_bits() -> None:
    x = numbers((3001, 67), torch.float32, 0.5, 0)

    def run() -> tuple[torch.Tensor, ...]:
        bits, count = ops.mark_nonzero(x)
        return bits, ops.pack_nonzero(x, bits, count).view(torch.int32)

    assert_thread_count_does_not_matter(run)
    assert same_bits(run()[1].view(torch.float32), x[x.view(torch.int32) != 0])


def test_numbers_that_no_kernel_takes_run_the_twin() -> None:
    x = torch.tensor([[0, 3], [-1, 0]])
    bits, count = ops.mark_nonzero(x)
    assert (bits.tolist(), count, ops.pack_nonzero(x, bits, count).tolist()) == ([6], 2, [3, -1])


def test_what_does_not_fit_is_named() -> None:
    x, bits = torch.zeros(5, 13), torch.zeros(1, dtype=torch.int64)
    wanted = "bits must be a contiguous torch.int64 tensor of shape [2] on cpu: torch.int64 [1] on cpu"
    for call in (lambda: ops.pack_nonzero(x, bits, 0), lambda: ops.unpack_nonzero(bits, x)):
        with pytest.raises(InputError) as caught:
            call()
        assert str(caught.value) == wanted
    with pytest.raises(InputError, match=r"^x must have numbers of 2, 4 or 8 bytes: torch.bool$"):
        ops.mark_nonzero(torch.zeros(3, dtype=torch.bool))
    with pytest.raises(InputError, match=r"^x must be a contiguous"):
        ops.mark_nonzero(x.T)
