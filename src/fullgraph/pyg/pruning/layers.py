"""Layers on a pruned graph: each reads the rows of its level and computes those of the next.

What a layer does to the edges before it propagates (self-loops, degrees, norms) it does on the whole graph's; then the
edges are restricted to those into rows that the next layer reads, and the layer runs as between two node types.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor
from torch.nn import Module
from torch.utils._pytree import tree_leaves, tree_map
from torch_geometric.data import Data

from fullgraph.errors import InputError, UnsupportedLayer, UnsupportedOperation
from fullgraph.pyg.data.edge_index import EdgeRows
from fullgraph.pyg.data.edges import Edges
from fullgraph.pyg.general.choice import weights_wanted, why_not_sequential
from fullgraph.pyg.general.converted import Converted, original_class
from fullgraph.pyg.pruning.edge_index import PrunedEdges
from fullgraph.pyg.pruning.levels import Level, Levels, as_all_nodes, at_level
from fullgraph.rows import Rows, rows

_EDGE_VALUES = ("edge_weight", "edge_attr")
_NORMS = (
    torch.nn.modules.batchnorm._BatchNorm,
    torch.nn.modules.instancenorm._InstanceNorm,
    pyg.GraphNorm,
    pyg.GraphSizeNorm,
    pyg.PairNorm,
    pyg.MeanSubtractionNorm,
)
"""Which look at all rows, unless they have statistics and are in evaluation; and ``LayerNorm`` in its mode graph."""


class Prunable(Converted):
    """Mixed in front of a layer that can compute some rows only.

    Attributes:
        prepares: the setting by which the layer changes edges before it propagates, if it has one.
        takes_pairs: whether it can be given rows of sources and rows of destinations.
    """

    prepares: str | None = None
    takes_pairs = True

    def on_whole_graph(self, x: Rows, edges: Edges, values: Tensor | None) -> tuple[Edges, Tensor | None]:
        """The edges that the layer walks over and their weights or attributes, before they are restricted."""
        return edges, values

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not any(isinstance(x, PrunedEdges) for x in (*args, *kwargs.values())):
            return super().__call__(*args, **kwargs)
        call = _signature(original_class(type(self))).bind(self, *args, **kwargs)
        given = call.arguments
        index = given.get("edge_index")
        if not isinstance(index, PrunedEdges):
            return super().__call__(*args, **kwargs)
        levels = index.levels
        before, after = self._levels(levels, given)
        x = at_level(given["x"], before)
        if levels.steps[before.number] is None:
            given.update(x=as_all_nodes(x, before), edge_index=EdgeRows.of(levels.edges))
            return rows(super().__call__(*call.args[1:], **call.kwargs), after)
        values = next((name for name in _EDGE_VALUES if given.get(name) is not None), None)
        walked, whole_values = self.on_whole_graph(x, levels.edges, given[values] if values else None)
        edges = levels.restricted(walked, before.number)
        given.update(x=(x, at_level(x, after)) if self.takes_pairs else x, edge_index=EdgeRows.of(edges))
        if whole_values is not None:
            given[values or "edge_weight"] = edges.narrowed_values(whole_values)
        with self._prepared():
            if self.walked_edges(edges) is not None:
                # Later, when there are more activations, there is less memory to build in.
                edges.plan.build(sums=self.forms_sums, weighted=whole_values is not None, backward=x.requires_grad)
            return super().__call__(*call.args[1:], **call.kwargs)

    @contextmanager
    def _prepared(self) -> Iterator[None]:
        """While the edges are what the layer would make of them."""
        if self.prepares is None:
            yield
            return
        before = getattr(self, self.prepares)
        setattr(self, self.prepares, False)
        try:
            yield
        finally:
            setattr(self, self.prepares, before)

    def _levels(self, levels: Levels, given: dict[str, Any]) -> tuple[Level, Level]:
        """Which rows the layer reads and computes; the same answer, or the same error, on all ranks."""
        name, x = original_class(type(self)).__name__, given["x"]
        reason = _why_not_pruned(self, given)
        if reason is not None:
            raise UnsupportedLayer(f"this layer cannot run on a pruned graph, because {reason}: {name}")
        space = x._space if isinstance(x, Rows) and x._dim == 0 else None
        if space == levels.spaces[0].parent:
            space = levels.spaces[0]
        if not isinstance(space, Level) or space.view is not levels.view:
            raise UnsupportedOperation(
                "a layer on a pruned graph needs rows that follow, row by row, from rows that the model is given, one "
                f"for each node or as pruned.x has them, or from those of another layer; these do not: {name}"
            )
        if space.number == levels.num_layers:
            raise UnsupportedOperation(
                "the model has more layers one after another than the graph was pruned for; give fullgraph.prune the "
                f"number that it has, num_layers is: {space.number}"
            )
        return space, levels.spaces[space.number + 1]


def _why_not_pruned(layer: Any, given: dict[str, Any]) -> str | None:
    """What in the layer's configuration or arguments needs all rows; None if nothing does."""
    if not isinstance(given["x"], Tensor):
        return "it is given rows of sources and rows of destinations"
    if given.get("size") is not None:
        return "it is given a size"
    if weights_wanted(given.get("return_attention_weights")):
        return "it is asked for its attention weights"
    if not layer.takes_pairs and not layer.forms_sums:
        return "its aggregation is neither a sum nor a mean"
    return why_not_sequential(layer)


