"""What a user's loop calls around the model: losses, accuracies and rows of the whole graph."""

from collections.abc import Callable

from torch import Tensor
from torch_geometric.data import Data

from fullgraph.comm import swap
from fullgraph.engine import accuracy_over_ranks, mean_over_ranks
from fullgraph.errors import InputError
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rank_graph import RankGraph


def rank_graph(data: Data) -> RankGraph:
    """What this rank knows of the graph that ``data`` belongs to.

    Raises:
        InputError: if ``data`` does not come from ``fullgraph.open``.
    """
    index = data.edge_index
    if not isinstance(index, RemoteIndex):
        raise InputError(f"data must come from fullgraph.open, but its edge_index is a: {type(index).__name__}")
    return index.graph


def mean_loss(loss: Callable[..., Tensor], out: Tensor, target: Tensor, mask: Tensor, data: Data) -> Tensor:
    """The mean of ``loss`` over the rows that ``mask`` chooses on all ranks; equal on all ranks. Collective.

    Call ``backward`` on it on every rank: each computes the gradient of its own rows, and ``optimizer.step`` sums them.

    The sum is divided by the number of chosen *rows*: for a loss with several numbers per row, such as ``F.mse_loss``
    on K columns, that is K times torch's own mean.

    Args:
        loss: a loss of `torch.nn.functional`, or any function ``(out, target, reduction="sum")``.
        out: ``[num_nodes, …]``, rows this rank owns.
        target: ``[num_nodes, …]``.
        mask: bool ``[num_nodes]`` or int64 indices; may be empty on some ranks.
        data: from ``fullgraph.open``.

    Raises:
        InputError: if the mask has the wrong length, or chooses no row on any rank.
    """
    return mean_over_ranks(loss, out, target, mask, rank_graph(data).world)


def accuracy(out: Tensor, target: Tensor, mask: Tensor, data: Data) -> float:
    """The share of chosen rows on all ranks whose largest output is their class; equal on all ranks. Collective."""
    return accuracy_over_ranks(out, target, mask, rank_graph(data).world)


def gather_rows(out: Tensor, data: Data) -> Tensor | None:
    """All ranks' rows of ``out`` in the original order of the nodes. Collective.

    Args:
        out: ``[num_nodes, …]``, rows this rank owns.
        data: from ``fullgraph.open``.

    Returns:
        ``[num_global_nodes, …]`` on rank 0, None on the others.
    """
    graph = rank_graph(data)
    world, rows = graph.world, out.detach()
    if len(rows) != graph.num_own:
        raise InputError(f"gather_rows needs one row for each of the {graph.num_own} nodes this rank owns: {len(rows)}")
    to_rank_0 = world.num_ranks - 1
    parts = swap(world, [rows, *[rows[:0]] * to_rank_0])
    ids = swap(world, [graph.node_ids, *[graph.node_ids[:0]] * to_rank_0])
    if world.rank != 0:
        return None
    parts[0], ids[0] = rows, graph.node_ids
    whole = rows.new_empty((graph.num_global_nodes, *rows.shape[1:]))
    for part, places in zip(parts, ids, strict=True):
        whole[places] = part
    return whole
