"""A pruned graph's ``edge_index``, as a model is given it: opaque, since it stands for other edges in each layer."""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from fullgraph.errors import UnsupportedOperation
from fullgraph.pyg.data.edge_index import ITSELF, EdgeRows
from fullgraph.pyg.pruning.levels import Levels
from fullgraph.rows import Rows
from fullgraph.rows.calls import name_of
from fullgraph.rows.metadata import ABOUT


class PrunedEdges(EdgeRows):
    """The whole graph's edges ``[2, num_edges]``, of which each layer walks over some.

    Attributes:
        levels: which rows every layer reads and computes.
    """

    levels: Levels

    @staticmethod
    def among(levels: Levels) -> "PrunedEdges":
        """What stands for the edges that each layer needs."""
        index: Any = EdgeRows.of(levels.edges)
        index.__class__, index.levels = PrunedEdges, levels
        return index

    @property
    def walked(self) -> NoReturn:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What a layer that cannot compute some rows only asks for."""
        _refuse("a layer that needs all rows")

    @property
    def read(self) -> NoReturn:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Ids, of which there are others in each layer."""
        _refuse("reading its ids")

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = name_of(func)
        if name in ABOUT:
            return Rows.__torch_function__(func, types, args, kwargs)
        if name in ITSELF or (name in ("requires_grad_", "requires_grad=") and not any(args[1:])):
            return args[0]
        _refuse(name)


def _refuse(what: str) -> NoReturn:
    raise UnsupportedOperation(
        "the edge_index of a pruned graph stands for other edges in each layer, so only the layers of a prepared model "
        "that can compute some rows can read it (see docs/pruning.md); for anything else use the graph that was "
        f"pruned: {what}"
    )
