"""The way into the C++ extension: which tensors it takes, and their arrays without a copy."""

from typing import Any

import numpy as np
import torch  # before _core, so that the extension finds torch's OpenMP runtime loaded and uses its threads
from torch import Tensor

from fullgraph import _core as core

__all__ = ["array", "core", "is_narrow", "runs", "sums", "threads"]


def runs(tensor: Tensor) -> bool:
    """Whether the C++ kernels take tensors like this one: float32 or float64 on a CPU."""
    return tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.float64)


def is_narrow(tensor: Tensor) -> bool:
    """Whether the C++ kernels take a float32 copy of tensors like this one: of 16 bits on a CPU."""
    return tensor.device.type == "cpu" and tensor.dtype in (torch.bfloat16, torch.float16)


def sums(tensor: Tensor) -> bool:
    """Whether the C++ kernels that read bfloat16 too take rows like these."""
    return runs(tensor) or (tensor.device.type == "cpu" and tensor.dtype == torch.bfloat16)


def array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """The tensor's memory as an array (of bits, for bfloat16); writing to one writes to the other."""
    tensor = tensor.detach()
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def threads() -> int:
    """How many threads a kernel may use: what `torch.set_num_threads` says."""
    return torch.get_num_threads()
