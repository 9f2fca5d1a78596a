"""Rows of an attention layer's input, from which a rank projects other ranks' rows by itself, one round at a time.

Attention projects rows before they travel. Input rows travel instead where they are no wider: a rank makes a few more
products, and after a ReLU half of what travels is zeros, which need not (`comm.wire`). And rows that never change, as
the features that a first layer reads, are fetched once, within a budget, although the weights change in every epoch;
not in mode ``sar``: a halo does not shrink as the rank's own rows do, and there memory shall.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fullgraph.comm import Routes, fetch, fetch_all
from fullgraph.comm.spans import span
from fullgraph.engine.disk.rows import StreamedRows
from fullgraph.engine.memo import Standing, could_be_constant
from fullgraph.engine.walks.plan import Plan

Sources = Callable[[Tensor], tuple[Tensor, ...]]
_Rounds = Iterator[tuple[int, tuple[Tensor, ...]]]


@dataclass(frozen=True)
class SourceRows:
    """Input rows, and what follows from them.

    Attributes:
        rows: of the halo, ``[num_received, F]``, in rank order; or of this rank, ``[num_own, F]``, which travel.
        sources: ``[n, F]`` to the source tensors of a score, each with n rows; works row by row.
        is_held: whether they are the halo's.
    """

    rows: Tensor
    sources: Sources
    is_held: bool

    def rounds(self, routes: Routes) -> _Rounds:
        """What `comm.fetch` would bring, had the source tensors travelled; the first rounds are under way."""
        if self.is_held:
            return self._of_held(routes)
        return self._made(fetch(routes, (self.rows,), packs=True, purpose="attention, forward, input rows"))

    def _of_held(self, routes: Routes) -> _Rounds:
        for number, round_ in enumerate(routes.rounds):
            with span(f"round {number}: held rows of rank {round_.receive_from}"):
                yield number, self.sources(routes.of_round(number, self.rows))

    def _made(self, incoming: _Rounds) -> _Rounds:
        for number, (rows,) in incoming:
            made = self.sources(rows)
            del rows  # while what was made of them is used
            yield number, made
            del made  # before the next round is posted

    def extend(self, src: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Source tensors of own and held rows, as `with_halo` would give them; gradients stay on this rank."""
        return tuple(torch.cat(pair) for pair in zip(src, self.sources(self.rows), strict=True))


def source_rows(x: Tensor, plan: Plan, sources: Sources, num_columns: int) -> SourceRows | None:
    """The halo's rows of ``x`` if they may be held, own rows to send if they are no wider; else None. Collective.

    Args:
        x: ``[num_own, F]``, from which ``sources`` makes what the layer needs of its sources.
        plan: the edges.
        sources: as in `SourceRows`.
        num_columns: how many numbers per row ``sources`` gives: what else would travel.
    """
    halo = plan.halo
    if halo.world.num_ranks == 1 or isinstance(x, StreamedRows) or x.dim() != 2:  # no memory for rows that stay on disk
        return None
    held = None if halo.config.mode == "sar" else _held(x, plan, num_columns)
    if held is not None:
        return SourceRows(held, sources, is_held=True)
    is_narrow = halo.config.mode != "halo" and x.size(1) <= num_columns
    return SourceRows(x.detach(), sources, is_held=False) if is_narrow else None


def _held(x: Tensor, plan: Plan, num_columns: int) -> Tensor | None:
    """The halo's rows of ``x``, if they never change and may be held; equal on all ranks."""
    halo = plan.halo
    # No rank needs more rows than this, so ranks need not ask each other.
    most = (halo.world.num_ranks - 1) * halo.routes.longest * x.size(1) * x.element_size()
    if not could_be_constant(x) or most > halo.config.held_mib * 2**20:
        return None
    standing = plan.memo.standing("halo", x)
    # New rows may never come again. Then to send them pays only if they are narrower, and evaluation, where the input
    # of any layer looks constant, fetches its rounds.
    if standing == Standing.NEW and (not torch.is_grad_enabled() or x.size(1) > num_columns):
        return None
    return plan.memo.once(lambda: fetch_all(halo.routes, x, packs=True), "halo", x, standing=standing)
