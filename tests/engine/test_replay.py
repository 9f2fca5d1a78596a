"""What runs again in backward draws and casts as forward did, and leaves no trace."""

import random

import numpy as np
import pytest
import torch

from fullgraph.engine import draw_key
from fullgraph.engine.backward.replay import Replay

CPU = torch.device("cpu")


def test_draws():
    torch.manual_seed(3)
    replay = Replay.of_now(CPU)
    first, second = drawn(), drawn()
    assert all(a != b for a, b in zip(first, second, strict=True))
    with replay.again():
        assert drawn() == first
    third = drawn()
    assert all(a != b for a, b in zip(third, first, strict=True))
    with replay.again():
        assert drawn() == first
        assert drawn() == second
        assert drawn() == third


def drawn():
    """Of every generator that a message may draw from."""
    return [draw_key(), torch.rand(1).item(), random.random(), np.random.rand()]  # noqa: NPY002


@pytest.mark.parametrize("inside", [torch.bfloat16, None])
@pytest.mark.parametrize("outside", [torch.bfloat16, torch.float16, None])
def test_casts(inside, outside):
    x = torch.ones(2, 2, requires_grad=True)
    with torch.autocast("cpu", dtype=inside, enabled=inside is not None):
        replay = Replay.of_now(CPU)
        with torch.no_grad(), replay.again():
            assert (x @ x).dtype == (inside or torch.float32)
    with torch.autocast("cpu", dtype=outside, enabled=outside is not None):
        with replay.again():
            product = x @ x
            assert product.dtype == (inside or torch.float32)
            product.sum().backward()
            assert x.grad is not None
        assert (x @ x).dtype == (outside or torch.float32)


def test_an_error_leaves_no_trace():
    torch.manual_seed(3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        replay = Replay.of_now(CPU)
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), replay.again():
        draw_key() / 0
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.is_autocast_enabled("cpu")
