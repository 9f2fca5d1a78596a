"""``fullgraph.open``: the rows and in-edges that one rank owns, as the `Data` or `HeteroData` that models expect."""

import os
from collections.abc import Collection, Iterable, Mapping
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fullgraph.comm import World
from fullgraph.config import EngineConfig, Mode, Recompute, WireDtype
from fullgraph.engine import Halo, Randomness
from fullgraph.errors import GraphMismatch
from fullgraph.graph import EDGE, NODE, PartEdges, PartitionedGraph, Relation
from fullgraph.pyg.data import PartitionedData, PartitionedHeteroData
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.node_rows import check_streamed, read_parts
from fullgraph.pyg.rank_graph import RankGraph, RankRelation


def open_graph(
    path: str | os.PathLike[str],
    world: World | None = None,
    *,
    stream: Collection[str] = (),
    mode: Mode = "sar",
    prefetch: int = 1,
    round_rows: int = 32_768,
    chunk_edges: int = 65_536,
    wire_dtype: WireDtype = "float32",
    recompute: Recompute = "elementwise",
    held_mib: int = 64,
) -> Any:
    """Open a partitioned graph on this rank. Collective.

    Args:
        path: a folder made by ``fullgraph.partition``, with at least as many parts as there are ranks.
        world: from ``fullgraph.init``; default one rank.
        stream: names of arrays per node that stay on disk and are read a few MiB at a time, ``("x",)`` for features
            that are larger than memory. Half-precision numbers become float32 as they are read.
        mode: how rows of other ranks are held, see `EngineConfig`.
        prefetch: rounds in flight, see `EngineConfig`.
        round_rows: most rows of a round, see `EngineConfig`.
        chunk_edges: most edges of a neighbourhood, see `EngineConfig`.
        wire_dtype: how float32 rows travel between ranks, see `EngineConfig`.
        recompute: what backward makes again instead of keeping it, see `EngineConfig`.
        held_mib: most MiB of unchanging rows of other ranks that are held, see `EngineConfig`.

    Returns:
        The owned rows on the world's device, ``x``, ``y``, masks and whatever else was stored per node or per edge: a
        `PartitionedData`, or a `PartitionedHeteroData` if the graph was partitioned with node types and relations.

    Raises:
        GraphFormatError: on every rank, if a file of any rank's parts is broken.
        InputError: if ``stream`` names an array that no node type has, or one that is no matrix of real numbers.
        OutOfMemory: on every rank, if the arrays of a rank do not fit into its memory.
        GraphMismatch: if there are more ranks than parts, ranks opened different graphs or settings, or the graph has
            no relation at all.
    """
    world = world or World()
    config = EngineConfig(
        mode=mode,
        prefetch=prefetch,
        round_rows=round_rows,
        chunk_edges=chunk_edges,
        wire_dtype=wire_dtype,
        recompute=recompute,
        held_mib=held_mib,
    )
    stored = world.together(lambda: PartitionedGraph.open(path))
    world.agree("graph and settings", (stored.checksum, config, sorted(stream)))
    check_streamed(stored, stream)
    if not stored.relations:
        raise GraphMismatch(f"the graph has no relation, so there is nothing to pass messages over: {path}")
    own_parts = stored.book.parts_of_rank(world.rank, world.num_ranks)
    parts, rows = world.together(lambda: read_parts(stored, own_parts, stream, world.device))
    counts = {relation: stored.num_edges(relation) for relation in stored.relations}
    graph = RankGraph(
        world=world,
        config=config,
        node_ids={kind: _joined(p.node_ids[kind] for p in parts).to(world.device) for kind in stored.node_types},
        num_global_nodes={kind: stored.num_nodes(kind) for kind in stored.node_types},
        num_global_edges=sum(counts.values()),
        randomness=Randomness(),
    )
    offsets = stored.book.for_ranks(world.num_ranks).offsets
    # An edge's key is its place among the edges of all relations, one after another.
    first_keys = accumulate(counts.values(), initial=0)
    homogeneous = stored.node_types == (NODE,) and stored.relations == (EDGE,)
    data: Any = PartitionedData() if homogeneous else PartitionedHeteroData()
    for relation, first_key in zip(stored.relations, first_keys, strict=False):
        store = data if homogeneous else data[relation]
        store.edge_index = _index(graph, relation, [part.edges[relation] for part in parts], offsets, first_key)
        _attach(store, [part.edges[relation].arrays for part in parts], world)
    for kind in stored.node_types:
        store = data if homogeneous else data[kind]
        store.num_nodes, store.num_global_nodes = len(graph.node_ids[kind]), stored.num_nodes(kind)
        store.node_ids = graph.node_ids[kind]
        num_classes = stored.manifest.node_types[kind].num_classes
        if homogeneous or num_classes is not None:
            store.num_classes = num_classes
        for name, values in rows[kind].items():
            store[name] = values
    data.checksum = stored.checksum
    return data


def _index(
    graph: RankGraph, name: Relation, parts: list[PartEdges], offsets: Mapping[str, np.ndarray], first_key: int
) -> RemoteIndex:
    """The in-edges of own destinations in one relation, with the walks' structure told to all ranks. Collective."""
    world, (src_type, _, dst_type) = graph.world, name
    in_degrees = np.concatenate([np.diff(e.indptr) for e in parts])
    dst = torch.from_numpy(np.repeat(np.arange(len(in_degrees)), in_degrees))
    src = _joined(e.src for e in parts)
    halo, extended = _connect(world, graph.config, offsets[src_type], src.numpy())
    relation = RankRelation(
        graph=graph, name=name, halo=halo, dst_ids=graph.node_ids[dst_type], square=src_type == dst_type
    )
    edge_keys = _joined(e.edge_ids for e in parts) + first_key
    return RemoteIndex.make(torch.stack([extended, dst]).to(world.device), relation, edge_keys.to(world.device))


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


def _attach(data: Any, arrays_of_parts: list[Mapping[str, np.ndarray]], world: World) -> None:
    for name in arrays_of_parts[0]:
        data[name] = _joined(arrays[name] for arrays in arrays_of_parts).to(world.device)


def _joined(arrays: Iterable[np.ndarray]) -> Tensor:
    """One tensor that owns its memory: the arrays are mapped from files."""
    return torch.from_numpy(np.concatenate(list(arrays)))
