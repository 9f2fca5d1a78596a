"""States that hold rows, such as a learned table of nodes: whole for a file, and cut for ranks again, on any number.

The ``state_dict`` of one rank's rows would fit that rank of that run alone.
"""

from typing import Any

from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer

from fullgraph.errors import GraphMismatch
from fullgraph.pyg.graph import rank_graph
from fullgraph.rows import Rows, distribute, gather

State = dict[str, Any]


def whole_state(state: Any) -> Any:
    """A state, of nested dictionaries and lists, with all rows of each `Rows` as an ordinary tensor. Collective."""
    if isinstance(state, Rows):
        return gather(state.detach().to(state._space.device))
    if isinstance(state, dict):
        return {key: whole_state(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(whole_state(value) for value in state)
    return state


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
        number: {
            key: _like(parameters[number], value, data) if _has_rows(value) else value for key, value in of.items()
        }
        for number, of in state["state"].items()
    }
    return {**state, "state": own}


def _has_rows(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0  # how many steps there were is a number


def _like(parameter: Any, value: Any, data: Any) -> Any:
    """``value`` as rows of the same space as ``parameter``, if that is `Rows`."""
    if not isinstance(parameter, Rows):
        return value
    space, dim = parameter._space, parameter._dim
    if value.shape[dim] != space.num_rows:
        kind = next((kind for kind, nodes in rank_graph(data).nodes.items() if nodes == space), None)
        raise GraphMismatch(
            f"the model has a learned row for each of {value.shape[dim]} nodes of type {kind!r}, so it fits that graph "
            f"only; this one has nodes of this type: {space.num_rows}"
        )
    return distribute(value.to(space.device), space, dim)
