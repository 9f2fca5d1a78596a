"""Reads graphs stored as .npz, the layout of docs/format.md; no pickle is ever loaded."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fullgraph.datasets.bounds import PER_SPARSE_BYTE, check_archive, demand_bounded
from fullgraph.errors import GraphFormatError, InputError
from fullgraph.graph.check import MASKS, ids_as_int64
from fullgraph.graph.graph import Edges, Graph

_SPLITS = ("train", "val", "test")
_SPARSE = ("x_data", "x_indptr", "x_indices", "x_shape")
_STRUCTURE = ("edge_index", "triples", "num_nodes", "num_entities", "num_relations", "node_types", "target")
_LABELS = ("y", "node_type", "edge_type")  # whole numbers that models index with: always int64


def read_npz(path: Path) -> Graph:
    """A homogeneous graph (key ``edge_index`` or ``triples``) or a heterogeneous one (keys ``edge__SRC__REL__DST``).

    A file with both kinds of keys is read as homogeneous.

    Features become dense float32, index lists become masks, labels int64. ``triples`` [T, 3] of subject, predicate and
    object give two edges each, as PyG's R-GCN data sets have them: subject to object of ``edge_type`` 2p, and object to
    subject of ``edge_type`` 2p + 1.

    Raises:
        GraphFormatError: when the file is no .npz, holds pickles, or lacks the edges.
        InputError: when the graph in it breaks a rule of ``Graph``; the file is named.
    """
    try:
        check_archive(path)
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            stored = None if isinstance(content, np.ndarray) else {key: content[key] for key in content.files}
    except Exception as error:  # zipfile, zlib and numpy raise anything on garbage
        raise GraphFormatError(f"the file is no .npz of plain arrays ({error}): {path}") from error
    if stored is None:
        raise GraphFormatError(f"the file is a single array, not an .npz: {path}")
    if not all(isinstance(array, np.ndarray) for array in stored.values()):
        raise GraphFormatError(f"the file holds something else than arrays: {path}")
    with naming(path):
        return graph_from_arrays(stored)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors in a graph that was read from a file name the file."""
    try:
        yield
    except GraphFormatError as error:
        raise GraphFormatError(f"{error}: {path}") from error
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from error
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, RuntimeError) as error:
        raise GraphFormatError(f"the arrays contradict each other ({error}): {path}") from error


def graph_from_arrays(stored: Mapping[str, np.ndarray]) -> Graph:
    """The graph that arrays named as in an .npz stand for.

    Raises:
        GraphFormatError, InputError: as ``read_npz``, without the file's name.
    """
    if "edge_index" in stored or "triples" in stored:
        return _homogeneous(stored)
    relations = [key for key in stored if key.startswith("edge__")]
    if not relations:
        raise GraphFormatError("the file needs a key edge_index [2, num_edges], or keys edge__SRC__REL__DST")
    return _heterogeneous(stored, relations)


def _homogeneous(stored: Mapping[str, np.ndarray]) -> Graph:
    edge_arrays = {}
    if "edge_index" in stored:
        edge_index = stored["edge_index"]
    else:
        subject, predicate, target = stored["triples"].astype(np.int64).T
        edge_index = np.stack([np.concatenate([subject, target]), np.concatenate([target, subject])])
        edge_arrays["edge_type"] = np.concatenate([2 * predicate, 2 * predicate + 1])
    if edge_index.ndim != 2 or len(edge_index) != 2:
        raise GraphFormatError(f"edge_index must have shape [2, num_edges], not {list(edge_index.shape)}")
    num_edges = edge_index.shape[1]
    rest = {key: array for key, array in stored.items() if key not in _STRUCTURE and not key.startswith("edge__")}
    given = stored.get("num_nodes", stored.get("num_entities"))
    num_nodes = _num_nodes(given, rest, [edge_index])
    for key, array in list(rest.items()):
        whose_edge = key.startswith("edge_") or num_edges != num_nodes
        if _has_rows(array, num_edges) and whose_edge and key not in ("x", "y", *MASKS, *_SPARSE):
            edge_arrays[key] = _tidy(key, rest.pop(key))
    arrays = _node_arrays(rest, num_nodes)
    return Graph.homogeneous(edge_index, num_nodes=num_nodes, edge_arrays=edge_arrays, **arrays)


