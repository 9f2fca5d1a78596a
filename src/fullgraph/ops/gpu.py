"""The way to the kernels for GPUs: which tensors they take, and which kernel an op has."""

import functools
from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor

from fullgraph.ops.dtypes import accumulator

_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def runs(tensor: Tensor) -> bool:
    """Whether the Triton kernels take rows like these: floats on a GPU, where Triton is installed."""
    return tensor.device.type == "cuda" and tensor.dtype in _DTYPES and _kernels() is not None


def mixes_dtypes(rows: Tensor) -> bool:
    """Whether attention's kernels take rows like these beside float32: rows of 16 bits on a GPU."""
    return runs(rows) and accumulator(rows.dtype) != rows.dtype


def kernel(name: str) -> Callable[..., None]:
    """That of an op."""
    return getattr(_kernels(), name)


@functools.cache
def _kernels() -> ModuleType | None:
    """Imported late, since it takes a second and a machine without a GPU need not have Triton."""
    try:
        from fullgraph.ops import _triton
    except ModuleNotFoundError:
        return None
    return _triton
