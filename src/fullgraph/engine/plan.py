"""What a layer walks over: a rank's edges cut into blocks, one per round of foreign rows, in both directions.

Forward, source rows come to the owner of the destination. Backward is the same walk over the reversed graph: rows of
destinations come to the owner of the source, so that it can form the gradient of its own rows by itself.
"""

from functools import cached_property

import torch
from torch import Tensor

from fullgraph.comm import Routes, fetch_all, swap
from fullgraph.engine.constants import Constants
from fullgraph.engine.halo import Halo, connect
from fullgraph.engine.latest import Latest
from fullgraph.engine.summing import Crossing, Summing
from fullgraph.engine.walk import Walk, blocks_of_rounds
from fullgraph.graph.block import Block


class Plan:
    """All walks over one set of edges, from the sources of `halo` into destinations that this rank owns.

    Built on first use; `forward` needs no communication, everything else is collective.
    """

    def __init__(self, halo: Halo, src: Tensor, dst: Tensor, num_dst: int):
        """``src``: int ``[num_edges]`` extended ids; ``dst``: int ``[num_edges]`` own rows, below ``num_dst``."""
        self.halo, self.num_dst = halo, num_dst
        self._src, self._dst = src, dst
        self._divisors: dict[torch.dtype, Tensor] = {}
        self._at_sources: Latest[Tensor] = Latest()

    @cached_property
    def constants(self) -> Constants:
        """Aggregations over these edges whose inputs do not change."""
        return Constants(self.halo.world)

    @property
    def num_edges(self) -> int:
        """Edges into this rank's destinations."""
        return len(self._src)

    @cached_property
    def in_degree(self) -> Tensor:
        """Edges into each owned destination, int64 ``[num_dst]``."""
        return torch.bincount(self._dst, minlength=self.num_dst)

    def divisors(self, dtype: torch.dtype) -> Tensor:
        """What the sum of each destination is divided by for a mean: its in-degree, or 1; ``[num_dst, 1]``."""
        if dtype not in self._divisors:
            self._divisors[dtype] = self.in_degree.clamp(min=1).to(dtype).view(-1, 1)
        return self._divisors[dtype]

    @cached_property
    def extended(self) -> "Plan":
        """The same edges from rows that are all at hand, own and halo rows in one tensor: a walk without rounds.

        What mode ``halo`` computes with, and all there is on one rank.
        """
        if self.halo.world.num_ranks == 1:
            return self
        return Plan(self.halo.gathered, self._src, self._dst, self.num_dst)

    @property
    def merged(self) -> Block:
        """All edges as one block over own and halo rows."""
        return self.extended._local

    @cached_property
    def _local(self) -> Block:
        """The edges between own rows."""
        if self.halo.world.num_ranks == 1:
            return Block.from_edges(self._dst, self._src, None, num_rows=self.num_dst, num_cols=self.halo.num_own)
        ids = torch.nonzero(self._src < self.halo.num_own).squeeze(1)
        return Block.from_edges(self._dst[ids], self._src[ids], ids, num_rows=self.num_dst, num_cols=self.halo.num_own)

    @cached_property
    def forward(self) -> Walk:
        """Sources walk to destinations."""
        if self.halo.world.num_ranks == 1:
            return Walk(self._local, (), self.halo.routes)
        owner, position = self._owner_and_position()
        ids = torch.nonzero(owner >= 0).squeeze(1)
        blocks = blocks_of_rounds(self.halo.routes, owner[ids], position[ids], self._dst[ids], ids, self.num_dst)
        return Walk(self._local, blocks, self.halo.routes)

    @cached_property
    def backward(self) -> Walk:
        """Destinations walk to sources. Collective the first time: edges are told to the owners of their sources."""
        world = self.halo.world
        if world.num_ranks == 1:
            return Walk(self._local.transposed, (), self.halo.routes)
        foreign = enumerate(self._foreign())
        told = [torch.stack([self._own_id(rank, ids), self._dst[ids]], dim=1) for rank, ids in foreign]
        heard = swap(world, [edges.to(torch.int32) for edges in told])
        owners, positions, rows, needed = [], [], [], []
        for rank, edges in enumerate(heard):
            destinations, position = torch.unique(edges[:, 1], return_inverse=True)
            needed.append(destinations.long())
            owners.append(torch.full_like(position, rank))
            positions.append(position)
            rows.append(edges[:, 0])
        routes = connect(world, needed, self.halo.config)
        owner = torch.cat(owners)
        ids = torch.arange(len(owner), device=owner.device)
        blocks = blocks_of_rounds(routes, owner, torch.cat(positions), torch.cat(rows), ids, self.halo.num_own)
        return Walk(self._local.transposed, blocks, routes)

    @cached_property
    def summing(self) -> Summing:
        """The walks of sums, for which fewer rows travel. Collective the first time."""
        foreign = enumerate(self._foreign())
        crossing = (Crossing(ids, self._own_id(rank, ids), self._dst[ids]) for rank, ids in foreign)
        return Summing(self.halo.world, self.halo.config, self._local, crossing, self.num_edges)

    def build(self, *, sums: bool, backward: bool) -> None:
        """Build what the engine will walk over now, rather than in the first epoch. Collective.

        Args:
            sums: whether it is for sums, with weights that need no gradient if any.
            backward: whether there will be a backward.
        """
        plan = self.extended if self.halo.config.mode == "halo" else self
        walks = plan.summing if sums else plan
        _ = (walks.forward, walks.backward) if backward else walks.forward

    def edge_values_at_sources(self, values: Tensor) -> Tensor:
        """Values of the edges from this rank's rows to other ranks: ``[num_edges, …]`` to ``[num_out_edges, …]``.

        ``backward``'s blocks refer to them by edge id. The last answer is kept, since weights are mostly constants.
        """
        if self.halo.world.num_ranks == 1:
            return values.new_empty((0, *values.shape[1:]))
        return self._at_sources.of(values, lambda: fetch_all(self._edge_routes, values.detach(), "setup_bytes"))

    @cached_property
    def _edge_routes(self) -> Routes:
        return Routes.giving(self.halo.world, self._foreign())

    def _foreign(self) -> tuple[Tensor, ...]:
        """Per rank, the edges whose sources it owns, ordered by (source, destination); none for this rank."""
        if self.halo.world.num_ranks == 1:
            return (torch.arange(0, device=self._dst.device),)
        owner, position = self._owner_and_position()
        by_rank = []
        for rank in range(self.halo.world.num_ranks):
            ids = torch.nonzero(owner == rank).squeeze(1)
            order = torch.argsort(position[ids] * self.num_dst + self._dst[ids], stable=True)
            by_rank.append(ids[order])
        return tuple(by_rank)

    def _own_id(self, rank: int, ids: Tensor) -> Tensor:
        return self.halo.needed[rank][self._src[ids] - self.halo.num_own - self.halo.offsets[rank]]

    def _owner_and_position(self) -> tuple[Tensor, Tensor]:
        """Per edge, the rank that owns its source (-1: this one) and the row's place among those needed from it."""
        foreign = self._src.long() - self.halo.num_own
        owner = torch.searchsorted(self.halo.offsets, foreign, right=True) - 1
        position = torch.where(owner < 0, self._src, foreign - self.halo.offsets[owner.clamp(min=0)])
        return owner, position
