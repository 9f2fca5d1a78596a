"""``fullgraph.prune``: the part of a graph that a loss over some nodes depends on, for an unmodified model."""

from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.data.data import BaseData

from fullgraph.errors import InputError
from fullgraph.pyg.data.edge_index import edges_of
from fullgraph.pyg.data.graph import rank_graph, remember_graph
from fullgraph.pyg.pruning.edge_index import PrunedEdges
from fullgraph.pyg.pruning.levels import Level, Levels, at_level
from fullgraph.rows import Here, Rows, Space, local, rows
from fullgraph.rows.alignment import at_rows
from fullgraph.rows.routes import ways_of

PrunedNorm = Literal["refuse", "computed"]
PRUNED_NORMS: tuple[PrunedNorm, ...] = get_args(PrunedNorm)


class PrunedData(Data):
    """What `prune` returns: a PyG `Data` that a prepared model takes in place of the whole.

    Attributes:
        edge_index: for the model alone; each layer walks over the edges that it needs.
        x: ``[n, F]``, the rows that the first layer reads, if the graph has ``x``.
        y: ``[m, …]``, the labels of the wanted nodes, if there are any; the model's output has these rows.
        mask: bool ``[m]``, all true: what stands beside ``y`` where a program chooses by a mask.
        input_rows: int64 ``[n]``, the ids of the rows of ``x``.
        output_rows: int64 ``[m]``, the same of the model's output.
        rows_by_level: ``num_layers + 1`` counts: the rows that the first layer reads, and those that each computes.
    """


def prune(data: BaseData, mask: Tensor, num_layers: int, *, batch_norm: PrunedNorm = "refuse") -> PrunedData:
    """Find the rows that the outputs of some nodes depend on, layer by layer; once for each mask. Collective.

    A prepared model that is given the result computes, sends and stores these rows alone, and gives a row for each
    wanted node: the same as without pruning, gradients and dropout included.

    Args:
        data: from ``fullgraph.open``, of one node type and relation.
        mask: bool ``[num_nodes]`` or int64 ids, the nodes whose outputs are wanted.
        num_layers: layers of the model that pass messages, one after another.
        batch_norm: what norms over all rows of the graph do. ``refuse``: such a model is refused. ``computed``: their
            statistics are those of the rows that are computed, which are others than without pruning.

    Returns:
        A `PrunedData` on the same device. Arrays of edges are those of ``data``; arrays of nodes other than ``x`` and
        ``y`` are left out: they meet the pruned rows as they are, or ``input_rows`` and ``output_rows`` choose theirs.

    Raises:
        InputError: on all ranks, if an argument is not what it should be, or no node is wanted.
        GraphMismatch: if ranks were given different arguments.
    """
    graph = rank_graph(data)
    if isinstance(data, PrunedData) or not isinstance(data, Data) or data.edge_index is None:
        raise InputError(
            "fullgraph.prune takes data of one node type and relation from fullgraph.open: "
            f"{'data from fullgraph.prune' if isinstance(data, PrunedData) else type(data).__name__}"
        )
    (nodes,) = graph.nodes.values()
    if num_layers < 1:
        raise InputError(f"num_layers must be at least 1: {num_layers}")
    if batch_norm not in PRUNED_NORMS:
        raise InputError(f"batch_norm must be one of {', '.join(PRUNED_NORMS)}: {batch_norm!r}")
    graph.world.agree("arguments of fullgraph.prune", (num_layers, batch_norm))
    wanted = _wanted(mask, nodes)
    levels = Levels.of(edges_of(data.edge_index, nodes, nodes), wanted, num_layers, is_exact=batch_norm == "refuse")
    first, last = levels.spaces[0], levels.spaces[-1]
    if not last.num_rows:
        raise InputError("fullgraph.prune needs a node whose output is wanted, but the mask chooses none")
    pruned = PrunedData()
    for name in data.edge_attrs():
        pruned[name] = data[name]
    pruned.edge_index = PrunedEdges.among(levels)
    pruned.num_nodes, pruned.num_classes = first.count, data.get("num_classes")
    pruned.rows_by_level = tuple(level.num_rows for level in levels.spaces)
    if "x" in data:
        pruned.x = at_level(data.x, first)  # pyright: ignore[reportArgumentType]
    if "y" in data:
        pruned.y = at_level(data.y, last)  # pyright: ignore[reportArgumentType]
    pruned.mask = rows(torch.ones(last.num_own, dtype=torch.bool, device=nodes.device), last)
    pruned.input_rows, pruned.output_rows = _ids(first), _ids(last)
    # Layers build their walks in the first epoch: those over the whole graph may never be needed.
    remember_graph(pruned, replace(graph, edges={}))
    return pruned


def _ids(level: Level) -> Rows:
    ids = rows(level.parent.positions[level.chosen], level)
    ways_of(ids)[level.parent] = (ids._version, Here(level.chosen))
    return ids


def _wanted(mask: Tensor, nodes: Space) -> Tensor:
    """The mask of this rank's nodes, bool ``[num_own]``."""
    if mask.dtype == torch.bool:
        if tuple(mask.shape) != (nodes.num_rows,):
            raise InputError(f"a mask needs one entry for each of the {nodes.num_rows} nodes: {tuple(mask.shape)}")
        if not isinstance(mask, Rows):
            return nodes.localize(mask, 0)
        return local(at_rows("fullgraph.prune", mask, nodes))
    if mask.dtype != torch.int64 or mask.dim() != 1 or isinstance(mask, Rows):
        raise InputError(f"a mask is bool [num_nodes] or int64 ids [n]: {mask.dtype} {list(mask.shape)}")
    if len(mask) and not 0 <= int(mask.min()) <= int(mask.max()) < nodes.num_rows:
        ends = f"{int(mask.min())} to {int(mask.max())}"
        raise InputError(f"a mask of ids chooses among {nodes.num_rows} nodes: {ends}")
    own = nodes.find(mask.to(nodes.device))
    is_wanted = torch.zeros(nodes.num_own, dtype=torch.bool, device=nodes.device)
    return is_wanted.index_fill_(0, own[own >= 0], value=True)
