"""In which precision numbers are summed."""

import torch


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """What numbers of this dtype are summed in: float32 for those of 16 bits, else themselves."""
    return torch.float32 if dtype.itemsize < 4 else dtype
