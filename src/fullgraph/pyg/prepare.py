"""``fullgraph.convert`` and ``fullgraph.prepare``: an unmodified model made exact and sequential, in place."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.parameter import Parameter, is_lazy
from torch.optim import Optimizer
from torch_geometric.data.data import BaseData
from torch_geometric.nn import HeteroConv

from fullgraph.comm import World, return_free_pages
from fullgraph.engine import sum_gradients
from fullgraph.errors import InputError, UnsupportedOperation
from fullgraph.pyg.data import indices, is_pruned, rank_graph
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.rank_graph import RankGraph
from fullgraph.pyg.refused import check_layers, check_prunable
from fullgraph.pyg.rules import Converted, convert_instance, rules_in
from fullgraph.pyg.rules.draws import KeyedDraws
from fullgraph.pyg.rules.products import Products
from fullgraph.pyg.rules.pruned import finished, following, pruned_index_of
from fullgraph.pyg.rules.recomputed import Recomputed


def convert(model: Module, data: BaseData) -> Module:
    """Make the layers of ``model`` sequential and exact on the graph of ``data``, in place.

    Layers keep their parameters, ``state_dict`` keys and ``repr``, and their behaviour on an ordinary ``edge_index``.
    A layer without a rule runs its own code on some edges at a time; see `explain`.
    Converting twice changes nothing.

    Args:
        model: any module that takes node rows and an ``edge_index``, or dictionaries of them.
        data: from ``fullgraph.open``.

    Returns:
        The same object.

    Raises:
        UnsupportedLayer: if a layer's result would not be that of the whole graph.
    """
    graph = rank_graph(data)
    check_layers(model)
    for module, rule in rules_in(model):
        convert_instance(module, rule, graph)
    if not isinstance(model, _Root):
        convert_instance(model, type(type(model).__name__, (_Root, type(model)), {}), graph)
    return model


def prepare(
    model: Module, optimizer: Optimizer | None, data: BaseData, seed: int = 0
) -> tuple[Module, Optimizer | None]:
    """`convert`, then start all ranks from rank 0's weights and sum gradients over ranks before each optimizer step.

    Args:
        model: on `data`'s device, with all parameters initialised.
        optimizer: over the model's parameters; None for inference.
        data: from ``fullgraph.open``.
        seed: of dropout, the same on all ranks.

    Returns:
        The same two objects.

    Raises:
        UnsupportedLayer: as `convert`.
        InputError: on lazily initialised parameters, or an optimizer that was prepared already.
        GraphMismatch: if ranks were given different models or seeds.
    """
    graph = rank_graph(data)
    lazy = [name for name, p in model.named_parameters() if is_lazy(p)]
    if lazy:
        raise InputError(
            f"give lazily initialised layers their input sizes, or initialise them first: {', '.join(lazy)}"
        )
    convert(model, data)
    graph.world.agree("dropout seed", seed)
    tensors = [(name, t) for name, t in model.state_dict(keep_vars=True).items() if isinstance(t, Tensor)]
    shared = [(name, t) for name, t in tensors if not isinstance(t, OwnRows)]
    own = [(name, tuple(t.shape[1:]), str(t.dtype)) for name, t in tensors if isinstance(t, OwnRows)]
    graph.world.agree("model", [*((name, tuple(t.shape), str(t.dtype)) for name, t in shared), *own])
    for _, tensor in shared:
        graph.world.broadcast(tensor.detach())
    for module, index in _layers_with_index(model, data):
        walked = module.walked_index(index)
        if walked is not None:
            walked.plan.build(sums=module.forms_sums, backward=optimizer is not None)
    graph.randomness.load({"seed": seed, "step": 0, "call": 0})
    if optimizer is not None:
        if getattr(optimizer, "gradient_sum", None) is not None:
            raise InputError("this optimizer was prepared already; make a new one for another graph")
        gradient_sum = GradientSum(optimizer, graph)
        optimizer.gradient_sum = gradient_sum  # pyright: ignore[reportAttributeAccessIssue]
        optimizer.register_step_pre_hook(gradient_sum.before_step)
        optimizer.register_step_post_hook(lambda *_: return_free_pages())  # when least is in use
    return model, optimizer


def _layers_with_index(model: Module, data: BaseData) -> Iterator[tuple[Converted, RemoteIndex]]:
    """The converted layers, each with the index that it will be given, as far as that can be told beforehand."""
    # The walks of a pruned graph differ by layer; each layer makes its own in the first epoch.
    by_relation: dict[Any, RemoteIndex] = {} if is_pruned(data) else {**indices(data)}
    for module in model.modules():
        if isinstance(module, HeteroConv):
            layers = ((layer, by_relation.get(relation)) for relation, layer in module.convs.items())
        else:
            layers = ((module, by_relation.get(None)),)
        for layer, index in layers:
            if isinstance(layer, Converted) and index is not None:
                yield layer, index


class OwnRows(Parameter):
    """A parameter with a row for each node that this rank owns: no other rank has these rows."""


class GradientSum:
    """Sums the gradients of one optimizer's parameters over ranks, once per step."""

    def __init__(self, optimizer: Optimizer, graph: RankGraph):
        self._optimizer, self.graph = optimizer, graph
        self._summed: list[Tensor | None] = []

    def now(self) -> None:
        """Sum them before the step, to clip or inspect them; the step then does not sum again. Collective."""
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        if not self._summed or any(p.grad is not g for p, g in zip(parameters, self._summed, strict=True)):
            sum_gradients([p for p in parameters if not isinstance(p, OwnRows)], self.graph.world)
            _complete_gradients([p for p in parameters if isinstance(p, OwnRows)], self.graph.world)
            self._summed = [p.grad for p in parameters]

    def before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """The optimizer's pre-step hook."""
        if len(args) > 1 or kwargs.get("closure") is not None:
            raise UnsupportedOperation(
                "gradients are summed over ranks before the step, but a closure computes them inside it; "
                f"call backward first and step() without a closure: {type(optimizer).__name__}"
            )
        self.now()
        self._summed = []
        self.graph.randomness.next_step()


