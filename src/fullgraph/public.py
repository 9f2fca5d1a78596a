"""What ``import fullgraph`` offers, in a file of its own: it is loaded when the first of its names is asked for."""

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
