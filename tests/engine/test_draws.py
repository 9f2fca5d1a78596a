"""Draws are keyed by torch's generator, and masks by global ids, never by the rank."""

import pytest
import torch

from fullgraph.engine import draw_key, hashed, keyed_dropout, keyed_normal, keyed_uniform


def test_keys_differ_and_follow_the_seed():
    def keys(seed: int) -> list[int]:
        torch.manual_seed(seed)
        return [draw_key() for _ in range(6)]

    assert len({*keys(0), *keys(1)}) == 12
    assert keys(0) == keys(0)
    assert all(0 <= key < 2**63 for key in keys(0))


def test_a_row_keeps_its_mask_wherever_it_lies():
    ids = torch.arange(50)
    x = torch.randn(50, 2, 3, dtype=torch.float64)
    whole = keyed_dropout(x, 0.4, 11, ids)
    some = torch.tensor([40, 3, 17])
    assert torch.equal(keyed_dropout(x[some], 0.4, 11, ids[some]), whole[some])
    assert not torch.equal(keyed_dropout(x, 0.4, 12, ids), whole)
    kept = whole != 0
    torch.testing.assert_close(whole[kept], x[kept] / 0.6)


def test_its_gradient_uses_the_same_mask():
    x = torch.randn(20, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: keyed_dropout(x, 0.3, 5, torch.arange(20)), x)


def test_extreme_probabilities():
    x = torch.randn(4, 2)
    assert keyed_dropout(x, 0, 1, torch.arange(4)) is x
    assert torch.equal(keyed_dropout(x, 1, 1, torch.arange(4)), torch.zeros(4, 2))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_keyed_numbers_are_spread_as_they_should_and_follow_their_rows(dtype):
    keys = torch.arange(4000)
    uniform = keyed_uniform((4000, 5), 7, keys, dtype)
    assert uniform.dtype == dtype
    assert 0 <= float(uniform.min()) <= float(uniform.max()) < 1
    assert float(uniform.double().mean()) == pytest.approx(0.5, abs=0.01)
    assert float(uniform.double().var()) == pytest.approx(1 / 12, abs=0.003)
    order = torch.randperm(4000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(keyed_uniform((4000, 5), 7, keys[order], dtype), uniform[order])
    assert not torch.equal(keyed_uniform((4000, 5), 8, keys, dtype), uniform)
    normal = keyed_normal((4000, 5), 7, keys, dtype).double()
    assert float(normal.mean()) == pytest.approx(0, abs=0.02)
    assert float(normal.var()) == pytest.approx(1, abs=0.04)
    assert float((normal**4).mean()) == pytest.approx(3, abs=0.3)
    assert float((normal[:, 0] * normal[:, 1]).mean()) == pytest.approx(0, abs=0.05)


def test_keys_are_hashed_by_splitmix64() -> None:
    """Against its published definition, in integers of any length."""

    def finalise(z: int) -> int:
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return z ^ z >> 31

    keys = [0, 1, 2, 12345, 2**62 + 7, 2**63 - 1, -1, -(2**63)]
    wanted = [finalise(key % 2**64) for key in keys]
    assert [int(z) % 2**64 for z in hashed(torch.tensor(keys))] == wanted