def _complete_gradients(parameters: list[Parameter], world: World) -> None:
    """Zeros where a rank's rows got no gradient but other ranks' did, so that all optimizers step. Collective."""
    if parameters:
        given = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int64, device=world.device)
        present = world.all_reduce(given)
        for parameter, ranks in zip(parameters, present.tolist(), strict=True):
            if ranks and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)


def sum_gradients_now(optimizer: Optimizer) -> None:
    """Sum gradients over ranks ahead of ``optimizer.step()``, for whoever clips or reads them in between. Collective.

    Raises:
        InputError: if the optimizer did not go through ``fullgraph.prepare``.
    """
    gradient_sum_of(optimizer).now()


def gradient_sum_of(optimizer: Optimizer) -> GradientSum:
    """What `prepare` gave an optimizer.

    Raises:
        InputError: if it gave it nothing.
    """
    gradient_sum = getattr(optimizer, "gradient_sum", None)
    if gradient_sum is None:
        raise InputError(f"prepare the optimizer with fullgraph.prepare first: {type(optimizer).__name__}")
    return gradient_sum


class _Root(Converted):
    """The outermost module: while it runs, ``F.dropout`` in anybody's ``forward`` is keyed by global ids too."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        graph = self.rank_graph
        index = pruned_index_of((args, kwargs)) if graph.row_levels is None else None
        # A mode gets what those entered after it let through, so that what a product keeps can be made again.
        with (
            KeyedDraws(graph),
            graph.recomputing() as recipes,
            Products(recipes),
            Recomputed(recipes) if recipes else nullcontext(),
        ):
            if index is None:
                return super().__call__(*args, **kwargs)
            check_prunable(self, index.batch_norm)
            with following(graph, index, (args, kwargs)) as followed:
                return finished(followed, super().__call__(*args, **kwargs))