@cache
def _signature(layer: type) -> inspect.Signature:
    return inspect.signature(layer.forward)  # pyright: ignore[reportAttributeAccessIssue]


def run_pruned(model: Module, run: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``run(*args, **kwargs)``; if a pruned graph is among these, what it gives has the wanted rows alone.

    Raises:
        UnsupportedLayer: if ``model`` has a layer that needs more rows than those its loss depends on.
        InputError: if it has fewer layers than the graph was pruned for.
    """
    levels = _levels_among((args, kwargs))
    if levels is None or levels.view.is_running:
        return run(*args, **kwargs)
    _check_prunable(model, levels)
    with levels.view.running():
        out = run(*args, **kwargs)
    last = levels.spaces[-1]
    spaces = [x._space for x in tree_leaves(out) if isinstance(x, Rows)]
    numbers = [s.number for s in spaces if isinstance(s, Level) and s.view is last.view]
    reached = max(numbers, default=last.number)
    if reached < last.number:
        raise InputError(
            f"the graph was pruned for {last.number} layers one after another, but the model has fewer; give "
            f"fullgraph.prune the number that it has, num_layers: {reached}"
        )
    return tree_map(lambda x: at_level(x, last) if isinstance(x, Rows) and isinstance(x._space, Level) else x, out)


def _levels_among(arguments: Any) -> Levels | None:
    """Those of the pruned graph among the arguments of a model; None if there is none."""
    for leaf in tree_leaves(arguments):
        for value in leaf.to_dict().values() if isinstance(leaf, Data) else (leaf,):
            if isinstance(value, PrunedEdges):
                return value.levels
    return None


def _check_prunable(model: Module, levels: Levels) -> None:
    refused = [
        f"{name or 'the model'} ({original_class(type(m)).__name__}): {reason}"
        for name, m in _outside_of_layers(model)
        if (reason := _why_not_part(m, levels)) is not None
    ]
    if refused:
        raise UnsupportedLayer(
            "the model cannot run on a pruned graph; run it on the graph that was pruned, or replace what is named "
            f"here, see docs/pruning.md: {'; '.join(refused)}"
        )


def _outside_of_layers(model: Module, name: str = "") -> Iterator[tuple[str, Module]]:
    """The modules of a model; of what a layer aggregates with, nothing."""
    yield name, model
    for child_name, child in model.named_children():
        if not (isinstance(model, pyg.MessagePassing) and isinstance(child, pyg.Aggregation)):
            yield from _outside_of_layers(child, f"{name}.{child_name}" if name else child_name)


def _why_not_part(module: Any, levels: Levels) -> str | None:
    if isinstance(module, pyg.MessagePassing) and not isinstance(module, Prunable):
        return "it does not walk, or more than once"
    if isinstance(module, pyg.Aggregation):
        return "it reads all rows of the graph"
    uses_statistics = module.training or not getattr(module, "track_running_stats", False)
    over_all = isinstance(module, _NORMS) or (isinstance(module, pyg.LayerNorm) and module.mode == "graph")
    if levels.view.is_exact and over_all and uses_statistics:
        return 'it normalises by all rows of the graph; fullgraph.prune(…, batch_norm="computed") takes those computed'
    return None
