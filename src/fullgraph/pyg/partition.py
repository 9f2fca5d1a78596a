"""``fullgraph.partition``: from a PyG graph in memory to a partitioned graph on disk, in one call."""

import os

from torch_geometric.data import Data, HeteroData

from fullgraph.datasets.convert_pyg import graph_from_pyg
from fullgraph.graph.graph import Graph
from fullgraph.graph.reader import PartitionedGraph
from fullgraph.graph.writer import write_partitioned
from fullgraph.stages import stage


def partition(
    data: Data | HeteroData | Graph,
    path: str | os.PathLike[str],
    *,
    num_parts: int,
    method: str = "metis",
    seed: int = 0,
    overwrite: bool = False,
    feature_dtype: str | None = None,
) -> PartitionedGraph:
    """Cut a graph into parts and write them, for any number of ranks up to ``num_parts`` to open.

    Args:
        data: the whole graph. Self-loops, repeated edges and edge directions are kept as they are.
        path: the folder to make, ``NAME.fg`` by custom.
        num_parts: parts to cut it in.
        method: ``metis`` (few edges between parts), ``random`` or ``contiguous`` (ranges of ids).
        seed: same graph, method and seed: same parts.
        overwrite: replace a partitioned graph that is at ``path`` already.
        feature_dtype: ``float16``, ``bfloat16`` or ``float32``: the features ``x`` are rounded to it and take
            less disk; None leaves them as they are.

    Returns:
        The graph just written.

    Raises:
        InputError: when the graph, the numbers or the target will not do; then nothing was written.
    """
    from fullgraph.partitioners import assign_parts, locality_order  # METIS and scipy, which ranks need not

    graph = data if isinstance(data, Graph) else graph_from_pyg(data)
    num_nodes, num_edges = sum(graph.num_nodes.values()), sum(each.num_edges for each in graph.edges.values())
    with stage(f"cutting {num_nodes:,} nodes and {num_edges:,} edges into {num_parts} parts ({method})"):
        part_of_node = assign_parts(graph, num_parts=num_parts, method=method, seed=seed)
    with stage("ordering nodes"):
        order = locality_order(graph, part_of_node)
    with stage(f"writing {path}"):
        write_partitioned(
            graph,
            part_of_node,
            path,
            num_parts=num_parts,
            method=method,
            seed=seed,
            overwrite=overwrite,
            order=order,
            feature_dtype=feature_dtype,
        )
    return PartitionedGraph.open(path)
