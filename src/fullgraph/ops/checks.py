"""What every op asks of its tensors before a kernel touches raw memory: shape, dtype, device and order, in O(1)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fullgraph.errors import InputError


def check(name: str, tensor: Tensor, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> None:
    """Refuse a tensor that is not contiguous and exactly of this shape, dtype and device.

    Args:
        shape: one number per dimension; -1 stands for any.

    Raises:
        InputError: naming the argument, what was expected and what it is.
    """
    fits = tensor.dim() == len(shape) and all(want in (-1, got) for want, got in zip(shape, tensor.shape, strict=True))
    if fits and tensor.dtype == dtype and tensor.device == device and tensor.is_contiguous():
        return
    expected = ", ".join("any" if size == -1 else str(size) for size in shape)
    order = "" if tensor.is_contiguous() else "non-contiguous "
    raise InputError(
        f"{name} must be a contiguous {dtype} tensor of shape [{expected}] on {device}: "
        f"{order}{tensor.dtype} {list(tensor.shape)} on {tensor.device}"
    )


def check_block(indptr: Tensor, indices: Tensor, edge_ids: Tensor | None, num_rows: int) -> None:
    """Refuse CSR arrays that cannot describe `num_rows` rows. The values of `indices` and `edge_ids` are not read.

    Raises:
        InputError: naming the array, what was expected and what it is.
    """
    device = indptr.device
    check("indptr", indptr, [num_rows + 1], torch.int64, device)
    check("indices", indices, [-1], torch.int32, device)
    if edge_ids is not None:
        check("edge_ids", edge_ids, [indices.numel()], torch.int64, device)
    if device.type == "cpu" and (int(indptr[0]) != 0 or int(indptr[-1]) != indices.numel()):
        raise InputError(
            f"indptr must begin with 0 and end with the number of indices, {indices.numel()}: "
            f"{int(indptr[0])} … {int(indptr[-1])}"
        )


def check_probability(p: float) -> None:
    """Raises: InputError: unless 0 <= p <= 1."""
    if not 0.0 <= p <= 1.0:
        raise InputError(f"the probability of dropping must be between 0 and 1: {p}")


def check_key(key: int) -> None:
    """Raises: InputError: unless 0 <= key < 2**63."""
    if not 0 <= key < 1 << 63:
        raise InputError(f"a dropout key must be an int from 0 to 2**63 - 1: {key}")
