"""Puts a partitioned graph on disk so that it is there whole or not at all, whenever the writer is killed."""

import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from fullgraph.errors import InputError
from fullgraph.graph.checksum import checksum_of_file
from fullgraph.graph.graph import Graph, NodeType
from fullgraph.graph.layout import MANIFEST, edge_file, node_file
from fullgraph.graph.manifest import ArrayEntry, FileEntry, Manifest, NodeEntry, RelationEntry, is_graph_folder
from fullgraph.replacing import flush_folder

FEATURE_DTYPES = ("float16", "bfloat16", "float32")


def write_partitioned(
    graph: Graph,
    part_of_node: Mapping[NodeType, np.ndarray],
    path: str | os.PathLike[str],
    *,
    num_parts: int,
    method: str,
    seed: int,
    overwrite: bool = False,
    order: Mapping[NodeType, np.ndarray] | None = None,
    feature_dtype: str | None = None,
) -> None:
    """Write a graph as parts.

    Everything goes to a hidden sibling folder first, the manifest last, and a rename makes it the graph. With
    ``overwrite`` the old graph steps aside by a rename just before; a writer killed between the two renames leaves no
    graph at ``path``, and the old one whole in a hidden sibling.

    Args:
        graph: the whole graph.
        part_of_node: per node type whole numbers [num_nodes], each from 0 to num_parts - 1.
        path: the folder to make, ``NAME.fg`` by custom.
        num_parts: parts to write; each must own a node of some type.
        method: the partitioner's name, for the record.
        seed: its seed, for the record.
        overwrite: replace a partitioned graph that is there; anything else that is there is never replaced.
        order: per node type the original ids in the order to store them, grouped by part. None: by original id.
        feature_dtype: one of `FEATURE_DTYPES`, to which ``x`` of every node type is rounded. None: as it is.

    Raises:
        InputError: when an argument breaks a rule above.
    """
    path = Path(os.path.abspath(path))
    _check_target(path, overwrite)
    if feature_dtype is not None and feature_dtype not in FEATURE_DTYPES:
        raise InputError(f"feature_dtype must be one of {', '.join(FEATURE_DTYPES)}: {feature_dtype!r}")
    offsets = _part_offsets(graph, part_of_node, num_parts)
    if order is None:
        order = {t: np.argsort(part_of_node[t], kind="stable") for t in graph.num_nodes}
    for node_type, ids in order.items():
        assert np.array_equal(np.sort(ids), np.arange(graph.num_nodes[node_type])), "order is no permutation"
        assert (np.diff(part_of_node[node_type][ids].astype(np.int64)) >= 0).all(), "order is not grouped by part"

    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.parent / f".{path.name}.writing-{secrets.token_hex(4)}"
    try:
        folder.mkdir()
        manifest = _write_arrays(graph, offsets, order, folder, method, seed, feature_dtype)
        _write_text(folder / MANIFEST, manifest.to_text())
        for subfolder, _, _ in os.walk(folder, topdown=False):
            flush_folder(Path(subfolder))
        _move_into_place(folder, path, overwrite)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_target(path: Path, overwrite: bool) -> None:
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise InputError(f"there is something at the target already; choose another path or pass overwrite: {path}")
    if not is_graph_folder(path):
        raise InputError(f"only a partitioned graph is ever overwritten; remove what is there yourself: {path}")


def _part_offsets(
    graph: Graph, part_of_node: Mapping[NodeType, np.ndarray], num_parts: int
) -> dict[NodeType, np.ndarray]:
    offsets, sizes = {}, np.zeros(num_parts, np.int64)
    for node_type, num_nodes in graph.num_nodes.items():
        if node_type not in part_of_node:
            raise InputError(f"part_of_node must say the part of every node; it lacks the node type: {node_type!r}")
        parts = part_of_node[node_type]
        if parts.dtype.kind not in "iu" or parts.shape != (num_nodes,):
            raise InputError(
                f"part_of_node of node type {node_type!r} must hold one whole number for each of {num_nodes} nodes: "
                f"{parts.dtype} {list(parts.shape)}"
            )
        if len(parts) and (parts.min() < 0 or parts.max() >= num_parts):
            outside = parts[(parts < 0) | (parts >= num_parts)][0]
            raise InputError(f"parts of node type {node_type!r} must be from 0 to {num_parts - 1}: {outside}")
        of_type = np.bincount(parts, minlength=num_parts)
        offsets[node_type] = np.concatenate([[0], np.cumsum(of_type)]).astype(np.int64)
        sizes += of_type
    if not sizes.all():
        raise InputError(
            f"every part must own a node, ask for fewer parts or move a node there; empty part: {np.argmin(sizes)}"
        )
    return offsets


