"""What a graph is, in memory and on disk; knows of parts, never of ranks that talk or of layers."""

from fullgraph.graph.book import PartitionBook
from fullgraph.graph.graph import EDGE, NODE, Edges, Graph, NodeType, Relation
from fullgraph.graph.reader import Part, PartEdges, PartitionedGraph
from fullgraph.graph.stored import StoredRows
from fullgraph.graph.writer import write_partitioned

__all__ = [
    "EDGE",
    "NODE",
    "Edges",
    "Graph",
    "NodeType",
    "Part",
    "PartEdges",
    "PartitionBook",
    "PartitionedGraph",
    "Relation",
    "StoredRows",
    "write_partitioned",
]
