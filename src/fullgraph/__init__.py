"""fullgraph trains any PyTorch Geometric model on a whole graph that one machine cannot hold.

>>> import fullgraph as fg
>>> world = fg.init()                                  # ranks from torchrun's environment; one rank without it

``partition`` cuts a graph once; ``open`` gives each rank its rows as a PyG `Data`; ``prepare`` makes an unmodified
model and its optimizer exact on it. The loop stays the user's own.
"""

from fullgraph import environment, errors  # noqa: F401  isort: skip  `environment` first: torch reads it once
from fullgraph.comm import World, init
from fullgraph.comm.trace import trace
from fullgraph.config import EngineConfig
from fullgraph.graph import Edges, Graph, PartitionedGraph
from fullgraph.pyg import transforms
from fullgraph.pyg.data import PartitionedData, PartitionedHeteroData
from fullgraph.pyg.embedding import NodeEmbedding, clip_gradients
from fullgraph.pyg.explain import explain
from fullgraph.pyg.functional import accuracy, gather_rows, mean_loss
from fullgraph.pyg.open import open_graph as open
from fullgraph.pyg.partition import partition
from fullgraph.pyg.pooling import global_add_pool, global_max_pool, global_mean_pool
from fullgraph.pyg.prepare import convert, prepare
from fullgraph.pyg.prepare import sum_gradients_now as sum_gradients
from fullgraph.pyg.prune import PrunedData, prune

__version__ = "0.1.0"

__all__ = [
    "Edges",
    "EngineConfig",
    "Graph",
    "NodeEmbedding",
    "PartitionedData",
    "PartitionedGraph",
    "PartitionedHeteroData",
    "PrunedData",
    "World",
    "accuracy",
    "clip_gradients",
    "convert",
    "errors",
    "explain",
    "gather_rows",
    "global_add_pool",
    "global_max_pool",
    "global_mean_pool",
    "init",
    "mean_loss",
    "open",
    "partition",
    "prepare",
    "prune",
    "sum_gradients",
    "trace",
    "transforms",
]
