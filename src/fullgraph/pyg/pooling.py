"""Global pooling over the rows of all ranks: PyG's functions see a tensor, and would pool this rank's rows alone."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch_geometric.data.data import BaseData
from torch_geometric.nn.pool import glob

from fullgraph.engine import Groups
from fullgraph.errors import UnsupportedOperation
from fullgraph.pyg.data import rank_graph
from fullgraph.pyg.index import RemoteTensor


def global_add_pool(x: Tensor, batch: Tensor | None, data: BaseData | Tensor, size: int | None = None) -> Tensor:
    """The sum of the rows of each graph, on all ranks: `torch_geometric.nn.global_add_pool`. Collective.

    Every rank gets the same result. `mean_loss` on it gives the loss of one process and its gradients.

    Args:
        x: ``[num_nodes, …]``, rows this rank owns.
        batch: int64 ``[num_nodes]``, each row's graph, whose rows may be on several ranks; None for a single graph.
        data: from ``fullgraph.open``, or its ``edge_index``, which a model has at hand. With an ordinary
            ``edge_index`` this is PyG's own function.
        size: how many graphs there are; None to find out.

    Returns:
        ``[number of graphs, …]``, equal on all ranks.
    """
    return _pool("add", glob.global_add_pool, x, batch, data, size)


def global_mean_pool(x: Tensor, batch: Tensor | None, data: BaseData | Tensor, size: int | None = None) -> Tensor:
    """The mean of the rows of each graph, on all ranks; otherwise as `global_add_pool`. Collective."""
    return _pool("mean", glob.global_mean_pool, x, batch, data, size)


def global_max_pool(x: Tensor, batch: Tensor | None, data: BaseData | Tensor, size: int | None = None) -> Tensor:
    """The largest entries of each graph, on all ranks; otherwise as `global_add_pool`. Collective.

    Rows that tie share the gradient evenly. PyG does the same, but for ``batch=None``, where one of them gets it.
    """
    return _pool("max", glob.global_max_pool, x, batch, data, size)


def _pool(
    reduce: str,
    original: Callable[..., Tensor],
    x: Tensor,
    batch: Tensor | None,
    data: BaseData | Tensor,
    size: int | None,
) -> Tensor:
    if isinstance(data, Tensor) and not isinstance(data, RemoteTensor):
        return original(x, batch, size)
    graph = data.graph if isinstance(data, RemoteTensor) else rank_graph(data)
    if graph.row_levels is not None:
        raise UnsupportedOperation(f"a pruned graph has too few rows to pool: global_{reduce}_pool")
    groups: Any = Groups.of(x, batch, size, graph.world)
    return {"add": groups.sum, "mean": groups.mean, "max": groups.max}[reduce](x)
