"""Graphs by name or file, from PyG, OGB, files or a seed; knows whole graphs, never ranks or parts."""

from fullgraph.datasets.convert_pyg import graph_from_pyg
from fullgraph.datasets.load import NAMES, load
from fullgraph.datasets.synthetic import synthetic

__all__ = ["NAMES", "graph_from_pyg", "load", "synthetic"]
