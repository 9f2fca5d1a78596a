"""``fullgraph.open``: the rows and in-edges that one rank owns, as the PyG `Data` that models expect."""

import os
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from fullgraph.comm import World
from fullgraph.config import EngineConfig, Mode
from fullgraph.engine import Halo, Randomness
from fullgraph.errors import GraphMismatch
from fullgraph.graph import EDGE, NODE, Part, PartitionedGraph
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rank_graph import RankGraph


class PartitionedData(Data):
    """A PyG `Data` whose rows are those of one rank, with ``edge_index`` a `RemoteIndex`.

    ``num_nodes`` counts owned rows and ``num_global_nodes`` all of them; ``num_classes`` and ``num_features`` are
    global; ``node_ids`` holds the original ids of the owned rows; ``checksum`` is that of the graph on disk.
    """

    @property
    def randomness(self) -> Randomness:
        """Which dropout mask comes next; a checkpoint holds its state."""
        return self.edge_index.graph.randomness  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]

    @property
    def world(self) -> World:
        """The ranks."""
        return self.edge_index.graph.world  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]


def open_graph(
    path: str | os.PathLike[str],
    world: World | None = None,
    *,
    mode: Mode = "sar",
    prefetch: int = 1,
    round_rows: int = 32_768,
    chunk_edges: int = 65_536,
) -> PartitionedData:
    """Open a partitioned graph on this rank. Collective.

    Args:
        path: a folder made by ``fullgraph.partition``, with at least as many parts as there are ranks.
        world: from ``fullgraph.init``; default one rank.
        mode: how rows of other ranks are held, see `EngineConfig`.
        prefetch: rounds in flight, see `EngineConfig`.
        round_rows: most rows of a round, see `EngineConfig`.
        chunk_edges: most edges of a neighbourhood, see `EngineConfig`.

    Returns:
        The owned rows on the world's device: ``x``, ``y``, masks and whatever else was stored per node or per edge.

    Raises:
        GraphFormatError: on every rank, if a file of any rank's parts is broken.
        GraphMismatch: if there are more ranks than parts, ranks opened different graphs or settings, or the graph has
            several node or edge types.
    """
    world = world or World()
    config = EngineConfig(mode=mode, prefetch=prefetch, round_rows=round_rows, chunk_edges=chunk_edges)
    stored = world.together(lambda: PartitionedGraph.open(path))
    world.agree("graph and settings", (stored.checksum, config))
    if stored.node_types != (NODE,) or stored.relations != (EDGE,):
        raise GraphMismatch(
            f"the graph has {len(stored.node_types)} node types and {len(stored.relations)} relations, and graphs of "
            f"several types cannot be trained yet; open a graph of one type: {path}"
        )
    own_parts = stored.book.parts_of_rank(world.rank, world.num_ranks)
    offsets = stored.book.for_ranks(world.num_ranks).offsets[NODE]
    parts = world.together(lambda: [stored.read_part(part) for part in own_parts])
    src, dst, edge_keys = (t.to(world.device) for t in _edges(parts))
    halo, extended = _connect(world, config, offsets, src.numpy(force=True))
    node_ids = _joined(part.node_ids[NODE] for part in parts).to(world.device)
    graph = RankGraph(
        halo=halo,
        node_ids=node_ids,
        num_global_nodes=stored.num_nodes(NODE),
        num_global_edges=stored.num_edges(EDGE),
        randomness=Randomness(),
    )
    index = RemoteIndex.make(torch.stack([extended.to(world.device), dst]), graph, edge_keys)
    data = PartitionedData(edge_index=index, num_nodes=halo.num_own)
    data.num_global_nodes = graph.num_global_nodes
    data.num_classes, data.checksum = stored.num_classes, stored.checksum
    data.node_ids = node_ids
    _attach(data, [part.node_arrays[NODE] for part in parts], world)
    _attach(data, [part.edges[EDGE].arrays for part in parts], world)
    return data


def _edges(parts: list[Part]) -> tuple[Tensor, Tensor, Tensor]:
    """Partition-order sources, own destinations and original positions of all in-edges, int64 ``[num_edges]`` each."""
    edges = [part.edges[EDGE] for part in parts]
    in_degrees = np.concatenate([np.diff(e.indptr) for e in edges])
    dst = np.repeat(np.arange(len(in_degrees)), in_degrees)
    return _joined(e.src for e in edges), torch.from_numpy(dst), _joined(e.edge_ids for e in edges)


def _connect(world: World, config: EngineConfig, offsets: np.ndarray, src: np.ndarray) -> tuple[Halo, Tensor]:
    """The halo of sources given by partition-order ids, and the same sources as extended ids."""
    first, stop = offsets[world.rank], offsets[world.rank + 1]
    foreign = (src < first) | (src >= stop)
    needed = np.unique(src[foreign])
    bounds = np.searchsorted(needed, offsets)
    by_rank = tuple(
        torch.from_numpy(needed[bounds[rank] : bounds[rank + 1]] - offsets[rank]).to(world.device)
        for rank in range(world.num_ranks)
    )
    extended = src - first
    extended[foreign] = (stop - first) + np.searchsorted(needed, src[foreign])
    return Halo.connect(world, config, int(stop - first), by_rank), torch.from_numpy(extended)


def _attach(data: Data, arrays_of_parts: list[Mapping[str, np.ndarray]], world: World) -> None:
    for name in arrays_of_parts[0]:
        data[name] = _joined(arrays[name] for arrays in arrays_of_parts).to(world.device)


def _joined(arrays: Iterable[np.ndarray]) -> Tensor:
    """One tensor that owns its memory: the arrays are mapped from files."""
    return torch.from_numpy(np.concatenate(list(arrays)))
