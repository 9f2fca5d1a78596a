"""What one rank knows of a partitioned graph; indices, layers and losses share one object of it per opened graph."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from fullgraph.comm import World
from fullgraph.config import EngineConfig
from fullgraph.engine import Halo, Randomness
from fullgraph.errors import UnsupportedOperation


@dataclass(kw_only=True)
class RankGraph:
    """The rows this rank owns and how they are known to the others.

    Attributes:
        halo: own rows and the rows needed from elsewhere.
        node_ids: int64 ``[num_own]``, original ids of the owned rows.
        num_global_nodes: nodes of all ranks.
        num_global_edges: edges of all ranks.
        randomness: which dropout mask comes next.
    """

    halo: Halo
    node_ids: Tensor
    num_global_nodes: int
    num_global_edges: int
    randomness: Randomness
    _edge_keys_of_size: dict[int, Tensor] = field(default_factory=dict)
    _rows_now: tuple[Tensor, Tensor | None] | None = None

    @property
    def world(self) -> World:
        """The ranks."""
        return self.halo.world

    @property
    def config(self) -> EngineConfig:
        """How the engine walks."""
        return self.halo.config

    @property
    def num_own(self) -> int:
        """Rows that this rank owns."""
        return self.halo.num_own

    @cached_property
    def everyone(self) -> Halo:
        """A halo of all rows of all other ranks, for what reads the whole graph. Collective the first time."""
        counts = self.world.gather_objects(self.num_own)
        counts[self.world.rank] = 0
        needed = tuple(torch.arange(count, device=self.world.device) for count in counts)
        return Halo.connect(self.world, self.config, self.num_own, needed)

    def know_edges(self, edge_keys: Tensor) -> None:
        """Remember the keys of a set of edges, so that a tensor with a row for each of them can be recognised."""
        self._edge_keys_of_size[len(edge_keys)] = edge_keys

    def row_keys(self, num_rows: int) -> Tensor:
        """The keys of a tensor's rows, this rank's nodes or the edges of one of its indices: int64 ``[num_rows]``.

        Raises:
            UnsupportedOperation: if they are neither.
        """
        if self._rows_now is not None:
            nodes, edges = self._rows_now
            if edges is not None and num_rows == len(edges):
                return edges
            if num_rows == len(nodes):
                return nodes
        if num_rows == self.num_own:
            return self.node_ids
        if num_rows in self._edge_keys_of_size:
            return self._edge_keys_of_size[num_rows]
        raise UnsupportedOperation(
            f"dropout needs to know which rows of the whole graph it is given; this rank owns {self.num_own} nodes and "
            f"has {sorted(self._edge_keys_of_size)} edges, so apply it to all of them before choosing rows; "
            f"the tensor has rows: {num_rows}"
        )

    @contextmanager
    def rows_are(self, node_ids: Tensor, edge_keys: Tensor | None) -> Iterator[None]:
        """While a layer works on some of the rows: which ones they are."""
        before, self._rows_now = self._rows_now, (node_ids, edge_keys)
        try:
            yield
        finally:
            self._rows_now = before

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copied model stays on the same graph: connections to other ranks cannot be copied."""
        return self
