"""``fullgraph.open``: a whole graph as PyG's `Data` or `HeteroData`, of which each rank holds its rows and in-edges."""

import os
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData

from fullgraph.comm import World, init
from fullgraph.comm.world import DEFAULT_TIMEOUT
from fullgraph.config import EngineConfig, Mode, Recompute, WireDtype
from fullgraph.datasets.convert_pyg import graph_from_pyg
from fullgraph.engine import Halo
from fullgraph.errors import GraphMismatch, InputError
from fullgraph.graph import EDGE, NODE, Graph, NodeType, PartitionedGraph, Relation, StoredRows
from fullgraph.pyg.data.adjacency import Adjacency
from fullgraph.pyg.data.edge_index import EdgeRows
from fullgraph.pyg.data.edges import MOST_EDGES, Edges, StoredEdges
from fullgraph.pyg.data.graph import RankGraph, WholeGraph, remember_graph
from fullgraph.pyg.data.node_rows import check_streamed, read_joined, read_parts
from fullgraph.pyg.data.streamed_rows import with_space
from fullgraph.rows import Space, View, rows
from fullgraph.rows.libraries import see_one_program
from fullgraph.rows.recent import Recent
from fullgraph.stages import stage


def open_graph(
    graph: str | os.PathLike[str] | Data | HeteroData | Graph,
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
    timeout: float = DEFAULT_TIMEOUT,
) -> Any:
    """Open a graph on all ranks, each of which holds its rows. Collective.

    The script sees the whole graph: every tensor with a row per node or edge is `Rows`, with the whole graph's shape
    and original ids. Calls `init` if nobody has.

    Args:
        graph: a folder made by ``fullgraph.partition``, with at least as many parts as there are ranks, which stays in
            place while it is open, since edges are read when they are asked for; or a graph in memory, the same on
            every rank, of which each takes a run of nodes in their order.
        world: from ``fullgraph.init``; default what that gives.
        stream: names of arrays per node that stay on disk and are read a few MiB at a time, ``("x",)`` for features
            that are larger than memory. Half-precision numbers become float32 as they are read.
        mode: how rows of other ranks are held, see `EngineConfig`.
        prefetch: rounds in flight, see `EngineConfig`.
        round_rows: most rows of a round, see `EngineConfig`.
        chunk_edges: most edges of a neighbourhood, see `EngineConfig`.
        wire_dtype: how float32 rows travel between ranks, see `EngineConfig`.
        recompute: what backward makes again instead of keeping it, see `EngineConfig`.
        held_mib: most MiB of unchanging rows of other ranks that are held, see `EngineConfig`.
        timeout: for `init`, if this calls it.

    Returns:
        A PyG `Data`, or a `HeteroData` if the graph has node types and relations, with ``x``, ``y``, masks and whatever
        else is stored per node or per edge, on the world's device.

    Raises:
        GraphFormatError: on every rank, if a file of any rank's parts is broken.
        InputError: if ``stream`` names an array that no node type has, or one that is no matrix of real numbers.
        OutOfMemory: on every rank, if the arrays of a rank do not fit into its memory.
        GraphMismatch: if there are more ranks than parts, ranks opened different graphs or settings, or the graph has
            no relation at all.
    """
    world = world or init(timeout=timeout)
    config = EngineConfig(
        mode=mode,
        prefetch=prefetch,
        round_rows=round_rows,
        chunk_edges=chunk_edges,
        wire_dtype=wire_dtype,
        recompute=recompute,
        held_mib=held_mib,
    )
    if isinstance(graph, str | os.PathLike):
        with stage(f"opening {graph}"):
            share = _stored_share(graph, world, config, stream)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what has no row per node or edge stays as it is
            share = _share_in_memory(graph, world, config)
    from fullgraph.rows.factories import enter_global_view

    enter_global_view()
    if world.num_ranks > 1:
        see_one_program()
    data = _data_of(share, world, config)
    if isinstance(graph, Data | HeteroData):
        _attach_the_rest(data, graph)
    return data


@dataclass(frozen=True, kw_only=True)
class _Edges:
    """In-edges of own rows: sources by partition-order ids, own destinations, places in the graph's list of edges.

    Ids are read when they are asked for.
    """

    src: Callable[[], np.ndarray]
    dst: Callable[[], np.ndarray]
    places: Callable[[], np.ndarray]
    num_own: int
    num_edges: int
    arrays: Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class _Share:
    """One rank's share of a graph. ``offsets``: per node type, where each rank's partition-order ids start."""

    offsets: Mapping[NodeType, np.ndarray]
    node_ids: Mapping[NodeType, Tensor]
    node_arrays: Mapping[NodeType, Mapping[str, Tensor]]
    num_classes: Mapping[NodeType, int | None]
    edges: Mapping[Relation, _Edges]
    checksum: str | None


