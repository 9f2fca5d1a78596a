"""What was written is what is read: every node and edge once, with its id and its arrays, whatever the graph."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fullgraph.graph import Graph, PartitionedGraph, write_partitioned
from fullgraph.partitioners import METHODS, assign_parts, locality_order
from tests.graph.samples import graphs, small_graph, two_types


def check_round_trip(graph: Graph, num_parts: int, method: str, folder: Path) -> None:
    part_of_node = assign_parts(graph, num_parts=num_parts, method=method, seed=1)
    order = locality_order(graph, part_of_node)
    write_partitioned(graph, part_of_node, folder / "g.fg", num_parts=num_parts, method=method, seed=1, order=order)
    stored = PartitionedGraph.open(folder / "g.fg")
    assert (stored.num_parts, stored.manifest.method, stored.manifest.seed) == (num_parts, method, 1)
    assert stored.node_types == tuple(graph.num_nodes)
    assert stored.relations == tuple(graph.edges)
    parts = [stored.read_part(part) for part in range(num_parts)]
    original = {}  # per node type the original id of every partition-order id
    for node_type, num_nodes in graph.num_nodes.items():
        assert stored.num_nodes(node_type) == stored.book.num_nodes(node_type) == num_nodes
        original[node_type] = np.concatenate([part.node_ids[node_type] for part in parts])
        np.testing.assert_array_equal(np.sort(original[node_type]), np.arange(num_nodes))
        for number, part in enumerate(parts):
            assert (part_of_node[node_type][part.node_ids[node_type]] == number).all()
            for name, array in graph.node_arrays[node_type].items():
                assert part.node_arrays[node_type][name].dtype == array.dtype
                np.testing.assert_array_equal(part.node_arrays[node_type][name], array[part.node_ids[node_type]])
    for relation, edges in graph.edges.items():
        assert stored.num_edges(relation) == edges.num_edges
        seen = np.concatenate([np.empty(0, np.int64), *(part.edges[relation].edge_ids for part in parts)])
        np.testing.assert_array_equal(np.sort(seen), np.arange(edges.num_edges))
        for part in parts:
            own = part.edges[relation]
            local_dst = np.repeat(np.arange(len(own.indptr) - 1), np.diff(own.indptr))
            np.testing.assert_array_equal(part.node_ids[relation[2]][local_dst], edges.dst[own.edge_ids])
            np.testing.assert_array_equal(original[relation[0]][own.src], edges.src[own.edge_ids])
            by_dst_src_id = np.lexsort((own.edge_ids, own.src, local_dst))
            np.testing.assert_array_equal(by_dst_src_id, np.arange(len(local_dst)))
            for name, array in edges.arrays.items():
                np.testing.assert_array_equal(own.arrays[name], array[own.edge_ids])


@settings(max_examples=40, deadline=None)  # every example waits for the disk
@given(graphs(), st.data())
def test_any_graph(graph: Graph, data: st.DataObject) -> None:
    num_parts = data.draw(st.integers(1, min(5, sum(graph.num_nodes.values()))))
    method = data.draw(st.sampled_from(sorted(METHODS)))
    with TemporaryDirectory() as folder:
        check_round_trip(graph, num_parts, method, Path(folder))


def test_one_part_per_node(tmp_path: Path) -> None:
    check_round_trip(small_graph(), 7, "metis", tmp_path)
    check_round_trip(two_types(), 7, "metis", tmp_path / "two")


def test_what_the_manifest_answers(tmp_path: Path) -> None:
    graph = two_types()
    parts = {"paper": np.array([0, 1, 0, 1]), "author": np.array([1, 1, 1])}
    write_partitioned(graph, parts, tmp_path / "g.fg", num_parts=2, method="random", seed=0)
    stored = PartitionedGraph.open(tmp_path / "g.fg")
    assert stored.num_classes == 2
    assert (stored.num_features("paper"), stored.num_features("author")) == (2, 5)
    assert stored.node_array_names("paper") == ("x", "y")
    assert stored.edge_array_names(("author", "writes", "paper")) == ("edge_attr",)
    assert stored.edge_array_names(("paper", "cites", "paper")) == ()
    np.testing.assert_array_equal(stored.book.offsets["author"], [0, 0, 3])
    np.testing.assert_array_equal(stored.read_part(0).node_ids["paper"], [0, 2])  # by id where no order is given


def test_number_of_classes(tmp_path: Path) -> None:
    cases = [
        (None, None),
        (np.array([0.5, 1.0]), None),
        (np.array([-1, 3]), 4),
        (np.array([[1], [4]]), 5),
        (np.array([[0.0, 1.0], [1.0, 1.0]]), 2),
        (np.array([-1, -1]), 0),
    ]
    for number, (y, expected) in enumerate(cases):
        arrays = {} if y is None else {"y": y}
        graph = Graph.homogeneous(np.array([[0], [1]]), num_nodes=2, **arrays)
        path = tmp_path / f"{number}.fg"
        write_partitioned(graph, {"node": np.zeros(2, int)}, path, num_parts=1, method="random", seed=0)
        assert PartitionedGraph.open(path).num_classes == expected


def test_arrays_can_be_written_to_and_the_file_stays(tmp_path: Path) -> None:
    graph = small_graph()
    write_partitioned(graph, {"node": np.zeros(7, int)}, tmp_path / "g.fg", num_parts=1, method="random", seed=0)
    stored = PartitionedGraph.open(tmp_path / "g.fg")
    stored.read_part(0).node_arrays["node"]["x"][:] = 9
    np.testing.assert_array_equal(stored.read_part(0).node_arrays["node"]["x"], graph.node_arrays["node"]["x"])
