"""Losses and accuracies over the rows of all ranks: the value is global, the gradient is this rank's share."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fullgraph.comm import World
from fullgraph.errors import InputError


def mean_over_ranks(loss: Callable[..., Tensor], out: Tensor, target: Tensor, mask: Tensor, world: World) -> Tensor:
    """The mean of ``loss`` over the chosen rows of all ranks, a scalar that is equal on all ranks. Collective.

    Its gradient is that of this rank's rows alone, so that gradients summed over ranks are those of the global mean.

    Args:
        loss: takes ``(out, target, reduction="sum")``, as the losses of `torch.nn.functional` do.
        out: ``[n, …]``, this rank's rows.
        target: ``[n, …]``.
        mask: bool ``[n]`` or int64 indices of rows; may choose none on some ranks.
        world: the ranks.

    Raises:
        InputError: if no rank has a chosen row, on all ranks; or a mask of the wrong length.
    """
    count = world.all_reduce(torch.tensor([count_rows(mask, len(out))], device=out.device))
    if int(count) == 0:
        raise InputError("the mask chooses no row on any rank; a mean needs at least one")
    return _ShareOfSum.apply(loss(out[mask], target[mask], reduction="sum") / count.to(out.dtype).squeeze(), world)  # pyright: ignore[reportReturnType]


def mean_over_all(values: Tensor, world: World) -> Tensor:
    """The mean of all entries on all ranks, a scalar that is equal on all ranks. Collective.

    Its gradient is this rank's share, as that of `mean_over_ranks`.

    Raises:
        InputError: if no rank has an entry, on all ranks.
    """
    count = world.all_reduce(torch.tensor(values.numel(), device=values.device))
    if int(count) == 0:
        raise InputError("a mean over all ranks needs at least one entry on any of them; there is none")
    return _ShareOfSum.apply(values.sum() / count.to(values.dtype), world)  # pyright: ignore[reportReturnType]


def sum_of_shares(share: Tensor, world: World) -> Tensor:
    """The sum of all ranks' ``share``, whose gradient on each rank is that of its own share alone. Collective."""
    return _ShareOfSum.apply(share, world)  # pyright: ignore[reportReturnType]


def accuracy_over_ranks(out: Tensor, target: Tensor, mask: Tensor, world: World) -> float:
    """The share of chosen rows, over all ranks, whose largest output is the target class. Collective.

    Returns:
        A float in ``[0, 1]``, equal on all ranks; nan if no row is chosen.
    """
    count = count_rows(mask, len(out))
    correct = int((out[mask].argmax(dim=-1) == target[mask]).sum())
    right, total = world.all_reduce(torch.tensor([correct, count], device=out.device)).tolist()
    return right / total if total else float("nan")


def count_rows(mask: Tensor, num_rows: int) -> int:
    """How many rows a mask or a list of indices chooses."""
    if mask.dtype == torch.bool:
        if mask.shape != (num_rows,):
            raise InputError(
                f"a mask needs one entry for each of the {num_rows} rows this rank owns: {tuple(mask.shape)}"
            )
        return int(mask.sum())
    return len(mask)


class _ShareOfSum(torch.autograd.Function):
    """Forward: the sum over ranks. Backward: the identity, because every rank runs backward on its own share."""

    @staticmethod
    def forward(ctx: Any, share: Tensor, world: World) -> Tensor:
        return world.all_reduce(share.clone())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return grads[0], None