def _stored_share(path: str | os.PathLike[str], world: World, config: EngineConfig, stream: Collection[str]) -> _Share:
    stored = world.together(lambda: PartitionedGraph.open(path))
    world.agree("graph and settings", (stored.checksum, config, sorted(stream)))
    check_streamed(stored, stream)
    if not stored.relations:
        raise GraphMismatch(f"the graph has no relation, so there is nothing to pass messages over: {path}")
    own_parts = stored.book.parts_of_rank(world.rank, world.num_ranks)
    parts, arrays = world.together(lambda: read_parts(stored, own_parts, stream, world.device))
    edges = {}
    for relation in stored.relations:
        pieces = [part.edges[relation].stored for part in parts]
        edges[relation] = _Edges(
            src=partial(_read, "src", pieces),
            dst=partial(_destinations, pieces),
            places=partial(_read, "ids", pieces),
            num_own=sum(each["src"].num_rows for each in pieces),
            num_edges=stored.num_edges(relation),
            arrays={
                name: read_joined(name, [each[name] for each in pieces]) for name in stored.edge_array_names(relation)
            },
        )
    return _Share(
        offsets=stored.book.for_ranks(world.num_ranks).offsets,
        node_ids={kind: _joined(p.node_ids[kind] for p in parts) for kind in stored.node_types},
        node_arrays=arrays,
        num_classes={kind: stored.manifest.node_types[kind].num_classes for kind in stored.node_types},
        edges=edges,
        checksum=stored.checksum,
    )


