"""Rows of other ranks that never change are fetched once, within a budget, and projected here in every epoch.

Not in mode ``sar``: a halo does not shrink as the rank's own rows do, and there memory shall.

Attention projects rows before they travel, so the rows of its first layer would travel anew in every epoch, although
the input features are what they were: only the weights have changed. A rank that holds the features of its halo makes
the projected rows itself, one round at a time, and nothing travels forward.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fullgraph.comm import Routes, fetch_all
from fullgraph.comm.spans import span
from fullgraph.engine.memo import Standing, could_be_constant
from fullgraph.engine.plan import Plan
from fullgraph.engine.streamed import StreamedRows

Sources = Callable[[Tensor], tuple[Tensor, ...]]


@dataclass(frozen=True)
class HeldRows:
    """Input rows of the halo, and what follows from them.

    Attributes:
        rows: ``[num_received, F]``, in rank order.
        sources: ``[n, F]`` to the source tensors of a score, each with n rows; works row by row.
    """

    rows: Tensor
    sources: Sources

    def rounds(self, routes: Routes) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
        """What `comm.fetch` would bring, had the source tensors travelled."""
        for number, round_ in enumerate(routes.rounds):
            with span(f"round {number}: held rows of rank {round_.receive_from}"):
                yield number, self.sources(routes.of_round(number, self.rows))

    def extend(self, src: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Source tensors of own and halo rows, as `with_halo` would give them; gradients stay on this rank."""
        return tuple(torch.cat(pair) for pair in zip(src, self.sources(self.rows), strict=True))


def held_rows(x: Tensor, plan: Plan, sources: Sources, num_columns: int) -> HeldRows | None:
    """The halo's rows of ``x``, if they never change and may be held, else None; equal on all ranks. Collective.

    Args:
        x: ``[num_own, F]``, from which ``sources`` makes what the layer needs of its sources.
        plan: the edges.
        sources: see `HeldRows`.
        num_columns: how many numbers per row ``sources`` gives: what else would travel.
    """
    halo = plan.halo
    on_disk = isinstance(x, StreamedRows)  # because there is no memory for them
    if halo.config.mode == "sar" or halo.world.num_ranks == 1 or on_disk or x.dim() != 2 or not could_be_constant(x):
        return None
    # No rank needs more rows than this, so ranks need not ask each other.
    most = (halo.world.num_ranks - 1) * halo.routes.longest * x.size(1) * x.element_size()
    if most > halo.config.held_mib * 2**20:
        return None
    standing = plan.memo.standing("halo", x)
    # New rows may never come again. Then to send them pays only if they are narrower, and evaluation, where the input
    # of any layer looks constant, fetches its rounds.
    if standing == Standing.NEW and (not torch.is_grad_enabled() or x.size(1) > num_columns):
        return None
    rows = plan.memo.once(lambda: fetch_all(halo.routes, x, packs=True), "halo", x, standing=standing)
    return HeldRows(rows, sources)
