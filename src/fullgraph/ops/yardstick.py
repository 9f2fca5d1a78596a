"""What the sums are measured against: the plain loop over the same rows, without any of the kernels' means."""

from torch import Tensor

from fullgraph.ops import native
from fullgraph.ops.checks import check, check_block


def gather_and_add(indptr: Tensor, indices: Tensor, x: Tensor, out: Tensor) -> None:
    """out[i] += sum of x[indices[e]] over the entries e of row i, row after row in memory. For benchmarks.

    Args:
        x: [S, F] float32 on a CPU.
        out: [n, F] float32.

    Raises:
        InputError: on tensors that do not fit together.
    """
    check_block(indptr, indices, None, out.size(0))
    check("x", x, [-1, -1], x.dtype, indptr.device)
    check("out", out, [-1, x.size(1)], x.dtype, indptr.device)
    native.core.gather_and_add(*map(native.array, (indptr, indices, x, out)), native.threads())
