"""How a sum walks: the edges between two ranks as a product of two matrices, with few rows in between.

The edges from rank p into rank q are a sparse matrix A, and q needs A x of p's rows x. A cover of these edges
(`engine.walks.cover`) makes it a product, A = R S: p forms the message S x, whose rows are rows of its own or partial
sums of them, and q adds them up by R. Backward as many rows carry the gradient, Aᵀ g = Sᵀ (Rᵀ g): q forms for each row
of the message the sum of the gradients of the destinations it went to, and p adds them up.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from fullgraph.comm import Routes, World, fetch_all, swap
from fullgraph.config import EngineConfig
from fullgraph.engine.memo import Memo
from fullgraph.engine.walks.cover import cheapest_cover
from fullgraph.engine.walks.walk import Walk
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


class SumWalks:
    """The walks of sums over a plan's edges, in both directions."""

    def __init__(
        self,
        world: World,
        config: EngineConfig,
        memo: Memo,
        local: Block,
        crossing: Iterable[Crossing],
        num_edges: int,
    ):
        """Find the covers, and tell the owners of the sources what to send. Collective.

        Args:
            world: the ranks.
            config: how the engine walks.
            memo: of the plan.
            local: the edges between own rows.
            crossing: per rank, the edges from its rows, none for this rank; taken one after another.
            num_edges: edges of the plan. An entry that is no edge, and so has weight 1, has this as its id.
        """
        self._world, self._config, self._memo, self._local = world, config, memo, local
        has_values = local.has_values
        received, told_edges, told = [], [], []
        for edges in crossing:
            send, receive = _factors(edges, num_edges)
            received.append(receive)
            told.append(torch.stack([send.row, send.col], dim=1).to(torch.int32))
            if has_values:
                told_edges.append(send.edge.to(torch.int32))
        self._told_edges = tuple(told_edges)
        if has_values:
            self._received_edges = torch.cat([entries.edge.to(torch.int32) for entries in received])
        self._incoming = _blocks([(entries.row, entries.col) for entries in received], local.num_rows, has_values)
        del received
        self._outgoing = _blocks(
            [entries.T.contiguous().unbind() for entries in swap(world, told)], local.num_cols, has_values
        )

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
        if weight is None or self._world.num_ranks == 1:
            return WalkWeights(None if weight is None else weight.detach(), None, None)

        def spread() -> tuple[Tensor, Tensor]:
            values = torch.cat([weight.detach(), weight.new_ones(1, *weight.shape[1:])])
            return fetch_all(self._edge_routes, values, "setup_bytes"), values[self._received_edges]

        return WalkWeights(weight.detach(), *self._memo.latest("spread", spread, weight))

    @cached_property
    def _edge_routes(self) -> Routes:
        return Routes.giving(self._world, self._told_edges)

    def _walk(self, local: Block, sent: tuple[Block, ...], received: tuple[Block, ...]) -> Walk:
        config, counts = self._config, tuple(block.num_rows for block in received)
        routes = Routes.cut(self._world, counts, config.round_rows, config.prefetch, config.wire_dtype, send_sums=sent)
        blocks = (
            received[r.receive_from].rows(r.receive.start, r.receive.stop).transposed if len(r.receive) else None
            for r in routes.rounds
        )
        return Walk(local, tuple(blocks), routes)


class _Entries(NamedTuple):
    """The entries of a matrix with a row for each row of a message; ``edge``: the id of the edge that an entry is."""

    row: Tensor
    col: Tensor
    edge: Tensor

    @classmethod
    def of(cls, *parts: tuple[Tensor, Tensor, Tensor]) -> "_Entries":
        """In order of their rows; int32, but for edges."""
        row, col, edge = (torch.cat(each) for each in zip(*parts, strict=True))
        order = torch.argsort(row, stable=True)
        return cls(row.to(torch.int32)[order], col.to(torch.int32)[order], edge[order])


def _factors(edges: Crossing, num_edges: int) -> tuple[_Entries, _Entries]:
    """S and the transpose of R: which sources form each row of the message, and to which destinations it is added."""
    sources, src = torch.unique(edges.src, return_inverse=True)
    destinations, dst = torch.unique(edges.dst, return_inverse=True)
    covers = cheapest_cover(src.cpu().numpy(), dst.cpu().numpy(), len(sources), len(destinations))
    by_source, by_destination = (torch.from_numpy(cover).to(src.device) for cover in covers)
    # Rows of the message: first the sources of the cover, then the partial sums of its destinations.
    row_of_source = by_source.cumsum(0) - 1
    row_of_destination = by_source.sum() + by_destination.cumsum(0) - 1
    whole = by_source[src]  # edges whose source travels; the others have their destination in the cover
    sources, destinations = sources[by_source], destinations[by_destination]
    send = _Entries.of(
        (row_of_source[by_source], sources, torch.full_like(sources, num_edges)),
        (row_of_destination[dst[~whole]], edges.src[~whole], edges.ids[~whole]),
    )
    receive = _Entries.of(
        (row_of_source[src[whole]], edges.dst[whole], edges.ids[whole]),
        (row_of_destination[by_destination], destinations, torch.full_like(destinations, num_edges)),
    )
    return send, receive


def _blocks(entries: Sequence[Sequence[Tensor]], num_cols: int, has_values: bool) -> tuple[Block, ...]:
    """A block per rank from the rows and columns of its entries; edge ids number the entries of all ranks."""
    ids = torch.arange(sum(len(row) for row, _ in entries)).split([len(row) for row, _ in entries])
    return tuple(
        Block.from_edges(
            row,
            col,
            number.to(row.device),
            num_rows=int(row[-1]) + 1 if len(row) else 0,
            num_cols=num_cols,
            has_values=has_values,
        )
        for (row, col), number in zip(entries, ids, strict=True)
    )
