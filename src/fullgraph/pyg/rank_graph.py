"""What one rank knows of a partitioned graph; indices, layers and losses share one object of it per opened graph."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from weakref import ref

import torch
from torch import Tensor

from fullgraph.comm import World
from fullgraph.config import EngineConfig
from fullgraph.engine import Halo, Randomness, Recipes
from fullgraph.errors import UnsupportedOperation
from fullgraph.graph import NodeType, Relation

if TYPE_CHECKING:
    from fullgraph.pyg.row_levels import RowLevels  # which knows this module


class _Rows(NamedTuple):
    """The rows that a layer works on: of destinations, and of edges if there are any. ``alone``: on this rank only."""

    nodes: Tensor
    edges: Tensor | None
    alone: bool


@dataclass(kw_only=True)
class RankGraph:
    """The rows this rank owns, of every node type, and how dropout tells them apart.

    Attributes:
        world: the ranks.
        config: how the engine walks.
        node_ids: per node type int64 ``[num_own]``, original ids of the owned rows.
        num_global_nodes: per node type, nodes of all ranks.
        num_global_edges: edges of all relations and ranks.
        randomness: which dropout mask comes next.
        draws_are_keyed: whether torch's random numbers for rows are, for the time being, keyed by global ids.
        recipes: while a model runs that will have a backward, how its tensors are made; else None.
        row_levels: while a model runs on a pruned graph, which rows its tensors hold; else None.
    """

    world: World
    config: EngineConfig
    node_ids: Mapping[NodeType, Tensor]
    num_global_nodes: Mapping[NodeType, int]
    num_global_edges: int
    randomness: Randomness
    draws_are_keyed: bool = False
    recipes: Recipes | None = field(default=None, init=False)
    row_levels: "RowLevels | None" = field(default=None, init=False)
    _edge_keys: dict[int, ref[Tensor]] = field(default_factory=dict, init=False)
    _num_indices: int = field(default=0, init=False)
    _rows_now: _Rows | None = field(default=None, init=False)

    def know_edges(self, edge_keys: Tensor | None) -> None:
        """Remember the keys of an index's edges while it lives, so that a tensor with a row for each is recognised.

        Every rank makes the same indices in the same order, so an index's number names it on all of them.
        """
        self._num_indices += 1
        number, known = self._num_indices, self._edge_keys
        if edge_keys is not None and all(there() is not edge_keys for there in known.values()):
            known[number] = ref(edge_keys, lambda _: known.pop(number, None))

    def row_keys(self, num_rows: int) -> Tensor:
        """The keys of a tensor's rows, the nodes of a type or the edges of an index: int64 ``[num_rows]``. Collective.

        Two types may have equally many rows on this rank, so all ranks are asked: the rows are of the type whose
        numbers fit everywhere. Where a node type and an index fit, as on a ring, it is the node type; inside of a
        layer's own propagation it is the edges.

        Raises:
            UnsupportedOperation: on all ranks, if they are neither, or if two fit on all ranks.
        """
        now = self._rows_now
        around = [keys for keys in (now.edges, now.nodes) if keys is not None] if now is not None else []
        if now is not None and now.alone:
            fitting = [keys for keys in around if len(keys) == num_rows]
            return fitting[0] if fitting else self._unknown_rows([num_rows])
        nodes = {kind: ids for kind, ids in self.node_ids.items() if len(ids) == num_rows}
        edges = {number: keys for number, there in self._edge_keys.items() if (keys := there()) is not None}
        edges = {number: keys for number, keys in edges.items() if len(keys) == num_rows}
        fits = [len(keys) == num_rows for keys in around]
        everywhere = self.world.gather_objects((num_rows, fits, list(nodes), list(edges)))
        sizes, fits_by_rank, kinds_by_rank, numbers_by_rank = zip(*everywhere, strict=True)
        for keys, there in zip(around, zip(*fits_by_rank, strict=True), strict=True):
            if all(there):
                return keys
        kinds = [kind for kind in nodes if all(kind in there for there in kinds_by_rank)]
        if len(kinds) == 1:
            return nodes[kinds[0]]
        numbers = [number for number in edges if all(number in there for there in numbers_by_rank)]
        # On one rank these edges would have been taken for nodes, so they must not be edges on several.
        looks_like_nodes = sum(sizes) in self.num_global_nodes.values()
        if kinds or not numbers or looks_like_nodes:
            return self._unknown_rows(sizes, kinds)
        first, *others = (edges[number] for number in numbers)
        if others and not all(self.world.gather_objects(all(torch.equal(first, other) for other in others))):
            return self._unknown_rows(sizes, ["the edges of several relations"])
        return first

    def _unknown_rows(self, sizes: Sequence[int], fitting: Sequence[str] = ()) -> Tensor:
        if fitting:
            raise UnsupportedOperation(
                "dropout needs to know which rows of the whole graph it is given, but several kinds have that many on "
                f"every rank: {', '.join(fitting)}; for nodes, say which by `with data.rows_are(node_type):` around "
                f"it; the tensor has, by rank, rows: {list(sizes)}"
            )
        nodes = ", ".join(f"{count} of type {kind}" for kind, count in self.num_global_nodes.items())
        raise UnsupportedOperation(
            "dropout needs to know which rows of the whole graph it is given, so apply it to all rows of a node type "
            f"or to all edges, before choosing rows; the graph has nodes: {nodes}; the tensor has, by rank, rows: "
            f"{list(sizes)}"
        )

    @contextmanager
    def recomputing(self) -> Iterator[Recipes | None]:
        """While a model runs: where to note how rows are made that backward can make again; None if it shall not."""
        if self.recipes is not None or self.config.recompute == "none" or not torch.is_grad_enabled():
            yield None
            return
        self.recipes = Recipes()
        try:
            yield self.recipes
        finally:
            self.recipes.forget()
            self.recipes = None

    @contextmanager
    def rows_are(self, nodes: Tensor, edges: Tensor | None, *, alone: bool) -> Iterator[None]:
        """While a layer works on some rows: which ones. ``alone``: other ranks do not work on theirs meanwhile."""
        before, self._rows_now = self._rows_now, _Rows(nodes, edges, alone)
        try:
            yield
        finally:
            self._rows_now = before

    @contextmanager
    def rows_are_nodes(self) -> Iterator[None]:
        """Within `rows_are`: edges are done with, and what comes now is rows of the destinations."""
        before = self._rows_now
        self._rows_now = before and before._replace(edges=None)
        try:
            yield
        finally:
            self._rows_now = before

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copied model stays on the same graph: connections to other ranks cannot be copied."""
        return self


