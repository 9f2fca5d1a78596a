"""The measures of a partition, against counting by hand and against a slow count."""

from pathlib import Path

import numpy as np
import pytest

from fullgraph.graph import EDGE, Graph, PartitionedGraph, write_partitioned
from fullgraph.graph.quality import PartQuality, partition_quality
from tests.graph.samples import two_types


def test_a_path_of_four(tmp_path: Path) -> None:
    # 0 → 1 → 2 → 3 and 0 → 3 twice; parts {0, 1} and {2, 3}: cut are 1 → 2 and both 0 → 3
    graph = Graph.homogeneous(np.array([[0, 1, 2, 0, 0], [1, 2, 3, 3, 3]]), num_nodes=4)
    parts = {"node": np.array([0, 0, 1, 1])}
    write_partitioned(graph, parts, tmp_path / "g.fg", num_parts=2, method="random", seed=0)
    quality = partition_quality(PartitionedGraph.open(tmp_path / "g.fg"))
    assert quality.edge_cut == {EDGE: 3}
    assert quality.edge_cut_fraction == 0.6
    assert quality.parts == (
        PartQuality(num_nodes=2, num_edges=1, num_halo=0, num_boundary=2),
        PartQuality(num_nodes=2, num_edges=4, num_halo=2, num_boundary=0),
    )
    assert (quality.node_balance, quality.edge_balance, quality.halo_balance) == (1.0, 1.6, 2.0)


def test_two_types_share_a_halo_across_relations(tmp_path: Path) -> None:
    graph = two_types()
    parts = {"paper": np.array([0, 1, 1, 0]), "author": np.array([0, 1, 2])}
    write_partitioned(graph, parts, tmp_path / "g.fg", num_parts=3, method="random", seed=0)
    quality = partition_quality(PartitionedGraph.open(tmp_path / "g.fg"))
    cut, halo = dict.fromkeys(graph.edges, 0), [set() for _ in range(3)]
    for relation, edges in graph.edges.items():
        for src, dst in zip(edges.src, edges.dst, strict=True):
            owner, part = parts[relation[0]][src], parts[relation[2]][dst]
            if owner != part:
                cut[relation] += 1
                halo[part].add((relation[0], int(src), int(owner)))
    assert quality.edge_cut == cut
    assert [part.num_halo for part in quality.parts] == [len(rows) for rows in halo]
    boundary = [sum(owner == part for rows in halo for _, _, owner in rows) for part in range(3)]
    assert [part.num_boundary for part in quality.parts] == boundary
    assert [part.num_nodes for part in quality.parts] == [3, 3, 1]


def test_no_edges(tmp_path: Path) -> None:
    graph = Graph.homogeneous(np.zeros((2, 0), int), num_nodes=2)
    write_partitioned(graph, {"node": np.arange(2)}, tmp_path / "g.fg", num_parts=2, method="random", seed=0)
    quality = partition_quality(PartitionedGraph.open(tmp_path / "g.fg"))
    assert quality.edge_cut_fraction == 0
    assert quality.edge_balance == pytest.approx(1)
