"""Functions of PyG that would take one rank's share for the whole graph, known by their name when they touch an index.

They are plain functions: nothing of them could be replaced without changing PyG, and what they do to an index is
meant well in any other function. So an operation looks who asked for it.
"""

import sys

from fullgraph.errors import UnsupportedOperation

_BEFORE = "apply it to the whole graph before you partition it"
_DRAWS = "use fullgraph.transforms.{0}, or call {0} inside of the prepared model's forward"
# Those that draw numbers: in a model's forward these are keyed by global ids.
_DRAWING = {
    ("torch_geometric.utils.dropout", "dropout_edge"): _DRAWS.format("dropout_edge"),
    ("torch_geometric.utils.dropout", "dropout_adj"): "use fullgraph.transforms.dropout_edge",
    ("torch_geometric.utils.dropout", "dropout_node"): _DRAWS.format("dropout_node"),
}
_LOCAL = {
    ("torch_geometric.utils.loop", "contains_self_loops"): "use fullgraph.transforms.contains_self_loops",
    ("torch_geometric.utils._homophily", "homophily"): _BEFORE,
}
# Those that fail by an operation without a meaning: what to do instead.
_FAILING = {
    ("torch_geometric.utils.undirected", "is_undirected"): "use fullgraph.transforms.is_undirected",
    ("torch_geometric.utils.undirected", "to_undirected"): _BEFORE,
    ("torch_geometric.utils._coalesce", "coalesce"): _BEFORE,
    ("torch_geometric.utils.dropout", "dropout_path"): _BEFORE,
    ("torch_geometric.utils._negative_sampling", "negative_sampling"): (
        "sample pairs on the whole graph and partition them with it as edges of a type of their own"
    ),
}
_NEAR = 8  # frames between an operation and the function that means it


def check_caller(*, draws_are_keyed: bool) -> None:
    """Refuse an operation for a function that would be wrong in silence.

    Raises:
        UnsupportedOperation: naming the function and what to use instead.
    """
    found = _caller(_LOCAL if draws_are_keyed else _LOCAL | _DRAWING)
    if found is not None:
        name, instead = found
        raise UnsupportedOperation(
            f"on one rank's edges this function does not do what it does on the whole graph; {instead}: {name}"
        )


def advice() -> str:
    """What to do instead of the function that asked for an operation without a meaning."""
    found = _caller(_FAILING | _DRAWING)
    return (
        "compute it on the whole graph before partitioning" if found is None else f"instead of {found[0]}, {found[1]}"
    )


def _caller(known: dict[tuple[str, str], str]) -> tuple[str, str] | None:
    frame = sys._getframe(2)
    for _ in range(_NEAR):
        if frame is None:
            return None
        name = (frame.f_globals.get("__name__", ""), frame.f_code.co_name)
        if name in known:
            return name[1], known[name]
        frame = frame.f_back
    return None
