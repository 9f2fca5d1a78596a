"""The extension shares torch's OpenMP threads and thread count: one runtime in the process, one setting."""

from pathlib import Path

import pytest
import torch

from fullgraph import ops
from fullgraph.ops import native
from tests.ops.blocks import hub_block
from tests.ops.laws import num_threads


def mapped_openmp_runtimes() -> set[Path]:
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {Path(line.split()[-1]) for line in lines if "libgomp" in line}


def test_the_extension_brings_no_openmp_runtime() -> None:
    """Wheels that rename a copy of their own (scikit-learn's libgomp-<hash>) keep it to themselves."""
    assert native.core is not None
    shared = {path for path in mapped_openmp_runtimes() if path.name == "libgomp.so.1"}
    assert shared == {Path(torch.__file__).parent / "lib" / "libgomp.so.1"}


def test_kernels_run_on_the_threads_that_torch_started() -> None:
    block = hub_block()
    x, out = torch.ones(block.num_columns, 64), torch.zeros(block.num_rows, 64)
    with num_threads(9):  # more than any other test, so that a pool of the kernel's own would have to grow
        torch.ones(4_000_000).add_(1)
        before = len(list(Path("/proc/self/task").iterdir()))
        ops.spmm(*block.csr(), x, out)
        after = len(list(Path("/proc/self/task").iterdir()))
    assert before >= 9
    assert after == before


def test_the_thread_count_is_torchs() -> None:
    with num_threads(3):
        assert native.threads() == 3


def test_kernels_refuse_what_they_would_have_to_convert() -> None:
    """A converted output would be a copy, and the result lost."""
    block = hub_block()
    indptr, indices, x = block.indptr.numpy(), block.indices.numpy(), torch.ones(500, 2).numpy()
    with pytest.raises(TypeError):
        native.core.spmm(indptr, indices, x, torch.zeros(300, 2).double().numpy(), None, None, 1)
