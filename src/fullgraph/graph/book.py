"""Who owns which node: as nodes are numbered part after part, a short array answers it; a map would cost N entries."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from fullgraph.errors import GraphMismatch, InputError


@dataclass(frozen=True, kw_only=True)
class PartitionBook:
    """The ranges of partition-order ids that each part owns.

    Attributes:
        offsets: per node type int64 [num_parts + 1], from 0 up: part p owns the ids ``offsets[p]:offsets[p + 1]``.
            A part may own no node of a type.
        name: what to call the graph in messages, its path as a rule.

    Raises:
        InputError: when there is no node type, the types differ in their number of parts, or an array does not rise
            from 0.
    """

    offsets: Mapping[str, np.ndarray]
    name: str = "a graph in memory"

    def __post_init__(self) -> None:
        if not self.offsets:
            raise InputError(f"a partition book needs at least one node type: {self.name}")
        lengths = {len(offsets) for offsets in self.offsets.values()}
        if len(lengths) != 1 or min(lengths) < 2:
            raise InputError(f"every node type must have the same number of parts, at least 1: {sorted(lengths)}")
        for node_type, offsets in self.offsets.items():
            if offsets.dtype != np.int64 or offsets[0] != 0 or (np.diff(offsets) < 0).any():
                raise InputError(f"part offsets of node type {node_type!r} must be int64 and rise from 0: {offsets}")

    @property
    def num_parts(self) -> int:
        return len(next(iter(self.offsets.values()))) - 1

    def num_nodes(self, node_type: str) -> int:
        return int(self.offsets[node_type][-1])

    def part_of_node(self, node_type: str, ids: np.ndarray) -> np.ndarray:
        """The owner of each partition-order id: int64, of the shape of ``ids``.

        Raises:
            InputError: on an id that no part owns.
        """
        offsets = self.offsets[node_type]
        if ids.size and (ids.min() < 0 or ids.max() >= offsets[-1]):
            outside = ids[(ids < 0) | (ids >= offsets[-1])].flat[0]
            raise InputError(f"ids of node type {node_type!r} run from 0 to {offsets[-1] - 1}: {outside}")
        return np.searchsorted(offsets, ids, side="right") - 1

    def for_ranks(self, num_ranks: int) -> Self:
        """The same ids divided among ranks: rank r owns the nodes of ``parts_of_rank(r, num_ranks)``.

        Raises:
            GraphMismatch: when there are more ranks than parts.
        """
        self._check_ranks(num_ranks)
        bounds = np.arange(num_ranks + 1) * self.num_parts // num_ranks
        return type(self)(offsets={t: offsets[bounds] for t, offsets in self.offsets.items()}, name=self.name)

    def parts_of_rank(self, rank: int, num_ranks: int) -> range:
        """The run of parts that a rank owns; runs differ in length by one part at most."""
        self._check_ranks(num_ranks)
        if not 0 <= rank < num_ranks:
            raise InputError(f"a run of {num_ranks} ranks has the ranks 0 to {num_ranks - 1}: {rank}")
        return range(rank * self.num_parts // num_ranks, (rank + 1) * self.num_parts // num_ranks)

    def _check_ranks(self, num_ranks: int) -> None:
        if num_ranks < 1:
            raise InputError(f"a run needs at least 1 rank: {num_ranks}")
        if num_ranks > self.num_parts:
            raise GraphMismatch(
                f"the graph has {self.num_parts} parts but this run has {num_ranks} ranks; start at most "
                f"{self.num_parts} ranks, or `fullgraph partition … --num-parts {num_ranks}`: {self.name}"
            )
