"""``fullgraph.NodeEmbedding``: a learned row for every node without features, kept by the rank that owns the node.

`torch.nn.Embedding` would hold all rows of the graph, and the optimizer's state for them, on every rank.
"""

from zlib import crc32

import torch
from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer
from torch_geometric.data.data import BaseData

from fullgraph.engine import Randomness, keyed_normal, norm_over_ranks
from fullgraph.errors import InputError
from fullgraph.graph import NodeType
from fullgraph.pyg.data import known_type, rank_graph
from fullgraph.pyg.prepare import OwnRows, gradient_sum_of


class NodeEmbedding(Module):
    """``[num_nodes, dim]``, a learned row for each node of a type that this rank owns.

    Use its output where other types have their ``x``. `prepare` leaves its parameter alone: it is neither copied from
    rank 0 nor is its gradient summed, because no other rank has these rows. The first rows are normal with variance
    ``1 / dim``, drawn by (seed, node type, original id): the same on any number of ranks.

    Its ``state_dict`` holds this rank's rows. ``gather_rows(embedding.weight, data, node_type)`` gives those of all
    ranks, and `load_rows` takes them on any number of ranks.
    """

    def __init__(self, data: BaseData, node_type: NodeType | None, dim: int, seed: int = 0):
        """
        Args:
            data: from ``fullgraph.open``.
            node_type: whose rows; None where there is only one type.
            dim: columns.
            seed: of the first rows; the same on all ranks.

        Raises:
            InputError: if there is no such type, or no column.
            GraphMismatch: if ranks want different embeddings.
        """
        super().__init__()
        graph = rank_graph(data)
        node_type = known_type(graph, node_type)
        if dim < 1:
            raise InputError(f"an embedding needs at least 1 column: {dim}")
        graph.world.agree("embedding", (node_type, dim, seed))
        self.num_global_nodes, self.dim, self.node_type = graph.num_global_nodes[node_type], dim, node_type
        self._node_ids = graph.node_ids[node_type]
        key = Randomness(seed=seed * 2**32 + crc32(node_type.encode())).draw()
        rows = keyed_normal((len(self._node_ids), dim), key, self._node_ids, torch.float64)
        self.weight = OwnRows((rows / dim**0.5).to(torch.get_default_dtype()))

    def forward(self) -> Tensor:
        """All rows of this rank, ``[num_nodes, dim]``."""
        return self.weight

    @torch.no_grad()
    def load_rows(self, rows: Tensor) -> None:
        """Take this rank's share of all nodes' rows ``[num_global_nodes, dim]``, in the order of the whole graph.

        Raises:
            InputError: on another shape.
        """
        if rows.shape != (self.num_global_nodes, self.dim):
            raise InputError(
                f"load_rows needs a row for each node of the whole graph, {[self.num_global_nodes, self.dim]}: "
                f"{list(rows.shape)}"
            )
        self.weight.copy_(rows.to(self.weight.device)[self._node_ids])

    def extra_repr(self) -> str:
        """Shown by ``repr``."""
        return f"{self.node_type}, {self.num_global_nodes}, {self.dim}"


def clip_gradients(optimizer: Optimizer, max_norm: float) -> float:
    """Scale all gradients so that their norm over all ranks is at most ``max_norm``. Collective; before ``step``.

    ``torch.nn.utils.clip_grad_norm_`` would count a `NodeEmbedding`'s rows of this rank alone, and so scale differently
    on every rank.

    Args:
        optimizer: from ``fullgraph.prepare``.
        max_norm: above 0.

    Returns:
        The norm before, equal on all ranks.

    Raises:
        InputError: if the optimizer was not prepared, or ``max_norm`` is not above 0.
    """
    if not max_norm > 0:
        raise InputError(f"max_norm must be above 0: {max_norm}")
    gradient_sum = gradient_sum_of(optimizer)
    gradient_sum.now()
    parameters: list[Tensor] = [p for group in optimizer.param_groups for p in group["params"]]
    shared = [p.grad for p in parameters if p.grad is not None and not isinstance(p, OwnRows)]
    own = [p.grad for p in parameters if p.grad is not None and isinstance(p, OwnRows)]
    norm = norm_over_ranks(shared, own, gradient_sum.graph.world)
    for grad in (*shared, *own):
        grad.mul_(min(1.0, max_norm / (norm + 1e-6)))
    return norm
