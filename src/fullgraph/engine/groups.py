"""Groups of rows that are spread over ranks: the graphs of a batch, node types, or all rows as one group.

A statistic of a group is a sum over ranks of one vector per group, and every rank goes on with it. So these sums are
differentiable, and their gradients are summed over ranks in turn.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fullgraph.comm import World
from fullgraph.engine.sums import sum_over_ranks
from fullgraph.errors import InputError


@dataclass(frozen=True)
class Groups:
    """Which of this rank's rows belong to which group.

    Attributes:
        index: int64 ``[n]``, each row's group; None if all rows of all ranks are one group.
        counts: int64 ``[num_groups]``, rows of each group on all ranks; a group may have none.
        world: the ranks.
    """

    index: Tensor | None
    counts: Tensor
    world: World

    @classmethod
    def of(cls, x: Tensor, index: Tensor | None, num_groups: int | None, world: World) -> "Groups":
        """The groups of the rows of ``x``. Collective.

        Args:
            x: ``[n, …]``, this rank's rows.
            index: int64 ``[n]`` or None.
            num_groups: the same on all ranks; None to find the largest group on any rank.
            world: the ranks.

        Raises:
            InputError: if the index does not have one entry per row.
        """
        if index is None:
            return cls(None, world.all_reduce(torch.tensor([len(x)], device=x.device)), world)
        if index.shape != (len(x),):
            raise InputError(f"a group per row needs {len(x)} entries, one for each row: {tuple(index.shape)}")
        largest = num_groups or max(world.gather_objects(int(index.max()) + 1 if len(index) else 0))
        return cls(index, world.all_reduce(torch.bincount(index, minlength=largest)), world)

    def sum(self, x: Tensor) -> Tensor:
        """The sum of each group's rows on all ranks, ``[n, …]`` to ``[num_groups, …]``, differentiable. Collective.

        Half-precision rows are summed in float32.
        """
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        if self.index is None:
            local = wide.sum(0, keepdim=True)
        else:
            local = wide.new_zeros((len(self.counts), *x.shape[1:])).index_add(0, self.index, wide)
        return sum_over_ranks(local, self.world).to(x.dtype)

    def mean(self, x: Tensor) -> Tensor:
        """The mean of each group's rows, ``[n, …]`` to ``[num_groups, …]``, 0 for a group without. Collective."""
        rows = self.counts.clamp(min=1).to(x.dtype).view(-1, *[1] * (x.dim() - 1))
        return self.sum(x) / rows

    def max(self, x: Tensor) -> Tensor:
        """The largest of each group's rows, ``[n, …]`` to ``[num_groups, …]``, 0 for a group without. Collective.

        Differentiable; rows that tie share the gradient evenly, as in PyG.
        """
        return _Max.apply(x, self)  # pyright: ignore[reportReturnType]

    def min(self, x: Tensor) -> Tensor:
        """The smallest of each group's rows, as `max`. Collective."""
        return -self.max(-x)

    def softmax(self, x: Tensor) -> Tensor:
        """``exp(x)`` over its sum in each row's group, ``[n, …]``, differentiable. Collective."""
        # As PyG does it: maxima take no part in backward, and no group's sum is 0.
        out = (x - self.spread(self.max(x.detach()))).exp()
        return out / self.spread(self.sum(out) + 1e-16)

    def spread(self, values: Tensor) -> Tensor:
        """Each row's group's entry of ``values`` ``[num_groups, …]``: ``[n, …]``, or ``[1, …]`` for a single group."""
        return values if self.index is None else values.index_select(0, self.index)


class _Max(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, groups: Groups) -> Tensor:
        rows = torch.zeros(len(x), dtype=torch.long, device=x.device) if groups.index is None else groups.index
        index = rows.view(-1, *[1] * (x.dim() - 1)).expand_as(x)
        shape = (len(groups.counts), *x.shape[1:])
        lowest = x.new_full(shape, -torch.inf)
        largest = groups.world.all_max(lowest.scatter_reduce(0, index, x, "amax"))
        out = largest.masked_fill((groups.counts == 0).view(-1, *[1] * (x.dim() - 1)), 0)
        ctx.groups = groups
        ctx.save_for_backward(x, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, out = ctx.saved_tensors
        groups: Groups = ctx.groups
        grad = groups.world.all_reduce(grads[0].clone(memory_format=torch.contiguous_format))
        chosen = (x == groups.spread(out)).to(grad.dtype)
        return chosen * groups.spread(grad / groups.sum(chosen).clamp(min=1)), None
