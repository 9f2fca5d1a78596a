"""fullgraph trains any PyTorch Geometric model on a whole graph that one machine cannot hold.

>>> import fullgraph as fg
>>> data = fg.open(graph)                              # the whole graph; each rank holds its rows
>>> model = fg.prepare(model, data)                    # any PyG model; the loop stays the user's own

Every per-node and per-edge tensor has the whole graph's shape and meaning on any number of ranks. ``partition`` cuts a
graph once for all runs; ``gather`` gives all rows of a result to every rank.
"""

from fullgraph import environment, errors  # noqa: F401  isort: skip  `environment` first: torch reads it once
from fullgraph.comm import World, init
from fullgraph.comm.trace import trace
from fullgraph.config import EngineConfig
from fullgraph.graph import Edges, Graph, PartitionedGraph
from fullgraph.pyg.check import check
from fullgraph.pyg.explain import explain
from fullgraph.pyg.open import open_graph as open
from fullgraph.pyg.partition import partition
from fullgraph.pyg.prepare import prepare
from fullgraph.pyg.prune import PrunedData, prune
from fullgraph.rows import Rows, gather

__version__ = "0.1.0"

__all__ = [
    "Edges",
    "EngineConfig",
    "Graph",
    "PartitionedGraph",
    "PrunedData",
    "Rows",
    "World",
    "check",
    "errors",
    "explain",
    "gather",
    "init",
    "open",
    "partition",
    "prepare",
    "prune",
    "trace",
]
