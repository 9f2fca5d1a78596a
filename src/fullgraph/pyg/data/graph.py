"""What one rank knows of an opened graph; its data, layers and whatever is derived from them share one object of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from torch_geometric.data import Data
from torch_geometric.data.data import BaseData

from fullgraph.comm import World
from fullgraph.config import EngineConfig
from fullgraph.errors import InputError
from fullgraph.graph import NodeType, Relation
from fullgraph.pyg.data.adjacency import Adjacency
from fullgraph.pyg.data.edge_index import EdgeRows
from fullgraph.pyg.data.edges import Edges
from fullgraph.rows import Rows, Space, View


@dataclass(eq=False, frozen=True, kw_only=True)
class RankGraph:
    """The rows of every node type and the edges of every relation on this rank.

    Attributes:
        view: the ranks, and what rows of this graph share.
        nodes: per node type, its row space.
        edges: per relation, the in-edges of own rows.
        checksum: of the graph on disk; of one that was opened in memory, None.
    """

    view: View
    nodes: Mapping[NodeType, Space]
    edges: Mapping[Relation, Edges]
    checksum: str | None

    @property
    def world(self) -> World:
        """The ranks."""
        return self.view.world

    @property
    def config(self) -> EngineConfig:
        """How the engine walks."""
        return self.view.config

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copied model or data stays on the same graph: connections to other ranks cannot be copied."""
        return self


class WholeGraph(Data):
    """A PyG `Data` whose ``num_nodes`` knows its rows, and that has ``adj_t``, which `ToSparseTensor` makes."""

    @property
    def num_nodes(self) -> Any:
        """The number of nodes, from which tables with a row per node are made: of ``x``, if that has other rows now."""
        x = self._store.get("x")
        return x.size(0) if isinstance(x, Rows) else self._store.num_nodes

    @num_nodes.setter
    def num_nodes(self, num_nodes: int | None) -> None:
        self._store.num_nodes = num_nodes

    @property
    def adj_t(self) -> Any:
        """The edges under another name, so that ``model(data.x, data.adj_t)`` runs; nothing else can be done to it."""
        index = self.edge_index
        return self._store.get("adj_t", Adjacency.of_edges(index) if isinstance(index, EdgeRows) else index)


def remember_graph(data: BaseData, graph: RankGraph) -> None:
    """Note that ``data`` is of ``graph``; copies of it are too."""
    data.__dict__["_rank_graph"] = graph


def rank_graph(data: BaseData) -> RankGraph:
    """What this rank knows of the graph that ``data`` belongs to.

    Raises:
        InputError: if ``data`` does not come from ``fullgraph.open``.
    """
    graph = getattr(data, "__dict__", {}).get("_rank_graph")
    if graph is None:
        raise InputError(
            "data must come from fullgraph.open, which takes the folder of a partitioned graph or a PyG Data or "
            f"HeteroData in memory: {type(data).__name__}"
        )
    return graph


def is_homogeneous(data: BaseData) -> bool:
    """Whether it is a PyG ``Data``."""
    return isinstance(data, Data)
