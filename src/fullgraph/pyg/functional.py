"""What a user's loop calls around the model: losses, accuracies and rows of the whole graph."""

from collections.abc import Callable

from torch import Tensor
from torch_geometric.data.data import BaseData

from fullgraph.comm import swap
from fullgraph.engine import accuracy_over_ranks, mean_over_ranks
from fullgraph.errors import InputError
from fullgraph.graph import NodeType
from fullgraph.pyg.data import known_type, rank_graph


def mean_loss(loss: Callable[..., Tensor], out: Tensor, target: Tensor, mask: Tensor, data: BaseData) -> Tensor:
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


def accuracy(out: Tensor, target: Tensor, mask: Tensor, data: BaseData) -> float:
    """The share of chosen rows on all ranks whose largest output is their class; equal on all ranks. Collective."""
    return accuracy_over_ranks(out, target, mask, rank_graph(data).world)


def gather_rows(out: Tensor, data: BaseData, node_type: NodeType | None = None) -> Tensor | None:
    """All ranks' rows of ``out`` in the original order of the nodes. Collective.

    Args:
        out: ``[num_nodes, …]``, rows this rank owns.
        data: from ``fullgraph.open``.
        node_type: whose rows they are; may be left out where there is only one type.

    Returns:
        ``[num_global_nodes, …]`` on rank 0, None on the others.

    Raises:
        InputError: if there is no such node type, or ``out`` has another number of rows.
    """
    graph = rank_graph(data)
    node_type = known_type(graph, node_type)
    world, rows, node_ids = graph.world, out.detach(), graph.node_ids[node_type]
    if len(rows) != len(node_ids):
        raise InputError(f"gather_rows needs one row for each of the {len(node_ids)} nodes this rank owns: {len(rows)}")
    to_rank_0 = world.num_ranks - 1
    parts = swap(world, [rows, *[rows[:0]] * to_rank_0])
    ids = swap(world, [node_ids, *[node_ids[:0]] * to_rank_0])
    if world.rank != 0:
        return None
    parts[0], ids[0] = rows, node_ids
    whole = rows.new_empty((graph.num_global_nodes[node_type], *rows.shape[1:]))
    for part, places in zip(parts, ids, strict=True):
        whole[places] = part
    return whole
