"""The .npz layout, on tiny files that the tests write."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fullgraph.datasets.npz import read_npz
from fullgraph.errors import GraphFormatError, InputError
from fullgraph.graph import EDGE, NODE, Graph

INDEX = np.array([[0, 1, 2, 2], [1, 2, 0, 0]], np.int32)


def stored(tmp_path: Path, **arrays: Any) -> Path:
    np.savez(tmp_path / "g.npz", **arrays)
    return tmp_path / "g.npz"


def read(tmp_path: Path, **arrays: Any) -> Graph:
    return read_npz(stored(tmp_path, **arrays))


def test_dense_features_labels_and_splits(tmp_path: Path) -> None:
    graph = read(
        tmp_path,
        edge_index=INDEX,
        x=np.ones((5, 2), np.float64),
        y=np.array([0, 1, -1, 1, 0], np.int8),
        train_idx=np.array([3, 0], np.int32),
        test_masks=np.array([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]], bool),
        edge_type=np.array([0, 1, 1, 0], np.uint8),
        age=np.arange(5, dtype=np.int16),
        edge_negative=np.zeros((9, 2), int),
    )
    assert graph.num_nodes == {NODE: 5}
    arrays, edges = graph.node_arrays[NODE], graph.edges[EDGE]
    assert set(arrays) == {"x", "y", "train_mask", "test_masks", "age"}
    assert arrays["x"].dtype == np.float32
    np.testing.assert_array_equal(arrays["y"], [0, 1, -1, 1, 0])
    np.testing.assert_array_equal(arrays["train_mask"], [True, False, False, True, False])
    np.testing.assert_array_equal(arrays["test_masks"], [[1, 0], [0, 1], [0, 0], [0, 0], [0, 0]])
    np.testing.assert_array_equal(np.stack([edges.src, edges.dst]), INDEX)
    assert list(edges.arrays) == ["edge_type"]
    assert edges.arrays["edge_type"].dtype == np.int64


def test_sparse_features(tmp_path: Path) -> None:
    graph = read(
        tmp_path,
        edge_index=INDEX,
        x_indptr=np.array([0, 1, 1, 3]),
        x_indices=np.array([1, 0, 2], np.int32),
        x_data=np.array([2, 3, 4], np.uint8),
        x_shape=np.array([3, 3]),
    )
    assert graph.node_arrays[NODE]["x"].dtype == np.float32
    np.testing.assert_array_equal(graph.node_arrays[NODE]["x"], [[0, 2, 0], [0, 0, 0], [3, 0, 4]])


def test_nothing_but_edges(tmp_path: Path) -> None:
    assert read(tmp_path, edge_index=INDEX).num_nodes == {NODE: 3}
    assert read(tmp_path, edge_index=INDEX, num_nodes=9).num_nodes == {NODE: 9}


def test_as_many_edges_as_nodes(tmp_path: Path) -> None:
    graph = read(tmp_path, edge_index=INDEX[:, :3], num_nodes=3, edge_attr=np.ones((3, 1)), colour=np.arange(3))
    assert list(graph.edges[EDGE].arrays) == ["edge_attr"]
    assert list(graph.node_arrays[NODE]) == ["colour"]


def test_triples_get_inverse_edges(tmp_path: Path) -> None:
    graph = read(tmp_path, triples=np.array([[0, 0, 1], [1, 2, 2]]), num_entities=4, num_relations=3)
    edges = graph.edges[EDGE]
    assert graph.num_nodes == {NODE: 4}
    np.testing.assert_array_equal(edges.src, [0, 1, 1, 2])
    np.testing.assert_array_equal(edges.dst, [1, 2, 0, 1])
    np.testing.assert_array_equal(edges.arrays["edge_type"], [0, 4, 1, 5])


def test_heterogeneous(tmp_path: Path) -> None:
    graph = read(
        tmp_path,
        edge__author__writes__paper=np.array([[0, 1], [2, 0]], np.int32),
        edge_attr__author__writes__paper=np.ones((2, 3), np.float32),
        edge__paper__cites__paper=np.zeros((2, 0), np.int32),
        x__paper__indptr=np.array([0, 0, 0, 1]),
        x__paper__indices=np.array([1]),
        x__paper__data=np.array([5.0]),
        x__paper__shape=np.array([3, 2]),
        y__paper=np.array([0, 1, 0]),
        val_idx__paper=np.array([1]),
        num_nodes__author=np.array(4),
        num_nodes__term=np.array(2),
        target=np.array("paper"),
    )
    assert graph.num_nodes == {"author": 4, "term": 2, "paper": 3}
    assert set(graph.node_arrays["paper"]) == {"x", "y", "val_mask"}
    np.testing.assert_array_equal(graph.node_arrays["paper"]["x"], [[0, 0], [0, 0], [0, 5]])
    assert set(graph.edges) == {("author", "writes", "paper"), ("paper", "cites", "paper")}
    assert graph.edges["author", "writes", "paper"].arrays["edge_attr"].shape == (2, 3)
    assert graph.node_arrays["author"] == {}


BAD: dict[str, tuple[dict[str, Any], type[InputError], str]] = {
    "no edges": (
        {"x": np.ones((2, 2))},
        GraphFormatError,
        "the file needs a key edge_index [2, num_edges], or keys edge__SRC__REL__DST: {path}",
    ),
    "edges the wrong way round": (
        {"edge_index": INDEX.T},
        GraphFormatError,
        "edge_index must have shape [2, num_edges], not [4, 2]: {path}",
    ),
    "half of the sparse features": (
        {"edge_index": INDEX, "x_data": np.ones(1), "x_indices": np.ones(1), "x_shape": np.array([3, 3])},
        GraphFormatError,
        "sparse features need x_data, x_indptr, x_indices and x_shape; there is no x_indptr: {path}",
    ),
    "a relation without a name": (
        {"edge__a__b": INDEX},
        GraphFormatError,
        "a relation's key must be edge__SRC__REL__DST, not 'edge__a__b': {path}",
    ),
    "a split outside": (
        {"edge_index": INDEX, "y": np.zeros(3, int), "val_idx": np.array([0, 3])},
        InputError,
        "g.npz: val_idx must hold ids from 0 to 2: 3",
    ),
    "a split of floats": (
        {"edge_index": INDEX, "y": np.zeros(3, int), "val_idx": np.array([0.5])},
        InputError,
        "g.npz: val_idx must be a list of node ids, whole numbers: float64 [1]",
    ),
    "an id outside": (
        {"edge_index": INDEX, "x": np.ones((2, 2))},
        InputError,
        "g.npz: src of relation ('node', 'to', 'node') must have ids below 2, the number of nodes; edge 2 has: 2",
    ),
    "NaN": (
        {"edge_index": INDEX, "x": np.full((3, 1), np.nan)},
        InputError,
        "g.npz: x of node type 'node' must be finite, replace NaN and infinity; row 0 has: nan",
    ),
    "a mask too long": (
        {"edge_index": INDEX, "x": np.ones((3, 2)), "train_mask": np.ones(4, bool)},
        InputError,
        "g.npz: train_mask of node type 'node' must have one row for each of 3 nodes: 4 rows",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files(case: str, tmp_path: Path) -> None:
    arrays, kind, message = BAD[case]
    path = stored(tmp_path, **arrays)
    with pytest.raises(InputError) as caught:
        read_npz(path)
    assert type(caught.value) is kind
    assert str(caught.value) == message.format(path=path)


def test_sparse_features_that_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(GraphFormatError, match=r"^the sparse features x_… contradict each other \(.*\): .*g\.npz$"):
        read(
            tmp_path,
            edge_index=INDEX,
            x_indptr=np.array([0, 1, 1, 3]),
            x_indices=np.array([1, 0, 7], np.int32),
            x_data=np.ones(3),
            x_shape=np.array([3, 3]),
        )


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and then nothing", b"text"])
def test_no_npz(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "g.npz").write_bytes(content)
    with pytest.raises(GraphFormatError, match=r"^the file is no \.npz of plain arrays \(.*\): .*g\.npz$"):
        read_npz(tmp_path / "g.npz")


def test_a_single_array(tmp_path: Path) -> None:
    with (tmp_path / "g.npz").open("wb") as file:
        np.save(file, INDEX)
    with pytest.raises(GraphFormatError, match=r"^the file is a single array, not an \.npz: .*g\.npz$"):
        read_npz(tmp_path / "g.npz")


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(GraphFormatError, match="allow_pickle=False"):
        read(tmp_path, edge_index=INDEX, names=np.array([{}, {}, {}], object))
