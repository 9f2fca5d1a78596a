"""Graphs that the tests of several floors share: two literal ones and hypothesis's own."""

import numpy as np
from hypothesis import strategies as st

from fullgraph.graph import Edges, Graph


def small_graph() -> Graph:
    """Seven nodes: a triangle with a self-loop, a repeated edge, a hub 0, and the isolated node 6."""
    edge_index = np.array([[0, 1, 2, 0, 0, 0, 3, 4, 5, 5, 2], [1, 2, 0, 0, 3, 3, 0, 0, 0, 4, 5]])
    num_edges = edge_index.shape[1]
    return Graph.homogeneous(
        edge_index,
        num_nodes=7,
        edge_arrays={"edge_weight": np.linspace(0.5, 1.5, num_edges).astype(np.float32)},
        x=np.arange(14, dtype=np.float32).reshape(7, 2),
        y=np.array([0, 1, 2, 0, 1, 2, -1]),
        train_mask=np.array([1, 1, 0, 0, 0, 0, 0], bool),
    )


def two_types() -> Graph:
    """Papers that cite papers, authors that write them, and a relation without edges."""
    return Graph(
        num_nodes={"paper": 4, "author": 3},
        node_arrays={
            "paper": {"x": np.arange(8, dtype=np.float64).reshape(4, 2), "y": np.array([1, 0, 1, 0])},
            "author": {"x": np.ones((3, 5), np.float16)},
        },
        edges={
            ("paper", "cites", "paper"): Edges(src=np.array([0, 1, 3, 3]), dst=np.array([1, 2, 0, 3])),
            ("author", "writes", "paper"): Edges(
                src=np.array([2, 0, 1, 2]),
                dst=np.array([0, 0, 3, 1]),
                arrays={"edge_attr": np.arange(12, dtype=np.float32).reshape(4, 3)},
            ),
            ("paper", "by", "author"): Edges(src=np.empty(0, np.int64), dst=np.empty(0, np.int64)),
        },
    )


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """One to three node types, any relations among them: empty types, isolated nodes, loops, repeats, one giant hub."""
    types = draw(st.sampled_from([("node",), ("a", "b"), ("a_", "_b", "c/..")]))
    num_nodes = {node_type: draw(st.integers(0, 8)) for node_type in types}
    num_nodes[types[0]] += 1
    relations = draw(
        st.lists(st.tuples(st.sampled_from(types), st.sampled_from(["to", "r__s"]), st.sampled_from(types)))
    )
    edges = {}
    for relation in dict.fromkeys(relations):
        source, destination = num_nodes[relation[0]], num_nodes[relation[2]]
        count = draw(st.integers(0, 30)) if source and destination else 0
        src = draw(st.lists(st.integers(0, max(source - 1, 0)), min_size=count, max_size=count))
        hub = draw(st.booleans())
        top = 0 if hub else max(destination - 1, 0)
        dst = draw(st.lists(st.integers(0, top), min_size=count, max_size=count))
        arrays = {"edge_attr": np.arange(2 * count, dtype=np.float32).reshape(count, 2)} if draw(st.booleans()) else {}
        edges[relation] = Edges(src=np.array(src, np.int64), dst=np.array(dst, np.int64), arrays=arrays)
    node_arrays = {
        node_type: {"x": np.arange(3 * count, dtype=np.float64).reshape(count, 3), "y": np.arange(count) % 3}
        for node_type, count in num_nodes.items()
    }
    return Graph(num_nodes=num_nodes, node_arrays=node_arrays, edges=edges)
