"""``fullgraph.prune``: the part of a graph that a loss over some nodes depends on, for an unmodified model."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.data.data import BaseData

from fullgraph.engine import StreamedRows
from fullgraph.errors import InputError
from fullgraph.pyg.data import PartitionedData, indices
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.levels import Levels
from fullgraph.pyg.pruned_index import PrunedIndex

PrunedNorm = Literal["refuse", "computed"]
PRUNED_NORMS: tuple[PrunedNorm, ...] = get_args(PrunedNorm)


class PrunedData(PartitionedData):
    """What `prune` returns: a PyG `Data` that a prepared model takes in place of the whole.

    Attributes:
        edge_index: for the model alone; each layer walks over the edges that it needs.
        x: ``[n, F]``, the rows that the first layer reads, if the graph has ``x``; the same tensor as the graph's
            where these are all rows.
        y: ``[m, …]``, the labels of the wanted nodes that this rank owns, if there are any; the model's output has
            these rows.
        mask: bool ``[m]``, all true: what `mean_loss` and `accuracy` take beside ``y``.
        input_rows: int64 ``[n]``, where the rows of ``x`` stand among those of the graph that was pruned, ascending.
        output_rows: int64 ``[m]``, the same of the model's output.
        rows_by_level: rows on all ranks, ``num_layers + 1`` counts: those that the first layer reads, and those that
            each layer computes.
    """


def prune(data: PartitionedData, mask: Tensor, num_layers: int, *, batch_norm: PrunedNorm = "refuse") -> PrunedData:
    """Find the rows that the outputs of some nodes depend on, layer by layer; once for each mask. Collective.

    A prepared model that is given the result computes, sends and stores these rows alone, and gives a row for each
    wanted node: the same as without pruning, gradients and dropout included.

    Args:
        data: from ``fullgraph.open``, of one node type and relation.
        mask: bool ``[num_nodes]`` or int64 indices, the nodes whose outputs are wanted; may be empty on some ranks.
        num_layers: layers of the model that pass messages, one after another.
        batch_norm: what norms over all rows of the graph do. ``refuse``: such a model is refused. ``computed``: their
            statistics are those of the rows that are computed on all ranks, which are others than without pruning.

    Returns:
        A `PrunedData` on the same device. Arrays of edges are those of ``data``; arrays of nodes other than ``x`` and
        ``y`` are left out, and ``input_rows`` and ``output_rows`` choose their rows.

    Raises:
        InputError: on all ranks, if an argument is not what it should be, or no node is wanted on any rank.
        GraphMismatch: if ranks were given different arguments.
    """
    index = _whole(data)
    graph = index.graph
    wanted = graph.world.together(lambda: _wanted(mask, len(index.relation.dst_ids)))
    graph.world.together(lambda: _check(num_layers, batch_norm))
    graph.world.agree("arguments of fullgraph.prune", (num_layers, batch_norm))
    if int(graph.world.all_reduce(wanted.sum())) == 0:
        raise InputError("fullgraph.prune needs a node whose output is wanted, but the mask chooses none on any rank")
    levels = Levels.of(index, wanted, num_layers)
    pruned = PrunedData()
    for name in data.edge_attrs():
        pruned[name] = data[name]
    for name in ("num_global_nodes", "num_classes", "checksum"):
        pruned[name] = data.get(name)
    pruned.edge_index = PrunedIndex.of(index, levels, batch_norm)
    pruned.input_rows, pruned.output_rows = levels.rows[0], levels.rows[-1]
    pruned.num_nodes, pruned.rows_by_level = len(pruned.input_rows), levels.num_rows
    if "x" in data:
        x: Any = data.x
        reads_all = levels.num_rows[0] == data.num_global_nodes and not isinstance(x, StreamedRows)
        pruned.x = x if reads_all else x[pruned.input_rows]
    if "y" in data:
        pruned.y = data.y[pruned.output_rows]  # pyright: ignore[reportOptionalSubscript, reportIndexIssue]
    pruned.mask = torch.ones(len(pruned.output_rows), dtype=torch.bool, device=wanted.device)
    return pruned


def _whole(data: BaseData) -> RemoteIndex:
    if isinstance(data, HeteroData):
        raise InputError(
            "fullgraph.prune takes a graph of one node type and relation, so give it data.to_homogeneous()"
        )
    return next(iter(indices(data).values()))


def _wanted(mask: Tensor, num_rows: int) -> Tensor:
    """The mask, bool ``[num_rows]``."""
    if mask.dtype == torch.bool:
        if mask.shape != (num_rows,):
            raise InputError(
                f"a mask needs one entry for each of the {num_rows} rows this rank owns: {tuple(mask.shape)}"
            )
        return mask
    if mask.dtype != torch.int64 or mask.dim() != 1:
        raise InputError(f"a mask is bool [num_nodes] or int64 indices [n]: {mask.dtype} {list(mask.shape)}")
    if len(mask) and not 0 <= int(mask.min()) <= int(mask.max()) < num_rows:
        ends = f"{int(mask.min())} to {int(mask.max())}"
        raise InputError(f"a mask of indices chooses among the {num_rows} rows this rank owns: {ends}")
    return torch.zeros(num_rows, dtype=torch.bool, device=mask.device).index_fill_(0, mask, value=True)


def _check(num_layers: int, batch_norm: str) -> None:
    if num_layers < 1:
        raise InputError(f"num_layers must be at least 1: {num_layers}")
    if batch_norm not in PRUNED_NORMS:
        raise InputError(f"batch_norm must be one of {', '.join(PRUNED_NORMS)}: {batch_norm!r}")