def _write_arrays(
    graph: Graph,
    offsets: Mapping[NodeType, np.ndarray],
    node_order: Mapping[NodeType, np.ndarray],
    folder: Path,
    method: str,
    seed: int,
    feature_dtype: str | None,
) -> Manifest:
    num_parts = len(next(iter(offsets.values()))) - 1
    files: list[dict[str, FileEntry]] = [{} for _ in range(num_parts)]

    def write(part: int, name: str, array: np.ndarray) -> None:
        files[part][name] = _write_array(folder / name, array)

    for node_type, ids in node_order.items():
        arrays = graph.node_arrays.get(node_type, {})
        for part in range(num_parts):
            owned = ids[offsets[node_type][part] : offsets[node_type][part + 1]]
            write(part, node_file(part, node_type, "ids"), owned.astype(np.int64))
            for name, array in arrays.items():
                rows = array[owned] if name != "x" or feature_dtype is None else _rounded(array[owned], feature_dtype)
                write(part, node_file(part, node_type, name), rows)

    relations = {}
    for relation, edges in graph.edges.items():
        source, _, destination = relation
        new_src = _place_of(node_order[source])[edges.src]
        new_dst = _place_of(node_order[destination])[edges.dst]
        edge_order = np.argsort(new_dst * graph.num_nodes[source] + new_src, kind="stable")
        new_src = new_src[edge_order]
        num_before = np.concatenate([[0], np.cumsum(np.bincount(new_dst, minlength=graph.num_nodes[destination]))])
        del new_dst
        counts = []
        for part in range(num_parts):
            first, last = offsets[destination][part : part + 2]
            start, end = num_before[first], num_before[last]
            ids = edge_order[start:end]
            write(part, edge_file(part, relation, "indptr"), num_before[first : last + 1] - start)
            write(part, edge_file(part, relation, "src"), new_src[start:end])
            write(part, edge_file(part, relation, "ids"), ids)
            for name, array in edges.arrays.items():
                write(part, edge_file(part, relation, name), array[ids])
            counts.append(int(end - start))
        relations[relation] = RelationEntry(num_edges=tuple(counts), arrays=_array_entries(edges.arrays))

    return Manifest(
        method=method,
        seed=seed,
        node_types={t: _node_entry(graph.node_arrays.get(t, {}), offsets[t], feature_dtype) for t in graph.num_nodes},
        relations=relations,
        files=tuple(files),
    )


def _rounded(x: np.ndarray, dtype: str) -> np.ndarray:
    """Features in fewer digits, bfloat16 as uint16 of its bits."""
    if dtype == "bfloat16":
        return torch.from_numpy(x).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    with np.errstate(over="ignore"):
        rounded = x.astype(dtype)
    if not np.isfinite(rounded).all():
        raise InputError(
            f"the features do not fit {dtype}, whose numbers end at {np.finfo(dtype).max:g}; scale them or ask for "
            f"feature_dtype bfloat16; the largest is: {np.abs(x).max():g}"
        )
    return rounded


def _node_entry(arrays: Mapping[str, np.ndarray], offsets: np.ndarray, feature_dtype: str | None) -> NodeEntry:
    entries, x = _array_entries(arrays), arrays.get("x")
    if "x" in entries and feature_dtype is not None:
        entries["x"] = replace(entries["x"], dtype=feature_dtype)
    return NodeEntry(
        num_features=0 if x is None else x.shape[-1] if x.ndim > 1 else 1,  # as PyG counts them
        num_classes=_num_classes(arrays["y"]) if "y" in arrays else None,
        offsets=tuple(offsets.tolist()),
        arrays=entries,
    )


def _array_entries(arrays: Mapping[str, np.ndarray]) -> dict[str, ArrayEntry]:
    return {
        name: ArrayEntry(dtype=array.dtype.newbyteorder("=").name, row_shape=array.shape[1:])
        for name, array in arrays.items()
    }


def _num_classes(y: np.ndarray) -> int | None:
    """Columns of a wide ``y``; else the largest label and one more; None for real numbers, which are no classes."""
    if y.ndim == 2 and y.shape[1] > 1:
        return y.shape[1]
    if y.dtype.kind == "f" or not y.size:
        return None
    return max(int(y.max()) + 1, 0)


def _place_of(ids: np.ndarray) -> np.ndarray:
    place = np.empty(len(ids), np.int64)
    place[ids] = np.arange(len(ids))
    return place


def _write_array(path: Path, array: np.ndarray) -> FileEntry:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        little_endian = array.dtype.newbyteorder("<")
        np.save(file, np.ascontiguousarray(array, dtype=little_endian), allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    return FileEntry(num_bytes=path.stat().st_size, checksum=checksum_of_file(path))


def _write_text(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _move_into_place(folder: Path, path: Path, overwrite: bool) -> None:
    aside = path.parent / f".{path.name}.replaced-{secrets.token_hex(4)}"
    if overwrite and path.exists():
        path.rename(aside)
    try:
        folder.rename(path)
    except OSError as error:
        if aside.exists():
            aside.rename(path)
        raise InputError(
            f"the target appeared while the graph was being written; choose another path: {path}"
        ) from error
    flush_folder(path.parent)
    shutil.rmtree(aside, ignore_errors=True)
