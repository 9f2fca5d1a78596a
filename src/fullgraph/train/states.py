"""States that hold rows, such as a learned table of nodes: whole for a file, and cut for ranks again, on any number.

The ``state_dict`` of one rank's rows would fit that rank of that run alone.
"""

from typing import Any

from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only

from fullgraph.errors import GraphMismatch
from fullgraph.pyg.data.graph import rank_graph
from fullgraph.rows import Rows, distribute, gather

State = dict[str, Any]


def whole_state(state: Any) -> Any:
    """A state, of nested dictionaries and lists, with all rows of each `Rows` as an ordinary tensor. Collective."""
    return tree_map_only(Rows, lambda rows: gather(rows.detach().to(rows._space.device)), state)


def own_model_state(state: State, model: Module, data: Any) -> State:
    """Of a model's whole ``state_dict`` what this rank has.

    Raises:
        GraphMismatch: if it has rows of a graph with another number of nodes.
    """
    own = model.state_dict(keep_vars=True)
    return {name: _like(own.get(name), value, data) for name, value in state.items()}


def own_optimizer_state(state: State, optimizer: Optimizer, data: Any) -> State:
    """Of an optimizer's whole ``state_dict`` what this rank has."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    own = {
        number: {key: _like(parameters[number], value, data) for key, value in of.items()}
        for number, of in state["state"].items()
    }
    return {**state, "state": own}


def _like(parameter: Any, value: Any, data: Any) -> Any:
    """``value`` as rows of the same space as ``parameter``, if that is `Rows`; a count of steps is a number."""
    if not isinstance(parameter, Rows) or not isinstance(value, Tensor) or value.dim() == 0:
        return value
    space, dim = parameter._space, parameter._dim
    if value.shape[dim] != space.num_rows:
        kind = next((kind for kind, nodes in rank_graph(data).nodes.items() if nodes == space), None)
        raise GraphMismatch(
            f"the model has a learned row for each of {value.shape[dim]} nodes of type {kind!r}, so it fits that graph "
            f"only; this one has nodes of this type: {space.num_rows}"
        )
    return distribute(value.to(space.device), space, dim)
