"""What the three attentions ask alike about a block's edges: its CSR arrays, biases and dropout."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fullgraph.ops.checks import check, check_block
from fullgraph.ops.keep import Dropout


def shape_of(name: str, rows: Tensor) -> tuple[int, int, int]:
    """The sizes of a [rows, H, C] tensor.

    Raises:
        InputError: if it has another number of dimensions.
    """
    check(name, rows, [-1, -1, -1], rows.dtype, rows.device)
    num_rows, num_heads, channels = rows.shape
    return num_rows, num_heads, channels


def check_edges(
    indptr: Tensor,
    indices: Tensor,
    rows: Tensor,
    edge_ids: Tensor | None,
    bias: Tensor | None,
    dropout: Dropout | None,
    *,
    num_rows: int,
) -> None:
    """Refuse a block, bias or dropout that does not fit `rows` [any, H, C].

    Raises:
        InputError: naming what does not fit.
    """
    check_block(indptr, indices, edge_ids, num_rows)
    check("rows", rows, [-1, -1, -1], rows.dtype, indptr.device)
    if bias is not None:
        check("bias", bias, [_num_edges(indices, edge_ids), rows.size(1)], rows.dtype, rows.device)
    if dropout is not None:
        check("edge_keys", dropout.edge_keys, [_num_edges(indices, edge_ids)], torch.int64, rows.device)


def check_grad(grad: Tensor, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> None:
    """Refuse a gradient of the output, of `shape` [rows, H, C], that is neither [rows, H, C] nor [rows, 1, C].

    Raises:
        InputError: naming what was expected and what it is.
    """
    num_rows, num_heads, channels = shape
    shared = grad.dim() == 3 and grad.size(1) == 1
    check("grad", grad, [num_rows, 1 if shared else num_heads, channels], dtype, device)


def check_grad_bias(grad_bias: Tensor | None, indices: Tensor, rows: Tensor, edge_ids: Tensor | None) -> None:
    """Raises: InputError: if there is a gradient of biases that is not [E, H]."""
    if grad_bias is not None:
        check("grad_bias", grad_bias, [_num_edges(indices, edge_ids), rows.size(1)], rows.dtype, rows.device)


def _num_edges(indices: Tensor, edge_ids: Tensor | None) -> int:
    return indices.numel() if edge_ids is None else -1
