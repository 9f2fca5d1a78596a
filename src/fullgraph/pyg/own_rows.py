"""States with rows that only their owners have: brought together for a file, given out again on any number of ranks.

The ``state_dict`` of one rank's rows would fit that rank of that run alone.
"""

from typing import Any

from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer
from torch_geometric.data.data import BaseData

from fullgraph.errors import GraphMismatch
from fullgraph.graph import NodeType
from fullgraph.pyg.data import rank_graph
from fullgraph.pyg.embedding import NodeEmbedding
from fullgraph.pyg.functional import gather_rows

State = dict[str, Any]


def whole_model_state(state: State, model: Module, data: BaseData) -> State:
    """A ``state_dict`` of ``model`` with the rows of all nodes; other ranks than 0 have None there. Collective."""
    kinds = _kinds(model)
    return {name: _whole(value, kinds[name], data) if name in kinds else value for name, value in state.items()}


def own_model_state(state: State, model: Module, data: BaseData) -> State:
    """This rank's share of what `whole_model_state` gave.

    Raises:
        GraphMismatch: if the rows are of a graph with another number of nodes.
    """
    kinds = _kinds(model)
    return {name: _own(value, kinds[name], data) if name in kinds else value for name, value in state.items()}


def whole_optimizer_state(optimizer: Optimizer, model: Module, data: BaseData) -> State:
    """The optimizer's ``state_dict`` as `whole_model_state` has the model's. Collective."""
    return _mapped(optimizer.state_dict(), optimizer, model, lambda value, kind: _whole(value, kind, data))


def own_optimizer_state(state: State, optimizer: Optimizer, model: Module, data: BaseData) -> State:
    """This rank's share of what `whole_optimizer_state` gave."""
    return _mapped(state, optimizer, model, lambda value, kind: _own(value, kind, data))


def _kinds(model: Module) -> dict[str, NodeType]:
    """The node type of each parameter with own rows, by the parameter's name."""
    return {
        f"{name}.weight".lstrip("."): module.node_type
        for name, module in model.named_modules()
        if isinstance(module, NodeEmbedding)
    }


def _mapped(state: State, optimizer: Optimizer, model: Module, change: Any) -> State:
    kinds = {id(model.get_parameter(name)): kind for name, kind in _kinds(model).items()}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    changed = {
        number: {
            key: change(value, kinds[id(parameters[number])])
            if isinstance(value, Tensor) and value.dim() and id(parameters[number]) in kinds
            else value
            for key, value in entries.items()
        }
        for number, entries in state["state"].items()
    }
    return {**state, "state": changed}


def _whole(rows: Tensor, kind: NodeType, data: BaseData) -> Tensor | None:
    return gather_rows(rows.to(rank_graph(data).world.device), data, kind)


def _own(rows: Tensor, kind: NodeType, data: BaseData) -> Tensor:
    graph = rank_graph(data)
    if len(rows) != graph.num_global_nodes[kind]:
        raise GraphMismatch(
            f"the model has a learned row for each of {len(rows)} nodes of type {kind!r}, so it fits that graph only; "
            f"this one has nodes of this type: {graph.num_global_nodes[kind]}"
        )
    return rows[graph.node_ids[kind].to(rows.device)]