def _heterogeneous(stored: Mapping[str, np.ndarray], relations: list[str]) -> Graph:
    keys = {}
    for relation in relations:
        names = relation.split("__")
        if len(names) != 4:
            raise GraphFormatError(f"a relation's key must be edge__SRC__REL__DST, not {relation!r}")
        keys[relation] = (names[1], names[2], names[3])
    ends: dict[str, list[np.ndarray]] = {}
    for key, (source, _, destination) in keys.items():
        if stored[key].ndim != 2 or len(stored[key]) != 2:
            raise GraphFormatError(f"{key} must have shape [2, num_edges], not {list(stored[key].shape)}")
        ends.setdefault(source, []).append(stored[key][0])
        ends.setdefault(destination, []).append(stored[key][1])
    types = [key.removeprefix("num_nodes__") for key in stored if key.startswith("num_nodes__")]
    num_nodes, node_arrays = {}, {}
    for node_type in dict.fromkeys([*types, *ends]):
        rest = {}
        for key, array in stored.items():
            name, _, tail = key.partition("__")
            if name not in ("edge", "num_nodes") and (tail == node_type or tail.startswith(f"{node_type}__")):
                rest["_".join([name, tail[len(node_type) + 2 :]]).rstrip("_")] = array
        given = stored.get(f"num_nodes__{node_type}")
        rest = {key: array for key, array in rest.items() if not key.startswith("edge_")}
        num_nodes[node_type] = _num_nodes(given, rest, ends.get(node_type, []))
        node_arrays[node_type] = _node_arrays(rest, num_nodes[node_type])
    edges = {
        relation: Edges(
            src=ids_as_int64(stored[key][0], key),
            dst=ids_as_int64(stored[key][1], key),
            arrays={
                name.removesuffix(key[4:]): _tidy(name.removesuffix(key[4:]), array)
                for name, array in stored.items()
                if name.startswith("edge_") and name.endswith(key[4:]) and name != key
            },
        )
        for key, relation in keys.items()
    }
    return Graph(num_nodes=num_nodes, node_arrays=node_arrays, edges=edges)


def _num_nodes(given: np.ndarray | None, arrays: Mapping[str, np.ndarray], ids: list[np.ndarray]) -> int:
    """As stored, else the rows of the features or labels, else the largest id and one more."""
    if given is not None:
        count = int(given)
    elif "x" in arrays:
        count = len(arrays["x"])
    elif "x_shape" in arrays:
        count = int(arrays["x_shape"][0])
    elif "y" in arrays:
        count = len(arrays["y"])
    else:
        count = max((int(array.max()) + 1 for array in ids if array.size), default=0)
    stored = sum(array.nbytes for array in (*arrays.values(), *ids))
    demand_bounded(f"a number for each of {count} nodes", 8 * count, stored)
    return count


def _node_arrays(stored: Mapping[str, np.ndarray], num_nodes: int) -> dict[str, np.ndarray]:
    """What has a row per node, tidied; sparse features and index lists made dense. The rest is left out."""
    arrays = {}
    if "x_data" in stored:
        arrays["x"] = _dense_features(stored)
    for key, array in stored.items():
        if key.removesuffix("_idx") in _SPLITS and key.endswith("_idx"):
            arrays[key.replace("_idx", "_mask")] = _mask(key, array, num_nodes)
        elif key.removesuffix("_masks") in _SPLITS and array.shape[1:] == (num_nodes,):
            arrays[key] = np.ascontiguousarray(array.T)  # stored [num_splits, num_nodes]
        elif key in ("x", "y", *MASKS) or (_has_rows(array, num_nodes) and key not in _SPARSE):
            arrays[key] = _tidy(key, array)
    return arrays


def _dense_features(stored: Mapping[str, np.ndarray]) -> np.ndarray:
    import scipy.sparse as sp  # 20 MiB, which most files need not

    missing = [key for key in _SPARSE if key not in stored]
    if missing:
        raise GraphFormatError(
            f"sparse features need x_data, x_indptr, x_indices and x_shape; there is no {missing[0]}"
        )
    shape = tuple(int(size) for size in stored["x_shape"])
    data = stored["x_data"].astype(np.float32)
    sparse_bytes = sum(stored[key].nbytes for key in _SPARSE)
    demand_bounded(f"features of shape {list(shape)}", 4 * math.prod(shape), sparse_bytes, PER_SPARSE_BYTE)
    try:
        sparse = sp.csr_array((data, stored["x_indices"], stored["x_indptr"]), shape=shape)
        sparse.check_format()
    except ValueError as error:
        raise GraphFormatError(f"the sparse features x_… contradict each other ({error})") from error
    return sparse.toarray()


def _mask(key: str, index: np.ndarray, num_nodes: int) -> np.ndarray:
    if index.dtype.kind not in "iu" or index.ndim != 1:
        raise InputError(f"{key} must be a list of node ids, whole numbers: {index.dtype} {list(index.shape)}")
    if len(index) and (index.min() < 0 or index.max() >= num_nodes):
        outside = index[(index < 0) | (index >= num_nodes)][0]
        raise InputError(f"{key} must hold ids from 0 to {num_nodes - 1}: {outside}")
    mask = np.zeros(num_nodes, bool)
    mask[index] = True
    return mask


def _has_rows(array: np.ndarray, num_rows: int) -> bool:
    return array.ndim > 0 and len(array) == num_rows and array.dtype.kind in "biuf"


def _tidy(key: str, array: np.ndarray) -> np.ndarray:
    if key == "x" and array.dtype.kind in "biuf":
        return array.astype(np.float32)
    if key in _LABELS and array.dtype.kind in "iu":
        return array.astype(np.int64)
    return array
