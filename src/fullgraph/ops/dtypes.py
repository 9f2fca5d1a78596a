"""In which precision numbers are summed."""

import torch
from torch import Tensor

from fullgraph.ops import gpu


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """What numbers of this dtype are summed in: float32 for those of 16 bits, else themselves."""
    return torch.float32 if dtype.itemsize < 4 else dtype


def mixes_dtypes(rows: Tensor) -> bool:
    """Whether attention's kernels take rows like these beside float32: rows of 16 bits on a GPU."""
    return gpu.runs(rows) and accumulator(rows.dtype) != rows.dtype
