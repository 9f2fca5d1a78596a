"""fullgraph trains any PyTorch Geometric model on a whole graph that one machine cannot hold.

>>> import fullgraph as fg
>>> data = fg.open(graph)                              # the whole graph; each rank holds its rows
>>> model = fg.prepare(model, data)                    # any PyG model; the loop stays the user's own

Every per-node and per-edge tensor has the whole graph's shape and meaning on any number of ranks. ``partition`` cuts a
graph once for all runs; ``gather`` gives all rows of a result to every rank.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fullgraph import environment, errors  # noqa: F401  `environment` before torch, which reads it once
from fullgraph.versions import refuse_known_wrong

if TYPE_CHECKING:
    from fullgraph.public import *

refuse_known_wrong()

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


def __getattr__(name: str) -> Any:
    """A public name, for which torch and PyG are loaded: seconds, which ``fullgraph --help`` does without."""
    if name in __all__:
        return getattr(import_module("fullgraph.public"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
