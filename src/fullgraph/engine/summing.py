"""How a sum walks: the edges between two ranks as a product of two matrices, with the fewest rows in between.

The edges from rank p into rank q are a sparse matrix A, and q needs A x of p's rows x. A cover of these edges
(`engine.cover`) makes it a product, A = R S: p forms the message S x, whose rows are rows of its own or partial sums of
them, and q adds them up by R. Backward as many rows carry the gradient, Aᵀ g = Sᵀ (Rᵀ g): q forms for each row of the
message the sum of the gradients of the destinations it went to, and p adds them up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple
from weakref import ref

import torch
from torch import Tensor

from fullgraph.comm import Routes, World, fetch_all, swap
from fullgraph.config import EngineConfig
from fullgraph.engine.cover import minimum_cover
from fullgraph.engine.walk import Walk
from fullgraph.graph.block import Block


@dataclass(frozen=True)
class Crossing:
    """Edges from one rank's rows into own rows.

    Attributes:
        ids: int64 ``[n]``, where their values lie in the tensors of edge values.
        src: int64 ``[n]``, rows of that rank, in its own numbering.
        dst: int64 ``[n]``, own rows.
    """

    ids: Tensor
    src: Tensor
    dst: Tensor


class WalkWeights(NamedTuple):
    """Constant weights of edges where a walk needs them, by edge id; None for 1.

    Attributes:
        local: ``[num_edges]``, for the edges between own rows.
        sent: of the entries of what forms the messages: an edge's weight, or 1 where a row travels as it is.
        received: of the entries of what messages are added by: an edge's weight, or 1 for a partial sum.
    """

    local: Tensor | None
    sent: Tensor | None
    received: Tensor | None

    @property
    def turned(self) -> "WalkWeights":
        """For the walk in the other direction."""
        return WalkWeights(self.local, self.received, self.sent)


class Summing:
    """The walks of sums over a plan's edges, in both directions."""

    def __init__(self, world: World, config: EngineConfig, local: Block, crossing: Sequence[Crossing], num_edges: int):
        """Find the covers, and tell the owners of the sources what to send. Collective.

        Args:
            world: the ranks.
            config: how the engine walks.
            local: the edges between own rows.
            crossing: per rank, the edges from its rows; none for this rank.
            num_edges: edges of the plan. An entry that is no edge, and so has weight 1, has this as its id.
        """
        self._world, self._config, self._local, self._num_edges = world, config, local, num_edges
        factors = [_factor(edges, num_edges) for edges in crossing]
        self._told = tuple(edge for *_, edge in (f.send for f in factors))
        heard = swap(
            world, [torch.stack([row, src], dim=1).to(torch.int32) for row, src, _ in (f.send for f in factors)]
        )
        self._incoming_edges = torch.cat([f.receive[2] for f in factors])
        self._incoming = _blocks([f.receive[:2] for f in factors], local.num_rows)
        self._outgoing = _blocks([entries.long().unbind(1) for entries in heard], local.num_cols)
        self._last: tuple[ref[Tensor], int, Tensor, Tensor] | None = None

    @cached_property
    def forward(self) -> Walk:
        """Sources walk to destinations. Collective the first time."""
        return self._walk(self._local, self._outgoing, self._incoming)

    @cached_property
    def backward(self) -> Walk:
        """Gradients of destinations walk to sources. Collective the first time."""
        return self._walk(self._local.transposed, self._incoming, self._outgoing)

    def weights(self, weight: Tensor | None) -> WalkWeights:
        """``weight`` ``[num_edges, …]`` for `forward`. Collective, unless it is the last one, which is kept."""
        if weight is None:
            return WalkWeights(None, None, None)
        if self._last is not None:
            last, version, sent, received = self._last
            if last() is weight and version == weight._version:
                return WalkWeights(weight.detach(), sent, received)
        values = torch.cat([weight.detach(), weight.new_ones(1, *weight.shape[1:])])
        sent, received = fetch_all(self._edge_routes, values, "setup_bytes"), values[self._incoming_edges]
        self._last = (ref(weight), weight._version, sent, received)
        return WalkWeights(weight.detach(), sent, received)

    @cached_property
    def _edge_routes(self) -> Routes:
        lengths = self._world.gather_objects([len(ids) for ids in self._told])
        arriving = tuple(sent[self._world.rank] for sent in lengths)
        return Routes(self._world, self._told, arriving, max(map(max, lengths)), round_rows=1 << 20, prefetch=0)

    def _walk(self, local: Block, sent: tuple[Block, ...], received: tuple[Block, ...]) -> Walk:
        config, counts = self._config, tuple(block.num_rows for block in received)
        routes = Routes.cut(self._world, counts, config.round_rows, config.prefetch, config.wire_dtype, send_sums=sent)
        blocks = (
            received[r.receive_from].rows(r.receive.start, r.receive.stop).transposed if len(r.receive) else None
            for r in routes.rounds
        )
        return Walk(local, tuple(blocks), routes)


@dataclass(frozen=True)
class _Factors:
    """Both matrices of one rank's crossing edges by entry, ascending in the rows of the message.

    ``send``: the row, the source that is added to it, the edge that this is; ``receive``: the row, the destination
    that it is added to, the edge.
    """

    send: tuple[Tensor, Tensor, Tensor]
    receive: tuple[Tensor, Tensor, Tensor]


def _factor(edges: Crossing, num_edges: int) -> _Factors:
    sources, src = torch.unique(edges.src, return_inverse=True)
    destinations, dst = torch.unique(edges.dst, return_inverse=True)
    covers = minimum_cover(src.cpu().numpy(), dst.cpu().numpy(), len(sources), len(destinations))
    by_source, by_destination = (torch.from_numpy(cover).to(src.device) for cover in covers)
    # Rows of the message: first the sources of the cover, then the partial sums of its destinations.
    row_of_source = by_source.cumsum(0) - 1
    row_of_destination = by_source.sum() + by_destination.cumsum(0) - 1
    whole = by_source[src]  # edges whose source travels; the others have their destination in the cover
    no_edge_src = torch.full_like(sources[by_source], num_edges)
    no_edge_dst = torch.full_like(destinations[by_destination], num_edges)
    send = (
        torch.cat([row_of_source[by_source], row_of_destination[dst[~whole]]]),
        torch.cat([sources[by_source], edges.src[~whole]]),
        torch.cat([no_edge_src, edges.ids[~whole]]),
    )
    receive = (
        torch.cat([row_of_source[src[whole]], row_of_destination[by_destination]]),
        torch.cat([edges.dst[whole], destinations[by_destination]]),
        torch.cat([edges.ids[whole], no_edge_dst]),
    )
    return _Factors(_by_row(send), _by_row(receive))


def _by_row(entries: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    order = torch.argsort(entries[0], stable=True)
    row, col, edge = entries
    return row[order], col[order], edge[order]


def _blocks(entries: Sequence[Sequence[Tensor]], num_cols: int) -> tuple[Block, ...]:
    """A block per rank from the rows and columns of its entries; edge ids number the entries of all ranks."""
    ids = torch.arange(sum(len(row) for row, _ in entries)).split([len(row) for row, _ in entries])
    return tuple(
        Block.from_edges(
            row, col, number.to(row.device), num_rows=int(row[-1]) + 1 if len(row) else 0, num_cols=num_cols
        )
        for (row, col), number in zip(entries, ids, strict=True)
    )
