"""The edges from one set of source rows into one set of destination rows, ready for the kernels.

A rank's edges fall into blocks: one from its own rows, and one for every round of rows that arrive from elsewhere.
Columns are numbered within the block's own source rows, so that a block never needs the ids of the rest of the graph.
"""

from dataclasses import dataclass, field
from functools import cached_property
from weakref import ref

import torch
from torch import Tensor


@dataclass(frozen=True)
class Block:
    """A sparse matrix in compressed rows; every entry is an edge.

    Attributes:
        indptr: int64 ``[num_rows + 1]``; the edges of row ``i`` are ``indptr[i] : indptr[i + 1]``.
        indices: int32 ``[num_edges]``, the column of each edge, ``0 <= indices < num_cols``.
        edge_ids: int32 ``[num_edges]``, where the edge's values lie in the tensors of edge values that belong to
            the block (weights, dropout keys); or None, when they lie in the block's own order, or there are none.
        num_cols: how many source rows there are.
        has_values: whether edges may have values; if not, a transpose need not know where they lie.
    """

    indptr: Tensor
    indices: Tensor
    edge_ids: Tensor | None
    num_cols: int
    has_values: bool = True
    _turned_from: "ref[Block] | None" = field(default=None, repr=False, compare=False)

    @property
    def num_rows(self) -> int:
        """How many destination rows there are."""
        return len(self.indptr) - 1

    @property
    def num_edges(self) -> int:
        """How many edges there are."""
        return len(self.indices)

    @property
    def transposed(self) -> "Block":
        """The same edges seen from their sources; rows of it list their destinations in ascending order.

        Built once; the transpose of a transpose is the block itself, as long as that lives.
        """
        origin = None if self._turned_from is None else self._turned_from()
        return self._turned if origin is None else origin

    @cached_property
    def _turned(self) -> "Block":
        order = torch.argsort(self.indices, stable=True)
        rows = torch.repeat_interleave(torch.arange(self.num_rows, dtype=torch.int32, device=order.device), self.degree)
        edge_ids = (
            (order.to(torch.int32) if self.edge_ids is None else self.edge_ids[order]) if self.has_values else None
        )
        return Block(
            indptr=_indptr(self.indices, self.num_cols),
            indices=rows[order],
            edge_ids=edge_ids,
            num_cols=self.num_rows,
            has_values=self.has_values,
            _turned_from=ref(self),
        )

    def rows(self, start: int, stop: int) -> "Block":
        """Rows ``start … stop - 1`` as a block of their own, on the same memory but for ``indptr``."""
        first, last = int(self.indptr[start]), int(self.indptr[stop])
        edge_ids = None if self.edge_ids is None else self.edge_ids[first:last]
        indptr, indices = self.indptr[start : stop + 1] - first, self.indices[first:last]
        return Block(indptr, indices, edge_ids, self.num_cols, self.has_values)

    @property
    def degree(self) -> Tensor:
        """Edges per row, int64 ``[num_rows]``."""
        return self.indptr.diff()

    @classmethod
    def from_edges(
        cls,
        rows: Tensor,
        cols: Tensor,
        edge_ids: Tensor | None,
        *,
        num_rows: int,
        num_cols: int,
        has_values: bool = True,
    ) -> "Block":
        """Build a block from edges in any order; the edges of a row keep their order.

        Args:
            rows: int ``[num_edges]`` destination rows.
            cols: int ``[num_edges]`` source rows.
            edge_ids: int ``[num_edges]``, or None if edge values come in the order given here.
            num_rows: destination rows.
            num_cols: source rows.
            has_values: whether edges may have values.
        """
        if len(rows) > 1 and not bool((rows[1:] >= rows[:-1]).all()):
            order = torch.argsort(rows, stable=True)
            rows, cols, edge_ids = rows[order], cols[order], order if edge_ids is None else edge_ids[order]
        edge_ids = None if edge_ids is None or not has_values else edge_ids.to(torch.int32)
        return cls(_indptr(rows, num_rows), cols.to(torch.int32), edge_ids, num_cols, has_values)


def _indptr(rows: Tensor, num_rows: int) -> Tensor:
    indptr = torch.zeros(num_rows + 1, dtype=torch.int64, device=rows.device)
    torch.cumsum(torch.bincount(rows, minlength=num_rows), dim=0, out=indptr[1:])
    return indptr
