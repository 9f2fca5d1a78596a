"""Who multiplies float32 matrices on this processor: the BLAS that torch asks, or oneDNN, which torch brings too.

Torch asks MKL, which uses the widest registers on its maker's processors only; oneDNN uses them on all. So on an AMD
EPYC oneDNN took a half of the time, and on an Intel Xeon up to 1.8 times as much (benchmarks/results/products.md).
"""

import functools
import os
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from fullgraph.errors import InputError

BLAS = "FULLGRAPH_BLAS"
"""The environment variable that says who multiplies; without it, who is found to be faster. All ranks go by rank 0."""
NAMES = ("torch", "onednn")
_CLEARLY = 1.2
"""Times as fast: between what both kinds of processors have, so that a busy machine does not change the choice."""


def blas() -> str:
    """``torch`` or ``onednn``.

    Raises:
        InputError: if the environment says something else.
    """
    chosen = os.environ.get(BLAS) or _measured()
    if chosen not in NAMES:
        raise InputError(f"{BLAS} must be one of {', '.join(NAMES)}, or not be set: {chosen!r}")
    return chosen


@functools.cache
def _measured() -> str:
    """The faster one, on one thread, in some 20 ms: rows by a matrix, and the sum of rows' outer products."""
    if not torch.backends.mkldnn.is_available():
        return "torch"
    threads = torch.get_num_threads()
    rows, matrix = torch.ones(2048, 128), torch.ones(128, 128)
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            by_torch = _seconds(lambda: F.linear(rows, matrix)) + _seconds(lambda: rows.T @ rows)
            by_onednn = _seconds(lambda: onednn_product(rows, matrix)) + _seconds(
                lambda: onednn_product(rows.T, rows.T)
            )
    finally:
        torch.set_num_threads(threads)
    return "onednn" if by_onednn * _CLEARLY < by_torch else "torch"


def onednn_product(rows: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """``rows @ matrix.T + bias``, of float32 on a CPU; autograd does not follow it."""
    return torch.ops.mkldnn._linear_pointwise(rows, matrix, bias, "none", [], "")


def _seconds(product: Callable[[], Tensor]) -> float:
    taken = []
    for _ in range(6):  # of which the first finds the kernel
        start = time.perf_counter()
        product()
        taken.append(time.perf_counter() - start)
    return min(taken)
