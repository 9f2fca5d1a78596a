"""The rows of other ranks that a rank's edges start from, and fetching all of them at once with its adjoint.

Sequential layers walk over the halo round by round (`engine.walks.plan`). What is only a few numbers per row, and every
layer that has no rule of its own, takes it whole: ``[own rows; halo rows]``, at a memory cost of one row per halo node.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from fullgraph.comm import Routes, World, fetch_all, return_all
from fullgraph.config import EngineConfig


@dataclass(frozen=True)
class Halo:
    """Own source rows and the rows that this rank's edges need from elsewhere, under one numbering.

    *Extended ids*: ``0 … num_own - 1`` are the own rows; then come the needed rows of rank 0, of rank 1, …, each
    rank's in ascending order of its own numbering.

    Attributes:
        num_own: rows that this rank owns.
        needed: per rank, int64 ids of the rows needed from it, in that rank's own numbering, ascending.
        routes: who sends which rows to whom.
        config: how the engine walks.
    """

    num_own: int
    needed: tuple[Tensor, ...]
    routes: Routes
    config: EngineConfig

    @property
    def world(self) -> World:
        """The ranks."""
        return self.routes.world

    @property
    def num_extended(self) -> int:
        """Own rows and halo rows together."""
        return self.num_own + self.routes.num_received

    @cached_property
    def offsets(self) -> Tensor:
        """Where each rank's rows start among the halo rows, int64 ``[num_ranks + 1]``."""
        return torch.tensor(self.routes.receive_offsets, device=self.world.device)

    @cached_property
    def gathered(self) -> "Halo":
        """Of rows that `with_halo` gave: all are this rank's own, and no other rank is asked."""
        world, empty = World(device=self.world.device, traffic=self.world.traffic), self.needed[self.world.rank][:0]
        return Halo.connect(world, self.config, self.num_extended, (empty,))

    @classmethod
    def connect(cls, world: World, config: EngineConfig, num_own: int, needed: tuple[Tensor, ...]) -> "Halo":
        """Tell every rank which of its rows this rank needs, and learn the same from it. Collective."""
        return cls(num_own, needed, connect(world, needed, config), config)


def connect(world: World, needed: Sequence[Tensor], config: EngineConfig) -> Routes:
    """`Routes.connect` with the settings of a run. Collective."""
    return Routes.connect(world, needed, config.round_rows, config.prefetch, config.wire_dtype)


def with_halo(x: Tensor, halo: Halo, *, packs: bool = False) -> Tensor:
    """Own and halo rows of ``x``: ``[num_own, …]`` to ``[num_extended, …]``, differentiable. Collective.

    ``packs`` is as in `fetch`. Without halo rows it is the memory of ``x``, so it may not be changed in place.
    """
    return _Extend.apply(x, halo, packs)  # pyright: ignore[reportReturnType]


def without_halo(x: Tensor, halo: Halo) -> Tensor:
    """The adjoint of `with_halo`: add the halo rows of ``x`` to their owners' rows, differentiable. Collective.

    Where nothing goes to another rank or comes from one it is the memory of ``x``.
    """
    return _Reduce.apply(x, halo)  # pyright: ignore[reportReturnType]


def _extend(x: Tensor, halo: Halo, packs: bool) -> Tensor:
    rows = fetch_all(halo.routes, x, packs=packs)  # others may need rows of a rank that needs none
    return torch.cat([x, rows]) if len(rows) else x.contiguous()


def _reduce(x: Tensor, halo: Halo) -> Tensor:
    if not halo.routes.num_received and not halo.routes.num_sent:
        return x
    return return_all(halo.routes, x[halo.num_own :].contiguous(), x[: halo.num_own].clone())


class _Extend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, halo: Halo, packs: bool) -> Tensor:
        ctx.halo = halo
        return _extend(x, halo, packs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return without_halo(grads[0], ctx.halo), None, None


class _Reduce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, halo: Halo) -> Tensor:
        ctx.halo = halo
        return _reduce(x, halo)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return with_halo(grads[0], ctx.halo), None
