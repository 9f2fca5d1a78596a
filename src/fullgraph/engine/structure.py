"""Questions about a tensor's shape and kind, which a tensor that is none in memory answers like any other."""

from typing import Any

import torch
from torch import Tensor

STRUCTURE: frozenset[Any] = frozenset(
    {
        Tensor.size,
        Tensor.dim,
        Tensor.ndimension,
        Tensor.numel,
        torch.numel,
        Tensor.nelement,
        Tensor.element_size,
        Tensor.get_device,
        Tensor.is_floating_point,
        torch.is_floating_point,
        Tensor.is_complex,
        torch.is_complex,
        Tensor.__len__,
        Tensor.__hash__,
        *(
            getattr(Tensor, name).__get__
            for name in (
                "shape",
                "dtype",
                "device",
                "layout",
                "ndim",
                "is_cuda",
                "is_cpu",
                "is_sparse",
                "is_sparse_csr",
                "is_quantized",
                "is_mkldnn",
                "is_meta",
                "is_nested",
                "is_leaf",
                "requires_grad",
                "grad",
                "grad_fn",
                "_version",
                "itemsize",
            )
        ),
    }
)
"""Functions of torch, as ``__torch_function__`` is given them."""
