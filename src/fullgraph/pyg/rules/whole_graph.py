"""How the rules of PyG's own model classes say no: what reads the rows or edges of one rank as if they were all."""

from typing import Any, NoReturn

from torch.nn import Module

from fullgraph.errors import UnsupportedOperation
from fullgraph.pyg.index import RemoteIndex


def refuse(module: Module, what: str, instead: str) -> NoReturn:
    """Raise, for a method that would be wrong in silence."""
    raise UnsupportedOperation(
        f"{what} would read the rows of one rank as if they were all; {instead}: {type(module).__name__}"
    )


def check_partitioned(edge_index: Any, what: str) -> None:
    """Edges of the partitioned graph are known by their type; other ids mean nothing on this rank.

    Raises:
        UnsupportedOperation: if they are ordinary ids, or None.
    """
    if not isinstance(edge_index, RemoteIndex):
        raise UnsupportedOperation(
            f"on a partitioned graph {what} takes pairs of nodes that were partitioned with it: put them into the "
            "graph as edges of a type of their own before you partition it, and choose them from data.edge_index; "
            f"this is a: {type(edge_index).__name__}"
        )
