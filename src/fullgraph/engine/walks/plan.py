"""What a layer walks over: a rank's edges cut into blocks, one per round of foreign rows, in both directions.

Forward, source rows come to the owner of the destination. Backward is the same walk over the reversed graph: rows of
destinations come to the owner of the source, so that it can form the gradient of its own rows by itself.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property

import torch
from torch import Tensor

from fullgraph.comm import Routes, fetch_all, swap
from fullgraph.engine.memo import Memo
from fullgraph.engine.walks.halo import Halo, connect
from fullgraph.engine.walks.partial_sums import Crossing, SumWalks
from fullgraph.engine.walks.walk import Walk, blocks_of_rounds
from fullgraph.graph.block import Block

Ends = tuple[Tensor, Tensor]


class Plan:
    """All walks over one set of edges, from the sources of `halo` into destinations that this rank owns.

    Built on first use; `forward` needs no communication, everything else is collective. What a walk keeps of an edge is
    its column, 4 bytes, and where its value lies, 4 more; sums without values do not keep that.
    """

    def __init__(self, halo: Halo, make_ends: Callable[[], Ends], num_edges: int, num_dst: int):
        """Of edges whose ids are made when a walk is built.

        Args:
            halo: own source rows and those needed from elsewhere.
            make_ends: gives each edge's source as an extended id, int ``[num_edges]``, and its destination among own
                rows, int ``[num_edges]``, below ``num_dst``.
            num_edges: edges into this rank's destinations.
            num_dst: destinations that this rank owns.
        """
        self.halo, self.num_edges, self.num_dst = halo, num_edges, num_dst
        self.memo = Memo(halo.world)
        self._make_ends = make_ends
        self._held: Ends | None = None
        self._divisors: dict[torch.dtype, Tensor] = {}
        self._sums: dict[bool, SumWalks] = {}

    @contextmanager
    def _ends(self) -> Iterator[Ends]:
        """The ends of all edges, made once for all that is built meanwhile."""
        is_outermost = self._held is None
        if self._held is None:
            self._held = self._make_ends()
        try:
            yield self._held
        finally:
            if is_outermost:
                self._held = None

    @cached_property
    def in_degree(self) -> Tensor:
        """Edges into each owned destination, int64 ``[num_dst]``."""
        with self._ends() as (_, dst):
            return torch.bincount(dst, minlength=self.num_dst)

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
        return Plan(self.halo.gathered, self._make_ends, self.num_edges, self.num_dst)

    @property
    def merged(self) -> Block:
        """All edges as one block over own and halo rows."""
        return self.extended._local

    @cached_property
    def _local(self) -> Block:
        return self._own_edges(has_values=True)

    def _own_edges(self, *, has_values: bool) -> Block:
        """The edges between own rows."""
        with self._ends() as (src, dst):
            ids = None
            if self.halo.world.num_ranks > 1:
                ids = torch.nonzero(src < self.halo.num_own).squeeze(1)
                src, dst = src[ids], dst[ids]
            num_own = self.halo.num_own
            return Block.from_edges(dst, src, ids, num_rows=self.num_dst, num_cols=num_own, has_values=has_values)

    @cached_property
    def forward(self) -> Walk:
        """Sources walk to destinations."""
        with self._ends() as (src, dst):
            if self.halo.world.num_ranks == 1:
                return Walk(self._local, (), self.halo.routes)
            owner, position = self._owner_and_position(src)
            ids = torch.nonzero(owner >= 0).squeeze(1)
            blocks = blocks_of_rounds(self.halo.routes, owner[ids], position[ids], dst[ids], ids, self.num_dst)
            return Walk(self._local, blocks, self.halo.routes)

    @cached_property
    def backward(self) -> Walk:
        """Destinations walk to sources. Collective the first time: edges are told to the owners of their sources."""
        world = self.halo.world
        if world.num_ranks == 1:
            return Walk(self._local.transposed, (), self.halo.routes)
        with self._ends() as (src, dst):
            foreign = enumerate(self._foreign())
            told = [torch.stack([self._own_id(rank, src[ids]), dst[ids]], dim=1) for rank, ids in foreign]
            heard = swap(world, [edges.to(torch.int32) for edges in told])
            local = self._local.transposed
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
        return Walk(local, blocks, routes)

    def sum_walks(self, *, weighted: bool) -> SumWalks:
        """The walks of sums, for which fewer rows travel. Collective the first time; those with weights do for all."""
        known = self._sums.get(True) or self._sums.get(weighted)
        if known is None:
            with self._ends() as (src, dst):
                foreign = enumerate(self._foreign())
                crossing = (Crossing(ids, self._own_id(rank, src[ids]), dst[ids]) for rank, ids in foreign)
                local = self._local if weighted else self._own_edges(has_values=False)
                known = SumWalks(self.halo.world, self.halo.config, self.memo, local, crossing, self.num_edges)
            self._sums = {weighted: known}
        return known

    def build(self, *, sums: bool, weighted: bool, backward: bool) -> None:
        """Build what the engine will walk over now, rather than in the first epoch. Collective.

        Args:
            sums: whether it is for sums, with weights that need no gradient if any.
            weighted: whether sums have weights.
            backward: whether there will be a backward.
        """
        plan = self.extended if self.halo.config.mode == "halo" else self
        with plan._ends():
            walks = plan.sum_walks(weighted=weighted) if sums else plan
            _ = (walks.forward, walks.backward) if backward else walks.forward

    def edge_values_at_sources(self, values: Tensor) -> Tensor:
        """Values of the edges from this rank's rows to other ranks: ``[num_edges, …]`` to ``[num_out_edges, …]``.

        ``backward``'s blocks refer to them by edge id. The last answer is kept, since weights are mostly constants.
        """
        if self.halo.world.num_ranks == 1:
            return values.new_empty((0, *values.shape[1:]))
        return self.memo.latest("at sources", lambda: fetch_all(self._edge_routes, values, "setup_bytes"), values)

    @cached_property
    def _edge_routes(self) -> Routes:
        with self._ends():
            return Routes.giving(self.halo.world, self._foreign())

    def _foreign(self) -> tuple[Tensor, ...]:
        """Per rank, the edges whose sources it owns, ordered by (source, destination); none for this rank."""
        with self._ends() as (src, dst):
            if self.halo.world.num_ranks == 1:
                return (torch.arange(0, device=dst.device),)
            owner, position = self._owner_and_position(src)
            by_rank = []
            for rank in range(self.halo.world.num_ranks):
                ids = torch.nonzero(owner == rank).squeeze(1)
                order = torch.argsort(position[ids] * self.num_dst + dst[ids], stable=True)
                by_rank.append(ids[order])
            return tuple(by_rank)

    def _own_id(self, rank: int, src: Tensor) -> Tensor:
        return self.halo.needed[rank][src.long() - self.halo.num_own - self.halo.offsets[rank]]

    def _owner_and_position(self, src: Tensor) -> Ends:
        """Per edge, the rank that owns its source (-1: this one) and the row's place among those needed from it."""
        foreign = src.long() - self.halo.num_own
        owner = torch.searchsorted(self.halo.offsets, foreign, right=True) - 1
        position = torch.where(owner < 0, src, foreign - self.halo.offsets[owner.clamp(min=0)])
        return owner, position
