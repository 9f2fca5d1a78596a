"""At most ``chunk_edges`` of a block's edges at a time, for messages that are formed edge by edge.

A block can have any number of edges, and one destination can have most of them. So pieces are cut by edges alone:
a destination's edges may lie in several pieces, of one block or of many, and what is kept of them is added up.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from fullgraph import ops
from fullgraph.graph.block import Block


@dataclass(frozen=True)
class Piece:
    """Some edges of a block, by destination.

    Attributes:
        rows: the destinations; the first and the last may have more edges in other pieces.
        indptr: int64 ``[len(rows) + 1]``, where each one's edges start.
        src: int64 ``[e]``, each edge's source among the block's columns.
        edge_ids: int64 ``[e]``, the edges among the plan's.
    """

    rows: range
    indptr: Tensor
    src: Tensor
    edge_ids: Tensor

    @cached_property
    def dst(self) -> Tensor:
        """Each edge's destination, counted from the first of ``rows``, int64 ``[e]``."""
        places = torch.arange(len(self.rows), device=self.indptr.device)
        return torch.repeat_interleave(places, self.indptr.diff(), output_size=len(self.src))

    @cached_property
    def places(self) -> Tensor:
        """The piece's edges in order, int32 ``[e]``: with ``indptr``, a block whose columns are its edges."""
        return torch.arange(len(self.src), dtype=torch.int32, device=self.src.device)

    def of(self, x: Tensor) -> Tensor:
        """The part of ``x``, a row per owned destination, that belongs to ``rows``."""
        return x[self.rows.start : self.rows.stop]

    def at_edges(self, x: Tensor) -> Tensor:
        """The row of each edge's destination, ``[e, …]``."""
        return self.of(x).index_select(0, self.dst)

    def add(self, values: Tensor, total: Tensor) -> None:
        """Add values of edges ``[e, …]`` to the rows of their destinations, in ``total``."""
        into = self.of(total)
        ops.spmm(self.indptr, self.places, flat(values).contiguous(), into.view(len(into), prod(into.shape[1:])))


def pieces(block: Block, num_edges: int) -> Iterator[Piece]:
    """Cut a block into pieces of at most ``num_edges`` edges; none if it has no edges."""
    for first in range(0, block.num_edges, num_edges):
        stop = min(first + num_edges, block.num_edges)
        bounds = torch.tensor([first, stop - 1], device=block.indptr.device)
        top, bottom = (torch.searchsorted(block.indptr, bounds, right=True) - 1).tolist()
        if block.edge_ids is None:
            edge_ids = torch.arange(first, stop, device=block.indices.device)
        else:
            edge_ids = block.edge_ids[first:stop].long()
        yield Piece(
            rows=range(top, bottom + 1),
            indptr=(block.indptr[top : bottom + 2] - first).clamp(0, stop - first),
            src=block.indices[first:stop].long(),
            edge_ids=edge_ids,
        )


def flat(x: Tensor) -> Tensor:
    """``[n, …]`` as ``[n, F]``."""
    return x.reshape(len(x), prod(x.shape[1:]))  # -1 says nothing about a tensor without rows
