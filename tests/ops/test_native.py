"""The extension shares torch's OpenMP threads and thread count: one runtime in the process, one setting."""

from pathlib import Path

import pytest
import torch

from fullgraph import ops
from fullgraph.ops import native
from tests.ops.blocks import hub_block
from tests.ops.laws import num_threads


def test_one_openmp_runtime_is_loaded() -> None:
    block = hub_block()
    out = torch.zeros(block.num_rows, 8)
    ops.spmm(*block.csr(), torch.ones(block.num_columns, 8), out)
    paths = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libgomp" in line}
    assert len(paths) == 1


def test_the_thread_count_is_torchs() -> None:
    with num_threads(3):
        assert native.threads() == 3


def test_kernels_refuse_what_they_would_have_to_convert() -> None:
    """A converted output would be a copy, and the result lost."""
    block = hub_block()
    indptr, indices, x = block.indptr.numpy(), block.indices.numpy(), torch.ones(500, 2).numpy()
    with pytest.raises(TypeError):
        native.core.spmm(indptr, indices, x, torch.zeros(300, 2).double().numpy(), None, None, 1)
