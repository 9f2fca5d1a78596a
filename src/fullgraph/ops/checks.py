"""What every op asks of its tensors before a kernel touches raw memory: shape, dtype, device and order, in O(1)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fullgraph.errors import InputError
from fullgraph.ops.dtypes import accumulator


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
        check("edge_ids", edge_ids, [indices.numel()], torch.int32, device)
    if device.type == "cpu" and (int(indptr[0]) != 0 or int(indptr[-1]) != indices.numel()):
        raise InputError(
            f"indptr must begin with 0 and end with the number of indices, {indices.numel()}: "
            f"{int(indptr[0])} … {int(indptr[-1])}"
        )


def fits(table: str) -> Callable[[dict[str, Any]], Tensor]:
    """What an `ops.operators.operator` over a block asks of its tensors.

    Args:
        table: names of tensors, each with a letter for each of its dimensions: n for the block's rows, S for its
            columns, F for the width, H for heads, C for channels, E for edges; lower h stands for H or 1, of a gradient
            that all heads share. A letter is the size that had it first. All are of the first one's dtype, or float32
            where that has 16 bits; those with + are of what such numbers are summed in, those with * of int32; bias and
            edge_keys are known.
    """
    shapes = dict(entry.split() for entry in table.split(", ")) | {"bias": "EH"}
    rows = next(iter(shapes))

    def check_tensors(given: dict[str, Any]) -> Tensor:
        indptr, indices, edge_ids = given["indptr"], given["indices"], given.get("edge_ids")
        num_edges = indices.numel() if edge_ids is None else -1
        sizes: dict[str, int] = {"E": num_edges}
        for name, letters in shapes.items():
            tensor: Tensor | None = given.get(name)
            if tensor is None:
                continue
            dtype, summed_in = given[rows].dtype, accumulator(given[rows].dtype)
            if letters.endswith("+") or tensor.dtype == summed_in:
                dtype = summed_in
            if letters.endswith("*"):
                dtype = torch.int32
            letters = letters.rstrip("*+")
            if "h" in letters:
                sizes["h"] = 1 if tensor.dim() == len(letters) and tensor.size(letters.index("h")) == 1 else sizes["H"]
            check(name, tensor, [sizes.get(letter, -1) for letter in letters], dtype, indptr.device)
            for letter, size in zip(letters, tensor.shape, strict=True):
                sizes.setdefault(letter, size)
        check_block(indptr, indices, edge_ids, sizes["n"])
        if given.get("dropout") is not None:
            check("edge_keys", given["dropout"].edge_keys, [num_edges], torch.int64, indptr.device)
        return given[rows]

    return check_tensors


def check_probability(p: float) -> None:
    """Raises: InputError: unless 0 <= p <= 1."""
    if not 0.0 <= p <= 1.0:
        raise InputError(f"the probability of dropping must be between 0 and 1: {p}")


def check_key(key: int) -> None:
    """Raises: InputError: unless 0 <= key < 2**63."""
    if not 0 <= key < 1 << 63:
        raise InputError(f"a dropout key must be an int from 0 to 2**63 - 1: {key}")
