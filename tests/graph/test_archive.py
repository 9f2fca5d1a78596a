"""Graphs written by format version 1, kept as they were: this and every later fullgraph must read them.

The folders in ``archive`` are never written again. What is in them is spelled out in ``samples.py``.
"""

from pathlib import Path

import numpy as np
import pytest

from fullgraph.graph import EDGE, Graph, PartitionedGraph
from tests.graph.samples import small_graph, two_types

ARCHIVE = Path(__file__).parent / "archive" / "v1"


@pytest.mark.parametrize(("name", "graph"), [("homogeneous.fg", small_graph()), ("heterogeneous.fg", two_types())])
def test_version_1_stays_readable(name: str, graph: Graph) -> None:
    stored = PartitionedGraph.open(ARCHIVE / name)
    assert stored.num_parts == 2
    for part in map(stored.read_part, range(2)):
        for node_type, arrays in graph.node_arrays.items():
            for array in arrays:
                found = part.node_arrays[node_type][array]
                np.testing.assert_array_equal(found, arrays[array][part.node_ids[node_type]])
        for relation, edges in graph.edges.items():
            own = part.edges[relation]
            dst = np.repeat(part.node_ids[relation[2]], np.diff(own.indptr))
            np.testing.assert_array_equal(dst, edges.dst[own.edge_ids])
            for array in edges.arrays:
                np.testing.assert_array_equal(own.arrays[array], edges.arrays[array][own.edge_ids])
    assert [stored.num_nodes(node_type) for node_type in stored.node_types] == list(graph.num_nodes.values())
    assert [stored.num_edges(relation) for relation in stored.relations] == [e.num_edges for e in graph.edges.values()]


def test_version_1_literally() -> None:
    stored = PartitionedGraph.open(ARCHIVE / "homogeneous.fg")
    first = stored.read_part(0)
    assert (stored.manifest.method, stored.manifest.seed, stored.num_classes) == ("contiguous", 3, 3)
    np.testing.assert_array_equal(first.node_ids["node"], [0, 1, 2, 3])
    np.testing.assert_array_equal(first.edges[EDGE].indptr, [0, 5, 6, 7, 9])
    np.testing.assert_array_equal(first.edges[EDGE].src, [0, 2, 3, 4, 5, 0, 1, 0, 0])
    np.testing.assert_array_equal(first.edges[EDGE].edge_ids, [3, 2, 6, 7, 8, 0, 1, 4, 5])
