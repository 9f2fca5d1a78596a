"""``fullgraph.prepare``: an unmodified model made exact on the whole graph, its layers sequential, in place."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.parameter import is_lazy
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch_geometric.data.data import BaseData
from torch_geometric.nn import HeteroConv

from fullgraph.comm import return_free_pages
from fullgraph.pyg.data.edges import Edges
from fullgraph.pyg.data.graph import RankGraph, rank_graph
from fullgraph.pyg.pruning.layers import run_pruned
from fullgraph.pyg.rules import Converted, convert_instance, rules_in
from fullgraph.rows import Rows, View
from fullgraph.rows.libraries import see_one_program
from fullgraph.rows.table import entered_values


def prepare(model: Module, data: BaseData) -> Module:
    """Make a model sequential and exact on the graph of ``data``, in place, and start all ranks from rank 0's weights.

    Layers keep their parameters, ``state_dict`` keys and ``repr``, and their behaviour on an ordinary ``edge_index``.
    A layer without a rule runs its own code on some edges at a time; see `explain`. An optimizer may be made before or
    after. Preparing twice changes nothing.

    Args:
        model: any module, on the graph's device. Lazily initialised parameters may get their sizes later.
        data: from ``fullgraph.open``.

    Returns:
        The same object.

    Raises:
        GraphMismatch: if ranks were given different models.
        InputError: if ``data`` does not come from ``fullgraph.open``.
    """
    graph = rank_graph(data)
    for module, rule in rules_in(model):
        convert_instance(module, rule, graph)
    if not isinstance(model, _Root):
        convert_instance(model, _root_of(type(model)), graph)
    _start_alike(model, graph)
    if graph.world.num_ranks > 1:
        see_one_program()
    for layer, edges in _layers_with_edges(model, graph):
        walked = layer.walked_edges(edges)
        if walked is not None:
            walked.plan.build(sums=layer.forms_sums, weighted=layer.has_weights, backward=model.training)
    _free_pages_after_steps()
    return model


def _start_alike(model: Module, graph: RankGraph) -> None:
    tensors = [(name, t) for name, t in model.state_dict(keep_vars=True).items() if isinstance(t, Tensor)]
    shared = [(name, t) for name, t in tensors if not isinstance(t, Rows) and not is_lazy(t)]
    graph.world.agree("model", [(name, tuple(t.shape), str(t.dtype)) for name, t in shared])
    for _, tensor in shared:
        graph.world.broadcast(tensor.detach())


def _layers_with_edges(model: Module, graph: RankGraph) -> Iterator[tuple[Converted, Edges]]:
    """The converted layers, each with the edges that it will be given, as far as that can be told beforehand."""
    for module in model.modules():
        if isinstance(module, HeteroConv):
            layers = ((layer, graph.edges.get(cast(Any, relation))) for relation, layer in module.convs.items())
        else:
            layers = ((module, next(iter(graph.edges.values())) if len(graph.edges) == 1 else None),)
        for layer, edges in layers:
            if isinstance(layer, Converted) and edges is not None:
                yield layer, edges


@cache
def _free_pages_after_steps() -> None:
    """After any optimizer's step least memory is in use, and the heap's free pages go back to the machine."""
    register_optimizer_step_post_hook(lambda *_: return_free_pages())


@cache
def _root_of(model: type[Module]) -> type[Converted]:
    return type(model.__name__, (_Root, model), {"__module__": model.__module__})  # pyright: ignore[reportReturnType]


class _Root(Converted):
    """The outermost module: while it runs, its parameters are entered, all with one sum of gradients in backward."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with _entered(self, self.view), self.view.recomputing():
            return run_pruned(self, super().__call__, args, kwargs)


@contextmanager
def _entered(model: Module, view: View) -> Iterator[None]:
    if view.is_alone or not torch.is_grad_enabled():
        yield
        return
    parameters = [p for p in model.parameters() if p.requires_grad and not isinstance(p, Rows) and not is_lazy(p)]
    before, aliases = view.entered, entered_values(list(parameters), view)
    view.entered = {**(before or {}), **{id(p): alias for p, alias in zip(parameters, aliases, strict=True)}}
    try:
        yield
    finally:
        view.entered = before
