"""From PyG's Data and HeteroData to the graph that partitioners and the disk format know."""

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data, HeteroData
from torch_geometric.data.storage import NodeStorage
from torch_geometric.utils import is_sparse, is_torch_sparse_tensor, to_edge_index

from fullgraph.errors import InputError
from fullgraph.graph.check import MASKS, ids_as_int64
from fullgraph.graph.graph import EDGE, NODE, Edges, Graph

_NODE_ARRAYS = ("x", "y", *MASKS)
_EDGE_ARRAYS = ("edge_attr", "edge_weight", "edge_type")


def graph_from_pyg(data: Data | HeteroData) -> Graph:
    """Everything of a PyG graph that has one row per node or per edge.

    ``x``, ``y`` and the masks must have a row per node, ``edge_attr``, ``edge_weight`` and ``edge_type`` a row per
    edge. Other tensors are kept where their first dimension counts nodes or edges (in doubt, nodes, unless the name
    starts with ``edge``). Ids of nodes, whole numbers ``[n]`` without repetition under a name that ends in ``_idx`` or
    ``_index``, become a mask ``[num_nodes]`` of that name. Other tensors are left out, with a warning that names them.
    Sparse features become dense, bfloat16 becomes float32, ``edge_index`` of any whole-number dtype int64.

    Raises:
        InputError: when there is no ``edge_index``, and as ``Graph`` does.
    """
    if isinstance(data, HeteroData):
        num_nodes, node_arrays = {}, {}
        for store in data.node_stores:
            num_nodes[store._key] = _num_nodes(store)
            node_arrays[store._key] = _node_arrays(store.items(), num_nodes[store._key])
        edges = {store._key: _edges(store.items(), f"relation {store._key}") for store in data.edge_stores}
        return Graph(num_nodes=num_nodes, node_arrays=node_arrays, edges=edges)
    if not isinstance(data, Data):
        raise InputError(
            f"a graph to partition is a PyG Data or HeteroData or a fullgraph Graph: {type(data).__name__}"
        )
    num_nodes = _num_nodes(data)
    items = list(data._store.items())
    edges = _edges(_edge_items(items, num_nodes, _num_edges(data)), "the graph")
    on_edges = {"edge_index", "adj_t", *edges.arrays}
    nodes = _node_arrays(((key, value) for key, value in items if key not in on_edges), num_nodes)
    return Graph(num_nodes={NODE: num_nodes}, node_arrays={NODE: nodes}, edges={EDGE: edges})


def _num_nodes(store: Data | NodeStorage) -> int:
    count = store.num_nodes
    if count is None:
        raise InputError("the number of nodes is not known; set num_nodes on the data (for each node type): None")
    return int(count)


def _num_edges(data: Data) -> int:
    if isinstance(data.edge_index, torch.Tensor):
        return int(data.edge_index.shape[-1])
    return data.num_edges if "adj_t" in data else 0


def _edge_items(items: list[tuple[str, Any]], num_nodes: int, num_edges: int) -> Iterable[tuple[str, Any]]:
    for key, value in items:
        rows_count_edges = isinstance(value, torch.Tensor) and value.dim() > 0 and len(value) == num_edges
        rows_count_edges = rows_count_edges and not _are_ids(key, value, num_nodes)
        if key in ("edge_index", "adj_t", *_EDGE_ARRAYS) or (
            key not in _NODE_ARRAYS and rows_count_edges and (num_edges != num_nodes or key.startswith("edge"))
        ):
            yield key, value


def _node_arrays(items: Iterable[tuple[str, Any]], num_nodes: int) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    left_out = []
    for key, value in items:
        if isinstance(value, torch.Tensor) and value.dim() and (key in _NODE_ARRAYS or len(value) == num_nodes):
            arrays[key] = _to_numpy(value)
        elif _are_ids(key, value, num_nodes):
            arrays[key] = np.zeros(num_nodes, bool)
            arrays[key][_to_numpy(value)] = True
        elif isinstance(value, torch.Tensor | dict):
            left_out.append(key)
    if left_out:
        warnings.warn(
            "a graph is stored as what has a row per node or edge; masks [num_nodes] can stand for lists of ids; left "
            f"out: {', '.join(left_out)}",
            stacklevel=4,
        )
    return arrays


def _are_ids(key: str, value: Any, num_nodes: int) -> bool:
    """Whether these are ids of some nodes, none of them twice."""
    if not isinstance(value, torch.Tensor) or value.dim() != 1 or not key.endswith(("_idx", "_index")):
        return False
    if value.is_floating_point() or value.dtype == torch.bool or (value.numel() and int(value.min()) < 0):
        return False
    return len(value.unique()) == len(value) and (not value.numel() or int(value.max()) < num_nodes)


def _edges(items: Iterable[tuple[str, Any]], what: str) -> Edges:
    tensors = dict(items)
    edge_index, adj_t = tensors.pop("edge_index", None), tensors.pop("adj_t", None)
    if edge_index is None and is_sparse(adj_t):
        (dst, src), weight = to_edge_index(adj_t)  # what ToSparseTensor made of the edges
        if not bool((weight == 1).all()):
            raise InputError(
                f"adj_t of {what} has weights; partition edge_index and edge_weight, without ToSparseTensor, and give "
                f"layers both: {list(adj_t.shape)}"
            )
        if is_torch_sparse_tensor(adj_t) and adj_t.size(0) == adj_t.size(1) and bool((src == dst).any()):
            raise InputError(
                f"adj_t of {what} has self-loops, which PyG's layers double in a torch.sparse matrix and nowhere else; "
                f"give edge_index, without ToSparseTensor: {list(adj_t.shape)}"
            )
        edge_index = torch.stack([src, dst])
    if not isinstance(edge_index, torch.Tensor):
        raise InputError(
            f"{what} needs an edge_index, an integer tensor [2, num_edges], or an adj_t that ToSparseTensor made "
            f"without weights: {type(edge_index).__name__}"
        )
    index = _to_numpy(edge_index)
    if index.ndim != 2 or len(index) != 2:
        raise InputError(f"edge_index of {what} must have shape [2, num_edges]: {list(index.shape)}")
    num_edges = index.shape[1]
    arrays = {
        key: _to_numpy(value)
        for key, value in tensors.items()
        if isinstance(value, torch.Tensor) and value.dim() > 0 and (key in _EDGE_ARRAYS or len(value) == num_edges)
    }
    src, dst = (ids_as_int64(row, f"edge_index of {what}") for row in index)
    return Edges(src=src, dst=dst, arrays=arrays)


def _to_numpy(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    tensor = tensor.to_dense() if tensor.layout != torch.strided else tensor.as_subclass(torch.Tensor)
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    return tensor.numpy()
