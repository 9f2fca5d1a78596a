"""The benchmarks' yardstick computes the same sum."""

import torch

from fullgraph import ops
from fullgraph.ops.yardstick import gather_and_add


def test_equals_the_sum():
    generator = torch.Generator().manual_seed(0)
    degree = torch.randint(0, 9, (40,), generator=generator)
    indptr = torch.cat([torch.zeros(1, dtype=torch.int64), degree.cumsum(0)])
    indices = torch.randint(0, 25, (int(indptr[-1]),), generator=generator, dtype=torch.int32)
    x = torch.randn(25, 7, generator=generator)
    got, wanted = torch.ones(40, 7), torch.ones(40, 7)
    gather_and_add(indptr, indices, x, got)
    ops.spmm(indptr, indices, x, wanted)
    torch.testing.assert_close(got, wanted)