def _share_in_memory(given: Data | HeteroData | Graph, world: World, config: EngineConfig) -> _Share:
    """A run of nodes of each type, in their order, and their in-edges, in theirs: on one rank all as it was."""
    graph = world.together(lambda: given if isinstance(given, Graph) else graph_from_pyg(given))
    counts = {relation: edges.num_edges for relation, edges in graph.edges.items()}
    world.agree("graph and settings", (dict(graph.num_nodes), counts, config))
    world.agree("graph, in all its numbers (call fullgraph.init first, or seed what makes it)", _content(given, graph))
    if not graph.edges:
        raise GraphMismatch("the graph has no relation, so there is nothing to pass messages over")
    ranks = np.arange(world.num_ranks + 1)
    offsets = {kind: ranks * count // world.num_ranks for kind, count in graph.num_nodes.items()}
    own = {kind: slice(at[world.rank], at[world.rank + 1]) for kind, at in offsets.items()}
    edges = {}
    for relation, whole in graph.edges.items():
        run = own[relation[2]]
        places = np.flatnonzero((whole.dst >= run.start) & (whole.dst < run.stop))
        edges[relation] = _Edges(
            src=partial(np.asarray, whole.src[places]),
            dst=partial(np.asarray, (whole.dst[places] - run.start).astype(np.int32)),
            places=partial(np.asarray, places),
            num_own=len(places),
            num_edges=whole.num_edges,
            arrays={name: torch.from_numpy(values[places]) for name, values in whole.arrays.items()},
        )
    arrays = {kind: graph.node_arrays.get(kind, {}) for kind in graph.num_nodes}
    return _Share(
        offsets=offsets,
        node_ids={kind: torch.arange(run.start, run.stop) for kind, run in own.items()},
        node_arrays={
            kind: {name: torch.from_numpy(values[own[kind]].copy()) for name, values in of_kind.items()}
            for kind, of_kind in arrays.items()
        },
        num_classes={kind: num_classes_of(of_kind.get("y")) for kind, of_kind in arrays.items()},
        edges=edges,
        checksum=None,
    )


def _content(given: Data | HeteroData | Graph, graph: Graph) -> int:
    """A checksum of everything that ranks must have alike."""
    parts = [(name, values) for of_kind in graph.node_arrays.values() for name, values in sorted(of_kind.items())]
    for edges in graph.edges.values():
        parts += [("src", edges.src), ("dst", edges.dst), *sorted(edges.arrays.items())]
    content = 0
    for name, values in parts:
        content = crc32(_bytes(torch.from_numpy(values)), crc32(name.encode(), content))
    for store in [] if isinstance(given, Graph) else given.stores:
        for value in store.values():
            if isinstance(value, Tensor) and value.layout == torch.strided and value.dim() < 2:  # ids, masks, numbers
                content = crc32(_bytes(value), content)
    return content


def _bytes(values: Tensor) -> Any:
    if not values.numel():  # of no numbers torch makes no bytes
        return b""
    return values.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()


def num_classes_of(labels: np.ndarray | None) -> int | None:
    """Classes of whole-number labels ``[n]``, or columns of a matrix of them; None if these are no classes."""
    if labels is None or labels.dtype.kind not in "iu":
        return None
    if labels.ndim == 2:
        return labels.shape[1]
    return int(labels.max()) + 1 if len(labels) else 0


def _data_of(share: _Share, world: World, config: EngineConfig) -> Any:
    num_rows = sum(int(at[-1]) for at in share.offsets.values())
    num_rows += sum(edges.num_edges for edges in share.edges.values())
    view = View(world=world, config=config, made=Recent(16 * num_rows))
    nodes = {
        kind: Space(view, int(share.offsets[kind][-1]), len(ids), ("nodes", kind), ids.to(world.device))
        for kind, ids in share.node_ids.items()
    }
    homogeneous = tuple(nodes) == (NODE,) and tuple(share.edges) == (EDGE,)
    data: Any = WholeGraph() if homogeneous else HeteroData()
    edges = {}
    for relation, given in share.edges.items():
        store = data if homogeneous else data[relation]
        edges[relation] = _connected(given, relation, nodes, share.offsets[relation[0]])
        store.edge_index = EdgeRows.of(edges[relation])
        for name, values in given.arrays.items():
            store[name] = rows(values.to(world.device), edges[relation].space)
    for kind, space in nodes.items():
        store = data if homogeneous else data[kind]
        store.num_nodes = space.count
        if homogeneous or share.num_classes[kind] is not None:
            store.num_classes = share.num_classes[kind]
        for name, values in share.node_arrays[kind].items():
            store[name] = with_space(values.to(world.device), space)
    remember_graph(data, RankGraph(view=view, nodes=nodes, edges=edges, checksum=share.checksum))
    return data


def _attach_the_rest(data: Any, whole: Data | HeteroData) -> None:
    """What every rank has of a graph in memory: ids, attributes of the graph, whatever is no tensor."""
    for key, value in whole._global_store.items() if isinstance(whole, HeteroData) else ():
        data[key] = value
    for store in whole.stores:
        mine = data[store._key] if store._key is not None else data
        for key, value in store.items():
            if key == "adj_t" and isinstance(whole, HeteroData):
                mine[key] = Adjacency.of_edges(mine.edge_index)
            if key == "adj_t":
                continue
            is_list_of_ids = key in mine and isinstance(value, Tensor) and mine[key].shape[:1] != value.shape[:1]
            if key not in mine or is_list_of_ids:
                mine[key] = value


def _read(name: str, pieces: Sequence[Mapping[str, StoredRows]]) -> np.ndarray:
    return read_joined(name, [each[name] for each in pieces]).numpy()


def _destinations(pieces: Sequence[Mapping[str, StoredRows]]) -> np.ndarray:
    in_degrees = np.concatenate([np.diff(_read("indptr", [each])) for each in pieces])
    return np.repeat(np.arange(len(in_degrees), dtype=np.int32), in_degrees)


def _connected(given: _Edges, relation: Relation, nodes: Mapping[NodeType, Space], offsets: np.ndarray) -> Edges:
    """With the walks' structure told to all ranks. Collective."""
    src_space, dst_space = nodes[relation[0]], nodes[relation[2]]
    view, device = src_space.view, src_space.device
    needed = view.world.together(lambda: _needed(given, offsets, view.world))
    halo = Halo.connect(view.world, view.config, src_space.num_own, needed)

    def ends() -> tuple[Tensor, Tensor]:
        src = torch.from_numpy(_extended(given.src(), offsets, halo)).to(device)
        return src, torch.from_numpy(given.dst()).to(device)

    space = StoredEdges(view, given.num_edges, given.num_own, ("edges", relation), given.places)
    return Edges(space, src_space, dst_space, halo, ends)


def _needed(given: _Edges, offsets: np.ndarray, world: World) -> tuple[Tensor, ...]:
    """Per rank, which of its rows are sources of this rank's edges."""
    if given.num_own > MOST_EDGES:
        raise InputError(
            f"a rank can have at most {MOST_EDGES:,} edges of one relation; start more ranks, rank {world.rank} has: "
            f"{given.num_own:,}"
        )
    src = given.src()
    needed = np.unique(src[(src < offsets[world.rank]) | (src >= offsets[world.rank + 1])])
    bounds = np.searchsorted(needed, offsets)
    return tuple(
        torch.from_numpy(needed[bounds[rank] : bounds[rank + 1]] - offsets[rank]).to(world.device)
        for rank in range(world.num_ranks)
    )


def _extended(src: np.ndarray, offsets: np.ndarray, halo: Halo) -> np.ndarray:
    """Sources given by partition-order ids as extended ids, int32."""
    first, stop = offsets[halo.world.rank], offsets[halo.world.rank + 1]
    extended = (src - first).astype(np.int32)
    foreign = (src < first) | (src >= stop)
    needed = np.concatenate([ids.cpu().numpy() + at for ids, at in zip(halo.needed, offsets, strict=False)])
    extended[foreign] = (stop - first) + np.searchsorted(needed, src[foreign])
    return extended


def _joined(arrays: Iterable[np.ndarray]) -> Tensor:
    """One tensor that owns its memory: the arrays are mapped from files."""
    return torch.from_numpy(np.concatenate(list(arrays)))
