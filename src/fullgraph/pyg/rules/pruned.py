"""Layers on a pruned graph: each reads the rows of its level and computes those of the next.

What a layer does to the edges before it propagates (self-loops, degrees, norms) it does on the whole graph's; then the
edges are restricted to those into rows that the next layer reads, and the layer runs as between two node types.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map
from torch_geometric.data import Data

from fullgraph.errors import InputError, UnsupportedLayer, UnsupportedOperation
from fullgraph.pyg.index import RemoteIndex
from fullgraph.pyg.pruned_index import PrunedIndex
from fullgraph.pyg.rank_graph import RankGraph
from fullgraph.pyg.row_levels import RowLevels
from fullgraph.pyg.rules.converted import Converted, original_class
from fullgraph.pyg.rules.ways import weights_wanted, why_not_sequential

_EDGE_VALUES = ("edge_weight", "edge_attr")


class Prunable(Converted):
    """Mixed in front of a layer that can compute some rows only."""

    takes_pairs = True

    def on_whole_graph(self, x: Tensor, edge_index: RemoteIndex, values: Tensor | None) -> tuple[RemoteIndex, Any]:
        """The edges that the layer walks over and their weights or attributes, before they are restricted."""
        return edge_index, values

    def why_not_pruned(self, given: dict[str, Any]) -> str | None:
        """What in the layer's configuration or arguments needs all rows; None if nothing does."""
        if not isinstance(given["x"], Tensor):
            return "it is given rows of sources and rows of destinations"
        if given.get("size") is not None:
            return "it is given a size"
        if weights_wanted(given.get("return_attention_weights")):
            return "it is asked for its attention weights"
        return why_not_sequential(self)  # pyright: ignore[reportArgumentType]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        followed = self.rank_graph.row_levels
        if followed is None or followed.is_paused:
            return super().__call__(*args, **kwargs)
        call = _signature(original_class(type(self))).bind(self, *args, **kwargs)
        given = call.arguments
        level = self._level(followed, given)
        index: PrunedIndex = given["edge_index"]
        if followed.levels.layers[level] is None:
            given["edge_index"] = index.whole
        else:
            self._restrict(given, index, followed, level)
        rows = followed.levels.node_ids[level + 1]
        with followed.paused(), self.rank_graph.rows_are(rows, None, alone=False):
            out = super().__call__(*call.args[1:], **call.kwargs)
        assert len(out) == len(rows)
        return followed.put(out, level + 1)

    def _restrict(self, given: dict[str, Any], index: PrunedIndex, followed: RowLevels, level: int) -> None:
        """Put what belongs to the rows of the next level in the place of what the layer is given. Collective."""
        values = next((name for name in _EDGE_VALUES if given.get(name) is not None), None)
        x = given["x"]
        walked, whole_values = self.on_whole_graph(x, index.whole, given[values] if values else None)
        edges = followed.levels.restricted(walked, level)
        given["edge_index"] = edges
        if self.walked_index(edges) is not None:
            # Later, when there are more activations, there is less memory to build in.
            edges.plan.build(sums=self.forms_sums, backward=x.requires_grad)
        given["x"] = (x, followed.narrowed(x, level + 1)) if self.takes_pairs else x
        if whole_values is not None:
            given[values or "edge_weight"] = edges.chosen(whole_values)

    def _level(self, followed: RowLevels, given: dict[str, Any]) -> int:
        """The level of the rows that the layer is given; the same answer, or the same error, on all ranks."""
        name = original_class(type(self)).__name__
        if not isinstance(given["edge_index"], PrunedIndex):
            raise UnsupportedOperation(
                f"on a pruned graph a layer walks over the edge_index that the model is given, and no other: {name}"
            )
        reason = self.why_not_pruned(given)
        if reason is not None:
            raise UnsupportedLayer(f"this layer cannot run on a pruned graph, because {reason}: {name}")
        level = followed.of(given["x"])
        if level is None:
            raise UnsupportedOperation(
                "a layer on a pruned graph needs rows that follow, row by row, from rows that the model is given, one "
                "for each of pruned.input_rows as pruned.x has them, or from those of another layer; these do not, or "
                f"not in a way that can be seen: {name}"
            )
        if level == followed.levels.num_layers:
            raise UnsupportedOperation(
                "the model has more layers one after another than the graph was pruned for; give fullgraph.prune the "
                f"number that it has, num_layers is: {level}"
            )
        return level


@cache
def _signature(layer: type) -> inspect.Signature:
    return inspect.signature(layer.forward)  # pyright: ignore[reportAttributeAccessIssue]


class RowWise(Converted):
    """Mixed in front of a module that computes one row from one row, statistics of all rows aside."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        followed = self.rank_graph.row_levels
        level = None if followed is None or not args else followed.of(args[0])
        if followed is None or level is None:
            return super().__call__(*args, **kwargs)
        with followed.paused(), self.rank_graph.rows_are(followed.levels.node_ids[level], None, alone=False):
            return followed.put(super().__call__(*args, **kwargs), level)


class _Followed(TorchFunctionMode):
    """While it is active, what torch computes from rows of a level is known to be of that level."""

    def __init__(self, graph: RankGraph, followed: RowLevels):
        super().__init__()
        self._graph, self._rows = graph, followed

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._rows.is_paused:
            return func(*args, **kwargs)
        return self._rows.follow(func, args, kwargs, self._graph)


@contextmanager
def following(graph: RankGraph, index: PrunedIndex, arguments: Any) -> Iterator[RowLevels]:
    """While a model runs on a pruned graph: its inputs are rows of the first level. Collective."""
    followed = RowLevels(index.levels, graph.recipes)
    tensors = [t for t in _leaves(arguments) if isinstance(t, Tensor) and not isinstance(t, PrunedIndex) and t.dim()]
    num_rows = len(index.levels.rows[0])
    everywhere = graph.world.gather_objects([len(t) == num_rows for t in tensors])
    for tensor, fits in zip(tensors, zip(*everywhere, strict=True), strict=True):
        if all(fits):
            followed.put(tensor, 0)
    graph.row_levels = followed
    try:
        with _Followed(graph, followed):
            yield followed
    finally:
        graph.row_levels = None


def finished(followed: RowLevels, out: Any) -> Any:
    """What a model gave, with the wanted rows alone.

    Raises:
        InputError: if it has fewer layers than the graph was pruned for.
    """
    last = followed.levels.num_layers
    if followed.reached < last:
        raise InputError(
            f"the graph was pruned for {last} layers one after another, but the model has fewer; give fullgraph.prune "
            f"the number that it has, num_layers: {followed.reached}"
        )
    return tree_map(lambda t: t if followed.of(t) is None else followed.narrowed(t, last), out)


def pruned_index_of(arguments: Any) -> PrunedIndex | None:
    """The pruned graph among the arguments of a model; None if there is none."""
    return next((t for t in _leaves(arguments) if isinstance(t, PrunedIndex)), None)


def _leaves(arguments: Any) -> list[Any]:
    found = []
    for leaf in tree_leaves(arguments):
        found += leaf.to_dict().values() if isinstance(leaf, Data) else [leaf]
    return found