@dataclass(kw_only=True)
class RankRelation:
    """What one rank knows of one relation: its own destination rows, and source rows that may be elsewhere.

    Attributes:
        graph: what all relations share.
        name: source type, name, destination type.
        halo: own source rows and those needed from elsewhere.
        dst_ids: int64 ``[num_dst]``, keys of the owned destination rows: original ids, where they are of one type.
        square: whether sources and destinations are the same rows, so that self-loops mean something.
    """

    graph: RankGraph
    name: Relation
    halo: Halo
    dst_ids: Tensor
    square: bool

    @property
    def num_src(self) -> int:
        """Source rows that this rank owns."""
        return self.halo.num_own

    @property
    def num_dst(self) -> int:
        """Destination rows that this rank owns."""
        return len(self.dst_ids)

    @property
    def loop_keys(self) -> Tensor:
        """The keys of one added self-loop per owned row, int64 ``[num_dst]``.

        Raises:
            UnsupportedOperation: between two node types, where "the same number" says nothing.
        """
        self.check_square()
        return self.graph.num_global_edges + self.dst_ids

    def check_square(self) -> None:
        """Refuse what compares the two ends of an edge.

        Raises:
            UnsupportedOperation: between two node types.
        """
        if not self.square:
            raise UnsupportedOperation(
                "a relation between different node types has no self-loops, so they cannot be added or removed; give "
                f"the layer add_self_loops=False, or leave the step out, for the relation: {self.name}"
            )

    @cached_property
    def everyone(self) -> Halo:
        """A halo of all source rows of all other ranks, for what reads the whole graph. Collective the first time."""
        world = self.graph.world
        counts = world.gather_objects(self.num_src)
        counts[world.rank] = 0
        needed = tuple(torch.arange(count, device=world.device) for count in counts)
        return Halo.connect(world, self.graph.config, self.num_src, needed)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """As its graph."""
        return self
